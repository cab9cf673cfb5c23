"""Creates and upgrades the schema, and tells a journal from anything else.

Alembic is handed a connection inside our own BEGIN IMMEDIATE, so a failed
upgrade leaves nothing behind and many processes may open a new journal at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import copymark, errors
from journal.dialects import catalog, quoted
from journal.engine import APPLICATION_ID, connect, driver, translated, writing_engine
from journal.guards import CAN_LOOK, descriptors_of, identity_of
from journal.place import no_file, status_of
from journal.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from journal.dialects.address import Address
    from journal.engine import Cursor

SCHEMA_VERSION: Final = 1
# The digest of our sqlite_schema by version; a test holds it to the migrations.
SCHEMA_DIGESTS: Final = {1: "20b7f31cb880b2a8defe703885b441982816f9406e7919c71ef19f6770f8d652"}

_PAGE: Final = 4096
_MAGIC: Final = b"SQLite format 3\0"
TABLE_NAMES: Final = frozenset(metadata.tables)

log = logging.getLogger("journal")


class Object(NamedTuple):
    """One object of a schema: a table, an index, a trigger or a view."""

    type: str
    name: str
    table: str
    sql: str


def migrations_path() -> Path:
    """Return where the migrations are: in the wheel, or beside the package in a checkout."""
    package = Path(__file__).parent
    shipped = package / "_alembic"
    return shipped if shipped.is_dir() else package.parent / "alembic"


def version_of(path: str) -> int | None:
    """Return the schema version of the journal at ``path``; None where there is none yet.

    Looks through a read-only connection and changes nothing.

    Raises:
        CorruptError: it is no database, or one that cannot even be opened.
        StorageError: it is a directory, a pipe or the like.
        SchemaError: it is another program's database, of a newer version, or a copy
            that is not finished.

    """
    file = Path(path)
    if status_of(file) is None or not file.exists():
        return None
    if not file.is_file():
        raise no_file(file)
    if file.stat().st_size == 0 or _is_begun(file):
        return None
    try:
        with closing(connect(path, mode="ro")) as connection:
            execute = connection.execute
            application_id = execute("PRAGMA application_id").fetchone()[0]
            version = int(execute("PRAGMA user_version").fetchone()[0])
            is_empty = execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            is_bare = digest(objects(execute)) in SCHEMA_DIGESTS.values()
            mark = _mark(execute) if application_id == copymark.APPLICATION_ID else None
    except (driver().Error, UnicodeDecodeError) as error:
        raise _unreadable(translated(error, path), file) from error
    if mark is not None:
        raise copymark.unfinished(path, mark)
    if application_id != APPLICATION_ID:
        # Ours but for its number: made by Alembic's own command, without a first fact.
        if is_empty or is_bare:
            return None
        raise _foreign(path)
    if version > SCHEMA_VERSION:
        raise newer(path, version)
    return version


def _mark(execute: Callable[[str], Any]) -> copymark.CopyMark:
    found = execute(f"SELECT value FROM {copymark.TABLE}").fetchone()  # noqa: S608 - a name of our own
    return copymark.mark_of("" if found is None else str(found[0]))


def unfinished_at(path: str) -> copymark.CopyMark | None:
    """Return what is being copied into a file; None if it is no unfinished copy, or no database."""
    try:
        with closing(connect(path, mode="ro")) as connection:
            found = connection.execute("PRAGMA application_id").fetchone()[0]
            return _mark(connection.execute) if found == copymark.APPLICATION_ID else None
    except (errors.JournalError, driver().Error, UnicodeDecodeError):
        return None


def _unreadable(error: errors.JournalError, path: Path) -> errors.JournalError:
    """Lead past the audit, which cannot open it either, to what helps."""
    if isinstance(error, errors.CorruptError):
        ends = [end for end in ("", "-wal") if Path(f"{path}{end}").exists()]
        moves = [f"mv {quote(f'{path}{end}')} {quote(f'{path}.damaged{end}')}" for end in ends]
        back = "; ".join([*moves, "journal restore BACKUP --apply"])
        is_none = error.code == "not-a-database"
        if is_none and len(ends) == 1 and _is_another_kind(path):
            # Somebody's text or picture: not ours to have it moved away.
            error.hint = f"{error.hint}, for this one holds something else: is it the right one?"
            return error
        error.hint = f"{error.hint}; or, if a journal was here, {back}" if is_none else back
    return error


def _is_another_kind(path: Path) -> bool:
    """Whether a file that is no database begins as no damaged one would: with anything but zeros.

    Not looked at where this process has it open, whose log was removed: that would end SQLite's locks.
    """
    if not CAN_LOOK or descriptors_of(identity_of(os.stat(path))):  # noqa: PTH116 - never by opening it
        return False
    with path.open("rb") as file:
        begin = file.read(len(_MAGIC))
    return begin != _MAGIC and any(begin)


def _is_begun(file: Path) -> bool:
    """Whether somebody is making a database there, or died at it: one page at most, not yet committed.

    A page holds no table, so nothing can be lost. What is in the rollback journal must be
    rolled back first, which only a connection that may write can do.
    """
    return file.stat().st_size <= _PAGE and Path(f"{file}-journal").exists()


def _foreign(path: str) -> errors.SchemaError:
    return errors.SchemaError(
        f"{path} is another program's SQLite database; it was left as it is",
        hint="name another file with --db",
        code="not-a-journal",
    )


def newer(path: str, version: int) -> errors.SchemaError:
    """Return the refusal of a journal that a later version wrote."""
    return errors.SchemaError(
        f"{path} has schema {version}, this version knows up to {SCHEMA_VERSION}; it was left as it is",
        hint="pip install --upgrade session-journal",
        code="schema-newer",
    )


def create(path: str, genesis: Callable[[Connection], None]) -> bool:
    """Create the schema where there is none, and call ``genesis`` in the same transaction.

    Safe when many processes do it at once: one creates, the others find it.
    Returns whether this call created it.
    """
    engine = writing_engine(path)
    try:
        with engine.begin() as connection:
            if _pragma(connection, "application_id") == APPLICATION_ID:
                return False
            _check_free(connection, path)
            run_migrations(connection)
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
            genesis(connection)
    except Exception as error:
        raise translated(error, path) from error
    finally:
        engine.dispose()
    return True


def create_draft(path: str, mark: copymark.CopyMark) -> None:
    """Create the schema in a file that has none, marked as a copy that is not finished.

    Raises:
        SchemaError: somebody made a journal or another copy there meanwhile.

    """
    engine = writing_engine(path)
    try:
        with engine.begin() as connection:
            _check_free(connection, path)
            _check_unused(connection, path)
            run_migrations(connection)
            connection.exec_driver_sql(
                f"CREATE TABLE {copymark.TABLE} (value TEXT NOT NULL) STRICT"
            )
            connection.exec_driver_sql(f"INSERT INTO {copymark.TABLE} VALUES (?)", (mark.text(),))  # noqa: S608
            connection.exec_driver_sql(f"PRAGMA application_id={copymark.APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    except Exception as error:
        raise translated(error, path) from error
    finally:
        engine.dispose()


def _check_free(connection: Connection, path: str) -> None:
    """Refuse a file that a copy is being made in, begun between the first look and this lock."""
    if _pragma(connection, "application_id") == copymark.APPLICATION_ID:
        raise copymark.unfinished(path, _mark(connection.exec_driver_sql))


def _check_unused(connection: Connection, path: str) -> None:
    if _pragma(connection, "application_id"):
        raise errors.SchemaError(
            f"{path}: a journal was made there meanwhile; it was left as it is",
            hint="name another file",
            code="made-meanwhile",
        )


def create_on_server(address: Address, genesis: Callable[[Cursor], None]) -> bool:
    """Create the schema on a PostgreSQL server where there is none; as :func:`create`."""
    comment = f"{catalog.COMMENT}{SCHEMA_VERSION}"
    return catalog.create(address, genesis, run_migrations, comment)


def version_on_server(address: Address) -> int | None:
    """Return the schema version of the journal on a server; as :func:`version_of`."""
    version = catalog.version_of(address)
    if version is not None and version > SCHEMA_VERSION:
        raise newer(address.shown, version)
    return version


def unfinished_on_server(address: Address) -> copymark.CopyMark | None:
    """Return what is being copied into a schema; None if it is no unfinished copy."""
    return catalog.unfinished_at(address)


def upgrade(path: str) -> int:
    """Bring an existing journal's schema to this version; return the version it had."""
    engine = writing_engine(path, create=False)
    try:
        with engine.begin() as connection:
            found = _pragma(connection, "user_version")
            if found < SCHEMA_VERSION:
                run_migrations(connection)
                connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    except Exception as error:
        raise translated(error, path) from error
    finally:
        engine.dispose()
    return found


def run_migrations(connection: Connection) -> None:
    """Run every migration that this connection's database has not had yet."""
    # Imported when needed: Alembic costs 275 ms that only a creation pays.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _pragma(connection: Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())


def objects(execute: Callable[[str], Any]) -> list[Object]:
    """Return our tables and all that hangs on them (indexes, triggers), in order.

    Tables of somebody else's beside ours are no business of the check: they
    cannot change what an insert into ours does. A trigger always counts, for
    what it says of its table need not be true.
    """
    rows = execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
    found = [Object(*map(str, row)) for row in rows.fetchall() if row[3] is not None]
    return [item for item in found if _is_ours(item)]


def _is_ours(item: Object) -> bool:
    names = {item.table.casefold(), item.name.casefold()}
    return item.type == "trigger" or not names.isdisjoint(TABLE_NAMES)


def digest(found: list[Object]) -> str:
    """Return the digest that names one schema exactly."""
    text = "\n".join("\x1f".join(item) for item in found)
    return hashlib.sha256(text.encode()).hexdigest()


def expected_objects() -> list[Object]:
    """Return the objects that our migrations make, from a database in memory."""
    from sqlalchemy import create_engine  # noqa: PLC0415

    engine = create_engine("sqlite://", module=driver())
    with engine.begin() as connection:
        run_migrations(connection)
        return objects(connection.exec_driver_sql)


def check(execute: Callable[[str], Any], path: str) -> None:
    """Refuse a schema that is not exactly ours.

    A trigger that swallows rows, or a dropped one, would make the database's
    answers worthless, so nothing is written until it is mended.

    Raises:
        SchemaError: an object is missing, changed or foreign; or the version moved.

    """
    version = int(execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise newer(path, version)
    if version < SCHEMA_VERSION:
        message = f"{path} has schema {version}, this version writes {SCHEMA_VERSION}"
        raise errors.SchemaError(message, hint="journal upgrade --apply", code="schema-older")
    found = objects(execute)
    if digest(found) != SCHEMA_DIGESTS[version]:
        raise errors.SchemaError(
            f"{path}: the schema is not the journal's own: {_difference(found)}; nothing was written",
            hint="journal upgrade  # shows the difference; journal upgrade --apply restores it",
            code="schema-changed",
        )


def _difference(found: list[Object]) -> str:
    changes = difference(found)
    return "; ".join(f"{what} {item.type} {item.name}" for what, item in changes[:3]) or "unknown"


def difference(found: list[Object]) -> list[tuple[str, Object]]:
    """Return what is "missing", "foreign" or "changed" against our own schema."""
    ours = {(item.type, item.name): item for item in expected_objects()}
    theirs = {(item.type, item.name): item for item in found}
    changes = [("missing", item) for name, item in ours.items() if name not in theirs]
    changes += [("foreign", item) for name, item in theirs.items() if name not in ours]
    changes += [
        ("changed", ours[name])
        for name in ours.keys() & theirs.keys()
        if ours[name] != theirs[name]
    ]
    return sorted(changes)


def restore(path: str) -> list[tuple[str, Object]]:
    """Drop foreign triggers, views and indexes and put ours back; return what was changed.

    Tables are never dropped or changed: they may hold what nobody else has. What belongs to
    one that is gone is left out.
    """
    engine = writing_engine(path, create=False)
    try:
        with engine.begin() as connection:
            changes = difference(objects(connection.exec_driver_sql))
            gone = {
                item.name for what, item in changes if (what, item.type) == ("missing", "table")
            }
            for what, item in changes:
                if what != "missing" or item.type == "table" or item.table not in gone:
                    _restore(connection, what, item)
    except Exception as error:
        raise translated(error, path) from error
    finally:
        engine.dispose()
    return changes


def _restore(connection: Connection, what: str, item: Object) -> None:
    if item.type == "table":
        log.warning("the %s table %s is left as it is: restore a backup", what, item.name)
        return
    if what != "missing":
        connection.exec_driver_sql(f"DROP {item.type} IF EXISTS {quoted(item.name)}")
    if what != "foreign":
        connection.exec_driver_sql(item.sql)

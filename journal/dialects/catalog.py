"""The journal's own schema on a PostgreSQL server: found, made, and held against what it must be.

A schema is a journal's by the comment on it, which only its owner can set.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import copymark, errors
from journal.dialects import quoted, standbys
from journal.dialects.postgres import Cursor, check_server, connect, driver, translated
from journal.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from journal.dialects.address import Address

COMMENT: Final = "session-journal schema "
TRIGGERS: Final = frozenset(
    {
        *("entries_insert", "entries_update", "entries_delete", "entries_truncate"),
        *("meta_update", "meta_delete", "meta_truncate"),
    }
)
# What our catalogue says, by version; a test holds it to the migrations.
DIGESTS: Final = {1: "7636e6cea47f8284d4b5235d7d7c45d0256998925386ba4751436137168f89c6"}
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_WAIT_S: Final = 30.0
_ONE_AT_A_TIME: Final = 0x534A524E  # of the server's advisory locks, while a journal is made

_COMMENT: Final = (
    "SELECT obj_description(n.oid, 'pg_namespace'), "
    "EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = n.oid), "
    "has_schema_privilege(n.oid, 'USAGE'), current_user::text "
    "FROM pg_namespace n WHERE n.nspname = ?"
)
_SIZE: Final = (
    "SELECT current_setting('server_version'), COALESCE(sum(pg_total_relation_size(oid)), 0)::bigint "
    "FROM pg_class WHERE relnamespace = ?::regnamespace AND relkind = 'r'"
)
# Of two addresses of one database the same, and of two databases never: be one the other's standby, or made of its backup.
_RUNNING: Final = (
    "SELECT extract(epoch FROM pg_postmaster_start_time())::text, "
    "(SELECT oid::bigint FROM pg_database WHERE datname = current_database()), "
    "(SELECT oid::bigint FROM pg_namespace WHERE nspname = ?)"
)
# No text that the server makes of a definition: it differs from version to version.
_OBJECTS: Final = (
    (
        "SELECT 'column', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod), "
        "a.attnotnull::text || a.attidentity::text "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = ?::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped"
    ),
    (
        "SELECT 'trigger', c.relname || '.' || t.tgname, t.tgenabled::text || t.tgtype::text || (t.tgqual IS NULL)::text, "
        "p.proname || ':' || p.prosrc FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid "
        "JOIN pg_proc p ON p.oid = t.tgfoid WHERE c.relnamespace = ?::regnamespace AND NOT t.tgisinternal"
    ),
    (
        "SELECT 'rule', c.relname || '.' || r.rulename, r.ev_type::text, '' "
        "FROM pg_class c JOIN pg_rewrite r ON r.ev_class = c.oid "
        "WHERE c.relnamespace = ?::regnamespace AND c.relkind IN ('r', 'p')"
    ),
    (
        "SELECT 'index', c.relname || '.' || i.relname, x.indisunique::text || x.indisvalid::text, x.indkey::text "
        "FROM pg_class c JOIN pg_index x ON x.indrelid = c.oid JOIN pg_class i ON i.oid = x.indexrelid "
        "WHERE c.relnamespace = ?::regnamespace"
    ),
    (
        "SELECT 'constraint', c.relname || '.' || k.conname, k.contype::text, k.conkey::text "
        "FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid "
        "WHERE c.relnamespace = ?::regnamespace AND k.contype <> 'n'"
    ),
    (
        "SELECT 'table', c.relname::text, c.relkind::text || c.relpersistence::text || c.relrowsecurity::text, '' "
        "FROM pg_class c WHERE c.relnamespace = ?::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
    ),
)


def version_of(address: Address) -> int | None:
    """Return the schema version of a journal on a server; None where there is none yet.

    Changes nothing.

    Raises:
        SchemaError: the schema holds another program's tables, a newer version's, or a
            copy that is not finished; or somebody changed the comment that says so.
        StorageError: the server cannot be reached.

    """
    with _asked(address) as connection:
        check_server(connection, address.shown, durability=None)
        return version_in(Cursor(connection), address)


@contextmanager
def _asked(address: Address) -> Iterator[Any]:
    with closing(connect(address)) as connection:
        try:
            yield connection
        except driver().Error as error:
            raise translated(error, address.shown) from error


def version_in(cursor: Cursor, address: Address) -> int | None:
    """Return the schema version as one connection sees it; as :func:`version_of`."""
    found = cursor.execute(_COMMENT, (address.schema,)).fetchone()
    if found is None:
        return None
    comment, is_used, may_use, user = (_plain(value) for value in found)
    if str(comment or "").startswith(copymark.COMMENT):
        mark = copymark.mark_of(str(comment).removeprefix(copymark.COMMENT))
        raise copymark.unfinished(address.shown, mark)
    if not str(comment or "").startswith(COMMENT):
        if not is_used:
            return None  # made empty for us, by somebody who may make schemas
        raise errors.SchemaError(
            f"{address.shown}: the schema {address.schema!r} holds another program's tables; "
            "it was left as it is",
            hint="name another schema in the URL: ?schema=NAME",
            code="not-a-journal",
        )
    if not may_use:
        raise errors.ReadOnlyError(
            f"{address.shown}: {user} may not use the schema {address.schema!r}",
            hint=f"GRANT USAGE ON SCHEMA {address.schema} TO {user}, and what else docs/postgres.md has for it",
            code="not-granted",
        )
    version = str(comment).removeprefix(COMMENT)
    if not _NUMBER.fullmatch(version):
        raise errors.SchemaError(
            f"{address.shown}: the comment on the schema {address.schema!r} was changed, and says no version; "
            "it was left as it is",
            hint=f"{commented(address, f'{COMMENT}{max(DIGESTS)}')}  # as it was",
            code="schema-changed",
        )
    return int(version)


def unfinished_at(address: Address) -> copymark.CopyMark | None:
    """Return what is being copied into a schema; None if it is no unfinished copy."""
    with _asked(address) as connection:
        found = Cursor(connection).execute(_COMMENT, (address.schema,)).fetchone()
    comment = "" if found is None else str(found[0] or "")
    if not comment.startswith(copymark.COMMENT):
        return None
    return copymark.mark_of(comment.removeprefix(copymark.COMMENT))


def running(cursor: Cursor, schema: str) -> tuple[object, ...]:
    """Return what tells a schema from all others, of whichever server that runs."""
    return tuple(cursor.execute(_RUNNING, (schema,)).fetchone())


class Facts(NamedTuple):
    """What can be told of a journal on a server without its key."""

    journal_id: str | None
    version: int | None
    server: str
    size: int


def facts(address: Address) -> Facts:
    """Return what can be told of a journal without its key."""
    with _asked(address) as connection:
        cursor = Cursor(connection)
        row = cursor.execute("SELECT value FROM meta WHERE name = 'journal_id'").fetchone()
        server, size = cursor.execute(_SIZE, (address.schema,)).fetchone()
        version = version_in(cursor, address)
    return Facts(None if row is None else str(row[0]), version, str(server), int(size))


def create(
    address: Address,
    genesis: Callable[[Cursor], None],
    migrate: Callable[[Connection], None],
    comment: str,
) -> bool:
    """Make the schema and call ``genesis``, in one transaction; return whether this call did it.

    Safe when many processes do it at once: one creates, the others find it.
    """
    with closing(connect(address)) as connection:
        check_server(connection, address.shown, durability="normal")
        count = standbys.check(connection, address.shown, address.standbys, durability="full")
        with _confirmed(connection, address, count), migrating(connection, address) as own:
            cursor = Cursor(connection)
            cursor.execute("SELECT pg_advisory_xact_lock(?)", (_ONE_AT_A_TIME,))
            if version_in(cursor, address) is not None:
                return False
            if cursor.execute(_COMMENT, (address.schema,)).fetchone() is None:
                # Only then: with IF NOT EXISTS, too, it takes somebody who may make schemas.
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(address.schema)}")
            migrate(own)
            cursor.execute(commented(address, comment))
            genesis(cursor)
    return True


@contextmanager
def _confirmed(connection: Any, address: Address, count: int) -> Iterator[None]:  # noqa: ANN401
    """Wait for so many standbys with what is committed within, and no longer than with any commit."""
    commits = standbys.Commits(connection, count)
    try:
        with commits.confirmed(_WAIT_S) if count else nullcontext():
            yield
    except errors.StorageError as error:
        if not count or not commits.is_in_doubt:
            raise
        raise errors.StorageError(
            f"{address.shown}: no standby confirmed that the journal was made",
            hint="when the standby is back, do the same again: what is there is used",
            code="outcome-unknown",
        ) from error


@contextmanager
def migrating(connection: Any, address: Address) -> Iterator[Connection]:  # noqa: ANN401 - the driver's
    """Give a connection as migrations take it, in one transaction of its own.

    Raises:
        JournalError: what the server said, as ours.

    """
    # Imported when needed: a schema is made or mended once, and SQLAlchemy costs 200 ms.
    from sqlalchemy import NullPool, create_engine  # noqa: PLC0415 - see above

    connection.autocommit = False
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=NullPool)
    try:
        with engine.begin() as own:
            yield own
    except Exception as error:
        original = getattr(error, "orig", None) or error
        if isinstance(original, driver().Error):
            raise translated(original, address.shown) from error
        raise
    finally:
        engine.dispose()


def commented(address: Address, comment: str) -> str:
    """Return the statement that says of a schema what it is."""
    words = comment.replace("'", "''")
    return f"COMMENT ON SCHEMA {quoted(address.schema)} IS '{words}'"


def objects(cursor: Any, schema: str) -> list[tuple[str, ...]]:  # noqa: ANN401 - whoever reads
    """Return all that could change what our tables do, in order."""
    found = [
        tuple(str(_plain(value)) for value in row)
        for statement in _OBJECTS
        for row in cursor.execute(statement, (schema,)).fetchall()
    ]
    return sorted(row for row in found if not row[1].startswith("alembic_version"))


def digest(found: list[tuple[str, ...]]) -> str:
    """Return the digest that names one catalogue exactly; others' tables do not count."""
    ours = [row for row in found if row[1].partition(".")[0] in metadata.tables]
    return hashlib.sha256("\n".join("\x1f".join(row) for row in ours).encode()).hexdigest()


def faults(found: list[tuple[str, ...]], version: int) -> list[str]:
    """Say what is not as we made it: by name where a trigger is, else in general."""
    if digest(found) == DIGESTS.get(version):
        return []
    there = {row[1].partition(".")[2]: row[2] for row in found if row[0] == "trigger"}
    told = [f"missing trigger {name}" for name in sorted(TRIGGERS - there.keys())]
    told += [f"foreign trigger {name}" for name in sorted(there.keys() - TRIGGERS)]
    told += [
        f"disabled trigger {name}" for name, state in sorted(there.items()) if state[0] not in "OA"
    ]
    return told or ["a table, an index, a rule or a trigger was changed"]


def check(cursor: Cursor, address: Address, version: int) -> None:
    """Refuse a catalogue that is not exactly ours; nothing is written until it is mended.

    Raises:
        SchemaError: an object is missing, changed or foreign; or the version is another.

    """
    found = version_in(cursor, address)
    if found != version:
        raise errors.SchemaError(
            f"{address.shown} has schema {found}, this version writes {version}",
            hint="journal upgrade  # tells what can be done"
            if (found or 0) < version
            else "pip install --upgrade session-journal",
            code="schema-newer" if (found or 0) > version else "schema-older",
        )
    told = faults(objects(cursor, address.schema), version)
    if told:
        raise errors.SchemaError(
            f"{address.shown}: the schema is not the journal's own: {'; '.join(told[:3])}; nothing was written",
            hint="journal upgrade  # shows the difference; journal upgrade --apply restores all but tables, "
            "columns and constraints",
            code="schema-changed",
        )


def _plain(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value

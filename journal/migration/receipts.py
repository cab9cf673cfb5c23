"""The records of migrations: which run read which file into which session.

They are for people, for aliases, and for finding a file's session again. Whether
a file is migrated is never decided by them: that is decided by its bytes.
"""

from __future__ import annotations

import json
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import LargeBinary, Text, bindparam, cast, select

from journal.statements import compiled, insert_row
from journal.tables import migrated_files

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal.engine import Cursor
    from journal.store import Store

PARTIAL: Final = "partial"
DONE: Final = "done"


class Receipt(NamedTuple):
    """One row of ``migrated_files``, in the table's order but for its id.

    ``sha256``, ``bytes`` and ``lines`` are those of the file up to ``last_seq``:
    all of it once the state is "done".
    """

    migration_id: int
    session_id: int
    path: str
    name: str
    alias: str | None
    format: str
    file_class: str
    state: str
    first_seq: int
    last_seq: int
    bytes: int
    lines: int
    raw_lines: int
    sha256: str
    mode: int | None
    migrated_us: int


class Kept(NamedTuple):
    """A receipt as it was found, with its number."""

    number: int
    receipt: Receipt


def path_text(path: str) -> str:
    """Return a path as text that a column can hold; file names need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def begin_run(store: Store, sources: Iterable[str]) -> int:
    """Record that a run begins; return its number."""
    with store.transaction() as cursor:
        cursor.execute("UPDATE migrations SET state = 'interrupted' WHERE state = 'running'")
        cursor.execute(
            "INSERT INTO migrations(source, state, files, lines, bytes, started_us) VALUES (?, 'running', 0, 0, 0, ?)",
            (json.dumps([path_text(source) for source in sources]), store.clock()),
        )
        return cursor.lastrowid or 0


def end_run(store: Store, number: int, state: str, files: int, lines: int, size: int) -> None:  # noqa: PLR0913
    """Record how a run ended, and what it added."""
    with store.transaction() as cursor:
        cursor.execute(
            "UPDATE migrations SET state = ?, files = ?, lines = ?, bytes = ?, finished_us = ? WHERE id = ?",
            (state, files, lines, size, store.clock(), number),
        )


def add(cursor: Cursor, receipt: Receipt) -> int:
    """Store a new receipt; return its number."""
    cursor.execute(insert_row(migrated_files), receipt)
    return cursor.lastrowid or 0


def hashes(cursor: Cursor) -> set[str]:
    """Return the hashes of all files that were read to their end."""
    found = cursor.execute("SELECT DISTINCT sha256 FROM migrated_files WHERE state = ?", (DONE,))
    return {sha256 for (sha256,) in found.fetchall()}


@cache
def _update() -> str:
    names = [column.name for column in migrated_files.c if column.name != "id"]
    values: dict[str, Any] = {name: bindparam(f"b_{name}") for name in names}
    statement = migrated_files.update().where(migrated_files.c.id == bindparam("b_id"))
    return compiled(statement.values(values))


def replace(cursor: Cursor, number: int, receipt: Receipt) -> None:
    """Bring a receipt up to date."""
    cursor.execute(_update(), (*receipt, number))


@cache
def _of(column: str) -> str:
    # Text as bytes: a row put there by plain SQL need not be UTF-8, and the
    # driver would refuse to hand it out at all.
    columns = [
        cast(each, LargeBinary) if isinstance(each.type, Text) else each
        for each in migrated_files.c
    ]
    where = migrated_files.c[column] == bindparam("value")
    return compiled(select(*columns).where(where).order_by(migrated_files.c.id.desc()))


def _found(cursor: Cursor, column: str, value: str | int) -> list[Kept]:
    rows = cursor.execute(_of(column), (value,)).fetchall()
    return [Kept(row[0], Receipt(*map(_text, row[1:]))) for row in rows]


def _text(value: Any) -> Any:  # noqa: ANN401 - a column's value
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def of_path(cursor: Cursor, path: str) -> list[Kept]:
    """Return the receipts of a file's path, the newest first."""
    return _found(cursor, "path", path_text(path))


def of_session(cursor: Cursor, session_id: int) -> list[Kept]:
    """Return the receipts of a session, the newest first."""
    return _found(cursor, "session_id", session_id)


def of_run(cursor: Cursor, number: int) -> list[Kept]:
    """Return the receipts of a run, the newest first."""
    return _found(cursor, "migration_id", number)

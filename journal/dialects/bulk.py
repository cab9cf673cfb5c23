"""Whole tables in and out of a PostgreSQL server by COPY, and the making of a copy there.

Rows come and go as the journal's readers have them: numbers, and bytes for text and
blobs alike, in the order of ``tables.py``. COPY streams, so memory does not grow.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from journal import copymark, tables
from journal.dialects import catalog, standbys
from journal.dialects.postgres import (
    GONE,
    Cursor,
    check_server,
    connect,
    driver,
    is_lost,
    translated,
)
from journal.dialects.texts import turned
from journal.errors import BusyError, SchemaError, StorageError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Column, Connection, Table

    from journal.copymark import CopyMark
    from journal.dialects.address import Address

_WAIT_S: Final = 10.0
_FIRST_ROWS: Final = 16
_MOST_ROWS: Final = 2000
_FETCH_BYTES: Final = 4 * 1024 * 1024
_BODY: Final = -1  # of an entry's columns, the last
_cursors = itertools.count(1)
_IS_OPEN: Final = "SELECT 1 FROM pg_cursors WHERE name = %s"
# By the schema's own number: copies into two schemas do not wait for each other.
_LOCK: Final = "SELECT pg_advisory_lock(?::int, (?::regnamespace)::oid::int)"
_NUMBERED: Final = (
    "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "WHERE c.relnamespace = ?::regnamespace AND a.attname = 'id' AND a.attidentity <> ''"
)
# A row with a number near the last one was put there by plain SQL: what comes goes on below.
_SET_NUMBER: Final = (
    "SELECT setval(pg_get_serial_sequence('{0}', 'id'), "
    "COALESCE((SELECT max(id) FROM {0} WHERE id < 4611686018427387904), 0) + 1, false)"
)


def names_of(table: Table) -> str:
    """Return a table's columns, as a statement names them."""
    return ", ".join(f'"{column.name}"' for column in table.c)


def _kinds(columns: Iterable[Column[Any]]) -> list[str]:
    # Text as the bytes it is: in COPY's binary form it looks the same.
    return ["int8" if issubclass(column.type.python_type, int) else "bytea" for column in columns]


def unloaded(connection: Any, table: Table, after: int | None = None) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - the driver's
    """Yield a table's rows in the order of its primary key, entries by number; inside a transaction.

    ``after`` leaves out the rows up to a number.
    """
    where = "" if after is None else f" WHERE id > {after:d}"
    order = ", ".join(_ordered(table))
    select = f"SELECT {names_of(table)} FROM {table.name}{where} ORDER BY {order}"  # noqa: S608 - names of our own
    # Along the index: sorting would write the whole table to the server's disk once more.
    with (
        _planned(connection),
        connection.cursor().copy(f"COPY ({select}) TO STDOUT (FORMAT BINARY)") as copy,
    ):
        copy.set_types(_kinds(table.c))
        yield from copy.rows()


def streamed(connection: Any, statement: str, values: tuple[object, ...]) -> Iterator[Any]:  # noqa: ANN401 - the driver's
    """Yield a statement's rows a few MiB at a time, while others are asked; inside a transaction."""
    name, is_over = f"rows_{next(_cursors)}", False
    cursor = driver().RawServerCursor(connection, name)
    try:
        cursor.execute(turned(statement).sql, values)
        count = _FIRST_ROWS
        while rows := cursor.fetchmany(count):
            size = sum(len(row[_BODY] or b"") for row in rows)
            yield from rows
            # By what these came to: a line may have 8 MiB, and most have a few hundred bytes.
            count = max(1, min(_MOST_ROWS, _FETCH_BYTES * len(rows) // max(size, 1)))
        is_over = True
    finally:
        with suppress(driver().Error):  # a failed transaction has closed it already
            # One that was given up may be gone with what was rolled back within the transaction,
            # and to close what is not there would end that.
            if is_over or connection.execute(_IS_OPEN, (name,)).fetchone() is not None:
                cursor.close()
        driver().Cursor.close(cursor)  # here, whatever is there


def _ordered(table: Table) -> Iterator[str]:
    for column in table.primary_key:
        is_text = issubclass(column.type.python_type, str)
        yield f'"{column.name}" COLLATE "C"' if is_text else f'"{column.name}"'
    keys = {column.name for column in table.primary_key}
    # A number or id alone is not unique on a server.
    yield from (name for name in tables.server_key(table) if name not in keys)


@contextmanager
def _planned(connection: Any) -> Iterator[None]:  # noqa: ANN401
    # A whole table takes as long as it takes, whatever a statement may take otherwise.
    chosen = {"enable_seqscan": "off", "enable_sort": "off", "statement_timeout": "0"}
    for name, value in chosen.items():
        connection.execute(f"SET LOCAL {name} = {value}")
    yield
    for name in chosen:
        connection.execute(f"SET LOCAL {name} TO DEFAULT")


def _load(connection: Any, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:  # noqa: ANN401
    words = f"COPY {table.name} ({names_of(table)}) FROM STDIN (FORMAT BINARY)"
    with connection.cursor().copy(words) as copy:
        copy.set_types(_kinds(table.c))
        for row in rows:
            copy.write_row(row)


def add_entries(cursor: Cursor, rows: Iterable[tuple[Any, ...]]) -> int:
    """Add entries, their numbers the server's, in the cursor's transaction; return how many it says it has.

    The rows are those of :data:`~journal.statements.INSERT_ENTRY`; every trigger looks at them.
    """
    columns = [column for column in tables.entries.c if column.name != "id"]
    names = ", ".join(column.name for column in columns)
    copying = cursor.connection.cursor()
    with copying.copy(f"COPY entries ({names}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(_kinds(columns))
        for row in rows:
            copy.write_row([v.encode() if isinstance(v, str) else v for v in row])
    return int(copying.rowcount)


class ServerTarget:
    """A copy in the making on a server: no journal before :meth:`finish`."""

    is_server = True

    def __init__(self, address: Address) -> None:
        self.address, self.shown = address, address.shown
        self._raw: Any = None

    def begin(self, mark: CopyMark, migrate: Callable[[Connection], None]) -> None:
        """Make the schema, or go on with one that a copy was begun in; nobody else copies into it meanwhile."""
        try:
            catalog.create(
                self.address, lambda _: None, migrate, f"{copymark.COMMENT}{mark.text()}"
            )
        except SchemaError as error:
            if error.code != copymark.CODE:
                raise
        with self._told():
            self._connect()
            self._lock()
            self._check_mark(mark)
            # Whoever writes rows as they are needs no seat belt that asks for a head first.
            self._switch("DISABLE")

    def _connect(self) -> None:
        self._raw = connect(self.address, busy_timeout_s=_WAIT_S)
        check_server(self._raw, self.shown, durability="full")
        standbys.check(self._raw, self.shown, self.address.standbys, durability="full")
        self._raw.execute("SET statement_timeout = 0")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a finished copy so that nobody writes to it, in one transaction with the block."""
        with self._told():
            self._connect()
            with self._raw.transaction():
                self._raw.execute("LOCK TABLE sessions, instances IN SHARE ROW EXCLUSIVE MODE")
                # It may have been upgraded, or tampered with, since it was looked at.
                catalog.check(Cursor(self._raw), self.address, max(catalog.DIGESTS))
                self._switch("DISABLE")  # and so both tables are locked until the end
                yield
                self._number()
                self._switch("ENABLE")

    def _lock(self) -> None:
        try:
            Cursor(self._raw).execute(_LOCK, (copymark.APPLICATION_ID, self.address.schema))
        except driver().errors.LockNotAvailable as error:
            raise BusyError(
                f"{self.shown}: another process is copying into it",
                hint="wait until that has ended, then do the same again",
            ) from error

    def _check_mark(self, mark: CopyMark) -> None:
        """Refuse what another process finished, or began of another journal, before the lock was ours."""
        begun = catalog.unfinished_at(self.address)
        if begun is None:
            raise StorageError(
                f"{self.shown}: it was finished by another process meanwhile",
                hint="do the same again: what is there is compared",
                code="live",
            )
        if begun.journal_id != mark.journal_id:
            raise copymark.another(self.shown, begun)

    def _switch(self, how: str) -> None:
        for name in ("entries", "meta"):
            self._raw.execute(f"ALTER TABLE {name} {how} TRIGGER USER")

    def highest(self) -> int | None:
        """Return the highest number of an entry that is there; None if there is none."""
        with self._told():
            found: int | None = self._raw.execute("SELECT max(id) FROM entries").fetchone()[0]
        return found

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Add entries, durably."""
        with self._told(), self._raw.transaction():
            _load(self._raw, tables.entries, rows)

    def mend(self, gone: list[tuple[int, ...]], rows: list[tuple[Any, ...]]) -> None:
        """Take entries out by number, session and seq, and add others, in one transaction."""
        with self._told(), self._raw.transaction():
            cursor = self._raw.cursor()
            cursor.executemany(
                "DELETE FROM entries WHERE id = %s AND session_id = %s AND seq = %s", gone
            )
            _load(self._raw, tables.entries, rows)

    def replace(self, streams: Iterable[tuple[Table, Iterable[tuple[Any, ...]]]]) -> None:
        """Put other rows in the place of all that tables hold, in one transaction."""
        with self._told(), self._raw.transaction():
            for table, rows in streams:
                self._raw.execute(f"DELETE FROM {table.name}")  # noqa: S608 - a name of our own
                _load(self._raw, table, rows)

    def ordered(self, table: Table) -> Iterator[tuple[Any, ...]]:
        """Yield a table's rows by primary key, of the state that the first of them is in."""
        reader = connect(self.address)
        try:
            with self._told():
                reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield from unloaded(reader, table)
        finally:
            reader.close()

    def finish(self, unmirrored: list[int], key_file: str | os.PathLike[str] | None) -> None:
        """Make it a journal. The mirrors that are registered say of themselves that they are not its own."""
        del unmirrored, key_file
        with self._told(), self._raw.transaction():
            self._switch("ENABLE")
            self._number()
            comment = f"{catalog.COMMENT}{max(catalog.DIGESTS)}"
            self._raw.execute(catalog.commented(self.address, comment))
        with self._told():
            for (
                name
            ) in tables.metadata.tables:  # or the planner would know nothing of a million rows
                self._raw.execute(f"ANALYZE {name}")

    def _number(self) -> None:
        for (name,) in Cursor(self._raw).execute(_NUMBERED, (self.address.schema,)).fetchall():
            if name in tables.metadata.tables:  # others' tables are no business of ours
                self._raw.execute(_SET_NUMBER.format(name))

    def close(self) -> None:
        """Let it go, as far as it came."""
        if self._raw is not None:
            self._raw.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except driver().Error as error:
            if is_lost(error):
                raise StorageError(
                    f"{self.shown}: the connection to the server was lost",
                    hint="when the server is back, do the same again: it goes on where it was",
                    code=GONE,
                ) from error
            raise translated(error, self.shown) from error

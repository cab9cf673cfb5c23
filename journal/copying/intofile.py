"""A copy in the making in a file."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from journal import copymark, schema, tables
from journal.controls import fact
from journal.descriptors import CLOSE_ON_EXEC
from journal.dialects.bulk import names_of
from journal.engine import APPLICATION_ID, connect, driver, is_compatible_mode, translated
from journal.errors import BusyError, StorageError
from journal.place import check_place
from journal.store import Store
from journal.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection, Table

    from journal.copymark import CopyMark

_WAIT_S: Final = 10.0
# Put back at the end: a trigger asks for a head first, and an index that grows row by row
# costs more than one that is made at once.
_LATER: Final = (
    "SELECT type, name FROM sqlite_schema WHERE type = 'trigger' "
    "OR (type = 'index' AND tbl_name = 'entries' AND sql IS NOT NULL)"
)


_TRIGGERS: Final = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"


def _insert(table: Table) -> str:
    # A cast takes the bytes for text as they are, even where they are none.
    marks = (
        "CAST(? AS TEXT)" if issubclass(column.type.python_type, str) else "?" for column in table.c
    )
    return f"INSERT INTO {table.name} ({names_of(table)}) VALUES ({', '.join(marks)})"  # noqa: S608 - names of our own


class FileTarget:
    """A copy in the making in a file: no journal before :meth:`finish`."""

    is_server = False

    def __init__(self, path: Path) -> None:
        check_place(path)
        self.path, self.shown = path, str(path)
        self._raw: Any = None
        self._ticket: Ticket | None = None

    def begin(self, mark: CopyMark, migrate: Callable[[Connection], None]) -> None:
        """Make the file, or go on with one that a copy was begun in; nobody else copies into it meanwhile."""
        del migrate  # known to the schema
        with self._told():
            self._take_turn()
            with suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOSE_ON_EXEC
                os.close(os.open(self.path, flags, 0o600))
            begun = schema.unfinished_at(self.shown)
            if begun is None:
                schema.create_draft(self.shown, mark)
            elif begun.journal_id != mark.journal_id:
                raise copymark.another(self.shown, begun)  # since it was looked at
            self._raw = connect(self.shown)
            with self._transaction():
                self._check_mark()
                for kind, name in self._raw.execute(_LATER).fetchall():
                    self._raw.execute(f'DROP {kind} "{name}"')

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a finished copy so that nobody writes to it, in one transaction with the block."""
        with self._told():
            self._take_turn()
            self._raw = connect(self.shown)
            with self._transaction():
                schema.check(self._raw.execute, self.shown)
                triggers = self._raw.execute(_TRIGGERS).fetchall()
                for name, _ in triggers:
                    self._raw.execute(f'DROP TRIGGER "{name}"')
                yield
                for _, words in triggers:
                    self._raw.execute(words)

    def _take_turn(self) -> None:
        self._ticket = Ticket(self.shown, _WAIT_S)
        try:
            self._ticket.take()
        except BusyError as error:
            raise BusyError(
                f"another process is copying into it, or writing to it: {error}",
                hint="wait until that has ended, then do the same again",
            ) from error

    def _check_mark(self) -> None:
        found = self._raw.execute("PRAGMA application_id").fetchone()[0]
        if found != copymark.APPLICATION_ID:
            raise StorageError(
                f"{self.shown}: it was finished by another process meanwhile",
                hint="do the same again: what is there is compared",
                code="live",
            )

    def highest(self) -> int | None:
        """Return the highest number of an entry that is there; None if there is none."""
        with self._told():
            found: int | None = self._raw.execute("SELECT max(id) FROM entries").fetchone()[0]
        return found

    def add(self, rows: list[tuple[Any, ...]]) -> None:
        """Add entries, durably."""
        with self._told(), self._transaction():
            self._raw.executemany(_insert(tables.entries), rows)

    def mend(self, gone: list[tuple[int, ...]], rows: list[tuple[Any, ...]]) -> None:
        """Take entries out by number, session and seq, and add others, in one transaction."""
        with self._told(), self._transaction():
            statement = "DELETE FROM entries WHERE id = ? AND session_id = ? AND seq = ?"
            self._raw.executemany(statement, gone)
            self._raw.executemany(_insert(tables.entries), rows)

    def replace(self, streams: Iterable[tuple[Table, Iterable[tuple[Any, ...]]]]) -> None:
        """Put other rows in the place of all that tables hold, in one transaction."""
        with self._told(), self._transaction():
            for table, rows in streams:
                self._raw.execute(f"DELETE FROM {table.name}")  # noqa: S608 - a name of our own
                self._raw.executemany(_insert(table), rows)

    def ordered(self, table: Table) -> Iterator[tuple[Any, ...]]:
        """Yield a table's rows by primary key, of the state that the first of them is in."""
        order = ", ".join(f'"{column.name}"' for column in table.primary_key)
        select = f"SELECT {names_of(table)} FROM {table.name} ORDER BY {order}"  # noqa: S608
        with self._told(), closing(connect(self.shown, mode="ro")) as reader:
            reader.text_factory = bytes
            yield from reader.execute(select)

    def finish(self, unmirrored: list[int], key_file: str | os.PathLike[str] | None) -> None:
        """Make it a journal, and record of sessions that they have no mirror here."""
        schema.restore(self.shown)
        if unmirrored:
            self._let_go()
            _finish_sealed(self.shown, unmirrored, key_file)
            return
        with self._told(), self._transaction():
            _become(self._raw.execute)

    def close(self) -> None:
        """Let it go, as far as it came."""
        self._let_go()

    def _let_go(self) -> None:
        raw, self._raw = self._raw, None
        if raw is not None:
            raw.close()
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.give_back()
            ticket.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._raw.in_transaction:
            yield  # a part of the one that is open
            return
        self._raw.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._raw.execute("COMMIT")
        except BaseException:
            with suppress(driver().Error):  # a full disk has rolled it back already
                self._raw.execute("ROLLBACK")
            raise
        if is_compatible_mode():  # nobody else folds the log in
            self._raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (driver().Error, OSError) as error:
            raise translated(error, self.shown) from error


def _become(execute: Callable[[str], Any]) -> None:
    execute(f"DROP TABLE {copymark.TABLE}")
    execute(f"PRAGMA application_id={APPLICATION_ID}")


def _finish_sealed(
    path: str, unmirrored: list[int], key_file: str | os.PathLike[str] | None
) -> None:
    """Make it a journal in the very transaction that seals what it has not: else it might write to the files."""
    store = Store(path, key_file=key_file)
    try:
        with store.transaction() as cursor:
            for session_id in unmirrored:
                store.record(cursor, fact("unmirror", session_id=session_id))
                statement = (
                    "UPDATE mirrors SET state = 'removed', removed_us = ? "
                    "WHERE session_id = ? AND state <> 'removed'"
                )
                cursor.execute(statement, (store.clock(), session_id))
            _become(cursor.execute)
    finally:
        store.close()

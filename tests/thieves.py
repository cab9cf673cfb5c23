"""A thief with plain SQL: what the tests let him do to a journal behind its back.

He has the file and no key. He goes through the same driver as the journal, for a
second SQLite library in one process would drop its locks. At his best he takes
the triggers down for as long as he needs and puts them back as they were.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from journal.audit import audit
from journal.dialects.address import is_url, parsed
from journal.dialects.postgres import Cursor, connect
from journal.engine import driver
from journal.guards import opening
from journal.model import Row

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

KEY: Final = "agent:main:main"
COLUMNS: Final = Row._fields[1:]
# Under no seal: listing aids, and the row's own address.
UNSEALED: Final = ("id", "line_type", "line_id", "parent_id")


def raw(path: str | os.PathLike[str], **options: Any) -> Any:
    """Open a plain connection by the journal's own library, known to the guards as such."""
    with opening(str(path)):
        connection = driver().connect(str(path), **options)
        connection.execute("PRAGMA user_version")
    return connection


class Thief:
    """A raw connection to a journal's database, and the tricks a thief knows."""

    def __init__(self, path: str | os.PathLike[str], key: str = KEY) -> None:
        self.key = key
        self.connection: Any = raw(path, isolation_level=None, timeout=5)

    def close(self) -> None:
        self.connection.close()

    # -- looking ----------------------------------------------------------------------

    def execute(self, statement: str, *values: object) -> Any:
        return self.connection.execute(statement, values)

    def ask(self, statement: str, *values: object) -> Any:
        """Return the first value of the first row, or None."""
        row = self.execute(statement, *values).fetchone()
        return None if row is None else row[0]

    def session_id(self, key: str | None = None) -> int:
        return int(self.ask("SELECT id FROM sessions WHERE key = ?", key or self.key))

    def seqs(self, key: str | None = None) -> list[int]:
        session_id = self.session_id(key)
        found = self.execute(
            "SELECT seq FROM entries WHERE session_id = ? ORDER BY seq", session_id
        )
        return [seq for (seq,) in found]

    def column(self, column: str, seq: int, key: str | None = None) -> Any:
        statement = f"SELECT {column} FROM entries WHERE session_id = ? AND seq = ?"
        return self.ask(statement, self.session_id(key), seq)

    def count(self, table: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM {table}"))

    def dump(self) -> list[str]:
        """Return every row of every table, to see whether anything changed."""
        names = [n for (n,) in self.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [
            f"{name}: {row}"
            for name in sorted(names)
            for row in self.execute(f"SELECT * FROM {name}")
        ]

    # -- taking the seat belts off ----------------------------------------------------

    def triggers(self) -> list[tuple[str, str]]:
        found = self.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
        )
        return [(name, text) for name, text in found.fetchall()]

    def drop_triggers(self) -> None:
        for name, _ in self.triggers():
            self.execute(f"DROP TRIGGER {name}")

    @contextmanager
    def without_triggers(self) -> Iterator[None]:
        """Take every trigger down, and put each back exactly as it was, in one transaction."""
        with self.transaction():
            kept = self.triggers()
            self.drop_triggers()
            yield
            for _, text in kept:
                self.execute(text)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    # -- writing ----------------------------------------------------------------------

    def insert_copy(
        self,
        key: str | None = None,
        *,
        of: int | None = None,
        verb: str = "INSERT",
        move_head: bool = True,
        **columns: object,
    ) -> int:
        """Insert a copy of a row (the newest one) with some columns forged; return its seq.

        Without a seq of its own it takes the next one. ``move_head`` moves the
        session's projection along first, as an honest write would: then the
        triggers have nothing to say.
        """
        session_id = self.session_id(key)
        row = self._row(session_id, of)
        row["seq"] = self.ask("SELECT max(seq) + 1 FROM entries WHERE session_id = ?", session_id)
        row["epoch"] += 1
        row |= columns
        if "body" in columns and "salt" not in columns:
            row["salt"] = b"\0" * 16
        with self.transaction():
            if move_head:
                self.move_head(row["seq"], row["epoch"], key)
            self.insert(row, verb)
        return int(row["seq"])

    def _row(self, session_id: int, seq: int | None) -> dict[str, Any]:
        seq = (
            self.ask("SELECT max(seq) FROM entries WHERE session_id = ?", session_id)
            if seq is None
            else seq
        )
        statement = f"SELECT {', '.join(COLUMNS)} FROM entries WHERE session_id = ? AND seq = ?"
        return dict(zip(COLUMNS, self.execute(statement, session_id, seq).fetchone(), strict=True))

    def insert(self, row: dict[str, Any], verb: str = "INSERT") -> None:
        marks = ", ".join("?" * len(row))
        self.execute(f"{verb} INTO entries({', '.join(row)}) VALUES ({marks})", *row.values())

    def move_head(self, seq: int, epoch: int, key: str | None = None) -> None:
        self.execute(
            "UPDATE sessions SET head_seq = ?, head_epoch = ? WHERE id = ?",
            seq,
            epoch,
            self.session_id(key),
        )

    def insert_many(self, seqs: Iterable[int], key: str | None = None) -> None:
        """Insert a copy of the newest row at each of these seqs."""
        session_id = self.session_id(key)
        row = self._row(session_id, None)
        at = COLUMNS.index("seq")
        values = list(row.values())
        statement = (
            f"INSERT INTO entries({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        )
        with self.without_triggers():
            self.connection.executemany(
                statement, ([*values[:at], seq, *values[at + 1 :]] for seq in seqs)
            )

    def edit(self, column: str, seq: int, value: object, key: str | None = None) -> None:
        with self.without_triggers():
            self.execute(
                f"UPDATE entries SET {column} = ? WHERE session_id = ? AND seq = ?",
                value,
                self.session_id(key),
                seq,
            )

    def delete(self, *seqs: int, key: str | None = None) -> None:
        session_id = self.session_id(key)
        with self.without_triggers():
            for seq in seqs:
                self.execute(
                    "DELETE FROM entries WHERE session_id = ? AND seq = ?", session_id, seq
                )


class ServerThief(Thief):
    """The same thief on a PostgreSQL server, as whoever owns the tables."""

    def __init__(self, url: str, key: str = KEY) -> None:
        self.key = key
        self.connection = ServerConnection(url)

    def drop_triggers(self) -> None:
        self.execute("ALTER TABLE entries DISABLE TRIGGER USER")

    @contextmanager
    def without_triggers(self) -> Iterator[None]:
        with self.transaction():
            self.drop_triggers()
            yield
            self.execute("ALTER TABLE entries ENABLE TRIGGER USER")


class ServerConnection:
    """A plain connection to a server, with the names of SQLite's."""

    def __init__(self, url: str) -> None:
        self._raw = connect(parsed(url))

    @property
    def in_transaction(self) -> bool:
        return bool(self._raw.info.transaction_status)

    def execute(self, statement: str, values: Any = ()) -> Any:
        return Cursor(self._raw).execute(statement.replace("BEGIN IMMEDIATE", "BEGIN"), values)

    def executemany(self, statement: str, values: Iterable[Any]) -> Any:
        return Cursor(self._raw).executemany(statement, values)

    def close(self) -> None:
        self._raw.close()


def thief_at(path: str | os.PathLike[str]) -> Thief:
    """Return a thief, whichever engine keeps the journal."""
    return ServerThief(str(path)) if is_url(path) else Thief(path)


def forged_value(column: str, value: Any) -> object:
    """Return another value that the column can hold."""
    if isinstance(value, int):
        return value + 1 if column != "trusted" else 1 - value
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else b"\r\n"
    if isinstance(value, str):
        return {"kind": "raw", "origin": "input"}.get(column, value + "x")
    return {"claim": 7}.get(column, "forged")


def findings(path: str | os.PathLike[str]) -> list[Any]:
    """Return what an audit finds in a journal."""
    return list(audit(str(path)).findings)

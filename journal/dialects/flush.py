"""A write sent to the server at once, its conditions with it: one round trip, where it holds.

What a writer knows of a session is mostly still true. So nothing is asked beforehand:
the statement that moves the head moves it only if the server finds what was taken for
known, and the entry is inserted only if it moved. Where anything is otherwise nothing
is written, and the write is run again in a transaction that looks first.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import statements as sql
from journal.dialects.wire import count_of
from journal.model import REGISTRY_ID
from journal.tables import entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journal.dialects.wire import Wire

    Statement = tuple[str, Sequence[Any]]

_COLUMNS: Final = [column.name for column in entries.c if column.name != "id"]
_SEAL: Final = _COLUMNS.index("seal")
# The newest row, where ours was and under our seal, says both that it is there and that nothing is above it.
_MOVE: Final = f"""
UPDATE sessions SET head_seq = $1, head_epoch = $2, cum_bytes = $3, examined_seq = $4, examined_mac = $5
WHERE id = $6 AND head_seq = $7 AND key = $8::text AND head_epoch = $9 AND cum_bytes = $10
AND ($7, $11::bytea) = (SELECT seq, seal FROM entries WHERE session_id = $6 ORDER BY seq DESC LIMIT 1)
AND NOT EXISTS (SELECT FROM entries WHERE session_id = $6 AND seq < 1)
AND NOT EXISTS (SELECT FROM entries WHERE session_id = {REGISTRY_ID} AND seq > $12)
AND ($13::text IS NULL OR NOT EXISTS (SELECT FROM entries WHERE session_id = $6 AND request_id = $13::text))
"""  # noqa: S608 - our own number
_CONDITIONS: Final = 13
_BEGIN: Final[Statement] = ("BEGIN ISOLATION LEVEL REPEATABLE READ", ())
_COMMIT: Final[Statement] = ("COMMIT", ())


class UnforeseenError(Exception):
    """A write needs a look at the database, or found it otherwise than it was: it is to be run again."""


class Known(NamedTuple):
    """A head as it is taken for known, and what its projection says."""

    key: str
    seq: int
    epoch: int
    cum_bytes: int
    seal: bytes


class Move(NamedTuple):
    """One write: the values of its conditions, and its rows."""

    values: tuple[Any, ...]
    rows: list[Sequence[Any]]


class Flush:
    """Stands for the cursor while a write is made ready; anything but a plain write is unforeseen.

    Attributes:
        rowcount: what the last statement will have written, if the flush holds.
        is_begun: whether a transaction stands in which it is to be sent.

    """

    lastrowid = None

    def __init__(self, read_up_to: int, follower_lock: int) -> None:
        self._read_up_to = read_up_to
        self._follower_lock = follower_lock
        self._known: dict[int, Known] = {}
        self._asked: dict[int, str] = {}
        self._moves: list[Move] = []
        self.rowcount = 0
        self.is_begun = False

    def know(self, session_id: int, known: Known) -> None:
        """Take a session for what it was; whether it is will be a condition."""
        self._known[session_id] = known

    # -- as a cursor ------------------------------------------------------------------

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Flush:
        """Note one statement of a write."""
        if statement == sql.advance():
            self._move(values)
        elif statement == sql.INSERT_ENTRY:
            self._insert(values)
        elif statement == sql.rows_of_request() and values[0] not in self._asked:
            self._ask(*values)
        else:
            raise UnforeseenError
        return self

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]], /) -> Flush:
        """Note a write's rows."""
        for row in rows:
            self.execute(statement, row)
        self.rowcount = len(rows)
        return self

    def fetchall(self) -> list[Any]:
        """Return nothing: that no entry has this request is one of the conditions."""
        return []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a cursor has
        raise UnforeseenError(name)

    def _ask(self, session_id: int, request_id: str) -> None:
        if any(request_id == move.values[-1] for move in self._moves):
            raise UnforeseenError  # two at once: the second is to find the first
        self._asked[session_id] = request_id

    def _move(self, values: Sequence[Any]) -> None:
        seq, epoch, cum_bytes, _, _, number, found = values
        known = self._known.get(number)
        if known is None or known.seq != found:
            raise UnforeseenError
        request_id = self._asked.pop(number, None)
        conditions = (known.key, known.epoch, known.cum_bytes, known.seal, self._read_up_to)
        self._moves.append(Move((*values, *conditions, request_id), []))
        self._known[number] = Known(known.key, seq, epoch, cum_bytes, b"")
        self.rowcount = 1

    def _insert(self, row: Sequence[Any]) -> None:
        number = row[0]
        self._moves[-1].rows.append(row)
        self._known[number] = self._known[number]._replace(seal=row[_SEAL])
        self.rowcount = 1

    # -- sending ----------------------------------------------------------------------

    def send(self, wire: Wire) -> bool:
        """Write it all, or nothing; return whether somebody follows the journal.

        Raises:
            UnforeseenError: something was not as it was taken for; nothing was written.

        """
        if not self._moves or self._asked:
            raise UnforeseenError
        statements = list(self._statements())
        if len(statements) > 1:
            return self._send_together(wire, statements)
        # Where it does not hold, what is committed is nothing.
        done = wire.run(*statements, *([_COMMIT] if self.is_begun else []))[0]
        if count_of(done) != 1:
            raise UnforeseenError
        return _is_followed(done)

    def _send_together(self, wire: Wire, statements: Sequence[Statement]) -> bool:
        """Send several writes in two round trips: nothing is committed before all are known to hold."""
        done = wire.run(*([] if self.is_begun else [_BEGIN]), *statements)[-len(statements) :]
        if any(count_of(each) != 1 for each in done):
            raise UnforeseenError
        wire.run(_COMMIT)
        return _is_followed(done[0])

    def _statements(self) -> Iterator[Statement]:
        for move in self._moves:
            yield _single(), (*move.values, *move.rows[0], self._follower_lock)
            yield from ((_insert(), row) for row in move.rows[1:])


def _is_followed(done: Any) -> bool:  # noqa: ANN401 - libpq's result
    return bool(done.get_value(0, 0) == b"\0")


@cache
def _insert() -> str:
    marks = ", ".join(f"${number}" for number in range(1, len(_COLUMNS) + 1))
    return f"INSERT INTO entries ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - our own names


@cache
def _single() -> str:
    """Move a head on conditions, and insert one row if it moved; tell whether nobody follows."""
    marks = (f"${_CONDITIONS + number}" for number in range(1, len(_COLUMNS) + 1))
    return (
        f"WITH moved AS ({_MOVE} RETURNING 1) "  # noqa: S608 - our own names
        f"INSERT INTO entries ({', '.join(_COLUMNS)}) SELECT {', '.join(marks)} FROM moved "
        f"RETURNING pg_try_advisory_xact_lock_shared(${_CONDITIONS + len(_COLUMNS) + 1})"
    )

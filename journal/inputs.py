"""Pending inputs: what is said to a session while a run has the turn.

Submitting is a promise kept beside the chain: the row carries a proof over all
its columns, so that a row put into the queue by plain SQL is never taken. Taking
makes entries of them in the turn's own transaction. A row is not in the chain,
and its state could be put back; what it became is: each input has a request id,
and an input whose request is in the chain was taken, whatever its row says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Text

from journal import statements as sql
from journal.admission import earlier, refusal, store_lines, was_written, written_as
from journal.errors import EntryError
from journal.lines import LINE_LIMIT, encode, parse
from journal.model import check_label
from journal.parking import new_id
from journal.store import log
from journal.tables import pending_inputs
from journal.writing import Author

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session
    from journal.store import Store
    from journal.turn import Turn

PENDING: Final = "pending"
TAKEN: Final = "taken"
NOT_BELIEVED: Final = "not believed"
REVOKED: Final = "its writer was revoked"
_SOME: Final = 16  # rows at once: each may have 8 MiB
_IS_TEXT: Final = tuple(isinstance(column.type, Text) for column in pending_inputs.c)


@dataclass(frozen=True, slots=True)
class Input:
    """One line that was said to a session, waiting for a turn to take it.

    ``state`` is "pending", "taken" (then ``taken_seq`` is its entry), "not
    believed" (nobody with the journal's key stored the row as it is), or "its
    writer was revoked". Of a row not believed, ``writer`` is only what it claims.
    """

    id: int
    session: str
    writer: str
    data: bytes
    state: str
    request_id: str | None
    on_behalf_of: str | None
    submitted_us: int
    taken_seq: int | None = None
    taken_us: int | None = None


class Taken(list["Entry"]):
    """The entries that inputs became, and in ``left`` the inputs that could not be taken."""

    def __init__(self, entries: Iterable[Entry] = (), left: Iterable[Input] = ()) -> None:
        super().__init__(entries)
        self.left = tuple(left)


class InputRow(NamedTuple):
    """One row of ``pending_inputs``, in the table's order."""

    id: int
    session_id: int
    writer_id: int
    instance_id: int
    request_id: str | None
    on_behalf_of: str | None
    submitted_us: int
    taken_seq: int | None
    taken_us: int | None
    terminator: bytes
    mac: bytes
    body: bytes | None

    @classmethod
    def read(cls, values: Sequence[Any]) -> InputRow:
        """Return a row as it stands; text that is no UTF-8 comes out such that its proof fails."""
        return cls(*(
            value.decode("utf-8", "backslashreplace") if is_text and value is not None else value
            for value, is_text in zip(values, _IS_TEXT, strict=True)
        ))  # fmt: skip

    def proof(self, store: Store) -> bytes:
        """Return the proof this row should have, over every other column."""
        return store.mac("input", *self[:10], self.body)

    def holds(self, store: Store) -> bool:
        """Whether the row is as a key holder left it; such a row has a request id."""
        return self.request_id is not None and self.mac == self.proof(store)

    @property
    def line(self) -> Line:
        """The line as it becomes an entry."""
        return parse(self.body or b"", self.terminator)


# -- submitting ---------------------------------------------------------------------------


def submit(session: Session, line: object, request_id: str | None) -> Input:
    """Keep a line for whoever has the turn next; as :meth:`Session.submit`."""
    check_label(request_id, "request id")
    encoded = _one(line)
    store = session.store
    with store.transaction() as cursor:
        author = session.author(cursor)
        chain = store.open_chain(cursor, session.key)
        if request_id is not None:
            known = _known(cursor, session, chain, encoded, request_id)
            if known is not None:
                return known
        row = InputRow(
            _next_id(cursor, store), chain.session_id, author.writer.id, author.instance_id,
            # Without a name of its own nothing would tell it from a row put back later.
            request_id or f"input:{new_id('i')}",
            author.on_behalf_of, store.clock(), None, None, encoded.terminator, b"", encoded.body,
        )  # fmt: skip
        row = row._replace(mac=row.proof(store))
        cursor.execute(sql.insert_row(pending_inputs), row)
        return _input(store, row, PENDING)


def _one(line: object) -> Line:
    encoded = encode(line)
    if encoded.kind == "part":
        raise EntryError(
            f"the line is longer than {LINE_LIMIT} bytes",
            hint="append it, or split what it holds over several lines",
            code="line-too-long",
        )
    return encoded


def _known(
    cursor: Cursor, session: Session, chain: Chain, line: Line, request_id: str
) -> Input | None:
    """Return what this very request became before: an entry or an input; None if it is new.

    Raises:
        EntryError: the request id was used for another line.

    """
    store = session.store
    where = "WHERE session_id = ? AND request_id = ? ORDER BY taken_seq IS NOT NULL"
    said = [row for row in _select(cursor, where, chain.session_id, request_id) if row.holds(store)]
    for row in said:
        if row.line[:2] == line[:2]:  # taken, it may have become an entry under its second name
            return _seen(cursor, store, chain, row)
        if row.taken_seq is None:
            raise EntryError(
                f"request {request_id!r} was already submitted with another line",
                hint="use a new request id for a new line",
                code="request-reused",
            )
    done = earlier(cursor, session, chain, [line], request_id)
    if not done:
        return None
    (entry,) = done
    return Input(
        0, chain.key, entry.writer, entry.data, TAKEN, request_id,
        entry.on_behalf_of, entry.created_us, entry.seq, entry.created_us,
    )  # fmt: skip


def _next_id(cursor: Cursor, store: Store) -> int:
    """Return the number after the newest true row, past whatever plain SQL has put there.

    Numbers tell the order in which inputs are taken, so a forged one high up
    must not push honest ones out of it.
    """
    number = next((row.id for row in _newest(cursor) if row.holds(store)), 0) + 1
    taken = "SELECT 1 FROM pending_inputs WHERE id = ?"
    while cursor.execute(taken, (number,)).fetchone() is not None:
        number += 1
    return number


def _newest(cursor: Cursor) -> Iterator[InputRow]:
    """Yield all rows, the newest first; some at a time, for a server hands out all that it is asked for."""
    count, limit = 0, 1
    while rows := _select(cursor, "ORDER BY id DESC, session_id LIMIT ? OFFSET ?", limit, count):
        yield from rows
        count, limit = count + len(rows), _SOME


# -- taking -------------------------------------------------------------------------------


def take(turn: Turn, limit: int | None) -> Taken:
    """Turn pending inputs into entries, in order and once each; as :meth:`Turn.take_inputs`."""
    store = turn.store
    entries: list[Entry] = []
    left: list[Input] = []
    with store.transaction() as cursor:
        author = turn.author(cursor)
        chain = store.open_chain(cursor, turn.key)
        refused = refusal(store, chain, author)
        if refused is not None:
            raise refused
        where = "WHERE session_id = ? AND taken_seq IS NULL ORDER BY id"
        for row in _select(cursor, where, chain.session_id):
            seen = _seen(cursor, store, chain, row)
            if seen.state in (NOT_BELIEVED, REVOKED):
                left.append(seen)
            elif seen.state == PENDING and (limit is None or len(entries) < limit):
                entries += _taken(cursor, store, chain, author, row)
    for each in left:
        log.warning("%s: input %d was not taken: %s", turn.key, each.id, each.state)
    return Taken(entries, left)


def _taken(
    cursor: Cursor, store: Store, chain: Chain, author: Author, row: InputRow
) -> list[Entry]:
    """Write one input as its submitter's entry and mark its row, in the caller's transaction."""
    submitter = Author(
        store.registry.writers[row.writer_id],
        author.instance_id,
        author.claim,
        None,
        row.on_behalf_of,
        author.writer.id,
    )
    # Other lines may have been written under its request id since: it is not lost for that.
    request_id = str(row.request_id)
    if was_written(cursor, chain, request_id):
        request_id = _second_name(row)
    entries = store_lines(cursor, store, chain, submitter, [row.line], request_id, "input")
    row = row._replace(taken_seq=entries[-1].seq, taken_us=entries[-1].created_us)
    cursor.execute(
        "UPDATE pending_inputs SET taken_seq = ?, taken_us = ?, mac = ? WHERE id = ?",
        (row.taken_seq, row.taken_us, row.proof(store), row.id),
    )
    return entries


def _second_name(row: InputRow) -> str:
    return f"input:{row.id}:{row.request_id}"


# -- telling ------------------------------------------------------------------------------


def of_session(session: Session, *, taken: bool) -> list[Input]:
    """Return a session's inputs in their order; as :meth:`Session.inputs`."""
    store = session.store
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, session.key)
        if chain is None:
            return []
        store.fresh(chain)
        rows = _select(cursor, "WHERE session_id = ? ORDER BY id", chain.session_id)
        found = [_seen(cursor, store, chain, row) for row in rows]
    return [each for each in found if taken or each.state != TAKEN]


def _select(cursor: Cursor, where: str, *values: object) -> list[InputRow]:
    found = cursor.execute(f"{sql.all_of(pending_inputs)} {where}", values).fetchall()
    return [InputRow.read(row) for row in found]


def _seen(cursor: Cursor, store: Store, chain: Chain, row: InputRow) -> Input:
    """Return the row as its reader gets it: its state by proof and by the chain, never by its word."""
    if not row.holds(store):
        return _input(store, row, NOT_BELIEVED)
    if row.taken_seq is not None:
        return _input(store, row, TAKEN)
    for request_id in (str(row.request_id), _second_name(row)):
        written = written_as(cursor, chain, [row.line], request_id, row.submitted_us)
        if written is not None:
            return _input(store, row._replace(taken_seq=written.seq), TAKEN)
    writer = store.registry.writers.get(row.writer_id)
    is_revoked = writer is None or writer.revoked_us is not None
    return _input(store, row, REVOKED if is_revoked else PENDING)


def _input(store: Store, row: InputRow, state: str) -> Input:
    writer = store.registry.writers.get(row.writer_id)
    return Input(
        row.id,
        store.registry.session_keys.get(row.session_id, f"session {row.session_id}"),
        f"writer {row.writer_id}" if writer is None else writer.name,
        (row.body or b"") + row.terminator,
        state,
        row.request_id,
        row.on_behalf_of,
        row.submitted_us,
        row.taken_seq,
        row.taken_us,
    )

"""What becomes of a write: stored, found done already, or refused and parked."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import parking, verdicts
from journal import statements as sql
from journal.appending import append_one, is_plain, seal_one
from journal.chain import Place
from journal.commands import command_on
from journal.errors import EntryError, RefusedError
from journal.holder import claimed, superseded
from journal.inspection import entry_of
from journal.model import Entry, Row
from journal.seal import commitment
from journal.sidefile import Fresh
from journal.verdict import CHANGED_SINCE
from journal.writing import put_off, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.session import Session
    from journal.store import Store
    from journal.writing import Author


_new: Final = tuple.__new__  # a named tuple without the call of its own constructor


class Outcome(NamedTuple):
    """What became of one write: its entries, or the error it ends with."""

    entries: list[Entry]
    error: RefusedError | None = None


class Put:
    """One write, to be done by whoever leads: at once, or put off with its neighbours' to the end."""

    __slots__ = ("_lines", "_request_id", "_session")

    def __init__(self, session: Session, lines: Sequence[Line], request_id: str | None) -> None:
        self._session, self._lines, self._request_id = session, lines, request_id

    def __call__(self, cursor: Cursor) -> Outcome:
        """Do it in the transaction that stands."""
        session, lines, request_id = self._session, self._lines, self._request_id
        store = session.store
        if len(lines) == 1 and request_id is None:
            author, chain = session.author(cursor), store.registry.chain_of(session.key)
            if chain is not None and chain.generation != store.generation:
                store.fresh(chain)  # another process has committed: mostly to other sessions
            if chain is not None and is_plain(chain, author, store.generation):
                store.touched.append((chain, _new(Place, (chain.head, chain.examined))))
                before = chain.head.seq
                entry = append_one(cursor, chain, author, store.clock(), lines[0])
                if chain.session_id in store.registry.mirrors:
                    _serve_with(store, chain, [entry], before)
                return _new(Outcome, ([entry], None))
        return put(cursor, session, lines, request_id)

    def later(self, cursor: Cursor) -> Outcome:
        """Seal it; its rows are written when the store settles. What is not plain is done at once."""
        session, lines = self._session, self._lines
        store = session.store
        author, chain = session.author(cursor), store.registry.chain_of(session.key)
        if (
            chain is None
            or self._request_id is not None
            or not is_plain(chain, author, store.generation)
        ):
            store.settle()
            return self(cursor)
        if not chain.unwritten:
            store.put_off(chain)
        before = chain.head.seq
        if len(lines) == 1:
            row, entry = seal_one(chain, author, store.clock(), lines[0])
            chain.unwritten.append(row)
            entries = [entry]
        else:
            entries = put_off(chain, author, store.clock(), lines)
        if chain.session_id in store.registry.mirrors:
            _serve_with(store, chain, entries, before)
        return _new(Outcome, (entries, None))


def put(
    cursor: Cursor,
    session: Session,
    lines: Sequence[Line],
    request_id: str | None,
    *,
    origin: str = "api",
) -> Outcome:
    """Do one write in the caller's transaction: written, found done already, or parked."""
    store = session.store
    author = session.author(cursor)
    chain = store.open_chain(cursor, session.key)
    if request_id is not None:
        done = earlier(cursor, session, chain, lines, request_id)
        if done is not None:
            return Outcome(done)
    error = None if author.claim == chain.head.claim else refusal(store, chain, author)
    if error is not None:
        return Outcome([], keep(cursor, store, chain, author, lines, request_id, error))
    return Outcome(store_lines(cursor, store, chain, author, lines, request_id, origin))


def store_lines(  # noqa: PLR0913 - a write has this many sides
    cursor: Cursor,
    store: Store,
    chain: Chain,
    author: Author,
    lines: Sequence[Line],
    request_id: str | None = None,
    origin: str = "api",
) -> list[Entry]:
    """Write lines that may be written; return their entries only."""
    before = chain.head.seq
    entries = write(
        cursor, chain, author, store.clock(), lines=lines, origin=origin, request_id=request_id
    )
    if chain.waiting:
        _store_waiting(cursor, chain)
    if chain.session_id in store.registry.mirrors:
        _serve_with(store, chain, entries, before)
    return entries[-len(lines) :]


def _serve_with(store: Store, chain: Chain, entries: Sequence[Entry], before: int) -> None:
    """Have new entries written to the mirrored session's file once they are durable."""
    data = b"".join([entry.data for entry in entries if entry.kind != "control"])
    serve_mirror(store, chain, Fresh(data, before, chain.head.seq, chain.layout.no))


def serve_mirror(store: Store, chain: Chain, fresh: Fresh | None = None) -> None:
    """Have the session's file brought up to the journal once the transaction is durable."""
    if chain.session_id in store.registry.mirrors:
        store.serve_later(chain.session_id, fresh)


def _store_waiting(cursor: Cursor, chain: Chain) -> None:
    for statement, values in chain.waiting:
        cursor.execute(statement, values)
    chain.waiting = []  # a new list, for a rollback puts the old one back


def earlier(
    cursor: Cursor,
    session: Session,
    chain: Chain,
    lines: Sequence[Line],
    request_id: str | None,
) -> list[Entry] | None:
    """Return the entries that this very request wrote before, or None.

    What was forgotten does not count, as little as in :func:`first_written`: it would be
    acknowledged, and stand nowhere. A line redacted in its place is what stands for it now.

    Raises:
        EntryError: the request id was used for other lines.

    """
    if request_id is None:
        return None
    rows = _counted(cursor, chain, of_request(cursor, chain, request_id))
    if not rows:
        return None
    if not _same_lines(rows, lines):
        raise _reused(request_id)
    writers = session.store.registry.writers
    # The caller's bytes are what was sealed; the row's own may have been edited since.
    return [
        entry_of(row, chain, writers)
        if row.seq in chain.redacted
        else entry_of(row, chain, writers)._replace(
            body=line.body, trust="asserted" if row.trusted else "external"
        )
        for row, line in zip(rows, lines, strict=True)
    ]


def first_written(cursor: Cursor, session: Session, chain: Chain, request_id: str) -> list[Entry]:
    """Return the entries that a request wrote before, whatever lines it is asked for now.

    What was forgotten does not count; a line redacted in its place does.
    """
    chain.load_facts(cursor)
    rows = _counted(cursor, chain, of_request(cursor, chain, request_id))
    return [entry_of(row, chain, session.store.registry.writers) for row in rows]


def _counted(cursor: Cursor, chain: Chain, rows: list[Row]) -> list[Row]:
    """Return the rows of a request that were not forgotten."""
    if all(row.salt is not None for row in rows):
        return rows
    chain.load_facts(cursor)
    return [row for row in rows if row.seq not in chain.redacted or chain.layout.holds(row.seq)]


def was_written(cursor: Cursor, chain: Chain, request_id: str) -> bool:
    """Whether a sealed entry carries this request id, and was not forgotten."""
    return bool(_counted(cursor, chain, of_request(cursor, chain, request_id)))


class Written(NamedTuple):
    """Where lines were written: the first one's seq, and whether it is sure that it was these lines."""

    seq: int
    is_sure: bool


def written_as(
    cursor: Cursor, chain: Chain, lines: Sequence[Line], request_id: str, since_us: int
) -> Written | None:
    """Return the write under a request that holds just these lines; None if none does.

    Of what was erased nobody can tell what it was: if it was written since then, it may be they.
    """
    found: Written | None = None
    for _, rows in groupby(of_request(cursor, chain, request_id), attrgetter("epoch")):
        write = [*rows]
        erased = [row for row in write if row.salt is None]
        if _same_lines(write, lines) and all(row.created_us > since_us for row in erased):
            found = Written(write[0].seq, not erased)
            if found.is_sure:
                break
    return found


def of_request(cursor: Cursor, chain: Chain, request_id: str) -> list[Row]:
    """Return the sealed rows that carry a request id, in their order."""
    found = cursor.execute(sql.rows_of_request(), (chain.session_id, request_id)).fetchall()
    # A row nobody sealed must not make a request look done.
    return [row for row in map(Row._make, found) if chain.sealer.seal_holds(row)]


def changed_since(chain: Chain, base: int | None) -> RefusedError | None:
    """Return the error of a write that went out from an older state of the session, or None."""
    if base is None or chain.head.seq == base:
        return None
    error = RefusedError(
        f"{chain.key!r} stands at seq {chain.head.seq}, not at {base}: it changed since it was read",
        hint=f"read it again: {command_on(chain.key, 'log')}",
        code=CHANGED_SINCE,
    )
    error.base = base
    return error


def refusal(store: Store, chain: Chain, author: Author) -> RefusedError | None:
    """Return the error with which a write by this author must end, or None."""
    standing = chain.head.claim
    if author.claim == standing or (author.claim is None and author.writer.role != "run"):
        return None
    if author.claim is None:
        return claimed(store, chain, author)
    return superseded(store, chain, author)


def keep(  # noqa: PLR0913 - what is kept, of whom, and why
    cursor: Cursor,
    store: Store,
    chain: Chain,
    author: Author,
    lines: Sequence[Line],
    request_id: str | None,
    error: RefusedError,
) -> RefusedError:
    """Park a refused write with its evidence; put both ids into the error, or say that there was no room.

    The same lines refused again are kept once, and each refusal of them has its evidence. A
    write that brought none, such as a cut, has its evidence alone.
    """
    verdict_id = parking.new_id("v")
    refused = parking.Refusal(error.code, verdict_id, author.claim, chain.head.claim, author.claim)
    kept = parking.park(cursor, store, chain, author, lines, request_id, refused)
    if kept is None and lines:
        error.args = (f"{error.args[0]}; not parked: {parking.QUOTA_IS_FULL}",)
        return error
    error.parked, error.why = None if kept is None else kept.id, verdict_id
    _keep_verdict(cursor, store, chain, author, error, verdict_id)
    return error


def _keep_verdict(  # noqa: PLR0913 - what a refusal is made of
    cursor: Cursor,
    store: Store,
    chain: Chain,
    author: Author,
    error: RefusedError,
    verdict_id: str,
) -> None:
    """Keep why a write was refused: what was expected and found, and who held the session then."""
    row = verdicts.VerdictRow(
        verdict_id, chain.session_id, None, author.writer.id, author.instance_id, error.code,
        "claim",
    )  # fmt: skip
    evidence: dict[str, Any] = {
        "head": {"seq": chain.head.seq, "epoch": chain.head.epoch},
        "expected": {"claim": author.claim, "base": error.base},
        "found": {"claim": chain.head.claim},
        "holder": None if error.holder is None else error.holder.evidence(),
        "message": str(error),
        "parked": error.parked,
        "foreign": [],
    }
    verdicts.keep(cursor, store, row, evidence)


def _same_lines(rows: Sequence[Row], lines: Sequence[Line]) -> bool:
    """Whether these sealed rows hold just these lines; an erased row matches any."""
    if len(rows) != len(lines):
        return False
    return all(
        row.salt is None or commitment(row.salt, line.body, line.terminator) == row.commitment
        for row, line in zip(rows, lines, strict=True)
    )


def _reused(request_id: str) -> EntryError:
    """Return the refusal of a request id that was used for other lines."""
    return EntryError(
        f"request {request_id!r} was already written with other lines",
        hint="use a new request id for new lines",
        code="request-reused",
    )

"""Resolving: what somebody decides about entries that came from outside.

The decision is a sealed fact with its actor and reason. It never makes a foreign
entry anyone else's: an accepted one stays external and is marked so, a rejected
one leaves the file's layout and stays in the journal. An edit that took lines out
of the file, rejected, is undone: they stand again where they stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal import statements as sql
from journal.admission import refusal, serve_mirror
from journal.commands import command_on
from journal.controls import CONTROL, decode, fact
from journal.errors import EntryError, NotFoundError, RefusedError
from journal.holder import beside_turns
from journal.inspection import BY_SQL, entry_of, is_resolved
from journal.layout import Extent, undone
from journal.lines import parse
from journal.model import Row, check_reason
from journal.openend import tail_is_open
from journal.pages import MAX_SEQ, MIN_SEQ
from journal.rewriting import store_layout
from journal.seal import row_digest
from journal.writing import Author, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session
    from journal.store import Store

ACCEPT: Final = "accept"
REJECT: Final = "reject"
STRAYS: Final = "external:strays"
_LIMIT: Final = 1000


def resolve(session: Session, seqs: Iterable[int], *, accept: bool, reason: str) -> list[Entry]:
    """Accept or reject foreign entries of a session; as :meth:`Session.resolve`."""
    wanted = _checked(seqs, reason)
    store = session.store
    with store.transaction() as cursor:
        author = session.author(cursor)
        chain = store.find_chain(cursor, session.key)
        if chain is None:
            raise _not_there(session.key, wanted[0])
        store.touch(chain)
        refused = refusal(store, chain, author)
        if refused is not None:
            raise beside_turns(refused)
        chain.load_facts(cursor)
        rows = [_foreign(cursor, store, chain, seq, accept=accept) for seq in wanted]
        _name_oddities(cursor, store, chain, author)
        kept = [row for row in rows if accept and _trust(store, chain, row) in BY_SQL]
        made = _rescued(cursor, store, chain, author, kept)
        _record(cursor, store, chain, author, rows, made, accept=accept, reason=reason)
    return [entry._replace(trust="accepted") for entry in made]


def _checked(seqs: Iterable[int], reason: str) -> list[int]:
    check_reason(reason, "say why: reason='known tool'")
    wanted = sorted(set(seqs))
    if not wanted or len(wanted) > _LIMIT:
        raise EntryError(
            f"{len(wanted)} entries cannot be resolved at once",
            hint=f"name 1 to {_LIMIT} seqs",
            code="no-seqs",
        )
    return wanted


def _foreign(cursor: Cursor, store: Store, chain: Chain, seq: int, *, accept: bool) -> Row:
    """Return the foreign row of a seq, if it may be resolved so.

    Raises:
        NotFoundError: there is none.
        EntryError: it is not foreign, or has nothing to accept.
        RefusedError: it was rejected before, or resolved just so.

    """
    found = None
    if MIN_SEQ <= seq <= MAX_SEQ:
        found = cursor.execute(sql.row_at(), (chain.session_id, seq)).fetchone()
    if found is None:
        raise _not_there(chain.key, seq)
    row = Row._make(found)
    trust = _trust(store, chain, row)
    show = command_on(chain.key, "show", seq)
    if trust == "asserted":
        writer = entry_of(row, chain, store.registry.writers).writer
        message = f"entry {seq} of {chain.key!r} is by {writer!r}, a declared writer, not foreign"
        raise EntryError(message, hint=show, code="not-foreign")
    if accept and row.body is None and seq not in chain.redacted:
        message = f"entry {seq} of {chain.key!r} has no bytes to accept"
        raise EntryError(message, hint=show, code="no-bytes")
    _check_open(chain, row, show, accept=accept)
    return row


def _check_open(chain: Chain, row: Row, show: str, *, accept: bool) -> None:
    if not is_resolved(row, chain):
        return
    known = chain.resolved[row.seq]
    if known.verdict == REJECT and accept:
        raise RefusedError(
            f"entry {row.seq} of {chain.key!r} was rejected, and left the file's layout",
            hint=f"append its line again: {command_on(chain.key, 'show', row.seq, options='--raw')}",
            code="settled",
        )
    if known.verdict == (ACCEPT if accept else REJECT) or known.digest is not None:
        message = f"entry {row.seq} of {chain.key!r} was {known.verdict}ed already"
        raise RefusedError(message, hint=show, code="settled")


def _not_there(key: str, seq: int) -> NotFoundError:
    message = f"there is no entry {seq} in {key!r}"
    return NotFoundError(message, hint=command_on(key, "who"), code="no-entry")


def _trust(store: Store, chain: Chain, row: Row) -> str:
    return entry_of(row, chain, store.registry.writers).trust


def _digest(row: Row) -> str:
    return row_digest(row[1:]).hex()


def _name_oddities(cursor: Cursor, store: Store, chain: Chain, author: Author) -> None:
    """Let the actor name what lies about, before an external writer's entry would have to."""
    if chain.is_odd:
        write(cursor, chain, author, store.clock())


def _rescued(
    cursor: Cursor, store: Store, chain: Chain, author: Author, rows: Sequence[Row]
) -> list[Entry]:
    """Write the bytes of accepted strays as new entries, by an external writer of their own."""
    if not rows:
        return []
    writer = store.registry.by_name.get(STRAYS) or store.declare(cursor, STRAYS, "external")
    external = Author(writer, author.instance_id, None, recorder_id=author.writer.id)
    lines = [_line(row) for row in rows]
    entries = write(cursor, chain, external, store.clock(), lines=lines)
    return entries[-len(lines) :]


def _line(row: Row) -> Line:
    """Return a stray's bytes as one line: what it holds may be no line, and none may be fused to it."""
    body = (row.body or b"").replace(b"\n", b" ")
    return parse(body, row.terminator if row.terminator in (b"\n", b"\r\n") else b"\n")


def _record(  # noqa: PLR0913 - what a resolution says
    cursor: Cursor,
    store: Store,
    chain: Chain,
    author: Author,
    rows: Sequence[Row],
    made: Sequence[Entry],
    *,
    accept: bool,
    reason: str,
) -> None:
    """Seal the decision, and with a rejection the layout as it was without what was rejected."""
    unsealed = {row.seq: _digest(row) for row in rows if _trust(store, chain, row) in BY_SQL}
    resolution = fact(
        "resolution",
        seqs=[*(row.seq for row in rows), *(entry.seq for entry in made)],
        verdict=ACCEPT if accept else REJECT,
        reason=reason,
        actor=author.writer.name,
        digests={str(seq): digest for seq, digest in unsealed.items()},
        rescued=[entry.seq for entry in made],
    )
    left = [] if accept else [row.seq for row in rows if chain.layout.holds(row.seq)]
    leaving = [seq for seq in left if seq not in unsealed]
    edits = [] if accept else [row for row in rows if row.seq not in unsealed]
    extents = _without(_undone(chain, edits), leaving)
    is_other = extents != list(chain.layout.extents)
    closing = _relaid(chain, extents, reason) if is_other else None
    write(cursor, chain, author, store.clock(), facts=[resolution], closing=closing)
    chain.load_facts(cursor)
    if closing is not None:
        store_layout(cursor, chain)
        chain.open_tail = tail_is_open(cursor, chain)
    serve_mirror(store, chain)


def _undone(chain: Chain, rows: Sequence[Row]) -> list[Extent]:
    """Return the file's order without the edits of the file that these rows record."""
    extents = list(chain.layout.extents)
    layouts = (*chain.earlier, chain.layout)
    for row in sorted(rows, reverse=True, key=lambda row: row.seq):
        facts = decode(row.body) if row.kind == CONTROL else {}
        if facts.get("control") == "layout":
            number = facts["no"]
            extents = undone(extents, layouts[number - 1], layouts[number], row.seq)
    return extents


def _without(extents: Sequence[Extent], seqs: Sequence[int]) -> list[Extent]:
    for seq in seqs:
        extents = [piece for extent in extents for piece in _pieces(extent, seq)]
    return list(extents)


def _relaid(
    chain: Chain, extents: Sequence[Extent], reason: str
) -> Callable[[Sequence[int], int], Line]:
    """Return what makes this order the layout, once its own seq is known."""
    base = chain.head.seq

    def closing(_: Sequence[int], __: int) -> Line:
        return chain.layout.then(extents, base=base, reason=reason)

    return closing


def _pieces(extent: Extent, seq: int) -> list[Extent]:
    if not extent.holds(seq):
        return [extent]
    before = [Extent(extent.first, seq - 1)] if extent.first < seq else []
    after = [Extent(seq + 1, extent.last)] if extent.last is None or seq < extent.last else []
    return [*before, *after]

"""Rewrites and cuts: a new order for a session's file; no entry is ever changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journal import statements as sql
from journal.admission import refusal, serve_mirror
from journal.controls import CONTROL
from journal.errors import EntryError, RefusedError
from journal.layout import Extent, cut_off, extents_of
from journal.lines import encode
from journal.model import Entry, Row, check_label
from journal.tables import layouts
from journal.writing import LINE_END, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.layout import Layout
    from journal.lines import Line
    from journal.session import Session

_PAGE = 256


class Plan(NamedTuple):
    """A file's lines in their new order: kept ones by seq, new ones as lines."""

    order: list[int | Line]

    @property
    def new(self) -> list[Line]:
        """The lines that become entries."""
        return [item for item in self.order if not isinstance(item, int)]

    def seqs(self, new_seqs: Iterable[int]) -> Iterator[int]:
        """Yield the order with each new line by the seq it got."""
        given = iter(new_seqs)
        for item in self.order:
            yield item if isinstance(item, int) else next(given)


def rewrite(session: Session, items: Iterable[object], base: int, reason: str) -> list[Entry]:
    """Give a session's file a new order; return the entries of what is new in it."""
    check_label(reason, "reason")
    plan = _plan(session.key, items, base)
    with session.store.transaction() as cursor:
        chain = _open(cursor, session, base)
        lines = _lines(cursor, chain)
        _check_kept(plan, lines, base)
        later = [seq for seq in lines if seq > base]

        def closing(seqs: Sequence[int], own: int) -> Line:
            known = [*lines, *seqs]
            extents = extents_of([*plan.seqs(seqs), *later], known)
            return _closed(chain.layout, extents, own, base, reason)

        return _relaid(cursor, session, chain, plan.new, closing)


def cut(session: Session, count: int, base: int, reason: str) -> None:
    """Drop the last ``count`` lines up to a base from a session's file."""
    check_label(reason, "reason")
    if count < 0:
        raise EntryError(f"{count} lines cannot be cut", hint="cut 0 or more", code="count")
    with session.store.transaction() as cursor:
        chain = _open(cursor, session, base)
        dropped = _last_lines(cursor, chain, count, base)
        extents = cut_off(chain.layout, dropped, base)
        head = chain.head.seq
        later = [Extent(base + 1, head)] if head > base else []

        def closing(_: Sequence[int], own: int) -> Line:
            return _closed(chain.layout, [*extents, *later], own, base, reason)

        _relaid(cursor, session, chain, [], closing)


def _plan(key: str, items: Iterable[object], base: int) -> Plan:
    order: list[int | Line] = []
    is_open = False
    for item in items:
        if is_open:
            order.append(LINE_END)  # or this line would be fused to the one before
        if isinstance(item, Entry):
            if item.session != key or item.kind == "control":
                message = f"entry {item.seq} is no line of {key!r}"
                raise EntryError(message, hint="keep entries that read() gave", code="not-kept")
            order.append(item.seq)
            is_open = not item.terminator
        else:
            order.append(encode(item))
            is_open = False
    kept = [item for item in order if isinstance(item, int)]
    if len(set(kept)) != len(kept) or any(seq > base for seq in kept):
        message = f"an entry is kept twice, or is newer than the base {base}"
        raise EntryError(message, hint="keep each entry once", code="not-kept")
    return Plan(order)


def _open(cursor: Cursor, session: Session, base: int) -> Chain:
    """Return the chain to rewrite, once it is clear that this writer may and the base still holds."""
    store = session.store
    chain = store.open_chain(cursor, session.key)
    error = refusal(store, chain, session.author(cursor))
    if error is not None:
        raise error
    chain.load_facts(cursor)
    if not 0 <= base <= chain.head.seq:
        message = f"base {base} is no position of {session.key!r}, whose head is {chain.head.seq}"
        raise EntryError(message, hint="use session.head.seq as you read it", code="base")
    if chain.layout_seq > base:
        raise RefusedError(
            f"{session.key!r} was rewritten at seq {chain.layout_seq}, after the base {base}",
            hint="read the session again and rewrite what it holds now",
            code="rewritten-since",
        )
    return chain


def _lines(cursor: Cursor, chain: Chain) -> list[int]:
    found = cursor.execute(sql.line_seqs(), (chain.session_id, chain.head.seq)).fetchall()
    return [seq for (seq,) in found if seq not in chain.named]


def _check_kept(plan: Plan, lines: list[int], base: int) -> None:
    unknown = {item for item in plan.order if isinstance(item, int)}.difference(lines)
    if unknown:
        message = f"entry {min(unknown)} is not in the session up to {base}"
        raise EntryError(message, hint="keep entries that read() gave", code="not-kept")


def _last_lines(cursor: Cursor, chain: Chain, count: int, base: int) -> list[int]:
    """Return the seqs of the last lines of the file, the last first."""
    dropped: list[int] = []
    for first, last in chain.layout.spans(base, newest=True):
        end = last
        while first <= end and len(dropped) < count:
            page = cursor.execute(sql.newest_rows(), (chain.session_id, end, _PAGE)).fetchall()
            rows = [row for row in map(Row._make, page) if row.seq >= first]
            dropped += [r.seq for r in rows if r.kind != CONTROL and chain.sealer.seal_holds(r)]
            end = rows[-1].seq - 1 if len(page) == _PAGE and rows else first - 1
    return dropped[:count]


def _closed(layout: Layout, extents: list[Extent], own: int, base: int, reason: str) -> Line:
    return layout.then([*extents, Extent(own + 1, None)], base=base, reason=reason)


def _relaid(
    cursor: Cursor, session: Session, chain: Chain, lines: list[Line], closing: object
) -> list[Entry]:
    store = session.store
    author = session.author(cursor)
    entries = write(cursor, chain, author, store.clock(), lines=lines, closing=closing)  # type: ignore[arg-type]
    store_layout(cursor, chain)
    chain.open_tail = chain.tail_is_open(cursor)
    serve_mirror(store, chain)
    return [entry for entry in entries if entry.kind != "control"][-len(lines) :] if lines else []


def store_layout(cursor: Cursor, chain: Chain) -> None:
    """Write the projections of the chain's layout, for people and for SQL."""
    cursor.execute(
        "UPDATE sessions SET layout_no = ? WHERE id = ?", (chain.layout.no, chain.session_id)
    )
    rows = [
        (chain.session_id, chain.layout.no, position, extent.first, extent.last, 0)
        for position, extent in enumerate(chain.layout.extents)
    ]
    cursor.execute("DELETE FROM layouts WHERE session_id = ?", (chain.session_id,))
    cursor.executemany(sql.insert_row(layouts), rows)

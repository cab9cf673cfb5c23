"""Rewrites and cuts: a new order for a session's file; no entry is ever changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journal import statements as sql
from journal.admission import keep, refusal, serve_mirror
from journal.controls import CONTROL
from journal.errors import EntryError, RefusedError
from journal.explanation import counted
from journal.layout import Extent, Layout, cut_off, extents_of
from journal.model import Entry, Row, check_label
from journal.openend import ends_open, tail_is_open
from journal.parts import PART, encode_lines, is_within
from journal.tables import layouts
from journal.verdict import REWRITTEN_SINCE
from journal.writing import LINE_END, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.session import Session

_PAGE = 256


class Plan(NamedTuple):
    """A file's lines in their new order: kept ones by seq, new ones as lines.

    ``is_open`` says that the last of them has no line end.
    """

    order: list[int | Line]
    is_open: bool

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
    entries: list[Entry] = []
    with session.store.transaction() as cursor:
        chain, error = _open(cursor, session, base)
        if error is None:
            entries = _rewritten(cursor, session, chain, plan, base, reason)
        else:
            error = keep(
                cursor, session.store, chain, session.author(cursor), plan.new, None, error
            )
    if error is not None:
        raise error
    return entries


def relay(session: Session, plan: Plan, head_seq: int, reason: str) -> bool:
    """Give a session's file an order that was computed at a head; False if somebody wrote since.

    Raises:
        RefusedError: this writer may not, or the session is held by another.

    """
    with session.store.transaction() as cursor:
        chain, error = _open(cursor, session, head_seq)
        if chain.head.seq != head_seq:
            return False  # whatever it was: a rewrite, too
        if error is None:
            _rewritten(cursor, session, chain, plan, head_seq, reason)
    if error is not None:
        raise error
    return True


def _rewritten(  # noqa: PLR0913 - both sides of a new order
    cursor: Cursor, session: Session, chain: Chain, plan: Plan, base: int, reason: str
) -> list[Entry]:
    lines = _lines(cursor, chain)
    _check_kept(plan, lines, base)
    later = [seq for seq in lines if seq > base]
    if plan.is_open and later and not _is_line_end(cursor, chain, later[0]):
        plan = Plan([*plan.order, LINE_END], is_open=False)

    def closing(seqs: Sequence[int], own: int) -> Line:
        extents = extents_of([*plan.seqs(seqs), *later], [*lines, *seqs])
        return _closed(chain.layout, extents, own, base, reason)

    entries = _relaid(cursor, session, chain, plan.new, closing)
    return [entry for entry in entries if not entry.is_line_end or entry.body]


def cut(session: Session, count: int, base: int, reason: str) -> None:
    """Drop the last ``count`` lines up to a base from a session's file."""
    check_label(reason, "reason")
    if not isinstance(count, int) or count < 0:
        raise EntryError(f"{count!r} lines cannot be cut", hint="cut 0 or more", code="count")
    with session.store.transaction() as cursor:
        chain, error = _open(cursor, session, base)
        if error is None:
            _cut(cursor, session, chain, count, base, reason)
        else:
            keep(cursor, session.store, chain, session.author(cursor), (), None, error)
    if error is not None:
        raise error


def _cut(  # noqa: PLR0913 - both sides of a new order
    cursor: Cursor, session: Session, chain: Chain, count: int, base: int, reason: str
) -> None:
    extents = cut_off(chain.layout, _last_lines(cursor, chain, count, base), base)
    head = chain.head.seq
    later = [Extent(base + 1, head)] if head > base else []
    kept = Layout(0, tuple(extents))
    fused = later and ends_open(cursor, chain, kept) and not _is_line_end(cursor, chain, base + 1)

    def closing(seqs: Sequence[int], own: int) -> Line:
        ends = [Extent(seq, seq) for seq in seqs]
        return _closed(chain.layout, [*extents, *ends, *later], own, base, reason)

    _relaid(cursor, session, chain, [LINE_END] if fused else [], closing)


def _is_line_end(cursor: Cursor, chain: Chain, seq: int) -> bool:
    """Whether the entry at a seq is only a line end, and so ends the line before it."""
    found = cursor.execute(sql.row_at(), (chain.session_id, seq)).fetchone()
    row = None if found is None else Row._make(found)
    return row is not None and row.kind != CONTROL and row.body == b""


def _plan(key: str, items: Iterable[object], base: int) -> Plan:
    order: list[int | Line] = []
    is_open = False
    before: object = None
    for item in items:
        if is_open and not _goes_on(before, item):
            order.append(LINE_END)  # or this line would be fused to the one before
        before = item
        if isinstance(item, Entry):
            if item.session != key or item.kind == "control":
                message = f"entry {item.seq} is no line of {key!r}"
                raise EntryError(message, hint="keep entries that read() gave", code="not-kept")
            order.append(item.seq)
            is_open = not item.terminator
        elif isinstance(item, int):
            raise EntryError(
                f"{item!r} is neither an entry nor a line",
                hint="keep entries that read() gave; a line that is only a number is given as bytes",
                code="not-kept",
            )
        else:
            order += encode_lines([item])
            is_open = False
    kept = [item for item in order if isinstance(item, int)]
    if len(set(kept)) != len(kept) or any(seq > base for seq in kept):
        message = f"an entry is kept twice, or is newer than the base {base}"
        raise EntryError(message, hint="keep each entry once", code="not-kept")
    return Plan(order, is_open)


def _goes_on(before: object, item: object) -> bool:
    """Whether a kept entry belongs to the line that the one before it left open."""
    if not isinstance(item, Entry) or not isinstance(before, Entry):
        return False
    # The parts of a line were written together, so nothing but a stray is between them.
    is_next = item.epoch == before.epoch or item.seq == before.seq + 1
    is_part = item.kind == PART and is_within(before.kind, before.body or b"", before.terminator)
    return not item.body or (is_part and is_next)


def _open(cursor: Cursor, session: Session, base: int) -> tuple[Chain, RefusedError | None]:
    """Return the chain to rewrite, and the error if this writer may not or the base is stale."""
    store = session.store
    chain = store.open_chain(cursor, session.key)
    chain.load_facts(cursor)
    if not isinstance(base, int) or not 0 <= base <= chain.head.seq:
        message = f"base {base!r} is no position of {session.key!r}, whose head is {chain.head.seq}"
        raise EntryError(message, hint="use session.head.seq as you read it", code="base")
    error = refusal(store, chain, session.author(cursor))
    if error is None and chain.layout_seq > base:
        error = RefusedError(
            f"{session.key!r} was rewritten at seq {chain.layout_seq}, after the base {base}",
            hint="read the session again and rewrite what it holds now",
            code=REWRITTEN_SINCE,
        )
        error.base = base
    return chain, error


def _lines(cursor: Cursor, chain: Chain) -> list[int]:
    found = cursor.execute(sql.line_seqs(), (chain.session_id, chain.head.seq)).fetchall()
    return [seq for (seq,) in found if seq not in chain.named]


def _check_kept(plan: Plan, lines: list[int], base: int) -> None:
    unknown = {item for item in plan.order if isinstance(item, int)}.difference(lines)
    if unknown:
        message = f"entry {min(unknown)} is not in the session up to {base}"
        raise EntryError(message, hint="keep entries that read() gave", code="not-kept")


def _last_lines(cursor: Cursor, chain: Chain, count: int, base: int) -> list[int]:
    """Return the seqs of the entries that make the last lines of the file, the last first."""
    dropped: list[int] = []
    lines = 0
    for first, last in chain.layout.spans(base, newest=True):
        end = last
        while first <= end:
            page = cursor.execute(sql.newest_rows(), (chain.session_id, end, _PAGE)).fetchall()
            rows = [row for row in map(Row._make, page) if row.seq >= first]
            for row in rows:
                if row.kind == CONTROL or not chain.sealer.seal_holds(row):
                    continue
                # One without a line end belongs to what was dropped already, unless it is the last of all.
                lines += bool(row.terminator) or not dropped
                if lines > count:
                    return dropped
                dropped.append(row.seq)
            end = rows[-1].seq - 1 if len(page) == _PAGE and rows else first - 1
    if lines < count:
        message = f"{chain.key!r} has {counted(lines, 'line')} up to {base}, not {count}"
        raise EntryError(message, hint=f"cut {lines} or fewer", code="count")
    return dropped


def _closed(layout: Layout, extents: list[Extent], own: int, base: int, reason: str) -> Line:
    return layout.then([*extents, Extent(own + 1, None)], base=base, reason=reason)


def _relaid(
    cursor: Cursor, session: Session, chain: Chain, lines: list[Line], closing: object
) -> list[Entry]:
    store = session.store
    author = session.author(cursor)
    entries = write(cursor, chain, author, store.clock(), lines=lines, closing=closing)  # type: ignore[arg-type]
    store_layout(cursor, chain)
    chain.open_tail = tail_is_open(cursor, chain)
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

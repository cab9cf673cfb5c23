"""Where a line stands in its session's file: the byte it begins at, and its number.

Told by the layout, so nothing is read of the file itself: the bytes before a line
are the sums of the extents before it, from the running total that each row carries
under its seal. Only for verdicts and for people; no decision is made by it. Where
rows were altered or deleted the numbers are those of the file as it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journal import statements as sql
from journal.controls import CONTROL, decode
from journal.model import Row
from journal.permitting import writers_of
from journal.verdict import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.layout import Layout
    from journal.model import Entry
    from journal.store import Store

_LINE_ENDS: Final = (
    "SELECT count(*) FROM entries WHERE session_id = ? AND seq BETWEEN ? AND ? "
    "AND kind <> 'control' AND terminator <> x''"
)


class Position(NamedTuple):
    """Where a line begins: so many bytes into the file, and its number from 1 on."""

    offset: int
    line: int


def places_of(
    cursor: Cursor, store: Store, chain: Chain, found: Iterable[Entry]
) -> dict[int, Place]:
    """Return where in the session's file each of these entries stands, by seq; of those that came by it.

    What a mirror's writer recorded of lines that are gone stands where the first of
    them stood. The chain must be fresh.
    """
    mirror = store.registry.mirrors.get(chain.session_id)
    if mirror is None:
        return {}
    names = writers_of(mirror)
    # A row that nobody sealed came by no file, whoever it says that it is by.
    mine = [
        entry
        for entry in found
        if entry.writer in names and entry.role == "external" and entry.trust != "stray"
    ]
    if not mine:
        return {}
    chain.load_facts(cursor)
    lines = [entry.seq for entry in mine if entry.kind != "control"]
    at = positions(cursor, chain, lines)
    for entry in mine:
        if entry.kind == "control" and entry.trust != "altered":
            at |= _edited(cursor, chain, entry)
    return {entry.seq: Place(mirror.path, *at.get(entry.seq, (None, None))) for entry in mine}


def positions(
    cursor: Cursor, chain: Chain, seqs: Iterable[int], layout: Layout | None = None
) -> dict[int, Position]:
    """Return where these lines stand in a layout, the newest unless one is given; those in it."""
    wanted = sorted(set(seqs))
    found: dict[int, Position] = {}
    offset, line = 0, 1
    for first, last in (layout or chain.layout).spans(chain.head.seq):
        if len(found) == len(wanted):
            break
        at = first
        for seq in (seq for seq in wanted if first <= seq <= last):
            offset += _bytes(cursor, chain, at, seq - 1)
            line += _line_ends(cursor, chain, at, seq - 1)
            found[seq], at = Position(offset, line), seq
        offset += _bytes(cursor, chain, at, last)
        line += _line_ends(cursor, chain, at, last)
    return found


def _edited(cursor: Cursor, chain: Chain, entry: Entry) -> dict[int, Position]:
    """Return where a sealed fact about the file says that it was changed, under the fact's own seq."""
    facts = decode(entry.body)
    layouts = (*chain.earlier, chain.layout)
    no = facts.get("no")
    if isinstance(no, int) and 0 < no < len(layouts):
        before: Layout | None = layouts[no - 1]
        seq = first_change(layouts[no - 1], layouts[no])
    else:
        before = None
        seq = next((first for first, _ in facts.get("seqs", ())), None)
    if seq is None or seq > chain.head.seq:
        return {}
    at = positions(cursor, chain, [seq], before)
    return {entry.seq: at[seq]} if seq in at else {}


def first_change(before: Layout, after: Layout) -> int | None:
    """Return the first seq of a layout that does not stand in another where it stood; None if all do."""
    for old, new in zip(before.extents, after.extents, strict=False):
        if old == new:
            continue
        if old.first != new.first:
            return old.first
        ends = [last for last in (old.last, new.last) if last is not None]
        return min(ends) + 1
    more = before.extents[len(after.extents) :]
    return more[0].first if more else None


def _bytes(cursor: Cursor, chain: Chain, first: int, last: int) -> int:
    """Return how many bytes the sealed lines from one seq to another have."""
    if first > last:
        return 0
    end = next(_newest(cursor, chain, last), None)
    begin = _first(cursor, chain, first, last)
    if end is None or begin is None or end.seq < first:
        return 0
    line = chain.sealer.whole(begin)
    own = 0 if begin.kind == CONTROL else len(line.body or b"") + len(line.terminator)
    return end.cum_bytes - begin.cum_bytes + own


def _newest(cursor: Cursor, chain: Chain, up_to: int) -> Iterator[Row]:
    """Yield sealed rows from a seq backwards, without their bodies."""
    limit = 1
    while True:
        page = cursor.execute(sql.newest_rows(), (chain.session_id, up_to, limit)).fetchall()
        rows = list(map(Row._make, page))
        yield from (row for row in rows if chain.sealer.seal_holds(row))
        if len(rows) < limit:
            return
        up_to, limit = rows[-1].seq - 1, 256


def _first(cursor: Cursor, chain: Chain, first: int, last: int) -> Row | None:
    """Return the first sealed row from one seq to another."""
    while first <= last:
        page = cursor.execute(sql.rows_between(), (chain.session_id, first, last, 1)).fetchall()
        if not page:
            return None
        row = Row._make(page[0])
        if chain.sealer.seal_holds(row):
            return row
        first = chain.named.next_free(max(row.seq + 1, first))
    return None


def _line_ends(cursor: Cursor, chain: Chain, first: int, last: int) -> int:
    """Return how many lines end between two seqs, but for rows that are known to be odd."""
    if first > last:
        return 0
    odd = [*_within(chain.named, first, last), *_within(chain.occupied, first, last)]
    spans = [(first, last), *odd]
    counts = [
        int(cursor.execute(_LINE_ENDS, (chain.session_id, *span)).fetchone()[0]) for span in spans
    ]
    return counts[0] - sum(counts[1:])


def _within(known: Iterable[tuple[int, int]], first: int, last: int) -> Sequence[tuple[int, int]]:
    return [(max(a, first), min(b, last)) for a, b in known if a <= last and b >= first]

"""Layouts: the order of a session's lines in its file, as a list of extents.

Seq is journal order and never changes; a layout is file order. Layout 0 is
implicit: every line, in seq order. A rewrite or a cut adds a layout that keeps
the extents before the first changed position; the last extent stays open, so
what is appended later stands at the end.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.controls import fact
from journal.errors import EntryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.lines import Line


class Extent(NamedTuple):
    """Lines that stand together: from one seq to another, or to whatever comes."""

    first: int
    last: int | None

    def holds(self, seq: int) -> bool:
        """Whether a line of this seq stands here."""
        return self.first <= seq and (self.last is None or seq <= self.last)


def _holds(ordered: Sequence[Extent], seq: int) -> bool:
    """Whether one of some extents, ordered by seq, has a line of this seq."""
    at = bisect_right(ordered, seq, key=_first)
    return at > 0 and ordered[at - 1].holds(seq)


_first: Final = itemgetter(0)


class Layout(NamedTuple):
    """One order of a session's lines; the newest is the file's."""

    no: int
    extents: tuple[Extent, ...]

    @property
    def is_plain(self) -> bool:
        """Whether file order is journal order, with nothing left out."""
        return self.extents == PLAIN.extents

    def spans(self, head: int, *, newest: bool = False) -> Iterator[tuple[int, int]]:
        """Yield (first, last) seqs in file order up to a head, or from the end backwards."""
        for extent in reversed(self.extents) if newest else self.extents:
            last = head if extent.last is None else min(extent.last, head)
            if extent.first <= last:
                yield extent.first, last

    def holds(self, seq: int) -> bool:
        """Whether a line of this seq stands in the file."""
        return any(extent.holds(seq) for extent in self.extents)

    def without(self, seqs: Iterable[int]) -> list[int]:
        """Return those of some seqs that no line of the file has."""
        extents = sorted(self.extents, key=_first)
        return [seq for seq in seqs if not _holds(extents, seq)]

    def then(self, extents: Sequence[Extent], **why: Any) -> Line:  # noqa: ANN401 - JSON values
        """Return the control entry that replaces this layout by another.

        Only what follows the first changed extent is written down.
        """
        kept = 0
        for old, new in zip(self.extents, extents, strict=False):
            if old != new:
                break
            kept += 1
        return fact(
            "layout", no=self.no + 1, keep=kept, extents=[list(x) for x in extents[kept:]], **why
        )

    def after(self, facts: dict[str, Any]) -> Layout:
        """Return the layout that a sealed ``layout`` entry makes of this one.

        Raises:
            EntryError: it does not follow this one.

        """
        if facts.get("no") != self.no + 1 or not 0 <= facts["keep"] <= len(self.extents):
            message = f"layout {facts.get('no')} does not follow layout {self.no}"
            raise EntryError(message, hint="journal audit", code="layout")
        tail = [
            Extent(int(first), None if last is None else int(last))
            for first, last in facts["extents"]
        ]
        return Layout(self.no + 1, (*self.extents[: facts["keep"]], *tail))


PLAIN: Final = Layout(0, (Extent(1, None),))


def extents_of(order: Iterable[int], lines: Sequence[int]) -> list[Extent]:
    """Return the extents of an order of lines.

    Args:
        order: the seqs in file order, each at most once.
        lines: every line's seq, ascending; two seqs of the order are one extent
            only where no other line lies between them.

    """
    after = dict(pairwise(lines))
    extents: list[Extent] = []
    for seq in order:
        if extents and after.get(extents[-1].last or 0) == seq:
            extents[-1] = Extent(extents[-1].first, seq)
        else:
            extents.append(Extent(seq, seq))
    return extents


def cut_off(layout: Layout, dropped: Iterable[int], base: int) -> list[Extent]:
    """Return the layout's extents up to a base, without its last lines.

    Args:
        layout: the present one.
        dropped: the seqs to leave out, the last in file order first.
        base: lines of a greater seq stay; they are for the caller to add.

    """
    extents = [
        Extent(x.first, base if x.last is None else min(x.last, base)) for x in layout.extents
    ]
    extents = [x for x in extents if x.last is not None and x.first <= x.last]
    for seq in dropped:
        while not extents[-1].holds(seq):
            extents.pop()  # only control entries and strays are left in it
        last = extents.pop()
        if last.first < seq:
            extents.append(Extent(last.first, seq - 1))
    return extents


def undone(now: Sequence[Extent], before: Layout, after: Layout, up_to: int) -> list[Extent]:
    """Return an order in which what one layout took out of another stands where it stood.

    Args:
        now: the present order. Where it is still the one that was made, the former
            one comes back whole, moved lines too; else only the lines taken out.
        before: the layout that was replaced.
        after: the one that replaced it.
        up_to: the seq of the entry that made it: what is newer was not taken out.

    """
    if list(now) == list(after.extents):
        return list(before.extents)
    order, behind = list(now), 0
    for extent in before.extents:
        last = up_to if extent.last is None else min(extent.last, up_to)
        for piece in _cut_at(Extent(extent.first, last), [*after.extents, *now]):
            is_held = any(each.holds(piece.first) for each in order)
            if not is_held and not after.holds(piece.first):
                order = _put_behind(order, behind, piece)
            elif not is_held:
                continue  # somebody took it out since, and meant to
            behind = piece.last or behind
    return order


def _cut_at(extent: Extent, others: Iterable[Extent]) -> list[Extent]:
    """Return an extent in pieces such that each stands wholly in another one, or not at all."""
    last = extent.last or 0
    starts = {extent.first}
    for other in others:
        starts |= {other.first, other.first if other.last is None else other.last + 1}
    firsts = sorted(seq for seq in starts if extent.first <= seq <= last)
    return [Extent(first, end - 1) for first, end in pairwise([*firsts, last + 1])]


def _put_behind(order: Sequence[Extent], seq: int, piece: Extent) -> list[Extent]:
    """Return an order with a piece put in behind a seq; behind none it stands first."""
    found: list[Extent] = [] if seq else [piece]
    for extent in order:
        if not (seq and extent.holds(seq)):
            found.append(extent)
            continue
        found += [Extent(extent.first, seq), piece]
        if extent.last is None or seq < extent.last:
            found.append(Extent(seq + 1, extent.last))
    return found

"""Rebuilds a session's file order from its sealed layouts, and holds the table against it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Extent = tuple[int, int | None]
_PLAIN: Final[tuple[Extent, ...]] = ((1, None),)


class Layouts:
    """The layouts of one session, as its sealed entries make them.

    Attributes:
        no: the number of the newest.
        extents: its (first, last) pairs in file order; None once a layout entry is
            lost or damaged, for each only tells what it changes.

    """

    def __init__(self) -> None:
        self.no = 0
        self.extents: tuple[Extent, ...] | None = _PLAIN

    def lose(self) -> None:
        """Take note that an entry is gone which may have been a layout."""
        self.extents = None

    def learn(self, facts: dict[str, Any]) -> str | None:
        """Take in a sealed layout; return why it cannot follow the one before it.

        Raises:
            KeyError, TypeError, ValueError: it lacks what a layout says.

        """
        number, keep = int(facts["no"]), int(facts["keep"])
        added = tuple((int(a), None if b is None else int(b)) for a, b in facts["extents"])
        before, self.no = self.no, number
        if self.extents is None:
            # What it keeps is not known; a layout that keeps nothing stands alone.
            self.extents = added if keep == 0 else None
            return None
        if number != before + 1 or not 0 <= keep <= len(self.extents):
            self.extents = None
            return "it does not follow the layout before it"
        self.extents = (*self.extents[:keep], *added)
        return None

    def table_faults(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """J414: yield in what the table of layouts differs; layout 0 has no rows."""
        if self.extents is None:
            return
        expected = {}
        if self.no:
            expected = {(self.no, at): extent for at, extent in enumerate(self.extents)}
        found = {(no, position): (first, last) for _, no, position, first, last, _ in rows}
        for number, position in sorted(expected.keys() | found.keys()):
            place = (number, position)
            if expected.get(place) != found.get(place):
                told = {"expected": expected.get(place), "found": found.get(place)}
                yield (
                    "a row is gone, was added or edited",
                    {"layout": number, "position": position} | told,
                )

"""Sets of seqs, and what is said of the rows found on them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RANGES_PER_FACT: Final = 512
ROWS_PER_FACT: Final = 10_000


class Ranges:
    """A growing set of whole numbers, kept as sorted, disjoint (first, last) pairs."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in pairs:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> None:
        """Add one number, or all from ``first`` to ``last``."""
        last = first if last is None else last
        start = bisect_right(self._lasts, first - 2)
        stop = start
        while stop < len(self._firsts) and self._firsts[stop] <= last + 1:
            first = min(first, self._firsts[stop])
            last = max(last, self._lasts[stop])
            stop += 1
        self._firsts[start:stop] = [first]
        self._lasts[start:stop] = [last]

    def update(self, other: Iterable[tuple[int, int]]) -> None:
        """Add every pair of another set."""
        for first, last in other:
            self.add(first, last)

    def clear(self) -> None:
        """Forget every number."""
        self._firsts.clear()
        self._lasts.clear()

    def __contains__(self, seq: int) -> bool:
        return self.span(seq) is not None

    def span(self, seq: int) -> tuple[int, int] | None:
        """Return the (first, last) pair around ``seq``, or None."""
        at = bisect_right(self._firsts, seq) - 1
        if at >= 0 and self._lasts[at] >= seq:
            return self._firsts[at], self._lasts[at]
        return None

    def next_free(self, seq: int) -> int:
        """Return the smallest number from ``seq`` on that is not in the set."""
        span = self.span(seq)
        return seq if span is None else span[1] + 1

    def covers(self, first: int, last: int) -> bool:
        """Whether every number from ``first`` to ``last`` is in the set."""
        span = self.span(first)
        return first > last or (span is not None and span[1] >= last)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._firsts, self._lasts, strict=True)))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # a set that grows has no hash

    def copy(self) -> Ranges:
        """Return an independent copy."""
        twin = Ranges()
        twin._firsts, twin._lasts = self._firsts[:], self._lasts[:]
        return twin


@dataclass(frozen=True, slots=True)
class Oddity:
    """Rows of one sort that a write stepped over, as its control entry names them.

    ``digest`` is the SHA-256 over the row digests in seq order, so that what was
    found cannot be exchanged later; it is empty for missing rows.
    """

    sort: str
    ranges: tuple[tuple[int, int], ...]
    count: int
    digest: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fact as it is sealed."""
        return {
            "sort": self.sort,
            "ranges": [list(pair) for pair in self.ranges],
            "count": self.count,
            "digest": self.digest,
        }

    @classmethod
    def from_json(cls, fact: dict[str, Any]) -> Oddity:
        """Return the fact of a sealed control entry."""
        ranges = tuple((int(first), int(last)) for first, last in fact["ranges"])
        return cls(str(fact["sort"]), ranges, int(fact["count"]), str(fact.get("digest", "")))


@dataclass(slots=True)
class Oddities:
    """What a process has seen in a session and no sealed entry names yet."""

    stray: Ranges = field(default_factory=Ranges)
    altered: Ranges = field(default_factory=Ranges)
    erased: Ranges = field(default_factory=Ranges)
    missing: Ranges = field(default_factory=Ranges)
    projection: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.stray or self.altered or self.erased or self.missing or self.projection)

    def sorts(self) -> Iterator[tuple[str, Ranges]]:
        """Yield each sort with its seqs."""
        yield "stray", self.stray
        yield "altered", self.altered
        yield "erased", self.erased
        yield "missing", self.missing

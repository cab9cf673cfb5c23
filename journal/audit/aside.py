"""Rows that are put aside until the next entry that holds tells what they are."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from journal.strays import Ranges

if TYPE_CHECKING:
    from journal.model import Row

KEPT: Final = 32


@dataclass(slots=True)
class Aside:
    """Rows between two entries that hold: the first and the last few whole, all by seq."""

    seqs: Ranges = field(default_factory=Ranges)
    first: list[Row] = field(default_factory=list)
    newest: deque[Row] = field(default_factory=lambda: deque(maxlen=KEPT))

    def put(self, row: Row) -> None:
        """Put a row aside. Of thirty thousand strays only the ends are looked at closely."""
        self.seqs.add(row.seq)
        if len(self.first) < KEPT:
            self.first.append(row)
        else:
            self.newest.append(row)

    def rows(self) -> list[Row]:
        """Return the rows that are kept, in order."""
        return [*self.first, *self.newest]

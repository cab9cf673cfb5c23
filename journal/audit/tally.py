"""How much was looked at, by what it turned out to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """What was looked at, by what it turned out to be."""

    rows: int = 0
    entries: int = 0
    lines: int = 0
    raw_lines: int = 0
    controls: int = 0
    bytes: int = 0
    strays: int = 0
    altered: int = 0
    erased: int = 0
    missing: int = 0

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

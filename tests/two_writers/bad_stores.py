"""Stores with one fault each, that the suite must name."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from journal.testing.stores import FlatFile, Journaled

if TYPE_CHECKING:
    from pathlib import Path


class Overwrites(FlatFile):
    """Writes the whole file from what it read last."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._known: list[str] = []

    def read(self) -> list[str]:
        self._known = super().read()
        return [*self._known]

    def add(self, text: str) -> None:
        self._known.append(text)
        self._path.write_text("".join(f"{line}\n" for line in self._known))


class Doubles(FlatFile):
    """Tries again although it had written."""

    def add(self, text: str) -> None:
        super().add(text)
        super().add(text)


class Reverses(FlatFile):
    """Puts the newest first."""

    def read(self) -> list[str]:
        return super().read()[::-1]


class Pops(FlatFile):
    """Takes the newest line, whosever it is."""

    def pop(self) -> str | None:
        lines = self.read()
        self._path.write_text("".join(f"{line}\n" for line in lines[:-1]))
        return lines[-1] if lines else None


class CreatesOnce(FlatFile):
    """Makes its file, and fails where another has just made it."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        is_new = not self._path.exists()
        for _ in range(1000):
            os.sched_yield()
        if is_new:
            with self._path.open("x"):
                pass


class ByClock(Journaled):
    """Knows what is stale by the times of its texts, as the writers' clocks tell them."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._path = place / "times"
        self._read_at = 0.0

    def read(self) -> list[str]:
        self._read_at = self._newest()
        return super().read()

    def add(self, text: str) -> None:
        if self._newest() > self._read_at:
            raise RuntimeError("stale")
        self._session.append(text.encode())
        self._path.write_text(str(time.time()))
        self._read_at = time.time()

    def _newest(self) -> float:
        return float(self._path.read_text() or 0) if self._path.exists() else 0.0


class RefusesAll(FlatFile):
    """Refuses everything."""

    def add(self, text: str) -> None:
        raise RuntimeError(f"no to {text}")


class Torn(FlatFile):
    """Says that a text is kept before it is."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._pending = ""

    def add(self, text: str) -> None:
        super().add(self._pending) if self._pending else None
        self._pending = text

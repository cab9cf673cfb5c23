"""Power cuts, played from a log: what was not synced is there, or not, or in pieces.

    python -m tests.crash.cuts [SECONDS] [SEED]     60 seconds, if nothing is said

An act is done once with each call of it recorded. Then the power is cut after any of its
calls, again and again: the directory is given what a disk may hold then (see
:mod:`tests.crash.disk`), and a process of another boot opens it, goes on with it, and
holds it against what had been acknowledged by that moment.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.crash.acts import ACTS, made, record
from tests.crash.aftermath import Looker
from tests.crash.disk import Call, Disk, calls_of
from tests.crash.parties import done
from tests.crash.points import warm_up
from tests.crash.sampling import sample, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

_CUTS: Final = 25  # of one recording; then another act is done
_SLOTS: Final = 3


class Recording(NamedTuple):
    """What an act did, and what it said, each with how many calls came before it.

    The first ``armed`` calls come before the act itself.
    """

    calls: list[Call]
    said: list[list[Any]]
    armed: int


class Slot:
    """A place for one act, and the process that looks at what the power cuts leave of it."""

    def __init__(self, home: Path, number: int) -> None:
        self.place, self._home, self._number = home / f"{number}", home, number
        self._looker = Looker(rebooted=True)
        self._looked = 0
        self._cut = ""

    def recorded(self, name: str) -> Recording:
        """Do an act here; keep what the place held before it."""
        shutil.rmtree(self.place, ignore_errors=True)
        made(self.place, name)
        before, log = self._home / f"before-{self._number}", self._home / f"log-{self._number}"
        shutil.rmtree(before, ignore_errors=True)
        log.unlink(missing_ok=True)
        shutil.copytree(self.place, before)
        said = done(record, self.place, name, log)
        made_calls = list(calls_of(log.read_bytes()))
        # Played from what was there before, under the very names.
        after = self._home / f"after-{self._number}"
        shutil.rmtree(after, ignore_errors=True)
        self.place.rename(after)
        shutil.copytree(before, self.place)
        self._empty = [path.relative_to(after) for path in after.rglob("*") if path.is_dir()]
        for path in self._empty:
            (self.place / path).mkdir(parents=True, exist_ok=True)
        self._before = before
        armed = next(count for count, *what in said if what == ["armed"])
        return Recording(made_calls, said, armed)

    def cut(self, name: str, recording: Recording, at: int, seed: int) -> None:
        """Cut the power after so many calls; let what is left be looked at."""
        shutil.rmtree(self.place)
        shutil.copytree(self._before, self.place)
        for path in self._empty:
            (self.place / path).mkdir(parents=True, exist_ok=True)
        disk = Disk(self.place)
        for call in recording.calls[: recording.armed]:
            disk.do(call)
        disk.settle()
        for call in recording.calls[recording.armed : at]:
            disk.do(call)
        disk.put(disk.after_a_cut(Random(seed)))  # noqa: S311 - to be repeated, not to be secret
        told = [what for count, *what in recording.said if count <= at]
        self._cut = f"{name}, cut after call {at} of {len(recording.calls)}, seed {seed}"
        self._looker.begin(self.place, name, told)

    def ended(self) -> list[str]:
        """Wait for the look; return what was wrong."""
        if not self._cut:
            return []
        wrong = [f"{self._cut}: {each[:400]}" for each in self._looker.wrong()]
        self._cut = ""
        self._looked += 1
        if self._looked % 200 == 0:
            self._looker.leave()
            self._looker = Looker(rebooted=True)
        return wrong

    def leave(self) -> None:
        self._looker.leave()


def run(home: str, seed: int, seconds: float, acts: Sequence[str] | None = None) -> dict[str, Any]:
    """Cut the power for so long; return counts, and what went wrong."""
    warm_up(Path(home))
    slots = [Slot(Path(home), number) for number in range(_SLOTS)]
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    tried: dict[str, int] = {}
    wrong: list[str] = []
    until, names = time.monotonic() + seconds, list(acts or ACTS)
    while not tried or time.monotonic() < until:
        chance.shuffle(names)
        for name in names:
            if tried and time.monotonic() > until:
                break
            recordings = [slot.recorded(name) for slot in slots]
            for number in range(_CUTS):
                at = number % _SLOTS
                wrong += slots[at].ended()
                count = chance.randint(recordings[at].armed, len(recordings[at].calls))
                slots[at].cut(name, recordings[at], count, chance.randrange(10**9))
            for slot in slots:
                wrong += slot.ended()
            tried[name] = tried.get(name, 0) + _CUTS
    for slot in slots:
        slot.leave()
    return {"seed": seed, "tried": sum(tried.values()), "by_act": tried, "wrong": wrong}


def played(shim: Path, seed: int, seconds: float, **options: Any) -> dict[str, Any]:
    """Cut the power for so long in a process of its own."""
    return sample(
        "tests.crash.cuts:run", shim, seconds + 240, seed=seed, seconds=seconds, **options
    )


if __name__ == "__main__":
    sys.exit(shown(played))

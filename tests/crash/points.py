"""Every call that changes a file is a point at which a process dies, or is told that it failed.

    python -m tests.crash.points [SECONDS] [SEED]     a sample of all points; 60 seconds, if nothing is said

For each act a first run counts the calls. Then, for a sample of calls and of the ways in
which each can go wrong, a fresh process does the act; another opens what is left, goes on
with it, and holds it against what was acknowledged.
"""

from __future__ import annotations

import gc
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.crash.acts import ACTS, NEVER, act, made, make, reset
from tests.crash.aftermath import Looker
from tests.crash.parties import apart, done

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MODES: Final = ("before", "after", "torn", "short", "ENOSPC", "EIO", "ENOSPC from then on")
# What can become of a call: of a write, one to the side file, a sync, a truncation, a removal, another change of names.
_OF_KIND: Final = {"w": MODES, "m": MODES[:2] + MODES[4:], "s": MODES[:2] + MODES[5:6], "t": MODES[:2] + MODES[5:6], "u": MODES[:2] + MODES[5:6], "n": MODES[:2] + MODES[4:6]}  # fmt: skip
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a kill loses no memory, and this is quick
_LEAST: Final = 30  # points of a sample, however slow the machine
_SLOTS: Final = 4  # so that a long look keeps no act waiting
_LOOKS: Final = 200  # by one process; then another


class Point(NamedTuple):
    """One call of an act, and how it goes wrong."""

    act: str
    call: int
    mode: str


class Slot:
    """A place for one act at a time, and the process that looks at what is left there."""

    def __init__(self, home: Path, number: int) -> None:
        self.place, self._templates = home / f"{number}", home / f"templates-{number}"
        self._templates.mkdir()
        self._looker, self._looks = Looker(), 0
        self._pending: Point | None = None

    def template(self, name: str) -> Path:
        """Return what an act begins with, made for this place."""
        kept = self._templates / name
        if not kept.exists():
            shutil.rmtree(self.place, ignore_errors=True)
            made(self.place, name)
            shutil.copytree(self.place, kept)
        return kept

    def do(self, point: Point) -> list[list[Any]]:
        """Do an act with its fault in a fresh process; let what is left be looked at."""
        reset(self.place, self.template(point.act))
        said = done(act, self.place, point.act, point.call, MODES.index(point.mode))
        self._looker.begin(self.place, point.act, said)
        self._pending = point
        return said

    def ended(self) -> list[str]:
        """Wait for the look; return what was wrong."""
        point, self._pending = self._pending, None
        if point is None:
            return []
        found = self._looker.wrong()
        self._looks += 1
        if self._looks % _LOOKS == 0:
            self._looker.leave()
            self._looker = Looker()
        return [f"{point.act}, call {point.call}, {point.mode}: {each}" for each in found]

    def leave(self) -> None:
        self._looker.leave()


def warm_up(home: Path) -> None:
    """Do each act once here, so that no forked process pays for what is done for the first time."""
    for name in ACTS:
        place = home / "warm"
        place.mkdir()
        make(_unheard, None, place, name)
        act(_unheard, None, place, name, NEVER, 0)
        shutil.rmtree(place)
    gc.collect()
    gc.freeze()  # a child's first collection would copy every page of it
    gc.disable()


def _unheard(*_: object) -> None:
    pass


def run(
    home: str, seed: int, seconds: float | None, acts: Sequence[str] | None = None
) -> dict[str, Any]:
    """Try a sample of the points for so long, or all of them; return counts, and what went wrong."""
    began = time.monotonic()
    warm_up(Path(home))
    slots = [Slot(Path(home), number) for number in range(_SLOTS)]
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    calls: dict[str, str] = {}
    wrong: list[str] = []
    for name in acts or ACTS:
        calls[name] = _calls(slots[0], name, wrong)
    points = [point for name in calls for point in _points(name, calls[name])]
    chance.shuffle(points)
    tried: dict[str, dict[str, int]] = {name: {} for name in calls}
    made_s, made_cpu_s = time.monotonic() - began, _cpu_s()
    count = 0
    for number, point in enumerate(points):
        if seconds is not None and number >= _LEAST and time.monotonic() - began > seconds:
            break
        slot = slots[number % _SLOTS]
        wrong += slot.ended()
        slot.do(point)
        tried[point.act][point.mode] = tried[point.act].get(point.mode, 0) + 1
        count += 1
    for slot in slots:
        wrong += slot.ended()
        slot.leave()
    took_s = time.monotonic() - began - made_s
    return {
        "seed": seed,
        "calls": {name: len(kinds) for name, kinds in calls.items()},
        "points": len(points),
        "tried": count,
        "per_second": round(count / took_s, 1) if took_s > 0 else 0.0,
        # What a point costs where nobody else is at work: two cores do two of them at once.
        "cpu_ms_each": round((_cpu_s() - made_cpu_s) * 1000 / count, 1),
        "by_act": tried,
        "wrong": wrong,
    }


def _cpu_s() -> float:
    """Return the processor time of this process and of those it has waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in uses)


def _calls(slot: Slot, name: str, wrong: list[str]) -> str:
    """Do an act that nothing happens to; return the kinds of its calls."""
    said = slot.do(Point(name, NEVER, "before"))
    wrong += slot.ended()
    kinds = next((rest[0] for what, *rest in said if what == "calls"), "")
    if not kinds:
        wrong.append(f"{name}: no calls: {said}")
    return str(kinds)


def _points(name: str, kinds: str) -> Iterator[Point]:
    for number, kind in enumerate(kinds, 1):
        yield from (Point(name, number, mode) for mode in _OF_KIND[kind])


def built(directory: Path) -> Path:
    """Build the shim with the system's compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "there is no C compiler to build the shim with"
    target = directory / "shim.so"
    flags = ["-O1", "-Wall", "-Wno-implicit-fallthrough", "-Werror", "-shared", "-fPIC"]
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, *flags, "-o", target, source, "-ldl"], check=True)
    return target


def sampled(shim: Path, seed: int, seconds: float | None, **options: Any) -> dict[str, Any]:
    """Run a sample in a process of its own, in memory where there is a place for it."""
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="journal-points-") as home:
        told: dict[str, Any] = apart(
            "tests.crash.points:run",
            preload=shim,
            timeout_s=(seconds or 3600) + 120,
            home=home,
            seed=seed,
            seconds=seconds,
            **options,
        )
    return told


def main() -> int:
    """Run a sample, print what came of it, and say by the exit code whether it is right."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    with tempfile.TemporaryDirectory() as directory:
        told = sampled(built(Path(directory)), seed, seconds)
    print(json.dumps(told, indent=1))  # noqa: T201 - the figures
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""Every call of an act that changes a file goes wrong in every way, and what is left is looked at.

    python -m tests.crash.points [SECONDS] [SEED]     a sample of all points; 60 seconds, if nothing is said

For each act a first run counts the calls. Then, for a sample of calls and of the ways in
which each can go wrong, the act is done (:mod:`tests.crash.pairs` says by whom); another
process opens what is left, goes on with it, and holds it against what was acknowledged.
When all points have been tried they are tried again, in another order.
"""

from __future__ import annotations

import gc
import resource
import shutil
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.crash.acts import ACTS, NEVER, act, make
from tests.crash.pairs import KILLS, MODES, Pair, Unit
from tests.crash.parties import speaking
from tests.crash.sampling import sample, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What can become of a call: of a write, one to the side file, a sync, a truncation, a removal, another change of names.
_OF_KIND: Final = {"w": MODES, "m": MODES[:2] + MODES[4:], "s": MODES[:2] + MODES[5:6], "t": MODES[:2] + MODES[5:6], "u": MODES[:2] + MODES[5:6], "n": MODES[:2] + MODES[4:6]}  # fmt: skip
_ORDER: Final = {mode: at for at, mode in enumerate(("before", "torn", "after", *MODES[3:]))}
_LEAST: Final = 30  # points of a sample, however slow the machine
_PAIRS: Final = 3  # so that neither of two cores waits
_AT_ONCE: Final = 8  # calls of one unit
_FRESH: Final = 0.1  # so many of the points end a process of their own


class Point(NamedTuple):
    """One call of an act, and how it goes wrong."""

    act: str
    call: int
    mode: str


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
    """Try samples of the points for so long, or all of them once; return counts, and what went wrong."""
    began = time.monotonic()
    warm_up(Path(home))
    bench = Bench([Pair(Path(home), number) for number in range(_PAIRS)])
    calls = bench.counted(list(acts or ACTS))
    points = [point for name in calls for point in _points(name, calls[name])]
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    made_s, made_cpu_s, made_looks = time.monotonic() - began, _cpu_s(), bench.looks
    for unit in _units(points, chance, again=seconds is not None):
        late = seconds is not None and time.monotonic() - began > seconds
        if late and bench.count >= _LEAST:
            break
        bench.give(unit)
    bench.end()
    took_s, count = time.monotonic() - began - made_s, bench.count
    return {
        "seed": seed,
        "calls": {name: len(kinds) for name, kinds in calls.items()},
        "points": len(points),
        "tried": count,
        "looks": bench.looks - made_looks,
        # Whose act made fewer calls than the one that was counted: it was looked at all the same.
        "missed": bench.missed,
        "by_way": bench.by_way,
        "per_second": round(count / took_s, 1) if took_s > 0 else 0.0,
        # What a point costs where nobody else is at work: two cores do two of them at once.
        "cpu_ms_each": round((_cpu_s() - made_cpu_s) * 1000 / count, 1),
        "by_act": bench.tried,
        "wrong": bench.wrong,
    }


class Bench:
    """Pairs of processes that are kept at work, and what came of it."""

    def __init__(self, pairs: list[Pair]) -> None:
        self._idle, self._busy = pairs, list[tuple[Pair, Unit]]()
        self.calls: dict[str, str] = {}
        self.tried: dict[str, dict[str, int]] = {}
        self.by_way: dict[str, int] = {}
        self.wrong: list[str] = []
        self.count = self.looks = self.missed = 0

    def counted(self, names: list[str]) -> dict[str, str]:
        """Do each act once with nothing happening to it; return the kinds of its calls."""
        for name in names:
            self.give(Unit("counted", name, [(NEVER, MODES[0])]))
        self._wait()
        self.wrong += [f"{name}: no calls" for name, kinds in self.calls.items() if not kinds]
        return {name: self.calls[name] for name in names}

    def give(self, unit: Unit) -> None:
        """Have a unit tried by the next pair that has nothing to do."""
        while not self._idle:
            self._hear()
        pair = self._idle.pop()
        pair.give(unit)
        self._busy.append((pair, unit))

    def _hear(self) -> None:
        told = speaking([pair.looker for pair, _ in self._busy])
        for pair, unit in [each for each in self._busy if each[0].looker in told]:
            found = pair.hear()
            self._busy.remove((pair, unit))
            self._idle.append(pair)
            self._note(unit, found)

    def _note(self, unit: Unit, found: dict[str, Any]) -> None:
        self.looks += found["looks"]
        self.wrong += found["wrong"]
        if unit.way == "counted":
            self.calls[unit.act] = str(found.get("calls", ""))
            return
        self.count += len(unit.points)
        self.missed += found["missed"]
        self.by_way[unit.way] = self.by_way.get(unit.way, 0) + len(unit.points)
        of_act = self.tried.setdefault(unit.act, {})
        for _, mode in unit.points:
            of_act[mode] = of_act.get(mode, 0) + 1

    def _wait(self) -> None:
        while self._busy:
            self._hear()

    def end(self) -> None:
        """Wait for what is under way, and let all go."""
        self._wait()
        for pair in self._idle:
            pair.leave()


def _units(points: list[Point], chance: Random, *, again: bool) -> Iterator[Unit]:
    """Yield all points in units of a random order; then, if asked, in another one, for ever."""
    while True:
        units = list(_divided(points, chance))
        chance.shuffle(units)
        yield from units
        if not again:
            return


def _divided(points: list[Point], chance: Random) -> Iterator[Unit]:
    together: dict[tuple[str, str, int], list[tuple[int, str]]] = {}
    for act_, call, mode in points:
        if mode in KILLS and chance.random() < _FRESH:
            yield Unit("killed", act_, [(call, mode)])
        else:
            way = "kept" if mode in KILLS else "failed"
            together.setdefault((way, act_, call // _AT_ONCE), []).append((call, mode))
    # As a call has them: before it, within it, after it.
    for (way, act_, _), found in together.items():
        yield Unit(way, act_, sorted(found, key=lambda each: (each[0], _ORDER[each[1]])))


def _cpu_s() -> float:
    """Return the processor time of this process and of those it has waited for."""
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in uses)


def _points(name: str, kinds: str) -> Iterator[Point]:
    for number, kind in enumerate(kinds, 1):
        yield from (Point(name, number, mode) for mode in _OF_KIND[kind])


def sampled(shim: Path, seed: int, seconds: float | None, **options: Any) -> dict[str, Any]:
    """Run a sample in a process of its own."""
    timeout_s = (seconds or 3600) + 120
    return sample("tests.crash.points:run", shim, timeout_s, seed=seed, seconds=seconds, **options)


if __name__ == "__main__":
    sys.exit(shown(sampled))

"""The rings: each tries for its share of the time to break one promise, and counts what it tried."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tests.crash import breaches, cuts, mounts
from tests.crash.parties import apart
from tests.crash.points import sampled
from tests.crash.sampling import built
from tests.fuzz import __main__ as fuzz
from tests.fuzz import targets as fuzzed
from tests.postgres.server import NoServerError, binaries
from tests.proof import hostile, tampering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

# Of one process; then another.
_KILLS: Final = 100
_OPS: Final = 20_000
_SERVER_OPS: Final = 5_000
_BREACHES: Final = 110
_FUZZED_S: Final = 15.0  # of one target at least: to start takes some seconds
# One more than there are cores: whoever is stopped, or waits for a disk, leaves its core to others.
_ABREAST: Final = (os.cpu_count() or 1) + 1
_NO_COMPILER: Final = "it takes Linux and a C compiler"
_SESSIONS: Final = [f"agent:main:{number}" for number in range(5)]


@dataclass
class Told:
    """What one ring did.

    Attributes:
        aim: how often it should try, in units of ``unit``; None if that is not laid down.
        count: how often it tried.
        wrong: what broke, in words, with what makes it again.
        skipped: why nothing was tried, if nothing was.

    """

    name: str
    unit: str
    aim: int | None = None
    count: int = 0
    took_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    skipped: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, count: int) -> None:
        """Count one of the details."""
        self.details[name] = self.details.get(name, 0) + count

    def add_all(self, counts: dict[str, int]) -> None:
        """Count several of them."""
        for name, count in counts.items():
            self.add(name, count)


def crash_points(told: Told, seed: int, until: float, home: Path) -> None:
    """A call that changes a file fails, or is its process's last."""
    if not _has_compiler():
        told.skipped = _NO_COMPILER
        return
    found = sampled(built(home), seed, _left(until))
    told.count += found["tried"]
    told.wrong += found["wrong"]
    told.details["points"] = found["points"]
    told.add_all({name: found[name] for name in ("looks", "missed")})
    told.add_all(found["by_way"])
    told.add_all({act: sum(modes.values()) for act, modes in found["by_act"].items()})


def kills(told: Told, seed: int, until: float, home: Path) -> None:
    """A writer is killed with -9 at any moment, alone and while others write."""

    def play(number: int, place: Path) -> tuple[Any, Any]:
        company = number % 2 == 1
        options: dict[str, Any] = {"seed": seed + number, "kills": _KILLS, "company": company}
        left_s = _left(until)
        return options, apart(
            "tests.crash.kills:run",
            home=str(place),
            timeout_s=left_s + 240,
            seconds=left_s,
            **options,
        )

    for options, found in _abreast(until, home, play):
        told.count += found["kills"]
        told.add_all({name: found[name] for name in ("acks", "checks")})
        told.wrong += [f"{options}: {each}" for each in found["wrong"]]


def histories(told: Told, seed: int, until: float, home: Path) -> None:
    """Eight processes claim sessions from each other, are stopped and killed; the history is checked."""
    names = ("lines", "claims", "supersessions", "refused", "stops", "kills")

    def play(number: int, place: Path) -> tuple[Any, Any]:
        options: dict[str, Any] = {"seed": seed + number, "ops": _OPS}
        if number % 5 == 0:  # all at two sessions: short turns, and many that come too late
            options["skewed"] = True
        else:
            options |= {"keys": _SESSIONS, "longest": 30}
        return options, apart(
            "tests.history.test_turns:run",
            home=str(place),
            timeout_s=_left(until) + 300,
            seconds=_left(until),
            **options,
        )

    _take_histories(told, names, _abreast(until, home, play))


def server_histories(told: Told, seed: int, until: float, home: Path) -> None:
    """The same on a PostgreSQL server, which is killed and started again as well."""
    try:
        binaries()
    except NoServerError as error:
        told.skipped = str(error)
        return
    names = ("lines", "claims", "supersessions", "refused", "lost", "stops", "kills", "restarts")

    def play(number: int, place: Path) -> tuple[Any, Any]:
        options: dict[str, Any] = {"seed": seed + number, "ops": _SERVER_OPS}
        return options, apart(
            "tests.postgres.histories:run",
            home=str(place),
            timeout_s=_left(until) + 600,
            seconds=_left(until),
            **options,
        )

    _take_histories(told, names, _abreast(until, home, play, lanes=1))


def _take_histories(
    told: Told, names: tuple[str, ...], found: Iterable[tuple[Any, dict[str, Any]]]
) -> None:
    for options, each in found:
        told.count += each["ops"]
        told.add_all({name: each[name] for name in names})
        told.wrong += [f"{options}: {fault}" for fault in each["wrong"]]


def tampered(told: Told, seed: int, until: float, home: Path) -> None:
    """A cell is edited, or a row taken away, and an audit must say so."""

    def play(number: int, place: Path) -> Any:
        return apart(
            "tests.proof.tampering:run",
            home=str(place),
            timeout_s=_left(until) + 240,
            seed=seed + number * tampering.MOST,
            seconds=_left(until),
        )

    for found in _abreast(until, home, play):
        told.count += found["edits"] + found["removals"]
        told.add_all({name: found[name] for name in ("journals", "edits", "removals")})
        told.wrong += found["wrong"]


def power_cuts(told: Told, seed: int, until: float, home: Path) -> None:
    """What was not synced is there, or not, or in pieces, after any call."""
    if not _has_compiler():
        told.skipped = _NO_COMPILER
        return
    found = cuts.played(built(home), seed, _left(until))
    told.count += found["tried"]
    told.wrong += found["wrong"]
    told.add_all(found["by_act"])


def power_cuts_of(kind: str) -> Callable[[Told, int, float, Path], None]:
    """Return the ring of a kind of file system."""

    def ring(told: Told, seed: int, until: float, home: Path) -> None:
        """A real file system is shut down while two writers are at work, and mounted anew."""
        told.skipped = mounts.why_not(kind)
        if told.skipped is not None:
            return

        def play(number: int, _: Path) -> Any:
            return mounts.cut(kind, seed + number, _left(until))

        # Most of a cut is waiting: for writers to be at work, and for mounts.
        for found in _abreast(until, home, play, lanes=2 * _ABREAST):
            told.count += found["tried"]
            told.add("acks", found["acks"])
            told.wrong += found["wrong"]

    return ring


def lock_breaches(told: Told, seed: int, until: float, home: Path) -> None:
    """Each way to lose SQLite's locks or its files, in a process at work and beside another."""
    told.skipped = breaches.why_not()
    if told.skipped is not None:
        return

    def play(number: int, place: Path) -> Any:
        return apart(
            "tests.crash.breaches:run",
            home=str(place),
            timeout_s=_left(until) + 240,
            seed=seed + number * _BREACHES,
            count=_BREACHES,
            seconds=_left(until),
        )

    for found in _abreast(until, home, play):
        told.count += found["tried"]
        told.add_all(found["by_way"])
        told.wrong += found["wrong"]


def hostile_input(told: Told, seed: int, until: float, home: Path) -> None:
    """Bytes that nobody would write, through the parsers, the planner of mirrors and the escaping."""

    def play(number: int, _: Path) -> Any:
        left_s = _left(until)
        options: dict[str, Any] = {"seed": seed + number * hostile.MOST, "seconds": left_s}
        return apart("tests.proof.hostile:run", timeout_s=left_s + 240, **options)

    for found in _abreast(until, home, play):
        told.count += sum(found["by_check"].values())
        told.add_all(found["by_check"])
        told.wrong += found["wrong"]


def guided_input(told: Told, seed: int, until: float, home: Path) -> None:
    """The same and more of it, led by the branches that it reaches; where atheris is there."""
    if importlib.util.find_spec("atheris") is None:
        told.skipped = "it takes atheris (pip install atheris)"
        return
    names = list(fuzzed.TARGETS)
    Random(seed).shuffle(names)  # noqa: S311 - to be repeated, not to be secret
    number = max(1, min(len(names), int(_left(until) * _ABREAST / _FUZZED_S)))
    each_s = _left(until) * _ABREAST / number
    with ThreadPoolExecutor(_ABREAST) as pool:
        for found in pool.map(
            lambda name: fuzz.run(name, each_s / 60, seed % 2**31 + 1, home), names[:number]
        ):
            told.count += found["runs"]
            told.add(found["target"], found["runs"])
            told.wrong += [f"{found['target']}: {found['wrong']}"] if found["wrong"] else []


def _abreast(
    until: float, home: Path, play: Callable[[int, Path], T], *, lanes: int = _ABREAST
) -> Iterator[T]:
    """Play numbered rounds beside each other, each in a directory of its own, while there is time for another."""

    def lane(first: int) -> list[T]:
        found: list[T] = []
        for number in itertools.count(first, lanes):
            if found and time.monotonic() > until:
                break
            place = home / f"{number}"
            place.mkdir()
            found.append(play(number, place))
            shutil.rmtree(place, ignore_errors=True)
        return found

    with ThreadPoolExecutor(lanes) as pool:
        for found in pool.map(lane, range(lanes)):
            yield from found


def _left(until: float) -> float:
    return max(1.0, until - time.monotonic())


def _has_compiler() -> bool:
    has_one = bool(shutil.which("cc") or shutil.which("gcc"))
    return sys.platform.startswith("linux") and has_one


class Ring(NamedTuple):
    """A way to try, what it counts, and how many of it there should be."""

    unit: str
    play: Callable[[Told, int, float, Path], None]
    aim: int | None = None


RINGS: Final = {
    "crash points": Ring("points", crash_points, 250_000),
    "power cuts": Ring("cuts", power_cuts),
    "power cuts, ext4": Ring("cuts", power_cuts_of("ext4"), 500),
    "power cuts, xfs": Ring("cuts", power_cuts_of("xfs"), 500),
    "kill -9": Ring("kills", kills),
    "histories": Ring("operations", histories, 5_000_000),
    "histories on PostgreSQL": Ring("operations", server_histories),
    "tampering": Ring("mutations", tampered, 100_000),
    "lock breaches": Ring("breaches", lock_breaches, 1_000),
    "hostile input": Ring("inputs", hostile_input),
    "hostile input, guided": Ring("inputs", guided_input, 5_000_000),
}


def begun(name: str) -> Told:
    """Return what a ring has done before it did anything."""
    return Told(name, RINGS[name].unit, RINGS[name].aim)


def go_on(told: Told, seed: int, seconds: float) -> None:
    """Let a ring try for so long, and add what came of it; what it ends with is told, and never raised."""
    began = time.monotonic()
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - quick, and a kill loses none of it
    with tempfile.TemporaryDirectory(dir=where, prefix="journal-proof-") as home:
        try:
            RINGS[told.name].play(told, seed, began + seconds, Path(home))
        except Exception as error:  # noqa: BLE001 - the other rings go on
            told.wrong.append(f"the ring ended with {type(error).__name__}: {error}"[:2000])
    told.took_s = round(told.took_s + time.monotonic() - began, 1)

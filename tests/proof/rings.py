"""The rings: each tries for its share of the time to break one promise, and counts what it tried."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.crash import breaches, cuts, mounts
from tests.crash.parties import apart
from tests.crash.points import built, sampled
from tests.postgres.server import NoServerError, binaries
from tests.proof import hostile, tampering

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KILLS: Final = 50
_OPS: Final = 1000
_BREACHES: Final = 25
_NO_COMPILER: Final = "it takes Linux and a C compiler"
_SERVER_OPS: Final = 500


@dataclass
class Told:
    """What one ring did.

    Attributes:
        count: how often it tried, in units of ``unit``.
        wrong: what broke, in words, with what makes it again.
        skipped: why nothing was tried, if nothing was.

    """

    name: str
    unit: str
    count: int = 0
    took_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    skipped: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, count: int) -> None:
        """Count one of the details."""
        self.details[name] = self.details.get(name, 0) + count


def crash_points(told: Told, seed: int, until: float, home: Path) -> None:
    """A call that changes a file fails, or is its process's last."""
    if not _has_compiler():
        told.skipped = _NO_COMPILER
        return
    found = sampled(built(home), seed, _left(until))
    told.count, told.wrong = found["tried"], found["wrong"]
    told.details = {name: found[name] for name in ("points", "calls", "by_act")}


def kills(told: Told, seed: int, until: float, home: Path) -> None:
    """A writer is killed with -9 at any moment, alone and while others write."""
    for number in _rounds(until):
        options: dict[str, Any] = {
            "seed": seed + number,
            "kills": _KILLS,
            "company": number % 2 == 1,
        }
        place = home / f"{number}"
        place.mkdir()
        found = apart("tests.crash.kills:run", home=str(place), **options)
        shutil.rmtree(place)
        told.count += found["kills"]
        for name in ("acks", "checks"):
            told.add(name, found[name])
        told.wrong += [f"{options}: {each}" for each in found["wrong"]]


def histories(told: Told, seed: int, until: float, home: Path) -> None:
    """Eight processes claim two sessions from each other, are stopped and killed; the history is checked."""
    for number in _rounds(until):
        place = home / f"{number}"
        place.mkdir()
        options: dict[str, Any] = {"seed": seed + number, "ops": _OPS}
        found = apart("tests.history.test_turns:run", home=str(place), **options)
        shutil.rmtree(place)
        told.count += found["ops"]
        for name in ("supersessions", "refused", "stops", "kills"):
            told.add(name, found[name])
        told.wrong += [f"{options}: {each}" for each in found["wrong"]]


def server_histories(told: Told, seed: int, until: float, home: Path) -> None:
    """The same on a PostgreSQL server, which is killed and started again as well."""
    try:
        binaries()
    except NoServerError as error:
        told.skipped = str(error)
        return
    for number in _rounds(until):
        place = home / f"{number}"
        place.mkdir()
        options: dict[str, Any] = {"seed": seed + number, "ops": _SERVER_OPS}
        found = apart("tests.postgres.histories:run", home=str(place), timeout_s=600, **options)
        told.count += found["ops"]
        for name in ("supersessions", "refused", "lost", "stops", "kills", "restarts"):
            told.add(name, found[name])
        told.wrong += [f"{options}: {each}" for each in found["wrong"]]


def tampered(told: Told, seed: int, until: float, home: Path) -> None:
    """A cell is edited, or a row taken away, and an audit must say so."""
    for number in _rounds(until):
        found = tampering.one_journal(home, seed + number, until)
        told.count += found.edits + found.removals
        told.add("edits", found.edits)
        told.add("removals", found.removals)
        told.wrong += [f"seed {seed + number}: {each}" for each in found.wrong]


def power_cuts(told: Told, seed: int, until: float, home: Path) -> None:
    """What was not synced is there, or not, or in pieces, after any call."""
    if not _has_compiler():
        told.skipped = _NO_COMPILER
        return
    found = cuts.played(built(home), seed, _left(until))
    told.count, told.wrong = found["tried"], found["wrong"]
    told.details = {"by_act": found["by_act"]}


def power_cuts_of_ext4(told: Told, seed: int, until: float, _: Path) -> None:
    """A real file system is shut down while two writers are at work, and mounted anew."""
    told.skipped = mounts.why_not()
    if told.skipped is None:
        found = mounts.cut(seed, _left(until))
        told.count, told.wrong = found["tried"], found["wrong"]
        told.details = {"acks": found["acks"]}


def lock_breaches(told: Told, seed: int, until: float, home: Path) -> None:
    """Each way to lose SQLite's locks or its files, in a process at work and beside another."""
    told.skipped = breaches.why_not()
    for number in () if told.skipped else _rounds(until):
        place = home / f"{number}"
        place.mkdir()
        options: dict[str, Any] = {"seed": seed + number * _BREACHES, "count": _BREACHES}
        found = apart("tests.crash.breaches:run", home=str(place), **options)
        shutil.rmtree(place)
        told.count += found["tried"]
        for name, count in found["by_way"].items():
            told.add(name, count)
        told.wrong += found["wrong"]


def hostile_input(told: Told, seed: int, until: float, _: Path) -> None:
    """Bytes that nobody would write, through the parsers, the planner of mirrors and the escaping."""
    for number in _rounds(until):
        for name, check in hostile.CHECKS.items():
            if time.monotonic() > until:
                break
            count, wrong = hostile.run(check, seed + number)
            told.count += count
            told.add(name, count)
            told.wrong += [f"seed {seed + number}, {name}: {each}" for each in wrong]


def _rounds(until: float) -> Iterator[int]:
    """Yield the rounds there is time for: one at least."""
    number = 0
    while number == 0 or time.monotonic() < until:
        yield number
        number += 1


def _left(until: float) -> float:
    return max(1.0, until - time.monotonic())


def _has_compiler() -> bool:
    has_one = bool(shutil.which("cc") or shutil.which("gcc"))
    return sys.platform.startswith("linux") and has_one


RINGS: Final[dict[str, tuple[str, Callable[[Told, int, float, Path], None]]]] = {
    "crash points": ("points", crash_points),
    "power cuts": ("cuts", power_cuts),
    "power cuts, ext4": ("cuts", power_cuts_of_ext4),
    "kill -9": ("kills", kills),
    "histories": ("operations", histories),
    "histories on PostgreSQL": ("operations", server_histories),
    "tampering": ("mutations", tampered),
    "lock breaches": ("breaches", lock_breaches),
    "hostile input": ("inputs", hostile_input),
}


def run(name: str, seed: int, seconds: float) -> Told:
    """Let one ring try for so long; what it ends with is told, and never raised."""
    unit, ring = RINGS[name]
    told, began = Told(name, unit), time.monotonic()
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - quick, and a kill loses none of it
    with tempfile.TemporaryDirectory(dir=where, prefix="journal-proof-") as home:
        try:
            ring(told, seed, began + seconds, Path(home))
        except Exception as error:  # noqa: BLE001 - the other rings go on
            told.wrong.append(f"the ring ended with {type(error).__name__}: {error}"[:2000])
    told.took_s = round(time.monotonic() - began, 1)
    return told

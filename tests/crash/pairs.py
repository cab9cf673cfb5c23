"""A place where acts go wrong, and the two processes at work there: one acts, the other looks.

A point can be reached in three ways. ``killed``: the act is done by a fresh process, which
ends there. ``kept``: it is done once and waits at each of some calls, while what a kill at
that moment would leave is taken down; each state is then put there again and looked at. What
is the same to the byte, and was told the same, is looked at once. ``failed``: a call fails,
and the process that this happens to goes on, with this act and then with others.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import struct
import traceback
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.crash.acts import act, keep, made
from tests.crash.aftermath import looked
from tests.crash.held import Held, held, put
from tests.crash.parties import PATIENCE_S, Party, done, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MODES: Final = ("before", "after", "torn", "short", "ENOSPC", "EIO", "ENOSPC from then on")
KILLS: Final = MODES[:3]
_MOMENT: Final = struct.Struct("=qq")
_LOOKS: Final = 200  # by one pair of processes; then another


class Unit(NamedTuple):
    """Some points of one act that are tried in one way."""

    way: str
    act: str
    points: list[tuple[int, str]]


class Moment(NamedTuple):
    """What was there, and what had been said, at one moment of a call."""

    files: Held
    said: list[list[Any]]


class Pair:
    """The two processes, and the place, as whoever gives them work sees them."""

    def __init__(self, home: Path, number: int) -> None:
        self.place, self._templates = home / f"{number}", home / f"templates-{number}"
        self._templates.mkdir()
        self._begin()

    def _begin(self) -> None:
        self._looks = 0
        self._actor = start(_act_when_told, self.place)
        self.looker = start(_work_when_told, self._actor, self.place, self._templates)

    def template(self, name: str) -> Held:
        """Return what an act begins with, made for this place: its mirror is known by its path."""
        return _template(self.place, self._templates, name)

    def give(self, unit: Unit) -> None:
        """Have these points tried; a fresh process is forked from here, where no journal was opened."""
        if unit.way != "killed":
            self.looker.tell(json.dumps([*unit, []]))
            return
        ((call, mode),) = unit.points
        put(self.place, self.template(unit.act))
        said = done(act, self.place, unit.act, call, MODES.index(mode))
        self.looker.tell(json.dumps([*unit, said]))

    def hear(self) -> dict[str, Any]:
        """Wait for what came of it."""
        what, *rest = self.looker.hear()
        found: dict[str, Any] = (
            rest[0] if what == "tried" else {"looks": 0, "missed": 0, "wrong": [str(rest)]}
        )
        self._looks += found["looks"]
        if what != "tried" or self._looks > _LOOKS:
            self.leave()
            self._begin()
        return found

    def leave(self) -> None:
        """Let both go."""
        for party in (self.looker, self._actor):
            with suppress(BrokenPipeError):  # it has ended by itself, and that was told
                party.tell("")
            party.end()


@cache
def _template(place: Path, templates: Path, name: str) -> Held:
    kept = templates / name
    if not kept.exists():
        shutil.rmtree(place, ignore_errors=True)
        made(place, name)
        put(kept, held(place))
    return held(kept)


def _act_when_told(say: Callable[..., None], listen: Callable[[], str], place: Path) -> None:
    """Do acts in which a call fails, one after the other; each ends with a word about its calls."""
    while word := listen():
        name, call, how = json.loads(word)
        try:
            act(say, None, place, name, call, how)
        except Exception:  # noqa: BLE001 - said, and a fault
            say("error", traceback.format_exc()[-3000:])
            say("calls", "", 1)


def _work_when_told(
    say: Callable[..., None], listen: Callable[[], str], actor: Party, place: Path, templates: Path
) -> None:
    worker = _Worker(actor, place, templates)
    while word := listen():
        way, name, points, said = json.loads(word)
        worker.looks, worker.missed, worker.calls = 0, 0, ""
        wrong = list(worker.tried(Unit(way, name, points), said))
        counts = {"looks": worker.looks, "missed": worker.missed}
        say("tried", {"calls": worker.calls, "wrong": wrong, **counts})


class _Worker:
    """The process that looks, and tells the other one what to do."""

    def __init__(self, actor: Party, place: Path, templates: Path) -> None:
        self._actor, self._place, self._templates = actor, place, templates
        self._tells, self._hears = os.pipe(), os.pipe()
        self.looks, self.missed, self.calls = 0, 0, ""

    def tried(self, unit: Unit, said: list[list[Any]]) -> Iterator[str]:
        """Try the points of a unit; yield what went wrong."""
        if unit.way == "kept":
            yield from self._kept(unit)
            return
        for call, mode in unit.points:
            told = said if unit.way == "killed" else self._failed(unit.act, call, mode)
            # Of one that was killed there is no such word.
            self.calls, reached = next(
                (rest for what, *rest in told if what == "calls"), ("", True)
            )
            self.missed += not reached
            yield from self._looked(unit.act, call, mode, told)

    def _looked(self, name: str, call: int, mode: str, said: list[list[Any]]) -> list[str]:
        self.looks += 1
        wrong = looked(self._place, name, said)
        return [f"{name}, call {call}, {mode}: {each}" for each in wrong]

    def _template(self, name: str) -> Held:
        return _template(self._place, self._templates, name)

    def _failed(self, name: str, call: int, mode: str) -> list[list[Any]]:
        put(self._place, self._template(name))
        self._actor.tell(json.dumps([name, call, MODES.index(mode)]))
        said = [self._actor.hear()]
        while said[-1][0] != "calls":
            said.append(self._actor.hear())
        return said

    def _kept(self, unit: Unit) -> Iterator[str]:
        """Look at each of the moments that differ from the one before."""
        put(self._place, self._template(unit.act))
        moments = self._moments(unit.act, unit.points[0][0], unit.points[-1][0])
        before: Any = None
        for call, mode in unit.points:
            moment = _moment(moments, call, mode)
            self.missed += (call, "after") not in moments
            if before != (moment.files.lasting(), moment.said):
                put(self._place, moment.files)
                yield from self._looked(unit.act, call, mode, moment.said)
                before = (moment.files.lasting(), moment.said)

    def _moments(self, name: str, first: int, last: int) -> dict[tuple[int, str], Moment]:
        """Do an act; return what was there around each of these calls, and when it had ended."""
        pipes = (self._tells[1], self._hears[0])
        party, said = start(keep, self._place, name, (first, last), pipes), []
        found: dict[tuple[int, str], Moment] = {}
        while moment := self._next(party):
            said += party.heard()
            found[moment] = Moment(held(self._place), list(said))
            os.write(self._hears[1], b"\n")
        said += party.end()
        found[0, "ended"] = Moment(held(self._place), said)
        return found

    def _next(self, party: Party) -> tuple[int, str] | None:
        """Wait for the next moment; None when the act has ended."""
        ends = os.pidfd_open(party.pid)
        try:
            ready = select.select([self._tells[0], ends], [], [], PATIENCE_S)[0]
        finally:
            os.close(ends)
        assert ready, f"{party.pid} hangs"
        if self._tells[0] not in ready:
            return None
        call, when = _MOMENT.unpack(os.read(self._tells[0], _MOMENT.size))
        return call, MODES[when]


def _moment(moments: dict[tuple[int, str], Moment], call: int, mode: str) -> Moment:
    """Return a moment. Where this time the act had other calls, it is a later one."""
    for each in ((call, mode), (call, "after"), (0, "ended")):
        if each in moments:
            return moments[each]
    raise AssertionError(moments.keys())

"""Histories of four processes on two sessions, with stops and kills in between."""

from __future__ import annotations

import signal
import sys
import time
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from journal import Journal
from tests.crash.honest import KEYS, fresh, look, made
from tests.crash.parties import apart, done, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.crash.parties import Party

PROCESSES: Final = 4
SECONDS: Final = 8.0
NEMESES: Final = ("stop", "stop", "kill", "nothing")


class Write(NamedTuple):
    """One acknowledged line and when its call began and ended (one clock for all processes)."""

    key: str
    seq: int
    epoch: int
    by: str
    n: int
    began: float
    ended: float


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_history_under_stops_and_kills_is_linear(tmp_path, seed):
    """What was acknowledged is there once, without gaps, in the order in which it happened."""
    told = apart("tests.history.test_processes:run", home=str(tmp_path), seed=seed, seconds=SECONDS)
    assert told["wrong"] == []
    assert told["stops"] > 5
    assert told["kills"] > 5
    assert told["writes"] > 200


def run(home: str, seed: int, seconds: float) -> dict[str, Any]:
    """Let four processes write under a nemesis; return counts, and what is wrong with the history."""
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    path, key = fresh(made(Path(home)), seed), Path(home) / "key"
    nemesis = Nemesis(path, key, chance)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        nemesis.strike()
    said = nemesis.end() + done(look, path, key, [])
    writes = [Write(*rest) for what, *rest in said if what == "acked"]
    wrong = [str(rest) for what, *rest in said if what in ("error", "odd", "audit") and any(rest)]
    wrong += [f"a false verdict: {rest}" for what, *rest in said if what == "verdict"]
    tried = {(by, n) for what, *rest in said if what == "trying" for by, n in [rest]}
    for what, *rest in said:
        if what == "read":
            name, entries, stepped_over = rest
            wrong += [] if stepped_over == 0 else [f"{name}: {stepped_over} stepped over"]
            wrong += judged(name, entries, [write for write in writes if write.key == name], tried)
    counts = {"stops": nemesis.stops, "kills": nemesis.kills, "writes": len(writes)}
    return {**counts, "wrong": wrong[:20]}


class Nemesis:
    """Starts the writers, stops them, lets them go, kills them, starts others."""

    def __init__(self, path: Path, key: Path, chance: Random) -> None:
        self._path, self._key, self._chance = path, key, chance
        self._started = self.stops = self.kills = 0
        self._said: list[list[Any]] = []
        self._parties = [self._start() for _ in range(PROCESSES)]

    def _start(self) -> Party:
        self._started += 1
        given = (self._path, self._key, f"writer {self._started}", self._chance.randrange(10**6))
        return start(write, *given)

    def strike(self) -> None:
        """Do one party one harm, for a while."""
        at = self._chance.randrange(PROCESSES)
        harm, while_s = self._chance.choice(NEMESES), self._chance.uniform(0, 0.12)
        if harm == "stop":
            self.stops += 1
            self._parties[at].signal(signal.SIGSTOP)
        time.sleep(while_s)
        if harm == "stop":
            self._parties[at].signal(signal.SIGCONT)
        elif harm == "kill":
            self.kills += 1
            self._said += self._parties[at].kill()
            self._parties[at] = self._start()
        for party in self._parties:
            self._said += party.heard()

    def end(self) -> list[list[Any]]:
        """Kill the rest; return all that was said."""
        for party in self._parties:
            self._said += party.kill()
        return self._said


def write(say: Callable[..., None], _: object, path: Path, key: Path, by: str, seed: int) -> None:
    """Append to both sessions, half of it through a fence, and say when each call began and ended."""
    chance = Random(seed)  # noqa: S311
    with Journal(
        path, key_file=key, on_takeover=lambda verdict: say("verdict", verdict.outcome)
    ) as journal:
        sessions = [journal.session(name, writer=by, role="tool") for name in KEYS]
        for n in range(1, 50_000):
            session = chance.choice(sessions)
            line = {"by": by, "n": n, "text": "x" * chance.randrange(300)}
            fenced = session.fence() if chance.random() < 0.5 else None
            say("trying", by, n)
            began = time.monotonic()
            entry = (fenced or session).append(line)
            say("acked", entry.session, entry.seq, entry.epoch, by, n, began, time.monotonic())


def judged(
    name: str,
    entries: list[list[Any]],
    writes: list[Write],
    tried: set[tuple[str, int]],
) -> Iterable[str]:
    """Judge one session's entries against what its writers were told."""
    found = {seq: (epoch, by, n) for seq, epoch, by, n in entries}
    for write_ in writes:
        if found.get(write_.seq) != write_[2:5]:
            yield f"{name}: acknowledged {write_}, there is {found.get(write_.seq)}"
    lines = [fact[1:] for fact in found.values()]
    if len(set(lines)) != len(lines):
        yield f"{name}: a line is there twice"
    unknown = {line for line in lines if line[0].startswith("writer")} - tried
    if unknown:
        yield f"{name}: nobody wrote {sorted(unknown)[:3]}"
    yield from unanswered(name, lines, writes)
    yield from out_of_time(name, writes)
    if sorted(found) != list(range(1, len(found) + 1)):
        yield f"{name}: the seqs have gaps"
    epochs = sorted({epoch for epoch, *_ in found.values()})
    if epochs != list(range(1, len(epochs) + 1)):
        yield f"{name}: the epochs have gaps"


def unanswered(name: str, lines: list[tuple[str, int]], writes: list[Write]) -> Iterable[str]:
    """Find writers with more than one line there that they were never told of."""
    answered = {(write_.by, write_.n) for write_ in writes}
    without = defaultdict(list)
    for by, n in lines:
        if by.startswith("writer") and (by, n) not in answered:
            without[by].append(n)
    for by, numbers in without.items():
        if len(numbers) > 1:
            yield f"{name}: {by} was never told of {numbers}"


def out_of_time(name: str, writes: list[Write]) -> Iterable[str]:
    """Find what stands before something that had ended when it began: one pass from the end."""
    earliest_end = float("inf")
    for write_ in sorted(writes, key=lambda write_: -write_.seq):
        if earliest_end < write_.began:
            yield f"{name}: {write_} stands before what had ended when it began"
        earliest_end = min(earliest_end, write_.ended)


def test_a_history_out_of_order_is_found():
    """The checker sees what it is there to see: each of its rules broken once."""
    good = [Write("s", seq, seq, "writer 1", seq, seq, seq + 0.5) for seq in (1, 2, 3)]
    entries = [[w.seq, w.epoch, w.by, w.n] for w in good]
    tried = {(w.by, w.n) for w in good} | {("writer 1", 4)}
    assert list(judged("s", entries, good, tried)) == []
    late = [*good[:2], good[2]._replace(began=0.1, ended=0.2)]
    assert "had ended" in " ".join(judged("s", entries, late, tried))
    assert "acknowledged" in " ".join(judged("s", entries[:2], good, tried))
    assert "gaps" in " ".join(judged("s", [entries[0], entries[2]], [good[0], good[2]], tried))
    twice = [*entries, [4, 4, "writer 1", 3]]
    assert "twice" in " ".join(judged("s", twice, good, tried))
    assert "nobody wrote" in " ".join(judged("s", [*entries, [4, 4, "writer 1", 9]], good, tried))
    assert "never told" in " ".join(judged("s", entries, good[:1], tried))

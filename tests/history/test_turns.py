"""Turns of eight processes: claimed, superseded, stopped, let go again and killed.

The rule under test is the eighth: once a successor's claim has returned, no entry of
the superseded turn is ever committed. Each line carries the token of the turn that
wrote it, so the database itself tells whether one came too late; and the clocks, which
all processes of one machine share, tell what was acknowledged after it should be.

``JOURNAL_HISTORY_OPS=1000000 pytest tests/history/test_turns.py`` plays a million.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from bisect import bisect_right
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from journal import ClaimedError, Journal, Superseded
from journal.audit import audit
from tests.crash.parties import apart, done, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.crash.parties import Party

PROCESSES: Final = 8
KEYS: Final = ("agent:main:main", "agent:main:side")
OPS: Final = int(os.environ.get("JOURNAL_HISTORY_OPS", "10000"))
# Two days of a slow machine; a hundred times what a quick one takes.
PATIENCE_S: Final = 60 + OPS / 25
NEMESES: Final = ("stop", "stop", "stop", "kill")


class Claim(NamedTuple):
    """A claim and when its call returned."""

    key: str
    token: int
    ended: float


class Write(NamedTuple):
    """An acknowledged line of a turn, and when its call began and ended."""

    key: str
    token: int
    seq: int
    began: float
    ended: float


class Line(NamedTuple):
    """A line as it stands in the journal: its place, and the turn that says it wrote it."""

    seq: int
    epoch: int
    token: int


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_no_entry_of_a_superseded_turn_after_its_successors_claim_returned(tmp_path):
    """Eight processes claim two sessions from each other, are stopped, let go and killed meanwhile."""
    told = apart(
        "tests.history.test_turns:run", home=str(tmp_path), seed=4, ops=OPS, timeout_s=PATIENCE_S
    )

    print(told)  # noqa: T201 - the figures, for whoever runs it with -s
    assert told["wrong"] == []
    assert told["ops"] >= OPS
    assert told["supersessions"] > OPS / 100
    assert told["refused"] > OPS / 100
    assert told["stops"] > 5
    assert told["kills"] > 1
    assert not audit(str(tmp_path / "journal.db"), key_file=tmp_path / "key").findings


def run(home: str, seed: int, ops: int) -> dict[str, Any]:
    """Let the parties at it until so many operations were answered; judge what came of it."""
    path, key = Path(home) / "journal.db", Path(home) / "key"
    done(make, path, key)
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    nemesis, heard, counts = Nemesis(path, key, chance), Heard(), {"stop": 0, "kill": 0}
    while heard.ops < ops:
        counts[nemesis.strike(heard)] += 1
    nemesis.end(heard)
    found = {name: lines for what, name, lines in done(look, path, key) if what == "read"}
    wrong = list(heard.errors)
    for name, lines in found.items():
        entries = [Line(*line) for line in lines]
        claims = sorted((c for c in heard.claims if c.key == name), key=lambda c: c.token)
        wrong += judged(name, entries, claims, [w for w in heard.writes if w.key == name])
    return {
        "wrong": wrong[:20],
        "ops": heard.ops,
        "claims": len(heard.claims),
        "supersessions": heard.supersessions,
        "refused": heard.refused,
        "lines": len(heard.writes),
        "stops": counts["stop"],
        "kills": counts["kill"],
    }


def make(_: object, __: object, path: Path, key: Path) -> None:
    """Make the journal, so that nobody has to wait for that."""
    Journal(path, key_file=key).close()


class Heard:
    """What the parties said, counted as it comes: a million answers need no more memory than their facts."""

    def __init__(self) -> None:
        self.ops = self.refused = self.supersessions = 0
        self.claims: list[Claim] = []
        self.writes: list[Write] = []
        self.errors: list[str] = []

    def take(self, said: Iterable[list[Any]]) -> None:
        for what, *rest in said:
            if what == "error":
                self.errors.append(str(rest))
                continue
            self.ops += 1
            if what == "claimed":
                key, token, ended, superseded = rest
                self.claims.append(Claim(key, token, ended))
                self.supersessions += superseded
            elif what == "wrote":
                self.writes.append(Write(*rest))
            else:
                self.refused += 1


class Nemesis:
    """Starts the parties, stops them, lets them go again, kills them and starts others."""

    def __init__(self, path: Path, key: Path, chance: Random) -> None:
        self._path, self._key, self._chance = path, key, chance
        self._started = 0
        self._parties = [self._start() for _ in range(PROCESSES)]

    def _start(self) -> Party:
        self._started += 1
        name, seed = f"run {self._started % 16}", self._chance.randrange(10**6)
        return start(take_turns, self._path, self._key, name, seed)

    def strike(self, heard: Heard) -> str:
        """Do one party one harm, for a while; hear what all say meanwhile."""
        at, harm = self._chance.randrange(PROCESSES), self._chance.choice(NEMESES)
        until = time.monotonic() + self._chance.uniform(0.02, 0.15)
        if harm == "stop":
            self._parties[at].signal(signal.SIGSTOP)
        while time.monotonic() < until:
            self._hear(heard)
            time.sleep(0.005)  # a pipe holds little: nobody may have to wait for us
        if harm == "stop":
            self._parties[at].signal(signal.SIGCONT)
        else:
            heard.take(self._parties[at].kill())
            self._parties[at] = self._start()
        return harm

    def _hear(self, heard: Heard) -> None:
        for party in self._parties:
            heard.take(party.heard())

    def end(self, heard: Heard) -> None:
        """Kill the rest; hear what they said."""
        for party in self._parties:
            heard.take(party.kill())


def take_turns(
    say: Callable[..., None], _: object, path: Path, key: Path, by: str, seed: int
) -> None:
    """Claim a session, write to it until somebody else claims it, and claim again."""
    chance = Random(seed)  # noqa: S311
    with Journal(path, key_file=key, durability="normal") as journal:
        sessions = [journal.session(name, writer=by, role="run") for name in KEYS]
        while True:
            session = chance.choice(sessions)
            superseded = True
            try:
                try:
                    turn = session.claim()
                    superseded = False
                except ClaimedError:
                    turn = session.claim(supersede=f"{by} is next")
                say("claimed", session.key, turn.token, time.monotonic(), superseded)
                for _ in range(chance.randrange(1, 12)):
                    write(say, turn, chance)
                if chance.random() < 0.3:
                    turn.release()
            except Superseded as error:
                say("refused", session.key, turn.token, error.parked)
                # Nothing is kept for ever, or the quota would be full after a thousand.
                if error.parked is not None:
                    journal.parked(error.parked).discard()


def write(say: Callable[..., None], turn: Any, chance: Random) -> None:
    """Write one line through the turn, half of the time through a fence, and say when."""
    line = {"token": turn.token, "text": "x" * chance.randrange(100)}
    writer = turn.fence() if chance.random() < 0.3 else turn
    began = time.monotonic()
    entry = writer.append(line)
    say("wrote", turn.key, turn.token, entry.seq, began, time.monotonic())


def look(say: Callable[..., None], _: object, path: Path, key: Path) -> None:
    """Read what stands there, every row verified."""
    with Journal(path, key_file=key) as journal:
        for name in KEYS:
            found = journal.session(name).read()
            assert not found.stepped_over
            say("read", name, [(e.seq, e.epoch, e.json().get("token", 0)) for e in found])


def judged(
    name: str, entries: list[Line], claims: list[Claim], writes: list[Write]
) -> Iterable[str]:
    """Find what a superseded turn did after its successor's claim, by order and by the clock."""
    there = {line.seq: line.token for line in entries}
    tokens = [claim.token for claim in claims]
    if len(set(tokens)) != len(tokens):
        yield f"{name}: two claims have one token"
    for line in entries:
        # Tokens are epochs: the newest claim before a line is the only one that may write it.
        later = token_after(tokens, line.token)
        if later is not None and later < line.epoch:
            yield f"{name}: turn {line.token} wrote {line}, after claim {later}"
    returned = {claim.token: claim.ended for claim in claims}
    for write_ in writes:
        if there.get(write_.seq) != write_.token:
            yield f"{name}: acknowledged {write_}, there is {there.get(write_.seq)}"
        after = token_after(tokens, write_.token)
        if after is not None and write_.began > returned[after]:
            yield f"{name}: {write_} began after claim {after} had returned, and was committed"


def token_after(tokens: list[int], token: int) -> int | None:
    """Give the next claim after one, of those that were acknowledged; None if it was the last."""
    at = bisect_right(tokens, token)
    return tokens[at] if at < len(tokens) else None


def test_a_late_line_is_found():
    """The judge sees what it is there to see: each of its rules broken once."""
    claims = [Claim("s", 2, 1.0), Claim("s", 5, 2.0)]
    entries = [Line(3, 3, 2), Line(6, 6, 5)]
    writes = [Write("s", 2, 3, 1.1, 1.2), Write("s", 5, 6, 2.1, 2.2)]
    assert list(judged("s", entries, claims, writes)) == []
    late = [*entries, Line(7, 7, 2)]
    assert "after claim 5" in " ".join(judged("s", late, claims, writes))
    assert "acknowledged" in " ".join(judged("s", entries[1:], claims, writes))
    slow = [writes[0]._replace(began=2.5), writes[1]]
    assert "had returned" in " ".join(judged("s", entries, claims, slow))
    assert "one token" in " ".join(judged("s", entries, [*claims, claims[0]], writes))

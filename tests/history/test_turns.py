"""Turns of eight processes: claimed, superseded, stopped, let go again and killed.

The rule under test is the eighth: once a successor's claim has returned, no entry of
the superseded turn is ever committed. Each line carries the token of the turn that
wrote it, so the database itself tells whether one came too late; and the clocks, which
all processes of one machine share, tell what was acknowledged after it should be.

``JOURNAL_HISTORY_OPS=1000000 pytest tests/history/test_turns.py`` plays a million. On a
PostgreSQL server, which is killed and started again as well, it is
``python -m tests.postgres.histories OPS``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from bisect import bisect_right
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from journal import ClaimedError, Journal, StorageError, Superseded
from journal.audit import audit
from tests.crash.parties import apart, done, start
from tests.history.clocks import go_wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from journal.session import Session
    from tests.crash.parties import Party

PROCESSES: Final = 8
KEYS: Final = ("agent:main:main", "agent:main:side")
OPS: Final = int(os.environ.get("JOURNAL_HISTORY_OPS", "10000"))
# Two days of a slow machine; a hundred times what a quick one takes.
PATIENCE_S: Final = 60 + OPS / 25
NEMESES: Final = ("stop", "stop", "stop", "kill")
# A server is killed rarely: nobody does anything until it is back. Even a short history has one.
STRIKES_A_RESTART: Final = 40
LOST: Final = ("server-gone", "outcome-unknown")


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
def test_a_history_does_not_depend_on_clocks(tmp_path):
    """The same, with clocks that differ by hours and jump back: nobody is thought dead, nothing comes late."""
    told = apart("tests.history.test_turns:run", home=str(tmp_path), seed=5, ops=1500, skewed=True)

    assert told["wrong"] == []
    assert told["supersessions"] > 15


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


class Play(NamedTuple):
    """How the parties play.

    Attributes:
        keys: the sessions that they claim from each other.
        longest: lines of a turn, if nobody takes it away before.
        skewed: their clocks differ by hours, and jump.

    """

    keys: tuple[str, ...] = KEYS
    longest: int = 11
    skewed: bool = False


def run(
    home: str,
    seed: int,
    ops: int,
    server: Any = None,
    *,
    seconds: float | None = None,
    **play: Any,
) -> dict[str, Any]:
    """Let the parties at it until so many operations were answered, or for so long; judge what came of it.

    With a server (of tests/postgres) its journal is there, and it is killed meanwhile too.
    """
    where, key = Path(home) / "journal.db" if server is None else server.url(), Path(home) / "key"
    done(make, where, key)
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    played, heard, counts = Play(**play), Heard(), Counter[str]()
    nemesis = Nemesis(where, key, chance, server, played)
    until = None if seconds is None else time.monotonic() + seconds
    while heard.ops < ops and (until is None or time.monotonic() < until):
        counts[nemesis.strike(heard)] += 1
    nemesis.end(heard)
    said = done(look, where, key, played.keys)
    wrong = [*heard.errors, *(str(rest) for what, *rest in said if what != "read" and rest)]
    found = [rest for what, *rest in said if what == "read"]
    if len(found) != len(played.keys):
        wrong.append("not all was read")
    for name, lines, numbers in found:
        entries = [Line(*line) for line in lines]
        wrong += doubled(name, numbers)
        claims = sorted((c for c in heard.claims if c.key == name), key=lambda c: c.token)
        wrong += judged(name, entries, claims, [w for w in heard.writes if w.key == name])
    return {
        "wrong": wrong[:20],
        "ops": heard.ops,
        "claims": len(heard.claims),
        "supersessions": heard.supersessions,
        "refused": heard.refused,
        "lines": len(heard.writes),
        "lost": heard.lost,
        "stops": counts["stop"],
        "kills": counts["kill"],
        "restarts": counts["restart"],
    }


def make(_: object, __: object, where: Path | str, key: Path) -> None:
    """Make the journal, so that nobody has to wait for that."""
    Journal(where, key_file=key).close()


class Heard:
    """What the parties said, counted as it comes: a million answers need no more memory than their facts."""

    def __init__(self) -> None:
        self.ops = self.refused = self.supersessions = self.lost = 0
        self.claims: list[Claim] = []
        self.writes: list[Write] = []
        self.errors: list[str] = []

    def take(self, said: Iterable[list[Any]]) -> None:
        for what, *rest in said:
            if what == "error":
                self.errors.append(str(rest))
                continue
            if what == "lost":
                self.lost += 1
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
    """Starts the parties, stops them, lets them go again, kills them and starts others; a server too."""

    def __init__(
        self,
        where: Path | str,
        key: Path,
        chance: Random,
        server: Any,
        play: Play,
    ) -> None:
        self._play = play
        self._where, self._key, self._chance = where, key, chance
        self._server, self._strikes = server, STRIKES_A_RESTART // 2
        self._started = 0
        self._parties = [self._start() for _ in range(PROCESSES)]

    def _start(self) -> Party:
        self._started += 1
        name, seed = f"run {self._started % 16}", self._chance.randrange(10**6)
        return start(take_turns, self._where, self._key, name, seed, self._play)

    def strike(self, heard: Heard) -> str:
        """Do one party one harm, for a while; hear what all say meanwhile."""
        at, harm = self._chance.randrange(PROCESSES), self._chance.choice(NEMESES)
        self._strikes += 1
        if self._server is not None and self._strikes % STRIKES_A_RESTART == 0:
            harm = "restart"
        until = time.monotonic() + self._chance.uniform(0.02, 0.15)
        if harm == "stop":
            self._parties[at].signal(signal.SIGSTOP)
        while time.monotonic() < until:
            self._hear(heard)
            time.sleep(0.005)  # a pipe holds little: nobody may have to wait for us
        if harm == "stop":
            self._parties[at].signal(signal.SIGCONT)
        elif harm == "restart":
            self._server.crash()
            self._server.start()
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
    say: Callable[..., None],
    _: object,
    where: Path | str,
    key: Path,
    by: str,
    seed: int,
    play: Play,
) -> None:
    """Claim a session, write to it until somebody else claims it, and claim again."""
    chance = Random(seed)  # noqa: S311
    if play.skewed:
        go_wrong(Random(seed))  # noqa: S311
    # What is killed here is a process, which loses nothing of a file; a server is killed as well.
    durability = "normal" if isinstance(where, Path) else "full"
    # Whoever writes may be stopped, and on a machine with other work for long.
    options: dict[str, Any] = {"durability": durability, "busy_timeout": PATIENCE_S}
    with opened(where, key_file=key, **options) as journal:
        sessions = [journal.session(name, writer=by, role="run") for name in play.keys]
        while True:
            try:
                take_turn(say, journal, chance.choice(sessions), by, play.longest, chance)
            except StorageError as error:
                if error.code not in LOST:
                    raise
                say("lost", error.code)


def opened(where: Path | str, **options: Any) -> Journal:
    """Open a journal as soon as its server is there."""
    while True:
        try:
            return Journal(where, **options)
        except StorageError as error:
            if error.code not in LOST:
                raise
            time.sleep(0.05)


def take_turn(
    say: Callable[..., None],
    journal: Journal,
    session: Session,
    by: str,
    longest: int,
    chance: Random,
) -> None:
    """Claim it, from whoever has it, and write until somebody else claims it."""
    superseded = True
    try:
        turn = session.claim()
        superseded = False
    except ClaimedError:
        turn = session.claim(supersede=f"{by} is next")
    say("claimed", session.key, turn.token, time.monotonic(), superseded)
    try:
        for n in range(chance.randint(1, longest)):
            write(say, turn, n, chance)
        if chance.random() < 0.3:
            turn.release()
    except Superseded as error:
        say("refused", session.key, turn.token, error.parked)
        # Nothing is kept for ever, or the quota would be full after a thousand.
        if error.parked is not None:
            journal.parked(error.parked).discard()


def write(say: Callable[..., None], turn: Any, n: int, chance: Random) -> None:
    """Write one line through the turn, half of the time through a fence, and say when."""
    line = {"token": turn.token, "n": n, "text": "x" * chance.randrange(100)}
    writer = turn.fence() if chance.random() < 0.3 else turn
    began = time.monotonic()
    entry = writer.append(line)
    say("wrote", turn.key, turn.token, entry.seq, began, time.monotonic())


def look(
    say: Callable[..., None], _: object, where: Path | str, key: Path, keys: tuple[str, ...]
) -> None:
    """Read what stands there, every row verified, and audit it."""
    with Journal(where, key_file=key) as journal:
        for name in keys:
            found = journal.session(name).read()
            assert not found.stepped_over
            lines = [(e.seq, e.epoch, e.json()) for e in found]
            say(
                "read",
                name,
                [(seq, epoch, line["token"]) for seq, epoch, line in lines],
                [(line["token"], line["n"]) for *_, line in lines],
            )
    say("audit", *map(str, audit(str(where), key_file=key).findings))


def doubled(name: str, numbers: Iterable[list[int]]) -> Iterable[str]:
    """Find lines that are there twice."""
    for number, count in Counter(map(tuple, numbers)).items():
        if count > 1:
            yield f"{name}: line {number} is there {count} times"


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
    assert list(doubled("s", [[2, 0], [2, 1]])) == []
    assert "2 times" in " ".join(doubled("s", [[2, 0], [2, 0]]))

"""What honest parties do in these experiments, and how their journal is looked at afterwards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from journal import Journal
from journal.audit import audit
from tests.chains import walk
from tests.crash.parties import done, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Entry, Session

KEYS: Final = ("agent:main:main", "agent:main:cron")
_LIMIT: Final = 20_000  # a party whose experiment died ends by itself


def made(home: Path) -> Path:
    """Make a journal in a process of its own; return the file, closed and whole."""
    path = home / "made.db"
    said = done(_make, path, home / "key")
    assert said == [["made"]], said
    assert sorted(file.name for file in home.glob("made.db*")) == ["made.db"]
    return path


def _make(say: Callable[..., None], _: object, path: Path, key: Path) -> None:
    with Journal(path, key_file=key) as journal:
        for name in KEYS:
            journal.session(name, writer="gateway", role="run").append({"by": "maker", "n": 0})
            journal.session(name, writer="heartbeat", role="heartbeat").append(
                {"by": "maker", "n": 1}
            )
    say("made")


def fresh(made_path: Path, number: int) -> Path:
    """Return a copy of the closed journal that nobody has opened."""
    path = made_path.with_name(f"{number}.db")
    shutil.copyfile(made_path, path)
    return path


class Writer:
    """A party that writes as fast as it can and says what each call returned.

    Every line is its own: ``by`` names the party, ``n`` counts. "trying" is said
    before a write where the history must know that it may have happened.
    """

    def __init__(
        self, say: Callable[..., None], journal: Journal, by: str, role: str, seed: int
    ) -> None:
        self.say, self.by, self.n = say, by, 0
        self.chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        writer = {"run": "gateway", "heartbeat": "heartbeat"}[role]
        self.sessions = [journal.session(key, writer=writer, role=role) for key in KEYS]
        self.journal = journal

    def line(self) -> dict[str, Any]:
        """Return the next line, unlike any other."""
        self.n += 1
        return {"by": self.by, "n": self.n, "text": "x" * self.chance.randrange(600)}

    def acked(self, *entries: Entry) -> None:
        """Say what a call returned, after it returned."""
        for entry in entries:
            self.say("acked", entry.session, entry.seq, entry.epoch, self.by, entry.json()["n"])

    def once(self) -> None:
        """Write in one of the ways there are, or check a fence."""
        session = self.chance.choice(self.sessions)
        self.chance.choice(
            (self._append, self._append, self._extend, self._batch, self._fence, self._check)
        )(session)

    def _append(self, session: Session) -> None:
        self.acked(session.append(self.line()))

    def _extend(self, session: Session) -> None:
        self.acked(*session.extend([self.line() for _ in range(3)]))

    def _batch(self, _: Session) -> None:
        with self.journal.batch() as batch:
            receipts = [batch.append(session, self.line()) for session in self.sessions]
        for receipt in receipts:
            self.acked(*receipt.entries)

    def _fence(self, session: Session) -> None:
        with session.fence() as fence:
            self.acked(fence.append(self.line()))
            self.acked(fence.append(self.line(), request_id=f"{self.by}:{self.n}"))

    def _check(self, session: Session) -> None:
        fence = session.fence()
        self.acked(session.append(self.line()))
        self.say("checked", fence.check(raise_=False).outcome)


def write(
    say: Callable[..., None], _: object, path: Path, key: Path, by: str, role: str, seed: int
) -> None:
    """Open the journal and write until killed."""
    with Journal(
        path, key_file=key, on_takeover=lambda verdict: say("error", verdict.outcome)
    ) as journal:
        writer = Writer(say, journal, by, role, seed)
        say("open")
        for _ in range(_LIMIT):
            writer.once()


def keep_company(
    say: Callable[..., None], listen: Callable[[], str], path: Path, key: Path, seed: int
) -> None:
    """Raise a fence when told to, write beside the others, and check the fence when told to."""
    with Journal(
        path, key_file=key, on_takeover=lambda verdict: say("error", verdict.outcome)
    ) as journal:
        writer = Writer(say, journal, f"company {seed}", "heartbeat", seed)
        say("open")
        while (word := listen()) != "end":
            assert word == "raise"
            fences = [session.fence() for session in writer.sessions]
            say("raised")
            for _ in range(10):
                writer.once()
            assert listen() == "check"
            for fence in fences:
                say("checked", fence.check(raise_=False).outcome)
            say("done")


def look(say: Callable[..., None], _: object, path: Path, key: Path, fence_ids: list[str]) -> None:
    """Open the journal anew: check what was fenced, write, read all, audit; raise fences anew."""
    with Journal(
        path,
        key_file=key,
        durability="normal",  # nobody kills this one; it only has to be quick
        on_takeover=lambda verdict: say("error", verdict.outcome),
    ) as journal:
        for number in fence_ids:
            say("checked", journal.fence(number).check(raise_=False).outcome)
        for name in KEYS:
            session = journal.session(name, writer="gateway", role="run")
            session.append({"by": f"look {path.name}", "n": session.head.seq})
            say("parked", len(session.parked()))
            say("fence", session.fence().stored())
        for info in journal.sessions():
            reading = journal.session(info.key).read()
            say(
                "read",
                info.key,
                [[e.seq, e.epoch, *_line(e)] for e in reading],
                len(reading.stepped_over),
            )
        odd = walk(path, key).odd
    say("odd", [list(oddness) for oddness in odd])
    say("audit", *map(str, audit(path, key_file=key).findings))


def look_when_told(say: Callable[..., None], listen: Callable[[], str], key: Path) -> None:
    """Look at a journal each time that one is named; a fork for each look would cost thrice."""
    while word := listen():
        path, fence_ids = json.loads(word)
        look(say, listen, Path(path), key, fence_ids)
        say("looked")


class Looker:
    """A process of its own that opens a journal, looks, and closes it, again and again."""

    def __init__(self, key: Path) -> None:
        self._party = start(look_when_told, key)

    def look(self, path: Path, fence_ids: list[str]) -> list[list[Any]]:
        """Return what it says about a journal."""
        self._party.tell(json.dumps([str(path), fence_ids]))
        said = []
        while (fact := self._party.hear())[0] != "looked":
            said.append(fact)
            if fact[0] == "error":
                break
        return said

    def end(self) -> None:
        """Let it go."""
        self._party.tell("")
        self._party.end()


def _line(entry: Entry) -> tuple[str, int]:
    line = entry.json()
    return line["by"], line["n"]

"""Many healthy journals, each with a history of its own, in which an audit must find nothing.

    python -m tests.audit.healthy 10000 [SEED]

Each is written by what honest programs do: appends, batches, requests, fences, claims and
supersessions, parked writes applied and discarded, inputs, rewrites, cuts, resolutions, redactions,
revocations, reopening. A finding ends it, with the seed that makes it again.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from journal import Journal, RefusedError
from journal.audit import audit

STEPS = 24


class History:
    """One journal, written at random."""

    def __init__(self, journal: Journal, random: Random) -> None:
        self.journal = journal
        self.random = random
        self.turns: list[Any] = []
        self.count = 0

    def step(self) -> None:
        """Do one thing; what may be refused may be refused."""
        does = [name for name in dir(self) if name.startswith("do_")]
        with suppress(RefusedError):
            getattr(self, self.random.choice(does))()

    def session(self) -> Any:
        name, role = self.random.choice(
            [("gateway", "run"), ("heartbeat", "heartbeat"), ("cron", "cron"), ("eve", "operator")]
        )
        return self.journal.session(f"s{self.random.randrange(3)}", writer=name, role=role)

    def line(self) -> Any:
        self.count += 1
        odd = [b"no json", b"{}\r\n", b"\xff", {"type": "message", "id": f"i{self.count}"}]
        return self.random.choice(
            [{"n": self.count}, {"text": "x" * self.random.randrange(900)}, *odd]
        )

    def do_append(self) -> None:
        self.session().append(self.line())

    def do_extend(self) -> None:
        self.session().extend([self.line() for _ in range(self.random.randrange(1, 6))])

    def do_request(self) -> None:
        session, line, name = self.session(), {"n": self.count}, f"r{self.count}"
        session.append(line, request_id=name)
        session.append(line, request_id=name)
        self.count += 1

    def do_batch(self) -> None:
        with self.journal.batch() as batch:
            first = batch.append(
                self.session(),
                self.line(),
                request_id=f"b{self.random.randrange(4)}",
                first_wins=True,
            )
            batch.append(self.session(), self.line(), only_with=first)
            base = self.random.randrange(6) if self.random.random() < 0.3 else None
            batch.append(self.session(), self.line(), base=base)

    def do_fence(self) -> None:
        fence = self.session().fence()
        self.do_append()
        fence.append(self.line())

    def do_stored_fence(self) -> None:
        self.session().fence().stored()

    def do_claim(self) -> None:
        self.turns.append(self.session().claim(supersede="newer"))

    def do_turn(self) -> None:
        if self.turns:
            turn = self.random.choice(self.turns)
            self.random.choice([lambda: turn.append(self.line()), turn.release, turn.take_inputs])()

    def do_submit(self) -> None:
        self.session().submit(self.line())

    def do_parked(self) -> None:
        for parked in self.session().parked()[:1]:
            if self.random.random() < 0.5:
                parked.apply(writer="eve")
            else:
                parked.discard()

    def do_cut(self) -> None:
        session = self.session()
        if session.exists:
            session.cut(
                min(self.random.randrange(3), len(session.read())),
                base=session.head.seq,
                reason="popped",
            )

    def do_rewrite(self) -> None:
        session = self.session()
        kept = session.read()
        if kept:
            self.random.shuffle(kept)
            items = [*kept[: self.random.randrange(len(kept) + 1)], {"new": self.count}]
            session.rewrite(items, base=session.head.seq, reason="compacted")

    def do_redact(self) -> None:
        session = self.session()
        lines = [entry.seq for entry in session.read() if entry.body and not entry.redacted]
        if lines:
            session.redact(self.random.sample(lines, 1), reason="pasted")

    def do_forget(self) -> None:
        session = self.session()
        if session.exists and self.random.random() < 0.2:
            session.forget(reason="over")

    def do_revoke(self) -> None:
        name = f"w{self.random.randrange(3)}"
        self.journal.session("s0", writer=name, role="tool").append(self.line())
        self.journal.revoke(name, "gone")


def written(path: Path, seed: int) -> None:
    """Write one history."""
    random = Random(seed)  # noqa: S311 - a history, not a secret
    for _ in range(2):
        with Journal(path, durability="normal") as journal:
            history = History(journal, random)
            for _ in range(STEPS // 2):
                history.step()


def main() -> None:
    """Write and audit so many; stop at the first finding."""
    many, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["JOURNAL_KEY_FILE"] = str(place / "key")
        Journal(place / "new.db").close()
        for number in range(seed, seed + many):
            path = place / "healthy.db"
            shutil.copyfile(place / "new.db", path)  # to make one takes ten times as long
            written(path, number)
            found = [*audit(path).findings, *audit(path, quick=True).findings]
            if found:
                sys.exit(f"seed {number}: {[*map(str, found)]}")
            for each in place.glob("healthy.db*"):
                each.unlink()
    sys.stdout.write(f"{many} healthy journals, no finding\n")


if __name__ == "__main__":
    main()

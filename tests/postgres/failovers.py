"""A primary killed again and again under the load of real processes, and what is left is judged.

    python -m tests.postgres.failovers [TIMES] [SEED]      twenty times, if nothing is said

Three servers, each commit on two of them when it is acknowledged. The processes append with
request ids, raise fences and check them, claim two sessions from each other, submit and take
inputs. The primary is killed whole with -9, the standby that has the most is promoted, and
the dead one comes back, rewound or made anew.

Judged at the end: no acknowledged entry, claim, fence, input or verdict is lost; nothing is
there twice; seqs and epochs have no gap; real time is respected; nobody honest was accused;
a superseded turn wrote nothing after its successor's claim returned; the audit finds nothing,
on any of the three. It prints its seed and a result in JSON, and ends with 0 if nothing is wrong.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from journal import ClaimedError, Journal, JournalError, Superseded
from journal.audit import audit
from journal.errors import NotFoundError, RefusedError
from journal.who import who
from journal.why import why
from tests.crash.parties import apart, done, start
from tests.history import test_processes as by_process
from tests.history import test_turns as by_turn
from tests.postgres.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journal import Parked

    Say = Callable[..., None]

KEYS: Final = ("agent:main:main", "agent:main:side")
# With these a call may be made again: nothing was kept, or the same request_id writes once.
AGAIN: Final = ("server-gone", "outcome-unknown", "contended", "busy")
WAIT_S: Final = 60.0
_SAMPLE: Final = 40


def run(home: str, times: int, seed: int) -> dict[str, Any]:
    """Let them work while the primary is killed so many times; return counts, and what is wrong."""
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    key, cluster = Path(home) / "key", Cluster()
    took: list[float] = []
    try:
        url = cluster.url()
        done(by_turn.make, url, key)
        load = Load(url, key, chance)
        try:
            load.until_all_answer()
            for _ in range(times):
                load.listen(chance.uniform(0.5, 1.5))
                began = time.monotonic()
                cluster.fail_over(anew=chance.random() < 0.3)
                load.until_all_answer()
                took.append(time.monotonic() - began)
        finally:
            load.end()
        cluster.caught_up()
        urls = [node.url() for node in cluster.standbys]
        heard = Heard(load.said)
        heard.take_in(done(look, url, urls, key, heard.fences, heard.verdicts))
    finally:
        cluster.remove()
    return heard.told() | {"failovers": times, "longest_s": round(max(took), 1)}


class Load:
    """The processes, and all that they said."""

    def __init__(self, url: str, key: Path, chance: Random) -> None:
        works = (append, append, fence, turns, turns, turns)
        self.said: list[list[Any]] = []
        self._parties = [
            start(work, url, key, f"{work.__name__} {number}", chance.randrange(10**6))
            for number, work in enumerate(works)
        ]

    def listen(self, for_s: float) -> None:
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            self._hear()

    def until_all_answer(self) -> None:
        """Wait until each of them has had an answer that it did not have before."""
        self._hear()
        silent, until = set(range(len(self._parties))), time.monotonic() + 2 * WAIT_S
        while silent:
            silent -= self._hear()
            told = [each for each in self.said if each[0] == "error"]
            assert not told, told
            assert time.monotonic() < until, f"no answer for {silent}"

    def _hear(self) -> set[int]:
        heard = [party.heard() for party in self._parties]
        self.said += [each for said in heard for each in said]
        time.sleep(0.005)
        return {number for number, said in enumerate(heard) if said}

    def end(self) -> None:
        for party in self._parties:
            self.said += party.kill()


# -- what each of them does ---------------------------------------------------------------


def opened(say: Say, url: str, key: Path) -> Journal:
    return by_turn.opened(
        url,
        key_file=key,
        busy_timeout=WAIT_S,
        on_takeover=lambda verdict: say("accused", verdict.outcome),
    )


def again(work: Callable[[], Any]) -> Any:
    """Do it until it is done: each work here is written once, however often it is asked for."""
    while True:
        try:
            return work()
        except JournalError as error:
            if error.code not in AGAIN:
                raise


def append(say: Say, _: object, url: str, key: Path, by: str, seed: int) -> None:
    """Append lines with request ids; now and then submit an input."""
    chance = Random(seed)  # noqa: S311
    with opened(say, url, key) as journal:
        sessions = [journal.session(name, writer=by, role="channel") for name in KEYS]
        for n in range(1, 10**6):
            session, line = chance.choice(sessions), {"by": by, "n": n}
            say("trying", by, n)
            if chance.random() < 0.1:
                again(lambda: session.submit(line, request_id=f"{by}:{n}"))  # noqa: B023 - done at once
                say("submitted", session.key, by, n)
                continue
            began = time.monotonic()
            entry = again(lambda: session.append(line, request_id=f"{by}:{n}"))  # noqa: B023
            say("acked", session.key, entry.seq, entry.epoch, by, n, began, time.monotonic())


def fence(say: Say, _: object, url: str, key: Path, by: str, seed: int) -> None:
    """Raise fences, store them, append through them and check them."""
    chance = Random(seed)  # noqa: S311
    with opened(say, url, key) as journal:
        sessions = [journal.session(name, writer=by, role="heartbeat") for name in KEYS]
        for n in range(1, 10**6):
            session, line = chance.choice(sessions), {"by": by, "n": n}
            raised = again(session.fence)
            say("trying", by, n)
            began = time.monotonic()
            entry = again(lambda: raised.append(line, request_id=f"{by}:{n}"))  # noqa: B023
            say("acked", session.key, entry.seq, entry.epoch, by, n, began, time.monotonic())
            say("checked", again(raised.check).outcome)
            if chance.random() < 0.3:
                say("fenced", again(again(session.fence).stored))


def turns(say: Say, _: object, url: str, key: Path, by: str, seed: int) -> None:
    """Claim a session from whoever has it, take what was submitted, write until superseded."""
    chance = Random(seed)  # noqa: S311
    with opened(say, url, key) as journal:
        sessions = [journal.session(name, writer=by, role="run") for name in KEYS]
        numbers = count(1)
        while True:
            try:
                _one_turn(say, chance.choice(sessions), by, numbers, chance)
            except Superseded as error:
                say("refused", error.parked)
                if error.parked is not None:
                    kept = again(partial(journal.parked, error.parked))
                    again(partial(_discarded, kept))
            except JournalError as error:
                if error.code not in AGAIN:
                    raise
                say("lost", error.code)


def _discarded(kept: Parked) -> None:
    try:
        kept.discard()
    except RefusedError as error:
        if error.code != "settled":  # it was, and the answer was lost
            raise


def _one_turn(say: Say, session: Any, by: str, numbers: Iterator[int], chance: Random) -> None:
    try:
        turn = session.claim()
    except ClaimedError:
        turn = session.claim(supersede=f"{by} is next")
    say("claimed", session.key, turn.token, time.monotonic(), turn.why)
    for entry in turn.take_inputs(limit=3):
        say("taken", entry.seq)
    for n in islice(numbers, chance.randrange(1, 8)):
        writer = turn.fence() if chance.random() < 0.3 else turn
        say("trying", by, n)
        began = time.monotonic()
        entry = writer.append({"by": by, "n": n, "token": turn.token})
        say("wrote", turn.key, turn.token, entry.seq, began, time.monotonic())
    if chance.random() < 0.3:
        turn.release()


def look(
    say: Say, _: object, url: str, others: list[str], key: Path, fences: list[str], whys: list[str]
) -> None:
    """Read and verify all that is there, ask for fences and verdicts, audit each server."""
    with opened(say, url, key) as journal:
        for number in fences:
            say("checked", journal.fence(number).check(raise_=False).outcome)
        for number in whys:
            try:
                why(journal, number)
            except NotFoundError as error:
                say("error", str(error))
        for name in KEYS:
            session = journal.session(name)
            rows = [each.entry for each in who(journal, name)]
            say("entries", name, [(e.seq, e.epoch, e.kind, e.json()) for e in rows])
            say("stepped over", len(session.read().stepped_over))
            say("pending", name, [json.loads(each.data) for each in session.inputs()])
    for each in (url, *others):
        say("audit", *map(str, audit(each, key_file=key).findings))


# -- judging ------------------------------------------------------------------------------


class Heard:
    """What was said, sorted; and whether it holds against what is there."""

    def __init__(self, said: list[list[Any]]) -> None:
        self._by: dict[str, list[list[Any]]] = {}
        self.take_in(said)
        self.verdicts = _sample([rest[3] for rest in self.all("claimed") if rest[3]])
        self.fences = _sample([rest[0] for rest in self.all("fenced")])

    def take_in(self, said: Iterable[list[Any]]) -> None:
        for what, *rest in said:
            self._by.setdefault(what, []).append(rest)

    def all(self, what: str) -> list[list[Any]]:
        return self._by.get(what, [])

    def told(self) -> dict[str, Any]:
        names = ("acked", "claimed", "wrote", "fenced", "submitted", "taken", "refused", "lost")
        counts = {name: len(self.all(name)) for name in names}
        wrong = [*self._faults()]
        return {**counts, "verdicts": len(self.verdicts), "wrong": wrong[:20]}

    def _faults(self) -> Iterable[str]:
        yield from (f"error: {rest}" for rest in self.all("error"))
        yield from (f"nobody is to be accused: {rest}" for rest in self.all("accused"))
        yield from (f"audit: {rest}" for rest in self.all("audit") if rest)
        yield from (f"{rest[0]} stepped over" for rest in self.all("stepped over") if rest[0])
        yield from (
            f"a check said {rest[0]}" for rest in self.all("checked") if rest[0] != "accepted"
        )
        if len(self.all("audit")) != 3 or len(self.all("entries")) != len(KEYS):
            yield "not all was looked at"
        for name, rows in self.all("entries"):
            yield from self._of_session(name, rows)

    def _of_session(self, name: str, rows: list[list[Any]]) -> Iterable[str]:
        if [seq for seq, *_ in rows] != list(range(1, len(rows) + 1)):
            yield f"{name}: the seqs have gaps"
        epochs = sorted({epoch for _, epoch, *_ in rows})
        if epochs != list(range(1, len(epochs) + 1)):
            yield f"{name}: the epochs have gaps"
        lines = [(seq, epoch, line) for seq, epoch, kind, line in rows if kind == "line"]
        yield from self._of_appends(name, lines)
        yield from self._of_turns(name, rows, lines)

    def _of_appends(self, name: str, lines: list[Any]) -> Iterable[str]:
        acked = [by_process.Write(*rest) for rest in self.all("acked") if rest[0] == name]
        found = [[seq, epoch, line["by"], line["n"]] for seq, epoch, line in lines if "by" in line]
        there = {seq: tuple(rest) for seq, *rest in found}
        for write in acked:
            if there.get(write.seq) != write[2:5]:
                yield f"{name}: acknowledged {write}, there is {there.get(write.seq)}"
        yield from by_process.out_of_time(name, acked)
        pending = [line for key, lines in self.all("pending") if key == name for line in lines]
        counts = Counter((by, n) for *_, by, n in found)
        counts.update((line["by"], line["n"]) for line in pending)
        yield from (f"{name}: {line} is there {n} times" for line, n in counts.items() if n > 1)
        for key, by, n in self.all("submitted"):
            if key == name and counts[by, n] != 1:
                yield f"{name}: input {n} by {by} is there {counts[by, n]} times"
        tried = {(by, n) for by, n in self.all("trying")}
        yield from (f"{name}: nobody wrote {line}" for line in set(counts) - tried)

    def _of_turns(self, name: str, rows: list[Any], lines: list[Any]) -> Iterable[str]:
        claims = sorted(by_turn.Claim(*rest[:3]) for rest in self.all("claimed") if rest[0] == name)
        writes = [by_turn.Write(*rest) for rest in self.all("wrote") if rest[0] == name]
        entries = [
            by_turn.Line(seq, epoch, line["token"]) for seq, epoch, line in lines if "token" in line
        ]
        yield from by_turn.judged(name, entries, claims, writes)
        made = {
            line["token"] for _, _, kind, line in rows
            if kind == "control" and line.get("control") == "claim"
        }  # fmt: skip
        yield from (f"{name}: {c} is not there" for c in claims if c.token not in made)


def _sample(numbers: list[str]) -> list[str]:
    return numbers[:: max(1, len(numbers) // _SAMPLE)]


def main() -> int:
    """Do it, print what came of it, and say by the exit code whether it is right."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(10**6)
    print(f"seed {seed}", flush=True)  # noqa: T201 - it makes this run again
    with tempfile.TemporaryDirectory() as home:
        told = apart(
            "tests.postgres.failovers:run",
            home=home,
            times=times,
            seed=seed,
            timeout_s=120 + 60 * times,
        )
    print(json.dumps({"seed": seed, **told}, indent=1))  # noqa: T201 - the figures
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

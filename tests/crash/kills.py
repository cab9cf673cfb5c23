"""Kill -9 at random moments, reopen, and look whether anything that was acknowledged is gone."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.crash.honest import KEYS, Looker, fresh, keep_company, made, write
from tests.crash.parties import Party, start

PER_JOURNAL: Final = 10
# A writer is killed after so many answers and so long; a write takes 0.2 to 2 ms.
MOST_ANSWERS: Final = 8
LONGEST_S: Final = 0.006


class Account:
    """What was said about one journal, and what stands in it."""

    def __init__(self) -> None:
        self.acked: dict[tuple[str, int], tuple[int, str, int]] = {}
        self.wrong: list[str] = []
        self.opened = self.acks = self.checks = 0

    def hear(self, said: list[list[Any]]) -> None:
        """Take down what a party said."""
        for what, *rest in said:
            getattr(self, f"_{what}", self._nothing)(*rest)

    def _nothing(self, *_: object) -> None:
        pass

    def _open(self) -> None:
        self.opened += 1

    def _acked(self, key: str, seq: int, epoch: int, by: str, n: int) -> None:
        self.acks += 1
        if (key, seq) in self.acked:
            self.wrong.append(f"{key} {seq} was acknowledged twice")
        self.acked[key, seq] = (epoch, by, n)

    def _checked(self, outcome: str) -> None:
        self.checks += 1
        if outcome != "accepted":
            self.wrong.append(f"a false verdict: {outcome}")

    def _error(self, text: str) -> None:
        self.wrong.append(text)

    def _read(self, key: str, entries: list[list[Any]], stepped_over: int) -> None:
        found = {seq: (epoch, by, n) for seq, epoch, by, n in entries}
        lost = [
            seq for (of, seq), fact in self.acked.items() if of == key and found.get(seq) != fact
        ]
        twice = len(found) - len(set(found.values()))
        if lost or twice or stepped_over:
            self.wrong.append(f"{key}: lost {lost}, {twice} twice, {stepped_over} stepped over")

    def _parked(self, count: int) -> None:
        if count:
            self.wrong.append(f"{count} writes parked")

    def _odd(self, odd: list[list[Any]]) -> None:
        if odd:
            self.wrong.append(f"odd: {odd[:5]}")

    def _audit(self, *findings: str) -> None:
        if findings:
            self.wrong.append(f"audit: {findings[:5]}")


def run(
    home: str, seed: int, kills: int, *, company: bool, seconds: float | None = None
) -> dict[str, Any]:
    """Kill so many writers, or as many as there is time for; return counts, and what went wrong.

    With company, another process has the journal open and writes on while a
    writer is killed. Without, the killed one was alone, so that the next open
    must recover the write-ahead log.
    """
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    until = None if seconds is None else time.monotonic() + seconds
    template = made(Path(home))
    totals: dict[str, Any] = {"kills": 0, "opened": 0, "acks": 0, "checks": 0, "wrong": []}
    for number in range(kills // PER_JOURNAL):
        if number and until is not None and time.monotonic() > until:
            break
        path = fresh(template, number)
        account = Account()
        one_journal(path, Path(home) / "key", chance, account, company=company)
        totals["kills"] += PER_JOURNAL
        for name in ("opened", "acks", "checks", "wrong"):
            totals[name] += getattr(account, name)
        for file in Path(home).glob(f"{path.name}*"):
            file.unlink()
    return totals


def one_journal(path: Path, key: Path, chance: Random, account: Account, *, company: bool) -> None:
    """Kill writers on one journal and look at it after each."""
    companion = start(keep_company, path, key, chance.randrange(10**6)) if company else None
    looker = Looker(key)
    fences = [rest[0] for what, *rest in looker.look(path, []) if what == "fence"]
    for number in range(PER_JOURNAL):
        if companion is not None:
            _until(companion, "raised", account, "raise")
        writer = start(write, path, key, f"writer {number}", "run", chance.randrange(10**6))
        if number % 5:  # every fifth may be killed before its journal is open
            account.hear([writer.hear() for _ in range(chance.randint(1, MOST_ANSWERS))])
        time.sleep(chance.uniform(0, LONGEST_S))
        account.hear(writer.kill())
        if companion is not None:
            _until(companion, "done", account, "check")
        said = looker.look(path, fences)
        account.hear(said)
        fences = [rest[0] for what, *rest in said if what == "fence"]
        if len(fences) != len(KEYS):
            account.wrong.append(f"looked at {len(fences)} sessions")
    looker.end()
    if companion is not None:
        companion.tell("end")
        account.hear(companion.end())


def _until(party: Party, word: str, account: Account, told: str) -> None:
    party.tell(told)
    while (said := party.hear())[0] != word:
        account.hear([said])
        if said[0] == "error":
            return

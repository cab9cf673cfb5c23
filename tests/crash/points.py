"""Kill one process at each call that changes a file, before it, after it and half-way."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal import Journal
from tests.crash.honest import KEYS, Looker, fresh, made
from tests.crash.kills import Account
from tests.crash.parties import done

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Session

HOW: Final = ("before", "after", "torn")
_NEVER: Final = 1 << 40


def run(home: str, act: str) -> dict[str, Any]:
    """Kill at every point of one act; return how many there were, and what went wrong."""
    template = made(Path(home))
    key = Path(home) / "key"
    said = done(_act, fresh(template, 0), key, act, _NEVER, 0)
    points = next((rest[0] for what, *rest in said if what == "points"), 0)
    looker, outcomes = Looker(key), dict[str, int]()
    wrong = [] if points else [f"no points: {said}"]
    for point in range(1, points + 1):
        for how, when in enumerate(HOW):
            outcome, errors = _killed_at(looker, fresh(template, point), key, act, point, how)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            wrong += [f"{when} call {point}: {error}" for error in errors]
    looker.end()
    return {"points": points, "outcomes": outcomes, "wrong": wrong}


def _killed_at(
    looker: Looker, path: Path, key: Path, act: str, point: int, how: int
) -> tuple[str, list[str]]:
    """Kill one party and look; return whether its line is there, and what is wrong."""
    account = Account()
    # A fence that somebody raised before, to be checked after.
    before = looker.look(path, [])
    fences = [rest[0] for what, *rest in before if what == "fence"]
    account.hear(before)
    said = done(_act, path, key, act, point, how)
    if any(what == "points" for what, *_ in said):
        account.wrong.append("it was not killed")
    account.hear(said)
    after = looker.look(path, fences)
    account.hear(after)
    lines = [by for what, *rest in after if what == "read" for _, _, by, _ in rest[1]]
    if act == "batch" and lines.count("victim") != lines.count(_ELSEWHERE):
        account.wrong.append("half a batch is there")
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    return f"{lines.count('victim')} there", account.wrong


def _act(
    say: Callable[..., None], _: object, path: Path, key: Path, act: str, point: int, how: int
) -> None:
    points = ctypes.CDLL(None)
    points.points_arm.argtypes = [ctypes.c_long, ctypes.c_int]
    points.points_seen.restype = ctypes.c_long
    with Journal(path, key_file=key) as journal:
        session = journal.session(KEYS[0], writer="gateway", role="run")
        if act != "first append":
            session.append({"by": "victim's first", "n": 0})
        _ACTS[act](say, lambda: points.points_arm(point, how), journal, session)
    say("points", points.points_seen())


def _append(
    say: Callable[..., None], arm: Callable[[], None], _: Journal, session: Session
) -> None:
    arm()
    _acked(say, session.append(_LINE))


def _batch(
    say: Callable[..., None], arm: Callable[[], None], journal: Journal, session: Session
) -> None:
    other = journal.session("agent:main:new", writer="newcomer", role="cron")
    arm()
    with journal.batch() as batch:
        receipt = batch.append(session, _LINE)
        batch.append(other, {"by": _ELSEWHERE, "n": 0})
    _acked(say, receipt.entries[0])


def _fence_append(
    say: Callable[..., None], arm: Callable[[], None], _: Journal, session: Session
) -> None:
    fence = session.fence()
    arm()
    _acked(say, fence.append(_LINE))
    say("checked", fence.check().outcome)


def _acked(say: Callable[..., None], entry: Any) -> None:
    say("acked", KEYS[0], entry.seq, entry.epoch, "victim", 1)


_ELSEWHERE: Final = "victim, elsewhere"
_LINE: Final = {"by": "victim", "n": 1, "text": "x" * 5000}
_ACTS: Final = {
    "first append": _append,
    "append": _append,
    "batch": _batch,
    "fence.append": _fence_append,
}

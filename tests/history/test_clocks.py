"""What clocks say decides nothing: not the order, not a verdict, not who is dead."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from journal import ClaimedError, Journal, SessionTakeover
from journal.audit import audit
from tests.crash.parties import apart, start
from tests.history.clocks import set_off
from tests.thieves import KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR_US = 3_600_000_000


class Wandering:
    """A clock that goes back by an hour each time that somebody looks."""

    def __init__(self) -> None:
        self._now_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        self._now_us -= HOUR_US
        return self._now_us


def test_order_is_that_of_the_writes(journal_path: Any) -> None:
    """Two writers, one hours ahead, the other's clock running backwards: seqs tell, times do not."""
    with Journal(journal_path) as one, Journal(journal_path) as other:
        other.store.clock = Wandering()
        cron = other.session(KEY, writer="cron", role="cron")
        gateway = one.session(KEY, writer="gateway", role="run")
        entries = [(gateway, cron)[n % 2].append({"n": n}) for n in range(8)]
        assert [entry.seq for entry in entries] == list(range(1, 9))
        assert [entry.json()["n"] for entry in gateway.read()] == list(range(8))
        assert [entry.json()["n"] for entry in gateway.read(after=5)] == [5, 6, 7]
        times = [entry.created_us for entry in entries]
        assert times != sorted(times)
    assert audit(journal_path).findings == ()


def test_a_verdict_is_the_same_at_any_hour(journal_path: Any) -> None:
    """A co-tenant's line from last night is accepted; a thief's row is found by a clock that went back."""
    with Journal(journal_path) as journal:
        journal.store.clock = Wandering()
        gateway = journal.session(KEY, writer="gateway", role="run")
        gateway.append({"n": 1})
        fence = gateway.fence()
        with Journal(journal_path) as other:
            beat = other.session(KEY, writer="heartbeat", role="heartbeat").append({"n": 2})
        assert [entry.seq for entry in fence.check().arrived] == [beat.seq]
        thief = thief_at(journal_path)
        thief.insert_copy(body=b'{"stolen":1}')
        thief.close()
        with pytest.raises(SessionTakeover):
            fence.check()


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("hours", [9, -9])
def test_nobody_is_dead_by_the_clock(journal_path: Any, key_file: Path, hours: float) -> None:
    """A turn's process lives, whatever its clock says and ours; and is dead once it is killed."""
    told = apart(
        "tests.history.test_clocks:claimed", where=str(journal_path), key=str(key_file), hours=hours
    )
    assert told == {"refused": "alive", "again": "alive", "killed": 2}


def claimed(where: str, key: str, hours: float) -> dict[str, Any]:
    """Claim what another process holds, whose clock is off one way; ours is off the other way."""
    party = start(hold, where, key, hours)
    assert party.hear() == ["held", 1]
    set_off(-hours)
    with Journal(where, key_file=key) as journal:
        session = journal.session(KEY, writer="next", role="run")
        found = {"refused": refused(session)}
        set_off(-2 * hours)  # and jumps
        found["again"] = refused(session)
        party.kill()
        return {**found, "killed": session.claim().token}


def refused(session: Any) -> str:
    try:
        session.claim()
    except ClaimedError as error:
        return str(error.holder.liveness)
    return "it was not refused"


def hold(
    say: Callable[..., None], listen: Callable[[], str], where: str, key: str, hours: float
) -> None:
    set_off(hours)
    with Journal(where, key_file=key) as journal:
        turn = journal.session(KEY, writer="gateway", role="run").claim()
        say("held", turn.token)
        listen()

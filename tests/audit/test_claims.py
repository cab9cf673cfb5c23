"""Claims as an audit follows them: which claim each write stands under, and what the table says."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit.claims import UNACCOUNTED, Claims, table_faults
from journal.audit.declarations import Declarations, Declared
from tests.audit.rows import row

HERE = ("h", "", "b", "1", "7")
PROCESS = {"host": "h", "pid_ns": "", "boot_id": "b", "pid": 1, "started_us": 7}


class Followed:
    """What is told while a session's entries are followed."""

    def __init__(self) -> None:
        self.known = Declarations()
        self.known.writers |= {2: Declared("w", "run", 1), 3: Declared("t", "tool", 1)}
        self.known.processes[3] = HERE
        self.told: list[tuple[str, str, int]] = []
        self.claims = Claims(
            self.known, lambda check, why, at: self.told.append((check, why, at.epoch))
        )

    def feed(
        self, epoch: int, facts: dict[str, Any] | None = None, *, links: bool = True, **columns: Any
    ) -> None:
        self.claims.feed(row(epoch=epoch, **columns), facts, links=links)

    def claim(self, epoch: int, *, process: Any = PROCESS, **facts: Any) -> None:
        told = {"control": "claim", "token": epoch, "process": process} | facts
        self.feed(epoch, told, claim=epoch, kind=b"control")

    def release(self, epoch: int, token: int) -> None:
        self.feed(epoch, {"control": "release", "token": token}, claim=None, kind=b"control")

    @property
    def checks(self) -> list[tuple[str, int]]:
        self.claims.close()
        return [(check, epoch) for check, _, epoch in self.told]


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_a_turn_from_its_claim_to_its_release(followed):
    followed.feed(1)
    followed.claim(2, run_id="r")
    followed.feed(3, claim=2)
    followed.feed(3, claim=2)
    followed.release(4, 2)
    followed.feed(5)
    assert followed.checks == []
    record = followed.claims.records[2]
    assert (record.writer_id, record.instance_id, record.run_id, record.outcome) == (
        2,
        3,
        "r",
        "released",
    )


def test_a_claim_that_supersedes_another(followed):
    followed.claim(1)
    followed.claim(2, supersedes=1, reason="newer")
    followed.feed(3, claim=2)
    assert followed.checks == []
    record = followed.claims.records[1]
    assert (record.outcome, record.reason, record.superseded_by) == ("superseded", "newer", 2)
    assert followed.claims.records[2].outcome is None


@pytest.mark.parametrize("claim", [None, 9])
def test_a_write_that_does_not_stand_under_the_claim_is_told(followed, claim):
    followed.claim(1)
    followed.feed(2, claim=claim, writer_id=3)
    assert followed.checks == [("J107", 2)]


def test_a_token_that_is_not_its_epoch_is_told(followed):
    followed.feed(3, {"control": "claim", "token": 4, "process": PROCESS}, claim=4, kind=b"control")
    assert followed.checks == [("J107", 3)]


@pytest.mark.parametrize(
    "columns, checks",
    [
        ({"instance_id": 8}, [("J108", 2)]),
        ({"writer_id": 3}, []),  # a tool writes in whatever turn stands
        ({"writer_id": 9}, []),  # nobody declared it: that is told elsewhere
        ({"instance_id": 8, "origin": b"input"}, []),
        ({"instance_id": 8, "origin": b"parked"}, []),
    ],
)
def test_another_process_of_the_run_beside_the_claim_is_told(followed, columns, checks):
    followed.claim(1)
    followed.feed(2, claim=1, **columns)
    assert followed.checks == checks


def test_another_run_beside_the_claim_is_told(followed):
    followed.known.writers[4] = Declared("other", "run", 1)
    followed.claim(1)
    followed.feed(2, claim=1, writer_id=4)
    assert followed.checks == [("J108", 2)]


@pytest.mark.parametrize(
    "process, is_anothers",
    [
        (PROCESS, False),
        ({**PROCESS, "pid": 2}, True),
        ({**PROCESS, "host": "x"}, True),
        (None, False),
    ],
)
def test_the_commands_of_a_shell_write_in_its_turn(followed, process, is_anothers):
    """The claim goes with another process than the one that wrote it."""
    followed.claim(1, process=process)
    followed.feed(2, claim=1, instance_id=8)
    assert followed.checks == ([] if is_anothers else [("J108", 2)])


def test_a_claim_by_a_process_that_no_row_tells_of_is_its_own(followed):
    followed.known.processes.clear()
    followed.claim(1)
    followed.feed(2, claim=1, instance_id=8)
    assert followed.checks == [("J108", 2)]


def test_behind_a_gap_nobody_knows_which_claim_stands(followed):
    followed.claim(1)
    followed.feed(5, claim=3, links=False, writer_id=3)
    followed.feed(6, claim=3, writer_id=3)
    followed.feed(7, claim=None, writer_id=3)
    assert followed.checks == [("J107", 7)]


def test_a_damaged_control_entry_may_have_been_a_claim(followed):
    followed.claim(1)
    followed.feed(2, None, claim=2, kind=b"control", writer_id=3)
    followed.feed(3, claim=2, writer_id=3)
    assert followed.checks == []


def test_whether_plain_writes_follow_from_what_stands(followed):
    claims = followed.claims
    assert claims.agrees([row(epoch=1, claim=None)])
    assert not claims.agrees([row(epoch=1, claim=4)])
    followed.claim(1)
    assert claims.agrees([row(epoch=2, claim=1), row(epoch=3, claim=1)])
    assert not claims.agrees([row(epoch=2, claim=1), row(epoch=3, claim=None)])
    assert not claims.agrees([row(epoch=2, claim=1, instance_id=8)])
    followed.release(2, 1)
    assert claims.agrees([row(epoch=3, claim=None)])
    followed.feed(9, claim=7, links=False, writer_id=3)
    followed.claims.close()
    assert claims.agrees([row(epoch=10, claim=7, writer_id=3)])


def test_the_table_of_claims_says_what_the_entries_say(followed):
    followed.claim(1, run_id="r")
    followed.claim(2, supersedes=1, reason="newer")
    followed.release(3, 2)
    records = followed.claims.records
    true = [
        (2, 1, 2, 3, b"r", 100, 200, b"superseded", b"newer", 2),
        (2, 2, 2, 3, None, 100, 200, b"released", None, None),
    ]
    assert list(table_faults(true, records)) == []
    assert list(table_faults(true[:1], records)) == [("a row is gone", {"token": 2})]
    more = (2, 9, 2, 3, None, 100, None, None, None, None)
    assert list(table_faults([*true, more], records)) == [(UNACCOUNTED, {"token": 9})]
    for column, value in [(2, 3), (3, 4), (4, b"x"), (6, None), (7, None), (8, b"x"), (9, 3)]:
        edited = (*true[0][:column], value, *true[0][column + 1 :])
        ((cause, told),) = table_faults([edited, true[1]], records)
        assert cause == "a row was edited"
        assert told["token"] == 1
        assert told["expected"]["run_id"] == "r"

"""What every way into a journal promises, as its user would say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal import (
    ClaimedError,
    EntryError,
    Journal,
    NotFoundError,
    NotTrusted,
    RefusedError,
    SessionTakeover,
    Superseded,
)
from journal.audit import audit
from tests.contract.ways import WAYS, Spread, opened
from tests.thieves import KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=WAYS)
def journal(request: pytest.FixtureRequest, journal_path: Path, key_file: Path) -> Iterator[Any]:
    with opened(request.param, journal_path, key_file=key_file) as journal:
        yield journal
    found = audit(journal_path, key_file=key_file).findings
    # What a thief's row leaves, where there was one; nothing else is ever broken.
    assert {each.id for each in found if each.severity == "broken"} <= {"J301", "J302", "J401"}


@pytest.fixture
def gateway(journal: Any) -> Any:
    return journal.session(KEY, writer="gateway", role="run")


@pytest.fixture
def heartbeat(journal: Any) -> Any:
    return journal.session(KEY, writer="heartbeat", role="heartbeat")


def lines(session: Any) -> list[Any]:
    return [entry.json() for entry in session.read()]


# -- writing and reading ------------------------------------------------------------------


def test_seq_and_epoch_start_at_one_and_have_no_gaps(gateway: Any, heartbeat: Any) -> None:
    first, second = gateway.append({"n": 1}), heartbeat.append({"n": 2})
    third, fourth = gateway.extend([{"n": 3}, {"n": 4}])
    assert [(entry.seq, entry.epoch) for entry in (first, second, third, fourth)] == [
        (1, 1), (2, 2), (3, 3), (4, 3),
    ]  # fmt: skip
    assert gateway.head == (4, 3)


def test_what_returned_is_there_for_everybody(
    gateway: Any, heartbeat: Any, journal_path: Path
) -> None:
    entry = gateway.append({"n": 1})
    assert lines(heartbeat) == [{"n": 1}]
    with Journal(journal_path) as other:
        (found,) = other.session(KEY).read()
    assert (found.seq, found.writer, found.trust) == (entry.seq, "gateway", "asserted")


def test_bytes_are_kept_exactly(gateway: Any) -> None:
    given = [b'{"a": 9e-06}', b"no json \xff\xed\xa0\x80", "é\u2028".encode(), b"x\r\n"]
    gateway.extend(given)
    assert [entry.data for entry in gateway.read()] == [
        given[0] + b"\n", given[1] + b"\n", given[2] + b"\n", given[3],
    ]  # fmt: skip


def test_read_takes_what_it_is_asked_for(gateway: Any) -> None:
    gateway.extend([{"n": number} for number in range(10)])
    assert [entry.seq for entry in gateway.read(after=3, limit=2)] == [4, 5]
    assert [entry.seq for entry in gateway.read(limit=2, newest=True)] == [9, 10]
    assert gateway.read(trusted=False) == []


def test_a_request_is_written_once(gateway: Any) -> None:
    first = gateway.append({"n": 1}, request_id="r")
    assert gateway.append({"n": 1}, request_id="r").seq == first.seq
    assert lines(gateway) == [{"n": 1}]
    with pytest.raises(EntryError):
        gateway.append({"n": 2}, request_id="r")


@pytest.mark.parametrize("line", [b"", b"a\nb", {"x": {1, 2}}, b"\n"])
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(gateway: Any, line: object) -> None:
    with pytest.raises(EntryError):
        gateway.append(line)
    assert gateway.read() == []


def test_a_rewrite_changes_the_order_and_no_entry(gateway: Any, heartbeat: Any) -> None:
    first, second = gateway.extend([{"n": 1}, {"n": 2}])
    heartbeat.append({"n": 3})
    gateway.rewrite([second, {"n": 9}, first], base=second.seq, reason="another order")
    assert lines(gateway) == [{"n": 2}, {"n": 9}, {"n": 1}, {"n": 3}]
    with pytest.raises(RefusedError):
        gateway.rewrite([first], base=second.seq, reason="stale")
    gateway.cut(1, base=gateway.head.seq, reason="one too many")
    assert lines(gateway) == [{"n": 2}, {"n": 9}, {"n": 1}]


def test_a_batch_is_all_or_nothing(journal: Any, gateway: Any) -> None:
    if isinstance(journal, Spread) and journal.is_several:
        pytest.skip("a batch is of one process")
    other = journal.session("other", writer="gateway", role="run")
    with journal.batch() as batch:
        batch.append(gateway, {"n": 1})
        batch.append(other, {"n": 2})
    assert (lines(gateway), lines(other)) == ([{"n": 1}], [{"n": 2}])


# -- who may ------------------------------------------------------------------------------


def test_a_role_is_fixed_by_the_first_use(journal: Any, gateway: Any) -> None:
    gateway.append({"n": 1})
    with pytest.raises(NotTrusted):
        journal.session(KEY, writer="gateway", role="cron").append({"n": 2})


def test_an_unknown_writer_is_refused_where_nobody_is_declared(journal: Any) -> None:
    with pytest.raises(NotTrusted):
        journal.session(KEY, writer="nobody", role="run", declare=False).append({"n": 1})


def test_a_revoked_writer_writes_no_more(journal: Any, gateway: Any) -> None:
    gateway.append({"n": 1})
    journal.revoke("gateway", "its host was lost")
    with pytest.raises(NotTrusted):
        gateway.append({"n": 2})
    assert lines(gateway) == [{"n": 1}]


# -- fences -------------------------------------------------------------------------------


def test_a_co_tenant_is_an_arrival_and_no_takeover(gateway: Any, heartbeat: Any) -> None:
    gateway.append({"n": 1})
    with gateway.fence() as fence:
        beat = heartbeat.append({"n": 2})
        fence.append({"n": 3})
    assert [entry.seq for entry in fence.arrived] == [beat.seq]
    assert fence.verdict.accepted


def test_a_row_by_plain_sql_is_a_takeover_and_what_is_refused_is_kept(
    gateway: Any, journal_path: Path
) -> None:
    gateway.append({"n": 1})
    fence = gateway.fence()
    thief = thief_at(journal_path)
    thief.insert_copy()
    thief.close()
    with pytest.raises(SessionTakeover) as caught:
        fence.append({"n": 2})
    assert [entry.trust for entry in caught.value.entries] == ["stray"]
    (parked,) = gateway.parked()
    assert parked.lines == (b'{"n":2}\n',)
    assert caught.value.parked.id == parked.id
    assert lines(gateway) == [{"n": 1}]


def test_a_stored_fence_is_checked_by_whoever_has_its_id(
    journal: Any, gateway: Any, heartbeat: Any
) -> None:
    gateway.append({"n": 1})
    number = gateway.fence().stored()
    heartbeat.append({"n": 2})
    assert [entry.seq for entry in journal.fence(number).check().arrived] == [2]
    with pytest.raises(NotFoundError):
        journal.fence("fnone")


# -- turns --------------------------------------------------------------------------------


def test_a_claim_keeps_others_out_until_it_is_let_go(
    journal: Any, gateway: Any, heartbeat: Any
) -> None:
    other = journal.session(KEY, writer="other", role="run")
    with gateway.claim() as turn:
        turn.append({"n": 1})
        with pytest.raises(ClaimedError):
            other.claim()
        with pytest.raises(ClaimedError):
            other.append({"n": 2})
        heartbeat.append({"n": 3})
    with other.claim() as turn:
        turn.append({"n": 4})
    assert lines(gateway) == [{"n": 1}, {"n": 3}, {"n": 4}]


def test_the_superseded_run_is_the_one_that_fails(journal: Any, gateway: Any) -> None:
    first = gateway.claim()
    second = journal.session(KEY, writer="other", role="run").claim(supersede="it hangs")
    with pytest.raises(Superseded) as caught:
        first.append({"late": 1})
    assert "it hangs" in str(caught.value)
    assert caught.value.parked
    second.append({"n": 1})
    assert not first.release()
    assert second.release()
    assert lines(gateway) == [{"n": 1}]
    assert [parked.lines for parked in gateway.parked()] == [(b'{"late":1}\n',)]


def test_inputs_are_taken_once_and_in_order(gateway: Any, heartbeat: Any) -> None:
    heartbeat.submit({"n": 1}, request_id="a")
    heartbeat.submit({"n": 2})
    heartbeat.submit({"n": 1}, request_id="a")
    with gateway.claim() as turn:
        assert [entry.json() for entry in turn.take_inputs()] == [{"n": 1}, {"n": 2}]
        assert turn.take_inputs() == []
    assert [entry.writer for entry in gateway.read()] == ["heartbeat", "heartbeat"]


# -- what is decided ----------------------------------------------------------------------


def test_an_accepted_stray_becomes_a_foreign_entry(
    journal: Any, gateway: Any, journal_path: Path
) -> None:
    gateway.append({"n": 1})
    thief = thief_at(journal_path)
    seq = thief.insert_copy(body=b'{"stolen":1}')
    thief.close()
    operator = journal.session(KEY, writer="alice", role="operator")
    (made,) = operator.resolve([seq], accept=True, reason="it was I")
    assert made.trust == "accepted"
    assert lines(gateway) == [{"n": 1}, {"stolen": 1}]


def test_a_redacted_line_is_gone_for_everybody(journal: Any, gateway: Any) -> None:
    entry = gateway.append({"text": "the-word-that-must-go-away"})
    operator = journal.session(KEY, writer="alice", role="operator")
    receipts = operator.redact([entry.seq], reason="pasted by mistake")
    assert receipts[0].state == "done"
    assert lines(gateway) == [{"redacted": True}]

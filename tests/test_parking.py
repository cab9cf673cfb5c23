"""Parked writes: what was refused is kept whole, counted, and settled once."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import (
    ClaimedError,
    NotFoundError,
    NotTrusted,
    RefusedError,
    SessionTakeover,
    Superseded,
    parking,
)
from journal import statements as sql
from journal.audit import audit
from journal.lines import Line, parse
from tests.thieves import KEY

LINE = {"n": 1}
ENDS = st.sampled_from([b"", b"\n", b"\r\n"])


@pytest.fixture
def turn(base):
    """Give a standing turn, beside which every write of a run is refused."""
    return base.claim()


@pytest.fixture
def operator(journal):
    return journal.session(KEY, writer="alice", role="operator")


def refused(session, *lines: object, request_id: str | None = None) -> str:
    with pytest.raises(ClaimedError) as caught:
        session.extend(lines, request_id=request_id)
    parked = caught.value.parked
    assert parked is not None
    return parked


def only(session):
    (parked,) = session.parked()
    return parked


@given(st.lists(st.tuples(st.binary(max_size=50), ENDS), max_size=10))
def test_lines_are_kept_byte_for_byte(pairs):
    lines = [parse(body, end) for body, end in pairs]

    assert parking.unpack(parking.pack(lines)) == lines


def test_ids_are_short_and_each_another():
    ids = {parking.new_id("p") for _ in range(1_000)}

    assert len(ids) == 1_000
    assert all(name.startswith("p") and name.isalnum() and len(name) == 13 for name in ids)


# --- keeping


def test_a_refused_write_is_kept_whole(turn, journal, clock):
    """Lines, writer, reason, both claims and the epoch it met."""
    run = journal.session(KEY, writer="other", role="run", run_id="run-1", on_behalf_of="operator")
    parked_id = refused(run, {"n": 1}, b"raw \xff\r\n")

    parked = only(run)

    assert parked.id == parked_id
    assert parked.lines == (b'{"n":1}\n', b"raw \xff\r\n")
    assert (parked.session, parked.writer, parked.reason) == (KEY, "other", "claimed")
    assert (parked.claim_expected, parked.claim_found) == (None, turn.token)
    assert parked.epoch_found == turn.token
    assert (parked.times, parked.settled, parked.parked_us) == (1, None, clock.now_us)


def test_nothing_is_parked_for_a_call_without_lines(turn, base, thief):
    assert base.extend([]) == []
    with pytest.raises(ClaimedError):
        base.claim()

    assert thief.count("parked") == 0


def test_equal_content_is_kept_once_and_counted(turn, base, journal):
    """Of one writer; another's equal lines are another write."""
    other = journal.session(KEY, writer="other", role="run")
    first = {refused(base, LINE) for _ in range(3)}
    second = refused(other, LINE)
    third = refused(base, LINE, LINE)

    assert len({*first, second, third}) == 3
    assert {parked.id: parked.times for parked in base.parked()} == {
        **dict.fromkeys(first, 3),
        second: 1,
        third: 1,
    }


def test_equal_content_after_it_was_settled_is_new(turn, base):
    refused(base, LINE)
    only(base).discard()

    again = refused(base, LINE)

    assert only(base).id == again
    assert len(base.parked(settled=True)) == 2


def test_a_refusal_holds_no_session_open(turn, base, thief):
    """Parking changes no session: not its head, not its chain."""
    before = (
        thief.execute("SELECT * FROM entries").fetchall(),
        thief.execute("SELECT * FROM sessions").fetchall(),
    )

    refused(base, LINE)

    assert before == (
        thief.execute("SELECT * FROM entries").fetchall(),
        thief.execute("SELECT * FROM sessions").fetchall(),
    )


def test_a_quota_of_writes(turn, base, heartbeat, monkeypatch):
    """Full is said, what is counted already is still counted, and others are not touched."""
    monkeypatch.setattr(parking, "QUOTA_WRITES", 2)
    refused(base, {"n": 1})
    refused(base, {"n": 2})

    with pytest.raises(ClaimedError, match="not parked: the session's quota is full") as caught:
        base.append({"n": 3})

    assert caught.value.parked is None
    refused(base, {"n": 1})
    assert sorted(parked.times for parked in base.parked()) == [1, 2]
    assert heartbeat.append(LINE).trusted


def test_a_quota_of_bytes(turn, base, monkeypatch):
    monkeypatch.setattr(parking, "QUOTA_BYTES", 100)
    refused(base, b"x" * 50)

    with pytest.raises(ClaimedError, match="quota"):
        base.append(b"y" * 50)


def test_a_settled_write_makes_room(turn, base, monkeypatch):
    monkeypatch.setattr(parking, "QUOTA_WRITES", 1)
    refused(base, {"n": 1})
    only(base).discard()

    refused(base, {"n": 2})


def test_a_quota_is_a_sessions_own(turn, base, journal, monkeypatch):
    monkeypatch.setattr(parking, "QUOTA_WRITES", 1)
    other = journal.session("other", writer="gateway", role="run")
    other.claim()

    refused(base, LINE)
    refused(other, LINE)


def test_what_a_thief_puts_there_takes_nobodys_room(turn, base, thief, monkeypatch):
    """A row that nobody with the key stored does not count, however many there are."""
    monkeypatch.setattr(parking, "QUOTA_WRITES", 2)
    refused(base, {"n": 1})
    columns = ", ".join(row[1] for row in thief.execute("PRAGMA table_info(parked)").fetchall()[1:])
    for number in range(3):
        thief.execute(
            f"INSERT INTO parked SELECT 'p{number}', {columns} FROM parked ORDER BY id LIMIT 1"
        )

    refused(base, {"n": 2})

    with pytest.raises(ClaimedError, match="quota is full"):
        base.append({"n": 3})


def test_what_waits_is_found_by_its_own_index(journal, base):
    """Neither the same lines nor how many there are is a walk through all that was ever parked."""
    same = "SELECT * FROM parked WHERE session_id = 2 AND writer_id = 1 AND content_digest = x'00' AND settled IS NULL"
    with journal.store.snapshot() as cursor:
        for asked in (same, sql.PARKED_COUNT.replace("?", "2")):
            plan = cursor.execute(f"EXPLAIN QUERY PLAN {asked}").fetchall()
            assert any("ix_parked_waiting" in row[3] for row in plan), asked


def test_a_full_quota_is_counted_once(turn, base, monkeypatch):
    """Whoever tries again and again holds up nobody: what is there is proved once."""
    monkeypatch.setattr(parking, "QUOTA_WRITES", 2)
    refused(base, {"n": 1})
    refused(base, {"n": 2})
    proved: list[str] = []
    is_ours = parking.ParkedRow.is_ours

    def noted(row: parking.ParkedRow, store: Any) -> bool:
        proved.append(row.id)
        return is_ours(row, store)

    monkeypatch.setattr(parking.ParkedRow, "is_ours", noted)

    for number in range(3, 9):
        with pytest.raises(ClaimedError, match="quota is full"):
            base.append({"n": number})

    assert len(proved) == 2


# --- applying


def test_applied_it_is_a_new_write_by_its_own_writer(turn, base, journal):
    """In one epoch after whatever stands; origin parked; recorded by whoever applied it."""
    run = journal.session(KEY, writer="other", role="run", run_id="run-1", on_behalf_of="operator")
    refused(run, {"n": 1}, b"raw\r\n")
    turn.append({"n": "before"})
    turn.release()

    entries = only(run).apply(writer="alice")

    assert [(entry.seq, entry.epoch, entry.data) for entry in entries] == [
        (5, 5, b'{"n":1}\n'),
        (6, 5, b"raw\r\n"),
    ]
    read = base.read(after=4)
    assert {(entry.writer, entry.recorder, entry.origin) for entry in read} == {
        ("other", "alice", "parked")
    }
    assert {(entry.run_id, entry.on_behalf_of) for entry in read} == {("run-1", "operator")}
    assert {entry.trust for entry in read} == {"asserted"}
    assert journal.session(KEY, writer="alice").identity.role == "operator"


def test_no_run_applies_what_was_refused_beside_the_turn_that_refused_it(turn, base, journal):
    """Rule 8: while a claim stands, role run writes only through its turn, by what door it may come."""
    run = journal.session(KEY, writer="other", role="run")
    refused(run, LINE)
    head = base.head

    for options in ({}, {"writer": "other", "role": "run"}, {"writer": "third", "role": "run"}):
        with pytest.raises(ClaimedError) as caught:
            only(run).apply(**options)
        assert "let an operator do it" in str(caught.value.hint)
        assert caught.value.parked is None

    assert base.head == head
    only(run).apply(writer="alice")
    entry = base.read()[-1]
    assert (entry.writer, entry.recorder, entry.origin) == ("other", "alice", "parked")
    assert turn.outcome == "standing"
    assert turn.check().accepted


def test_who_holds_the_turn_applies_in_it(turn, base, journal, thief):
    """Its own refused reply, or another's: no write comes in between unasked."""
    run = journal.session(KEY, writer="other", role="run")
    refused(run, LINE)
    only(run).apply(writer=base.identity.writer, role="run")
    fence = turn.fence()
    thief.insert_copy()
    with pytest.raises(SessionTakeover) as caught:
        fence.append({"reply": 1})

    caught.value.parked.apply()

    assert base.read()[-1].json() == {"reply": 1}


def test_a_superseded_run_does_not_apply_its_way_past_its_successor(turn, base, journal):
    with journal.session(KEY, writer="other", role="run").claim(supersede="a newer message"):
        with pytest.raises(Superseded) as caught:
            turn.append(LINE)
        with pytest.raises(ClaimedError):
            journal.parked(caught.value.parked).apply()
    journal.parked(caught.value.parked).apply()

    assert base.read()[-1].json() == LINE


def test_a_takeovers_reply_goes_on_from_its_error(base, heartbeat, thief):
    """``error.parked.apply()``: the reply stands after all that came, and the next fence accepts."""
    fence = base.fence()
    thief.insert_copy()
    with pytest.raises(SessionTakeover) as caught:
        fence.append({"reply": 1})

    (entry,) = caught.value.parked.apply()

    assert entry.seq == base.head.seq
    assert base.read()[-1].json() == {"reply": 1}
    assert base.fence().check().accepted


def test_it_is_applied_once(turn, base, open_journal, thief):
    """Not by the same handle, not by another process, not with its row put back as it was."""
    refused(base, LINE)
    turn.release()
    parked = only(base)
    elsewhere = only(open_journal().session(KEY))
    row = thief.execute("SELECT * FROM parked").fetchone()
    parked.apply()
    head = base.head

    for again in (parked.apply, elsewhere.apply, parked.discard):
        with pytest.raises(RefusedError) as caught:
            again()
        assert caught.value.code == "settled"
        assert caught.value.hint
    thief.execute("DELETE FROM parked")
    thief.execute(f"INSERT INTO parked VALUES ({', '.join('?' * len(row))})", *row)
    with pytest.raises(RefusedError):
        elsewhere.apply()

    assert base.head == head


def test_other_lines_under_its_request_id_do_not_lose_it(turn, base, heartbeat, journal):
    """A request id is the session's: somebody else may have used it meanwhile, for lines of his own."""
    parked = refused(base, {"precious": 1}, request_id="m1")
    heartbeat.append({"other": 2}, request_id="m1")
    turn.release()

    (entry,) = only(base).apply()

    assert (entry.body, entry.request_id) == (b'{"precious":1}', f"parked:{parked}")
    with pytest.raises(RefusedError, match="applied already"):
        base.parked(settled=True)[0].apply()
    assert base.parked(settled=True)[0].settlement().seqs == (entry.seq,)
    assert not audit(journal.path).findings


def test_two_under_one_request_id_are_both_applied(turn, base, journal):
    refused(base, {"n": 1}, request_id="m1")
    refused(base, {"n": 2}, request_id="m1")
    turn.release()
    first, second = base.parked()

    first.apply()
    assert not audit(journal.path).findings
    second.apply()

    assert {line.body for line in base.read()[-2:]} == {b'{"n":1}', b'{"n":2}'}
    assert not audit(journal.path).findings


def test_its_lines_that_were_written_since_are_not_written_again(turn, base, heartbeat, thief):
    """The caller tried again and got through: his write is done, and the parked one is only to be closed."""
    parked = refused(base, LINE, request_id="m1")
    heartbeat.append(LINE, request_id="m1")

    with pytest.raises(RefusedError) as caught:
        only(base).apply()

    assert caught.value.code == "settled"
    assert f"journal parked discard {parked}" in str(caught.value.hint)


def test_what_its_caller_wrote_after_a_forgetting_is_not_applied_again(
    base, journal, open_journal, operator
):
    """The id was forgotten, sent again and refused, and sent once more: the line stands."""
    base.append(LINE, request_id="m1")
    operator.forget(reason="r")
    with open_journal().session(KEY, writer="another", role="run").claim():
        refused(base, LINE, request_id="m1")
    base.append(LINE, request_id="m1")

    with pytest.raises(RefusedError, match="in the session already"):
        only(base).apply()


def test_where_nobody_can_tell_whether_it_was_applied_that_is_said(turn, base, operator, journal):
    """Another write of its request id was applied and erased: its own lines may be lost by a discard."""
    refused(base, {"n": 1}, request_id="m1")
    refused(base, {"n": 2}, request_id="m1")
    turn.release()
    first = next(each for each in base.parked() if each.lines == (b'{"n":1}\n',))
    (entry,) = first.apply()
    operator.redact([entry.seq], reason="r")

    with pytest.raises(RefusedError, match="nobody can tell") as caught:
        only(base).apply()

    assert "append them anew" in str(caught.value.hint)
    assert not audit(journal.path).findings


def test_equal_lines_of_two_writers_are_told_apart_by_an_audit(turn, base, journal, open_journal):
    another = open_journal().session(KEY, writer="another", role="run")
    refused(base, LINE, request_id="m1")
    refused(another, LINE, request_id="m1")
    turn.release()
    first, _ = base.parked()

    first.apply()

    assert not audit(journal.path).findings


def test_lines_refused_again_after_they_were_discarded_may_be_applied(turn, base, journal):
    """Their first row says that it was discarded, and was: the request's entries are the second's."""
    refused(base, LINE, request_id="m1")
    only(base).discard()
    refused(base, LINE, request_id="m1")
    turn.release()

    only(base).apply()

    assert not audit(journal.path).findings


def test_one_put_back_after_it_was_applied_under_its_own_name_is_not_applied_again(
    turn, base, heartbeat, open_journal, journal, thief
):
    refused(base, {"precious": 1}, request_id="m1")
    heartbeat.append({"other": 2}, request_id="m1")
    before = thief.execute("SELECT * FROM parked").fetchone()
    only(base).apply()
    thief.execute("DELETE FROM parked")
    thief.execute(f"INSERT INTO parked VALUES ({', '.join('?' * len(before))})", *before)

    with pytest.raises(RefusedError, match="in the session already"):
        only(base).apply()

    assert {found.id for found in audit(journal.path).findings} == {"J412"}


def test_whoever_holds_the_turn_may_apply_in_it(turn, base, journal, open_journal):
    """By the process that took it, through whatever journal it has open; or by the claim's token."""
    refused(base, {"n": 1})
    refused(base, {"n": 2})
    here = open_journal().session(KEY).parked()
    here[0].apply(writer="gateway", role="run")
    parked = here[1]
    for claim in (None, turn.token + 1):
        with pytest.raises(ClaimedError):
            parked.apply(writer="another", role="run", claim=claim)
    parked.apply(writer="another", role="run", claim=turn.token)

    assert {line.body for line in base.read()} >= {b'{"n":1}', b'{"n":2}'}


def test_discarded_it_is_kept_for_the_record(turn, base):
    refused(base, LINE)
    parked = only(base)

    parked.discard()

    assert base.parked() == []
    (settled,) = base.parked(settled=True)
    assert (settled.id, settled.settled, settled.lines) == (parked.id, "discarded", parked.lines)
    for act in (parked.apply, parked.discard):
        with pytest.raises(RefusedError):
            act()


def test_a_write_of_a_writer_revoked_since_is_not_applied_in_its_name(turn, base, journal):
    """What is written is written by somebody who may."""
    run = journal.session(KEY, writer="other", role="run")
    refused(run, LINE)
    journal.revoke("other", "left")
    before = base.head

    with pytest.raises(NotTrusted):
        only(run).apply(writer="alice")

    assert base.head == before
    assert only(run).settled is None


def test_a_row_that_was_changed_is_refused(turn, base, thief):
    refused(base, LINE)
    parked = only(base)
    thief.execute("UPDATE parked SET writer_id = 1")
    head = base.head

    for act in (parked.apply, parked.discard):
        with pytest.raises(RefusedError) as caught:
            act()
        assert caught.value.code == "parked-altered"
        assert caught.value.exit_code == 11
        assert caught.value.hint
    assert base.head == head


def test_a_row_that_is_gone_is_not_found(turn, base, thief):
    refused(base, LINE)
    parked = only(base)
    thief.execute("DELETE FROM parked")

    with pytest.raises(NotFoundError) as caught:
        parked.apply()

    assert caught.value.hint == "journal parked list"


def test_they_are_listed_oldest_first(turn, base, clock):
    ids = []
    for number in range(3):
        clock.step(1_000)
        ids.append(refused(base, {"n": number}))

    assert [parked.id for parked in base.parked()] == ids
    assert [parked.lines for parked in base.parked()] == [(b'{"n":%d}\n' % n,) for n in range(3)]


def test_a_copy_that_travelled_only_tells(turn, base):
    refused(base, LINE)
    parked = only(base)

    twin = pickle.loads(pickle.dumps(parked))  # noqa: S301 - our own bytes

    assert twin == dataclasses.replace(parked, _store=None)
    assert twin.lines == parked.lines


def test_a_session_nobody_wrote_to_has_none(journal):
    assert journal.session("nowhere").parked() == []


def test_an_empty_line_end_is_kept(turn, base):
    """Whatever a line ends with, also with nothing."""
    lines = [Line(b"a", b"", "raw"), Line(b"", b"\n", "raw")]

    assert parking.unpack(parking.pack(lines)) == lines

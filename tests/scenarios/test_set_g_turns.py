"""Set G, as far as it is about turns: what users' reports demand of claims, inputs and why.

| played here | elsewhere |
|---|---|
| 2 6 8 10 11 12 13 14 16 18 19 20 21 22 23 31 32 34 | ``test_set_g.py`` has the rest, and some of these without a claim |
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from journal import ClaimedError, RefusedError, Superseded
from journal.who import who
from journal.why import why
from tests.thieves import KEY

USER = {"type": "message", "message": {"role": "user", "content": "And the fence?"}}
REPLY = {"type": "message", "message": {"role": "assistant", "content": "done"}}

HOLD = """
    import sys
    from journal import Journal
    journal = Journal(sys.argv[1])
    turn = journal.session(sys.argv[2], writer="wedged", role="run").claim()
    print(turn.token, flush=True)
    sys.stdin.readline()
    try:
        turn.append({"late": 1})
    except Exception as error:
        print(type(error).__name__, flush=True)
"""


@pytest.fixture
def successor(journal):
    return journal.session(KEY, writer="successor", role="run")


@pytest.fixture
def telegram(journal):
    return journal.session(KEY, writer="telegram", role="channel")


def bodies(session):
    return [entry.json() for entry in session.read()]


def holding(path):
    """Start a process that claims the session; give it once it has."""
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(path), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    assert running.stdout.readline().strip().isdigit()
    return running


def test_g2_a_second_message_during_a_long_call_is_a_pending_input(base, telegram):
    """The reply persists, then the second turn takes the message; nothing is deleted."""
    with base.claim() as turn:
        fence = turn.fence()
        telegram.submit(USER, request_id="tg:2")
        fence.append(REPLY)
    with base.claim() as second:
        taken = second.take_inputs()
        second.append(REPLY)

    assert [entry.writer for entry in taken] == ["telegram"]
    assert bodies(base) == [{"type": "session"}, REPLY, USER, REPLY]


def test_g6_one_run_through_two_lanes_of_one_turn(base):
    """Both lanes write through the one turn; its run id is in every entry."""
    turn = base.claim()
    lanes = [turn.fence() for _ in range(2)]

    for number, lane in enumerate(lanes * 3):
        lane.append({"n": number})

    assert len(bodies(base)) == 7
    assert {entry.claim for entry in base.read(after=1)} == {turn.token}


def test_g8_a_new_message_during_an_inner_retry(base, telegram):
    """The provider resets the connection; the retry is a new fence, and no reply is lost."""
    with base.claim() as turn:
        with pytest.raises(ConnectionResetError):
            lose_the_connection(turn, telegram)
        fence = turn.fence()
        fence.append(REPLY)

    assert bodies(base) == [{"type": "session"}, REPLY]
    assert [each.state for each in telegram.inputs()] == ["pending"]


def lose_the_connection(turn, telegram) -> None:
    with turn.fence():
        telegram.submit(USER)
        raise ConnectionResetError


def test_g10_a_claim_whose_process_died_is_taken_without_a_word(base, journal, journal_path, told):
    """Sole run, no contention: it is reclaimed by pid and start time, and no takeover is told."""
    running = holding(journal_path)
    with running:
        running.kill()

    with base.claim() as turn:
        turn.append(REPLY)

    assert told == []
    assert why(journal, turn.why).classes == ("supersession", "stranded claim")


def test_g11_a_message_during_a_long_compaction_is_queued(base, telegram):
    """A turn may be held as long as it likes: what comes meanwhile waits, and is not dropped."""
    turn = base.claim()
    for number in range(50):
        telegram.submit({"n": number})
    turn.rewrite([*base.read(), {"type": "compaction"}], base=base.head.seq, reason="compaction")

    assert [entry.json()["n"] for entry in turn.take_inputs()] == list(range(50))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_g12_a_wedged_holder_is_superseded_at_once(base, journal_path, successor):
    """Stopped, it would hold for hours: the error names it, a reason ends its turn, its late write is refused."""
    running = holding(journal_path)
    os.kill(running.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ClaimedError) as caught:
            successor.claim()
        turn = successor.claim(supersede="wedged for an hour")
        turn.append(REPLY)
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert running.communicate("\n")[0].strip() == "Superseded"

    assert "'wedged'" in str(caught.value)
    assert f"pid {running.pid}" in str(caught.value)
    assert caught.value.holder.liveness in ("dead", "alive")
    assert bodies(base) == [{"type": "session"}, REPLY]
    assert len(base.parked()) == 1


def test_g13_a_late_write_is_refused_inside_its_transaction(base, successor, thief):
    turn = base.claim()
    successor.claim(supersede="x")
    rows = thief.count("entries")

    with pytest.raises(Superseded):
        turn.append(REPLY)

    assert thief.count("entries") == rows


def test_g14_a_claim_that_is_refused_leaves_the_incumbent(base, successor):
    turn = base.claim()
    for attempt in (successor.claim, lambda: successor.claim(supersede="x", base=0)):
        with pytest.raises(RefusedError):
            attempt()

    assert turn.outcome == "standing"
    assert turn.append(REPLY).claim == turn.token


def test_g16_the_session_is_rebound_between_prepare_and_append(base, successor):
    """The caller is told; nothing is in either transcript."""
    turn = base.claim()
    fence = turn.fence()
    successor.claim(supersede="reset").release()

    with pytest.raises(Superseded) as caught:
        fence.append(REPLY)

    assert caught.value.code == "superseded"  # though its successor has let go since
    assert bodies(base) == [{"type": "session"}]


def test_g18_a_reply_already_shown_lands_in_its_own_transcript(base, successor, journal):
    """The session was rebound: the row is held, not lost, and goes where it belongs when applied."""
    turn = base.claim()
    successor.claim(supersede="rebound")
    other = journal.session("agent:main:new", writer="gateway", role="run")
    other.append({"type": "session"})
    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)

    journal.parked(caught.value.parked).apply(writer="alice")

    assert bodies(base) == [{"type": "session"}, REPLY]
    assert bodies(other) == [{"type": "session"}]


def test_g19_the_real_failure_is_reported_the_claims_rides_along(base, successor):
    with pytest.raises(ConnectionError, match="overloaded") as caught:
        fail(base, successor)

    assert "superseded" in caught.value.__notes__[0]


def fail(base, successor) -> None:
    with base.claim():
        successor.claim(supersede="x")
        raise ConnectionError("overloaded")


def test_g20_a_child_of_the_run_has_no_conflict_with_it(base, journal):
    """One claim: the child writes as a sub-agent, beside the parent's turn."""
    turn = base.claim()
    child = journal.session(KEY, writer="child", role="subagent", on_behalf_of="gateway")

    child.append({"announce": 1})
    turn.append(REPLY)

    assert turn.check().accepted
    with pytest.raises(ClaimedError) as caught:
        base.append(REPLY)
    assert caught.value.hint == "you hold this turn: use it"


def test_g21_a_recovery_compaction_publishes_too_late(base, successor):
    """Refused; its new lines are kept."""
    turn = base.claim()
    head = base.head.seq
    successor.claim(supersede="another run took over")

    with pytest.raises(Superseded):
        turn.rewrite([{"type": "compaction"}], base=head, reason="recovery")

    assert bodies(base) == [{"type": "session"}]


def test_g22_a_visible_user_turn_supersedes_the_heartbeat(base, heartbeat, telegram):
    """What the heartbeat would have delivered or consumed is suppressed; the user gets a reply."""
    beat = heartbeat.claim()
    telegram.submit(USER)
    with base.claim(supersede="a visible user turn") as turn:
        for late in (lambda: beat.append({"scratch": 1}), beat.take_inputs, beat.fence):
            with pytest.raises(Superseded):
                late()
        taken = turn.take_inputs()
        turn.append(REPLY)

    assert [entry.json() for entry in taken] == [USER]
    assert bodies(base) == [{"type": "session"}, USER, REPLY]


def test_g23_an_inbound_by_the_recorder_and_again_by_the_session_manager(base, journal, telegram):
    """One row, whether it was said or appended first."""
    recorder = journal.session(KEY, writer="recorder", role="channel")
    recorder.submit(USER, request_id="tg:1")
    telegram.submit(USER, request_id="tg:1")
    with base.claim() as turn:
        turn.take_inputs()
        turn.append(USER, request_id="tg:1")
        recorder.submit(USER, request_id="tg:1")
        assert turn.take_inputs() == []

    assert bodies(base).count(USER) == 1


def test_g31_a_wait_that_expires_leaves_the_payload(base, telegram):
    """The turn that took it never committed: the next one takes the same bytes, under the same key."""
    line = b'{"type":"message", "spaced" : true}\r\n'
    telegram.submit(line, request_id="tg:1")
    turn = base.claim()
    with pytest.raises(TimeoutError), turn.store.transaction():
        raise TimeoutError
    turn.release()

    with base.claim() as second:
        (entry,) = second.take_inputs()

    assert (entry.data, entry.request_id) == (line, "tg:1")


def test_g32_stop_then_new_leaves_the_old_content_findable(base, journal, successor):
    """/stop ends the turn, /new is another session: what was said is there, what was not is parked."""
    turn = base.claim()
    turn.append(USER)
    successor.claim(supersede="/stop").release()
    with pytest.raises(Superseded):
        turn.append(REPLY)
    journal.session("agent:main:new", writer="gateway", role="run").append({"type": "session"})

    assert bodies(base) == [{"type": "session"}, USER]
    assert [parked.writer for parked in base.parked()] == ["gateway"]


def test_g34_an_incident_review(base, journal, successor, journal_path):
    """For each refused write: who, expected claim, actual claim, rows, same process or another pid."""
    turn = base.claim()
    mine = successor.claim(supersede="a new message")
    with pytest.raises(Superseded) as caught:
        turn.extend([REPLY, REPLY])
    mine.release()
    running = holding(journal_path)
    with pytest.raises(ClaimedError) as other:
        base.append(REPLY)
    running.communicate("\n")

    told = why(journal, caught.value.why).as_json()
    assert (told["expected"]["claim"], told["found"]["claim"]) == (turn.token, mine.token)
    assert told["parked"]["lines"] == 2
    assert told["parked"]["writer"] == "gateway"
    assert told["holder"]["is_same_process"] is True
    told = why(journal, other.value.parked).as_json()
    assert told["holder"]["is_same_process"] is False
    assert told["holder"]["process"]["pid"] == running.pid
    assert {row.judged for row in who(journal, KEY)} == {"accepted"}

"""Claims: a run's right to act, and who is refused when it has passed on."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap

import pytest

from journal import (
    BusyError,
    ClaimedError,
    EntryError,
    NotFoundError,
    NotTrusted,
    RefusedError,
    SessionTakeover,
    Superseded,
)
from journal.process import this_process
from journal.sidefile import SideFile
from tests.thieves import KEY

LINE = {"n": 1}


@pytest.fixture
def other(open_journal):
    """Give another run, in what counts as another process."""
    return open_journal().session(KEY, writer="other", role="run")


def claim_facts(thief, seq: int):
    return json.loads(thief.column("body", seq))


# --- making and ending


def test_a_claim_is_a_sealed_entry_and_its_token_its_epoch(base, thief):
    turn = base.claim()

    assert turn.token == base.head.epoch == 2
    assert turn.stands
    facts = claim_facts(thief, 2)
    here = this_process()
    assert facts["control"] == "claim"
    assert (facts["token"], facts["writer"], facts["supersedes"], facts["reason"]) == (
        2,
        "gateway",
        None,
        None,
    )
    assert facts["process"] == dataclasses.asdict(here)
    assert thief.column("claim", 2) == 2
    assert base.read()[-1].seq == 1  # a control entry is no line


def test_every_entry_says_which_claim_stood(base, heartbeat):
    """Whoever wrote it."""
    turn = base.claim()

    assert turn.append(LINE).claim == turn.token
    assert heartbeat.append(LINE).claim == turn.token
    turn.release()
    assert heartbeat.append(LINE).claim is None


def test_a_turn_is_released_once(base):
    turn = base.claim()

    assert turn.release() is True
    assert turn.release() is False
    assert not turn.stands


def test_a_turn_as_a_block(base, heartbeat):
    with base.claim() as turn:
        turn.append(LINE)
        heartbeat.append(LINE)

    assert not turn.stands
    assert base.append(LINE).claim is None


def test_a_turn_superseded_inside_its_block_ends_quietly(base, other):
    """It no longer holds anything that could be let go; the successor stays."""
    with base.claim():
        successor = other.claim(supersede="x")

    assert successor.stands


def test_a_blocks_own_error_says_that_the_turn_was_gone(base, other):
    with pytest.raises(ZeroDivisionError) as caught:
        fail_inside(base, other)

    assert "superseded" in caught.value.__notes__[0]


def fail_inside(base, other) -> None:
    with base.claim():
        other.claim(supersede="x")
        raise ZeroDivisionError


def test_a_released_turn_writes_nothing_more(base):
    turn = base.claim()
    turn.release()

    with pytest.raises(Superseded) as caught:
        turn.append(LINE)

    assert caught.value.code == "released"
    assert caught.value.hint
    assert caught.value.parked


def test_the_claims_table_tells_the_story(base, other, thief):
    first = base.claim()
    second = other.claim(supersede="a visible turn")
    second.release()

    rows = thief.execute("SELECT token, outcome, reason, superseded_by FROM claims ORDER BY token")
    assert rows.fetchall() == [
        (first.token, "superseded", "a visible turn", second.token),
        (second.token, "released", None, None),
    ]


# --- who is refused


def test_a_live_holder_is_not_superseded_without_a_reason(base, other):
    turn = base.claim()

    with pytest.raises(ClaimedError) as caught:
        other.claim()

    assert "'gateway'" in str(caught.value)
    assert f"pid {this_process().pid}" in str(caught.value)
    assert "supersede" in (caught.value.hint or "")
    assert caught.value.exit_code == 11
    assert caught.value.parked is None  # there were no lines
    assert turn.stands


def test_who_claims_twice_is_told_to_use_the_turn(base):
    base.claim()

    for attempt in (base.claim, lambda: base.append(LINE)):
        with pytest.raises(ClaimedError) as caught:
            attempt()
        assert caught.value.hint == "you hold this turn: use it"


def test_a_successor_says_why(base, other, thief):
    base.claim()

    successor = other.claim(supersede="a visible user turn")

    facts = claim_facts(thief, base.head.seq)
    assert (facts["supersedes"], facts["reason"]) == (2, "a visible user turn")
    assert successor.token == 3
    with pytest.raises(ClaimedError, match="'other'"):
        base.append(LINE)


@pytest.mark.parametrize(
    "role", ["heartbeat", "cron", "channel", "subagent", "tool", "operator", "migration"]
)
def test_a_co_tenant_needs_no_claim(base, journal, role):
    base.claim()

    assert journal.session(KEY, writer=role, role=role).append(LINE).trusted


def test_a_claim_holds_one_session(base, journal):
    base.claim()

    assert journal.session("other", writer="gateway", role="run").append(LINE).claim is None


def test_a_late_background_write_of_a_superseded_turn(base, other):
    """Refused each time, parked once and counted; the successor writes on."""
    turn = base.claim()
    successor = other.claim(supersede="x")

    ids = set()
    for _ in range(3):
        with pytest.raises(Superseded) as caught:
            turn.append({"late": 1})
        ids.add(caught.value.parked)
    successor.append(LINE)

    (parked,) = base.parked()
    assert ids == {parked.id}
    assert parked.times == 3
    assert parked.lines == (b'{"late":1}\n',)


def test_f1_an_event_that_states_an_expected_writer(base, other):
    """Refused once the writer is another; the transcript holds only its header."""
    first = base.claim()
    other.claim(supersede="successor")

    with pytest.raises(Superseded):
        first.append({"type": "event"})

    assert [entry.seq for entry in base.read()] == [1]


def test_f3_a_successor_claims_meanwhile(base, other):
    """A run that began without a claim is refused, append and extend alike."""
    successor = other.claim()

    for write in (base.append, lambda line: base.extend([line, line])):
        with pytest.raises(ClaimedError):
            write(LINE)
    assert successor.append(LINE).seq == 3


def test_f6_a_turn_persisted_twice_with_its_key(base):
    """Stored once; the repeat returns the stored message and appends nothing."""
    turn = base.claim()
    first = turn.append(LINE, request_id="turn-1")

    assert turn.append(LINE, request_id="turn-1").seq == first.seq
    assert base.head.seq == first.seq


def test_f8_a_superseded_runs_aborted_partial_answer(base, other, thief):
    """Refused, rows unchanged, and the answer is not lost."""
    turn = base.claim()
    fence = turn.fence()
    other.claim(supersede="successor-run")
    before = thief.count("entries")

    with pytest.raises(Superseded):
        fence.append({"partial": True})

    assert thief.count("entries") == before
    assert [parked.reason for parked in base.parked()] == ["superseded"]


def test_a_superseded_turn_may_still_ask(base, other, thief):
    turn = base.claim()
    fence = turn.fence()
    successor = other.claim(supersede="x")
    entry = successor.append(LINE)

    assert [e.seq for e in fence.check().arrived] == [entry.seq]
    forged = thief.insert_copy()
    assert [e.seq for e in fence.check(raise_=False).foreign] == [forged]


# --- the dead and the unknown


def python(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


CLAIM = """
    import sys
    from journal import Journal
    turn = Journal(sys.argv[1]).session(sys.argv[2], writer="gateway", role="run").claim()
    print(turn.token)
"""


def test_a_dead_holder_is_superseded_and_that_is_recorded(base, journal_path, thief):
    """Same host, same namespace, and no such process any more."""
    token = int(python(CLAIM, journal_path, KEY))

    turn = base.claim()

    facts = claim_facts(thief, base.head.seq)
    assert (facts["supersedes"], facts["reason"]) == (token, "its holder is dead")
    assert turn.append(LINE).claim == turn.token
    assert thief.ask("SELECT outcome FROM claims WHERE token = ?", token) == "superseded"


def test_a_dead_holders_claim_stands_until_it_is_superseded(base, journal_path):
    """A run does not write through a dead one's turn; it claims first."""
    python(CLAIM, journal_path, KEY)

    with pytest.raises(ClaimedError):
        base.append(LINE)


@pytest.mark.parametrize(
    "change", [{"host": "elsewhere"}, {"pid_ns": "pid:[1]"}], ids=["host", "namespace"]
)
def test_an_unknown_holder_counts_as_alive(base, other, monkeypatch, change):
    """On another host, or in another container, only a reason ends its turn."""
    far = dataclasses.replace(this_process(), pid=2**22 + 1, **change)
    monkeypatch.setattr("journal.claim.this_process", lambda: far)
    base.claim()
    monkeypatch.undo()

    with pytest.raises(ClaimedError):
        other.claim()
    assert other.claim(supersede="its host is gone").stands


def test_a_reboot_ends_a_claim(base, other, monkeypatch):
    before = dataclasses.replace(this_process(), boot_id="another boot")
    monkeypatch.setattr("journal.claim.this_process", lambda: before)
    base.claim()
    monkeypatch.undo()

    assert other.claim().stands


def test_no_claim_ends_by_the_clock(base, other, clock):
    base.claim()
    clock.step(10 * 365 * 24 * 3600 * 1_000_000)

    with pytest.raises(ClaimedError):
        other.claim()


# --- who may claim


def test_only_a_writer_claims(journal, base):
    with pytest.raises(NotTrusted):
        journal.session(KEY).claim()


@pytest.mark.parametrize("reason", ["", "a\nb", "x" * 1_000, 42])
def test_a_reason_is_a_short_text(base, reason):
    """``supersede`` given and unfit is refused: it is not "whatever is current"."""
    turn = base.claim()

    with pytest.raises(EntryError) as caught:
        base.claim(supersede=reason)

    assert caught.value.hint
    assert turn.stands


def test_two_that_claim_at_once(base, journal_path):
    """One turn stands: every claim that was made is superseded or refused, none is doubled."""
    script = """
        import sys
        from journal import ClaimedError, Journal
        session = Journal(sys.argv[1]).session(sys.argv[2], writer="w" + sys.argv[3], role="run")
        session.head
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            print(session.claim().token, flush=True)
        except ClaimedError:
            print("refused", flush=True)
        sys.stdin.readline()
    """
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(journal_path), KEY, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for number in range(4)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for process in running:
        process.stdin.write("\n")  # type: ignore[union-attr]
    answers = [process.stdout.readline().strip() for process in running]  # type: ignore[union-attr]
    for process in running:
        process.communicate("\n")

    assert sorted(answers) == ["2", "refused", "refused", "refused"]
    assert base.head.seq == 2


# --- what became of a turn


def test_a_finished_turn_keeps_its_outcome(base, other):
    """What happened first counts: a successor's release says nothing of it."""
    first = base.claim()
    assert first.outcome == "standing"
    second = other.claim(supersede="x")
    assert (first.outcome, second.outcome) == ("superseded", "standing")
    second.release()

    third = base.claim()

    assert (first.outcome, second.outcome) == ("superseded", "released")
    assert third.outcome == "standing"


def test_a_superseded_turn_names_its_own_successor(base, other):
    """Not whoever holds the session by now, and not a release that came after."""
    first = base.claim()
    other.claim(supersede="the one")
    base.claim(supersede="another").release()

    with pytest.raises(Superseded) as caught:
        first.append(LINE)

    assert (caught.value.by, caught.value.reason) == ("other", "the one")
    assert caught.value.code == "superseded"
    assert caught.value.holder.token == 3


def test_releasing_a_superseded_turn_is_harmless_and_says_so(base, other, thief, caplog):
    turn = base.claim()
    successor = other.claim(supersede="x")
    before = thief.dump()

    assert turn.release() is False

    assert "superseded by 'other'" in caplog.text
    assert thief.dump() == before
    assert successor.stands


def test_a_superseded_turn_raises_no_fence_and_still_answers(base, other, thief):
    turn = base.claim()
    other.claim(supersede="x").append(LINE)

    with pytest.raises(Superseded):
        turn.fence()
    assert turn.check().accepted
    forged = thief.insert_copy()
    assert [entry.seq for entry in turn.check(raise_=False).foreign] == [forged]


def test_a_supersession_can_be_asked_about(base, other, thief):
    base.claim()

    successor = other.claim(supersede="x")

    assert successor.why == thief.ask("SELECT id FROM verdicts WHERE outcome = 'supersession'")
    assert base.claim(supersede="y").why != successor.why


def test_the_tables_times_are_those_of_the_sealed_entries(base, other, thief, clock):
    first = base.claim()
    clock.step(1_000)
    second = other.claim(supersede="x")
    clock.step(1_000)
    second.release()

    times = thief.execute("SELECT claimed_us, ended_us FROM claims ORDER BY token").fetchall()
    sealed = [thief.column("created_us", seq) for seq in (first.token, second.token, 4)]

    assert times == [(sealed[0], sealed[1]), (sealed[1], sealed[2])]


def test_a_turn_checks_all_that_came_since_its_claim(base, journal):
    turn = base.claim()
    journal.session(KEY, writer="slack", role="external").append(LINE)

    with pytest.raises(SessionTakeover):
        turn.check()

    assert not turn.check(raise_=False).accepted


def broken_off(session, act=lambda: None):
    with session.claim():
        act()
        raise ZeroDivisionError


def test_an_error_that_ends_a_turn_is_told_as_it_is(base):
    with pytest.raises(ZeroDivisionError) as caught:
        broken_off(base)

    assert not hasattr(caught.value, "__notes__")
    assert base.append(LINE).claim is None


def test_a_release_that_fails_hides_no_error(base, journal):
    with pytest.raises(ZeroDivisionError) as caught:
        broken_off(base, journal.close)

    (note,) = caught.value.__notes__
    assert note == f"the turn on {KEY!r} could not be released: this journal is closed"


def test_a_claim_whose_turn_cannot_be_handed_out_is_let_go(
    base, journal, open_journal, tmp_path, monkeypatch
):
    """Nobody would have the turn, and this process could not end it for as long as it lives."""
    monkeypatch.setattr(SideFile.lock, "__defaults__", (0.1,))
    base.append(LINE)
    journal.mirrors.add(KEY, tmp_path / "mirror.jsonl")
    base.claim().release()

    with open_journal().mirrors.here(KEY).lock, pytest.raises(BusyError):
        base.claim()

    assert base.append(LINE).claim is None
    with base.claim() as turn:
        assert turn.append(LINE).claim == turn.token


def test_a_policy_that_is_none_is_refused_before_anything_is_claimed(journal):
    with pytest.raises(EntryError, match="no policy"):
        journal.session(KEY, writer="gateway", role="run", policy="strickt")


# --- letting go from elsewhere


def test_a_claim_is_let_go_by_its_writer_once_its_process_is_gone(base, journal_path):
    token = int(python(CLAIM, journal_path, KEY))

    assert base.end_claim(token) is True
    assert base.end_claim(token) is False
    assert base.append(LINE).claim is None


def test_anothers_claim_is_not_let_go(base, other, thief, journal_path):
    token = int(python(CLAIM, journal_path, KEY))
    before = thief.execute("SELECT * FROM entries WHERE session_id = 2").fetchall()

    with pytest.raises(RefusedError) as caught:
        other.end_claim(token)

    assert (caught.value.code, caught.value.exit_code) == ("not-your-claim", 11)
    assert "journal claim take" in (caught.value.hint or "")
    assert thief.execute("SELECT * FROM entries WHERE session_id = 2").fetchall() == before


def test_a_live_claim_of_another_process_is_not_let_go(base, open_journal, monkeypatch):
    far = dataclasses.replace(this_process(), host="elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr("journal.claim.this_process", lambda: far)
        turn = base.claim()

    with pytest.raises(ClaimedError):
        open_journal().session(KEY, writer="gateway", role="run").end_claim(turn.token)
    assert turn.stands


@pytest.mark.parametrize("token", [None, "2", 1, 99, -1, 2**70])
def test_what_is_no_claim_is_not_let_go(base, token):
    base.claim()

    with pytest.raises(NotFoundError if isinstance(token, int) else EntryError) as caught:
        base.end_claim(token)
    assert "journal claim show" in (caught.value.hint or "")


# --- bad input


@pytest.mark.parametrize("reason", [" ", "\u2003 "])
def test_a_blank_reason_is_none(base, thief, reason):
    base.claim()
    before = thief.dump()

    with pytest.raises(EntryError) as caught:
        base.claim(supersede=reason)

    assert (caught.value.code, caught.value.exit_code) == ("reason", 2)
    assert thief.dump() == before


def test_a_claim_from_a_base_that_is_not_the_head(base, heartbeat, thief):
    seen = base.head.seq
    heartbeat.append(LINE)
    before = thief.dump()

    with pytest.raises(RefusedError) as caught:
        base.claim(base=seen)

    assert (caught.value.code, caught.value.exit_code) == ("changed-since", 11)
    assert thief.dump() == before


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_forked_child_claims_nothing_through_its_parents_journal(journal_path):
    """Named, refused, and nothing changed."""
    answers = python(
        """
        import os, sys
        from journal import Journal, RefusedError
        journal = Journal(sys.argv[1])
        session = journal.session(sys.argv[2], writer="gateway", role="run")
        turn = session.claim()
        reads, writes = os.pipe()
        if os.fork() == 0:
            for what in (session.claim, lambda: session.end_claim(turn.token)):
                try:
                    what()
                except RefusedError as error:
                    os.write(writes, f"{error.code} {error.exit_code} ".encode())
            os._exit(0)
        os.wait()
        os.close(writes)
        print(os.read(reads, 100).decode().split(), turn.outcome, session.head.seq)
        """,
        journal_path,
        KEY,
    )

    assert answers.strip() == "['forked', '11', 'forked', '11'] standing 1"


def test_a_new_process_reads_no_old_claims_to_write(base, open_journal, monkeypatch):
    """A session of ten thousand turns takes a newcomer's line as fast as a new one."""
    for _ in range(3):
        base.claim(supersede="the next").release()

    def fail(*_: object) -> None:
        raise AssertionError("every fact of the session is read")

    monkeypatch.setattr("journal.chain.Chain.load_facts", fail)
    newcomer = open_journal().session(KEY, writer="newcomer", role="tool")
    fence = newcomer.fence()
    assert newcomer.append({"n": 1}).seq
    base.append({"n": 2})
    assert fence.append({"n": 3}).seq


def test_a_line_left_open_before_a_claim_is_ended(journal, open_journal, tmp_path):
    """A newcomer sees past the claims that the file's last line has no line end."""
    path = tmp_path / "kept.jsonl"
    path.write_bytes(b'{"type":"session","id":"x"}\n{"torn":1}')
    session = journal.session("torn", writer="gateway", role="run", mirror=path)
    session.fence()
    session.claim().release()

    open_journal().session("torn", writer="newcomer", role="tool").append({"n": 1})

    assert path.read_bytes().splitlines()[1:] == [b'{"torn":1}', b'{"n":1}']

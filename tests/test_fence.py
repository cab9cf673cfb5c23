"""Fences: raised for nothing, checked against everything that came since."""

from __future__ import annotations

import json
import pickle
from functools import partial

import pytest

from journal import (
    BusyError,
    EntryError,
    NotFoundError,
    RefusedError,
    SessionTakeover,
    Superseded,
)
from journal.admission import put
from journal.lines import Line
from tests.thieves import KEY

LINE = {"type": "custom", "customType": "n"}
REPLY = {"type": "message", "message": {"role": "assistant"}}


def seqs(entries) -> list[int]:
    return [entry.seq for entry in entries]


# --- raising and checking


def test_raising_writes_and_locks_nothing(base, thief):
    before = thief.dump()

    fence = base.fence()

    assert thief.dump() == before
    thief.execute("BEGIN IMMEDIATE")  # nobody holds it
    thief.execute("ROLLBACK")
    assert (fence.mark.seq, fence.mark.epoch) == base.head
    assert fence.verdict is None


def test_a_fence_before_the_first_line(journal, thief):
    """It stands at nothing, and judges from the first row on."""
    run = journal.session(KEY, writer="gateway", role="run")
    fence = run.fence()
    assert fence.mark == (0, 0, b"", (), "")
    assert fence.check().accepted
    other = journal.session(KEY, writer="w", role="tool").append(LINE)
    assert seqs(fence.check().arrived) == [other.seq]
    forged = thief.insert_copy()

    assert seqs(fence.check(raise_=False).foreign) == [forged]


def test_what_arrived_adds_up_and_is_told_once(base, heartbeat, open_journal):
    """Over several checks; in order; by whoever."""
    cron = open_journal().session(KEY, writer="cron", role="cron")
    fence = base.fence()
    first = heartbeat.append(LINE)
    assert seqs(fence.check().arrived) == [first.seq]
    second = cron.append(LINE)
    base.append(LINE)

    assert seqs(fence.check().arrived) == [second.seq]
    assert fence.check().arrived == ()
    assert seqs(fence.arrived) == [first.seq, second.seq]
    assert {entry.trust for entry in fence.arrived} == {"asserted"}


def test_control_entries_do_not_arrive(base, journal, open_journal):
    fence = base.fence()
    open_journal().session(KEY, writer="other", role="run").claim().release()

    assert fence.check().arrived == ()
    assert fence.mark.seq == base.head.seq == 3


def test_the_same_writer_in_another_process_arrives(base, open_journal):
    """An instance is a process: what it wrote elsewhere is news here."""
    fence = base.fence()
    entry = open_journal().session(KEY, writer="gateway", role="run").append(LINE)

    assert seqs(fence.check().arrived) == [entry.seq]


def test_append_judges_and_moves_the_fence(base, heartbeat):
    fence = base.fence()
    heartbeat.append(LINE)

    entry = fence.append(REPLY)
    entries = fence.extend([REPLY, REPLY])

    assert fence.mark.seq == entries[-1].seq == entry.seq + 2
    assert len(fence.arrived) == 1
    assert fence.extend([]) == []
    assert fence.verdict.accepted


def test_append_with_a_request_done_before(base, heartbeat):
    """Judged all the same, and written once."""
    fence = base.fence()
    first = fence.append(REPLY, request_id="r")
    heartbeat.append(LINE)

    assert fence.append(REPLY, request_id="r").seq == first.seq
    assert len(fence.arrived) == 1


def test_a_done_request_is_not_parked_at_a_takeover(base, thief):
    """There is nothing to keep: it was written."""
    fence = base.fence()
    fence.append(REPLY, request_id="r")
    thief.insert_copy()

    with pytest.raises(SessionTakeover) as caught:
        fence.append(REPLY, request_id="r")

    assert caught.value.parked is None
    assert base.parked() == []
    assert "not parked" not in str(caught.value)  # as it would say where there was no room


def test_a_line_that_cannot_be_kept_is_no_verdict(base):
    fence = base.fence()

    with pytest.raises(EntryError):
        fence.append(b"")

    assert fence.check().accepted


def test_a_stray_that_the_fence_knew_is_not_new_after_its_own_append(base, heartbeat, thief):
    """Not after an accepted check, not after ``fence.append``, whoever commits in between."""
    thief.insert_copy(seq=100)
    fence = base.fence()
    for _ in range(2):
        fence.append(REPLY)
        heartbeat.append(LINE)
        thief.execute("CREATE TABLE IF NOT EXISTS theirs(x)")
        thief.execute("INSERT INTO theirs VALUES (1)")
        assert fence.check().accepted


def test_an_edit_from_before_the_fence_is_told_at_the_raise(base, thief, told):
    """Also where the edited row is the very one the fence stands at; and it is no takeover then."""
    thief.edit("body", 1, b'{"type":"edited"}')

    fence = base.fence()

    assert [(v.outcome, seqs(v.foreign)) for v in told] == [("between fences", [1])]
    assert fence.check().accepted
    thief.execute("CREATE TABLE theirs(x)")
    assert fence.check().accepted


# --- as a block


def test_leaving_the_block_checks(base, heartbeat, thief):
    with base.fence() as fence:
        heartbeat.append(LINE)
    assert len(fence.arrived) == 1

    with pytest.raises(SessionTakeover), base.fence():
        thief.insert_copy()


def test_a_takeover_raised_inside_is_not_raised_twice(base, thief, told):
    with pytest.raises(SessionTakeover) as caught:
        write_after(base, thief.insert_copy)

    assert not getattr(caught.value, "__notes__", [])
    assert len(told) == 1


def write_after(session, act) -> None:
    with session.fence() as fence:
        act()
        fence.append(REPLY)


def test_the_blocks_own_error_is_what_the_caller_sees(base, thief):
    """The verdict rides along, as a note; a refusal of ours is an error like any other."""
    turn = base.claim()
    with pytest.raises(Superseded) as caught:
        late(turn, lambda: base.claim(supersede="x"), thief.insert_copy)

    assert "takeover" in caught.value.__notes__[0]


def late(turn, *acts) -> None:
    with turn.fence():
        for act in acts:
            act()
        turn.append(REPLY)


def test_an_interrupt_is_left_alone(base, thief):
    """Nothing is checked on the way out of a program."""
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted(base)

    assert not getattr(caught.value, "__notes__", [])


def interrupted(session) -> None:
    with session.fence():
        raise KeyboardInterrupt


# --- verdicts


def test_a_takeover_tells_all_there_is_to_tell(base, heartbeat, thief, told):
    """Entries, origins, reasons, what arrived, where the head is, and under which id it was kept."""
    fence = base.fence()
    forged = thief.insert_copy(body=b'{"mine":1}')
    honest = heartbeat.append(LINE)

    with pytest.raises(SessionTakeover) as caught:
        fence.append(REPLY)

    error = caught.value
    assert seqs(error.entries) == [forged]
    row = thief.column("id", forged)
    assert error.origins == (f"database row {row}",)
    assert error.why == error.verdict.id == thief.ask("SELECT id FROM verdicts")
    assert error.parked.verdict_id == error.why
    assert error.exit_code == 3
    assert error.hint == f"journal why {error.why}"
    verdict = error.verdict
    assert seqs(verdict.arrived) == [honest.seq]
    assert (verdict.head_seq, verdict.head_epoch) == base.head
    assert verdict.policy == "cotenant"
    assert verdict.fence.seq == 1
    assert verdict.fence_id == fence.id
    assert told == [verdict]
    text = verdict.explain()
    for word in (
        "takeover by database",
        "Rule: ",
        "after seq 1, epoch 1",
        f"* seq {forged}",
        "plain SQL",
        "says it is by gateway",
        "heartbeat",
        f"journal why {error.why}",
    ):
        assert word in text


def test_a_stored_verdict_holds_its_evidence(base, thief):
    fence = base.fence()
    forged = thief.insert_copy(body=b'{"mine":1}')
    fence.check(raise_=False)

    row = thief.execute("SELECT outcome, policy, evidence FROM verdicts").fetchone()

    assert row[:2] == ("takeover", "cotenant")
    evidence = json.loads(row[2])
    assert evidence["foreign_count"] == 1
    assert evidence["foreign"][0]["seq"] == forged
    assert evidence["foreign"][0]["body"] == '{"mine":1}'
    assert evidence["fence"]["seq"] == 1


def test_evidence_is_bounded(base, thief):
    fence = base.fence()
    thief.insert_many(range(2, 502))

    verdict = fence.check(raise_=False)

    evidence = json.loads(thief.ask("SELECT evidence FROM verdicts"))
    assert len(verdict.foreign) == evidence["foreign_count"] == 500
    assert len(evidence["foreign"]) == 100


def test_the_same_takeover_is_kept_once_and_a_grown_one_again(base, thief):
    fence = base.fence()
    thief.insert_copy()
    first, second = (fence.check(raise_=False).id for _ in range(2))
    thief.insert_copy()
    third = fence.check(raise_=False).id

    assert first == second != third
    assert thief.count("verdicts") == 2


def test_a_verdict_counts_though_it_cannot_be_stored(open_journal, base, thief):
    """Somebody holds the write lock: the answer is the same, and only not kept."""
    session = open_journal(busy_timeout=0.0).session(KEY, writer="gateway", role="run")
    fence = session.fence()
    forged = thief.insert_copy()
    with thief.transaction():
        verdict = fence.check(raise_=False)
        with pytest.raises(BusyError):
            fence.append(REPLY)

    assert seqs(verdict.foreign) == [forged]
    assert thief.count("verdicts") == 0
    assert seqs(fence.check(raise_=False).foreign) == [forged]


def test_a_verdict_travels(base, thief):
    fence = base.fence()
    thief.insert_copy()
    verdict = fence.check(raise_=False)

    assert pickle.loads(pickle.dumps(verdict)) == verdict  # noqa: S301 - our own bytes


def test_what_was_found_between_fences_is_told_once_whoever_writes_next(open_journal, told):
    """A process that has not looked takes back nothing of what another has told."""
    heartbeat = open_journal().session(KEY, writer="heartbeat", role="heartbeat")
    heartbeat.append(LINE)
    journal = open_journal()
    journal.session(KEY, writer="outside", role="external").append(LINE)
    heartbeat.append(LINE)
    journal.session(KEY, writer="gateway", role="run").fence()
    assert [verdict.outcome for verdict in told] == ["between fences"]

    heartbeat.append(LINE)
    open_journal().session(KEY, writer="gateway", role="run").fence()

    assert len(told) == 1


def test_on_takeover_may_use_the_journal(open_journal, base, thief):
    """It is called when the verdict is durable and nothing is held."""
    seen: list[object] = []

    def note(verdict) -> None:
        entry = journal.session("alarms", writer="alarm", role="tool").append({"why": verdict.id})
        seen.append(entry.seq)

    journal = open_journal(on_takeover=note)
    fence = journal.session(KEY, writer="gateway", role="run").fence()
    thief.insert_copy()

    assert not fence.check(raise_=False).accepted
    assert seen == [1]


# --- policies


def test_the_callers_own_policy(base, heartbeat):
    """A function of an entry; it judges co-tenants' lines only."""
    asked: list[int] = []

    def no_messages(entry) -> bool:
        asked.append(entry.seq)
        return bool(entry.json().get("type") != "message")

    fence = base.fence(policy=no_messages)
    base.append(REPLY)
    fine = heartbeat.append(LINE)
    assert seqs(fence.check().arrived) == [fine.seq]
    bad = heartbeat.append(REPLY)

    verdict = fence.check(raise_=False)

    assert seqs(verdict.foreign) == [bad.seq]
    assert verdict.policy == "no_messages"
    assert set(asked) == {fine.seq, bad.seq}


def test_no_policy_makes_a_stray_good(base, thief):
    fence = base.fence(policy=lambda _: True)
    forged = thief.insert_copy()

    assert seqs(fence.check(raise_=False).foreign) == [forged]


def test_a_policy_that_fails_fails_the_check(base, heartbeat):
    """Its own error comes out, and nothing was accepted."""

    def fails(_: object) -> bool:
        raise ZeroDivisionError

    fence = base.fence(policy=fails)
    heartbeat.append(LINE)
    mark = fence.mark

    for check in (fence.check, lambda: fence.append(REPLY)):
        with pytest.raises(ZeroDivisionError):
            check()
    assert fence.mark == mark
    assert base.head.seq == 2


def test_a_session_has_a_policy_of_its_own(journal, base, heartbeat):
    strict = journal.session(KEY, writer="gateway", role="run", policy="strict")
    fence = strict.fence()
    heartbeat.append(REPLY)

    assert not fence.check(raise_=False).accepted
    assert strict.fence(policy="cotenant").check().accepted


@pytest.mark.parametrize("policy", ["lenient", "", 42])
def test_a_policy_nobody_knows(base, journal, policy):
    """At once, of a stored fence too: at its check it would be too late to ask."""
    stored = base.fence().stored()
    for ask in (base.fence, partial(journal.fence, stored)):
        with pytest.raises(EntryError) as caught:
            ask(policy=policy)

        assert caught.value.code == "policy"
        assert caught.value.hint


@pytest.mark.parametrize("policy", ["cotenant", "strict"])
def test_a_bare_line_end_never_makes_a_verdict(base, journal, policy):
    """Whoever sealed it, an external writer too."""
    fence = base.fence(policy=policy)
    editor = journal.session(KEY, writer="editor", role="external")
    with journal.store.transaction() as cursor:
        put(cursor, editor, [Line(b"", b"\n", "raw")], None, origin="file")

    assert fence.check().accepted


# --- stored fences


def test_a_stored_fence_is_checked_by_another_process(base, heartbeat, open_journal, thief):
    fence_id = base.fence().stored()
    entry = heartbeat.append(LINE)

    other = open_journal().fence(fence_id)
    assert other.id == fence_id
    assert seqs(other.check().arrived) == [entry.seq]
    forged = thief.insert_copy()
    assert seqs(open_journal().fence(fence_id).check(raise_=False).foreign) == [forged]


def test_a_fence_is_stored_with_the_next_write(base, heartbeat, open_journal):
    fence = base.fence()
    with pytest.raises(NotFoundError):
        open_journal().fence(fence.id)

    heartbeat.append(LINE)

    assert len(open_journal().fence(fence.id).check().arrived) == 1


def test_a_stored_fence_remembers_its_strays(base, open_journal, thief):
    thief.insert_copy(seq=50)
    fence_id = base.fence().stored()

    assert open_journal().fence(fence_id).check().accepted


def test_a_fence_nobody_stored(journal):
    with pytest.raises(NotFoundError) as caught:
        journal.fence("f-nowhere")

    assert caught.value.exit_code == 10
    assert caught.value.hint


def test_a_crashed_runs_fence_binds_nobody(base, heartbeat, open_journal):
    """It is never asked again, and nobody waits for it."""
    base.fence().stored()
    base.store.close()

    other = open_journal().session(KEY, writer="other", role="run")
    with other.fence() as fence:
        fence.append(REPLY)


def test_the_writes_of_a_batch_store_a_waiting_fence_once(base, journal, heartbeat, thief):
    fence = base.fence()
    with journal.batch() as batch:
        batch.append(base, LINE)
        batch.append(heartbeat, LINE)

    assert thief.ask("SELECT id FROM fences") == fence.id
    base.claim().release()
    base.append(LINE)
    assert thief.ask(f"SELECT count(*) FROM fences WHERE id = '{fence.id}'") == 1


def test_many_fences_that_nobody_writes_under(base):
    """They are not kept for ever."""
    fences = [base.fence() for _ in range(2_000)]

    base.append(LINE)

    assert all(fence.check().accepted for fence in fences[-3:])
    assert len(base.store.registry.chain_of(KEY).waiting) < 2_000


# --- what else may happen to a fence


def test_a_callback_that_fails_hides_no_verdict(open_journal, base, thief, caplog):
    def fail(verdict) -> None:
        raise ZeroDivisionError

    run = open_journal(on_takeover=fail).session(KEY, writer="other", role="run")
    fence = run.fence()
    forged = thief.insert_copy()

    with pytest.raises(SessionTakeover) as caught:
        fence.check()

    assert seqs(caught.value.verdict.foreign) == [forged]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError]


def test_a_session_of_nothing_has_nothing_unresolved(journal):
    assert journal.session("agent:main:empty", writer="w", role="run").fence().unresolved == []


def test_a_stored_fence_of_a_writer_nobody_knows_is_not_found(base, journal, thief, open_journal):
    """Its row proves itself, but the entry that declared its writer does not stand any more."""
    fence_id = base.fence().stored()
    assert journal.fence(fence_id).id == fence_id
    with thief.without_triggers():
        thief.execute("UPDATE entries SET body = x'7b7d' WHERE session_id = 1 AND seq > 1")

    with pytest.raises(NotFoundError, match="is not registered any more"):
        open_journal().fence(fence_id)


def test_storing_a_fence_again_changes_nothing(base, thief):
    fence = base.fence()
    fence.stored()
    before = thief.dump()

    assert fence.stored() == fence.id
    assert thief.dump() == before


def test_a_fence_is_stored_where_it_stands_with_what_it_knew(base, heartbeat, thief, clock):
    fence = base.fence()
    heartbeat.append(LINE)
    clock.step(5)
    fence.stored()

    row = thief.execute(
        "SELECT seq, epoch, seal, beyond, mirror_position, raised_us FROM fences"
    ).fetchone()
    assert row[:3] == tuple(fence.mark[:3])
    assert json.loads(row[3]) == []
    assert row[4:] == (None, clock.now_us - 5)


def test_of_fences_that_nobody_writes_under_the_newest_are_stored(base, thief):
    fences = [base.fence() for _ in range(70)]
    base.append(LINE)

    found = thief.execute("SELECT id FROM fences").fetchall()
    assert {fence_id for (fence_id,) in found} == {fence.id for fence in fences[-64:]}


def test_a_fence_that_finds_the_end_cut_off_says_so_once(base, thief, told):
    """All that is left was examined before; what is missing was not."""
    base.extend([LINE, LINE])
    base.fence()
    thief.delete(2, 3)

    base.fence()
    base.fence()

    assert [(v.outcome, [(e.seq, e.trust) for e in v.foreign]) for v in told] == [
        ("between fences", [(2, "missing"), (3, "missing")])
    ]


def test_what_a_verdict_has_told_no_other_process_tells_again(
    base, heartbeat, open_journal, thief, told
):
    fence = base.fence()
    thief.insert_copy()
    heartbeat.append(LINE)
    assert not fence.check(raise_=False).accepted
    told.clear()

    open_journal().session(KEY, writer="gateway", role="run").fence()

    assert told == []


def test_a_loaded_fence_is_its_writers(base, heartbeat, open_journal):
    heartbeat.append(LINE)
    base.extend([LINE, LINE])
    fence = heartbeat.fence()
    loaded = open_journal().fence(fence.stored())

    assert loaded.mark == fence.mark == (4, 3, fence.mark.seal, (), "")
    assert loaded.session.identity == heartbeat.identity
    assert loaded.session.key == KEY
    assert loaded.check().accepted


@pytest.mark.parametrize("column", ["body", "epoch"])
def test_a_loaded_fence_looks_at_the_row_it_stands_at(base, open_journal, thief, column):
    fence_id = base.fence().stored()
    thief.edit(column, 1, b"{}" if column == "body" else 9)

    verdict = open_journal().fence(fence_id).check(raise_=False)

    assert [(entry.seq, entry.trust) for entry in verdict.foreign] == [(1, "altered")]


def test_of_a_line_in_parts_the_entry_is_its_last(base):
    entry = base.fence().append(b'"' + b"x" * (8 * 2**20) + b'"')

    assert entry.terminator == b"\n"
    assert entry.seq == base.head.seq > 9


def test_what_is_wrong_with_a_stored_fence_is_said(base, journal, thief):
    fence_id = base.fence().stored()
    with pytest.raises(NotFoundError, match="'fnone' is not there"):
        journal.fence("fnone")
    with thief.without_triggers():
        thief.execute("UPDATE fences SET seq = 0")
    with pytest.raises(NotFoundError, match="was changed after it was stored"):
        journal.fence(fence_id)


def test_a_fence_of_who_has_not_written_here_yet_is_in_nobodys_way(base, open_journal, thief):
    """Its writer is known, its process is not: it has no row of its own until it is stored."""
    run = open_journal().session(KEY, writer="gateway", role="run")
    fence = run.fence()
    run.append(LINE)

    assert thief.count("fences") == 0
    assert fence.stored() == thief.ask("SELECT id FROM fences")


def test_a_write_under_a_fence_is_refused_as_any_other(base, heartbeat, open_journal):
    fence = base.fence()
    with pytest.raises(EntryError):
        fence.append(REPLY, request_id="x" * 1000)
    open_journal().session(KEY, writer="other", role="run").claim()

    with pytest.raises(RefusedError):
        fence.append(REPLY)


def test_storing_a_fence_keeps_how_far_the_session_was_examined(base, open_journal, thief):
    """Where that was taken away, whoever raises a fence looks at all of it again."""
    base.extend([LINE, LINE])
    with thief.without_triggers():
        thief.execute("UPDATE sessions SET examined_seq = 0, examined_mac = x'' WHERE id = 2")

    fence = open_journal().session(KEY, writer="gateway", role="run").fence()
    assert thief.ask("SELECT examined_seq FROM sessions WHERE id = 2") == 0
    fence.stored()

    assert thief.ask("SELECT examined_seq FROM sessions WHERE id = 2") == 3

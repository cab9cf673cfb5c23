"""Why: what a person who sees nothing else can say back, and what a program can read."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tracemalloc
from contextlib import contextmanager

import click
import pytest

from journal import (
    ClaimedError,
    EntryError,
    NotFoundError,
    RefusedError,
    SessionTakeover,
    Superseded,
)
from journal.cli import cli
from journal.escape import is_unsafe
from journal.explanation import when
from journal.factwords import fact_words
from journal.fileedit import edit_words
from journal.why import why
from tests import incidents
from tests.incidents import INCIDENTS, Stage, explained

DAY_US = 24 * 3600 * 1_000_000
REPLY = {"reply": 1}

TOLD = {
    "by_database": (
        "takeover by database",
        (
            "plain SQL",
            "* seq 4",
            "says it is by heartbeat",
            "proves nothing",
            "3, epoch 3, asserted",
        ),
    ),
    "by_file": (
        "takeover by file",
        ("session.jsonl, line 3, byte 85", "external:mirror-1", "* seq 3", "From outside."),
    ),
    "by_edit": (
        "takeover by file, edit by file",
        (
            "2 lines (seq 2-3) were removed from the session's file; the journal still has them.",
            "- seq 3, by gateway (run)",
            '{"type":"message","n":3}',
            "undoes the edit",
            "it records that the session's file was edited from outside",
        ),
    ),
    "altered": (
        "altered after sealing",
        ("* seq 4", "it was sealed by heartbeat", "a backup may still have", "mallory"),
    ),
    "gone": ("gone", ("* seq 4, missing", "deleted from the database", "backup")),
    "refused_by_policy": (
        "refused by policy",
        ("telegram (channel)", "strict lets pass only", "And the fence?", "may not go on over"),
    ),
    "superseded": (
        "superseded",
        (
            *("through turn 3", "telegram-run (run) had superseded it", "a visible user turn"),
            *("claim 5", "run run-2", "alive then", "the claim that ended the turn"),
            "behind all that the newer turn wrote",
        ),
    ),
    "claimed": (
        "claimed by another",
        ("without a turn while other (run) held", "alive then", "only through its turn"),
    ),
    "stranded": (
        "stranded claim",
        ("nightly (run)", "run run-7", "process was gone", "claim take"),
    ),
    "supersession": (
        "supersession, stranded claim",
        ("ended claim 3 of nightly (run)", "whose process was gone", "its holder is dead"),
    ),
    "between_fences": (
        "takeover by database, between fences",
        ("what no fence had seen", "it stops nobody", "* seq 3"),
    ),
}


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.__name__)
def test_each_incident_is_told_so_that_it_can_be_said_back(incident, tmp_path):
    """Its class in the first line; who, whom, when, which rule, what was kept, what next."""
    verdict_class, words = TOLD[incident.__name__]

    found = explained(incident, tmp_path)
    text = found.as_text()

    assert text.splitlines()[0] == f"{found.id}: {verdict_class}"
    assert found.verdict_class == verdict_class
    for word in (
        *words,
        "Rule: ",
        "Expected: ",
        "Found: ",
        "Holder: ",
        "1 time in the last 24 hours",
    ):
        assert word in text
    assert ("Kept: " in text) == bool(found.parked)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.__name__)
def test_the_document_holds_all_that_is_told(incident, tmp_path):
    told = json.loads(json.dumps(explained(incident, tmp_path).as_json()))

    assert set(told) == {
        *("id", "session", "class", "classes", "judged_us", "what", "rule", "expected", "found"),
        *("holder", "between", "left_out", "removed", "lately", "parked", "next"),
    }
    assert any(row["cause"] for row in told["between"])
    assert {"seq", "epoch", "writer", "role", "instance", "claim", "origin"} <= set(
        told["between"][0]
    )
    assert told["found"]["epoch"] >= told["expected"].get("epoch", 0)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.__name__)
def test_every_next_command_works(incident, tmp_path, monkeypatch):
    """Each alone, from the state the explanation was given in, as it stands."""
    stage = Stage(tmp_path)
    verdict_id = incident(stage)
    acts = why(stage.journal, verdict_id).acts
    stage.close()
    assert acts
    for act in acts:
        copy = tmp_path / f"copy-{acts.index(act)}.db"
        copy.write_bytes(stage.path.read_bytes())
        assert run(act.command, copy) in (0, 3), act.command


@pytest.fixture
def staged(tmp_path):
    """Give a stage to act on."""
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def next_command(found, word: str) -> str:
    command: str = next(act.command for act in found.acts if word in act.command)
    return command


def test_all_of_an_explanation_is_of_one_state(staged, monkeypatch):
    """Nothing is asked once the reading has ended: another thread may be writing by then."""
    base = staged.journal.session("s", writer="gateway", role="run")
    base.append({"n": 1})
    fence = base.fence()
    staged.thief.insert_copy("s")
    wanted = staged.caught(lambda: fence.append(REPLY))
    snapshot = staged.journal.store.snapshot

    @contextmanager
    def then_closed():
        with snapshot() as cursor:
            yield cursor
        staged.journal.close()

    monkeypatch.setattr(staged.journal.store, "snapshot", then_closed)
    assert len(why(staged.journal, wanted).acts) == 6


@pytest.mark.parametrize("key", ["-it's a b", "--help", "a b"])
def test_each_command_works_for_any_key(key, tmp_path):
    """And each line as a whole can be pasted into a shell: what it is for is a comment."""
    stage = Stage(tmp_path)
    base = stage.journal.session(key, writer="gateway", role="run")
    base.append({"n": 1})
    fence = base.fence()
    stage.thief.insert_copy(key)
    found = why(stage.journal, stage.caught(lambda: fence.append(REPLY)))
    stage.close()

    assert len(found.acts) == 6
    for act in found.acts:
        copy = tmp_path / f"copy-{found.acts.index(act)}.db"
        copy.write_bytes(stage.path.read_bytes())
        assert run(act.command, copy) in (0, 3), act.command
    lines = found.as_text().partition("Next:\n")[2].splitlines()
    assert [shlex.split(line, comments=True) for line in lines] == [
        shlex.split(act.command) for act in found.acts
    ]
    done = subprocess.run(["sh", "-nc", "\n".join(lines)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_hint_of_a_refusal_is_a_command(base, journal):
    base.claim()
    other = journal.session(base.key, writer="other", role="run")

    with pytest.raises(RefusedError) as caught:
        other.claim()

    words = shlex.split(caught.value.hint or "", comments=True)
    assert words == [*f"journal claim take {base.key} -w other --supersede REASON".split()]


def test_the_hint_beside_a_dead_holder_locks_nobody_out(staged):
    incidents.hold(staged)
    with pytest.raises(RefusedError) as caught:
        staged.gateway.append(REPLY)

    assert run((caught.value.hint or "").partition("  #")[0], staged.path) == 0
    staged.gateway.append(REPLY)


def test_what_was_cut_out_of_the_file_is_put_back_by_the_first_command(staged):
    """Whoever follows the first line has the file as it was."""
    verdict_id = incidents.by_edit(staged)
    path = staged.home / "session.jsonl"
    first = why(staged.journal, verdict_id).acts[0]
    assert "undoes the edit" in first.purpose
    staged.journal.close()

    assert run(first.command, staged.path) == 0

    lines = path.read_bytes().splitlines()
    assert lines[2] == b'{"type":"message","n":3}'
    assert b"Mend it." in lines[1]
    assert len(lines) == 3


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"control": "layout", "lost": [[3, 3]]}, "1 line (seq 3) was removed"),
        ({"control": "layout", "lost": [[3, 3]]}, "still has it."),
        ({"control": "layout", "lost": [[3, 3], [5, 6]]}, "3 lines (seq 3, 5-6) were removed"),
        ({"control": "layout", "lost": []}, "another order"),
        ({"control": "edit", "what": "lost", "seqs": [[2, 2]]}, "before it was written anew"),
    ],
)
def test_an_edit_of_the_file_is_told_for_what_it_was(facts, words):
    assert words in (edit_words(facts) or "")


def test_what_was_removed_is_told_with_its_text_and_cannot_steer_a_terminal(staged):
    path = staged.home / "session.jsonl"
    staged.gateway.append({"evil": "\u202e"})
    staged.gateway.append(b'{"raw":"\x1b]52;c;cm0=\x07"}')
    staged.journal.session(staged.gateway.key, writer="gateway", mirror=path)
    fence = staged.gateway.fence()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    verdict = fence.check(raise_=False)

    found = why(staged.journal, verdict.id)

    assert found.classes == ("edit by file",)
    assert "3 lines (seq 2-4) were removed" in verdict.explain()
    assert [row.seq for row in found.removed] == [2, 3, 4]
    assert [row["seq"] for row in found.as_json()["removed"]] == [2, 3, 4]
    assert "brought in" not in found.as_text()
    assert "\\x1b]52" in found.as_text()
    assert not {char for char in found.as_text() if is_unsafe(char) and char != "\n"}


def test_a_file_left_alone_since_an_edit_is_served_again_by_a_command(staged):
    """on_edit="refuse": rejecting and resuming give the file back whole."""
    path = staged.home / "session.jsonl"
    staged.journal.mirrors.add(staged.gateway.key, path, on_edit="refuse")
    whole = path.read_bytes()
    fence = staged.gateway.fence()
    path.write_bytes(whole.splitlines(keepends=True)[0])
    verdict = fence.check(raise_=False)

    found = why(staged.journal, verdict.id)
    reject, resume = next_command(found, "--reject"), next_command(found, "mirror resume")
    assert "left alone" in found.as_text()
    staged.journal.close()

    assert run(reject, staged.path) == 0
    assert run(resume, staged.path) == 0
    assert path.read_bytes() == whole


def test_a_file_that_is_gone_is_made_again_by_a_command(staged):
    path = staged.home / "session.jsonl"
    staged.journal.mirrors.add(staged.gateway.key, path)
    whole = path.read_bytes()
    fence = staged.gateway.fence()
    path.unlink()
    verdict = fence.check(raise_=False)

    found = why(staged.journal, verdict.id)
    assert "The session's file was removed" in found.as_text()
    staged.journal.close()

    assert run(next_command(found, "mirror sync"), staged.path) in (0, 3)
    assert path.read_bytes() == whole


def test_the_first_command_ends_a_stranded_claim_and_locks_nobody_out(staged):
    """Whoever was refused writes again, and needs no turn."""
    verdict_id = incidents.stranded(staged)
    first, second = why(staged.journal, verdict_id).acts[:2]

    assert first.command.startswith("journal claim release ")
    assert second.command == f"journal claim take {staged.gateway.key} -w gateway"
    assert run(first.command, staged.path) == 0
    assert staged.gateway.append(REPLY).writer == "gateway"
    assert "claim release" not in why(staged.journal, verdict_id).as_text()


def test_a_dead_holder_that_was_revoked_is_not_let_write_again(staged):
    verdict_id = incidents.stranded(staged)
    staged.journal.revoke("nightly", "its host was lost")

    first = why(staged.journal, verdict_id).acts[0]

    assert first.command.startswith("journal claim take ")
    assert run(first.command, staged.path) == 0


def run(command: str, path) -> int:
    words = shlex.split(command)
    assert words[0] == "journal"
    with pytest.raises(SystemExit) as ended:
        cli.main(["-d", str(path), *words[1:]], prog_name="journal")
    return int(ended.value.code or 0)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.__name__)
def test_every_hint_and_command_exists(incident, tmp_path):
    """The words after ``journal`` are a command and, where it has any, one of its own."""
    for act in explained(incident, tmp_path).acts:
        check_command(act.command)


def check_command(line: str) -> None:
    words = shlex.split(line)[1:]
    group = cli.get_command(click.Context(cli), words[0])
    assert group is not None, line
    if isinstance(group, click.Group):
        assert words[1] in group.commands, line


def test_a_write_refused_again_is_shown_by_each_verdict(base, journal, thief):
    """Equal lines are parked once; whoever asks about the second refusal is shown them too."""
    fence = base.fence()
    thief.insert_copy()
    for _ in range(2):
        with pytest.raises(SessionTakeover) as caught:
            fence.append(REPLY)

    (parked,) = base.parked()
    assert parked.times == 2
    assert caught.value.verdict.id != parked.verdict_id
    told = why(journal, caught.value.verdict.id or "")
    assert told.parked["id"] == parked.id
    assert f"journal parked apply {parked.id}" in told.as_text()


def test_a_parked_write_is_explained_by_its_own_id(base, journal):
    turn = base.claim()
    base.claim(supersede="a new message")
    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)

    by_parked, by_verdict = why(journal, caught.value.parked), why(journal, caught.value.why)

    assert by_parked.id == caught.value.parked
    assert by_parked.what == by_verdict.what
    assert by_parked.parked["id"] == caught.value.parked
    for _ in range(2):
        with pytest.raises(Superseded):
            turn.append(REPLY)
    found = why(journal, caught.value.parked)
    assert "refused 3 times since" in found.as_text()
    assert found.lately["day"] == 3


@pytest.mark.parametrize("act, what", [("cut", 1), ("rewrite", [])])
def test_a_refused_change_that_brought_no_lines_has_an_id_too(base, journal, act, what):
    """There is nothing to park, and still something to ask about."""
    turn = base.claim()
    base.claim(supersede="a new message")

    with pytest.raises(Superseded) as caught:
        getattr(turn, act)(what, base=base.head.seq, reason="too long")

    assert caught.value.parked is None
    told = why(journal, caught.value.why)
    assert told.verdict_class == "superseded"
    assert not told.parked


def test_a_rewrite_is_refused_for_another_and_for_no_line_that_came(base, heartbeat, journal):
    """Which alone is marked: lines that came since stay at the end."""
    at = base.head.seq
    heartbeat.append({"n": 1})
    base.rewrite([{"n": 2}], base=base.head.seq, reason="compacted")
    heartbeat.append({"n": 3})
    with pytest.raises(RefusedError) as caught:
        base.rewrite([{"n": 4}], base=at, reason="late")

    found = why(journal, caught.value.why)

    causes = [row for row in found.between if row.cause]
    assert [fact_words(row.body).split(",")[0] for row in causes] == ["control: layout"]
    assert [row.cause for row in causes] == ["gave the lines another order since"]
    assert len(found.between) > len(causes)


def test_a_verdict_says_whose_fence_it_was_before_it_is_asked_about(base, thief, open_journal):
    fence_id = base.fence().stored()
    thief.insert_copy()

    verdict = open_journal().fence(fence_id).check(raise_=False)

    assert f"While {base.identity.writer} (run) was away" in verdict.explain()


def test_a_write_refused_again_by_another_is_explained_by_the_latest_refusal(staged):
    """Who held the session then, when, and by which rule; the first one keeps its own id."""
    first = incidents.stranded(staged)
    (parked,) = staged.gateway.parked()
    other = staged.journal.session(staged.gateway.key, writer="other", role="run")
    other.claim(supersede="it is gone")

    second = staged.caught(lambda: staged.gateway.append(incidents.REPLY))

    assert staged.gateway.parked()[0].times == 2
    found = why(staged.journal, parked.id)
    assert found.classes == ("claimed by another",)
    assert "while other (run) held" in found.as_text()
    assert found.at_us == why(staged.journal, second).at_us
    assert why(staged.journal, first).classes == ("stranded claim",)


def test_a_takeover_that_is_looked_at_again_is_one(base, thief, open_journal):
    """The same fence, checked by another process over the same entries, finds nothing new."""
    fence_id = base.fence().stored()
    thief.insert_copy()
    for _ in range(2):
        other = open_journal()
        verdict = other.fence(fence_id).check(raise_=False)

    assert why(other, verdict.id).lately["day"] == 1


def test_what_was_applied_is_told_by_whom_when_and_as_which_seq(base, journal, clock):
    turn = base.claim()
    base.claim(supersede="x").release()
    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)
    clock.step(3_000_000)
    (entry,) = journal.parked(caught.value.parked).apply(writer="alice")

    found = why(journal, caught.value.parked)

    told = found.parked["settlement"]
    assert (told["how"], told["by"], told["seqs"]) == ("applied", "alice", [entry.seq])
    assert told["at_us"] == clock()
    assert f"; applied as seq {entry.seq} by alice (pid {os.getpid()} on " in found.as_text()
    assert f" at {when(clock())}" in found.as_text()


@pytest.mark.parametrize("name", ["alice", None])
def test_what_was_discarded_is_told_by_whom_when_and_why(base, journal, clock, name):
    """Without a name the process is known; a verdict it is not, and none of its kind."""
    turn = base.claim()
    base.claim(supersede="x")
    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)
    clock.step(3_000_000)
    journal.parked(caught.value.parked).discard(writer=name, reason="asked again")

    found = why(journal, caught.value.parked)

    by = name or "somebody who gave no name"
    assert f"; discarded by {by} (pid {os.getpid()} on " in found.as_text()
    assert f" at {when(clock())}: asked again" in found.as_text()
    assert found.classes == ("superseded",)
    assert found.lately["day"] == 1
    settled = journal.parked(caught.value.parked).settlement()
    assert (settled.how, settled.by, settled.reason) == ("discarded", name, "asked again")
    assert settled.at_us == journal.parked(caught.value.parked).settled_us == clock()


def test_a_parked_write_whose_lines_were_erased_is_not_said_to_be_there(base, journal):
    """Nor counted as a write of no lines."""
    base.claim()
    other = journal.session(base.key, writer="other", role="run")
    with pytest.raises(ClaimedError) as caught:
        other.append(REPLY)
    operator = journal.session(base.key, writer="operator", role="operator")
    entry = operator.append(REPLY)
    operator.redact([entry.seq], reason="a secret")

    text = why(journal, caught.value.parked).as_text()

    assert "It was parked, and its lines were erased since." in text
    assert "of other, refused 1 time; its lines were erased since" in text
    assert "all of it is parked" not in text
    assert "0 lines" not in text


def test_what_a_revoked_writer_was_refused_is_not_offered_to_be_applied(staged):
    verdict_id = incidents.claimed(staged)
    staged.journal.revoke("gateway", "its host was lost")

    found = why(staged.journal, verdict_id)

    assert "parked apply" not in found.as_text()
    assert "nobody can write it as gateway's, for that writer was revoked" in found.as_text()
    assert "parked discard" in found.as_text()


def test_each_entry_between_is_told_with_its_time(base, heartbeat, thief, journal, clock):
    """What a stray says of its own time is said to be no more than that; what is gone has none."""
    fence = base.fence()
    clock.step(60_000_000)
    entry = heartbeat.append({"n": 1})
    stray = thief.insert_copy(created_us=entry.created_us + 60_000_000)
    verdict = fence.check(raise_=False)

    for text in (verdict.explain(), why(journal, verdict.id).as_text()):
        lines = text.splitlines()
        (honest,) = (line for line in lines if f"  seq {entry.seq}, " in line)
        (forged,) = (line for line in lines if f"* seq {stray}, " in line)
        assert honest.endswith(f"; at {when(entry.created_us)}")
        assert forged.endswith(f"; it says at {when(entry.created_us + 60_000_000)}")


@pytest.mark.parametrize(
    "body, words",
    [
        (b'{"control":"resolution","verdict":"reject","seqs":[4,5],"actor":"bob"}',
         "control: resolution, verdict reject, seqs 4, 5, actor bob"),
        (b'{"control":"stray","rows":[{"sort":"stray","ranges":[[4,4],[6,9]],"count":5}]}',
         "control: stray, rows stray at seq 4, 6-9"),
        (b'{"control":"layout","no":2,"lost":[[3,3],[5,6]],"reason":"x"}',
         "control: layout, reason x, lost 3, 5-6, no 2"),
        (b'{"control":"claim","token":3,"supersedes":null}', "control: claim 3"),
        (b'{"control":"claim","token":3,"process":{"pid":7,"host":"vm"},"reason":"x"}',
         "control: claim 3, goes with pid 7, reason x"),
        (b'{"control":"claim","token":3,"process":[7]}', "control: claim 3"),
        (b'{"type":"message"}', '{"type":"message"}'),
        (b"[1]", "[1]"),
        (b'{"control":"x","seqs":' + b"[" * 1900 + b"]" * 1900 + b"}", '{"control":"x","seqs":' + "[" * 78 + "…"),
        (b"\xff", "\\xff"),
        (b"", ""),
    ],
)  # fmt: skip
def test_a_fact_is_told_in_words(body, words):
    """Never as a program would print it; a forged one as it stands."""
    assert fact_words(body) == words


def test_no_value_is_told_as_python_prints_it(base, thief, journal):
    fence = base.fence()
    thief.insert_copy(kind="control", body=b'{"type":"message"}')
    base.append(REPLY)
    verdict = fence.check(raise_=False)

    text = why(journal, verdict.id).as_text()

    assert "None" not in text
    assert "{'" not in text
    assert "stray at seq" in text


def test_a_fence_is_explained_by_its_newest_verdict(base, thief, journal):
    fence = base.fence()
    fence_id = fence.stored()
    with pytest.raises(NotFoundError) as caught:
        why(journal, fence_id)
    check_command(caught.value.hint or "")
    thief.insert_copy()
    verdict = fence.check(raise_=False)

    assert why(journal, fence_id).what == why(journal, verdict.id).what


def test_the_error_names_what_can_be_asked(base, thief, journal):
    fence = base.fence()
    thief.insert_copy()
    with pytest.raises(SessionTakeover) as caught:
        fence.append(REPLY)

    assert caught.value.hint == f"journal why {caught.value.why}"
    assert why(journal, caught.value.why).classes == ("takeover by database",)


def test_what_was_done_since_is_told(base, thief, journal):
    """Resolved, applied: the explanation says so, and offers it no more."""
    fence = base.fence()
    stray = thief.insert_copy()
    with pytest.raises(SessionTakeover) as caught:
        fence.append(REPLY)
    alice = journal.session(base.key, writer="alice", role="operator")
    alice.resolve([stray], accept=False, reason="x")
    caught.value.parked.apply()

    text = why(journal, caught.value.why).as_text()

    assert "rejected since" in text
    assert "applied later" in text
    assert "journal resolve" not in text
    assert "parked apply" not in text


def test_how_often_counts_the_same_trouble_of_a_day_and_a_week(base, thief, journal, clock):
    ids = []
    for step in (0, DAY_US + 1, 2 * DAY_US):
        clock.step(step)
        fence = base.fence()
        thief.insert_copy()
        ids.append(fence.check(raise_=False).id)
    turn = base.claim()
    base.claim(supersede="x")
    with pytest.raises(Superseded):
        turn.append(REPLY)

    lately = why(journal, ids[-1]).lately

    assert (lately["day"], lately["week"]) == (1, 3)
    clock.step(7 * DAY_US + 1)
    assert (why(journal, ids[0]).lately["day"], why(journal, ids[0]).lately["week"]) == (0, 0)


def test_the_holders_liveness_is_that_of_the_moment(tmp_path):
    """Kept with the verdict: later its process may be gone, or its number another's."""
    stage = Stage(tmp_path)
    try:
        incidents.hold(stage)
        verdict_id = stage.caught(lambda: stage.gateway.append(REPLY))
        stage.gateway.claim()
        found = why(stage.journal, verdict_id)
    finally:
        stage.close()

    assert found.holder is not None
    assert found.holder["liveness"] == "dead"
    assert "claim take" not in " ".join(act.command for act in found.acts)  # it has ended since


def test_nothing_in_it_can_steer_a_terminal(base, thief, journal):
    fence = base.fence()
    thief.insert_copy(body="\x1b]52;c;cm0=\x07\u202e{}".encode())
    verdict = fence.check(raise_=False)

    for text in (verdict.explain(), why(journal, verdict.id).as_text()):
        assert not {char for char in text if is_unsafe(char) and char != "\n"}
        assert "\\x1b]52" in text


def test_many_entries_between_are_told_by_their_ends(base, heartbeat, thief, journal):
    """The cause is always among them, and what is left out is counted."""
    fence = base.fence()
    heartbeat.extend({"n": number} for number in range(30))
    stray = thief.insert_copy()
    heartbeat.extend({"n": number} for number in range(1500))
    verdict = fence.check(raise_=False)

    found = why(journal, verdict.id)
    text = found.as_text()

    assert f"* seq {stray}" in text
    assert len(text.splitlines()) < 130
    assert len(found.between) + found.left_out >= 1530
    assert "more; --json tells them" in text


def test_a_cause_in_the_midst_of_many_is_counted_once(base, heartbeat, thief, journal):
    """It is told though its neighbours are left out, and so is no part of those."""
    fence = base.fence()
    heartbeat.extend({"n": number} for number in range(700))
    stray = thief.insert_copy()
    heartbeat.extend({"n": number} for number in range(700))
    verdict = fence.check(raise_=False)

    found = why(journal, verdict.id)

    assert [row.seq for row in found.between if row.cause] == [stray]
    assert len(found.between) + found.left_out == verdict.head_seq - verdict.fence.seq


def test_more_than_the_evidence_holds_is_counted_whole(base, thief, journal, tmp_path):
    """By sort, and whichever sort came last: an explanation of the first hundred would be of another takeover."""
    fence = base.fence()
    journal.mirrors.add(base.key, tmp_path / "s.jsonl")
    with (tmp_path / "s.jsonl").open("ab") as file:
        file.writelines(b'{"from":"outside"}\n' for _ in range(120))
    first = fence.check(raise_=False)
    thief.insert_many(range(1000, 1030))
    verdict = fence.check(raise_=False)

    found = why(journal, verdict.id)

    assert len(first.foreign) in (120, 121)
    assert found.classes[:2] == ("takeover by database", "takeover by file")
    assert (
        "30 entries (seq 1000, 1001, 1002, 1003, 1004, …) were put into the database"
        in found.what[0]
    )
    assert "120 entries (seq " in found.what[0]
    assert (
        found.what[0].partition("taken over: ")[2]
        == verdict.explanation().what[0].partition("taken over: ")[2]
    )
    assert "The first 100 are told below." in found.what


def test_a_turn_superseded_long_ago_still_shows_by_whom(base, heartbeat, journal):
    """However much was written since: the claim that ended it is told."""
    turn = base.claim()
    heartbeat.extend({"n": number} for number in range(700))
    successor = base.claim(supersede="a new message")
    heartbeat.extend({"n": number} for number in range(700))
    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)

    causes = [row for row in why(journal, caught.value.why).between if row.cause]

    assert [row.epoch for row in causes] == [successor.token]


@pytest.mark.parametrize(
    "wanted, error",
    [
        ("v000000000000", NotFoundError),
        ("p000000000000", NotFoundError),
        ("f000000000000", NotFoundError),
        ("", EntryError),
        (None, EntryError),
        ("x", NotFoundError),
        (7, EntryError),
        ("v\x00", NotFoundError),
        *((f"{kind}\udcff", NotFoundError) for kind in "vpf"),
    ],
)
def test_what_is_not_there_is_not_explained(journal, wanted, error):
    with pytest.raises(error) as caught:
        why(journal, wanted)
    assert caught.value.hint


@pytest.mark.parametrize("table", ["verdicts", "parked"])
def test_what_was_changed_since_is_not_believed(base, thief, journal, table):
    turn = base.claim()
    base.claim(supersede="x")
    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)
    thief.execute(f"UPDATE {table} SET writer_id = 1")

    with pytest.raises(RefusedError) as refused:
        why(journal, caught.value.parked)

    assert refused.value.code in ("verdict-altered", "parked-altered")
    assert refused.value.exit_code == 11
    assert refused.value.hint


@pytest.mark.parametrize("seqs", ["5", '[["x",1]]', "[7]"])
def test_a_forged_record_of_an_edit_is_a_row_of_the_database(base, journal, thief, tmp_path, seqs):
    """Whatever it says: it ends no check, and no file is named as where it came from."""
    path = tmp_path / "s.jsonl"
    journal.mirrors.add(base.key, path)
    number = thief.ask("SELECT id FROM writers WHERE role = 'external'")
    fence = base.fence()
    body = f'{{"control":"edit","what":"lost","seqs":{seqs}}}'.encode()
    thief.insert_copy(kind="control", writer_id=number, trusted=0, body=body, line_type="edit")

    verdict = fence.check(raise_=False)
    found = why(journal, verdict.id)

    assert found.classes == ("takeover by database",)
    assert str(path) not in "".join(verdict.origins)


@pytest.mark.parametrize(
    "body", [b'{"control":"layout","lost":[1]}', b'{"control":"edit","what":"gone"}']
)
def test_what_a_record_of_an_edit_says_since_it_was_altered_is_not_told_for_true(
    base, journal, thief, tmp_path, body
):
    path = tmp_path / "s.jsonl"
    base.extend([{"n": 1}, {"n": 2}])
    journal.mirrors.add(base.key, path)
    fence = base.fence()
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    verdict = fence.check(raise_=False)
    (edit,) = (entry.seq for entry in verdict.foreign)
    thief.edit("body", edit, body)

    told = why(journal, verdict.id).as_text()

    assert "The session's file was removed" not in told
    assert f"* seq {edit}" in told


def test_an_explanation_holds_the_beginnings_of_lines_alone(base, heartbeat, thief, journal):
    """A thousand entries are told of, and each may have 8 MiB."""
    fence = base.fence()
    for _ in range(40):
        heartbeat.append({"text": "x" * 1_000_000})
    thief.insert_copy(body=b"stolen")
    verdict = fence.check(raise_=False)

    tracemalloc.start()
    try:
        found = why(journal, verdict.id)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(found.between) == 41
    assert all(len(row.body) <= 400 for row in found.between)
    assert most < 20_000_000

"""Redaction on the command line: what is shown first is what would be done."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from journal import ledger, mirrors
from journal.process import this_process
from tests.cli.test_commands import document, rows
from tests.thieves import Thief

WHY = ("--reason", "it's a password", "-w", "alice", "--role", "operator")


@pytest.mark.parametrize("applied", [(), ("--apply",)], ids=["shown", "applied"])
def test_what_is_not_there_is_refused(run, session, applied):
    """Exit 10 with a hint that works, whether it is to be done or only shown."""
    done = run("redact", session, "2", "99", *WHY, *applied)

    assert (done.exit_code, done.stdout) == (10, "")
    assert f"entry 99 of {session!r} is not there" in done.stderr
    assert done.stderr.splitlines()[-1] == f"Try: journal log {session}  # lists what is"
    assert "heartbeat" in run("log", session).stdout


@pytest.mark.parametrize("applied", [(), ("--apply",)], ids=["shown", "applied"])
def test_what_was_altered_is_refused_as_such(run, session, applied):
    """The audit shows in what it differs, and that is where the hint leads."""
    thief = Thief("journal.db", session)
    with thief.without_triggers():
        thief.execute("UPDATE entries SET body = x'7b7d' WHERE session_id = 2 AND seq = 2")
    thief.close()

    done = run("redact", session, "2", *WHY, *applied)

    assert done.exit_code == 10
    assert "is not as it was sealed" in done.stderr
    assert "Try: journal audit" in done.stderr


@pytest.mark.parametrize("applied", [(), ("--apply",)], ids=["shown", "applied"])
def test_too_many_at_once_are_refused(run, session, applied):
    done = run("redact", session, *range(1, 1002), *WHY, *applied)

    assert (done.exit_code, done.stdout) == (2, "")
    assert "1001 entries cannot be redacted at once" in done.stderr


@pytest.mark.parametrize("applied", [(), ("--apply",)], ids=["shown", "applied"])
@pytest.mark.parametrize("what", [("redact", "2"), ("forget",)], ids=lambda what: what[0])
def test_what_is_served_elsewhere_is_refused(run, session, monkeypatch, what, applied):
    """Whoever serves the file has the lines too, so it is done there."""
    name, *seqs = what
    run("mirror", "add", session, "s.jsonl")
    here = this_process()
    for module in (mirrors, ledger):
        monkeypatch.setattr(module, "this_process", lambda: replace(here, host="elsewhere"))

    done = run(name, session, *seqs, *WHY, *applied)

    assert (done.exit_code, done.stdout) == (1, "")
    assert f"served on the host {here.host}, not on this one" in done.stderr


@pytest.mark.parametrize("what", [("redact", "2"), ("forget",)], ids=lambda what: what[0])
def test_the_hint_does_what_was_shown(run, session, what):
    """Pasted as it stands, with its reason and its writer."""
    name, *seqs = what
    shown = run("-d", "journal.db", name, session, *seqs, *WHY)
    assert shown.exit_code == 0
    command = shown.stderr.strip().rpartition("Try: ")[2]
    assert "…" not in command

    done = run(*shlex.split(command)[1:], "--json")

    assert (done.exit_code, document(done)["applied"]) == (0, True)


@pytest.mark.parametrize("what", [("redact", "1"), ("forget",)], ids=lambda what: what[0])
def test_the_hint_works_for_any_key(run, what):
    """One that begins with a dash would be taken for an option."""
    name, *seqs = what
    run("init")
    run("append", "-w", "heartbeat", "--role", "heartbeat", "--", "-k s", "a line")
    command = run(name, *WHY, "--", "-k s", *seqs).stderr.strip().rpartition("Try: ")[2]

    done = run(*shlex.split(command)[1:])

    assert (done.exit_code, "done" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("what", [("redact", "2"), ("forget",)], ids=lambda what: what[0])
def test_what_has_no_reason_is_not_even_shown(run, session, what):
    """The command that it would name could not be done."""
    name, *seqs = what
    done = run(name, session, *seqs, "--reason", " ", "-w", "alice", "--role", "operator")
    assert done.exit_code == 2, done.stderr
    assert "the reason is empty" in done.stderr


def test_what_was_erased_before_is_said(run, session):
    """It is no error to name it again, and it is not shown as still to be done."""
    assert run("redact", session, "2", *WHY, "--apply").exit_code == 0

    shown = run("redact", session, "1", "2", *WHY)

    assert shown.exit_code == 0
    assert len(rows(shown)) == 1
    assert "Erased before: 2" in shown.stderr
    assert document(run("redact", session, "1", "2", *WHY, "--json"))["erased_before"] == [2]


def test_who_marks_what_was_redacted(run, session):
    assert run("redact", session, "2", *WHY, "--apply").exit_code == 0
    kinds = {
        line.split("\t")[0]: line.split("\t")[8] for line in run("who", session).stdout.splitlines()
    }
    assert kinds["2"].endswith(" (redacted)")
    assert not kinds["1"].endswith(" (redacted)")


def test_a_forgotten_session_with_something_to_settle_exits_3_and_says_what(run, session):
    assert run("submit", session, "hello", "-w", "tg", "--role", "channel").exit_code == 0
    done = run("-d", "journal.db", "forget", session, *WHY, "--apply")
    assert done.exit_code == 3
    command = done.stderr.strip().rpartition("Try: ")[2]
    assert "hello" in run(*shlex.split(command)[1:]).stdout


def test_a_forgotten_session_with_a_row_that_nobody_sealed_exits_3_and_says_so(run, session, steal):
    seq = steal()
    done = run("forget", session, *WHY, "--apply")
    assert done.exit_code == 3
    assert f"row\tkept\t{session}, seq {seq}: not as it was sealed" in done.stdout
    assert f"Try: journal audit {session}" in done.stderr


SAME = '{"type":"custom","customType":"heartbeat"}'


def test_a_parked_write_that_was_erased_is_told_as_such(run, session):
    """In the list and by itself; it would look like a write of nothing."""
    claimed = run("claim", "take", session, "-w", "bob", "--role", "run")
    assert claimed.exit_code == 0
    assert run("append", session, "-w", "gateway", SAME).exit_code == 11
    assert rows(run("parked", "list"))[0][-1] == "parked"
    assert run("claim", "release", session, claimed.stdout.strip(), "-w", "bob").exit_code == 0

    assert run("redact", session, "2", *WHY, "--apply").exit_code == 0

    (row,) = rows(run("parked", "list"))
    assert row[-1] == "parked, erased"
    assert "erased " in run("parked", "show", row[0]).stdout


def test_who_decides_is_an_operator_where_nobody_says_a_name(run, session, steal):
    """The name is declared when it is first needed, and is then like any other."""
    foreign = str(steal())
    assert run("resolve", session, foreign, "--accept", "--json").exit_code == 0
    assert run("redact", session, "2", "--reason", "a password", "--apply").exit_code == 0
    assert run("forget", session, "--apply").exit_code == 3  # the stray's own row is kept

    assert ["operator", "operator"] in [line[:2] for line in rows(run("writers", "list"))]
    assert run("audit").exit_code == 0


def test_the_operators_name_may_be_anothers(run, session):
    """It is not made an operator then, and what it may not do is refused as ever."""
    run("writers", "add", "operator", "--role", "run")
    run("writers", "revoke", "operator", "--reason", "lost")

    done = run("redact", session, "2", "--reason", "a password", "--apply")

    assert done.exit_code != 0
    assert "operator" in done.stderr
    assert "Done." in run("log", session).stdout

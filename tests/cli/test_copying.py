"""``journal copy``, as somebody at a shell has it."""

from __future__ import annotations

import json

from journal.cli import progress
from journal.copying import running
from tests.thieves import KEY, Thief


def test_a_journal_is_copied_told_and_compared(run, session, home):
    done = run("copy", "journal.db", "copy.db")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert f"from {home}/journal.db to {home}/copy.db." in done.stderr
    assert "Audit of the copy: ok, not anchored." in done.stderr
    assert "write to one of them from now on" in done.stderr

    again = run("copy", "journal.db", "copy.db")
    assert again.exit_code == 0
    assert again.stderr.startswith("Was copied before, and is equal: ")


def test_json_has_all_of_it(run, session, home):
    document = json.loads(run("copy", "journal.db", "copy.db", "--json").stdout)
    assert document.pop("schema") == "journal.copy/1"
    assert document.pop("journal_id")
    assert document == {
        "source": f"{home}/journal.db",
        "target": f"{home}/copy.db",
        "entries": 8,
        "bytes": document["bytes"],
        "was_begun": False,
        "was_there": False,
        "mended": 0,
        "escaped": [],
        "escaped_count": 0,
        "mirrors": [],
        "later": {"entries": 0, "sessions": 0},
        "verdict_before": "ok, not anchored",
        "verdict": "ok, not anchored",
        "differences": [],
        "findings": [],
    }


def test_a_copy_of_what_is_broken_exits_3_and_says_what(run, session, home):
    thief = Thief(home / "journal.db")
    thief.edit("body", 2, b"changed")
    thief.close()
    done = run("copy", "journal.db", "copy.db")
    assert done.exit_code == 3
    assert "Audit of the copy: broken." in done.stderr
    assert "J303" in done.stderr
    assert f"Try: journal -d {home}/copy.db audit" in done.stderr


def test_what_is_half_made_leads_to_the_command_that_ends_it(run, session, home, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "settle", stop)
        assert run("copy", "journal.db", "copy.db").exit_code == 130
    for command in (["status"], ["sessions"], ["audit"], ["append", KEY, "-w", "gateway", "{}"]):
        done = run("-d", "copy.db", *command)
        assert done.exit_code == 12, command
        assert f"Try: journal copy {home}/journal.db {home}/copy.db" in done.stderr

    done = run("copy", f"{home}/journal.db", f"{home}/copy.db")  # as it says
    assert done.exit_code == 0
    assert "An earlier run had begun it; 0 entries were changed" in done.stderr
    assert run("-d", "copy.db", "status").exit_code == 0


def test_refusals_have_codes(run, session, home):
    (home / "text").write_text("mine")
    for target, code, exit_code in (
        ("journal.db", "own-file", 1),
        ("text", "not-a-database", 1),
        ("no/copy.db", "not-found", 10),
    ):
        done = run("copy", "journal.db", target, "--json")
        assert (json.loads(done.stdout)["code"], done.exit_code) == (code, exit_code)
    done = run("copy", "none.db", "copy.db", "--json")
    assert (json.loads(done.stdout)["code"], done.exit_code) == ("no-journal", 10)


def test_a_hint_names_what_is_to_be_named(run, session, home):
    (home / "text").write_text("mine")
    for words, told in (
        (("journal.db", "text"), "Try: name another DST"),
        (("text", "copy.db"), "Try: name another SRC"),
        (("none.db", "copy.db"), "Try: name another SRC"),
        (("journal.db", "."), "Try: name a file in it: "),
    ):
        done = run("copy", *words)
        assert told in done.stderr
        assert "--db" not in done.stderr


def test_a_journal_by_an_option_is_refused_and_not_left_out(run, session):
    done = run("-d", "journal.db", "copy", "journal.db", "copy.db")
    assert (done.exit_code, "leave --db out" in done.stderr) == (2, True)


def test_a_finished_copy_catches_up_when_asked(run, session):
    run("copy", "journal.db", "copy.db")
    run("append", session, "-w", "gateway", '{"n":1}')
    done = run("copy", "journal.db", "copy.db")
    assert done.exit_code == 1
    assert "1 entry in 1 session only in" in done.stderr
    assert "--catch-up" in done.stderr
    done = run("copy", "journal.db", "copy.db", "--catch-up")
    assert done.exit_code == 0
    assert done.stderr.startswith("Caught up by ")


def test_mirrors_are_named(run, session, home):
    assert run("mirror", "add", session, "session.jsonl").exit_code == 0
    done = run("copy", "journal.db", "copy.db")
    assert done.exit_code == 0, done.stderr
    assert "served from" in done.stderr
    assert f"{home}/session.jsonl" in done.stderr


def test_without_a_terminal_it_says_how_far_it_is(run, session, monkeypatch):
    monkeypatch.setattr(progress, "_SAY_EVERY_S", 0.0)
    done = run("copy", "journal.db", "copy.db")
    assert "Copying: " in done.stderr
    assert "Comparing: " in done.stderr
    assert "/s" in done.stderr


def test_rows_without_a_line_are_no_reason_to_end(capsys, monkeypatch):
    """As of a session that was forgotten: they have no bytes by which a rate could be told."""
    monkeypatch.setattr(progress, "_SAY_EVERY_S", 0.0)
    with progress.progress(10, "Copying") as told:
        told("", 0)
        told("", 5)
    assert [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "Copying: 5 B of 10 B"
    ]

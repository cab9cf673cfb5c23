"""``journal doctor``: what it prints, and the exit code to script against."""

from __future__ import annotations

import json

import pytest

from tests.thieves import Thief


@pytest.mark.usefixtures("session")
def test_a_healthy_journal_is_exit_0(run):
    """Each fact on a line: its state, its name, its words."""
    done = run("doctor")

    assert done.exit_code == 0
    assert "problem" not in done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("ok       key ")]


def test_no_journal_is_exit_3_with_the_way_to_make_one(run, home):
    """The machine's facts are told all the same, and nothing is made."""
    done = run("-d", "other.db", "doctor")

    assert done.exit_code == 3
    assert "Try: journal -d other.db init" in done.stdout
    assert "file system" in done.stdout
    assert list(home.iterdir()) == []


def test_a_warning_alone_is_exit_0(run, home, session):
    """A script that stops at problems goes on."""
    (home / "journal.db").chmod(0o666)

    done = run("doctor")

    assert done.exit_code == 0
    assert "warning  file " in done.stdout
    assert "Try: chmod go-w" in done.stdout


def test_the_document_has_the_steps_with_the_journals_name(run, session):
    """A copied step works on the journal that was looked at."""
    thief = Thief("journal.db")
    thief.execute("PRAGMA user_version = 0")
    thief.close()

    done = run("-d", "journal.db", "doctor", "--json")

    told = json.loads(done.stdout)
    assert done.exit_code == 3
    assert (told["schema"], told["state"]) == ("journal.doctor/1", "problem")
    (schema,) = [fact for fact in told["facts"] if fact["name"] == "schema"]
    assert schema["next_step"] == "journal -d journal.db upgrade --apply"


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\x1b]52;c;cm0gLXJm\x07" * 300])
def test_whatever_stands_there_is_no_traceback(run, home, content):
    """Exit 3, in words."""
    (home / "journal.db").write_bytes(content)

    done = run("doctor")

    assert done.exit_code == 3
    assert "Traceback" not in done.stdout + done.stderr
    assert "bug" not in done.stderr

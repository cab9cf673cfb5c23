"""What a migrated session is called beside its key, wherever a command writes."""

from __future__ import annotations

import pytest

from tests.cli.test_commands import document, rows
from tests.cli.test_files import DEMO_STORE
from tests.thieves import Thief

ALIAS = "agent:main:main"
WHO = ("-w", "gateway", "--role", "run")


@pytest.fixture
def migrated(run):
    """Migrate the demo's store; give the key of the session that its index calls by the alias."""
    assert run("migrate", DEMO_STORE, "--apply").exit_code == 0
    return document(run("log", ALIAS, "--json"))["session"]


@pytest.mark.parametrize(
    "args",
    [
        ("append", ALIAS, '{"n":1}', *WHO),
        ("fence", "raise", ALIAS, *WHO),
        ("claim", "take", ALIAS, *WHO),
        ("submit", ALIAS, '{"n":1}', *WHO),
    ],
    ids=lambda args: args[0],
)
def test_a_name_leads_who_writes_to_the_session_it_is_read_by(run, migrated, args):
    """No new session hides the old one; which session it is, is said."""
    before = document(run("sessions", "--json"))["sessions"]

    done = run(*args, "--json")

    assert done.exit_code == 0, done.stderr
    assert f"{ALIAS!r} is a name of the session {migrated!r}." in done.stderr
    assert document(done)["session"] == migrated
    after = document(run("sessions", "--json"))["sessions"]
    assert [each["key"] for each in after] == [each["key"] for each in before]


def test_the_list_shows_what_else_a_session_is_called(run, migrated):
    """Keys of an index and names of files, as a column and in JSON."""
    told = {
        each["key"]: each["aliases"] for each in document(run("sessions", "--json"))["sessions"]
    }

    assert told[migrated] == [ALIAS, f"{migrated}.jsonl"]
    shown = {row[0]: row[-1] for row in rows(run("sessions"))}
    assert shown[migrated] == f"{ALIAS}, {migrated}.jsonl"


def test_a_name_that_nobody_sealed_is_refused_to_who_writes(run, migrated):
    """Plain SQL can neither lead a write astray nor have a new session hide the old one unsaid."""
    thief = Thief("journal.db", migrated)
    thief.execute("UPDATE migrated_files SET alias = 'agent:main:new' WHERE alias = ?", ALIAS)
    thief.close()

    done = run("append", "agent:main:new", '{"n":1}', *WHO)

    assert done.exit_code == 10
    assert f"Try: write to {migrated}" in done.stderr

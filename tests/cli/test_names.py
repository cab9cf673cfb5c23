"""What a migrated session is called beside its key, wherever a command writes."""

from __future__ import annotations

import json

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

    reads = [("log",), ("redact", "1", "--reason", "r", *WHO), ("mirror", "add", "x.jsonl")]
    for first, *rest in [*reads, ("mirror", "remove"), ("append", '{"n":1}', *WHO)]:
        words = [first, rest.pop(0)] if first == "mirror" else [first]
        done = run(*words, "agent:main:new", *rest)

        assert done.exit_code == 10, words
        assert f"Try: name {migrated} itself" in done.stderr


def test_plain_sql_lends_a_mirror_to_no_other_session(run, migrated):
    """`mirror add NAME` serves the session that the sealed name is of, and `remove` ends that."""
    thief = Thief("journal.db", migrated)
    thief.execute("UPDATE migrated_files SET name = 'x', alias = 'x' WHERE alias = ?", ALIAS)
    other = "(SELECT id FROM migrated_files WHERE alias IS NULL LIMIT 1)"
    thief.execute(f"UPDATE migrated_files SET alias = ? WHERE id = {other}", ALIAS)
    thief.close()

    added = document(run("mirror", "add", ALIAS, "kept.jsonl", "--json"))["mirrors"]

    assert [each["session"] for each in added] == [migrated]
    assert run("mirror", "remove", ALIAS).exit_code == 0
    assert document(run("mirror", "list", "--json"))["mirrors"] == []


def test_after_a_reset_an_alias_is_the_new_sessions_for_every_command(run, tmp_path):
    """As the index says after a second migrate; nothing has to be named by its own key."""
    directory = tmp_path / "agents" / "main" / "sessions"
    directory.mkdir(parents=True)
    for key in ("a" * 8, "b" * 8):
        for old in directory.glob("*.jsonl"):
            old.rename(f"{old}.reset.2026-01-01T00-00-00.000Z")
        header = (
            '{"type":"session","version":3,"id":"%s","timestamp":"2026-01-01T00:00:00Z","cwd":"/"}'
        )
        (directory / f"{key}.jsonl").write_text(f"{header % key}\n")
        (directory / "sessions.json").write_text(f'{{"{ALIAS}":{{"sessionId":"{key}"}}}}')
        assert run("migrate", tmp_path, "--apply").exit_code == 0

        assert document(run("log", ALIAS, "--json"))["session"] == key
        assert document(run("append", ALIAS, '{"n":1}', *WHO, "--json"))["session"] == key


def test_an_audit_and_a_bundle_take_the_names_too(run, migrated):
    """Those of an index and of a file; one that several have, or none, is refused as anywhere."""
    for name in (ALIAS, f"{migrated}.jsonl", migrated):
        heads = json.loads(run("audit", name, "--json").stdout)["heads"]
        assert [each["session"] for each in heads] == ["journal:", migrated]
    assert run("export", "--bundle", "b.zip", ALIAS).exit_code == 0
    refused = run("audit", "agent:main:mian", "--json")
    assert (refused.exit_code, document(refused)["code"]) == (10, "no-session")


def test_an_audit_of_a_name_that_several_have_names_them(run, tmp_path):
    """As any other command does."""
    for key in ("one", "two"):
        directory = tmp_path / key / "main" / "sessions"
        directory.mkdir(parents=True)
        header = (
            '{"type":"session","version":3,"id":"%s","timestamp":"2026-01-01T00:00:00Z","cwd":"/"}'
        )
        (directory / f"{key}.jsonl").write_text(f"{header % key}\n")
        (directory / "sessions.json").write_text(f'{{"{ALIAS}":{{"sessionId":"{key}"}}}}')
        assert run("migrate", tmp_path / key, "--apply").exit_code == 0

    for words in (("log",), ("audit",)):
        refused = run(*words, ALIAS, "--json")
        assert (refused.exit_code, document(refused)["code"]) == (10, "ambiguous")

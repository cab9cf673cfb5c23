"""``journal anchor``, ``backup``, ``restore`` and ``key``, as somebody at a shell has them."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.thieves import KEY


def told(outcome):
    assert outcome.exit_code in (0, 3), outcome.stderr
    return json.loads(outcome.stdout)


def test_an_anchor_makes_the_audit_ok(run, session):
    assert run("audit", "--strict").exit_code == 3
    assert run("anchor", "-o", "heads.anchor").exit_code == 0
    outcome = run("audit", "--anchor", "heads.anchor", "--strict")
    assert outcome.exit_code == 0
    assert "verdict: ok\n" in outcome.stdout


def test_an_anchor_on_stdout_is_the_note_and_nothing_else(run, session):
    outcome = run("anchor")
    assert outcome.stdout.startswith("session-journal/anchor/1\n")
    document = told(run("anchor", "--json"))
    assert document["schema"] == "journal.anchor/1"
    assert document["verifier"] in outcome.stderr
    assert [head["session"] for head in document["heads"]] == ["journal:", KEY]


def test_what_is_no_anchor_is_named(run, session, home):
    (home / "x").write_text("no")
    outcome = run("audit", "--anchor", "x")
    assert outcome.exit_code == 2
    assert "no anchor" in outcome.stderr


def test_a_backup_is_audited_and_restored(run, session, home):
    assert told(run("backup", "copy.db", "--json"))["verdict"] == "ok, not anchored"
    assert run("backup", "copy.db").exit_code == 1
    assert run("append", session, "-w", "gateway", '{"n":1}').exit_code == 0
    plan = told(run("restore", "copy.db", "--json"))
    assert (plan["applied"], plan["lost"]) == (
        False,
        [{"session": KEY, "first_seq": 4, "last_seq": 4}],
    )
    outcome = run("restore", "copy.db", "--apply")
    assert outcome.exit_code == 0
    assert "seq 4 is not in the backup" in outcome.stderr
    assert len(told(run("log", session, "--json"))["entries"]) == 3
    (kept,) = home.glob("journal.db.before-restore-????????")
    assert len(told(run("-d", kept, "log", session, "--json"))["entries"]) == 4


def test_a_key_goes_to_another_machine(run, session, home, monkeypatch, key_file):
    shown = told(run("key", "--json"))
    assert shown["key"] == str(key_file)
    assert shown["fingerprint"]
    assert run("key", "export", "moved.key").exit_code == 0
    assert (home / "moved.key").stat().st_mode & 0o777 == 0o600
    assert run("key", "export", "moved.key").exit_code == 1
    monkeypatch.delenv("JOURNAL_KEY_FILE")
    assert run("log", session).exit_code == 1  # as on the other machine
    imported = told(run("key", "import", "moved.key", "--json"))
    assert imported["added"] == 1
    assert imported["fingerprint"] == shown["fingerprint"]
    assert run("log", session).exit_code == 0
    again = run("key", "import", "moved.key")
    assert again.exit_code == 0
    assert again.stderr.startswith("Nothing to do: ")
    assert Path(imported["key"]).is_relative_to(home.parent)
    Path(imported["key"]).unlink()
    assert run("key", "import", "moved.key").stderr.endswith("has 1 secret that it had not.\n")
    assert "was a rotation" in run("key", "adopt", "--without-key").stderr
    assert "was a rotation" not in run("key", "adopt").stderr


def test_another_journals_key_is_not_let_in(run, session, home, monkeypatch):
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(home / "other.key"))
    assert run("-d", "other.db", "init").exit_code == 0
    monkeypatch.delenv("JOURNAL_KEY_FILE")
    outcome = run("key", "import", "other.key")
    assert outcome.exit_code == 1
    assert "not the key of" in outcome.stderr
    missing = run("key", "import", "none.key")
    assert missing.exit_code == 1
    assert "journal key export FILE" in missing.stderr


def test_a_key_is_not_exported_over_itself(run, session, key_file):
    """The file may have other journals' secrets, and the copy would have this one's alone."""
    before = key_file.read_bytes() + b"cd" * 32 + b" " + b"0" * 32 + b" 2\n"
    key_file.write_bytes(before)

    outcome = run("key", "export", key_file, "--force")

    assert (outcome.exit_code, "is the key file itself" in outcome.stderr) == (1, True)
    assert key_file.read_bytes() == before


def test_another_file_is_named_as_no_key_and_its_mode_is_left_alone(run, session, home):
    (home / "letter.txt").write_text("dear all\n")
    (home / "letter.txt").chmod(0o644)
    outcome = run("key", "import", "letter.txt")
    assert outcome.exit_code == 1
    assert "chmod" not in outcome.stderr


def test_a_migration_is_verified_listed_shown_and_exported_whole(run, home):
    (home / "store").mkdir()
    (home / "store" / "a.jsonl").write_text('{"n":1}\n')
    assert run("migrate", "store", "--verify").exit_code == 10  # there is no journal yet
    assert run("init").exit_code == 0
    assert run("migrate", "store", "--verify").exit_code == 3
    outcome = run("migrate", "store", "--apply", "--verify")
    assert outcome.exit_code == 0
    assert "byte for byte" in outcome.stderr
    assert told(run("migrate", "store", "--verify", "--json"))["holds"] is True
    (listed,) = told(run("migrate", "list", "--json"))["runs"]
    shown = told(run("migrate", "show", listed["number"], "--json"))
    assert [each["name"] for each in shown["files"]] == ["a.jsonl"]
    assert run("migrate", "show", 9).exit_code == 10
    assert run("migrate", "store", "--mirror").exit_code == 2
    assert run("migrate", "store", "--apply", "--mirror").exit_code == 0
    assert run("append", "a", "-w", "g", "--role", "run", '{"n":2}').exit_code == 0
    assert (home / "store" / "a.jsonl").read_text() == '{"n":1}\n{"n":2}\n'
    assert run("export", "--all", "out").exit_code == 0
    assert (home / "out" / "a.jsonl").read_text() == '{"n":1}\n{"n":2}\n'
    assert run("export", "--all", "out").exit_code == 1
    fast = run("export", "--all", "fast", "--unverified")
    assert (fast.exit_code, "nothing was verified" in fast.stderr) == (0, True)
    assert (home / "fast" / "a.jsonl").read_text() == '{"n":1}\n{"n":2}\n'
    assert run("export", "a", "--unverified").stdout == '{"n":1}\n{"n":2}\n'


def test_a_mirror_that_was_refused_is_said_beside_a_verification_that_holds(run, home):
    """Every byte is there, and the file is not kept alive: that is no 0, and no silence."""
    store = home / "store"
    store.mkdir()
    (store / "a.jsonl").write_text('{"n":1}\n')
    (home / "second-name").hardlink_to(store / "a.jsonl")

    outcome = run("migrate", store, "--apply", "--mirror", "--verify")
    assert outcome.exit_code == 3
    assert "byte for byte" in outcome.stderr
    assert f"Set aside: {store / 'a.jsonl'}: is no mirror: " in outcome.stderr

    outcome = run("migrate", store, "--apply", "--mirror", "--verify", "--json")
    assert outcome.exit_code == 3
    document = told(outcome)
    assert (document["holds"], [each["code"] for each in document["set_aside"]]) == (
        True,
        ["no-mirror"],
    )
    assert document["applied"]["counts"]["already"] == 1
    assert told(run("migrate", store, "--verify", "--json"))["applied"] is None


def test_a_verification_of_nothing_but_what_is_set_aside_could_not_be_done(run, home):
    (home / "bad.jsonl").symlink_to("good.jsonl")
    assert run("init").exit_code == 0
    assert run("migrate", home / "bad.jsonl", "--verify").exit_code == 1


def test_export_has_one_way_at_a_time(run, session):
    for wrong in (
        ("export",),
        ("export", session, "--all", "out"),
        ("export", "--all", "out", "--bundle", "b.zip"),
        ("export", "--unverified", "--bundle", "b.zip"),
        ("export", session, "--anchor", __file__),
    ):
        assert run(*wrong).exit_code == 2


def test_a_bundle_says_what_is_in_it(run, session):
    document = told(run("export", "--bundle", "b.zip", "--json"))
    assert document["sessions"] == 2  # the registry's chain is always in it
    assert document["entries"] > 3
    assert run("export", "--bundle", "b.zip").exit_code == 1


@pytest.mark.parametrize(
    "command", [("init",), ("status",), ("audit",), ("log", KEY)], ids=" ".join
)
def test_a_directory_is_no_journal(run, home, command):
    """It is called what it is, and the hint names a file that can be made."""
    outcome = run("-d", ".", *command)
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"Error: {home} is a directory\nTry: name a file in it: --db ")
    assert run(*outcome.stderr.split("in it: ")[1].split(), "init").exit_code == 0


@pytest.mark.parametrize(
    "command", [("init",), ("status",), ("audit",), ("log", KEY)], ids=" ".join
)
@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_what_cannot_be_opened_leads_to_a_backup(run, session, home, command, damage):
    """Not to the audit, which cannot open it either; done as it is said, the journal is back."""
    assert run("backup", "copy.db").exit_code == 0
    file = home / "journal.db"
    content = file.read_bytes()
    for end in ("-wal", "-shm"):
        (home / f"journal.db{end}").unlink(missing_ok=True)
    file.write_bytes(content[:5000] if damage == "cut" else b"\0" * 4096)

    outcome = run("-d", "journal.db", *command)

    assert outcome.exit_code == 1
    hint = outcome.stderr.strip().rpartition("\n")[2]
    *moves, restoring = hint[hint.index("mv ") :].split("; ")
    assert moves[0] == f"mv {file} {file}.damaged"
    for move in moves:
        subprocess.run(shlex.split(move), check=True)
    assert restoring == "journal -d journal.db restore BACKUP --apply"
    assert run(*restoring.replace("BACKUP", "copy.db").split()[1:]).exit_code == 0
    assert len(told(run("log", session, "--json"))["entries"]) == 3

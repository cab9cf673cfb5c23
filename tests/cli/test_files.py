"""Files in and out: migrate, export, and the audit of what became of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

import journal.migration
from journal.files import put_in_place
from tests.thieves import Thief

FIXTURES = Path(__file__).parent.parent / "fixtures"
DEMO_STORE = Path(journal.__file__).parent / "demo_store"


def document(done):
    """Give the one JSON document of a command."""
    return json.loads(done.stdout)


class TestMigrate:
    def test_a_plan_changes_nothing(self, run, home):
        """No journal is made; what would be done is listed, and how to do it."""
        done = run("migrate", DEMO_STORE)

        assert done.exit_code == 0
        assert list(home.iterdir()) == []
        assert len(done.stdout.splitlines()) == 4
        hint = f"journal migrate --apply -- {DEMO_STORE}"
        assert f"Nothing was changed. Try: {hint}" in done.stderr
        assert run(*hint.split()[1:]).exit_code == 0

    def test_applied_every_line_is_an_entry(self, run):
        """The journal is made where there is none; a second time there is nothing to do."""
        first = document(run("migrate", DEMO_STORE, "--apply", "--json"))
        again = document(run("migrate", DEMO_STORE, "--apply", "--json"))

        assert (first["schema"], first["applied"]) == ("journal.migrate/1", True)
        assert first["counts"]["new_entries"] == sum(each["lines"] for each in first["files"]) == 35
        assert again["counts"] == {"already": 4, "set_aside": 0, "new_entries": 0, "new_bytes": 0}
        assert "4 already" in run("migrate", DEMO_STORE, "--apply").stderr

    @pytest.mark.parametrize("applied", [(), ("--apply",)], ids=["shown", "applied"])
    def test_a_file_that_holds_no_session_is_said_to(self, run, home, applied):
        """Rather than "0 files" without a reason; one line is a line."""
        (home / "a.jsonl").write_bytes(b'{"type":"session","version":3,"id":"one"}\n')
        (home / "a.jsonl.lock").write_bytes(b"{}")

        alone = run("migrate", home / "a.jsonl.lock", *applied)
        beside = run("migrate", home, *applied)

        left = "Left: 1 file of the class 'lock', with no session's lines: "
        assert f"{left}{home / 'a.jsonl.lock'}." in alone.stderr.splitlines()
        assert left in beside.stderr
        assert applied or "1 file, 1 line, 42 B, would become 1 session." in beside.stderr

    def test_a_journal_that_is_made_is_said(self, run, home, key_file):
        """With its key and what to do with it, as init does; once."""
        first = run("migrate", DEMO_STORE, "--apply")
        again = run("migrate", DEMO_STORE, "--apply")

        made = f"Made a new journal, {home / 'journal.db'}; its key is {key_file}."
        assert made in first.stderr.splitlines()
        keep = "Keep a copy of its key: without it nothing can be written or verified."
        assert keep in first.stderr.splitlines()
        assert "Made" not in again.stderr

    def test_what_is_set_aside_is_said(self, run, home):
        """Exit 3, with the reason; the rest is done."""
        (home / "good.jsonl").write_bytes(b'{"a":1}\n')
        (home / "bad.jsonl").symlink_to("good.jsonl")

        done = run(
            "migrate", home / "good.jsonl", home / "bad.jsonl", home / "none.jsonl", "--apply"
        )

        assert done.exit_code == 3
        assert f"Set aside: {home / 'bad.jsonl'}: " in done.stderr
        assert f"Set aside: {home / 'none.jsonl'}: " in done.stderr
        assert len(run("sessions").stdout.splitlines()) == 1

    def test_nothing_could_be_done(self, run, home):
        """Exit 1: there was only what had to be set aside."""
        (home / "bad.jsonl").symlink_to("good.jsonl")

        assert run("migrate", home / "bad.jsonl").exit_code == 1
        assert run("migrate", home / "none.jsonl", "--apply").exit_code == 1

    @pytest.mark.parametrize("options", [(), ("--apply",), ("--verify",), ("--json",)])
    def test_no_plan_is_made_of_what_is_not_there(self, run, home, options):
        """Nor a journal: a slip is said as one. Beside a path that is there it is set aside."""
        gone = home / "none.jsonl"

        done = run("migrate", gone, *options)

        assert (done.exit_code, (home / "journal.db").exists()) == (1, False)
        assert f"Error: there is nothing at {gone}\n" in done.stderr
        assert "would become" not in done.stderr
        (home / "empty").mkdir()
        assert "there is no such file" in run("migrate", home / "empty", gone).stderr

    def test_nothing_named_twice_is_nothing(self, run, home):
        done = run("migrate", "gone", "./gone", home / "gone", "--apply")

        assert (done.exit_code, (home / "journal.db").exists()) == (1, False)
        assert f"Error: there is nothing at {home / 'gone'}\n" in done.stderr

    def test_many_causes_are_told_by_cause(self, run, home):
        """With counts and three examples each, and the disk there is."""
        for n in range(5):
            (home / f"bad{n}.jsonl").symlink_to("good.jsonl")
            (home / f"same{n}.jsonl").write_bytes(b'{"type":"session","version":3,"id":"one"}\n')
        (home / "z.jsonl").write_bytes(b'{"type":"session","version":3,"id":"one"}\n{torn')

        done = run("migrate", home)

        assert done.exit_code == 3
        assert "Set aside: 5 files: " in done.stderr
        assert "and 2 more: a symlink: name what it points to" in done.stderr
        assert "Note: 4 files with the bytes of another: one session for both: " in done.stderr
        assert "Note: 1 file with the name of another and other bytes" in done.stderr
        assert "Note: 1 file with no JSON in 1 line" in done.stderr
        assert "Disk: " in done.stderr
        told = document(run("migrate", home, "--json"))
        assert told["counts"]["conflicts"] == 1
        assert 0 < told["disk"]["needed"] < told["disk"]["free"]

    def test_a_format_is_one_of_a_list(self, run):
        """Wrong usage says which there are."""
        assert run("migrate", DEMO_STORE, "--format", "word").exit_code == 2
        assert (
            document(run("migrate", DEMO_STORE, "--format", "plain", "--json"))["format"] == "plain"
        )

    def test_the_journal_itself_is_not_migrated(self, run, home):
        """Its own file is never opened by the search."""
        run("migrate", DEMO_STORE, "--apply")

        assert document(run("migrate", home, "--json"))["files"] == []


class TestExport:
    @pytest.mark.parametrize(
        "path", sorted(FIXTURES.rglob("*.jsonl")), ids=lambda path: path.name[:40]
    )
    def test_the_bytes_come_back(self, run, path):
        """Each file of the fixtures, found by its path, equal to the last byte."""
        run("migrate", path, "--apply")
        if not document(run("sessions", "--json"))["sessions"]:
            pytest.skip("no session file")

        done = run("export", path)

        assert done.exit_code == 0
        assert done.stdout_bytes == path.read_bytes()
        audited = run("audit", "--json")
        assert (audited.exit_code, document(audited)["verdict"]) == (0, "ok, not anchored")

    def test_an_alias_names_a_session(self, run):
        """The key by which an index named the file, wherever a session is named."""
        run("migrate", DEMO_STORE, "--apply")

        assert run("export", "agent:main:main").exit_code == 0
        assert len(run("log", "agent:main:main").stdout.splitlines()) == 15
        assert run("show", "agent:main:main", "1").exit_code == 0

    def test_a_new_file_is_written_whole(self, run, home, session):
        """With its digest; nobody else may read it; no draft is left."""
        told = document(run("export", session, "-o", "out.jsonl", "--json"))

        content = (home / "out.jsonl").read_bytes()
        assert (told["schema"], told["session"], told["stepped_over"]) == (
            "journal.export/1",
            session,
            [],
        )
        assert (told["bytes"], told["lines"], told["sha256"]) == (
            len(content), 3, hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        assert stat.S_IMODE((home / "out.jsonl").stat().st_mode) == 0o600
        assert sorted(path.name for path in home.glob("*out*")) + list(home.glob(".*")) == [
            "out.jsonl"
        ]

    def test_nothing_is_overwritten_unasked(self, run, home, session):
        """Exit 1, the file as it was, and the hint works."""
        (home / "out.jsonl").write_text("mine")

        done = run("export", session, "-o", "out.jsonl")

        assert done.exit_code == 1
        assert "Try: --force" in done.stderr
        assert (home / "out.jsonl").read_text() == "mine"
        assert run("export", session, "-o", "out.jsonl", "--force").exit_code == 0
        assert (home / "out.jsonl").read_text() != "mine"

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
    def test_a_place_without_links_will_do(self, run, home, session, monkeypatch, number):
        """A memory stick, say, which is where an anchor belongs: what is there is still never replaced."""

        def link(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", link)
        for args in (("export", session, "-o", "out"), ("backup", "copy.db")):
            assert run(*args).exit_code == 0
            content = (home / args[-1]).read_bytes()
            assert content
            assert run(*args).exit_code == 1
            assert (home / args[-1]).read_bytes() == content
        assert not [each for each in home.iterdir() if each.name.startswith(".")]

    def test_nothing_is_left_there_where_the_file_cannot_take_its_name(self, home, monkeypatch):
        def link(*_):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", link)
        with pytest.raises(FileNotFoundError):
            put_in_place(home / "no draft", home / "out", force=False)
        assert list(home.iterdir()) == []

    def test_a_link_is_replaced_never_followed(self, run, home, session):
        """--force puts a file in its place and leaves what it pointed to."""
        (home / "other").write_text("theirs")
        (home / "link").symlink_to("other")

        assert run("export", session, "-o", "link").exit_code == 1
        assert run("export", session, "-o", "link", "--force").exit_code == 0
        assert (home / "other").read_text() == "theirs"
        assert not (home / "link").is_symlink()

    @pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.db-shm"])
    def test_the_journal_is_never_written_over(self, run, session, name):
        """Not even with --force."""
        done = run("export", session, "-o", name, "--force")

        assert done.exit_code == 1
        assert "belongs to the journal" in done.stderr
        assert run("log", session).exit_code == 0

    @pytest.mark.parametrize(
        "name", ["journal.db-mirrors", "journal.db-ticket", "journal.db-journal"]
    )
    def test_nor_is_a_file_of_its_own_made_for_it(self, run, session, home, name):
        """By whatever path it is named."""
        for path in (name, home / name):
            done = run("export", session, "-o", path, "--force")
            assert (done.exit_code, "belongs to the journal" in done.stderr) == (1, True)

    @pytest.mark.parametrize("name", ["journal.dbx", "journal.db.jsonl", "journal.db-copy"])
    def test_a_name_that_begins_with_the_journals_is_any_other(self, run, session, name):
        """Written, and then not without --force."""
        assert run("export", session, "-o", name).exit_code == 0
        assert Path(name).read_bytes() == run("export", session).stdout_bytes
        again = run("export", session, "-o", name)
        assert (again.exit_code, "is there already" in again.stderr) == (1, True)

    def test_a_stray_is_left_out_and_said(self, run, session, steal):
        """Exit 3; the honest lines are there."""
        whole = run("export", session).stdout_bytes
        seq = steal()

        done = run("export", session)

        assert (done.exit_code, done.stdout_bytes) == (3, whole)
        assert f"left out seq {seq}: stray" in done.stderr
        told = document(run("export", session, "-o", "x", "--json"))
        assert told["stepped_over"] == [
            {"first_seq": seq, "last_seq": seq, "status": "stray", "settled": False}
        ]

    def test_a_document_needs_a_file(self, run, session):
        """Bytes and a document cannot both be on stdout."""
        assert run("export", session, "--json").exit_code == 2

    def test_an_unknown_session(self, run, session):
        """Exit 10, and nothing is made."""
        done = run("export", "agent:main:mian", "-o", "x")

        assert done.exit_code == 10
        assert session in done.stderr
        assert not Path("x").exists()


class TestAudit:
    @pytest.mark.usefixtures("session")
    def test_a_healthy_journal_has_no_finding(self, run):
        """Exit 0, and what was not checked is said."""
        done = run("audit")

        assert done.exit_code == 0
        assert "ok, not anchored" in done.stdout
        assert "not checked" in done.stdout
        assert document(run("audit", "--json"))["schema"] == "journal.audit/1"

    def test_a_stray_is_found(self, run, session, steal):
        """Exit 3, and the finding names it."""
        seq = steal()

        told = document(run("audit", session, "--json"))

        assert run("audit").exit_code == 3
        assert told["verdict"] == "broken"
        assert [[seq, seq]] in [finding["seqs"] for finding in told["findings"]]

    @pytest.mark.usefixtures("session")
    def test_it_changes_nothing(self, run, home):
        """Not a byte of the database, and no file beside it for long."""
        before = (home / "journal.db").read_bytes()

        run("audit")

        assert (home / "journal.db").read_bytes() == before

    @pytest.mark.usefixtures("session")
    def test_an_unknown_session(self, run):
        """Exit 10."""
        assert run("audit", "nowhere").exit_code == 10

    def test_a_schema_that_is_not_ours_is_audited_still(self, run, session):
        """Where a write refuses, the audit tells."""
        thief = Thief("journal.db")
        thief.drop_triggers()
        thief.close()

        assert run("audit").exit_code == 3
        assert run("log", session).exit_code == 12

"""Bad input: each a clear error with its exit code and a hint that works; nothing lost or half done."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

from journal.cli.failing import _told
from journal.cli.options import Settings
from journal.guards import CAN_LOOK
from journal.lines import LINE_LIMIT
from tests.limits import as_nobody
from tests.systems import LINUX
from tests.thieves import Thief


def hint(done):
    """Give the next step that an error names."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Try: ")]
    return line.removeprefix("Try: ")


def lines_of(run, session):
    """Give how many entries a session lists."""
    return len(run("log", session).stdout.splitlines())


@pytest.mark.parametrize(
    "args",
    [
        ("sessions",),
        ("status",),
        ("log", "s"),
        ("show", "s", "1"),
        ("append", "s", "-w", "w", "--role", "run", "{}"),
        ("fence", "raise", "s", "-w", "w", "--role", "run"),
        ("fence", "check", "f1"),
        ("writers",),
        ("writers", "add", "w", "--role", "run"),
        ("export", "s"),
        ("audit",),
        ("upgrade",),
        ("upgrade", "--apply"),
    ],
    ids=" ".join,
)
def test_no_journal(run, home, args):
    """Exit 10, nothing is made, and what the hint says makes one."""
    done = run(*args)

    assert done.exit_code == 10
    assert list(home.iterdir()) == []
    assert hint(done) == "journal init"
    assert run("init").exit_code == 0


def test_no_directory(run):
    """Exit 10, with the directory to make."""
    done = run("-d", "no/where.db", "init")

    assert done.exit_code == 10
    subprocess.run(hint(done), shell=True, check=True)  # noqa: S602 - the hint is a command
    assert run("-d", "no/where.db", "init").exit_code == 0


@pytest.mark.parametrize(
    "content", [b"no database at all", b"\0" * 4096, b"SQLite format 3\0" + b"x" * 4000]
)
def test_not_a_database(run, home, content):
    """Exit 1, the file as it was, and another name to give."""
    (home / "journal.db").write_bytes(content)

    done = run("sessions")

    assert done.exit_code == 1
    assert "is not a database" in done.stderr
    told = (
        "for this one holds something else"
        if content[:1] == b"n" and CAN_LOOK
        else "a journal was here, mv "
    )
    assert hint(done).startswith("name another file with --db")
    assert told in hint(done)
    assert (home / "journal.db").read_bytes() == content
    assert run("--db", "another.db", "init").exit_code == 0


def test_another_programs_database(run, home):
    """Exit 12, and not a byte of it is changed."""
    other = Thief(home / "journal.db")
    other.execute("CREATE TABLE theirs(x)")
    other.close()
    before = (home / "journal.db").read_bytes()

    done = run("init")

    assert done.exit_code == 12
    assert hint(done) == "name another file with --db"
    assert (home / "journal.db").read_bytes() == before


def test_a_newer_schema(run, home, session):
    """Exit 12, untouched, and the upgrade to make."""
    thief = Thief("journal.db")
    thief.execute("PRAGMA user_version = 99")
    thief.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    thief.close()
    before = (home / "journal.db").read_bytes()

    for args in (
        ("sessions",),
        ("append", session, "-w", "gateway", "{}"),
        ("upgrade", "--apply"),
        ("init",),
    ):
        done = run(*args)
        assert done.exit_code == 12
        assert hint(done) == "pip install --upgrade session-journal"

    assert (home / "journal.db").read_bytes() == before


def test_a_missing_key(run, session, key_file):
    """Exit 1; copied back as the hint says, all is as it was."""
    shutil.move(key_file, key_file.with_name("safe"))

    done = run("log", session)

    assert done.exit_code == 1
    assert f"not there: {key_file}" in done.stderr
    assert hint(done) == "copy the key file there, or name it with JOURNAL_KEY_FILE"
    assert not key_file.exists()
    shutil.move(key_file.with_name("safe"), key_file)
    assert run("log", session).exit_code == 0


def test_a_missing_key_of_a_variable_elsewhere(run, session, key_file, monkeypatch):
    """The other half of the hint: the variable names it."""
    moved = key_file.with_name("moved")
    shutil.move(key_file, moved)
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(moved))

    assert run("log", session).exit_code == 0


def test_the_key_of_another_journal(run, session, tmp_path, monkeypatch):
    """Exit 1, and nothing is written with it."""
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(tmp_path / "keys" / "other"))
    run("init", "other.db")

    done = run("append", session, "-w", "gateway", "{}")

    assert done.exit_code == 1
    assert "not the key of" in done.stderr
    assert "JOURNAL_KEY_FILE" in hint(done)
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(tmp_path / "keys" / "journal.key"))
    assert lines_of(run, session) == 3


def test_a_key_that_others_may_read(run, session, key_file):
    """Exit 1; the hint is the command that mends it."""
    key_file.chmod(0o644)

    done = run("log", session)

    assert done.exit_code == 1
    subprocess.run(hint(done), shell=True, check=True)  # noqa: S602 - the hint is a command
    assert run("log", session).exit_code == 0


def test_an_unknown_writer(run, session):
    """Exit 11; adding it as the hint says lets it write."""
    done = run("append", session, "-w", "a new one", "{}")

    assert done.exit_code == 11
    assert hint(done).startswith("journal writers add 'a new one' --role ROLE")
    assert lines_of(run, session) == 3
    assert run("writers", "add", "a new one", "--role", "tool").exit_code == 0
    assert run("append", session, "-w", "a new one", "{}").exit_code == 0


def test_a_writer_whose_name_begins_as_an_option_does(run, session):
    """What the hint says adds it."""
    done = run("append", session, "-w", "-x", "{}")
    added = hint(done).removeprefix("journal ").partition(",")[0].replace("ROLE", "tool")

    assert run(*added.split()).exit_code == 0
    assert run("append", session, "-w", "-x", "{}").exit_code == 0


def test_a_revoked_writer(run, session):
    """Exit 11, with when it was and why, and the way on."""
    run("writers", "revoke", "heartbeat", "--reason", "its host was lost")

    for args in (
        ("append", session, "-w", "heartbeat", "{}"),
        ("fence", "raise", session, "-w", "heartbeat"),
    ):
        done = run(*args)
        assert done.exit_code == 11
        assert "its host was lost; what it tries to write is not kept" in done.stderr
        assert "journal writers add NAME --role ROLE" in hint(done)
    assert lines_of(run, session) == 3


def test_revoking_whom_nobody_knows(run, session):
    """Exit 11, and the list of whom one knows."""
    done = run("writers", "revoke", "ghost", "--reason", "x")

    assert done.exit_code == 11
    assert hint(done) == "journal writers"


def test_another_role_than_declared(run, session):
    """Exit 11, and the role it has."""
    done = run("append", session, "-w", "gateway", "--role", "cron", "{}")

    assert done.exit_code == 11
    assert "'run'" in hint(done)
    assert run("append", session, "-w", "gateway", "--role", "run", "{}").exit_code == 0


def test_no_such_role(run, session):
    """Wrong usage, with the list."""
    done = run("writers", "add", "x", "--role", "king")

    assert done.exit_code == 2
    assert "heartbeat" in done.stderr


def test_a_line_that_is_no_json_is_kept(run, session):
    """It is no error: its bytes are sacred, and it is shown as raw."""
    assert run("append", session, "-w", "gateway", input=b"{not json\n").exit_code == 0
    assert run("show", session, "4", "--raw").stdout_bytes == b"{not json\n"
    assert "raw" in run("log", session).stdout.splitlines()[3]


@pytest.mark.parametrize("content", [b"{}\n\n{}\n", b"{}\n\r\n", b"\n"])
def test_an_empty_line(run, session, content):
    """Exit 2, its number, and nothing of the whole input is written."""
    done = run("append", session, "-w", "gateway", input=content)

    assert done.exit_code == 2
    assert "is empty; nothing was written" in done.stderr
    assert hint(done) == "append lines with content"
    assert lines_of(run, session) == 3


@pytest.mark.parametrize("line", ["", "\r"])
def test_an_empty_argument(run, session, line):
    """An argument that is no line is refused as one."""
    assert run("append", session, "-w", "gateway", line).exit_code == 2
    assert lines_of(run, session) == 3


def test_no_line_at_all(run, session):
    """Exit 2, and both ways to give one."""
    done = run("append", session, "-w", "gateway", input=b"")

    assert done.exit_code == 2
    assert hint(done) == "name a LINE, or pipe lines in"


def test_an_argument_with_a_line_end(run, session):
    """An argument is one line."""
    done = run("append", session, "-w", "gateway", "{}\n{}")

    assert done.exit_code == 2
    assert lines_of(run, session) == 3


def test_a_line_over_the_limit_is_submitted_in_vain(run, session):
    """An input is one line of 8 MiB at most; an append takes any, in parts."""
    long = b"x" * (LINE_LIMIT + 1) + b"\n"
    done = run("submit", session, "-w", "gateway", input=long)

    assert done.exit_code == 2
    assert f"longer than {LINE_LIMIT} bytes" in done.stderr
    assert hint(done)
    assert run("append", session, "-w", "gateway", input=b"{}\n" + long).exit_code == 0
    assert run("export", session).stdout_bytes.endswith(b"\n{}\n" + long)


@pytest.mark.parametrize(
    "key",
    [
        "../up",
        "a:..:b",
        "a\\..\\b",
        "..",
        "nul\0",
        "esc\x1b[2J",
        "line\nend",
        "c1\x9b",
        "x" * 10_000,
        "",
        "\udcff",
        "journal:",
    ],
    ids=lambda key: ascii(key[:12]),
)
def test_a_session_key_that_cannot_be(run, session, key):
    """Exit 2, the key shown harmlessly, and no session made of it."""
    for args in (
        ("append", "-w", "gateway", "--", key, "{}"),
        ("log", "--", key),
        ("export", "--", key),
        ("fence", "raise", "-w", "gateway", "--", key),
    ):
        done = run(*args)

        assert done.exit_code == 2
        wanted = "another session key: " if key == "journal:" else "a session key of plain text"
        assert hint(done).startswith(f"use {wanted}")
        assert len(done.stderr) < 400
        assert "\x1b" not in done.stderr
    assert [line.split("\t")[0] for line in run("sessions").stdout.splitlines()] == [session]


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x1bb", "external:x", "journal:"])
def test_a_writers_name_that_cannot_be(run, session, name):
    """Exit 2, and nobody is declared."""
    done = run("append", session, "--role", "run", f"--writer={name}", "{}")

    assert done.exit_code == 2
    is_reserved = name.startswith(("journal:", "external:"))
    wanted = "another writer name: " if is_reserved else "a writer name of plain text"
    assert hint(done).startswith(f"use {wanted}")
    assert ("200 characters" in hint(done)) is (len(name) > 200)
    assert len(run("writers").stdout.splitlines()) == 2


@pytest.mark.parametrize("key", ["agent:main:slack:C01/ü 🦞", "x" * 512, "-dashed", "a.b..c"])
def test_a_session_key_that_can_be(run, session, key):
    """Odd is not wrong."""
    assert run("append", "-w", "gateway", "--", key, "{}").exit_code == 0
    assert run("log", "--", key).exit_code == 0


def bound_by_modes():
    """Let file modes count for the process about to start, even if it is root's."""
    drop_from_bounding_set = 24
    for override in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs prctl where the tests run as root"
)
class TestReadOnly:
    def test_a_directory(self, run, start, home, session):
        """Exit 1; made writable as the hint says, it works, and nothing is lost."""
        (home / "journal.db").chmod(0o444)
        home.chmod(0o555)

        process = start("append", session, "-w", "gateway", "{}", preexec_fn=bound_by_modes)
        _, err = process.communicate(timeout=60)
        home.chmod(0o755)
        (home / "journal.db").chmod(0o644)

        assert process.returncode == 1
        assert b"cannot be" in err
        assert b"Try: check" in err
        assert run("append", session, "-w", "gateway", "{}").stdout == "4\n"

    def test_init_there(self, start, home):
        """Exit 1, nothing is made, and the hint says what to look at."""
        home.chmod(0o555)

        process = start("init", preexec_fn=bound_by_modes)
        _, err = process.communicate(timeout=60)
        home.chmod(0o755)

        assert process.returncode == 1
        assert b"Try: check that its directory exists and may be written" in err
        assert list(home.iterdir()) == []

    def test_an_export_there(self, start, session, tmp_path):
        """Exit 1, and no draft is left."""
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(0o555)

        process = start("export", session, "-o", locked / "x", preexec_fn=bound_by_modes)
        _, err = process.communicate(timeout=60)

        assert process.returncode == 1
        assert b"Permission denied" in err
        assert list(locked.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk(run, small_disk):
    """Exit 1, nothing of the write is kept, and with space again it goes on."""
    db = small_disk / "journal.db"
    run("-d", db, "init")
    run("-d", db, "append", "s", "-w", "w", "--role", "run", "{}")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 400_000)

    full = run("-d", db, "append", "s", "-w", "w", input=b"y" * 900_000 + b"\n")
    listed = run("-d", db, "log", "s").stdout.splitlines()
    ballast.unlink()

    assert full.exit_code == 1
    assert "no space left" in full.stderr
    assert hint(full) == "free some space and try again"
    assert len(listed) == 1
    assert run("-d", db, "append", "s", "-w", "w", "{}").stdout == "2\n"


def test_an_export_onto_a_full_disk(run, session, small_disk):
    """Exit 1, and no half of a file is left."""
    run("append", session, "-w", "gateway", input=b"z" * 2_000_000 + b"\n")

    done = run("export", session, "-o", small_disk / "out.jsonl")

    assert done.exit_code == 1
    assert "No space left" in done.stderr
    assert list(small_disk.iterdir()) == []


@LINUX
def test_a_hint_names_the_argument_that_was_wrong(run, session, home):
    """And never has anybody's file moved away that was no database."""
    (home / "notes").write_text("mine\n")
    (home / "some").mkdir()
    other = "for this one holds something else: is it the right one?"
    for words, wanted in (
        (("backup", "."), "name a FILE in it"),
        (("restore", "."), "name a FILE in it"),
        (("restore", "notes"), f"name another FILE, {other}"),
        (("copy", "journal.db", "notes"), f"name another DST, {other}"),
        (("-d", "notes", "status"), f"name another file with --db, {other}"),
        (("-d", "notes", "log", session), f"name another file with --db, {other}"),
        (("-d", "none.db", "migrate", "some", "--verify"), "migrate --apply -- some"),
        (("export", session, "-o", "none/x"), f"a directory that is there; {home} is the nearest"),
        (("mirror", "add", session, "notes/x"), f"is there; {home} is the nearest"),
        (("append", session, "-w", "external:x", "--role", "run", "{}"), "another writer name: "),
        (("append", "journal:", "-w", "gateway", "{}"), "use another session key: "),
    ):
        done = run(*words)
        assert done.exit_code != 0, words
        assert wanted in hint(done), words
        assert "plain text" not in done.stderr
        assert "mv " not in done.stderr
    assert f"Error: {home / 'none' / 'x'}: " in run("export", session, "-o", "none/x").stderr
    assert (home / "notes").read_text() == "mine\n"


def test_a_place_to_which_links_lead_in_a_ring_is_said(run, home, session):
    """Neither a file to write nor a journal can be there, and it is no bug of ours."""
    (home / "ring").symlink_to("ring")
    done = run("export", session, "-o", "ring/x")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Too many levels of symbolic links" in done.stderr
    assert run("-d", "ring/x.db", "doctor").exit_code == 3
    assert run("copy", "journal.db", "ring/x.db").exit_code == 10


@pytest.mark.skipif(sys.platform == "darwin", reason="a name is UTF-8 there")
def test_a_journal_may_lie_where_the_name_is_no_text(run, home):
    """A name on disk is bytes: one that was never UTF-8 is a place like any other."""
    place = os.fsdecode(b"caf\xe9")
    (home / place).mkdir()
    db = f"{place}/j.db"
    for args in (
        ("init",),
        ("append", "s", "-w", "gateway", "--role", "run", "{}"),
        ("audit",),
        ("backup", f"{place}/copy.db"),
        ("status", "--json"),
    ):
        done = run("-d", db, *args)
        assert done.exit_code == 0, done.stderr
    assert run("copy", db, f"{place}/other.db").exit_code == 0
    assert run("-d", f"{place}/copy.db", "log", "s").stdout.startswith("1\t")
    done = run("-d", db, "mirror", "reconcile", place)
    assert (done.exit_code, "is no valid text" in done.stderr) == (2, True)


def test_a_path_too_long_to_look_at_is_said(run, session):
    """Looking for a directory that is there fails as well; that keeps no error from being said."""
    done = run("export", session, "-o", f"{'x' * 300}/y/z")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "File name too long" in done.stderr


def test_an_error_in_a_directory_that_is_gone_is_said(home, monkeypatch, capsys):
    gone = home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert _told(FileNotFoundError(errno.ENOENT, "No such file", "y/z"), Settings()) == 1
    assert capsys.readouterr().err == "Error: y/z: No such file\n"


def test_an_error_below_a_directory_that_may_not_be_searched_is_said(home, capsys):
    closed = home / "closed"
    closed.mkdir()
    closed.chmod(0)
    error = PermissionError(errno.EACCES, "Permission denied", str(closed / "a" / "b"))
    with as_nobody():
        assert _told(error, Settings()) == 1
    closed.chmod(0o700)
    shown = capsys.readouterr().err
    assert shown.startswith(f"Error: {closed}/a/b: Permission denied\nTry: name a file elsewhere")


def test_a_preview_names_the_command_whole(run, session):
    pytest.importorskip("cryptography")
    assert run("anchor", "-o", "A").exit_code == run("backup", "B").exit_code == 0
    assert run("restore", "B", "--anchor", "A").stderr.rstrip().endswith("--apply --anchor A")


@pytest.mark.parametrize(
    "words",
    [
        ("append", "S", "-w", "gateway", "--claim", "77", "{}"),
        ("claim", "release", "S", "77", "-w", "gateway"),
        ("why", "nope"),
        ("parked", "show", "nope"),
        ("fence", "check", "nope"),
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_told_by_one_code(run, session, words):
    done = run(*(session if word == "S" else word for word in words), "--json")
    assert done.exit_code == json.loads(done.stdout)["exit_code"] == 10


@pytest.mark.parametrize("words", [("bogus",), ("claim", "bogus"), ("bogus", "--", "x")])
def test_no_such_command_is_a_document_too(run, words):
    done = run(*words[:2], "--json", *words[2:])
    told = json.loads(done.stdout)
    assert (told["schema"], told["code"], done.exit_code) == ("journal.error/1", "usage", 2)


def test_the_choices_of_an_option_are_told_in_one_line(run, session):
    assert "Choose from: run, heartbeat, " in run("writers", "add", "x").stderr

"""Doctor: each fact, well and not well; nothing is changed by looking."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from journal import doctor, engine, keys, openers, serving
from journal.doctor import OK, PROBLEM, WARNING, examine, worst
from journal.engine import connect
from journal.openers import Opener, Seen
from journal.place import Mount
from tests.thieves import KEY, Thief

FACTS = "SQLite Python|system|file system|disk|file|clock|open in|log|schema|key|mirrors"


def state(path, name, **options):
    """Give one fact of a journal."""
    (found,) = [fact for fact in examine(path, **options) if fact.name == name]
    return found


@pytest.fixture
def closed(open_journal, journal_path, tmp_path):
    """Make a journal with a session and its mirror, and close it."""
    with open_journal() as journal:
        journal.session(KEY, writer="gateway", role="run", mirror=tmp_path / "s.jsonl").append({})
    return journal_path


def test_a_healthy_journal_has_no_problem(closed):
    """Every fact is told, and none needs anything done."""
    facts = examine(closed)

    assert [fact.name for fact in facts] == FACTS.replace(" ", "|", 1).split("|")
    assert [fact for fact in facts if fact.state == PROBLEM] == []
    assert all(fact.next_step is None for fact in facts if fact.state == OK)
    assert all(fact.next_step for fact in facts if fact.state != OK)


def test_the_worst_fact_is_the_whole(closed):
    """One problem outweighs any number of warnings."""
    facts = [doctor.Fact("a", OK, ""), doctor.Fact("b", WARNING, ""), doctor.Fact("c", OK, "")]

    assert worst([]) == OK
    assert worst(facts) == WARNING
    assert worst([*facts, doctor.Fact("d", PROBLEM, "")]) == PROBLEM


def test_a_path_that_the_system_refuses_is_a_fact(tmp_path):
    """As one in a directory that this user may not look into."""
    facts = examine(tmp_path / ("x" * 300))

    assert worst(facts) == PROBLEM


def test_nothing_is_changed(closed):
    """Not a byte of the database, the key, the mirror or the mirrors' own file."""
    files = [one for one in closed.parent.rglob("*") if one.is_file()]
    before = {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in files}

    examine(closed)

    assert {one: (one.read_bytes(), one.stat().st_mtime_ns) for one in files} == before
    new = {one.name for one in closed.parent.rglob("*") if one.is_file()} - {
        one.name for one in files
    }
    assert new <= {"agent.db-shm", "agent.db-wal"}  # by SQLite, and empty
    assert closed.with_name("agent.db-wal").stat().st_size == 0


def test_beside_a_writer_of_the_same_process_no_lock_is_lost(closed, open_journal):
    """The guards refuse whoever opens a live file by hand; every write meanwhile is kept."""
    journal = open_journal()
    session = journal.session(KEY, writer="gateway", role="run")
    stop = threading.Event()
    written: list[int] = []

    def write():
        while not stop.is_set():
            written.append(session.append({"n": len(written)}).seq)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = [examine(closed) for _ in range(5)]
    finally:
        stop.set()
        thread.join()

    assert {worst(facts) for facts in found} <= {OK, WARNING}
    assert len(written) > 5
    assert {entry.seq for entry in session.read()} >= set(written)
    (one,) = [fact for fact in found[0] if fact.name == "open in"]
    if sys.platform.startswith("linux"):
        assert os.getpid() in {process["pid"] for process in one.details["processes"]}


class TestSQLite:
    def test_an_affected_library_is_a_warning_and_strictly_a_problem(self, closed, monkeypatch):
        """The step names what to install."""
        monkeypatch.setattr(doctor, "is_compatible_mode", lambda: True)

        assert state(closed, "SQLite").state == WARNING
        assert state(closed, "SQLite", strict=True).state == PROBLEM
        assert "pysqlite3" in state(closed, "SQLite").next_step

    def test_a_fixed_library_is_fine(self, closed, monkeypatch):
        monkeypatch.setattr(doctor, "is_compatible_mode", lambda: False)

        assert state(closed, "SQLite", strict=True).state == OK
        assert state(closed, "SQLite").details["version"] == engine.sqlite_version()


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("ext4", OK),
        ("nfs4", PROBLEM),
        ("virtiofs", PROBLEM),
        ("tmpfs", WARNING),
        ("overlay", WARNING),
    ],
)
def test_file_systems(closed, monkeypatch, kind, expected):
    """Where locks do not hold, and where nothing stays."""
    monkeypatch.setattr(doctor, "mount_of", lambda _: Mount("0:1", "/", kind))

    assert state(closed, "file system").state == expected


def test_a_bind_mount_of_the_file_alone(closed, monkeypatch):
    """Its -wal would stand elsewhere."""
    monkeypatch.setattr(doctor, "mount_of", lambda _: Mount("0:1", str(closed), "ext4"))

    assert state(closed, "file system").state == PROBLEM


def test_a_system_that_does_not_say_is_not_blamed(closed, monkeypatch):
    """No mount table and no /proc: told as not told."""
    monkeypatch.setattr(doctor, "mount_of", lambda _: None)
    monkeypatch.setattr(openers, "look", lambda _: None)

    assert "does not say" in state(closed, "file system").words
    assert "does not say" in state(closed, "open in").words


@pytest.mark.parametrize(
    "free, inodes, expected",
    [(10**6, 10, OK), (10**3, 10, PROBLEM), (10**6, 0, PROBLEM), (16_390, 10, WARNING)],
)
def test_free_disk(closed, monkeypatch, free, inodes, expected):
    """Room for the log, and for a backup."""

    class Status:
        f_bavail, f_frsize, f_files, f_favail = free, 4096, 100, inodes

    monkeypatch.setattr(os, "statvfs", lambda _: Status)

    assert state(closed, "disk").state == expected


class TestFile:
    def test_several_names(self, closed):
        """Two names would mean two write-ahead logs."""
        os.link(closed, closed.with_name("other"))

        found = state(closed, "file")

        assert (found.state, "hard links" in found.words) == (PROBLEM, True)

    def test_a_symbolic_link(self, closed, tmp_path):
        """The file itself is named."""
        link = tmp_path / "link.db"
        link.symlink_to(closed)

        found = state(link, "file")

        assert (found.state, str(closed) in found.next_step) == (PROBLEM, True)

    def test_a_log_that_is_a_link(self, closed, tmp_path):
        """SQLite would follow it."""
        closed.with_name("agent.db-wal").symlink_to(tmp_path / "elsewhere")

        assert "symbolic link" in state(closed, "file").words

    def test_others_may_write(self, closed):
        """A warning; the step mends it."""
        closed.chmod(0o666)

        found = state(closed, "file")

        assert found.state == WARNING
        subprocess.run(found.next_step, shell=True, check=True)  # noqa: S602 - the step is a command
        assert state(closed, "file").state == OK


class TestOpenIn:
    def test_unseen_processes_are_said(self, closed, monkeypatch):
        """Who cannot be seen may have it open too."""
        monkeypatch.setattr(openers, "look", lambda _: Seen((), 7))

        found = state(closed, "open in")

        assert (found.state, "7 processes of other users" in found.words) == (OK, True)

    def test_a_removed_file_that_is_written_to(self, closed, monkeypatch):
        """What that process writes is lost."""
        lost = Opener(9, 0, "process 9 (agent)", (), (str(closed),))
        monkeypatch.setattr(openers, "look", lambda _: Seen((lost,), 0))

        found = state(closed, "open in")

        assert (found.state, "/proc/9/fd" in found.next_step) == (PROBLEM, True)

    def test_many_are_cut_short(self, closed, monkeypatch):
        many = tuple(Opener(n, 0, f"process {n}", (str(closed),), ()) for n in range(1, 9))
        monkeypatch.setattr(openers, "look", lambda _: Seen(many, 0))

        assert state(closed, "open in").words.endswith("and 3 more")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/locks")
class TestLog:
    def test_a_reader_that_stays_is_named(self, closed, open_journal, monkeypatch):
        """It holds the log; where that is long, it is a warning with the reader's pid."""
        open_journal()
        with closing(connect(str(closed), mode="ro")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM entries").fetchone()
            short = state(closed, "log")
            monkeypatch.setattr(doctor, "WAL_LIMIT_BYTES", -1)
            long = state(closed, "log")

        assert (short.state, short.details["readers"]) == (OK, [os.getpid()])
        assert long.state == WARNING
        assert long.next_step.endswith(str(os.getpid()))

    def test_without_a_reader_only_its_size_counts(self, closed, monkeypatch):
        """Whoever has it open last folds it in."""
        assert state(closed, "log").state == OK
        monkeypatch.setattr(doctor, "WAL_LIMIT_BYTES", -1)

        assert state(closed, "log").state == WARNING


class TestClock:
    def test_files_from_the_future(self, closed):
        """A warning: order never depends on it."""
        os.utime(closed, (2**33, 2**33))

        assert state(closed, "clock").state == WARNING

    def test_a_year_before_this_program(self, closed, monkeypatch):
        """A machine without a battery."""
        monkeypatch.setattr(time, "time", lambda: 0.0)

        assert state(closed, "clock").state == PROBLEM

    def test_a_clock_that_is_set_meanwhile(self, closed, monkeypatch):
        """Held against the one that nobody can set."""
        real, begun = time.time, time.monotonic()
        monkeypatch.setattr(time, "time", lambda: real() + 10 * (time.monotonic() - begun))

        assert "was set" in state(closed, "clock").words

    def test_a_time_that_is_none(self, closed):
        """A file's time may be anything."""
        os.utime(closed, ns=(2**62, 2**62))

        assert state(closed, "clock").state == WARNING


class TestSchema:
    def test_an_older_one(self, closed):
        """The step is the upgrade."""
        thief = Thief(closed)
        thief.execute("PRAGMA user_version = 0")
        thief.close()

        assert state(closed, "schema").next_step == "journal upgrade --apply"

    def test_a_trigger_that_is_not_ours(self, closed):
        """Named, and the rest is told all the same."""
        thief = Thief(closed)
        thief.execute("CREATE TRIGGER t BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END")
        thief.close()

        assert "foreign trigger t" in state(closed, "schema").words
        assert state(closed, "key").state == OK

    def test_another_journal_mode(self, closed):
        """The next open switches it back."""
        thief = Thief(closed)
        thief.execute("PRAGMA journal_mode = DELETE")
        thief.close()

        assert state(closed, "schema").state == WARNING


class TestKey:
    def test_where_and_whose_it_is(self, closed, key_file):
        """Never the key itself."""
        found = state(closed, "key")

        assert found.state == OK
        assert found.details["path"] == str(key_file)
        assert (found.details["mode"], found.details["era"]) == ("0600", 1)
        assert key_file.read_text().strip() not in str(found)

    def test_beside_the_journal(self, closed, key_file, monkeypatch):
        """Who takes one has the other."""
        beside = closed.with_name("key")
        beside.write_bytes(key_file.read_bytes())
        beside.chmod(0o600)
        monkeypatch.setenv(keys.KEY_FILE_VARIABLE, str(beside))

        assert state(closed, "key").state == WARNING

    def test_a_directory_that_others_may_write_to(self, closed, key_file):
        """They could replace it."""
        key_file.parent.chmod(0o777)

        assert state(closed, "key").next_step.startswith("chmod go-w")
        key_file.parent.chmod(stat.S_ISVTX | 0o777)
        assert state(closed, "key").state == OK

    def test_missing(self, closed, key_file):
        """A problem with its way out, and mirrors are not guessed at."""
        key_file.unlink()

        found = examine(closed)

        assert (found[-1].name, found[-1].state) == ("key", PROBLEM)
        assert "JOURNAL_KEY_FILE" in str(found[-1].next_step)


class TestMirrors:
    def test_one_that_is_served(self, closed):
        """On, by the same state of the database that the file was made of."""
        assert [one.state for one in serving.served(closed)] == ["on"]
        assert state(closed, "mirrors").words == "1 of 1 on"

    def test_none(self, open_journal, journal_path):
        open_journal().close()

        assert state(journal_path, "mirrors").words == "none"

    def test_a_file_that_is_gone(self, closed, tmp_path):
        """The step makes it again."""
        (tmp_path / "s.jsonl").unlink()

        found = state(closed, "mirrors")

        assert found.state == WARNING
        assert found.next_step == f"journal mirror sync {KEY} --recreate"

    def test_behind_is_no_warning(self, closed):
        """The next write or check brings it up."""
        closed.with_name("agent.db-mirrors").write_bytes(b"")

        found = state(closed, "mirrors")

        assert (found.state, found.words) == (OK, f"0 of 1 on, {KEY} behind")

    def test_elsewhere(self, closed, monkeypatch):
        """Another host's file cannot be judged from here."""
        monkeypatch.setattr(serving, "this_process", lambda: type("P", (), {"host": "another"}))

        assert [one.state for one in serving.served(closed)] == ["elsewhere"]


@pytest.mark.parametrize(
    "make",
    [
        lambda _: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0" * 4096),
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000),
        os.mkfifo,
        lambda path: path.symlink_to(path),
        lambda path: path.parent.rmdir(),
    ],
    ids=["none", "directory", "empty", "zeros", "header", "fifo", "loop", "no directory"],
)
def test_whatever_stands_there_is_told(tmp_path, make):
    """One problem with a step, the machine's facts all the same, and no error."""
    place = tmp_path / "place"
    place.mkdir()
    make(place / "a.db")

    facts = examine(place / "a.db")

    (problem,) = [fact for fact in facts if fact.state == PROBLEM]
    assert problem.next_step
    assert {"SQLite", "Python", "disk"} <= {fact.name for fact in facts}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_a_truncated_database_is_told(closed, share):
    """Damage wherever it begins is a problem and never an error."""
    content = closed.read_bytes()
    closed.write_bytes(content[: int(len(content) * share)])

    facts = examine(closed)

    assert worst(facts) == PROBLEM
    assert all(fact.next_step for fact in facts if fact.state == PROBLEM)

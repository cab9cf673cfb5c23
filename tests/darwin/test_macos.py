"""A journal on macOS: run there, and on Linux under the emulation (test_emulated.py starts it)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, MirrorError, SessionTakeover, UnsafeSQLite, darwin, descriptors, place
from journal.audit import audit
from journal.descriptors import opened_again
from journal.durability import BySQLite
from journal.filelocks import AT_ONCE, OVER, RDLCK, WRLCK, lock_bytes, turn
from journal.mirrorfile import real_path
from journal.pins import Watched, is_open
from journal.process import is_dead, liveness, other_process, start_time, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


@pytest.fixture
def command(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command in a process of its own, and say what it must end with."""

    def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "journal", *map(str, words)],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, done
        return done

    return run


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process that lives until it is killed."""
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield running
    running.kill()
    running.communicate()


# -- what a journal stands on ---------------------------------------------------------


def test_what_is_kept_is_on_the_medium(journal_path):
    """SQLite itself syncs, and by F_FULLFSYNC: fsync alone would leave it in the drive's cache."""
    for durability, synchronous in (("full", 2), ("normal", 1)):
        with Journal(journal_path, durability=durability) as journal:
            asked = journal.store.cursor.execute
            assert asked("PRAGMA fullfsync").fetchone() == (1,)
            assert asked("PRAGMA synchronous").fetchone() == (synchronous,)
            assert isinstance(journal.store.durability, BySQLite)
            assert isinstance(journal.store.guard, Watched)


@pytest.mark.parametrize("sync", [descriptors.sync, descriptors.sync_data])
def test_a_file_is_synced_to_the_medium_or_it_is_told(sync, tmp_path, monkeypatch):
    """A failed sync is never followed by another that may say all is well."""
    asked: list[Any] = []

    def answer(*errors: int) -> None:
        asked.clear()
        waiting = list(errors)

        def answered(_: int, number: int) -> int:
            asked.append(number)
            if waiting:
                raise OSError(waiting[0], os.strerror(waiting.pop(0)))
            return 0

        monkeypatch.setattr(fcntl, "fcntl", answered)

    monkeypatch.setattr(os, "fsync", lambda _: asked.append("fsync"))
    answer()
    sync(0)
    assert asked == [51]
    answer(errno.ENOTSUP)
    sync(0)
    assert asked == [51, "fsync"]
    answer(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        sync(0)
    assert asked == [51]


def test_the_turn_of_a_file_and_its_first_byte_are_two_locks(tmp_path):
    """flock() and the locks on bytes are one kind there: neither may stand in the other's way."""
    path = tmp_path / "ticket"
    path.touch()
    one, other = (os.open(path, os.O_RDWR) for _ in range(2))
    assert lock_bytes(one, RDLCK)
    assert lock_bytes(other, RDLCK)
    turn(one, AT_ONCE)
    with pytest.raises(BlockingIOError):
        turn(other, AT_ONCE)
    turn(one, OVER)
    turn(other, AT_ONCE)
    assert not lock_bytes(other, WRLCK)  # the first has its byte still
    os.close(one)
    assert lock_bytes(other, WRLCK)
    os.close(other)


def test_a_lock_survives_another_close_of_the_file(tmp_path):
    path = tmp_path / "slots"
    path.touch()
    holder, other = (os.open(path, os.O_RDWR) for _ in range(2))
    assert lock_bytes(holder, WRLCK, 256, 256)
    os.close(os.open(path, os.O_RDONLY))
    assert not lock_bytes(other, WRLCK, 300, 1)
    assert lock_bytes(other, WRLCK, 512, 256)


def test_a_file_opened_again_is_the_same_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    with path.open("rb") as file:
        again = opened_again(file.fileno(), str(path), os.O_RDWR)
        assert os.path.samestat(os.fstat(again), os.fstat(file.fileno()))
        os.close(again)
        path.rename(tmp_path / "aside")
        path.write_bytes(b"another")
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            opened_again(file.fileno(), str(path), os.O_RDWR)


@pytest.mark.parametrize("end", ["", "-shm"])
def test_python_code_may_not_open_a_live_file(journal_path, end):
    """Until the last journal that has it open here is closed: to close it would end SQLite's locks."""
    path = Path(f"{journal_path}{end}")
    with Journal(journal_path) as journal:
        journal.session("s", writer="w", role="run").append({"n": 1})
        with Journal(journal_path) as other:
            assert other.id == journal.id
        for touch in (Path.read_bytes, lambda path: shutil.copy(path, f"{path}.copy")):
            with pytest.raises(UnsafeSQLite) as caught:
                touch(path)
            assert caught.value.code == "live-file"
        journal.session("s", writer="w", role="run").append({"n": 2})
    assert journal_path.read_bytes().startswith(b"SQLite format 3\0")


def test_a_forked_child_may_open_what_it_has_no_locks_on(journal_path):
    with Journal(journal_path) as journal:
        journal.session("s", writer="w", role="run").append({"n": 1})
        pid = os.fork()
        if not pid:
            os._exit(not journal_path.read_bytes())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        with pytest.raises(UnsafeSQLite):
            journal_path.read_bytes()


# -- processes ------------------------------------------------------------------------


def test_a_process_is_known_by_its_start_and_its_boot(child):
    here, other = this_process(), other_process(child.pid)
    assert other is not None
    assert here.boot_id == other.boot_id == darwin.boot_session() != ""
    assert here.started_us == start_time(os.getpid())
    assert other.program
    assert liveness(other) == "alive"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(other)  # though its parent has not waited for it
    child.wait()
    assert is_dead(other)
    assert is_dead(replace(here, started_us=1))
    assert is_dead(replace(here, boot_id="another boot"))


def test_in_a_sandbox_that_tells_nothing_nobody_is_dead(child, monkeypatch):
    other = other_process(child.pid)
    assert other is not None

    def refused(_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(darwin, "running", refused)
    assert start_time(child.pid) is None
    assert not is_dead(other)
    child.kill()
    child.wait()
    assert is_dead(other)  # there is no such process, and that is always told


def test_who_cannot_say_when_it_was_started_is_not_called_dead():
    """It has no boot either: its time is a guess that nobody else makes."""
    assert not is_dead(replace(this_process(), started_us=1, boot_id=""))


# -- places and names -----------------------------------------------------------------


def test_a_place_on_a_network_is_refused(journal_path, monkeypatch):
    found = darwin.mounted(str(journal_path.parent))
    assert found is not None
    assert found[2] not in place.UNSAFE_FILE_SYSTEMS
    for kind in ("smbfs", "afpfs", "nfs", "webdav"):
        monkeypatch.setattr(darwin, "mounted", lambda _, kind=kind: ("//host/share", "/x", kind))
        with pytest.raises(UnsafeSQLite, match=f"is on {kind}"):
            Journal(journal_path)


def test_a_directory_on_the_way_swapped_for_a_link(tmp_path):
    """The system itself follows no link, wherever in the path it stands."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    with Journal(tmp_path / "agent.db") as journal:
        session = journal.session("s", writer="w", role="run", mirror=inner / "s.jsonl")
        session.append({"n": 1})
    (tmp_path / "a").rename(tmp_path / "aside")
    (tmp_path / "a").symlink_to(tmp_path / "aside")
    with Journal(tmp_path / "agent.db") as journal:
        journal.session("s", writer="w", role="run").append({"n": 2})
        (status,) = journal.mirrors.status()
        assert "a link was put into its path" in str(status.detail)


def test_two_spellings_of_a_mirror_are_one(tmp_path, monkeypatch):
    """The system finds a file by its name in any case; as its directory has it, it is one."""
    stored = tmp_path / "Sessions" / "Main.jsonl"
    stored.parent.mkdir()
    stored.write_bytes(b"")

    def as_stored(path: str) -> str:
        known = (stored, stored.parent)
        return next((str(each) for each in known if str(each).lower() == path.lower()), path)

    def lstat(path: str) -> os.stat_result:
        return Path(as_stored(path)).stat()

    monkeypatch.setattr(darwin, "_real", as_stored)
    monkeypatch.setattr("journal.darwin.os.lstat", lstat)
    given = tmp_path / "Sessions"
    assert real_path(given / "main.JSONL") == str(stored)
    assert real_path(given / "new.jsonl") == str(given / "new.jsonl")


def test_a_name_is_told_without_opening_the_file(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"")
    path.chmod(0)
    assert real_path(path) == str(path.resolve())


# -- a journal ------------------------------------------------------------------------

WRITERS = """
import sys
from threading import Thread
from journal import Journal
with Journal(sys.argv[1]) as journal:
    def write(name):
        session = journal.session("s", writer=name, role="tool")
        for number in range(15):
            session.append({"n": number})
    threads = [Thread(target=write, args=(f"{sys.argv[2]}-{each}",)) for each in range(2)]
    for each in threads: each.start()
    for each in threads: each.join()
"""


def test_processes_and_threads_write_beside_a_fence(journal_path):
    with Journal(journal_path) as journal:
        run = journal.session("s", writer="gateway", role="run")
        fence = run.fence()
        starting = [
            subprocess.Popen([sys.executable, "-c", WRITERS, str(journal_path), each])
            for each in "abc"
        ]
        for each in starting:
            assert each.wait(120) == 0
        assert fence.check().outcome == "accepted"
        counts = [entry.writer for entry in run]
        assert sorted(set(counts)) == [f"{name}-{each}" for name in "abc" for each in (0, 1)]
        assert len(counts) == 90
        assert is_open(str(journal_path))
    assert not is_open(str(journal_path))
    assert sorted(each.name for each in journal_path.parent.glob("agent.db*")) == ["agent.db"]
    assert audit(journal_path).verdict == "ok, not anchored"


def test_a_takeover_by_the_file_is_named(tmp_path, journal_path):
    path = tmp_path / "s.jsonl"
    with Journal(journal_path) as journal:
        run = journal.session("s", writer="gateway", role="run", mirror=path)
        run.append({"n": 1})
        assert path.read_bytes() == b'{"n":1}\n'
        fence = run.fence()
        with path.open("ab") as file:
            file.write(b'{"n":"stranger"}\n')
        with pytest.raises(SessionTakeover):
            fence.check()
        assert [entry.trust for entry in run] == ["asserted", "external"]
        run.append({"n": 2})
        assert path.read_bytes().splitlines()[-1] == b'{"n":2}'


def test_a_mirror_that_was_moved_is_not_written_to(tmp_path, journal_path):
    path = tmp_path / "s.jsonl"
    with Journal(journal_path) as journal:
        run = journal.session("s", writer="gateway", role="run", mirror=path)
        run.append({"n": 1})
        path.rename(tmp_path / "aside")
        path.write_bytes(b"another's\n")
        run.append({"n": 2})
        assert (tmp_path / "aside").read_bytes() == b'{"n":1}\n'
        assert b"another's\n" in path.read_bytes()


HOLDER = """
import sys
from journal import Journal
turn = Journal(sys.argv[1]).session("s", writer="gateway", role="run").claim()
print("held", flush=True)
sys.stdin.readline()
"""


def test_the_claim_of_a_killed_holder_is_superseded(journal_path):
    with Journal(journal_path) as journal:
        other = journal.session("s", writer="other", role="run")
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(journal_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Exception, match="pid"):
            other.claim()
        holder.kill()
        holder.communicate()
        assert other.claim().stands


def test_files_come_in_and_go_out_byte_for_byte(home, command):
    store = home / "store"
    store.mkdir()
    originals = sorted((FIXTURES / "pi").rglob("*.jsonl"))
    assert originals
    for number, each in enumerate(originals):
        shutil.copyfile(each, store / f"{number}-{each.name}")
    command("migrate", "--apply", "--verify", store)
    command("export", "--all", "rebuilt")
    rebuilt = {each.read_bytes() for each in (home / "rebuilt").rglob("*.jsonl")}
    assert {each.read_bytes() for each in originals} == rebuilt


def test_a_directory_is_watched(home, command):
    pytest.importorskip("watchfiles")
    store = home / "store"
    store.mkdir()
    path = store / "a.jsonl"
    path.write_bytes(b'{"type":"session","version":3,"id":"s-1"}\n{"n":1}\n')
    assert command("watch", "--once", store).stdout.startswith("adopted\ts-1")
    with path.open("ab") as file:
        file.write(b'{"n":2}\n')
    assert command("watch", "--once", store).stdout.startswith("taken in\ts-1\t1")


def test_a_journal_is_backed_up_audited_and_restored(home, command):
    with Journal(home / "journal.db") as journal:
        run = journal.session("s", writer="w", role="run")
        run.append({"n": 1})
        command("backup", "copy.db")
        run.append({"n": 2})
        command("restore", "copy.db", "--apply", code=1)  # somebody has it open
    command("restore", "copy.db", "--apply")
    assert command("export", "s").stdout == '{"n":1}\n'
    facts = {each["name"]: each for each in json.loads(command("doctor", "--json").stdout)["facts"]}
    assert facts["open in"]["words"] == "this system does not say who has it open"
    assert facts["file system"]["state"] == "ok"


def test_the_demo_holds(command):
    assert command("demo").stdout.rstrip().endswith("claims hold.")


def test_a_forked_child_leaves_its_parents_journal_alone(journal_path):
    with Journal(journal_path) as journal:
        run = journal.session("s", writer="w", role="run")
        run.append({"n": 1})
        pid = os.fork()
        if not pid:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        run.append({"n": 2})
        with Journal(journal_path) as other:
            other.session("s", writer="v", role="tool").append({"n": 3})


def test_no_mirror_is_a_journals_own_file_under_another_name(journal_path):
    """As a name in other letters would be; nothing there refuses the file's opening itself."""
    with Journal(journal_path) as journal:
        os.link(f"{journal_path}-wal", journal_path.with_name("AGENT.DB-WAL"))
        with pytest.raises(MirrorError, match="belongs to the journal"):
            journal.session(
                "s", writer="w", role="run", mirror=journal_path.with_name("AGENT.DB-WAL")
            )

"""Who has a file open, and what of it is locked, as ``/proc`` tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import pytest

from journal import openers
from journal.engine import connect

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


@pytest.fixture
def other(tmp_path):
    """A process that has a file open until the test is over."""
    (tmp_path / "file").write_bytes(b"x")
    script = "import sys; held = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "file"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    yield process
    process.communicate()


def seen(*paths):
    """Give what is seen of some files, where the system says it."""
    found = openers.look(paths)
    assert found is not None
    return found


def test_another_process_is_named_with_its_files(tmp_path, other):
    """By pid, user and program, under the name that was asked for."""
    path = str(tmp_path / "file")

    (found,) = seen(path, str(tmp_path / "not there")).openers

    assert (found.pid, found.uid, found.files, found.gone) == (
        other.pid,
        os.getuid(),
        (path,),
        (),
    )
    assert str(other.pid) in found.program


def test_a_file_that_is_gone_is_told_by_whatever_way_it_is_named(tmp_path, other):
    """A directory may be reached by a link: the kernel knows the file's own place alone."""
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").unlink()

    (found,) = seen(str(tmp_path / "link" / "file")).openers

    assert (found.pid, found.gone) == (other.pid, (str(tmp_path / "link" / "file"),))


def test_a_file_that_is_gone_is_told_apart(tmp_path, other):
    """Removed and made anew, the name means another file than the one held open."""
    path = tmp_path / "file"
    path.unlink()
    path.write_bytes(b"another")

    (found,) = seen(str(path)).openers

    assert (found.files, found.gone) == ((), (str(path),))


def test_a_process_that_may_not_be_looked_into_is_counted(tmp_path, monkeypatch):
    """It is not left out as if it had nothing open."""
    real = os.listdir

    def listdir(place):
        if str(place) == "/proc/1/fd":
            raise PermissionError
        return real(place)

    monkeypatch.setattr(os, "listdir", listdir)

    assert seen(str(tmp_path)).unseen == 1


def test_without_proc_nothing_is_claimed(tmp_path, monkeypatch):
    """Not "nobody", but "the system does not say"."""
    monkeypatch.setattr(openers, "_PROC", tmp_path / "none")

    assert openers.look([str(tmp_path)]) is None
    assert openers.byte_locks(str(tmp_path)) is None


def test_a_readers_mark_is_seen(tmp_path):
    """SQLite's own lock on the shared memory, with whose it is."""
    path = str(tmp_path / "a.db")
    with closing(connect(path, mode="rwc")) as connection:
        connection.execute("CREATE TABLE t(x)")
        before = {lock.first for lock in openers.byte_locks(f"{path}-shm") or ()}
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM t").fetchall()
        locks = openers.byte_locks(f"{path}-shm") or []

    (new,) = [lock for lock in locks if lock.first not in before]
    assert (new.pid, new.is_exclusive) == (os.getpid(), False)
    assert 123 <= new.first <= 127


@pytest.mark.parametrize(
    "line, lock",
    [
        ("1: POSIX  ADVISORY  READ 42 fe:00:7 123 125", (42, False, 123, 125)),
        ("1: POSIX  ADVISORY  WRITE 42 fe:00:7 0 EOF", (42, True, 0, 2**63 - 1)),
        ("1: -> POSIX  ADVISORY  WRITE 42 fe:00:7 0 EOF", None),
        ("1: OFDLCK ADVISORY  READ -1 fe:00:7 128 128", None),
        ("1: POSIX  ADVISORY  READ 42 fe:00:8 123 123", None),
        ("1: POSIX  ADVISORY  READ 42 fe:00:7 x y", None),
        ("", None),
    ],
)
def test_a_line_of_locks(line, lock):
    """A lock that is waited for is none, and a line that cannot be read neither."""
    assert openers._parsed(line, "fe:00:7") == lock

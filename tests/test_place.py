"""Places: told from the path and the mount table, never by opening the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from journal import Journal, NotFoundError, StorageError, UnsafeSQLite, place
from journal.audit import audit
from journal.place import Mount, check_place, mount_of
from tests.systems import LINUX

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /data rw - nfs4 server:/export rw
31 30 0:41 / /data/local rw - xfs /dev/vdb rw
32 22 0:42 / /with\\040space rw shared:5 master:1 - 9p host rw
33 22 0:43 /agent.db /srv/agent.db rw - ext4 /dev/vda rw
34 22 0:44 / /twice rw - cifs //server/share rw
35 34 0:45 / /twice rw - tmpfs tmpfs rw
not a mount
36 22
"""


@pytest.fixture
def mounts(monkeypatch):
    """Give a host's mount table that no test needs a host for."""
    real = Path.read_text

    def read_text(self: Path, *args: Any, **kwargs: Any) -> str:
        if str(self) == "/proc/self/mountinfo":
            return MOUNTS
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)


@LINUX
@pytest.mark.parametrize(
    "path, expected",
    [
        ("/home/u/agent.db", Mount("254:0", "/", "ext4")),
        ("/data/agent.db", Mount("0:40", "/data", "nfs4")),
        ("/database/agent.db", Mount("254:0", "/", "ext4")),
        ("/data/local/x/agent.db", Mount("0:41", "/data/local", "xfs")),
        ("/with space/agent.db", Mount("0:42", "/with space", "9p")),
        ("/srv/agent.db", Mount("0:43", "/srv/agent.db", "ext4")),
        ("/twice/agent.db", Mount("0:45", "/twice", "tmpfs")),
    ],
)
def test_a_path_is_on_the_deepest_mount_and_the_newest_of_two(mounts, path, expected):
    assert mount_of(Path(path)) == expected


@pytest.mark.parametrize("kind", sorted(place.UNSAFE_FILE_SYSTEMS))
def test_a_file_system_whose_locks_do_not_hold_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(place, "mount_of", lambda _: Mount("0:1", "/mnt", kind))

    with pytest.raises(UnsafeSQLite, match=kind) as caught:
        check_place(tmp_path / "agent.db")

    assert "local disk" in (caught.value.hint or "")


@pytest.mark.parametrize("way", ["link", "local/../link"])
def test_so_it_is_where_a_link_leads_there(tmp_path, monkeypatch, way):
    """The directory's own place is what counts, not that of the name it was reached by."""
    real, local = tmp_path / "real", tmp_path / "local"
    real.mkdir()
    local.mkdir()
    (tmp_path / "link").symlink_to(real)

    def mounted(path: Path) -> Mount:
        return Mount("0:1", "/mnt", "nfs4" if path.is_relative_to(real) else "ext4")

    monkeypatch.setattr(place, "mount_of", mounted)
    check_place(local / "agent.db")

    with pytest.raises(UnsafeSQLite, match="nfs4"):
        check_place(tmp_path / way / "agent.db")


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal", "-ticket", "-mirrors"])
def test_a_name_that_belongs_to_another_database_is_refused(tmp_path, end):
    """Completed one step too far: SQLite would read a journal that stands there as the other's log."""
    path = tmp_path / f"agent.db{end}"
    check_place(path)
    (tmp_path / "agent.db").mkdir()  # "agent-journal" beside a directory "agent" is nobody's
    check_place(path)
    (tmp_path / "agent.db").rmdir()
    (tmp_path / "agent.db").write_bytes(b"notes")
    check_place(path)
    (tmp_path / "agent.db").write_bytes(b"x" * 4096)
    path.touch()

    with pytest.raises(StorageError) as caught:
        check_place(path)

    assert caught.value.code == "own-file"
    assert str(tmp_path / "agent.db") in (caught.value.hint or "")
    check_place(tmp_path / end)


def test_a_bind_mount_of_the_single_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "agent.db"
    monkeypatch.setattr(place, "mount_of", lambda _: Mount("0:1", str(path), "ext4"))

    with pytest.raises(UnsafeSQLite, match="bind mount") as caught:
        check_place(path)

    assert caught.value.hint


def test_a_system_that_does_not_say_is_let_be(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "mount_of", lambda _: None)

    check_place(tmp_path / "agent.db")


def test_a_new_or_an_ordinary_file_is_fine(tmp_path):
    path = tmp_path / "agent.db"
    check_place(path)
    path.touch()
    check_place(path)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        check_place(tmp_path / "no" / "agent.db")

    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"


def test_a_second_name_is_refused(tmp_path):
    path = tmp_path / "agent.db"
    path.touch()
    os.link(path, tmp_path / "second")

    with pytest.raises(UnsafeSQLite, match="2 hard links") as caught:
        check_place(path)

    assert caught.value.hint


def test_a_symbolic_link_is_refused_and_the_file_itself_named(tmp_path):
    real = tmp_path / "real.db"
    real.touch()
    link = tmp_path / "agent.db"
    link.symlink_to(real)

    with pytest.raises(UnsafeSQLite) as caught:
        check_place(link)

    assert str(real) in (caught.value.hint or "")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_refused(tmp_path, make):
    path = tmp_path / "agent.db"
    make(path)

    with pytest.raises(StorageError, match=r"is a directory|is not a regular file") as caught:
        check_place(path)

    assert caught.value.hint


@pytest.mark.parametrize("name", ["n" * 300, f"{'n' * 300}/a.db"])
@pytest.mark.parametrize("looks", [check_place, audit, Journal])
def test_a_name_that_is_too_long(tmp_path, name, looks):
    """As a directory that is closed to this user: the system does not say what is there."""
    with pytest.raises(StorageError) as caught:
        looks(tmp_path / name)

    assert caught.value.hint


def test_a_link_to_itself_is_refused_like_any_link(tmp_path):
    """It leads nowhere, and is no error of ours."""
    loop = tmp_path / "a.db"
    loop.symlink_to(loop)

    with pytest.raises(UnsafeSQLite, match="symbolic link"):
        check_place(loop)

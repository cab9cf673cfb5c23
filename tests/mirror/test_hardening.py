"""What a machine, a file system or another program can do to a mirror, and what must still hold.

In each: the journal is whole, no append fails by its mirror, and the state is said.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import (
    BusyError,
    EntryError,
    Journal,
    MirrorError,
    SessionTakeover,
    StorageError,
    mending,
    reconciling,
)
from journal import ledger as ledger_module
from journal import mirrors as mirrors_module
from journal.audit import audit
from journal.controls import decode
from journal.export import export
from journal.guards import descriptors_of, identity_of
from journal.lines import LINE_LIMIT
from journal.mirror import Mirror
from journal.mirrorfile import MirrorFile
from journal.pages import rows_of
from journal.parts import PART_SIZE
from journal.process import this_process
from journal.serving import served
from journal.sidefile import Known, SideFile
from journal.store import Store
from tests.systems import LINUX
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal import Session
    from journal.registry import MirrorFact

pytestmark = pytest.mark.filterwarnings("ignore")


def facts(session: Session, control: str) -> list[dict[str, Any]]:
    """Return what the session's control entries of one sort say."""
    with session.store.snapshot() as cursor:
        chain = session.store.find_chain(cursor, session.key)
        assert chain is not None
        rows = [row for row in rows_of(cursor, chain.session_id, 1) if row.kind == b"control"]
    return [fact for fact in map(decode, (row.body for row in rows)) if fact["control"] == control]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


# -- after a power cut ----------------------------------------------------------------


@pytest.fixture
def unsynced(mirrored: Session, path: Path) -> tuple[Session, int]:
    """Give a session with two lines behind the synced position, and that position."""
    mirrored.fence()  # a fence syncs
    synced = path.stat().st_size
    mirrored.append({"n": 3})
    mirrored.append({"n": 4})
    return mirrored, synced


def reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "this_boot", lambda: "another-boot")


def test_nul_damage_behind_the_synced_position_is_put_right(
    unsynced: tuple[Session, int],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
) -> None:
    """Repaired in place, the found bytes kept, and nobody's fault."""
    session, synced = unsynced
    fence = session.fence
    inode = path.stat().st_ino
    raised = fence_without_looking(session)
    overwrite(path, synced + 3, b"\0" * 6)
    reboot(monkeypatch)
    assert raised.check().accepted
    assert in_step()
    assert path.stat().st_ino == inode
    (damage,) = facts(session, "damage")
    found = [base64.b64decode(data) for _, data in damage["found"]]
    assert b"".join(found) == b'{"n\0\0\0\0\0' + b'\0"n":4}\n'
    assert fence().check().accepted


def fence_without_looking(session: Session) -> Any:
    """Raise a fence that neither syncs nor reads the file, as one of before the power cut."""
    mirrors, session.store.mirrors = session.store.mirrors, None
    fence = session.fence()
    session.store.mirrors = mirrors
    return fence


def test_under_the_same_boot_the_same_bytes_are_an_edit(
    unsynced: tuple[Session, int], path: Path
) -> None:
    """A kill -9 damages nothing, and excuses nothing."""
    session, synced = unsynced
    raised = fence_without_looking(session)
    overwrite(path, synced + 3, b"\0" * 6)
    assert not raised.check(raise_=False).accepted
    assert not facts(session, "damage")


def test_what_was_synced_is_never_damage(
    unsynced: tuple[Session, int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, synced = unsynced
    raised = fence_without_looking(session)
    overwrite(path, synced - 5, b"\0" * 8)
    reboot(monkeypatch)
    assert not raised.check(raise_=False).accepted
    assert not facts(session, "damage")


def test_foreign_lines_are_no_damage(
    unsynced: tuple[Session, int],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
) -> None:
    """Ours are all there: what stands beside them came from outside, reboot or not."""
    session, synced = unsynced
    raised = fence_without_looking(session)
    data = path.read_bytes()
    path.write_bytes(data[:synced] + b'{"evil":1}\n' + data[synced:])
    reboot(monkeypatch)
    assert [entry.data for entry in raised.check(raise_=False).foreign] == [b'{"evil":1}\n']
    assert in_step()


@pytest.mark.parametrize("lost", [3, 8, 11, 16])
def test_lines_that_never_reached_the_disk_are_written_again(
    unsynced: tuple[Session, int],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
    lost: int,
) -> None:
    session, _ = unsynced
    raised = fence_without_looking(session)
    os.truncate(path, path.stat().st_size - lost)
    reboot(monkeypatch)
    assert raised.check().accepted
    assert in_step()


# -- crashes --------------------------------------------------------------------------


def test_a_crash_between_commit_and_mirror_heals_at_the_next_open(
    mirrored: Session, path: Path, journal_path: Path, in_step: Callable[[], bool]
) -> None:
    mirrored.store.mirrors, mirrors = None, mirrored.store.mirrors
    mirrored.append({"n": 3})
    mirrored.store.mirrors = mirrors
    assert not in_step()
    with Journal(journal_path) as other:
        other.session(KEY)
        assert in_step()


@pytest.mark.parametrize("torn", range(1, 9))
def test_a_crash_within_a_mirror_write_heals(
    mirrored: Session, path: Path, in_step: Callable[[], bool], torn: int
) -> None:
    """The beginning of our own line is ours, and the line is finished."""
    fence = mirrored.fence()
    mirrors, mirrored.store.mirrors = mirrored.store.mirrors, None
    line = mirrored.append({"n": 3}).data
    mirrored.store.mirrors = mirrors
    with path.open("ab") as file:
        file.write(line[:torn])
    mirrored.append({"n": 4})
    assert fence.check().accepted
    assert not mirrored.read(trusted=False)
    assert in_step()


@pytest.mark.parametrize("moment", ["cut noted", "cut", "cut and known", "written"])
def test_a_crash_within_a_rewrite_heals(
    mirrored: Session,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
    moment: str,
) -> None:
    """G27: both or neither, and no line that the rewrite left out comes back as foreign."""
    fence = mirrored.fence()
    with monkeypatch.context() as patch:
        crash_at(patch, moment)
        mirrored.rewrite([{"sum": 1}], base=mirrored.head.seq, reason="compacted")
        assert not in_step() or moment == "written"
    assert fence.check().accepted
    assert not mirrored.read(trusted=False)
    assert in_step()


def crash_at(patch: pytest.MonkeyPatch, moment: str) -> None:
    def crash(*_: object) -> None:
        message = "as if the process had died"
        raise OSError(message)

    file: Any = MirrorFile
    if moment == "cut noted":
        patch.setattr(file, "cut", crash)
    elif moment == "cut":
        cut = file.cut

        def cut_and_crash(self: Any, size: int) -> None:
            cut(self, size)
            crash()

        patch.setattr(file, "cut", cut_and_crash)
    elif moment == "cut and known":
        patch.setattr(file, "append", crash)
    else:
        patch.setattr(reconciling, "_remember", crash)


# -- a file that cannot be written ----------------------------------------------------


def test_a_mirror_that_cannot_be_written_never_fails_an_append(
    journal: Journal,
    mirrored: Session,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Counted, said in the log and the status, tried again at each write."""
    with monkeypatch.context() as patch:
        patch.setattr(MirrorFile, "append", refuse_writing)
        for n in range(5):
            mirrored.append({"m": n})
        (status,) = journal.mirrors.status()
        assert (status.state, status.failures) == ("failing", 5)
        assert "Permission denied" in str(status.detail)
        assert len([r for r in caplog.records if "could not be served" in r.message]) == 3
    mirrored.append({"m": 5})
    assert in_step()
    assert journal.mirrors.status()[0].state == "on"


def refuse_writing(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_file_that_lacks_much_is_given_it_in_pieces(
    journal: Journal,
    mirrored: Session,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MirrorFile, "append", refuse_writing)
        for n in range(4):
            mirrored.append({"m": n})
    pieces: list[bytes] = []
    add = MirrorFile.append

    def noted(self: MirrorFile, data: bytes) -> None:
        pieces.append(data)
        add(self, data)

    monkeypatch.setattr(MirrorFile, "append", noted)
    monkeypatch.setattr(reconciling, "_WORTH_A_TICK", 10)
    journal.mirrors.reconcile(2)

    assert pieces == [b'{"m":0}\n{"m":1}\n', b'{"m":2}\n{"m":3}\n']
    assert in_step()


def test_a_large_file_that_was_just_changed_is_vouched_for_a_tick_later(
    journal: Journal, mirrored: Session, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To wait it out takes less than to read all of it once more."""
    mirrored.fence()
    monkeypatch.setattr(reconciling, "_WORTH_A_TICK", 1)
    monkeypatch.setattr(reconciling, "TICK_NS", 300_000_000)
    os.utime(path)
    journal.mirrors.reconcile(2)

    mirror: Any = journal.mirrors.mirror(2)
    assert mirror.known().mtime_ns == path.stat().st_mtime_ns


def test_a_file_that_changes_at_each_look_is_told_and_what_came_is_kept(
    journal: Journal,
    mirrored: Session,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
) -> None:
    compare = reconciling._compare
    came: list[bytes] = []

    def meanwhile(*given: Any) -> Any:
        came.append(b'{"x":%d}\n' % len(came))
        with path.open("ab") as file:
            file.write(came[-1])
        return compare(*given)

    with monkeypatch.context() as patch:
        patch.setattr(reconciling, "_compare", meanwhile)
        with pytest.raises(MirrorError, match="faster than it can be compared; 8 lines became"):
            journal.mirrors.reconcile(2)

    assert len(came) == 8
    assert [entry.data for entry in mirrored.read(trusted=False)] == came
    assert in_step()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_under_the_mirror(
    journal: Journal, small_disk: Path, exported: Callable[[], bytes]
) -> None:
    """A line is torn where the disk ends; it is finished once there is room."""
    path, ballast = small_disk / "s.jsonl", small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    session = journal.session(KEY, writer="gateway", role="run", mirror=path)
    fence = session.fence()
    for n in range(10):
        session.append({"n": n, "text": "x" * 5000})
    assert journal.mirrors.status()[0].state == "failing"
    ballast.unlink()
    session.append({"n": 10})
    assert fence.check().accepted
    assert path.read_bytes() == exported()
    journal.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to any file")
def test_permission_lost_midway(journal: Journal, mirrored: Session, path: Path) -> None:
    path.chmod(0)
    mirrored.append({"n": 3})
    path.chmod(0o600)
    mirrored.append({"n": 4})
    assert journal.mirrors.status()[0].state == "on"


def test_more_than_one_link(journal: Journal, mirrored: Session, path: Path) -> None:
    """A second name changes the file's times under its readers: it is refused while it has one."""
    second = path.with_suffix(".second")
    second.hardlink_to(path)
    with Journal(mirrored.store.path) as other:
        handle = other.session(KEY, writer="heartbeat", role="heartbeat")
        handle.append({"hb": 1})
        (status,) = other.mirrors.status()
        assert "2 links" in str(status.detail)
        with pytest.raises(MirrorError, match="2 links"):
            handle.fence()
    second.unlink()
    mirrored.append({"n": 3})
    assert journal.mirrors.status()[0].state == "on"


def test_one_huge_line_becomes_parts(
    journal: Journal, mirrored: Session, path: Path, exported: Callable[[], bytes]
) -> None:
    before, size = exported(), LINE_LIMIT + 2
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + size)
    mirrored.append({"n": 3})
    assert journal.mirrors.status()[0].detail is None
    assert path.read_bytes() == exported() == before + bytes(size) + b'\n{"n":3}\n'
    huge = [entry for entry in mirrored.read() if entry.kind == "part"]
    assert {entry.trust for entry in huge} == {"external"}
    assert b"".join(entry.data for entry in huge) == bytes(size)
    assert max(len(entry.data) for entry in huge) == PART_SIZE


def test_a_stopped_server_does_not_stop_appends(
    journal: Journal, mirrored: Session, monkeypatch: pytest.MonkeyPatch, journal_path: Path
) -> None:
    """Another process stands still while it holds the mirror's lock."""
    monkeypatch.setattr("journal.sidefile.LOCK_WAIT_S", 0.2)
    monkeypatch.setattr(SideFile.lock, "__defaults__", (0.2,))
    other = SideFile(f"{journal_path}-mirrors", mirrored.store.mac)
    assert other.lock(1)
    began = time.monotonic()
    mirrored.append({"n": 3})
    assert time.monotonic() - began < 5
    assert journal.mirrors.status()[0].state == "failing"
    with pytest.raises(BusyError):
        mirrored.fence()
    other.unlock(1)
    other.close()
    mirrored.append({"n": 4})
    assert journal.mirrors.status()[0].state == "on"


def open_files(directory: Path) -> list[str]:
    """Return which files of a directory this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # that of the listing itself
            found.append(str(link.readlink()))
    return sorted(name for name in found if name.startswith(f"{directory}/"))


@LINUX
def test_few_files_are_kept_open_however_many_are_served(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell gives a process 1,024 descriptors, for its own affairs too; a store may have ten times as many files."""
    monkeypatch.setattr(mirrors_module, "MOST_OPEN", 3)
    directory = tmp_path / "many"
    directory.mkdir()
    sessions = {
        name: journal.session(name, writer="w", role="run", mirror=directory / name)
        for name in map(str, range(12))
    }
    for number in range(3):
        for session in sessions.values():
            session.append({"n": number})
            assert len(open_files(directory)) <= 3
    for name, session in sessions.items():
        assert (directory / name).read_bytes() == b"".join(export(journal, name))
        (status,) = journal.mirrors.status([session.key])
        assert status.state == "on"
        assert name in {"9", "10", "11"} or status.synced_to == status.size
    assert audit(journal.path).findings == ()


@LINUX
def test_a_file_that_somebody_is_at_is_not_let_go(journal: Journal, tmp_path: Path) -> None:
    """Be it this thread, another, or another process."""
    directory = tmp_path / "two"
    directory.mkdir()
    for name in "ab":
        journal.session(name, writer="w", role="run", mirror=directory / name).append({"n": 1})
    a, b = (journal.mirrors.here(name) for name in "ab")
    other = SideFile(f"{journal.path}-mirrors", journal.store.mac)
    assert other.lock(a.fact.number)
    with b.lock, ThreadPoolExecutor() as pool:
        assert [a.rest(), b.rest(), pool.submit(b.rest).result()] == [False] * 3
        assert len(open_files(directory)) == 2
    other.close()
    assert [a.rest(), b.rest(), a.rest()] == [True] * 3
    assert open_files(directory) == []


# -- paths ----------------------------------------------------------------------------


def test_a_relative_path_from_two_directories(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the place where it was first meant; elsewhere the same words mean another file."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    journal.session(KEY, writer="gateway", role="run", mirror="s.jsonl").append({"n": 0})
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(MirrorError, match="has its mirror at"):
        journal.mirrors.add(KEY, "s.jsonl")
    journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    assert (tmp_path / "one" / "s.jsonl").read_bytes() == b'{"n":0}\n{"n":1}\n'
    assert not (tmp_path / "two" / "s.jsonl").exists()


def test_a_path_through_dot_dot_and_links_is_one_path(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one = journal.mirrors.add(KEY, tmp_path / "real" / "deep" / ".." / "s.jsonl")
    assert journal.mirrors.add(KEY, tmp_path / "link" / "s.jsonl") == one
    assert one.path == str((tmp_path / "real" / "s.jsonl").resolve())


@pytest.mark.parametrize("name", ["link", "directory", "two links", "taken", "nowhere", "openclaw"])
def test_places_that_cannot_be_a_mirror(journal: Journal, tmp_path: Path, name: str) -> None:
    path = tmp_path / "s.jsonl"
    if name == "link":
        path.symlink_to(tmp_path / "other")
    elif name == "directory":
        path.mkdir()
    elif name == "two links":
        path.write_bytes(b"")
        (tmp_path / "second").hardlink_to(path)
    elif name == "taken":
        journal.mirrors.add("another:session", path)
    elif name == "nowhere":
        path = tmp_path / "nowhere" / "s.jsonl"
    else:
        home = tmp_path / "agents" / "main"
        (home / "agent").mkdir(parents=True)
        (home / "agent" / "openclaw-agent.sqlite").write_bytes(b"")
        (home / "sessions").mkdir()
        path = home / "sessions" / "s.jsonl"
    with pytest.raises(MirrorError) as caught:
        journal.mirrors.add(KEY, path)
    assert caught.value.hint
    journal.session(KEY, writer="gateway", role="run").append({"n": 0})


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-mirrors", "-ticket", "-journal"])
def test_no_mirror_is_a_journals_own_file(journal: Journal, end: str) -> None:
    """Its lines would be written into the database."""
    with pytest.raises(MirrorError, match="belongs to the journal") as caught:
        journal.mirrors.add(KEY, f"{journal.path}{end}")
    assert caught.value.code == "own-file"
    journal.session(KEY, writer="gateway", role="run").append({"n": 0})


def test_no_mirror_is_a_database_or_a_key(journal: Journal, tmp_path: Path, key_file: Path) -> None:
    """A line appended would damage either, and what a key file holds would be in the journal."""
    with Journal(tmp_path / "other.db"):
        pass
    for path in (tmp_path / "other.db", key_file):
        before = path.read_bytes()
        with pytest.raises(MirrorError, match="no file of lines") as caught:
            journal.mirrors.add(KEY, path)
        assert caught.value.code == "no-lines"
        assert path.read_bytes() == before
    journal.session(KEY, writer="gateway", role="run").append({"n": 0})
    assert journal.mirrors.facts() == []


def test_a_directory_on_the_way_swapped_for_a_link(
    journal: Journal, mirrored: Session, path: Path, tmp_path: Path
) -> None:
    """What is behind the link is not ours to write to."""
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / path.name).write_bytes(b"precious\n")
    path.parent.rename(tmp_path / "aside")
    path.parent.symlink_to(trap)
    mirrored.append({"n": 3})
    assert (trap / path.name).read_bytes() == b"precious\n"
    (status,) = journal.mirrors.status()
    assert "a link was put into its path" in str(status.detail)


def test_a_directory_that_cannot_be_searched_is_no_file_that_is_gone(
    mirrored: Session, path: Path, tmp_path: Path
) -> None:
    """Not looked at is neither accepted nor a takeover, and nothing is sealed of it."""
    path.parent.rename(tmp_path / "aside")
    path.parent.symlink_to(path.parent)  # as of a mode, or a server that went away, lstat() says no
    database = mirrored.store.path
    with Journal(database) as other:
        handle = other.session(KEY, writer="heartbeat", role="heartbeat")
        handle.append({"hb": 1})
        with pytest.raises(MirrorError, match="cannot be used"):
            handle.fence()
        (status,) = other.mirrors.status()
    assert [status.state, *(each.state for each in served(database))] == ["failing", "failing"]
    assert facts(mirrored, "edit") == []

    path.parent.unlink()
    (tmp_path / "aside").rename(path.parent)
    with mirrored.fence():
        mirrored.append({"n": 3})
    assert path.read_bytes().endswith(b'{"hb":1}\n{"n":3}\n')
    assert [each.state for each in served(database)] == ["on"]


def test_a_mirror_on_another_host_is_not_served_here(
    journal: Journal, mirrored: Session, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    elsewhere = this_process()
    for module in (mirrors_module, ledger_module):
        monkeypatch.setattr(
            module,
            "this_process",
            lambda: type(elsewhere)(**{**vars_of(elsewhere), "host": "elsewhere"}),
        )
    fence = mirrored.fence()
    mirrored.append({"n": 3})
    assert fence.check().accepted
    assert path.read_bytes() == before
    (status,) = journal.mirrors.status()
    assert status.state == "elsewhere"


def vars_of(process: Any) -> dict[str, Any]:
    return {name: getattr(process, name) for name in process.__slots__}


# -- what is not touched --------------------------------------------------------------


def test_an_unchanged_file_is_never_touched(
    journal: Journal, mirrored: Session, path: Path, journal_path: Path
) -> None:
    """Neither its content nor its times: a program that guards it by them sees nothing."""
    fence = mirrored.fence()
    before = path.stat()
    time.sleep(0.03)
    for _ in range(3):
        fence.check()
        mirrored.fence()
    journal.session("another", writer="gateway", role="run").append({"n": 0})
    with Journal(journal_path) as other:
        other.session(KEY, writer="heartbeat", role="heartbeat", mirror=path).fence().check()
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


def test_mode_and_inode_are_kept(journal: Journal, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"old":1}\n')
    path.chmod(0o640)
    inode = path.stat().st_ino
    session = journal.session(KEY, writer="gateway", role="run", mirror=path)
    session.append({"n": 0})
    session.rewrite(session.read()[:1], base=session.head.seq, reason="cut back")
    assert (path.stat().st_mode & 0o777, path.stat().st_ino) == (0o640, inode)
    path.unlink()
    session.append({"n": 1})
    journal.mirrors.recreate(KEY)
    assert path.stat().st_mode & 0o777 == 0o640


@LINUX
def test_a_file_that_is_made_again_is_on_disk_and_the_one_that_was_removed_closed(
    journal: Journal,
    mirrored: Session,
    path: Path,
    in_step: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed, synced = path.with_name("removed"), list[Path]()
    path.rename(removed)
    monkeypatch.setattr("journal.mirrorfile.sync_directory", synced.append)
    journal.mirrors.recreate(KEY)
    assert in_step()
    assert synced == [path.parent]
    assert descriptors_of(identity_of(removed.stat())) == set()


def test_a_new_file_is_private(mirrored: Session, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_fences_and_close_sync(
    mirrored: Session, monkeypatch: pytest.MonkeyPatch, journal: Journal
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(MirrorFile, "sync", lambda self: synced.append(self.size))
    mirrored.append({"n": 3})
    mirrored.fence()
    assert synced == [32]
    mirrored.fence()
    assert synced == [32]  # nothing new to sync
    mirrored.append({"n": 4})
    journal.mirrors.sync()
    assert synced == [32, 40]


@pytest.mark.parametrize("is_rebooted", [False, True])
def test_what_is_known_of_a_file_is_forgotten_where_an_older_database_was_put_back(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, *, is_rebooted: bool
) -> None:
    """By hand, that is, and the file beside it left: the journal knows nothing of the last lines, and the file has them."""
    database, older = tmp_path / "agent.db", tmp_path / "older.db"
    path.parent.mkdir()
    with Journal(database) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=path)
        session.append({"n": 0})
    shutil.copy(database, older)
    with Journal(database) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.extend([{"n": n} for n in range(1, 6)])
        session.rewrite(session.read()[::-1], base=session.head.seq, reason="turned")
        session.rewrite(session.read()[::-1], base=session.head.seq, reason="and back")
    lost = path.read_bytes()
    shutil.copy(older, database)
    if is_rebooted:
        reboot(monkeypatch)
    with Journal(database) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"new": 1})
        assert path.read_bytes() == lost + b'{"new":1}\n' == b"".join(export(journal, KEY))
        assert [entry.trusted for entry in session.read()] == [True] + [False] * 5 + [True]


def test_a_new_mirror_is_none_that_a_database_knew_before_an_older_one_was_put_back(
    tmp_path: Path, path: Path
) -> None:
    """It gets the number that one had; nothing that is known under that is of this one's file."""
    database, older = tmp_path / "agent.db", tmp_path / "older.db"
    path.parent.mkdir()
    with Journal(database) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.extend([{"n": n} for n in range(9)])
    shutil.copy(database, older)
    with Journal(database) as journal:
        journal.session(KEY, writer="gateway", role="run", mirror=path).fence()
    whole = path.read_bytes()
    shutil.copy(older, database)
    with Journal(database) as journal:
        journal.mirrors.add(KEY, path.with_name("other.jsonl"))
        assert path.with_name("other.jsonl").read_bytes() == whole
        assert b"".join(export(journal, KEY)) == whole


@pytest.mark.parametrize("hand", [b"", b'{"foreign":1}\n'])
def test_a_file_that_a_rewrite_has_not_come_to_has_no_foreign_lines_of_ours(
    journal: Journal, mirrored: Session, path: Path, monkeypatch: pytest.MonkeyPatch, hand: bytes
) -> None:
    """It is looked at beside the order that it has."""
    monkeypatch.setattr(Mirror, "serve", lambda *_: None)
    first, *others = mirrored.read()
    with path.open("ab") as file:
        file.write(hand)
    mirrored.rewrite([first, {"n": 9}], base=mirrored.head.seq, reason="compacted")
    before = path.read_bytes()
    plan = journal.mirrors.here(KEY).preview()
    assert len(others) == 2
    assert [item.offset for item in plan.foreign] == ([len(before) - len(hand)] if hand else [])
    assert plan.what == ("foreign lines at the end" if hand else "behind")
    assert not plan.lost
    assert path.read_bytes() == before


def test_what_a_file_lacks_is_never_held_as_a_whole(
    mirrored: Session, in_step: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another host may have written for days, to a journal on a server."""
    monkeypatch.setattr("journal.mirror._MOST_AT_ONCE", 20)
    monkeypatch.setattr("journal.reconciling._WORTH_A_TICK", 20)
    with monkeypatch.context() as away:
        away.setattr(Mirror, "serve", lambda *_: None)
        mirrored.extend([{"n": n} for n in range(30)])
    sizes: list[int] = []
    append = MirrorFile.append

    def noted(self: MirrorFile, data: bytes) -> None:
        sizes.append(len(data))
        append(self, data)

    monkeypatch.setattr(MirrorFile, "append", noted)
    mirrored.append({"n": 30})
    assert in_step()
    assert max(sizes) <= 20 + len(b'{"n":10}\n')


def test_a_file_is_behind_only_where_it_lacks_a_line_or_an_order(
    journal: Journal, mirrored: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn's end, say, is an entry and no line."""

    def states() -> set[str]:
        (status,) = journal.mirrors.status()
        return {status.state, *(each.state for each in served(journal.path))}

    with mirrored.claim():
        pass
    assert states() == {"on"}
    monkeypatch.setattr(Mirror, "serve", lambda *_: None)
    mirrored.append({"n": 3})
    assert states() == {"behind"}
    mirrored.fence()
    assert states() == {"on"}
    mirrored.cut(1, mirrored.head.seq)
    assert states() == {"behind"}
    mirrored.fence()
    assert states() == {"on"}


@pytest.mark.parametrize("more", [b"", b'{"foreign":1}\n'])
def test_a_file_that_came_in_the_place_of_another_is_synced(
    journal: Journal,
    mirrored: Session,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: bytes,
) -> None:
    """Of that one nothing is known to be on disk, whatever is of the one that was there."""
    mirrored.fence()
    put_in_place = path.with_name("draft")
    put_in_place.write_bytes(path.read_bytes() + more)
    put_in_place.rename(path)
    journal.mirrors.reconcile(2, is_cheap=True, is_lazy=True)  # as a watch looks
    synced: list[int] = []
    sync = MirrorFile.sync

    def noted(file: MirrorFile) -> None:
        synced.append(file.inode)
        sync(file)

    monkeypatch.setattr(MirrorFile, "sync", noted)
    mirrored.fence()
    assert synced == [path.stat().st_ino]
    mirrored.fence()
    assert len(synced) == 1


@pytest.mark.parametrize("year", [1600, 1969, 2262, 2400])
def test_a_file_of_any_time_is_looked_at(
    mirrored: Session,
    path: Path,
    in_step: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
    year: int,
) -> None:
    """Nanoseconds since 1970 are more than 64 bits from 2262 on, and before 1677."""
    monkeypatch.setattr(reconciling, "TICK_NS", 0)
    fence = mirrored.fence()
    os.utime(path, ns=(0, (year - 1970) * 31_556_952 * 10**9 + 10**18))
    assert fence.check().accepted
    mirrored.append({"n": 3})
    assert fence.check().accepted
    assert in_step()


def test_what_is_known_of_a_file_with_any_number_is_shared(
    journal: Journal, tmp_path: Path
) -> None:
    """Some file systems in user space number their files with all of 64 bits."""
    side = SideFile(str(tmp_path / "side"), journal.store.mac)
    other = SideFile(str(tmp_path / "side"), journal.store.mac)
    for inode in (1, 2**63 - 1, 2**63, 2**64 - 1):
        side.write(1, Known(3, inode, 4, 5, 6, digest=bytes(32)))
        assert other.read(1) == side.read(1) == Known(3, inode, 4, 5, 6, digest=bytes(32))
    side.write(1, Known(3, 2**64 - 1, 4, 2**63, 6, digest=bytes(32)))
    assert other.read(1) == Known(3, 2**64 - 1, 4, 0, 0, digest=bytes(32))
    side.close()
    other.close()


def test_times_within_a_tick_are_not_relied_on(
    journal: Journal, mirrored: Session, path: Path
) -> None:
    """On a kernel with coarse times an edit right after our look may leave the same ones."""
    mirrored.append({"n": 3})
    fence = mirrored.fence()
    mirror: Any = journal.mirrors.mirror(2)
    assert mirror.known().mtime_ns == 0
    time.sleep(0.03)
    assert fence.check().accepted
    assert mirror.known().mtime_ns == path.stat().st_mtime_ns
    overwrite(path, 5, b"9")
    assert not fence.check(raise_=False).accepted


# -- processes ------------------------------------------------------------------------


def test_a_forked_child_leaves_its_parents_files_and_locks_alone(
    journal: Journal, mirrored: Session, in_step: Callable[[], bool]
) -> None:
    mirror: Any = journal.mirrors.mirror(2)
    with mirror.lock:
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                is_free = not journal.mirrors._open and not journal.mirrors._sides._open
                journal.close()
                os._exit(0 if is_free else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        second = SideFile(mirrored.store.side_path(mirror.fact.path), mirrored.store.mac)
        assert not second.lock(1, wait_s=0)  # ours still
        second.close()
    mirrored.append({"n": 3})
    assert in_step()


# -- threads --------------------------------------------------------------------------


@pytest.fixture
def second(journal: Journal, mirrored: Session, tmp_path: Path) -> Iterator[Journal]:
    """Open a journal of two mirrored sessions anew; nobody else has it open."""
    journal.session("other", writer="gateway", role="run", mirror=tmp_path / "other").append({})
    journal.close()
    with Journal(journal.path) as opened:
        opened.session(KEY)
        yield opened


def test_two_threads_that_come_first_at_once_share_one_mirror(
    second: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else neither would wait for the other, and each would write what the file lacks."""
    number, both = second.store.registry.session_ids["other"], threading.Barrier(2)

    def made(*arguments: Any) -> Mirror:
        both.wait(10)
        return Mirror(*arguments)

    monkeypatch.setattr(mirrors_module, "Mirror", made)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(second.mirrors.mirror, [number, number])
    assert one is other


def test_who_waits_in_vain_takes_the_lock_from_nobody(
    journal: Journal, mirrored: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a thread compares a file of gigabytes while another appends."""
    monkeypatch.setattr("journal.sidefile.LOCK_WAIT_S", 0.05)
    mirror: Any = journal.mirrors.mirror(2)

    def wait() -> str:
        try:
            with mirror.lock:
                return "had it"
        except BusyError as error:
            return error.code

    with ThreadPoolExecutor(1) as pool:
        with mirror.lock, mirror.lock:
            assert pool.submit(wait).result() == "mirror-busy"
            second = SideFile(mirrored.store.side_path(mirror.fact.path), mirrored.store.mac)
            with mirror.lock:
                pass
            assert not second.lock(1, wait_s=0)  # ours still
        assert pool.submit(wait).result() == "had it"
    assert second.lock(1, wait_s=0)
    second.close()


def test_a_file_is_looked_at_though_another_write_was_rolled_back_meanwhile(
    journal: Journal, mirrored: Session, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a writer's first write all that is known of writers and mirrors goes, until somebody looks again."""
    mirrored.append({"n": 3}, request_id="r")
    fence = mirrored.fence()
    with path.open("ab") as file:
        file.write(b'{"foreign":1}\n')
    reconcile = journal.mirrors.reconcile

    def after_a_rollback(*arguments: Any, **options: Any) -> Any:
        batch = journal.batch()
        batch.append(journal.session("new", writer="newcomer", role="tool"), {})
        batch.append(mirrored, {"n": 4}, request_id="r")
        with pytest.raises(EntryError), batch:
            pass
        assert not journal.store.registry.mirrors
        return reconcile(*arguments, **options)

    monkeypatch.setattr(journal.mirrors, "reconcile", after_a_rollback)
    with pytest.raises(SessionTakeover):
        fence.check()


@LINUX
@pytest.mark.parametrize("when", ["while the files are made durable", "before the store is closed"])
def test_a_thread_that_opens_a_mirror_while_a_journal_is_closed_leaves_nothing_open(
    second: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    number = second.store.registry.session_ids["other"]
    home: Any = Store if when == "before the store is closed" else Mirror
    name = "close" if home is Store else "settle"
    act = getattr(home, name)

    def act_after(each: Any) -> None:
        second.mirrors.serve(number)
        act(each)

    monkeypatch.setattr(home, name, act_after)
    second.close()
    monkeypatch.undo()
    for path in (tmp_path / "other", Path(f"{second.path}-mirrors")):
        assert descriptors_of(identity_of(path.stat())) == set()


def test_a_side_file_that_is_closed_writes_to_no_other_file(
    second: Journal, tmp_path: Path
) -> None:
    """Its number may be that file's; a thread that serves a mirror yet learns of it."""
    side = SideFile(str(tmp_path / "side"), second.store.mac)
    side.close()
    with (tmp_path / "innocent").open("wb") as innocent:
        for act in (lambda: side.write(1, Known()), lambda: side.lock(1), lambda: side.read(1)):
            with pytest.raises(StorageError, match="this journal is closed"):
                act()
        side.unlock(1)
        assert os.fstat(innocent.fileno()).st_size == 0


@pytest.mark.parametrize("is_killed", [False, True])
def test_who_writes_while_a_mirror_is_added_takes_no_file_for_gone(
    journal: Journal,
    path: Path,
    open_journal: Callable[[], Journal],
    in_step: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_killed: bool,
) -> None:
    """Nor after whoever added it was killed behind its commit: the file stands before it is registered."""
    path.parent.mkdir()
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 1})
    other = open_journal().session(KEY, writer="cron", role="cron")
    fence = session.fence()
    mirrors = journal.mirrors
    begin = mirrors._begin

    def meanwhile(made: MirrorFact, *, is_new: bool) -> None:
        other.append({"n": 2})
        if not is_killed:
            begin(made, is_new=is_new)

    monkeypatch.setattr(mirrors, "_begin", meanwhile)
    mirrors.add(KEY, path)
    assert fence.check().accepted
    assert path.read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert in_step()
    assert facts(session, "edit") == []


def test_who_removes_a_mirror_removes_none_that_came_in_its_place(
    journal: Journal, mirrored: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, other = journal.mirrors.of, tmp_path / "other.jsonl"

    def meanwhile(key: str) -> MirrorFact:
        found = of(key)
        with Journal(mirrored.store.path) as another:
            another.mirrors.remove(key)
            another.mirrors.add(key, other)
        return found

    monkeypatch.setattr(journal.mirrors, "of", meanwhile)

    journal.mirrors.remove(KEY)

    assert of(KEY).path == str(other)
    assert audit(journal.path).findings == ()


def test_a_mirror_whose_file_cannot_be_made_is_not_registered(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    session = journal.session(KEY, writer="gateway", role="run")

    def full(*_: object) -> None:
        raise MirrorError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("journal.mirrors.make_file", full)
        with pytest.raises(MirrorError, match="no space"):
            journal.mirrors.add(KEY, path)
    assert journal.mirrors.facts() == []
    session.append({"n": 1})
    journal.mirrors.add(KEY, path)
    assert path.read_bytes() == b'{"n":1}\n'


def test_a_reader_of_the_tail_sees_a_file_that_only_grows(
    journal: Journal, mirrored: Session, path: Path
) -> None:
    """H24: append-only, a stable inode, the whole history, the header first."""
    with path.open("rb") as reader:
        seen = reader.read()
        for n in range(20):
            mirrored.append({"m": n})
            if n % 5 == 0:
                mirrored.fence().check()
            more = reader.read()
            assert more.endswith(b'{"m":%d}\n' % n)
            seen += more
    assert seen == path.read_bytes()
    assert seen.startswith(b'{"n":0}\n')
    assert json.loads(seen.splitlines()[-1]) == {"m": 19}

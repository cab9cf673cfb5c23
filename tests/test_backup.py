"""Backups: a copy of a journal at work is whole and audited; a restore never loses what it replaces."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, NotFoundError, StorageError, backup, copying, engine
from journal.anchor import take
from journal.audit import AnchorFile, audit
from journal.backup import back_up, plan_restore, restore
from journal.errors import FullError
from journal.files import write_new
from journal.model import REGISTRY_KEY
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from journal import Session


def lines(path: Path) -> list[object]:
    with Journal(path, create=False) as journal:
        return [entry.json() for entry in journal.session(KEY).read()]


def write(path: Path, *values: object) -> None:
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").extend(values)


def test_a_copy_of_a_journal_at_work_is_one_state_of_it(
    gateway: Session, journal_path: Path, tmp_path: Path
) -> None:
    gateway.append({"n": 0})
    enough = threading.Event()

    def work() -> None:
        number = 1
        while not enough.is_set():
            gateway.append({"n": number})
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        copies = [back_up(journal_path, tmp_path / f"copy{number}.db") for number in range(5)]
    finally:
        enough.set()
        worker.join()
    for copied in copies:
        assert copied.report.verdict == "ok, not anchored"
        found = lines(copied.path)
        assert found == [{"n": number} for number in range(len(found))]
        assert copied.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_name_that_is_no_text_is_a_name_like_any_other(tmp_path: Path) -> None:
    first, copy, third = (tmp_path / os.fsdecode(name) for name in (b"\xff", b"\xfe.db", b"%\xfd"))
    write(first, 1)
    assert back_up(first, copy).report.verdict == "ok, not anchored"
    assert restore(plan_restore(copy, first)) is not None
    assert copying.copy(first, third).is_clean
    assert lines(first) == lines(copy) == lines(third) == [1]


def test_what_is_still_in_the_log_is_in_the_copy(
    gateway: Session, journal_path: Path, tmp_path: Path
) -> None:
    gateway.append({"n": 0})
    assert Path(f"{journal_path}-wal").stat().st_size
    copied = back_up(journal_path, tmp_path / "copy.db")
    assert sorted(found.name for found in tmp_path.glob("*copy.db*")) == ["copy.db"]
    assert lines(copied.path) == [{"n": 0}]


def test_nothing_is_ever_replaced(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    other = tmp_path / "other"
    other.write_text("mine")
    with pytest.raises(StorageError) as caught:
        back_up(journal_path, other)
    assert caught.value.code == "file-exists"
    assert other.read_text() == "mine"


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_log_that_was_left_behind_is_never_taken_for_the_copys(
    journal_path: Path, tmp_path: Path, end: str
) -> None:
    """As after an rm of the database alone: SQLite would write another journal's pages into the copy."""
    write(journal_path, 1)
    with Journal(tmp_path / "other.db") as other:
        other.session("other", writer="gateway", role="run").append(2)
        log = _bytes(tmp_path / "other.db-wal")
    copy = tmp_path / "copy.db"
    left = Path(f"{copy}{end}")
    left.write_bytes(log)
    with pytest.raises(StorageError, match=f"copy.db{end} is there already"):
        back_up(journal_path, copy)
    assert (copy.exists(), left.read_bytes()) == (False, log)
    left.unlink()
    back_up(journal_path, copy)

    gone = tmp_path / "gone.db"
    left = Path(f"{gone}{end}")
    left.write_bytes(log)
    restore(plan_restore(copy, gone))
    assert not left.exists()
    assert lines(gone) == [1]


def test_a_damaged_journal_is_copied_and_said_to_be(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1, 2)
    thief = Thief(journal_path)
    thief.edit("body", 1, b"9")
    thief.close()
    copied = back_up(journal_path, tmp_path / "copy.db")
    assert copied.report.verdict == "broken"
    assert copied.path.exists()


def test_no_journal_no_copy(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        back_up(tmp_path / "none.db", tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy*"))


def test_a_restore_says_what_would_be_lost_and_keeps_it(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    write(journal_path, 2, 3)
    plan = plan_restore(copy, journal_path)
    assert plan.replaces
    assert not plan.is_another
    assert [tuple(lost) for lost in plan.lost] == [(KEY, 2, 3)]
    assert lines(journal_path) == [1, 2, 3]  # a plan changes nothing

    kept = restore(plan)

    assert lines(journal_path) == [1]
    assert kept is not None
    assert lines(kept) == [1, 2, 3]
    assert audit(journal_path).verdict == "ok, not anchored"


def test_a_backup_of_another_course_of_things_lacks_what_came_since_they_parted(
    journal_path: Path, tmp_path: Path
) -> None:
    """As after a restore that was undone by another: as many entries, and others."""
    write(journal_path, *range(20))
    first = back_up(journal_path, tmp_path / "first.db").path
    write(journal_path, 100, 101)
    second = back_up(journal_path, tmp_path / "second.db").path
    restore(plan_restore(first, journal_path))
    write(journal_path, 200, 201)

    plan = plan_restore(second, journal_path)

    assert not plan.is_another
    assert [tuple(lost) for lost in plan.lost] == [(KEY, 21, 22)]
    assert plan_restore(first, second).lost == plan.lost
    assert plan_restore(second, first).lost == ()


def test_of_another_journal_a_backup_has_nothing(journal_path: Path, tmp_path: Path) -> None:
    """Its sessions may be called the same, and be as long."""
    write(journal_path, 1, 2)
    write(tmp_path / "other.db", 1, 2)
    lost = plan_restore(tmp_path / "other.db", journal_path).lost
    assert (KEY, 1, 2) in [tuple(each) for each in lost]


@pytest.mark.parametrize("table", ["sessions", "entries", "meta"])
def test_a_damaged_journal_is_replaced_and_kept(
    journal_path: Path, tmp_path: Path, table: str
) -> None:
    """It is what a backup is for; and what it had cannot be told."""
    write(journal_path, 1, 2)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    write(journal_path, *range(1000))
    damage(journal_path, table)
    damaged = journal_path.read_bytes()

    plan = plan_restore(copy, journal_path)

    assert (plan.replaces, plan.is_compared, plan.lost) == (True, False, ())
    kept = restore(plan)
    assert kept is not None
    assert kept.read_bytes() == damaged
    assert lines(journal_path) == [1, 2]


def damage(path: Path, table: str) -> None:
    """Overwrite the page where a table begins, of a journal that nobody has open."""
    thief = Thief(path)
    page = thief.ask("SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
    size = thief.ask("PRAGMA page_size")
    thief.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    thief.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_revocation_that_a_backup_has_not_is_said(journal_path: Path, tmp_path: Path) -> None:
    """It is in no session: a restore would let the writer write again."""
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    with Journal(journal_path) as journal:
        journal.revoke("gateway", "it left")
    ((session, first, last),) = plan_restore(copy, journal_path).lost
    assert (session, first) == (REGISTRY_KEY, last)


def test_the_log_of_a_crashed_journal_goes_with_it(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append(2)
        for suffix in ("", "-wal"):  # as a kill -9 leaves it
            target = crashed / f"agent.db{suffix}"
            target.write_bytes(_bytes(Path(f"{journal_path}{suffix}")))
    kept = restore(plan_restore(copy, crashed / "agent.db"))
    assert lines(crashed / "agent.db") == [1]
    assert kept is not None
    assert lines(kept) == [1, 2]


def _bytes(path: Path) -> bytes:
    from journal.guards import own_hand

    with own_hand():
        return path.read_bytes()


def test_a_live_journal_is_never_written_over(
    gateway: Session, journal_path: Path, tmp_path: Path
) -> None:
    gateway.append({"n": 1})
    copy = back_up(journal_path, tmp_path / "copy.db").path
    with pytest.raises(StorageError) as caught:
        plan_restore(copy, journal_path)
    assert caught.value.code == "live"
    gateway.append({"n": 2})


def test_one_that_was_opened_after_the_plan_neither(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    plan = plan_restore(copy, journal_path)
    with Journal(journal_path), pytest.raises(StorageError) as caught:
        restore(plan)
    assert caught.value.code == "live"
    assert not list(tmp_path.glob(".*"))
    assert not list(tmp_path.glob("*before*"))


def test_where_nothing_is_a_restore_makes_it(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    plan = plan_restore(copy, tmp_path / "new.db")
    assert not plan.replaces
    assert restore(plan) is None
    assert lines(tmp_path / "new.db") == [1]


def test_an_empty_file_is_in_nobodys_way(journal_path: Path, tmp_path: Path) -> None:
    """As a full disk or another program leaves one: there is no journal in it to compare with."""
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    target = tmp_path / "new.db"
    target.touch()
    plan = plan_restore(copy, target)
    assert (plan.replaces, plan.is_another, plan.lost) == (False, False, ())
    restore(plan)
    assert lines(target) == [1]


def test_a_copy_beside_its_journal_says_that_both_would_serve_its_mirrors(
    journal_path: Path, tmp_path: Path
) -> None:
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="w", role="run", mirror=tmp_path / "m.jsonl").append({"n": 1})
    copy = back_up(journal_path, tmp_path / "copy.db").path
    assert plan_restore(copy, tmp_path / "new.db").mirrors == 1
    assert (
        plan_restore(copy, journal_path).mirrors == 0
    )  # it takes the place of the one that served it
    with Journal(journal_path) as journal:
        journal.mirrors.remove(KEY)
    gone = back_up(journal_path, tmp_path / "gone.db").path
    assert plan_restore(gone, tmp_path / "new.db").mirrors == 0


def test_another_journal_is_said_to_be_one(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    write(tmp_path / "other.db", 1)
    assert plan_restore(tmp_path / "other.db", journal_path).is_another


def test_an_anchor_says_what_a_backup_lacks(journal_path: Path, tmp_path: Path) -> None:
    write(journal_path, 1)
    copy = back_up(journal_path, tmp_path / "copy.db").path
    write(journal_path, 2)
    with Journal(journal_path) as journal:
        anchor = AnchorFile("a", take(journal).text.encode())
    plan = plan_restore(copy, journal_path, anchors=[anchor])
    assert [(found.id, found.ranges) for found in plan.report.findings] == [("J801", ((2, 2),))]


def test_a_copy_whose_log_could_not_be_folded_in_is_not_put_in_place(
    gateway: Session, journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a database on a full disk leaves pages in its log and says nothing."""
    gateway.append({"n": 0})

    class Full:
        """A connection whose checkpoint finds the disk full."""

        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def execute(self, statement: str) -> Any:
            if "wal_checkpoint" in statement:
                raise FullError("no space left")
            return self.real.execute(statement)

    class Source(Full):
        def backup(self, target: Any, pages: int) -> None:
            self.real.backup(target.real, pages=pages)

    real = engine.connect
    monkeypatch.setattr(
        backup,
        "connect",
        lambda path, mode="rw": (Source if mode == "ro" else Full)(real(path, mode=mode)),
    )

    with pytest.raises(FullError):
        back_up(journal_path, tmp_path / "copy.db")
    assert not list(tmp_path.glob("*copy.db*"))


@pytest.mark.parametrize("number, kind", [(errno.ENOSPC, FullError), (errno.EIO, StorageError)])
def test_what_the_system_cannot_do_is_an_error_of_ours(
    gateway: Session,
    journal_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[Exception],
) -> None:
    """With the file and what to do, and no draft is left."""
    gateway.append({"n": 0})

    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)

    with pytest.raises(kind, match=r"copy\.db could not be written") as caught:
        back_up(journal_path, tmp_path / "copy.db")
    assert type(caught.value) is kind
    assert not list(tmp_path.glob("*copy.db*"))


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_links_takes_a_backup_and_gives_it_back(
    journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As the stick that it is carried away on."""
    write(journal_path, 1)

    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)

    copy = back_up(journal_path, tmp_path / "copy.db").path
    write(journal_path, 2)
    kept = restore(plan_restore(copy, journal_path))
    assert kept is not None
    assert (lines(journal_path), lines(kept), lines(copy)) == ([1], [1, 2], [1])
    with pytest.raises(StorageError) as caught:
        write_new(copy, [b"x"], force=False)
    assert caught.value.code == "file-exists"
    assert not list(tmp_path.glob(".*"))


def test_a_copy_that_finds_no_room_is_told_by_its_name(
    gateway: Session, journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver's backup says without a code what was wrong, and the draft's name tells nobody anything."""
    gateway.append({"n": 0})

    class Source:
        """A connection whose backup finds the disk full."""

        def __init__(self, real: Any) -> None:
            self.close = real.close

        def backup(self, *_: object, **__: object) -> None:
            raise engine.driver().OperationalError("database or disk is full")

    real = engine.connect
    monkeypatch.setattr(
        backup,
        "connect",
        lambda path, mode="rw": (Source if mode == "ro" else lambda same: same)(
            real(path, mode=mode)
        ),
    )

    copy = tmp_path / "copy.db"
    with pytest.raises(StorageError) as caught:
        back_up(journal_path, copy)
    assert str(caught.value) == f"{copy} could not be written: database or disk is full"
    assert "free some space" in (caught.value.hint or "")
    assert not list(tmp_path.glob("*copy.db*"))


class Died(BaseException):
    """Stands for a kill: nothing is done after it."""


def test_whoever_is_killed_while_he_restores_leaves_a_journal_in_its_place(
    journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one, under its name alone; an opening that finds none would make a new one."""
    write(journal_path, {"n": 1})
    back_up(journal_path, tmp_path / "copy.db")
    write(journal_path, {"n": 2})

    def die(*_: object, **__: object) -> None:
        raise Died

    plan = plan_restore(tmp_path / "copy.db", journal_path)
    with monkeypatch.context() as broken:
        broken.setattr(backup, "put_in_place", die)
        with pytest.raises(Died):
            restore(plan)
    assert lines(journal_path) == [{"n": 1}, {"n": 2}]
    assert journal_path.stat().st_nlink == 1
    kept = restore(plan_restore(tmp_path / "copy.db", journal_path))
    assert kept is not None
    assert (lines(journal_path), lines(kept)) == ([{"n": 1}], [{"n": 1}, {"n": 2}])
    assert (journal_path.stat().st_nlink, kept.stat().st_nlink) == (1, 1)


def test_whoever_opens_it_in_the_middle_of_a_restore_keeps_it(
    journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He takes its second name away, as a killed one's; it must not be replaced under him."""
    write(journal_path, {"n": 1})
    back_up(journal_path, tmp_path / "copy.db")
    write(journal_path, {"n": 2})
    real = backup._kept

    def kept(target: Path) -> Path:
        found = real(target)
        write(target, {"n": 3})
        return found

    plan = plan_restore(tmp_path / "copy.db", journal_path)
    monkeypatch.setattr(backup, "_kept", kept)
    with pytest.raises(StorageError, match="meanwhile"):
        restore(plan)
    assert lines(journal_path) == [{"n": 1}, {"n": 2}, {"n": 3}]

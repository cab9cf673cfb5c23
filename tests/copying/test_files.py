"""A journal copied to another file: row by row the same, and no journal before all of it is there."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from journal import (
    Journal,
    JournalError,
    KeyMissing,
    NotFoundError,
    SchemaError,
    StorageError,
    tables,
)
from journal.anchor import take
from journal.audit import AnchorFile, audit
from journal.audit.source import opened as source_of
from journal.backup import back_up
from journal.copying import Copied, copy, running, transfer
from journal.copying.fitting import Fitting
from journal.copying.intofile import FileTarget
from journal.copymark import CopyMark
from journal.schema import run_migrations
from tests.copying.filled import exports, rows
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def small(path: Path, *values: object) -> None:
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").extend(values)


def refused(source: object, target: object) -> JournalError:
    with pytest.raises(JournalError) as caught:
        copy(str(source), str(target))
    return caught.value


def test_every_row_of_every_kind_is_copied_as_it_is(large_source: Path, target: Path) -> None:
    source = large_source
    before = rows(source)
    assert all(found for name, found in before.items() if name != "mirrors")

    copied = copy(source, target)

    assert copied.is_clean
    assert copied.after.verdict == "ok, not anchored"
    assert copied.differences == []
    assert rows(source) == before == rows(target)
    assert exports(target) == exports(source)
    assert copied.entries == len(before["entries"])
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in target.parent.glob("*copy.db*")) == ["copy.db"]


def test_what_the_audit_of_the_journal_finds_is_in_the_copy_as_well(
    source: Path, target: Path
) -> None:
    thief = Thief(source)
    thief.edit("body", 5, b"changed")
    thief.insert_copy(body=b"stolen")
    thief.delete(7)
    with thief.transaction():
        thief.execute("INSERT INTO writers VALUES (99, 'forged', 'run', 1, NULL, NULL)")
    thief.close()

    copied = copy(source, target)

    assert copied.before.verdict == copied.after.verdict == "broken"
    assert {each.id for each in copied.after.findings} >= {"J301", "J303", "J306", "J405"}
    assert copied.differences == []
    assert not copied.is_clean
    assert rows(source) == rows(target)


def test_others_may_write_meanwhile_and_one_state_is_copied(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "busy.db"
    small(path, *range(200))
    enough = threading.Event()

    def work() -> None:
        with Journal(path) as journal:
            session = journal.session(KEY, writer="heartbeat", role="heartbeat")
            while not enough.is_set():
                session.append({"beat": 1})

    worker = threading.Thread(target=work)
    worker.start()
    try:
        copied = copy(path, target)
    finally:
        enough.set()
        worker.join()
    assert copied.is_clean
    assert copied.differences == []


def test_what_came_later_is_counted(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "busy.db"
    small(path, 1)
    whole = transfer.settle

    def settled(*given: Any) -> int:
        small(path, 2, 3)
        return whole(*given)

    monkeypatch.setattr(running, "settle", settled)
    copied = copy(path, target)
    assert copied.later == (2, 1)
    assert copied.is_clean
    with Journal(target, create=False) as journal:
        assert [entry.json() for entry in journal.session(KEY)] == [1]


def test_a_copy_that_is_not_finished_is_no_journal(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(source, target, monkeypatch):
        pass
    for opened in (
        lambda: Journal(target),
        lambda: Journal(target, create=False),
        lambda: audit(target),
        lambda: back_up(target, target.with_name("backup.db")),
        lambda: copy(target, target.with_name("second.db")),
    ):
        with pytest.raises(SchemaError) as caught:
            opened()
        assert caught.value.code == "unfinished-copy"
        assert caught.value.hint == f"journal copy {source} {target}"

    copied = copy(source, target)  # as the hint says
    assert copied.was_begun
    assert copied.mended == 0
    assert rows(source) == rows(target)


class StoppedError(Exception):
    """Somebody pulled the plug."""


@contextmanager
def begun(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin a copy that stops before it is compared."""

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(running, "settle", stop)
        patch.setattr(transfer, "_CHUNK_ROWS", 10)
        with pytest.raises(StoppedError):
            copy(source, target)
    yield


def test_one_that_is_gone_on_with_is_what_the_journal_is_by_then(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redacted, resolved, parked since: what was copied before is brought up to it."""
    with begun(source, target, monkeypatch):
        with Journal(source) as journal:
            session = journal.session(KEY, writer="gateway", role="run")
            session.redact([9], reason="pasted too")
            session.append({"new": True})
        thief = Thief(source)
        thief.delete(12)
        thief.close()
    copied = copy(source, target)
    assert copied.mended == 2
    assert copied.differences == []
    assert rows(source) == rows(target)


def test_rows_that_the_disk_lost_are_not_taken_for_copied(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(source, target, monkeypatch), closing(sqlite3.connect(target)) as thief, thief:
        thief.execute("DELETE FROM entries WHERE id % 7 = 3")
        thief.execute("UPDATE entries SET body = x'00' WHERE id % 7 = 4")
    monkeypatch.setattr(transfer, "_CHUNK_ROWS", 3)
    copied = copy(source, target)
    assert copied.mended > 2
    assert rows(source) == rows(target)


def test_a_copy_that_does_not_become_equal_is_never_a_journal(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FileTarget.ordered

    def lying(self: FileTarget, table: Any) -> Iterator[Any]:
        yield from list(whole(self, table))[1:]

    monkeypatch.setattr(FileTarget, "ordered", lying)
    monkeypatch.setattr(FileTarget, "mend", lambda *_: None)
    assert refused(source, target).code == "copy-differs"
    with pytest.raises(SchemaError):
        Journal(target, create=False)


def test_done_again_it_only_compares(source: Path, target: Path) -> None:
    copy(source, target)
    stamp = target.stat().st_mtime_ns, target.read_bytes()
    again = copy(source, target)
    assert again.was_there
    assert again.is_clean
    assert (target.stat().st_mtime_ns, target.read_bytes()) == stamp


@pytest.mark.parametrize("which", ["source", "target"])
def test_a_finished_copy_is_never_written_over(source: Path, target: Path, which: str) -> None:
    copy(source, target)
    place = source if which == "source" else target
    small(place, {"newer": 1})
    before = rows(target)

    error = refused(source, target)

    assert error.code == "copy-is-there"
    assert f"1 entry in 1 session only in {place}" in str(error)
    assert rows(target) == before


def test_what_else_is_there_is_left_as_it_is(source: Path, tmp_path: Path) -> None:
    text, other, journal = tmp_path / "text", tmp_path / "other.db", tmp_path / "another.db"
    text.write_text("mine")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (n)")
    small(journal, 1)
    before = other.read_bytes(), rows(journal)

    assert refused(source, text).code == "not-a-database"
    assert refused(source, other).code == "not-a-journal"
    assert refused(source, journal).code == "another-journal"
    assert refused(source, source).code == "own-file"
    assert isinstance(refused(source, tmp_path), StorageError)
    assert isinstance(refused(source, tmp_path / "no" / "copy.db"), NotFoundError)
    assert isinstance(refused(tmp_path / "none.db", tmp_path / "copy.db"), NotFoundError)

    assert text.read_text() == "mine"
    assert (other.read_bytes(), rows(journal)) == before
    assert not (tmp_path / "copy.db").exists()


def test_a_copy_of_another_journal_is_not_gone_on_with(
    source: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(source, target, monkeypatch):
        other = tmp_path / "other.db"
        small(other, 1)
    error = refused(other, target)
    assert error.code == "another-journal"
    assert str(source) in str(error)


def test_no_journal_is_made_in_a_file_that_a_copy_was_begun_in(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the lock: whoever makes a journal looks again."""
    from journal import creation, schema

    with begun(source, target, monkeypatch):
        before = rows_left(target)
    with pytest.raises(SchemaError) as caught:
        creation.create(str(target))
    assert caught.value.code == "unfinished-copy"
    small(target.with_name("made.db"), 1)
    with pytest.raises(SchemaError) as caught:
        schema.create_draft(str(target.with_name("made.db")), CopyMark("x", None))
    assert caught.value.code == "made-meanwhile"
    assert rows_left(target) == before


def rows_left(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


def test_two_do_not_copy_into_one_place(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journal.copying.intofile._WAIT_S", 0.2)
    first = FileTarget(target)
    first.begin(CopyMark(str(source), "x" * 32), run_migrations)
    try:
        assert refused(source, target).code == "another-journal"
        second = FileTarget(target)
        with pytest.raises(StorageError) as caught:
            second.begin(CopyMark(str(source), "x" * 32), run_migrations)
        assert caught.value.code == "busy"
        assert "another process is copying into it" in str(caught.value)
        second.close()
    finally:
        first.close()


# --- without the key


def test_without_the_key_every_row_is_copied_and_nothing_is_called_proved(
    source: Path, target: Path, key_file: Path, tmp_path: Path
) -> None:
    key_file.rename(tmp_path / "elsewhere")
    copied = copy(source, target)
    assert copied.after.verdict == "not verified"
    assert not copied.is_clean  # J101 says it
    assert copied.differences == []
    assert rows(source) == rows(target)
    (tmp_path / "elsewhere").rename(key_file)
    assert audit(target).verdict == "ok, not anchored"


# --- mirrors


@pytest.fixture
def mirrored(tmp_path: Path) -> tuple[Path, Path]:
    path, file = tmp_path / "mirrored.db", tmp_path / "session.jsonl"
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run", mirror=file).append({"n": 1})
    return path, file


def test_a_copy_does_not_write_to_the_files_of_the_journal(
    mirrored: tuple[Path, Path], target: Path
) -> None:
    path, file = mirrored
    copied = copy(path, target)
    assert [(each.session, each.path) for each in copied.mirrors] == [(KEY, str(file))]
    assert copied.differences == []
    assert copied.after.verdict == "ok, not anchored"

    with Journal(target) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        with session.fence() as fence:
            fence.append({"only": "in the copy"})
        assert journal.mirrors.status() == []
    assert file.read_bytes() == b'{"n":1}\n'
    with Journal(path) as journal:  # and the journal's own goes on
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    assert file.read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert audit(target).verdict == audit(path).verdict == "ok, not anchored"


def test_done_again_a_copy_without_mirrors_is_equal(
    mirrored: tuple[Path, Path], target: Path
) -> None:
    copy(mirrored[0], target)
    assert copy(mirrored[0], target).was_there


def test_a_copy_that_sealed_its_mirrors_away_is_told_from_one_that_was_written_to(
    mirrored: tuple[Path, Path], target: Path
) -> None:
    """What it sealed of itself is no entry of anybody's, and what cannot be done is not offered."""
    copy(mirrored[0], target)
    with Journal(mirrored[0]) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    for change in (lambda _: None, lambda journal: journal.mirrors.remove(KEY)):
        with Journal(mirrored[0]) as journal:
            change(journal)
        error = refused(mirrored[0], target)
        assert f"only in {target}" not in str(error)
        assert "take it away, then journal copy" in str(error.hint)
        with pytest.raises(StorageError) as caught:
            copy(mirrored[0], target, catch_up=True)
        assert caught.value.code == "cannot-catch-up"
    with Journal(target) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 3})
    error = refused(mirrored[0], target)
    assert f"1 entry in 1 session only in {target}" in str(error)
    assert str(error.hint).startswith("name another DST")


def test_the_copy_may_take_the_file_over(mirrored: tuple[Path, Path], target: Path) -> None:
    path, file = mirrored
    copy(path, target)
    with Journal(path) as journal:
        journal.mirrors.remove(KEY)
    with Journal(target) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=file)
        session.append({"n": 2})
        assert [entry.trust for entry in session.read()] == ["asserted", "asserted"]
    assert file.read_bytes() == b'{"n":1}\n{"n":2}\n'


def test_without_the_key_a_journal_with_mirrors_is_not_copied_to_a_file(
    mirrored: tuple[Path, Path], target: Path, key_file: Path, tmp_path: Path
) -> None:
    key_file.rename(tmp_path / "elsewhere")
    with pytest.raises(KeyMissing) as caught:
        copy(mirrored[0], target)
    assert caught.value.code == "key-missing"
    assert not os.path.lexists(target)


# --- two journals with one id


def test_an_anchor_of_the_one_tells_the_other_apart(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "first.db"
    small(path, 1)
    copied: Copied = copy(path, target)
    assert copied.is_clean
    small(path, {"by": "me"})
    small(target, {"by": "you"})
    with Journal(path) as journal:
        anchor = AnchorFile("anchor", take(journal).text.encode())
    assert audit(path, anchors=[anchor]).verdict == "ok"
    assert {each.id for each in audit(target, anchors=[anchor]).findings} == {"J802"}


# --- catching up


def test_a_finished_copy_is_brought_up_to_the_journal(source: Path, target: Path) -> None:
    copy(source, target)
    with Journal(source) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"new": 1})
        session.redact([2], reason="pasted")
        journal.session("a new one", writer="gateway", role="run").append({"n": 1})
        journal.session(KEY, writer="you", role="operator").submit({"said": 3})
    assert refused(source, target).hint == f"journal copy {source} {target} --catch-up"

    copied = copy(source, target, catch_up=True)

    assert copied.was_there
    assert copied.mended > 2
    assert copied.is_clean
    assert rows(target) == rows(source)
    with Journal(target) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    assert audit(target).verdict == "ok, not anchored"


@pytest.mark.parametrize("how", ["entry", "fence", "redaction"])
def test_a_copy_that_was_written_to_does_not_catch_up(source: Path, target: Path, how: str) -> None:
    copy(source, target)
    small(source, {"newer": 1})
    with Journal(target) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        if how == "entry":
            session.append({"mine": 1})
        elif how == "redaction":
            session.redact([2], reason="pasted")
        else:
            session.fence().stored()
    before = rows(target)
    with pytest.raises(StorageError) as caught:
        copy(source, target, catch_up=True)
    assert caught.value.code == "copy-was-written"
    assert rows(target) == before
    assert audit(target).verdict == "ok, not anchored"


def test_rows_whose_ids_are_escaped_come_in_the_order_that_they_are_put_in(
    tmp_path: Path, key_file: Path
) -> None:
    """A server has them by the id that it holds; to compare takes both in one order."""
    with Journal(tmp_path / "a.db", key_file=key_file) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        for _ in range(4):
            session.fence().stored()
    thief = Thief(tmp_path / "a.db")
    thief.execute("UPDATE fences SET id = CAST(x'ff' || id AS TEXT) WHERE rowid < 3")
    thief.close()
    with source_of(str(tmp_path / "a.db")) as source:
        fitting = Fitting(source, into_server=True)
        ids = [row[0] for row in fitting.rows(tables.fences)]
    assert ids == sorted(ids)
    assert [b"\\xff" in each for each in ids] == [True, True, False, False]
    assert fitting.count == 2


def test_a_copy_of_another_journal_that_was_begun_meanwhile_is_not_gone_on_with(
    tmp_path: Path,
) -> None:
    """Both had found nothing there."""
    first, second = FileTarget(tmp_path / "copy.db"), FileTarget(tmp_path / "copy.db")
    first.begin(CopyMark("one.db", "x" * 32), run_migrations)
    first.close()
    with pytest.raises(StorageError) as caught:
        second.begin(CopyMark("other.db", "y" * 32), run_migrations)
    second.close()
    assert (caught.value.code, "one.db" in str(caught.value)) == ("another-journal", True)


def test_of_many_rows_that_are_put_otherwise_each_is_counted_once(
    tmp_path: Path, key_file: Path
) -> None:
    """However often they are read: to copy, to compare, and once more where a copy is gone on with."""
    with Journal(tmp_path / "a.db", key_file=key_file) as journal:
        session = journal.session(KEY, writer="gateway", role="run", run_id="r")
        for _ in range(2):
            session.claim().release()
    thief = Thief(tmp_path / "a.db")
    thief.execute("UPDATE claims SET run_id = CAST(x'ff' AS TEXT)")
    for n in range(150):
        thief.execute(f"INSERT INTO meta VALUES (CAST(x'ff' || {n} AS TEXT), 'v')")
    thief.close()
    with source_of(str(tmp_path / "a.db")) as source:
        fitting = Fitting(source, into_server=True)
        for _ in range(3):
            assert len(list(fitting.rows(tables.claims))) == 2
            assert len(list(fitting.rows(tables.meta))) > 150
    assert (fitting.count, len(fitting.told)) == (152, 100)

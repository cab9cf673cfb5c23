"""The worst moment for each step of the store: a disk that is full just then, a close, a signal, a log to mend."""

from __future__ import annotations

import fcntl
import os
import resource
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from journal import BusyError, Journal, JournalError, StorageError, guards
from journal.audit import audit
from journal.durability import copied
from journal.store import Store
from journal.ticket import Ticket
from tests.holding import held
from tests.systems import LINUX
from tests.thieves import KEY

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path


LINE = {"n": 1}
GREAT = b'{"text":"' + b"x" * 300_000 + b'"}'


def path_of(number: str) -> str:
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(int(number), 50, bytes(1024)).rstrip(b"\0"))  # F_GETPATH
    return os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 - text, as the kernel has it


def open_files(beside: Path) -> list[str]:
    with guards.own_hand():
        numbers = os.listdir("/dev/fd")  # noqa: PTH208 - numbers, not paths
    found = []
    for number in numbers:
        try:
            found.append(path_of(number))
        except OSError:
            continue
    return [path for path in found if path.startswith(str(beside))]


def in_another_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    """A disk that has room for the log, and none for the database, as far as a process can have it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# -- opening ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("where", ["journal.schema.check", "journal.store.find_keys"])
def test_an_opening_that_fails_leaves_nothing_open(journal_path, monkeypatch, where, error):
    Journal(journal_path).close()

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, fails)
        with pytest.raises(error if error is KeyboardInterrupt else StorageError):
            Store(str(journal_path))
    assert open_files(journal_path) == []
    with Journal(journal_path) as journal:
        assert journal.session(KEY, writer="w", role="run").append(LINE).seq == 1


@LINUX
def test_an_opening_that_finds_no_descriptor_left_leaves_nothing_pinned(journal_path):
    """At whichever step the last was taken: else the files could not be looked at, nor the log folded in, any more."""
    Journal(journal_path).close()
    before, limit = resource.getrlimit(resource.RLIMIT_NOFILE), 0
    failures = set()
    while True:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
        try:
            Store(str(journal_path)).close()
            break
        except JournalError as error:
            failures.add(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert open_files(journal_path) == [], failures
        assert journal_path.read_bytes().startswith(b"SQLite format 3"), failures
        limit += 1
    assert len(failures) > 2, failures
    assert [*journal_path.parent.glob("agent.db*")] == [journal_path]


@LINUX
@pytest.mark.parametrize(
    "step", ["mirrors.Mirrors.sync", "folding.Folding.at_the_end", "durability.LogSync.wait"]
)
def test_an_interrupt_as_it_is_closed_leaves_what_follows_closed(
    base, journal, journal_path, monkeypatch, step
):
    """Nobody comes back for the rest: the files would count as live for as long as the process runs."""
    base.append(LINE)
    told: list[bool] = []
    monkeypatch.setattr(journal.store.changes, "tell", lambda: told.append(True))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"journal.{step}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.close()
    assert told == [True]  # whoever follows
    assert open_files(journal_path) == []
    assert journal_path.read_bytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, None])
def test_a_database_that_cannot_be_opened_leaves_nothing_behind(journal_path, monkeypatch, error):
    """Neither the ticket's file nor what has it open."""
    journal_path.mkdir()
    if error is not None:
        monkeypatch.setattr("journal.store.writing_engine", lambda *_, **__: Failing(error))
    with pytest.raises(error if error is KeyboardInterrupt else StorageError) as caught:
        Store(str(journal_path))
    assert caught.value.__cause__ is not caught.value
    assert open_files(journal_path) == []
    assert list(journal_path.parent.glob("agent.db*")) == [journal_path]


class Failing:
    """What cannot connect."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def raw_connection(self) -> None:
        raise self.error


def test_a_closed_journal_leaves_nothing_open(journal_path):
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="w", role="run").append(LINE)
        assert open_files(journal_path)
    assert open_files(journal_path) == []


@LINUX
def test_a_log_that_is_not_open_here_is_not_synced_for_anybody(journal_path):
    journal_path.write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        copied(str(journal_path))
    assert caught.value.code == "no-log"


# -- a disk that is full ------------------------------------------------------------------


def test_a_disk_too_full_to_fold_the_log_in_has_taken_the_write_all_the_same(
    base, journal, journal_path
):
    """In compatible mode the journal folds in now and then: that is no part of the write."""
    base.append(GREAT)
    assert journal.store.empty_log()
    journal.store._folding.after = 1
    with no_file_grows_beyond(journal_path.stat().st_size):
        assert base.append(GREAT).seq == 3
        with pytest.raises(StorageError) as caught:
            journal.store.empty_log()
    assert caught.value.hint
    assert base.append(LINE).seq == 4
    assert journal.store.empty_log()
    assert not audit(journal_path).findings


def test_the_log_is_folded_in_after_so_many_commits(base, journal, journal_path):
    journal.store.empty_log()
    before = journal_path.stat().st_size
    journal.store._folding.after, journal.store._folding._unfolded = 3, 0
    sizes = []
    for _ in range(3):
        base.append(GREAT)
        sizes.append(journal_path.stat().st_size)
    assert sizes[:2] == [before, before]
    assert sizes[2] > before + 600_000


# -- a library with the WAL-reset bug -------------------------------------------------------


@pytest.fixture
def compatible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a store believe that its library has the bug."""
    monkeypatch.setattr("journal.folding.is_compatible_mode", lambda: True)
    monkeypatch.setattr("journal.folding.FOLD_IN_AFTER", 2)


@pytest.mark.usefixtures("compatible")
def test_in_compatible_mode_the_log_is_folded_in_by_every_so_many_commits(base, journal):
    made: list[str] = []
    journal.store._connection.set_trace_callback(made.append)
    for _ in range(4):
        base.append(LINE)
    folded = [at for at, each in enumerate(made) if "wal_checkpoint" in each]
    commits = [at for at, each in enumerate(made) if each == "COMMIT"]
    assert len(folded) == 2
    assert [sum(at < fold for at in commits) for fold in folded] == [1, 3]  # one was BASE's


def asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return what is filled with each time that the turn is asked for."""
    asked: list[bool] = []
    take = store.ticket.take

    def noted() -> None:
        asked.append(True)
        take()

    monkeypatch.setattr(store.ticket, "take", noted)
    return asked


@pytest.mark.usefixtures("compatible")
@pytest.mark.parametrize("is_held", [False, True])
def test_who_closes_in_compatible_mode_has_its_turn_for_it_if_it_comes(
    journal, journal_path, open_journal, monkeypatch, is_held
):
    """Once: what is closed, or is a forked child's, has nothing to fold in."""
    store = open_journal(busy_timeout=0.01).store
    asked = asked_for(store, monkeypatch)
    other = Ticket(str(journal_path), 0.01)
    if is_held:
        other.take()
    store.close()
    assert asked == [True]
    store.close()
    assert asked == [True]
    if not is_held:
        other.take()
    other.give_back()
    other.close()
    inherited = Store(str(journal_path))
    asked = asked_for(inherited, monkeypatch)
    inherited.abandon()
    inherited.close()
    assert asked == []


class Stuck:
    """A connection that cannot be closed."""

    def __init__(self, raw: Any) -> None:
        self.driver_connection = raw.driver_connection

    def close(self) -> None:
        raise ZeroDivisionError


@pytest.mark.usefixtures("compatible")
def test_who_cannot_close_in_compatible_mode_keeps_nobodys_turn(journal, journal_path):
    """It is had for the folding in alone."""
    raw = journal.store._raw
    journal.store._raw = Stuck(raw)
    with pytest.raises(ZeroDivisionError):
        journal.store.close()
    other = Ticket(str(journal_path), 0.01)
    other.take()
    other.give_back()
    other.close()
    raw.close()


# -- a statement that fails ---------------------------------------------------------------


def test_what_cannot_be_asked_is_not_current(base, journal):
    """Whoever takes a snapshot then is told what is wrong."""
    store = journal.store
    base.append(LINE)
    store._connection.set_authorizer(lambda *_: 1)
    assert store.is_current() is False
    store._connection.set_authorizer(None)
    assert store.is_current() is True


def test_a_transaction_that_cannot_begin_leaves_the_lock_free(base, journal):
    cursor = journal.store.cursor
    ran: list[object] = []
    cursor.execute("PRAGMA query_only=1")
    with pytest.raises(StorageError) as caught:
        journal.store.group.write(ran.append)
    assert not isinstance(caught.value, BusyError)
    assert ran == []
    assert not journal.store.lock._is_owned()
    cursor.execute("PRAGMA query_only=0")
    assert base.append(LINE).seq == 2


def fail_after(store: Store, act: Callable[[], object]) -> None:
    with store.transaction():
        act()
        raise ZeroDivisionError


def no_rollback(action: int, what: str | None, *_: object) -> int:
    return 1 if (action, what) == (22, "ROLLBACK") else 0  # SQLITE_TRANSACTION is 22


@pytest.mark.parametrize("then", ["append", "read"])
def test_a_rollback_that_fails_is_made_up_for_before_anything_is_believed(base, journal, then):
    """The first error is the one that is told, and nothing of what was rolled back is ever seen."""
    store = journal.store

    def declare() -> None:
        store.declare(store.cursor, "undone", "tool")
        store._connection.set_authorizer(no_rollback)

    with pytest.raises(ZeroDivisionError):
        fail_after(store, declare)
    store._connection.set_authorizer(None)
    assert store._connection.in_transaction
    if then == "append":
        assert base.append(LINE).seq == 2
    else:
        assert [entry.seq for entry in base.read()] == [1]
    assert [writer.name for writer in journal.writers()] == ["gateway"]
    assert not store._connection.in_transaction


# -- signals ------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["append", "read", "knows"])
def test_a_second_interrupt_in_a_rollback_leaves_the_lock_free_and_no_wrong_memory(
    base, journal, monkeypatch, caplog, then
):
    """Who presses Ctrl-C twice: what is left is undone by whoever begins next."""
    store, left = journal.store, [KeyboardInterrupt, KeyboardInterrupt]
    forget = store._forget

    def interrupted() -> None:
        if left:
            raise left.pop()
        forget()

    monkeypatch.setattr(store, "_forget", interrupted)
    with pytest.raises(KeyboardInterrupt) as kept:
        fail_after(store, lambda: store.open_chain(store.cursor, "made and undone"))
    assert kept.traceback  # which keeps the block, as a prompt does
    assert not left
    assert not store.lock._is_owned()
    assert not store.ticket._thread._is_owned()
    if then == "append":
        assert base.append(LINE).seq == 2
    elif then == "read":
        assert journal.session("made and undone").read() == []
    assert not store.knows("made and undone")
    assert not caplog.records
    assert [info.key for info in journal.sessions()] == [KEY]


def test_an_interrupt_as_the_turn_is_given_back_is_told_and_the_turn_is_free(
    base, journal, monkeypatch
):
    """Though the block failed of itself: Ctrl-C is never swallowed."""
    store, give_back = journal.store, journal.store.ticket.give_back

    def interrupted() -> None:
        monkeypatch.setattr(store.ticket, "give_back", give_back)
        raise KeyboardInterrupt

    monkeypatch.setattr(store.ticket, "give_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fail_after(store, lambda: None)
    assert not store.ticket._thread._is_owned()
    assert not store.lock._is_owned()
    assert base.append(LINE).seq == 2


def test_an_interrupt_before_a_block_is_known_begins_none(base, journal, monkeypatch):
    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("journal.transaction.object", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt):
            journal.store.transaction().__enter__()
    assert base.append(LINE).seq == 2


# -- a close in between -------------------------------------------------------------------


@pytest.mark.parametrize("step", ["ticket", "lock"])
def test_a_close_between_two_steps_of_a_write_is_told_as_one(
    base, journal, journal_path, monkeypatch, caplog, step
):
    """Another thread closes while this one has its turn already, or waits for it."""
    store = journal.store
    take = store.ticket.take

    def closed_before(**asked: bool) -> None:
        in_another_thread(store.close)
        take(**asked)

    def closed_after(**asked: bool) -> None:
        take(**asked)
        in_another_thread(store.close)

    monkeypatch.setattr(store.ticket, "take", closed_before if step == "ticket" else closed_after)
    with pytest.raises(StorageError) as caught:
        base.append(LINE)
    assert caught.value.code == "closed"
    assert not store.lock._is_owned()
    assert open_files(journal_path) == []
    assert not caplog.records


# -- a log that somebody else is mending ----------------------------------------------------

MEND = """
import fcntl, os, sys
shm = os.open(sys.argv[1] + "-shm", os.O_RDWR)
fcntl.lockf(shm, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 120)
os.pwrite(shm, bytes(96), 0)
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def mender(journal_path: Path, base: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that has the write lock, with the index of the log as a crash leaves it."""
    with held(journal_path, MEND) as process:
        yield process


def test_a_read_waits_for_a_log_that_is_being_mended(base, journal, mender, monkeypatch):
    store = journal.store
    is_free, told = store._is_free, list[bool]()

    def noted(statement: str, deadline: float) -> bool:
        told.append(is_free(statement, deadline))
        if not told[-1]:
            mender.communicate("\n")
        return told[-1]

    monkeypatch.setattr(store, "_is_free", noted)
    assert [entry.seq for entry in base.read()] == [1]
    assert told[:2] == [False, True]


def test_a_read_waits_no_longer_than_it_may(base, journal, mender):
    journal.store.busy_timeout_s = 0.0
    with pytest.raises(BusyError):
        base.read()
    assert not journal.store._reading

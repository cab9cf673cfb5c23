"""Who must wait for another process's turn: the thread that waits does the work."""

from __future__ import annotations

import os
import resource
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from journal import BusyError, EntryError, Journal, StorageError
from journal.deputy import Deputy
from journal.ticket import Ticket
from tests.holding import held
from tests.limits import no_longer_than
from tests.systems import LINUX
from tests.test_worst_moments import in_another_thread, open_files

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

LINE = {"type": "custom"}


@pytest.fixture
def holder(journal: Journal, journal_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the turn of a journal with one line."""
    journal.session("s", writer="w", role="run").append(LINE)
    with held(journal_path) as process:
        yield process


def waits(journal: Journal) -> bool:
    """Wait until somebody waits for the turn in its deputy; True, to be asserted."""
    while journal.store.ticket._deputy is None:
        pass
    return True


def test_a_write_is_made_when_the_turn_comes_and_by_the_thread_that_waited(journal, holder):
    session = journal.session("s", writer="w", role="run")
    threads = []

    def clock() -> int:
        threads.append(threading.current_thread().name)
        return 1

    journal.store.clock = clock
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(session.append, LINE)
        assert waits(journal)
        assert not written.done()
        holder.kill()
        assert written.result(20).seq == 2
    assert set(threads) == {"journal-deputy"}


def block(journal: Journal) -> bool:
    """Have a transaction in this thread."""
    with journal.store.transaction():
        return True


def test_threads_that_wait_for_the_turn_share_it_with_a_block_of_their_own_process(journal, holder):
    """One waits with an append, one with a transaction: neither keeps the other from the lock."""
    session = journal.session("s", writer="w", role="run")
    with ThreadPoolExecutor(3) as pool:
        written = [pool.submit(session.append, LINE)]
        assert waits(journal)
        written.append(pool.submit(session.append, LINE))
        raised = pool.submit(block, journal)
        ticket = journal.store.ticket
        while not (ticket._waiter and ticket._waiter._is_waiting):
            pass
        holder.kill()
        assert sorted(each.result(20).seq for each in written) == [2, 3]
        assert raised.result(20)


def test_a_turn_that_does_not_come_is_told_and_nothing_is_written_when_it_comes(
    open_journal, journal, holder
):
    with open_journal(busy_timeout=0.05) as other:
        session = other.session("s", writer="w", role="run")
        with pytest.raises(BusyError, match=f"process {holder.pid} "):
            session.append(LINE)
        with pytest.raises(BusyError):
            session.append(LINE)
        holder.kill()
        holder.wait()
        other.store.ticket._wait_s = 20.0
        other.store.ticket.in_turn(list)  # behind what was given up
        assert session.append(LINE).seq == 2
    assert [entry.seq for entry in journal.session("s").read()] == [1, 2]


def test_who_rode_along_is_told_though_the_leader_was_interrupted(journal, holder, monkeypatch):
    """As it was told that the deputy had committed for all."""
    session, store = journal.session("s", writer="w", role="run"), journal.store
    in_turn = store.in_turn

    def interrupted(call: Callable[[], object]) -> None:
        in_turn(call)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "in_turn", interrupted)
    monkeypatch.setattr("journal.group.LOOK_S", 60.0)  # nobody looks for itself
    with ThreadPoolExecutor(2) as pool:
        led = pool.submit(session.append, LINE)
        assert waits(journal)
        rode = pool.submit(session.append, LINE)
        while not store.group._queue:
            pass
        holder.kill()
        with pytest.raises(KeyboardInterrupt):
            led.result(20)
        assert rode.result(20).seq == 3


def test_an_error_is_raised_in_the_thread_that_asked(journal, journal_path):
    session = journal.session("s", writer="w", role="run")
    session.append(LINE, request_id="r")
    with held(journal_path) as holder, ThreadPoolExecutor(1) as pool:
        refused = pool.submit(session.append, {"type": "other"}, request_id="r")
        assert waits(journal)
        holder.kill()
        with pytest.raises(EntryError, match="other lines"):
            refused.result(20)
    assert session.append(LINE).seq == 2


def test_an_error_of_any_kind_is_raised_as_it_is(journal, holder):
    """One that a closed file raises too is no sign that the journal was closed."""

    def fails(_: object) -> None:
        raise ValueError("not this")

    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(journal.store.group.write, fails)
        assert waits(journal)
        holder.kill()
        with pytest.raises(ValueError, match="not this") as caught:
            refused.result(20)
    assert caught.value.__cause__ is None


def test_a_forked_child_keeps_nobody_waiting_who_had_a_deputy(journal, journal_path, holder):
    session = journal.session("s", writer="w", role="run")
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(session.append, LINE)
        assert waits(journal)
        number = journal.store.ticket._deputy.descriptor
        pid = os.fork()
        if not pid:
            os._exit(stays_open(number, reading))
        holder.kill()
        try:
            assert written.result(20).seq == 2
            with Journal(journal_path, busy_timeout=20) as other:
                assert other.session("s", writer="w", role="run").append(LINE).seq == 3
        finally:
            os.write(writing, b"x")
            assert os.waitpid(pid, 0)[1] == 0


def stays_open(number: int, until: int) -> bool:
    """Whether a file has this number in this process; wait for a word first."""
    os.read(until, 1)
    return Path(f"/dev/fd/{number}").exists()


def test_a_turn_that_was_not_taken_is_given_back(journal, journal_path, holder):
    """What was asked for may fail before it takes anything."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(journal.store.ticket.in_turn, list)
        holder.kill()
        assert done.result(20) == []
        with Journal(journal_path, busy_timeout=20) as other:
            assert other.session("s", writer="w", role="run").append(LINE).seq == 2
    assert is_taken_by(journal.store.ticket)


def is_taken_by(ticket: Ticket) -> bool:
    """Whether a thread that takes the turn keeps others from it."""
    other = Ticket(ticket._path, 0.01)
    ticket.take()
    try:
        other.take()
    except BusyError:
        return True
    finally:
        ticket.give_back()
        other.close()
    return False


def test_what_takes_its_turn_twice_has_it_twice(journal, holder):
    """It is lent for the first time only."""
    ticket = journal.store.ticket

    def twice() -> bool:
        ticket.take()
        ticket.give_back()
        return is_taken_by(ticket)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(ticket.in_turn, twice)
        holder.kill()
        assert done.result(20)


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


@LINUX
def test_where_no_thread_can_be_had_it_is_told_and_the_next_tries_again(
    journal, monkeypatch, holder
):
    session = journal.session("s", writer="w", role="run")
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", no_thread)
        before = open_files(journal.path)
        with pytest.raises(StorageError) as caught:
            session.append(LINE)
        assert open_files(journal.path) == before
    assert caught.value.code == "no-thread"
    holder.kill()
    assert session.append(LINE).seq == 2


def test_where_no_file_can_be_opened_the_write_waits_in_its_own_thread(journal, holder):
    session = journal.session("s", writer="w", role="run")
    with ThreadPoolExecutor(1) as pool, no_more_files():
        written = pool.submit(session.append, LINE)
        while not (journal.store.ticket._waiter and journal.store.ticket._waiter._is_waiting):
            assert not written.done()
        holder.kill()
        assert written.result(20).seq == 2


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no file until the block ends."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("way", ["new deputy", "old deputy", "new waiter", "old waiter"])
def test_a_close_before_the_wait_for_the_turn_is_told_at_once(
    journal, journal_path, holder, monkeypatch, way
):
    """Nobody would end that wait, but the time-out."""
    session, ticket = journal.session("s", writer="w", role="run"), journal.store.ticket
    if way == "old deputy":
        ticket._deputised()
    if way == "old waiter":
        with monkeypatch.context() as brief:
            brief.setattr(ticket, "_wait_s", 0.0)
            with pytest.raises(BusyError):
                ticket.take()
    step = "in_turn" if "deputy" in way else "_wait"
    wait = getattr(ticket, step)

    def closed_before(*arguments: object) -> object:
        in_another_thread(journal.store.close)
        return wait(*arguments)

    monkeypatch.setattr(ticket, step, closed_before)
    with no_longer_than(20), pytest.raises(StorageError) as caught:
        session.append(LINE) if "deputy" in way else journal.declare("another", "tool")
    assert caught.value.code == "closed"
    holder.kill()
    if ticket._deputy is not None:
        ticket._deputy._thread.join(20)
    if way != "old waiter":  # its number is kept from other files for as long as it waits
        assert open_files(journal_path) == []


class Door:
    """A turn that is always to be had."""

    def await_free(self) -> None:
        pass

    def enter(self, descriptor: int) -> bool:
        return bool(descriptor)

    def leave(self) -> None:
        pass


@pytest.fixture
def deputy(tmp_path: Path) -> Iterator[Deputy]:
    made = Deputy(os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT), Door())
    yield made
    made.stop()


@pytest.mark.parametrize("is_late", [False, True], ids=["before it is told", "as it is told"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupt_waits_for_what_has_begun(deputy, monkeypatch, times, is_late):
    """Once it has begun it is not left half done, however often Ctrl-C is pressed; nor waited for in vain."""
    begun, may_end, done = threading.Event(), threading.Event(), []

    def call():
        begun.set()
        may_end.wait(20)
        done.append(True)

    class Told:
        def __init__(self) -> None:
            self._queue: SimpleQueue[object] = SimpleQueue()
            self.put = self._queue.put
            self._times = times

        def get(self, timeout: float | None = None) -> object:
            begun.wait(20)
            may_end.set()
            found = self._queue.get(timeout=timeout) if is_late or not self._times else None
            if self._times:
                self._times -= 1
                raise KeyboardInterrupt
            return found

    monkeypatch.setattr("journal.deputy.SimpleQueue", Told)
    with pytest.raises(KeyboardInterrupt):
        deputy.do(call, 20)
    assert done == [True]


def test_what_has_begun_learns_that_nobody_wants_it_any_more(deputy, monkeypatch):
    begun = threading.Event()

    def call():
        begun.set()
        while not deputy.is_aborted():
            pass

    class Told(SimpleQueue[object]):
        pass

    def get(self: Told, timeout: float | None = None) -> object:
        begun.wait(20)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("journal.deputy.SimpleQueue", Told)
    monkeypatch.setattr(Told, "get", get)
    with pytest.raises(KeyboardInterrupt):
        deputy.do(call, 20)
    assert not deputy.is_aborted()  # this thread is not the deputy


def test_a_wait_for_a_program_without_tickets_ends_with_the_errand(journal, thief, monkeypatch):
    session = journal.session("s", writer="w", role="run")
    session.append(LINE)
    monkeypatch.setattr(journal.store.ticket, "is_aborted", lambda: True)
    thief.execute("BEGIN IMMEDIATE")
    with pytest.raises(KeyboardInterrupt):
        session.append(LINE)
    thief.execute("ROLLBACK")
    assert session.append(LINE).seq == 2


def test_a_wait_for_a_program_without_tickets_goes_on_in_the_deputy(
    journal, thief, holder, monkeypatch
):
    """Until the thread that asked is interrupted; then nothing is written."""
    session, store = journal.session("s", writer="w", role="run"), journal.store
    asked, waited, interrupted = threading.Event(), threading.Event(), threading.Event()
    is_free = store._is_free

    def tried(statement: str, deadline: float) -> bool:
        found: bool = is_free(statement, deadline)
        waited.set()
        return found

    class Told(SimpleQueue[object]):
        def put(self, item: object, *_: object) -> None:
            asked.set()
            super().put(item)

    def get(self: Told, timeout: float | None = None) -> object:
        if interrupted.is_set() or threading.current_thread().name == "journal-deputy":
            return SimpleQueue.get(self, timeout=timeout)
        assert waited.wait(20)
        interrupted.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_is_free", tried)
    monkeypatch.setattr("journal.deputy.SimpleQueue", Told)
    monkeypatch.setattr(Told, "get", get)
    thief.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(session.append, LINE)
        assert asked.wait(20)  # else it might find the turn free, and need no deputy
        holder.kill()
        with pytest.raises(KeyboardInterrupt):
            written.result(20)
        thief.execute("ROLLBACK")
    assert session.append(LINE).seq == 2


@pytest.mark.parametrize("how", ["a write", "a block"])
def test_the_turn_and_the_lock_have_one_time_out(journal, thief, holder, monkeypatch, how):
    """Else a program without tickets would have a write wait for twice as long as it may."""
    session, store = journal.session("s", writer="w", role="run"), journal.store
    deadlines, is_free, ticket = list[float](), store._is_free, store.ticket

    def tried(statement: str, deadline: float) -> bool:
        deadlines.append(deadline)
        return bool(is_free(statement, deadline))

    def act() -> None:
        if how == "a write":
            session.append(LINE)
        else:
            journal.declare("other", "tool")

    monkeypatch.setattr(store, "_is_free", tried)
    thief.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(act)
        while ticket._deputy is None and ticket._waiter is None:
            pass
        is_asked_for = time.monotonic()
        holder.kill()
        while not deadlines:
            pass
        thief.execute("ROLLBACK")
        written.result(20)
    assert deadlines[0] <= is_asked_for + store.busy_timeout_s


@LINUX
def test_a_deputy_ends_with_its_journal(open_journal, journal, journal_path, holder):
    """And the file by which it waits is closed."""
    other = open_journal()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(other.store.ticket.in_turn, list)
        holder.kill()
        done.result(20)
    deputy = other.store.ticket._deputy
    other.close()
    deputy._thread.join(20)
    assert not deputy._thread.is_alive()
    journal.close()
    assert open_files(journal_path) == []


def test_nothing_of_a_write_is_kept_once_it_is_done(deputy):
    class Lines:
        pass

    lines = Lines()
    kept = weakref.ref(lines)
    deputy.do(partial(id, lines), 20)
    del lines
    deputy.do(list, 20)  # behind it
    assert kept() is None


def test_a_journal_closed_while_a_write_waits_says_so(open_journal, journal, holder):
    other = open_journal(busy_timeout=0.3)
    session = other.session("s", writer="w", role="run")
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(session.append, LINE)
        assert waits(other)
        other.close()
        with pytest.raises(StorageError) as caught:
            refused.result(20)
    assert caught.value.code == "closed"

"""The ticket: a fair and bounded wait among processes, which survives its holder's death."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from journal import BusyError, Journal, StorageError
from journal import ticket as tickets
from journal.errors import FullError, ReadOnlyError
from journal.filelocks import lock_bytes
from journal.ticket import NotYet, Ticket
from tests.holding import held
from tests.test_interrupts import interruptions
from tests.test_worst_moments import in_another_thread, no_file_grows_beyond, open_files

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "agent.db")


@pytest.fixture
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the ticket."""
    with held(path) as process:
        yield process


def free(path: str) -> bool:
    ticket = Ticket(path, 0.05)
    try:
        ticket.take()
    except BusyError:
        return False
    else:
        ticket.give_back()
        return True
    finally:
        ticket.close()


def test_it_is_one_process_at_a_time(path, holder):
    assert not free(path)
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "given back\n"
    assert free(path)


def test_who_waits_too_long_is_told_for_whom(path, holder):
    ticket = Ticket(path, 0.05)
    with pytest.raises(BusyError) as caught:
        ticket.take()

    assert f"process {holder.pid} (" in str(caught.value)
    assert "has been writing since" in str(caught.value)
    assert str(holder.pid) in (caught.value.hint or "")
    ticket.close()


def test_a_stopped_holder_is_named(path, holder):
    holder.send_signal(signal.SIGSTOP)
    assert not free(path)


def test_it_is_free_once_its_holder_is_killed(path, holder):
    holder.kill()
    holder.wait()
    assert free(path)


def test_who_waits_gets_it_when_its_holder_dies(path, holder):
    ticket = Ticket(path, 20.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ticket.take)
        assert not waiting.done()
        holder.kill()
        waiting.result(20.0)
        assert not free(path)
        pool.submit(ticket.give_back).result()  # by the thread that has it
        assert free(path)
    ticket.close()


def test_a_wait_that_was_given_up_takes_nothing(path, holder):
    """What comes after the time-out is given back at once, and wanted anew it is taken."""
    ticket = Ticket(path, 0.05)
    with pytest.raises(BusyError):
        ticket.take()
    holder.kill()
    holder.wait()

    patient = Ticket(path, 20.0)
    patient.take()
    patient.give_back()
    ticket.take()
    assert not free(path)
    ticket.give_back()
    assert free(path)
    ticket.close()
    patient.close()


def test_a_forked_child_keeps_nobody_waiting(journal_path, journal):
    """The child holds what its parent held only until it has begun."""
    session = journal.session("s", writer="w", role="run")
    reading, writing = os.pipe()
    with journal.store.transaction():
        pid = os.fork()
        if not pid:
            os.read(reading, 1)
            os._exit(0)
    try:
        with Journal(journal_path, busy_timeout=5.0) as other:
            other.session("s", writer="v", role="tool").append({"type": "custom"})
        session.append({"type": "custom"})
    finally:
        os.write(writing, b"x")
        os.waitpid(pid, 0)


def test_a_closed_ticket_leaves_its_number_alone(path, holder):
    """A thread that waits on still must never let go of a file that got its number later."""
    ticket = Ticket(path, 0.05)
    with pytest.raises(BusyError):
        ticket.take()
    number = ticket._waiters
    ticket.close()
    assert os.fstat(number)


@pytest.mark.parametrize("what", ["a directory", "a link"])
def test_what_stands_in_its_files_place_is_told(path, what):
    place = Path(f"{path}-ticket")
    place.mkdir() if what == "a directory" else place.symlink_to("nowhere")
    with pytest.raises(StorageError, match=r"agent\.db-ticket cannot be opened"):
        Ticket(path, 1)


@pytest.mark.parametrize(
    "number, kind",
    [(errno.EACCES, ReadOnlyError), (errno.ENOSPC, FullError), (errno.EMFILE, StorageError)],
)
def test_why_its_file_cannot_be_opened_is_told_and_none_stays_open(path, monkeypatch, number, kind):
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tickets, "_opened_again", refused)
    with pytest.raises(StorageError) as caught:
        Ticket(path, 1)
    assert type(caught.value) is kind
    assert open_files(Path(path).parent) == []


def test_the_last_one_removes_the_file(path):
    """Nobody's file is removed while another has it open, or is about to."""
    first, second = Ticket(path, 1.0), Ticket(path, 1.0)
    first.close()
    assert Path(f"{path}-ticket").exists()
    third = Ticket(path, 1.0)
    second.close()
    third.take()
    assert not free(path)
    third.give_back()
    third.close()
    assert not Path(f"{path}-ticket").exists()


def test_who_waits_again_is_still_in_the_queue(path, holder):
    """A wait that was given up goes on behind the caller's back; the next one takes it over."""
    ticket = Ticket(path, 0.05)
    for _ in range(2):
        with pytest.raises(BusyError):
            ticket.take()
    ticket._wait_s = 20.0
    holder.stdin.write("\n")
    holder.stdin.flush()
    ticket.take()
    assert not free(path)
    ticket.give_back()
    assert is_soon_free(path)
    ticket.close()


class Threads:
    """What threads of one process wait for, and word of one that has to."""

    def __init__(self, lock: Any) -> None:
        self._lock, self.must_wait = lock, threading.Event()
        self.release, self._is_owned = lock.release, lock._is_owned

    def acquire(self, **how: bool) -> bool:
        got = bool(self._lock.acquire(**how))
        if not got:
            self.must_wait.set()
        return got


@pytest.mark.parametrize("way", ["in its own thread", "by the deputy"])
def test_threads_that_wait_one_behind_the_other_have_one_time_out(path, holder, monkeypatch, way):
    """Else sixteen of them would be told of a process that hangs one after the other, for eight minutes."""
    ticket = Ticket(path, 600.0)
    threads = ticket._thread = Threads(ticket._thread)  # type: ignore[assignment]
    waits, may_end = SimpleQueue[float](), threading.Event()

    def in_vain(_: object, wait_s: float) -> bool:
        waits.put(wait_s)
        return not may_end.wait(20)

    def done_in_vain(_: object, __: object, wait_s: float) -> None:
        waits.put(wait_s)

    def by_the_deputy() -> None:
        with pytest.raises(NotYet):
            ticket.take(at_once=True)
        ticket.in_turn(list)

    monkeypatch.setattr(tickets._Waiter, "get", in_vain)
    monkeypatch.setattr("journal.deputy.Deputy.do", done_in_vain)
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(ticket.take)]
        assert waits.get(timeout=20) == 600.0
        asked.append(pool.submit(by_the_deputy if way == "by the deputy" else ticket.take))
        assert threads.must_wait.wait(20)
        may_end.set()
        for each in asked:
            with pytest.raises(BusyError):
                each.result(20)
    assert waits.get(timeout=20) < 600.0
    ticket.close()


def is_soon_free(path: str) -> bool:
    """Whether the next one gets it, once a thread that wants it no more has let it go."""
    ticket = Ticket(path, 5.0)
    try:
        ticket.take()
        ticket.give_back()
    except BusyError:
        return False
    finally:
        ticket.close()
    return True


class Late(SimpleQueue[None]):
    """The turn comes in the very moment in which the wait for it ends."""

    def __init__(self, error: type[BaseException], come: Callable[[], None]) -> None:
        super().__init__()
        self.error, self.come = error, come

    def get(self, *_: object, **__: object) -> None:
        self.come()
        end = time.monotonic() + 20.0
        while not self.qsize():
            assert time.monotonic() < end
        raise self.error


def test_a_turn_that_comes_with_the_time_out_is_taken(path):
    first, second = two_of(path)
    second._waiter._granted = Late(Empty, first.give_back)  # type: ignore[union-attr]
    second.take()
    assert not free(path)
    second.give_back()
    assert is_soon_free(path)


def two_of(path: str) -> tuple[Ticket, Ticket]:
    """Return one that has it, and one that waited in vain."""
    first, second = Ticket(path, 20.0), Ticket(path, 0.01)
    first.take()
    with pytest.raises(BusyError):
        second.take()
    assert not second._thread._is_owned()  # type: ignore[attr-defined]
    return first, second


def test_a_turn_that_comes_with_an_interrupt_is_given_back(path):
    first, second = two_of(path)
    second._waiter._granted = Late(KeyboardInterrupt, first.give_back)  # type: ignore[union-attr]
    with pytest.raises(KeyboardInterrupt):
        second.take()
    assert is_soon_free(path)


def test_an_interrupt_at_any_moment_of_a_wait_keeps_nobody_waiting(path):
    """Not in the moment either in which it is already wanted, and not yet waited for."""
    first, second = Ticket(path, 20.0), Ticket(path, 0.001)

    def wait() -> None:
        with pytest.raises(BusyError):
            second.take()

    first.take()
    for where in interruptions(wait):
        first.give_back()
        second.give_back()  # as its caller does, whatever came
        assert is_soon_free(path), where
        first.take()
    first.give_back()
    first.close()
    second.close()


class Asked:
    """A queue that a signal comes with, once something was put there."""

    def __init__(self, queue: SimpleQueue[str | None]) -> None:
        self.get, self._put = queue.get, queue.put

    def put(self, item: str | None) -> None:
        self._put(item)
        raise KeyboardInterrupt


def test_an_interrupt_as_a_wait_begins_keeps_nobody_waiting(path):
    """The thread waits already for who wants it no more, and gives back what comes."""
    first, second = two_of(path)
    first.give_back()
    until_idle(second)
    first.take()
    second._waiter._asked = Asked(second._waiter._asked)  # type: ignore[union-attr]
    with pytest.raises(KeyboardInterrupt):
        second.take()
    first.give_back()
    until_idle(second)  # the turn has come
    assert is_soon_free(path)


def test_a_full_disk_takes_nobodys_turn(path):
    """Who has it is written down for those who wait in vain, where there is room."""
    first, second = Ticket(path, 0.01), Ticket(path, 0.01)
    with no_file_grows_beyond(0):
        first.take()
    with pytest.raises(BusyError) as caught:
        second.take()
    assert caught.value.hint
    first.give_back()
    first.close()
    second.close()


@pytest.mark.parametrize("how", ["is being removed", "was removed"])
def test_a_file_that_is_removed_while_it_is_opened_is_made_anew(path, monkeypatch, how):
    last = Ticket(path, 0.01)
    asked: list[int] = []

    def between(descriptor: int, kind: int) -> bool:
        asked.append(descriptor)
        if len(asked) == 1:
            Path(f"{path}-ticket").unlink()
            if how == "is being removed":
                return False
        return lock_bytes(descriptor, kind)

    monkeypatch.setattr(tickets, "lock_bytes", between)
    ticket = Ticket(path, 0.01)
    assert len(asked) == 2
    assert asked[0] == asked[1]  # the first was closed, and its number is free again
    assert os.fstat(ticket._own).st_ino == Path(f"{path}-ticket").stat().st_ino
    assert os.fstat(ticket._waiters).st_ino == os.fstat(ticket._own).st_ino
    ticket.take()
    assert not free(path)
    ticket.give_back()
    ticket.close()
    last.close()


def test_it_works_where_there_is_no_proc(path, monkeypatch):
    real = os.open

    def without(name: str, *rest: int) -> int:
        if name.startswith("/proc/"):
            raise FileNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(os, "open", without)
    first, second = two_of(path)
    first.give_back()
    second._wait_s = 20.0
    second.take()
    assert not free(path)
    second.give_back()


def test_the_time_since_when_somebody_writes_is_told(path):
    began = int(time.time())
    _, second = two_of(path)
    with pytest.raises(BusyError) as caught:
        second.take()
    moments = range(began, int(time.time()) + 1)
    times = [time.strftime("%H:%M:%S", time.localtime(moment)) for moment in moments]
    assert any(f"since {told} " in str(caught.value) for told in times)
    assert Path(f"{path}-ticket").stat().st_mode & 0o777 == 0o600


def test_a_wait_leaves_no_thread_and_no_file_open(path):
    """Nor does its thread keep a process from ending."""
    before = set(threading.enumerate())
    first, second = two_of(path)
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    waiters = second._waiters
    first.give_back()
    assert is_soon_free(path)
    until_idle(second)
    second.close()
    thread.join(20.0)
    assert not thread.is_alive()
    with pytest.raises(ValueError, match="negative"):
        second.take()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(waiters)
    first.close()


def until_idle(ticket: Ticket) -> None:
    end = time.monotonic() + 20.0
    while ticket._waiter and ticket._waiter._is_waiting:
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_forked_child_lets_go_of_all_and_ends_no_turn(path):
    """Whoever had it in the parent, or waited for it there."""
    first, second = two_of(path)
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(second._thread.acquire).result()  # another thread was at it when it forked
        pid = os.fork()
        if not pid:
            os.write(writing, b"yes" if lets_go(first) and lets_go(second) else b"no")
            os._exit(0)
        os.waitpid(pid, 0)
        pool.submit(second._thread.release).result()
    assert os.read(reading, 3) == b"yes"
    assert not free(path)
    first.give_back()
    assert is_soon_free(path)


def lets_go(ticket: Ticket) -> bool:
    """Abandon a ticket, and say whether nothing of it is left that could be held or taken."""
    numbers = [ticket._own, ticket._waiters]
    if ticket._deputy is not None:
        numbers.append(ticket._deputy.descriptor)
    ticket.abandon()
    is_free = ticket._thread.acquire(blocking=False)
    if any(is_open(number) for number in numbers):
        return False
    other = [os.open(os.devnull, os.O_RDONLY) for _ in numbers]  # which get their numbers
    if any(is_open(number) for number in (ticket._own, ticket._held)):
        return False
    try:
        ticket.take()
    except ValueError:
        return is_free and len(other) > 1
    return False


def test_what_was_abandoned_is_closed_and_cannot_be_taken(path):
    """Nor does it matter which thread had it, or that it had a deputy."""
    ticket = Ticket(path, 0.01)
    ticket._deputised()
    in_another_thread(ticket._thread.acquire)
    assert lets_go(ticket)


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_a_program_without_stdin_keeps_nobody_waiting(path):
    """A daemon has closed it: the ticket's file is the first to get its number."""
    stdin = os.dup(0)
    os.close(0)
    try:
        ticket = Ticket(path, 0.01)
        assert ticket._own == 0
        ticket.take()
        assert not free(path)
        ticket.give_back()
        assert free(path)
        ticket.close()
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)

"""A fair place in the queue for the write lock, among the processes of one host.

SQLite's busy handler sleeps and tries again: whoever has just written tries
first, and the slowest of eight processes got 0.0005 of the fastest one's share.
Here each takes a ticket before ``BEGIN IMMEDIATE``, an ``flock`` on
``<database>-ticket`` that the kernel gives in the order it was asked for and
takes back from whoever dies. It is only about the order: the write lock is
SQLite's, and a program that knows nothing of tickets is waited for as ever.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeVar

from journal.deputy import Deputy
from journal.descriptors import NO_LINK, opened_again
from journal.errors import BusyError
from journal.filelocks import AT_ONCE, OVER, RDLCK, WAIT, WRLCK, lock_bytes, turn
from journal.place import unusable
from journal.process import begin, described

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_FLAGS: Final = os.O_RDWR | os.O_CREAT | NO_LINK  # O_CLOEXEC is Python's own doing
_HOLDER: Final = Struct("qq")  # pid, and since when: microseconds since 1970


class NotYet(Exception):  # noqa: N818 - no error: whoever asked goes another way
    """The turn is another process's."""


class Ticket:
    """One process's ticket for one journal; its threads take it one after the other.

    Raises:
        StorageError: its file cannot be made or opened.

    """

    def __init__(self, path: str, wait_s: float) -> None:
        self._path, self._wait_s = path, wait_s
        # Two descriptions of the file: what the waiter may yet be given, long after
        # nobody wants it any more, must be another lock than the one that is held.
        try:
            self._own, self._waiters = _opened(f"{path}-ticket")
        except OSError as error:
            raise unusable(f"{path}-ticket", error) from error
        self._pid = os.getpid()
        self._thread = threading.RLock()
        self._held = self._own
        self._waiter: _Waiter | None = None
        self._deputy: Deputy | None = None
        self._is_lent = False  # whether the thread that has it was given it, and has not taken it
        self._asked_at = 0.0  # when the thread that it is lent for asked for it
        self._waited = 0.0  # and how long it had waited for other threads by then

    def take(self, *, at_once: bool = False) -> None:
        """Wait for the turn.

        Raises:
            BusyError: it did not come in time; the error names who has it.
            NotYet: it was to be had ``at_once``, and is another's; :meth:`in_turn` waits for it.

        """
        try:  # from here on: a signal between a lock and the next line must free it again
            waited = 0.0 if self._thread.acquire(blocking=False) else self._await_threads()
            try:
                if self._is_lent:  # by the deputy, which is this thread
                    self._is_lent = False
                else:
                    turn(self._own, AT_ONCE)
            except BlockingIOError:
                if at_once:
                    self._waited = waited
                    raise NotYet from None
                self._wait(waited)
                self._held = self._waiters
            # For whoever waits in vain; not worth failing for on a full disk.
            try:  # noqa: SIM105 - each append comes by here, and suppress() is three calls
                os.pwrite(self._own, _HOLDER.pack(self._pid, time.time_ns() // 1000), 0)
            except OSError:
                pass
        except BaseException:
            self.give_back()
            raise

    def _await_threads(self) -> float:
        """Wait for the other threads of ours; return for how long: one may have waited for the turn in vain."""
        since = time.monotonic()
        self._thread.acquire()
        return time.monotonic() - since

    def asked_at(self) -> float:
        """Return when the turn was asked for that is taken next: now, but where it was waited for elsewhere."""
        is_ours = self._is_lent and self._thread._is_owned()  # type: ignore[attr-defined] # noqa: SLF001 - as give_back()
        return self._asked_at if is_ours else time.monotonic()

    def give_back(self) -> None:
        """Let the next one have its turn; harmless if this thread has it not."""
        if not self._thread._is_owned():  # type: ignore[attr-defined] # noqa: SLF001 - as threading.Condition asks it
            return
        # By default the own one: an interrupt may have come before it was noted as held.
        held, self._held = self._held, self._own
        if held >= 0:
            turn(held, OVER)
        self._thread.release()

    def in_turn(self, call: Callable[[], T]) -> T:
        """Wait for the turn in another thread, and have that make a call which takes it and gives it back.

        Raises:
            BusyError: as :meth:`take`.

        """
        waited, self._waited = self._waited, 0.0
        self._asked_at = time.monotonic() - waited
        try:
            deputy = self._deputy or self._deputised()
        except OSError:  # too many files are open: it is only slower this way
            return call()
        done = deputy.do(call, max(0.0, self._wait_s - waited))
        if done is None:
            raise self._busy()
        outcome, error = done
        if error is not None:
            raise error
        return outcome  # type: ignore[no-any-return] # the call's own

    def _deputised(self) -> Deputy:
        os.fstat(self._own)  # or a journal that was closed meanwhile would have its file made anew
        descriptor = _opened_again(f"{self._path}-ticket", self._own)
        try:
            self._deputy = Deputy(descriptor, self)
        except BaseException:
            os.close(descriptor)
            raise
        return self._deputy

    def is_aborted(self) -> bool:
        """Whether whoever had this thread do what it does wants it no more."""
        return self._deputy is not None and self._deputy.is_aborted()

    def await_free(self) -> None:
        """Return when no thread of ours has the turn, or waits for it with the others kept out."""
        with self._thread:
            pass

    def enter(self, descriptor: int) -> bool:
        """Have the turn in this thread, by a lock got on a descriptor; False if a thread of ours is at it."""
        if not self._thread.acquire(blocking=False):
            return False
        self._held, self._is_lent = descriptor, True
        return True

    def leave(self) -> None:
        """Give back what was not taken, and let the next thread in."""
        if self._is_lent:
            self._is_lent = False
            self.give_back()
        while self._thread._is_owned():  # type: ignore[attr-defined] # noqa: SLF001 - as give_back()
            self._thread.release()

    def _wait(self, waited: float) -> None:
        if self._own < 0:  # closed meanwhile; the waiters' number may be another file's by now
            raise ValueError
        if self._waiter is None:
            self._waiter = _Waiter(self._waiters)
        if not self._waiter.get(max(0.0, self._wait_s - waited)):
            raise self._busy()

    def _busy(self) -> BusyError:
        pid, since_us = _HOLDER.unpack(
            os.pread(self._own, _HOLDER.size, 0).ljust(_HOLDER.size, b"\0")
        )
        since = time.strftime("%H:%M:%S", time.localtime(since_us / 1e6))
        return BusyError(
            f"{self._path}: {described(pid)} has been writing since {since} "
            f"and did not end within {self._wait_s:g} s",
            hint=f"see what process {pid} does (ps -o stat,command -p {pid}); a longer busy_timeout waits longer",
        )

    def abandon(self) -> None:
        """In a forked child: let go of what the parent holds without ending its turn."""
        # Closing takes no lock away as long as the parent has the same description open.
        os.close(self._own)
        os.close(self._waiters)
        if self._deputy is not None:
            os.close(self._deputy.descriptor)
        self._deputy, self._is_lent = None, False
        self._own = self._held = -1
        self._thread = threading.RLock()  # another thread of the parent may have had it

    def close(self) -> None:
        """Let go of the file; the last one to do so removes it."""
        if lock_bytes(self._own, WRLCK):
            with suppress(OSError):
                os.unlink(f"{self._path}-ticket")  # noqa: PTH108 - a path that is text
        # First: its number may be another file's at once.
        own, self._own, self._held = self._own, -1, -1
        os.close(own)
        if self._waiter is None or self._waiter.stop():
            os.close(self._waiters)
        if self._deputy is not None:
            self._deputy.stop()


def _opened(path: str) -> tuple[int, int]:
    """Open a file twice that is there until the last who has it open lets go."""
    while True:
        own = os.open(path, _FLAGS, 0o600)
        if lock_bytes(own, RDLCK) and os.fstat(own).st_nlink:
            break
        os.close(own)  # somebody is about to remove it, or has
    try:
        return own, _opened_again(path, own)
    except BaseException:
        os.close(own)
        raise


def _opened_again(path: str, own: int) -> int:
    """Open a file anew that is open: a description of its own, with locks of its own."""
    try:
        return opened_again(own, path, os.O_RDWR)
    except OSError:
        return os.open(path, _FLAGS, 0o600)


class _Waiter:
    """A thread that waits where no time-out can be given: ``flock`` knows none."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._guard = threading.Lock()
        self._is_wanted = self._is_waiting = self._is_over = False
        self._asked: SimpleQueue[str | None] = SimpleQueue()
        self._granted: SimpleQueue[None] = SimpleQueue()
        begin(threading.Thread(target=self._serve, name="journal-ticket", daemon=True))

    def get(self, wait_s: float) -> bool:
        """Wait for the lock; return whether it came in time."""
        try:  # from here on: a signal may come as soon as it is wanted
            with self._guard:
                if self._is_over:
                    return False
                self._is_wanted = True
                if not self._is_waiting:  # else it waits still, for one who gave up
                    self._is_waiting = True
                    self._asked.put("wait")
            with suppress(Empty):
                self._granted.get(timeout=wait_s)
                return True
            return not self._give_up()
        except BaseException:
            self._give_up()
            # It may have come, and a signal with it; where it has not, this does nothing.
            turn(self._descriptor, OVER)
            raise

    def _give_up(self) -> bool:
        """Want it no more; return False if it had come in the meantime."""
        with self._guard:
            self._is_wanted = False
            with suppress(Empty):
                self._granted.get_nowait()
                return False
        return True

    def stop(self) -> bool:
        """End the thread; return whether it has let go of its descriptor."""
        with self._guard:
            self._is_over = True
            self._asked.put(None)
            # Where it waits still, the number must not be given to another file: it would unlock that.
            return not self._is_waiting

    def _serve(self) -> None:
        while self._asked.get() is not None:
            turn(self._descriptor, WAIT)
            with self._guard:
                self._is_waiting = False
                if self._is_wanted:
                    self._granted.put(None)
                else:
                    turn(self._descriptor, OVER)

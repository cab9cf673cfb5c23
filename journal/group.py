"""Group commit: writes that arrive together share one transaction, and with it one sync.

There is no thread of its own. Whoever finds nobody writing leads: it begins a
transaction, does its own write, then those that queued up meanwhile, each with
an epoch of its own, and commits once for all. A caller alone leads nobody and
pays nothing. Whoever finds somebody leading queues up and sleeps until its
write is durable, or until it is asked to lead. Where it is another process's turn,
the thread that waits for it does all that in the leader's place (:mod:`journal.deputy`).

A write never fails with its neighbour's error, nor for its sake: where one
fails, or the common commit does, the transaction is rolled back whole, and
whoever may have caused it runs again by itself, led by the thread that asked for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from journal.errors import BusyError
from journal.rides import Queued, Ride, wake
from journal.ticket import NotYet

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.engine import Cursor
    from journal.errors import StorageError
    from journal.rides import T, Transactions

# How many writes share a commit at most: it bounds what the first of them waits for.
MOST: Final = 256
# Nobody trusts a wake-up that an interrupt may have swallowed: it looks for itself.
LOOK_S: Final = 0.5
# How long a leader waits for those who rode along the last time, and are on their way back.
GATHER_S: Final = 0.001


class Group:
    """The writes of one journal in this process."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._leading = threading.Lock()
        self._queue: deque[Queued] = deque()
        self._before = self._enough = 0
        # Let go by the last of those who are waited for. A lock, for a queue's get() of a moment may wait
        # for ever: where the moment passes while it begins, CPython takes what is left for no time-out.
        self._complete = threading.Lock()
        self._complete.acquire()
        self._is_asked = False  # whether somebody was asked to serve, and has not begun

    def write(self, work: Callable[[Cursor], T]) -> T:
        """Do ``work`` in a transaction, shared with what else arrives; return what it returned, durable.

        ``work`` may be run more than once, each time after what it did before was
        rolled back, and by another thread than the caller's; an error it raises
        ends its own write only.

        Raises:
            BusyError: another process held the write lock for longer than the time-out.
            StorageError: the database could not; nothing of this write was kept.

        """
        if self._leading.locked():
            self._transactions.refuse_nested()  # it would wait for a leader that waits for it
            woken: SimpleQueue[None] = SimpleQueue()
            return self._follow(Queued(work, woken), woken)  # type: ignore[no-any-return]
        return self._lead(work)

    # -- for those who wait in no thread ------------------------------------------------

    def submit(self, queued: Queued) -> bool:
        """Queue a write; return whether somebody must :meth:`serve` the queue, for nobody will.

        Its ``wake.put`` is called when it is done, and when it is to be served.
        """
        self._arrive(queued)
        if self._is_asked or self._leading.locked():
            return False
        self._is_asked = True
        return True

    def not_served(self, error: StorageError) -> None:
        """Say why nobody will serve: it is told to all who wait in no thread; who waits in one leads.

        Nothing of theirs is written. Where somebody leads, he does it all, or wakes the next.
        """
        self._is_asked = False
        while self._queue and self._leading.acquire(blocking=False):
            try:
                unled = [queued for queued in list(self._queue) if not queued.has_thread]
                for queued in unled:
                    self._queue.remove(queued)
            finally:
                self._leading.release()
            self._tell(error, unled)
            if not unled:
                self._wake_next()
                return

    def serve(self) -> None:
        """Lead for the first that is queued, in a thread that may wait; nothing is raised."""
        self._is_asked = False  # before the look at the queue: who comes after it asks again
        try:
            own = self._queue[0]
        except IndexError:
            return
        try:
            own.outcome = self._lead(own.work, own)
            own.is_led = True
        except BaseException as error:  # noqa: BLE001 - its caller is told, whoever that is
            own.error = error
        wake(own)

    def answer(self, queued: Queued) -> Any:  # noqa: ANN401 - whatever the work returned
        """Return what became of a write that is done, or raise it."""
        return queued.answer(self._transactions)

    # -- leading ----------------------------------------------------------------------

    def _lead(  # noqa: C901, PLR0912 - the way of each append, in one stretch
        self, work: Callable[[Cursor], T], own: Queued | None = None
    ) -> T:
        ride = None
        try:
            with self._leading:
                if own is not None:
                    with suppress(ValueError):
                        self._queue.remove(own)
                    if own.is_done:
                        return own.answer(self._transactions)  # type: ignore[no-any-return]
                    if own.is_withdrawn:
                        return None  # type: ignore[return-value] # who serves it says that it is done
                # With the lock still held: who waits for it to do this very write finds it done, or failed.
                try:
                    outcome, after, ride = self._share(work)
                except BaseException as error:
                    if own is not None:
                        own.error = error
                    raise
                if own is not None:
                    own.outcome, own.ride = outcome, ride
        except BaseException:
            if ride is not None:
                ride.wake()  # an interrupt, behind the commit: who waits in no thread looks for nothing
            raise
        finally:
            if self._queue:
                try:
                    self._wake_next()
                except BaseException:  # for the same reason
                    self._wake_next()
                    raise
        # The lock is let go: others write while this one's commit is synced.
        try:
            self._transactions.make_durable(ride.number)
            ride.is_durable = True
            for call in after:
                call()
        finally:
            if ride.writes:
                try:
                    ride.wake()
                except BaseException:  # as above
                    ride.wake()
                    raise
        return outcome

    def _share(self, work: Callable[[Cursor], T]) -> tuple[T, list[Callable[[], None]], Ride]:
        """Commit the leader's work with what is queued; again without those that made it fail."""
        while True:
            ride = Ride()
            try:
                return self._attempt(work, ride)
            except Exception as error:
                if ride.writes:
                    continue
                if isinstance(error, BusyError):
                    self._refuse_the_patient(error)
                raise

    def _attempt(
        self, work: Callable[[Cursor], T], ride: Ride
    ) -> tuple[T, list[Callable[[], None]], Ride]:
        if self._before:
            self._gather()
        try:
            return self._commit(work, ride, at_once=True)
        except NotYet:
            pass
        try:
            return self._transactions.in_turn(partial(self._commit, work, ride, at_once=False))
        except BaseException:
            if ride.is_committed:  # an interrupt came while another thread did it
                ride.wake()
            raise

    def _commit(
        self, work: Callable[[Cursor], T], ride: Ride, *, at_once: bool
    ) -> tuple[T, list[Callable[[], None]], Ride]:
        transactions = self._transactions
        cursor = transactions.begin(at_once=at_once)
        try:
            outcome = work(cursor)
            if self._queue:
                self._take_along(cursor, ride)
            after = transactions.commit(ride)
        except BaseException as error:
            try:
                self._undo(error, ride)
            finally:
                if not ride.is_undone:  # an interrupt came at its first step
                    self._undo(error, ride)
            told = transactions.told(error)
            if told is error:
                raise
            raise told from error
        return outcome, after, ride

    def _gather(self) -> None:
        """Let those come back who rode along the last time, for a moment.

        The last of them says so: to look again and again would keep them from it.
        """
        self._complete.acquire(blocking=False)  # it was let go too late, the last time
        self._enough, self._before = self._before, 0
        if len(self._queue) < self._enough:
            self._complete.acquire(timeout=GATHER_S)
        self._enough = 0

    def _arrive(self, queued: Queued) -> None:
        self._queue.append(queued)
        if self._enough and len(self._queue) >= self._enough:
            self._enough = 0
            with suppress(RuntimeError):  # another came at the same moment, and did it
                self._complete.release()

    def _take_along(self, cursor: Cursor, ride: Ride) -> None:
        """Do what is queued in the transaction that stands."""
        queue = self._queue
        while queue and len(ride.writes) < MOST and not queue[0].is_alone:
            queued = queue[0]
            if queued.is_withdrawn:
                self._drop(queue.popleft())
                continue
            queued.ride, queued.has_run = ride, False
            ride.writes.append(queued)
            queue.popleft()  # after it was noted: an interrupt between may not lose it
            work: Any = queued.work
            # What it would write waits for the end of the transaction, where work knows how.
            later = getattr(work, "later", None)
            if later is None:
                self._transactions.settle()
            queued.outcome = (later or work)(cursor)
            queued.has_run = True
        self._before = len(ride.writes)

    def _drop(self, queued: Queued) -> None:
        queued.is_dropped = True
        wake(queued)

    def _undo(self, error: BaseException, ride: Ride) -> None:
        """Roll back; what rode along queues up again, by itself if it may have been the cause.

        May be called again where an interrupt came in between.
        """
        self._transactions.roll_back(error, ride)
        if ride.is_committed:
            ride.wake()
        elif not isinstance(error, Exception):  # an interrupt: nobody's fault
            self._queue_again(ride.writes)
        else:
            failed = [queued for queued in ride.writes if not queued.has_run] or ride.writes
            for queued in failed:
                queued.is_alone = True
            self._queue_again([queued for queued in ride.writes if not queued.is_alone])
            self._queue.extend([queued for queued in failed if queued not in self._queue])
        ride.is_undone = True

    def _queue_again(self, writes: list[Queued]) -> None:
        """Put writes back to the head of the queue, in their order."""
        self._queue.extendleft([queued for queued in reversed(writes) if queued not in self._queue])

    def _wake_next(self) -> None:
        with suppress(IndexError):
            wake(self._queue[0])

    def _refuse_the_patient(self, error: StorageError) -> None:
        """Give up for all who have waited about as long as the leader; the rest wait on."""
        now, enough = time.monotonic(), self._transactions.busy_timeout_s / 2
        late = [queued for queued in list(self._queue) if now - queued.since >= enough]
        for queued in late:
            self._queue.remove(queued)
        self._tell(error, late)

    def _tell(self, error: StorageError, writes: list[Queued]) -> None:
        """End writes with an error each: callers may raise theirs at the same time."""
        for queued in writes:
            queued.error = type(error)(*error.args, hint=error.hint, code=error.code)
            wake(queued)

    # -- following --------------------------------------------------------------------

    def _follow(self, own: Queued, woken: SimpleQueue[None]) -> Any:  # noqa: ANN401 - whatever the work returns
        self._arrive(own)
        try:
            while not own.is_done:
                if not self._leading.locked():
                    return self._lead(own.work, own)
                with suppress(Empty):
                    woken.get(timeout=LOOK_S)
        except BaseException:
            self._withdraw(own)
            raise
        return own.answer(self._transactions)

    def _withdraw(self, own: Queued) -> None:
        """Leave the queue; what is under way already is settled first."""
        own.is_withdrawn = True
        with self._leading, suppress(ValueError):
            self._queue.remove(own)
        if self._queue:  # whoever came meanwhile took this for a leader, or was behind it
            self._wake_next()

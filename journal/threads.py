"""Threads that work for tasks: a call that may block runs in one, and settles before a cancellation passes."""

from __future__ import annotations

import atexit
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, ParamSpec, TypeVar

import anyio

from journal.admission import Put
from journal.errors import StorageError
from journal.model import check_label
from journal.process import begin
from journal.rides import Queued
from journal.settled import Settled, in_loop
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journal.group import Group
    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session

P = ParamSpec("P")
T = TypeVar("T")

# Reads, checks and claims at the same time; appends need no thread each.
THREADS: Final = 16
NO_THREAD: Final = "no-thread"


class _Awaited(Queued):
    """A write that a task waits for: what the group wakes when it is done, or is to be led."""

    __slots__ = ("_threads", "group", "settled")

    has_thread = False

    def __init__(self, work: Put, group: Group, threads: Threads) -> None:
        Queued.__init__(
            self, work, self
        )  # not by super(): that makes an object, once for each append
        self.group, self._threads, self.settled = group, threads, Settled.here()

    def put(self, _: None, /) -> Callable[[], None] | None:
        """Go on, wherever it is waited."""
        if self.is_done:
            return self.settled.note()
        self.serve()
        return None

    def serve(self) -> None:
        """Have a thread lead for whoever is queued."""
        try:
            self._threads.leader.ask(self.group.serve)
        except StorageError as error:
            self.group.not_served(error)

    def give_up(self) -> None:
        """Want it no more; who serves it drops it, where nobody leads."""
        self.is_withdrawn = True
        self.serve()


class Leader:
    """A thread that leads queued writes, begun when it is first asked; a quarter of a pool's price.

    It ends when it is shut down, or with the interpreter; what it was asked by then is
    done, and what comes of that: to lead for one is to be asked to lead for the next.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_ending = self._is_over = False
        self._pid = os.getpid()

    def ask(self, call: Callable[[], None]) -> None:
        """Have a call made, which raises nothing.

        Raises:
            StorageError: it was shut down, or the system gives no thread now.

        """
        with self._guard:
            if self._is_over:
                raise closed()
            if self._thread is None:
                self._begin()
            self._asked.put(call)

    def _begin(self) -> None:
        # A daemon, and shut down at exit: nobody who forgot to close a journal waits for ever.
        thread = threading.Thread(target=self._lead, name="journal-leader", daemon=True)
        begin(thread)
        self._thread = thread  # only now: whoever asks next tries again
        atexit.register(self.shutdown)

    def _lead(self) -> None:
        while not self._is_over:
            call = self._asked.get()
            if call is None:
                self._end_if_idle()
                continue
            try:
                call()
            except Exception:  # noqa: BLE001 - and it is told
                # Were this thread to end, every later write would wait for ever.
                log.exception("writes that were queued could not be led")

    def _end_if_idle(self) -> None:
        """End, unless it was asked for more meanwhile; from then on nobody asks it."""
        with self._guard:
            self._is_over = self._asked.empty()
            if not self._is_over:
                self._asked.put(None)

    def shutdown(self) -> None:
        """Wait until it has done what it was asked; nothing in a forked child, where it is not."""
        if self._pid != os.getpid():
            return  # a thread of the parent's may have had the guard
        with self._guard:
            thread = self._thread
            if thread is None:
                self._is_over = True
            elif not self._is_ending:
                self._is_ending = True
                self._asked.put(None)
        if thread is not None:
            thread.join()
            atexit.unregister(self.shutdown)


class _Lent(Generic[T]):
    """What a call hands out and somebody must give back: its caller, or, once that wants it no more, its thread."""

    def __init__(self, call: Callable[[], T], undo: Callable[[T], object]) -> None:
        self._call, self._undo = call, undo
        self._token = [None]  # taken once, by whichever of the two is first

    def make(self) -> T:
        """Make the call, in the thread."""
        got = self._call()
        if not self._take():
            self.give_back(got)
        return got

    def refuse(self) -> bool:
        """Want it no more; return whether it was handed out already, and is still to be given back."""
        return not self._take()

    def give_back(self, got: T) -> None:
        """Undo what came of the call."""
        try:
            self._undo(got)
        except Exception:  # noqa: BLE001 - its caller was cancelled, and is told nothing else
            log.exception("what a cancelled call had come to could not be undone")

    def _take(self) -> bool:
        try:
            self._token.pop()
        except IndexError:
            return False
        return True


class Threads:
    """The threads of one asynchronous journal: a pool for all calls, one to lead queued writes."""

    def __init__(self) -> None:
        self._is_closed = False
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="journal")
        self.leader = Leader()
        self._closing = threading.Lock()

    def _check_fork(self) -> None:
        """Start anew in a forked child: the parent's threads are not there, and would be waited for in vain."""
        if self._pid != os.getpid():
            self._start()

    async def run(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a call in a thread and return what it returns; a cancellation gives it up where it is not begun."""
        future, settled = self._begun(partial(call, *args, **options))
        await settled.wait(future.cancel)
        return future.result()

    async def run_anyhow(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run what must be done on leaving a block, for a cancelled task too: it is never given up."""
        made = partial(call, *args, **options)
        try:
            future, settled = self._begun(made)
        except StorageError as error:
            if error.code != NO_THREAD:
                raise
            return made()  # here, while the loop waits
        with anyio.CancelScope(shield=True):
            try:
                await settled.wait()
            except BaseException:
                if future.exception() is not None:  # the cancellation passes in its place
                    log.warning(
                        "a task was cancelled that would have been told: %s", future.exception()
                    )
                raise
        return future.result()

    async def borrow(
        self, undo: Callable[[T], object], call: Callable[P, T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a call that hands out what is to be given back; where the task is cancelled meanwhile, it is given back.

        That is done before the cancellation passes.
        """
        lent = _Lent(partial(call, *args, **options), undo)
        future, settled = self._begun(lent.make)
        is_handed_out = False

        def give_up() -> None:
            nonlocal is_handed_out
            is_handed_out = not future.cancel() and lent.refuse()

        try:
            await settled.wait(give_up)
        except BaseException:
            if is_handed_out:
                try:
                    await self.run_anyhow(lent.give_back, future.result())
                except StorageError:  # the threads were ended: here, while the loop waits
                    lent.give_back(future.result())
            raise
        return future.result()

    def _begun(self, call: Callable[[], T]) -> tuple[Future[T], Settled]:
        """Return what a call in a thread will come to, and what tells that it has.

        Raises:
            StorageError: the threads were ended, or the system gives none now; the call is never made.

        """
        settled, future = Settled.here(), Future[T]()
        future.add_done_callback(lambda _: settled.tell())
        self._check_fork()
        try:
            self._pool.submit(_make, future, call)
        except RuntimeError as error:
            # Where there is no thread the pool has queued it all the same: another would make it.
            if future.cancel():
                raise self._refusal(error) from None
        return future, settled

    def _refusal(self, error: RuntimeError) -> StorageError:
        if self._is_closed:
            return closed()
        return StorageError(f"{error}: nothing was done", hint="try again", code=NO_THREAD)

    async def write(
        self, session: Session, lines: Sequence[Line], request_id: str | None
    ) -> list[Entry]:
        """Write encoded lines with whatever else is queued.

        As few objects live while it waits as can be: with some hundred tasks that wait it is
        they that make Python look for garbage, which was a fifth of all the time.
        """
        if request_id is not None:
            check_label(request_id, "request id")
        self._check_fork()
        if self._is_closed:
            raise closed()
        group = session.store.group
        queued = _Awaited(Put(session, lines, request_id), group, self)
        if group.submit(queued):
            queued.serve()
        try:
            await queued.settled
        except BaseException:
            queued.give_up()
            await queued.settled.outlast()
            raise
        outcome = group.answer(queued)
        if outcome.error is not None:
            raise outcome.error
        return outcome.entries  # type: ignore[no-any-return] # its own: nobody else is given it

    def close(self, last: Callable[[], None] = lambda: None) -> None:
        """Take no more writes, wait for what is under way, do a last thing, and end."""
        self._check_fork()
        self._is_closed = True
        with self._closing:  # once more is harmless, at the same time too
            self._pool.shutdown()
            self.leader.shutdown()  # after the pool: its calls may wait for what it leads
            last()

    async def end(self, last: Callable[[], None] = lambda: None) -> None:
        """As :meth:`close`, in a thread of its own; a cancelled task waits for it, too."""
        self._is_closed = True
        await apart(partial(self.close, last))


async def apart(call: Callable[[], None]) -> None:
    """Make a call in a thread of its own, and return once it is made; a cancelled task waits for it, too."""
    future, settled = Future[None](), Settled.here()
    future.add_done_callback(lambda _: settled.tell())
    thread = threading.Thread(target=_make, args=(future, call), name="journal-closing")
    try:
        begin(thread)
    except StorageError:
        call()  # no thread is to be had: it is made all the same, while the loop waits
        return
    with anyio.CancelScope(shield=True):
        await settled.wait()
    future.result()


def must_not_wait() -> bool:
    """Whether this thread is one that others wait for: an event loop's, or one of ours."""
    return in_loop() or threading.current_thread().name.startswith("journal")


def _make(future: Future[T], call: Callable[[], T]) -> None:
    """Make a call that nobody has given up, and tell what it came to."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - its caller is told
        future.set_exception(error)
    else:
        future.set_result(result)


def closed() -> StorageError:
    """Return the error of a journal that is not open."""
    hint = "async with AsyncJournal(path)"
    return StorageError("this journal is not open", hint=hint, code="closed")

"""Threads that work for tasks: a call that may block runs in one, and settles before a cancellation passes."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, ref

import anyio
from anyio.lowlevel import current_token

from journal.admission import Put
from journal.errors import JournalError, StorageError
from journal.group import Queued
from journal.model import check_label
from journal.process import begin
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from journal.group import Group
    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session

P = ParamSpec("P")
T = TypeVar("T")

# Reads, checks and claims at the same time; appends need no thread each.
THREADS: Final = 16


class Bell:
    """Tells an asyncio loop what threads have settled: once for all that comes together.

    To wake a loop is a system call, and sixty-four tasks share one commit. What is put into
    ``told`` is answered in the loop's thread, after the bell was rung by a call.
    """

    __slots__ = ("_is_rung", "loop", "told")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = ref(loop)
        self.told: deque[_Told] = deque()
        self._is_rung = False

    def __call__(self) -> None:
        """Have the loop answer all that was noted; from any thread."""
        if self._is_rung:
            return
        self._is_rung = True
        loop = self.loop()
        with suppress(RuntimeError):  # the loop is gone, and with it who waited
            if loop is not None:
                loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._is_rung = False  # first: what is noted from here on rings again
        told = self.told
        while told:
            told.popleft().answer()


class Settled:
    """Something a thread will finish, and a task waits for."""

    __slots__ = ()

    @staticmethod
    def here() -> Settled:
        """Return one for the task that runs, of asyncio or trio."""
        loop = _asyncio_loop()
        return _Heard() if loop is None else _Told(loop)

    def tell(self) -> None:
        """Let the task go on; from any thread, any number of times."""
        ring = self.note()
        if ring is not None:
            ring()

    def note(self) -> Callable[[], None] | None:
        """As :meth:`tell`, but for the call that is returned: one for all tasks of a loop."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is settled, or until nobody wants to know any more."""
        raise NotImplementedError

    def is_told(self) -> bool:
        """Whether it is settled; for the task."""
        raise NotImplementedError

    async def wait(self, give_up: Callable[[], None] | None = None) -> None:
        """Wait until it is settled; a cancellation gives up what is not begun, and waits for the rest."""
        try:
            await self
        except BaseException:
            if give_up is not None:
                give_up()
            await self.outlast()
            raise

    async def outlast(self) -> None:
        """Wait until it is settled, however often the task is cancelled meanwhile."""
        with anyio.CancelScope(shield=True):
            while not self.is_told():
                try:
                    await self
                except anyio.get_cancelled_exc_class():
                    continue  # asyncio's own cancel() knows no shield, and may come again


class _Told(Settled):
    """By asyncio's own future, the quickest there is: every append waits for one."""

    __slots__ = ("_bell", "_future", "_is_told", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._bell = loop, _bell_of(loop)
        self._future: asyncio.Future[None] = loop.create_future()
        self._is_told = False

    def note(self) -> Bell:
        bell = self._bell
        bell.told.append(self)
        return bell

    def answer(self) -> None:
        """Let the task go on; in its loop's thread."""
        self._is_told = True
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        if self._future.cancelled():  # with the task that waited for it; it may wait again
            self._future = self._loop.create_future()
        return self._future.__await__()

    def is_told(self) -> bool:
        return self._is_told


class _Heard(Settled):
    """By trio's event."""

    __slots__ = ("_event", "_notify")

    def __init__(self) -> None:
        self._event = anyio.Event()
        token: Any = current_token().native_token
        self._notify: Callable[[Callable[[], None]], object] = token.run_sync_soon

    def note(self) -> None:
        with suppress(RuntimeError):  # trio.RunFinishedError is one: nobody waits any more
            self._notify(self._event.set)

    def __await__(self) -> Generator[Any, None, None]:
        return self._event.wait().__await__()

    def is_told(self) -> bool:
        return self._event.is_set()


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()
_making = threading.Lock()
_last: list[Bell] = []  # mostly there is one loop only


def _bell_of(loop: asyncio.AbstractEventLoop) -> Bell:
    last = _last[:1]  # read once: another loop's thread may put its own there
    if last and last[0].loop() is loop:
        return last[0]
    found = _bells.get(loop)
    if found is None:
        with _making:
            found = _bells[loop] = Bell(loop)
    _last[:] = [found]
    return found


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop of the task that runs; None where it is trio's, which may run as asyncio's guest."""
    if "trio" in sys.modules:
        token = current_token().native_token
        return None if hasattr(token, "run_sync_soon") else token  # type: ignore[return-value]
    return asyncio.get_running_loop()


class _Awaited(Queued):
    """A write that a task waits for: what the group wakes when it is done, or is to be led."""

    __slots__ = ("_threads", "group", "settled")

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
        except JournalError as error:  # nobody leads
            self.group.not_served()
            self.is_withdrawn = True
            self.error = error
            self.settled.tell()

    def give_up(self) -> None:
        """Want it no more; who serves it drops it, where nobody leads."""
        self.is_withdrawn = True
        self.serve()


class Leader:
    """A thread that leads queued writes, begun when it is first asked; a quarter of a pool's price.

    It ends when it is shut down, or with the interpreter; what it was asked by then is done.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_over = False
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
        while (call := self._asked.get()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 - and it is told
                # Were this thread to end, every later write would wait for ever.
                log.exception("writes that were queued could not be led")

    def shutdown(self) -> None:
        """Wait until it has done what it was asked; nothing in a forked child, where it is not."""
        if self._pid != os.getpid():
            return  # a thread of the parent's may have had the guard
        with self._guard:
            self._is_over = True
            thread = self._thread
            self._asked.put(None)
        if thread is not None:
            thread.join()
            atexit.unregister(self.shutdown)


class Threads:
    """The threads of one asynchronous journal: a pool for all calls, one to lead queued writes."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="journal")
        self.leader = Leader()

    def _check_fork(self) -> None:
        """Start anew in a forked child: the parent's threads are not there, and would be waited for in vain."""
        if self._pid != os.getpid():
            self._start()

    async def run(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a call in a thread and return what it returns."""
        settled = Settled.here()
        self._check_fork()
        try:
            future = self._pool.submit(call, *args, **options)
        except RuntimeError:  # the pool was shut down
            raise closed() from None
        future.add_done_callback(lambda _: settled.tell())
        await settled.wait(lambda: None if not future.cancel() else settled.tell())
        return future.result()

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

    def close(self) -> None:
        """Wait for what is under way, then end."""
        self._check_fork()
        self.leader.shutdown()
        self._pool.shutdown()


def closed() -> StorageError:
    """Return the error of a journal that is not open."""
    hint = "async with AsyncJournal(path)"
    return StorageError("this journal is not open", hint=hint, code="closed")


async def even_if_cancelled(
    threads: Threads, call: Callable[P, T], *args: P.args, **options: P.kwargs
) -> None:
    """Run what must be done on leaving a block, for a cancelled task too."""
    with anyio.CancelScope(shield=True):
        await threads.run(call, *args, **options)

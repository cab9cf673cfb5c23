"""Threads that work for tasks: a call that may block runs in one, and settles before a cancellation passes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import anyio
from anyio.lowlevel import current_token

from journal.admission import put
from journal.errors import StorageError
from journal.group import Queued
from journal.model import check_label
from journal.parts import encode_lines

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.model import Entry
    from journal.session import Session

P = ParamSpec("P")
T = TypeVar("T")

# Reads, checks and claims at the same time; appends need no thread each.
THREADS: Final = 16


class Settled:
    """Something a thread will finish, and a task waits for."""

    __slots__ = ("_event", "_loop", "_notify")

    def __init__(self) -> None:
        self._event = anyio.Event()
        loop = current_token().native_token
        is_trio = hasattr(loop, "run_sync_soon")
        self._notify: Callable[[Callable[[], None]], object] = (
            loop.run_sync_soon if is_trio else loop.call_soon_threadsafe  # type: ignore[attr-defined]
        )

    def tell(self) -> None:
        """Let the task go on; from any thread, any number of times."""
        try:
            self._notify(self._event.set)
        except (
            RuntimeError
        ):  # trio.RunFinishedError is one: the loop is gone, and with it who waited
            return

    async def seen(self) -> None:
        """Wait until it is settled, or until nobody wants to know any more."""
        await self._event.wait()

    async def wait(self, give_up: Callable[[], None] | None = None) -> None:
        """Wait until it is settled; a cancellation gives up what is not begun, and waits for the rest."""
        try:
            await self._event.wait()
        except BaseException:
            if give_up is not None:
                give_up()
            await self._outlast()
            raise

    async def _outlast(self) -> None:
        with anyio.CancelScope(shield=True):
            while not self._event.is_set():
                try:
                    await self._event.wait()
                except anyio.get_cancelled_exc_class():
                    continue  # asyncio's own cancel() knows no shield, and may come again


class _Wake:
    """What the group wakes when a queued write is done, or is to lead."""

    __slots__ = ("_queued", "_serve", "_settled")

    def __init__(self, queued: Queued, settled: Settled, serve: Callable[[], None]) -> None:
        self._queued, self._settled, self._serve = queued, settled, serve

    def put(self, _: None) -> None:
        """Go on, wherever it is waited."""
        if self._queued.is_done:
            self._settled.tell()
        else:
            self._serve()


class Threads:
    """The threads of one asynchronous journal: a pool for all calls, one to lead queued writes."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="journal")
        self._leader = ThreadPoolExecutor(1, thread_name_prefix="journal-leader")

    def _check_fork(self) -> None:
        """Start anew in a forked child: the parent's threads are not there, and would be waited for in vain."""
        if self._pid != os.getpid():
            self._start()

    async def run(self, call: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Run a call in a thread and return what it returns."""
        settled = Settled()
        self._check_fork()
        try:
            future = self._pool.submit(call, *args, **options)
        except RuntimeError:  # the pool was shut down
            raise closed() from None
        future.add_done_callback(lambda _: settled.tell())
        await settled.wait(lambda: None if not future.cancel() else settled.tell())
        return future.result()

    async def write(
        self, session: Session, lines: list[Any], request_id: str | None
    ) -> list[Entry]:
        """Write lines with whatever else is queued; the loop's thread only encodes them."""
        encoded = encode_lines(lines)
        if not encoded:
            return []
        if request_id is not None:
            check_label(request_id, "request id")
        group, settled = session.store.group, Settled()
        self._check_fork()
        queued = Queued(lambda cursor: put(cursor, session, encoded, request_id))

        def serve() -> None:
            try:
                self._leader.submit(group.serve)
            except RuntimeError:  # the pool was shut down: nobody leads any more
                queued.error = closed()
                settled.tell()

        queued.wake = _Wake(queued, settled, serve)  # type: ignore[assignment]
        if group.submit(queued):
            serve()

        def give_up() -> None:
            queued.is_withdrawn = True
            serve()  # nobody may be leading: then it is dropped by who serves it

        await settled.wait(give_up)
        outcome = group.answer(queued)
        if outcome.error is not None:
            raise outcome.error
        return list(outcome.entries)

    def close(self) -> None:
        """Wait for what is under way, then end."""
        self._check_fork()
        self._leader.shutdown()
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

"""A cancelled call leaves nothing behind: what it came to is given back before the cancellation passes."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from journal import AsyncJournal, Journal, SessionTakeover, StorageError, Turn, claim
from journal.changes import Changes
from journal.threads import THREADS
from journal.turn import turn_of
from tests.test_aio import LINE, no_thread
from tests.test_group import until
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from journal import AsyncSession

PATIENCE_S = 20


class Gate:
    """Where a thread waits until it is let through."""

    def __init__(self) -> None:
        self._begun, self._open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self._begun.set()
        assert self._open.wait(PATIENCE_S)

    async def reached(self) -> None:
        assert await anyio.to_thread.run_sync(self._begun.wait, PATIENCE_S)

    def open(self) -> None:
        self._open.set()


def gated(gate: Gate, call: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    """Return the call with the gate before it, or behind it."""

    def through(*args: Any, **options: Any) -> Any:
        if not after:
            gate()
        result = call(*args, **options)
        if after:
            gate()
        return result

    return through


async def cancelled_at(gate: Gate, call: Callable[[], Awaitable[object]]) -> None:
    """Cancel a call once its thread has reached the gate, and see that it settles before that passes."""
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await gate.reached()
                scope.cancel()
                await checkpoint()  # the cancellation has come to the call, which waits
                gate.open()

            group.start_soon(cancel)
            await call()
            await checkpoint()  # what is shielded has returned
    assert scope.cancelled_caught


@contextmanager
def all_threads_busy(journal: AsyncJournal) -> Iterator[None]:
    """Have sixteen slow calls take every thread."""
    gates = [Gate() for _ in range(THREADS)]
    for gate in gates:
        journal._threads._pool.submit(gate)
    try:
        until(lambda: all(gate._begun.is_set() for gate in gates))
        yield
    finally:
        for gate in gates:
            gate.open()


async def opened(journal: AsyncJournal) -> tuple[AsyncSession, AsyncSession]:
    session = await journal.session(KEY, writer="gateway", role="run")
    await session.append(LINE)
    return session, await journal.session(KEY, writer="other", role="run")


# -- claims ---------------------------------------------------------------------------------


@pytest.mark.parametrize("supersede", [None, "a new message"])
@pytest.mark.parametrize("after", [False, True])
def test_a_cancelled_claim_does_not_stand(backend, journal_path, monkeypatch, after, supersede):
    async def main() -> None:
        gate = Gate()
        async with AsyncJournal(journal_path) as journal:
            session, other = await opened(journal)
            if supersede:
                await other.claim()
            with monkeypatch.context() as held:
                held.setattr(claim, "turn_of", gated(gate, turn_of, after=after))
                await cancelled_at(gate, lambda: session.claim(supersede))
            assert (await session.append(LINE)).claim is None
            async with await other.claim() as turn:
                assert await turn.stands

    anyio.run(main, backend=backend)


def test_a_claim_that_was_handed_out_as_the_cancellation_came_does_not_stand(journal_path):
    """For asyncio cancels a task that is about to go on, too."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session, other = await opened(journal)
            journal._threads._pool.shutdown()
            journal._threads._pool = ThreadPoolExecutor(1)
            task = asyncio.ensure_future(session.claim())
            await asyncio.sleep(0)
            journal._threads._pool.submit(int).result(PATIENCE_S)  # it has done what came before
            assert session.sync.head.seq == 2
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await other.claim()

    asyncio.run(main())


def test_a_claim_that_was_not_begun_is_not_made(backend, journal_path, monkeypatch):
    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session, _ = await opened(journal)
            with all_threads_busy(journal), anyio.move_on_after(0.01):
                await session.claim()
            assert [entry.kind for entry in await session.read()] == ["line"]
            assert (await session.head).seq == 1

    anyio.run(main, backend=backend)


def test_a_cancelled_task_lets_its_turn_go_though_all_threads_are_busy(backend, journal_path):
    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session, other = await opened(journal)
            gates = [Gate() for _ in range(THREADS)]
            with anyio.CancelScope() as scope:
                async with await session.claim():
                    for gate in gates:
                        journal._threads._pool.submit(gate)
                    scope.cancel()
                    for gate in gates:
                        threading.Timer(0.01, gate.open).start()
            await other.claim()

    anyio.run(main, backend=backend)


def test_a_task_that_is_cancelled_before_it_enters_its_turn_lets_it_go(backend, journal_path):
    """Leaving the block releases it: so to enter it may not fail."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session, other = await opened(journal)
            with anyio.CancelScope() as scope:
                turn = await session.claim()
                scope.cancel()
                async with turn:
                    await checkpoint()
            assert scope.cancelled_caught
            await other.claim()

    anyio.run(main, backend=backend)


def test_asyncios_own_cancel_does_not_give_a_release_up(journal_path):
    """It knows no shield: it comes while the release waits for a thread."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session, other = await opened(journal)
            entered, leave = asyncio.Event(), asyncio.Event()

            async def run() -> None:
                async with await session.claim():
                    entered.set()
                    await leave.wait()

            task = asyncio.ensure_future(run())
            await entered.wait()
            with all_threads_busy(journal):
                leave.set()
                queue = journal._threads._pool._work_queue
                await asyncio.to_thread(until, lambda: queue.qsize() > 0)
                for _ in range(3):
                    task.cancel()
                    await asyncio.sleep(0)
                assert not task.done()
            with pytest.raises(asyncio.CancelledError):
                await task
            await other.claim()

    asyncio.run(main())


def test_a_fence_tells_a_cancelled_task_of_a_takeover_all_the_same(backend, journal_path):
    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session, _ = await opened(journal)

            async def run() -> None:
                with anyio.CancelScope() as scope:
                    async with await session.fence():
                        Thief(journal_path).insert_copy()
                        scope.cancel()

            with pytest.raises(SessionTakeover):
                await run()

    anyio.run(main, backend=backend)


def test_a_release_that_fails_in_a_cancelled_task_is_said(journal_path, monkeypatch, caplog):
    async def main() -> None:
        gate = Gate()

        def fail(_: Turn) -> bool:
            gate()
            raise StorageError("the disk is full", hint="-", code="storage")

        async with AsyncJournal(journal_path) as journal:
            session, _ = await opened(journal)
            monkeypatch.setattr(Turn, "release", fail)

            async def run() -> None:
                async with await session.claim():
                    pass

            task = asyncio.ensure_future(run())
            await gate.reached()
            task.cancel()
            await asyncio.sleep(0)
            gate.open()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert "the disk is full" in caplog.text


def test_what_cannot_be_given_back_is_said_and_the_cancellation_passes(
    backend, journal_path, monkeypatch, caplog
):
    async def main() -> None:
        gate = Gate()

        def fail(_: Turn) -> bool:
            raise StorageError("the disk is full", hint="-", code="storage")

        async with AsyncJournal(journal_path) as journal:
            session, _ = await opened(journal)
            monkeypatch.setattr(Turn, "release", fail)
            monkeypatch.setattr(claim, "turn_of", gated(gate, turn_of))
            await cancelled_at(gate, session.claim)

    anyio.run(main, backend=backend)
    assert "the disk is full" in caplog.text


# -- journals, and those who follow one -------------------------------------------------------


def test_a_cancelled_opening_leaves_no_journal_open(backend, journal_path: Path, monkeypatch):
    Journal(journal_path).close()

    async def main() -> None:
        gate, made = Gate(), []
        begin = Journal.__init__

        def slow(self: Journal, *args: Any, **options: Any) -> None:
            begin(self, *args, **options)
            made.append(self)
            gate()

        async def enter() -> None:
            async with AsyncJournal(journal_path):
                raise AssertionError

        with monkeypatch.context() as held:
            held.setattr(Journal, "__init__", slow)
            await cancelled_at(gate, enter)
        with pytest.raises(StorageError) as caught:
            made[0].sessions()
        assert caught.value.code == "closed"

    anyio.run(main, backend=backend)


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_cancelled_close_has_closed(backend, journal_path, monkeypatch, is_busy):
    """The files are let go, and the threads are gone, when the cancellation passes."""

    async def main() -> None:
        gate = Gate()
        journal = await AsyncJournal(journal_path).__aenter__()
        await opened(journal)
        sync = journal.sync
        if is_busy:
            journal._threads._pool.submit(gate)
        else:
            monkeypatch.setattr(sync, "close", gated(gate, sync.close))
        await cancelled_at(gate, journal.close)
        with pytest.raises(StorageError):
            sync.sessions()
        await journal.close()
        assert not [each for each in journal._threads._pool._threads if each.is_alive()]
        assert not [each for each in threading.enumerate() if each.name == "journal-leader"]

    anyio.run(main, backend=backend)


def test_a_close_that_asyncio_cancels_has_closed(journal_path, monkeypatch):
    async def main() -> None:
        gate = Gate()
        journal = await AsyncJournal(journal_path).__aenter__()
        await opened(journal)
        sync = journal.sync
        with all_threads_busy(journal):
            monkeypatch.setattr(sync, "close", gated(gate, sync.close))
            task = asyncio.ensure_future(journal.close())
            for _ in range(3):
                await asyncio.sleep(0)
                task.cancel()
            assert not task.done()
        gate.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StorageError):
            sync.sessions()

    asyncio.run(main())


def test_a_tail_that_is_cancelled_as_it_begins_follows_no_more(backend, journal_path, monkeypatch):
    async def main() -> None:
        gate = Gate()
        async with AsyncJournal(journal_path) as journal:
            session, _ = await opened(journal)
            with monkeypatch.context() as held:
                held.setattr(Changes, "add", gated(gate, Changes.add, after=True))
                await cancelled_at(gate, lambda: anext(session.tail()))
            assert journal.sync.store.changes._followers == []

    anyio.run(main, backend=backend)


def test_where_no_thread_can_be_had_a_turn_is_released_all_the_same(
    backend, journal_path, monkeypatch
):
    """What is done on leaving a block is done in any case, while the loop waits."""

    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            with monkeypatch.context() as scarce:
                async with await session.claim() as turn:
                    scarce.setattr(journal._threads._pool, "submit", none_left)
            assert await turn.outcome == "released"

    anyio.run(main, backend=backend)


def test_where_no_thread_can_be_had_a_call_is_never_made(backend, journal_path, monkeypatch):
    """The pool keeps it queued: the next call's thread would make it, and nobody would know."""

    async def main() -> None:
        made: list[object] = []
        begin = Journal.__init__

        def counted(self: Journal, *args: Any, **options: Any) -> None:
            made.append(self)
            begin(self, *args, **options)

        monkeypatch.setattr(Journal, "__init__", counted)
        journal = AsyncJournal(journal_path)
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(StorageError) as caught:
                await journal.__aenter__()
        assert caught.value.code == "no-thread"
        async with journal:
            await journal.sessions()
        assert len(made) == 1

    anyio.run(main, backend=backend)

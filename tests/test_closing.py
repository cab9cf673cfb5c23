"""A journal that tasks use is closed while they do: nobody waits for ever, the loop goes on, nothing told is untrue."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from journal import AsyncJournal, Journal, StorageError
from journal.group import MOST
from journal.threads import Leader, Threads
from tests.test_aio import LINE, no_thread
from tests.test_cancel import Gate, gated
from tests.test_group import until
from tests.thieves import KEY

if TYPE_CHECKING:
    from journal import AsyncSession

TASKS = 64


class Told:
    """What tasks were told of their appends."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.codes: list[str] = []

    async def append(self, session: AsyncSession) -> None:
        """Append one line."""
        try:
            self.seqs.append((await session.append(LINE)).seq)
        except StorageError as error:
            self.codes.append(error.code)


async def queued(journal: AsyncJournal, count: int) -> None:
    """Wait until so many appends are queued."""
    queue = journal.sync.store.group._queue
    await anyio.to_thread.run_sync(until, lambda: len(queue) == count)


def test_what_is_queued_is_written_before_it_is_closed(backend, journal_path):
    """More than one commit takes along: who leads the first is asked for the rest, at its end."""
    told, count = Told(), 2 * MOST + 9

    async def main() -> None:
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                with journal.sync.store.lock:  # the first leads, and waits until all have come
                    for _ in range(count):
                        group.start_soon(told.append, session)
                    await queued(journal, count - 1)
                    group.start_soon(journal.close)
                    await anyio.to_thread.run_sync(until, lambda: journal._threads._is_closed)
                    group.start_soon(told.append, session)

    anyio.run(main, backend=backend)
    assert (len(told.seqs), told.codes) == (count, ["closed"])
    with Journal(journal_path) as journal:
        assert len(journal.session(KEY).read()) == count


def test_tasks_that_append_all_the_time_end_with_it(backend, journal_path):
    """What they were told is there is there."""
    told = Told()

    async def main() -> None:
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")

        async def one() -> None:
            while not told.codes:
                await told.append(session)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(TASKS):
                    group.start_soon(one)
                await anyio.to_thread.run_sync(until, lambda: len(told.seqs) >= 2 * TASKS)
                await journal.close()

    anyio.run(main, backend=backend)
    assert set(told.codes) == {"closed"}
    with Journal(journal_path) as journal:
        assert {entry.seq for entry in journal.session(KEY).read()} == set(told.seqs)


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_journal_that_is_closed_underneath_fails_all_that_is_queued(
    backend, journal_path, is_cancelled
):
    """Nothing of it was written; and a task that is cancelled then does not wait for ever."""
    told = Told()

    async def main() -> None:
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")
        gate, store = Gate(), journal.sync.store
        begin = store.begin
        store.begin = gated(gate, begin)  # type: ignore[method-assign]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for _ in range(TASKS):
                    group.start_soon(told.append, session)
                await queued(journal, TASKS - 1)
                await anyio.to_thread.run_sync(journal.sync.close)
                if is_cancelled:
                    group.cancel_scope.cancel()
                gate.open()
        await journal.close()

    anyio.run(main, backend=backend)
    assert told.codes == ([] if is_cancelled else ["closed"] * TASKS)


def test_where_no_thread_can_be_had_nobody_who_is_queued_waits_for_one(
    backend, journal_path, monkeypatch
):
    """One was asked for, and the rest wait for him: all are told, and the next tries again."""
    told = Told()

    async def main() -> None:
        gate = Gate()

        def no_thread_yet(self: threading.Thread) -> None:
            gate()
            no_thread(self)

        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            other = await journal.session("other", writer="gateway", role="run")
            await journal._threads.run(other.sync.append, LINE)
            start = threading.Thread.start
            runner = threading.Thread(
                target=anyio.run, args=(told.append, session), kwargs={"backend": backend}
            )
            with monkeypatch.context() as scarce:
                scarce.setattr(
                    threading.Thread,
                    "start",
                    lambda self: (
                        no_thread_yet(self) if self.name == "journal-leader" else start(self)
                    ),
                )
                with anyio.fail_after(60):
                    runner.start()  # a loop of its own: it asks for the thread
                    await gate.reached()
                    async with anyio.create_task_group() as group:
                        for _ in range(3):
                            group.start_soon(told.append, session)
                        await queued(journal, 4)
                        gate.open()
                await anyio.to_thread.run_sync(runner.join)
            await told.append(session)

    anyio.run(main, backend=backend)
    assert (told.seqs, told.codes) == ([1], ["no-thread"] * 4)


def test_the_loop_goes_on_while_it_is_closed(backend, journal_path):
    """And who waits for a call that is under way gets its answer."""

    async def main() -> None:
        gate, steps = Gate(), []
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")

        async def call() -> None:
            await journal._threads.run(gated(gate, session.sync.append), LINE)
            steps.append("called")

        async def close() -> None:
            await journal.close()
            steps.append("closed")

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await gate.reached()
            group.start_soon(close)
            await anyio.to_thread.run_sync(until, lambda: journal._threads._pool._shutdown)
            steps.append("went on")
            gate.open()
        assert steps[0] == "went on"
        assert {*steps[1:]} == {"called", "closed"}

    anyio.run(main, backend=backend)
    with Journal(journal_path) as journal:
        assert len(journal.session(KEY).read()) == 1


def test_a_tail_ends_with_it(backend, journal_path):
    codes: list[str] = []

    async def main() -> None:
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")
        await session.append(LINE)
        tail = session.tail(0)
        await anext(tail)

        async def follow() -> None:
            try:
                await anext(tail)
            except StorageError as error:
                codes.append(error.code)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(follow)
                await journal.close()

    anyio.run(main, backend=backend)
    assert codes == ["closed"]


def test_what_is_queued_behind_a_call_is_written_before_it_is_closed(backend, journal_path):
    """The call leads, for one, and has the next one led when it is done: who does that is still there."""
    told = Told()

    async def main() -> None:
        gate = Gate()
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")
        store = journal.sync.store
        commit = store.commit
        store.commit = gated(gate, commit)  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:
            group.start_soon(journal._threads.run, session.sync.append, LINE)
            await gate.reached()
            group.start_soon(told.append, session)
            await queued(journal, 1)
            group.start_soon(journal.close)
            await anyio.to_thread.run_sync(until, lambda: journal._threads._pool._shutdown)
            gate.open()

    anyio.run(main, backend=backend)
    assert (told.seqs, told.codes) == ([2], [])


def test_two_tasks_may_close_it(backend, journal_path, monkeypatch):
    """Both return once it is closed, and one waits for the other."""

    async def main() -> None:
        gate, inside = Gate(), []
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")
        await session.append(LINE)
        sync = journal.sync
        end = sync.close

        def slow() -> None:
            inside.append("begun")
            gate()
            end()
            inside.append("done")

        def waits() -> bool:
            frames = sys._current_frames()
            return len(inside) > 1 or any(
                frames[each.ident].f_code is Threads.close.__code__
                for each in threading.enumerate()
                if each.name == "journal-closing" and each.ident in frames
            )

        async def close() -> None:
            await journal.close()
            with pytest.raises(StorageError):
                sync.sessions()

        monkeypatch.setattr(sync, "close", slow)
        async with anyio.create_task_group() as group:
            group.start_soon(close)
            await gate.reached()
            group.start_soon(close)
            await anyio.to_thread.run_sync(until, waits)
            gate.open()
        assert inside == ["begun", "done"] * 2

    anyio.run(main, backend=backend)


def test_one_that_is_closed_while_it_is_opened_does_not_stay_open(
    backend, journal_path, monkeypatch
):
    async def main() -> None:
        gate, made, codes = Gate(), [], []
        begin = Journal.__init__

        def slow(self: Journal, *args: Any, **options: Any) -> None:
            begin(self, *args, **options)
            made.append(self)
            gate()

        monkeypatch.setattr(Journal, "__init__", slow)
        journal = AsyncJournal(journal_path)

        async def enter() -> None:
            try:
                await journal.__aenter__()
            except StorageError as error:
                codes.append(error.code)

        async with anyio.create_task_group() as group:
            group.start_soon(enter)
            await gate.reached()
            group.start_soon(journal.close)
            await anyio.to_thread.run_sync(until, lambda: journal._threads._pool._shutdown)
            gate.open()
        assert codes == ["closed"]
        with pytest.raises(StorageError):
            made[0].sessions()

    anyio.run(main, backend=backend)


def test_it_is_closed_where_no_thread_can_be_had(backend, journal_path, monkeypatch):
    async def main() -> None:
        journal = await AsyncJournal(journal_path).__aenter__()
        session = await journal.session(KEY, writer="gateway", role="run")
        await session.append(LINE)
        sync = journal.sync
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", no_thread)
            await journal.close()
        with pytest.raises(StorageError):
            sync.sessions()

    anyio.run(main, backend=backend)


def test_a_leader_that_was_shut_down_does_what_comes_of_what_it_was_asked():
    leader, done = Leader(), list[int]()

    def again(number: int) -> Any:
        def call() -> None:
            done.append(number)
            if number < 9:
                leader.ask(again(number + 1))

        return call

    gate = Gate()
    leader.ask(gate)
    leader.ask(again(0))
    ends = [threading.Thread(target=leader.shutdown) for _ in range(2)]
    for end in ends:
        end.start()
    until(lambda: leader._is_ending)
    gate.open()
    for end in ends:
        end.join(20)
    assert done == [*range(10)]
    with pytest.raises(StorageError):
        leader.ask(done.clear)

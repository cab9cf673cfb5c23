"""The journal awaited: the same promises from asyncio and trio, from several loops, through cancellations."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import pytest
import trio

from journal import (
    AsyncFence,
    AsyncJournal,
    AsyncSession,
    AsyncTurn,
    EntryError,
    Fence,
    Journal,
    NotTrusted,
    Session,
    SessionTakeover,
    StorageError,
    Superseded,
    Turn,
    awaited,
)
from journal.batch import Batch
from journal.settled import Bell
from journal.threads import Leader
from tests.test_group import until
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from pathlib import Path

LINE = {"type": "custom"}
TASKS = 64


def public(kind: type) -> dict[str, Any]:
    inner = {"author", "store", "raised", "load", "sync"}  # ways in for our own modules
    found = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {name: value for name, value in found.items() if name not in inner}


@pytest.mark.parametrize(
    "plain, awaited",
    [
        (Journal, AsyncJournal),
        (Session, AsyncSession),
        (Turn, AsyncTurn),
        (Fence, AsyncFence),
        (Batch, awaited.AsyncBatch),
    ],
)
def test_every_name_is_there_with_the_same_parameters(plain, awaited):
    mine = public(awaited)
    for name, value in public(plain).items():
        assert name in mine, name
        if inspect.isfunction(value):
            expected = inspect.signature(value).parameters
            found = inspect.signature(mine[name]).parameters
            assert [(p.name, p.kind, p.default) for p in found.values()] == [
                (p.name, p.kind, p.default) for p in expected.values()
            ], name


def test_what_names_a_fence_and_a_turn_is_at_hand(backend, journal_path):
    """What is set when one is made, which no class shows."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            gateway = await journal.session(KEY, writer="gateway", role="run")
            await gateway.append(LINE)
            fence = await gateway.fence()
            assert (await fence.stored(), fence.mark.seq) == (fence.id, 1)
            await gateway.claim()
            turn = await gateway.claim("stuck")
            assert turn.why == turn.sync.why is not None

    anyio.run(main, backend=backend)


def test_the_constructor_is_the_same():
    assert [str(p) for p in inspect.signature(AsyncJournal).parameters.values()] == [
        str(p) for p in inspect.signature(Journal).parameters.values()
    ]


def test_the_main_job(backend, journal_path):
    """Co-tenants accepted, a thief named, the reply parked: as without await."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            gateway = await journal.session(KEY, writer="gateway", role="run")
            heartbeat = await journal.session(KEY, writer="heartbeat", role="heartbeat")
            async with await gateway.fence() as fence:
                await heartbeat.append(LINE)
                assert (await fence.append(LINE)).seq == 2
            assert [entry.writer for entry in fence.arrived] == ["heartbeat"]

            fence = await gateway.fence()
            Thief(journal_path).insert_copy()
            with pytest.raises(SessionTakeover):
                await fence.append(LINE)
            assert len(await gateway.parked()) == 1
            assert [entry.seq async for entry in gateway] == [1, 2]
            assert (await gateway.head).seq == 2
            assert [info.key for info in await journal.sessions()] == [KEY]

    anyio.run(main, backend=backend)


def test_turns(backend, journal_path):
    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            async with await session.claim() as turn:
                await turn.append(LINE)
                await session.submit(LINE)
                assert len(await turn.take_inputs()) == 1
                await session.claim(supersede="a new message")
                with pytest.raises(Superseded):
                    await turn.append(LINE)
                assert not await turn.stands

    anyio.run(main, backend=backend)


def test_many_tasks_share_commits(backend, journal_path):
    """Each gets its own entry, and far fewer commits are made than writes."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            await session.append(LINE)
            commits = counted(journal)
            entries: list[Any] = []

            async def one() -> None:
                for _ in range(5):
                    entries.append(await session.append(LINE))  # noqa: PERF401 - one after the other

            async with anyio.create_task_group() as group:
                for _ in range(TASKS):
                    group.start_soon(one)

            assert len({entry.seq for entry in entries}) == 5 * TASKS
            assert len({entry.epoch for entry in entries}) == 5 * TASKS
            assert len(commits) < TASKS

    anyio.run(main, backend=backend)


def counted(journal: AsyncJournal) -> list[int]:
    made: list[int] = []
    store = journal.sync.store
    commit = store.commit

    def counting(ride: Any) -> Any:
        made.append(1)
        return commit(ride)

    store.commit = counting  # type: ignore[method-assign]
    return made


def test_an_error_is_its_own_tasks(backend, journal_path):
    """A line that cannot be kept, and a writer who may not write, fail no neighbour."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            gone = await journal.session(KEY, writer="gone", role="tool")
            await gone.append(LINE)
            await journal.revoke("gone", "has left")
            outcomes: list[Any] = []

            async def one(writer: AsyncSession, line: object) -> None:
                try:
                    outcomes.append((await writer.append(line)).writer)
                except (EntryError, NotTrusted) as error:
                    outcomes.append(type(error))

            async with anyio.create_task_group() as group:
                for number in range(12):
                    group.start_soon(
                        one, *[(session, LINE), (gone, LINE), (session, b"")][number % 3]
                    )

            assert sorted(map(str, outcomes)) == sorted(
                map(str, [*["gateway"] * 4, *[NotTrusted] * 4, *[EntryError] * 4])
            )

    anyio.run(main, backend=backend)


def test_each_line_comes_once_however_many_pages_there_are(backend, journal_path):
    """A line at a page's end is not taken and dropped."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            await session.extend([{"n": number} for number in range(600)])
            assert [entry.seq async for entry in session] == [*range(1, 601)]

    anyio.run(main, backend=backend)


def test_a_cancelled_append_settles_first(backend, journal_path):
    """When the cancellation passes, the line is there or never will be; the loop ran on meanwhile."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            await session.append(LINE)
            written = 0
            for number in range(40):
                with anyio.move_on_after(0.0001 * (number % 8)):
                    await session.append({"n": number})
                    written += 1
            seqs = [entry.seq async for entry in session]
            await anyio.sleep(0.05)
            assert [entry.seq async for entry in session] == seqs
            assert len(seqs) >= written + 1

    anyio.run(main, backend=backend)


def test_asyncios_own_cancel_settles_too(journal_path):
    """It knows no shield: it may come at any moment, and again."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            await session.append(LINE)
            store = journal.sync.store
            begun, go_on = threading.Event(), threading.Event()
            commit = store.commit

            def slow(ride: Any) -> Any:
                begun.set()
                assert go_on.wait(20)
                return commit(ride)

            store.commit = slow  # type: ignore[method-assign]
            task = asyncio.ensure_future(session.append({"n": 1}))
            await asyncio.to_thread(begun.wait, 20)
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(await session.read()) == 2

    asyncio.run(main())


def test_a_cancelled_append_that_was_not_begun_is_not_written(journal_path):
    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            await session.append(LINE)
            begun, go_on = threading.Event(), threading.Event()

            def hold() -> None:
                with journal.sync.store.transaction():
                    begun.set()
                    assert go_on.wait(20)

            holder = asyncio.ensure_future(asyncio.to_thread(hold))
            await asyncio.to_thread(begun.wait, 20)
            tasks = [asyncio.ensure_future(session.append({"n": n})) for n in range(3)]
            await asyncio.to_thread(until, lambda: len(journal.sync.store.group._queue) == 2)
            tasks[2].cancel()
            await asyncio.sleep(0)
            go_on.set()
            await holder
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(outcomes[2], asyncio.CancelledError)
            assert [entry.json().get("n") for entry in await session.read()] == [None, 0, 1]

    asyncio.run(main())


def test_several_loops_share_a_journal(journal_path):
    """Each thread runs a loop of its own, asyncio's or trio's; nobody's wake-up goes astray."""
    shared: dict[str, Any] = {}

    async def work(number: int) -> None:
        session = await shared["journal"].session(f"s{number}", writer=f"w{number}", role="tool")

        async def one() -> None:
            for _ in range(5):
                await session.append(LINE)

        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(one)
        shared[f"s{number}"] = (await session.head).seq

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            shared["journal"] = journal
            loops = ("asyncio", "trio", "asyncio")
            threads = [
                threading.Thread(target=lambda n=n, b=b: anyio.run(work, n, backend=b))
                for n, b in enumerate(loops)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                await anyio.to_thread.run_sync(thread.join)

    anyio.run(main)
    assert [shared[f"s{number}"] for number in range(3)] == [40] * 3


def test_a_loop_that_dies_leaves_the_journal_well(journal_path):
    """What was in flight is written or not; the next loop goes on."""

    async def dies(journal: AsyncJournal) -> None:
        session = await journal.session(KEY, writer="gateway", role="run")
        for _ in range(8):
            asyncio.ensure_future(session.append(LINE))  # noqa: RUF006 - left in flight
        await asyncio.sleep(0)

    async def main(journal: AsyncJournal) -> int:
        session = await journal.session(KEY, writer="gateway", role="run")
        await session.append(LINE)
        return len(await session.read())

    async def opened() -> AsyncJournal:
        return await AsyncJournal(journal_path).__aenter__()

    journal = asyncio.run(opened())
    asyncio.run(dies(journal))
    assert 1 <= asyncio.run(main(journal)) <= 9
    asyncio.run(journal.close())


def test_the_loop_is_not_blocked(journal_path):
    """While the write lock is held elsewhere, other tasks run."""

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            await session.append(LINE)
            begun, go_on = threading.Event(), threading.Event()

            def hold() -> None:
                with journal.sync.store.transaction():
                    begun.set()
                    assert go_on.wait(20)

            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, hold)
                await anyio.to_thread.run_sync(begun.wait, 20)
                group.start_soon(session.append, LINE)
                group.start_soon(session.fence)
                await anyio.sleep(0.01)
                go_on.set()

    anyio.run(main)


def test_a_closed_journal_says_so(backend, journal_path):
    async def main() -> None:
        journal = AsyncJournal(journal_path)
        with pytest.raises(StorageError) as early:
            await journal.sessions()
        async with journal:
            session = await journal.session(KEY, writer="gateway", role="run")
        for call in (journal.sessions, lambda: session.append(LINE), session.fence):
            with pytest.raises(StorageError) as caught:
                await call()
            assert caught.value.code == early.value.code == "closed"

    anyio.run(main, backend=backend)


def test_a_batch(backend, journal_path: Path):
    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            one = await journal.session("one", writer="w", role="run")
            two = await journal.session("two", writer="w", role="run")
            async with journal.batch() as batch:
                receipt = await batch.append(one, LINE)
                await batch.extend(two, [LINE, LINE])
            assert [entry.seq for entry in receipt.entries] == [1]
            assert ((await one.head).seq, (await two.head).seq) == (1, 2)

    anyio.run(main, backend=backend)


def test_tasks_that_share_a_commit_are_woken_at_once(journal_path, monkeypatch):
    """To wake a loop is a system call: it is rung once for all whose writes are settled together."""
    rings: list[object] = []

    async def main() -> None:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="w", role="run")
            loop = asyncio.get_running_loop()
            ring = loop.call_soon_threadsafe

            def counted(*call: Any) -> object:
                rings.append(call)
                return ring(*call)

            monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            with journal.sync.store.lock:  # the first leads, and waits until all have come
                tasks = [asyncio.ensure_future(session.append(LINE)) for _ in range(TASKS)]
                await asyncio.sleep(0)
                await asyncio.to_thread(
                    until, lambda: len(journal.sync.store.group._queue) == TASKS - 1
                )
                rings.clear()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert 0 < len(rings) < TASKS / 4


def test_trio_as_a_guest_of_asyncio(journal_path):
    """The loop that runs is asyncio's, the task is trio's: it is trio that is told."""

    async def guest() -> int:
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="w", role="run")
            return (await session.append(LINE)).seq

    async def host() -> int:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=lambda outcome: done.set_result(outcome.unwrap()),
        )
        return await done

    assert asyncio.run(host()) == 1


LEFT_OPEN = """
import asyncio, os, sys
from journal import AsyncJournal

async def main():
    journal = AsyncJournal(sys.argv[1])
    await journal.__aenter__()
    session = await journal.session("s", writer="w", role="run")
    await session.append(b"1")
    asyncio.ensure_future(session.append(b"2"))
    await asyncio.sleep(0)
    return journal

kept = asyncio.run(main())
if os.fork() == 0:
    sys.exit(0)
sys.exit(os.wait()[1])
"""


def test_a_journal_that_nobody_closed_lets_its_process_end(journal_path):
    """And a forked child too; what was under way is there as a whole, or not."""
    subprocess.run([sys.executable, "-c", LEFT_OPEN, journal_path], check=True, timeout=60)
    with Journal(journal_path) as journal:
        bodies = [entry.body for entry in journal.session("s").read()]
    assert bodies in ([b"1"], [b"1", b"2"])


def test_a_leader_does_what_it_was_asked_and_then_no_more():
    leader, done = Leader(), list[int]()
    for number in range(100):
        leader.ask(lambda number=number: done.append(number))  # type: ignore[misc]
    leader.shutdown()
    assert done == [*range(100)]
    leader.shutdown()  # once more is harmless
    with pytest.raises(StorageError):
        leader.ask(done.clear)


def test_a_leader_outlives_what_it_was_asked():
    """Or all that is written later would wait for it for ever."""
    leader, done = Leader(), list[int]()
    leader.ask(lambda: 1 // 0)  # type: ignore[arg-type]
    leader.ask(lambda: done.append(1))
    leader.shutdown()
    assert done == [1]


@pytest.mark.anyio
async def test_where_no_thread_can_be_had_the_write_fails_and_the_next_tries_again(
    journal_path, monkeypatch
):
    async with AsyncJournal(journal_path) as journal:
        session = await journal.session(KEY, writer="gateway", role="run")
        with monkeypatch.context() as scarce:
            scarce.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(StorageError) as caught:
                await session.append({"n": 1})
        assert caught.value.code == "no-thread"
        assert (await session.append({"n": 2})).seq == 1


def test_a_bell_that_an_interrupt_kept_from_ringing_rings_the_next_time() -> None:
    """Else no task of its loop would ever be told of anything any more."""

    class Loop:
        called: ClassVar[list[object]] = []

        def call_soon_threadsafe(self, call: object) -> None:
            self.called.append(call)
            if len(self.called) == 1:
                raise KeyboardInterrupt

    loop: Any = Loop()
    bell = Bell(loop)
    with pytest.raises(KeyboardInterrupt):
        bell()
    bell()
    assert len(Loop.called) == 2


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")

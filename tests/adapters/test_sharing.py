"""One journal for all of a framework's objects: whoever drops the last of them, wherever, waits for nobody."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest

from journal import Journal, StorageError
from journal.adapters import sharing
from journal.adapters.sharing import Closer, Shared, Use, path_of
from tests.test_aio import LINE, no_thread
from tests.test_cancel import Gate
from tests.test_group import until

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 20


def is_closed(journal: Journal) -> bool:
    try:
        journal.sessions()
    except StorageError:
        return True
    return False


def writes(use: Use) -> bool:
    """Whether a line can be written by it."""
    return use.journal.session("s", writer="w", role="run").append(LINE).seq > 0


@pytest.mark.parametrize("prefix", ["", "sqlite:///", "sqlite+aiosqlite:///"])
def test_a_journal_in_memory_leaves_no_file_however_it_is_spelt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """The frameworks' own stores take it as a URL; it made a file called ``:memory:``."""
    monkeypatch.chdir(tmp_path)
    one, other = Use(f"{prefix}:memory:"), Use(f"{prefix}:memory:")
    assert writes(one)
    assert one.journal.id != other.journal.id
    one.close()
    other.close()
    assert not list(tmp_path.iterdir())


class Agent:
    """Knows its journal's user, and itself: only the collector takes it away."""

    def __init__(self, db: Path) -> None:
        self.use, self.me = Use(db), self


class Tidy(Agent):
    """Closes when it goes what somebody else still knows."""

    known: ClassVar[list[Use]] = []

    def __init__(self, db: Path) -> None:
        super().__init__(db)
        self.known.append(self.use)

    def __del__(self) -> None:
        self.use.close()


@pytest.mark.parametrize("kind", [Agent, Tidy])
def test_the_collector_may_come_in_the_midst_of_an_opening(tmp_path, monkeypatch, kind):
    """It lets go in the thread that opens, which would wait for itself."""
    opened: list[Use] = []
    closers: list[str] = []
    close = Journal.close

    def noted(journal: Journal) -> None:
        closers.append(threading.current_thread().name)
        close(journal)

    def collecting(text: str) -> Path:
        gc.collect()
        return path_of(text)

    monkeypatch.setattr(Journal, "close", noted)
    dropped = kind(tmp_path / "dropped.db").use.journal
    monkeypatch.setattr(sharing, "path_of", collecting)
    opening = threading.Thread(target=lambda: opened.append(Use(tmp_path / "new.db")), daemon=True)
    opening.start()
    opening.join(PATIENCE_S)
    assert not opening.is_alive()
    until(lambda: is_closed(dropped))
    assert closers == ["journal-closer"]
    assert writes(opened[0])
    opened[0].close()


def test_the_last_reference_may_go_in_one_of_its_own_threads(tmp_path):
    """It would wait for itself, and the database would be closed for this process for ever."""
    db, gate = tmp_path / "agents.db", Gate()
    kept = [Use(db)]
    journal, pool = kept[0].journal, kept[0]._shared.threads._pool

    def work(_: Use) -> None:
        gate()

    pool.submit(work, kept.pop())
    gate.open()
    until(lambda: is_closed(journal))
    with_it = Use(db)
    assert writes(with_it)
    with_it.close()
    assert is_closed(with_it.journal)


def test_who_comes_while_it_is_closed_opens_it_anew(tmp_path):
    db, gate = tmp_path / "agents.db", Gate()
    first = Use(db)
    first._shared.threads._pool.submit(gate)
    closing = threading.Thread(target=first.close)
    closing.start()
    until(lambda: first._shared.threads._is_closed)
    second = Use(db)
    assert second.journal is not first.journal
    assert writes(second)
    gate.open()
    closing.join(PATIENCE_S)
    assert is_closed(first.journal)
    assert writes(second)
    second.close()


@pytest.mark.parametrize("is_waited_for", [False, True])
def test_a_loop_goes_on_while_it_is_closed(tmp_path, backend, is_waited_for):
    """What is under way is settled; by aclose() it is closed when that returns."""
    gate, steps = Gate(), []

    async def main() -> Use:
        use = Use(tmp_path / "agents.db")

        async def call() -> None:
            await use.run(gate)
            steps.append("called")

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await gate.reached()
            if is_waited_for:
                group.start_soon(use.aclose)
            else:
                use.close()
            await anyio.to_thread.run_sync(until, lambda: use._shared.threads._is_closed)
            with pytest.raises(StorageError) as caught:
                await use.run(gate)
            assert caught.value.code == "closed"
            steps.append("went on")
            gate.open()
        assert is_closed(use.journal) or not is_waited_for
        return use

    use = anyio.run(main, backend=backend)
    until(lambda: is_closed(use.journal))
    assert steps == ["went on", "called"]


def test_the_last_of_several_closes(tmp_path):
    uses = [Use(tmp_path / "agents.db") for _ in range(3)]
    for use in uses:
        assert not is_closed(use.journal)
        use.close()
        use.close()
    assert is_closed(uses[0].journal)


def test_a_closing_that_fails_holds_up_no_other(tmp_path, caplog):
    def fail() -> None:
        raise StorageError("the disk is full", hint="-", code="storage")

    done = threading.Event()
    closer = Closer()
    closer.begin()
    closer.ask(fail)
    closer.ask(done.set)
    assert done.wait(PATIENCE_S)
    assert "the disk is full" in caplog.text


def test_at_the_end_one_that_cannot_be_closed_keeps_no_other_open(tmp_path, monkeypatch, caplog):
    uses = [Use(tmp_path / f"{name}.db") for name in "abc"]
    close = Journal.close

    def failing(journal: Journal) -> None:
        close(journal)
        raise StorageError("the disk is full", hint="-", code="storage")

    monkeypatch.setattr(Shared, "_standing", {use._shared for use in uses})
    monkeypatch.setattr(Journal, "close", failing)
    for use in uses:
        use._shared._end = use.journal.close
    Shared.close_all()
    assert all(is_closed(use.journal) for use in uses)
    assert caplog.text.count("the disk is full") >= len(uses)


@pytest.mark.parametrize("where", ["call_soon", "done", "signal"])
def test_a_callback_of_the_loop_may_not_wait_either(tmp_path, where):
    """No task runs in it, and the loop stands still as for one."""
    gate, use = Gate(), Use(tmp_path / "agents.db")

    async def main() -> None:
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def let_go(*_: object) -> None:
            use.close()
            called.set()

        call = asyncio.ensure_future(use.run(gate))
        await gate.reached()
        if where == "call_soon":
            loop.call_soon(let_go)
        elif where == "done":
            asyncio.ensure_future(asyncio.sleep(0)).add_done_callback(let_go)
        else:
            loop.add_signal_handler(signal.SIGUSR1, let_go)
            signal.raise_signal(signal.SIGUSR1)
        await called.wait()
        gate.open()
        await call

    asyncio.run(main())  # where the loop stood still, nobody opened the gate
    until(lambda: is_closed(use.journal))


def test_where_no_thread_can_be_had_nothing_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(Shared, "_closer", Closer())
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(StorageError) as caught:
            Use(tmp_path / "agents.db")
    assert caught.value.code == "no-thread"
    use = Use(tmp_path / "agents.db")
    assert writes(use)
    use.close()


_BEGIN = """
import asyncio, os, sys, threading
from journal.adapters.sharing import Shared, Use
use = Use(sys.argv[1])
use.journal.session("s", writer="w", role="run").append(b"1")
"""

_KEPT = _BEGIN

_CLOSED_IN_A_LOOP = f"""{_BEGIN}
async def main():
    use.close()
asyncio.run(main())
"""

_DROPPED = f"{_BEGIN}\ndel use"


@pytest.mark.parametrize("program", [_KEPT, _CLOSED_IN_A_LOOP, _DROPPED])
def test_what_is_open_is_closed_as_its_process_ends(tmp_path, program):
    """Nothing is left beside the database."""
    db = tmp_path / "agents.db"
    subprocess.run([sys.executable, "-c", program, db], check=True, timeout=60)
    assert [each.name for each in tmp_path.glob("agents.db*")] == ["agents.db"]


_FORKED = f"""{_BEGIN}
held, go_on = threading.Event(), threading.Event()

def hold():
    with Shared._lock:
        held.set()
        go_on.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
if os.fork() == 0:
    other = Use(sys.argv[1] + ".child")
    other.journal.session("s", writer="w", role="run").append(b"1")
    other.close()
    use.close()
    sys.exit(0)
code = os.wait()[1]
go_on.set()
use.journal.session("s", writer="w", role="run").append(b"2")
sys.exit(code)
"""


def test_a_forked_child_opens_its_own(tmp_path):
    """Whatever another thread of its parent held; and the parent's goes on."""
    command = [sys.executable, "-W", "ignore", "-c", _FORKED, str(tmp_path / "agents.db")]
    subprocess.run(command, check=True, timeout=60)
    with Journal(tmp_path / "agents.db") as journal:
        assert [entry.body for entry in journal.session("s").read()] == [b"1", b"2"]


_IN_MEMORY = """
import os, sys
from journal.adapters.sharing import Use
use = Use(":memory:")
place = use.journal.path
if os.fork() == 0:
    sys.exit(0)
code = os.wait()[1]
is_there = os.path.exists(place)
use.close()
sys.exit(code or not is_there or os.path.exists(os.path.dirname(place)))
"""


def test_a_forked_child_that_ends_takes_nothing_away_from_its_parents_memory():
    command = [sys.executable, "-W", "ignore", "-c", _IN_MEMORY]
    subprocess.run(command, check=True, timeout=60)

"""Following a session: every line once, in order, whoever wrote it, and nothing read while nothing comes."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from journal import AsyncJournal, StorageError, reading
from journal.changes import Changes, Following
from journal.engine import connect
from tests.test_aio import no_thread
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Entry, Journal, Session

PATIENCE_S = 60


class Follower:
    """A thread that follows a session, and what it has seen."""

    def __init__(self, session: Session, after: int | None = None) -> None:
        self.seen: queue.Queue[Entry | BaseException] = queue.Queue()
        self._tail = session.tail(after)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for entry in self._tail:
                self.seen.put(entry)
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.seen.put(error)

    def next(self) -> Any:
        return self.seen.get(timeout=PATIENCE_S)


@pytest.fixture
def other(open_journal: Callable[..., Journal]) -> Session:
    """As another process has it: a connection of its own."""
    return open_journal().session(KEY, writer="cron", role="cron")


def test_what_another_process_commits_is_seen(gateway: Session, other: Session) -> None:
    gateway.append({"n": 0})
    follower = Follower(gateway)
    written = [other.append({"n": number}) for number in range(3)]
    assert [follower.next().seq for _ in written] == [entry.seq for entry in written]


def test_what_this_process_commits_is_seen(gateway: Session) -> None:
    follower = Follower(gateway)
    written = gateway.append({"n": 1})
    assert follower.next()._replace(row_id=None) == written


def test_it_begins_where_it_was_told_to(gateway: Session) -> None:
    written = gateway.extend({"n": number} for number in range(600))
    follower = Follower(gateway, after=written[9].seq)
    assert [follower.next().seq for _ in written[10:]] == [entry.seq for entry in written[10:]]


def test_a_session_that_is_not_there_yet_is_waited_for(journal: Journal, other: Session) -> None:
    follower = Follower(journal.session(KEY))
    assert follower.seen.empty()
    assert other.append({"n": 1}).seq == follower.next().seq


def test_the_order_is_the_one_in_which_it_was_written(gateway: Session, other: Session) -> None:
    first, second = gateway.extend([{"n": 1}, {"n": 2}])
    gateway.rewrite([second, first], base=second.seq, reason="the other way round")
    last = other.append({"n": 3})
    follower = Follower(gateway, after=0)
    assert [follower.next().json()["n"] for _ in range(3)] == [1, 2, 3]
    assert follower.seen.empty()
    assert last.seq > second.seq


def test_a_row_by_plain_sql_is_never_handed_out_and_is_said_once(
    gateway: Session, thief: Thief, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.append({"n": 1})
    follower = Follower(gateway, after=0)
    assert follower.next().json() == {"n": 1}
    thief.insert_copy()
    gateway.append({"n": 2})
    gateway.append({"n": 3})
    assert [follower.next().json()["n"] for _ in range(2)] == [2, 3]
    said = [record for record in caplog.records if "could not be verified" in record.message]
    assert len(said) == 1


def test_a_line_that_comes_while_strays_are_looked_at_is_handed_out_once(
    gateway: Session, other: Session, thief: Thief, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may stand behind it, where the tail looks each time."""
    gateway.append({"n": 1})
    thief.insert_copy(seq=1000)
    beyond = reading._beyond

    def once_more(*arguments: Any) -> Any:
        if len(gateway.read()) == 1:
            other.append({"n": 2})
        return beyond(*arguments)

    monkeypatch.setattr(reading, "_beyond", once_more)
    tail = gateway.tail(after=0)
    assert [entry.json() for _ in range(3) for entry in tail.new()] == [{"n": 1}, {"n": 2}]


def test_a_closed_journal_ends_it_with_an_error(gateway: Session, journal: Journal) -> None:
    follower = Follower(gateway)
    gateway.append({"n": 1})
    follower.next()
    journal.close()
    error = follower.next()
    assert isinstance(error, StorageError)
    assert error.code == "closed"


def test_no_row_is_read_while_nobody_commits(
    gateway: Session, other: Session, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    glances = threading.Semaphore(0)
    real = Changes._glance

    def glance(self: Changes, connection: object) -> object:
        glances.release()
        return real(self, connection)

    monkeypatch.setattr(Changes, "_glance", glance)
    gateway.append({"n": 0})
    follower = Follower(gateway)
    other.append({"n": 1})
    follower.next()
    glances.acquire()
    reads = []
    snapshot = journal.store.snapshot

    def read() -> Any:
        reads.append(1)
        return snapshot()

    monkeypatch.setattr(journal.store, "snapshot", read)
    for _ in range(5):
        assert glances.acquire(timeout=PATIENCE_S)
    assert reads in ([], [1])  # the last look of the follower itself may have come late
    other.append({"n": 2})
    assert follower.next().json() == {"n": 2}


def test_where_nobody_follows_there_is_no_thread(gateway: Session, journal: Journal) -> None:
    tail = iter(gateway.tail(0))
    gateway.append({"n": 1})
    assert next(tail).json() == {"n": 1}
    (thread,) = [found for found in threading.enumerate() if found.name == "journal-tail"]
    tail.close()  # type: ignore[attr-defined] # a generator
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    again = iter(gateway.tail(0))
    assert next(again).json() == {"n": 1}
    journal.close()
    assert not [found for found in threading.enumerate() if found.name == "journal-tail"]


def test_the_log_is_folded_in_although_somebody_followed(
    gateway: Session, journal: Journal, journal_path: Path
) -> None:
    follower = Follower(gateway)
    gateway.append({"n": 1})
    follower.next()
    journal.close()
    assert [found.name for found in journal_path.parent.glob("agent.db*")] == ["agent.db"]


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_signal_as_the_thread_begins_leaves_nobody_without_one(
    gateway: Session, other: Session, monkeypatch: pytest.MonkeyPatch, *, has_begun: bool
) -> None:
    """Whoever follows next would wait for a thread that never ran, or share one that ends."""
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        if has_begun:
            start(thread)
            begun.append(thread)
        raise KeyboardInterrupt

    gateway.append({"n": 0})
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(iter(gateway.tail()))
    follower = Follower(gateway)
    for each in begun:
        each.join(PATIENCE_S)
        assert not each.is_alive()
    written = other.append({"n": 1})
    assert follower.next().seq == written.seq


def test_where_no_thread_can_be_had_it_is_said_and_the_next_one_follows(
    gateway: Session, other: Session, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.append({"n": 0})
    with monkeypatch.context() as scarce:
        scarce.setattr(threading.Thread, "start", no_thread)
        tail = iter(gateway.tail())
        with pytest.raises(StorageError) as caught:
            next(tail)
    assert caught.value.code == "no-thread"
    assert journal.store.changes._followers == []
    follower = Follower(gateway)
    written = other.append({"n": 1})
    assert follower.next().seq == written.seq
    journal.close()


def test_whoever_follows_no_more_waits_for_nobody_who_begins(
    gateway: Session, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open a connection may take long, and it is an event loop that removes its tasks' calls."""
    begun, go_on, changes = threading.Event(), threading.Event(), journal.store.changes
    opened = Changes._opened

    def slow(self: Changes) -> Any:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return opened(self)

    monkeypatch.setattr(Changes, "_opened", slow)
    call = threading.Event().set
    beginner = threading.Thread(target=changes.add, args=(call,))
    beginner.start()
    assert begun.wait(PATIENCE_S)
    remover = threading.Thread(target=changes.remove, args=(call,), daemon=True)
    remover.start()
    remover.join(PATIENCE_S)
    assert not remover.is_alive()
    go_on.set()
    beginner.join(PATIENCE_S)
    journal.close()
    assert not [found for found in threading.enumerate() if found.name == "journal-tail"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_task_follows_too(journal_path: Path, other: Session, backend: str) -> None:
    async def main() -> list[int]:
        seen = []
        async with AsyncJournal(journal_path) as journal:
            session = await journal.session(KEY, writer="gateway", role="run")
            own = await session.append({"n": 0})
            tail = session.tail(after=0)
            seen.append((await anext(tail)).seq)
            written = [own, other.append({"n": 1}), await session.append({"n": 2})]
            with anyio.fail_after(PATIENCE_S):
                seen += [(await anext(tail)).seq for _ in written[1:]]
            assert seen == [entry.seq for entry in written]
            with anyio.move_on_after(0.05) as scope:
                await anext(tail)  # nothing comes: a cancellation ends the wait
            assert scope.cancelled_caught
        return seen

    assert len(anyio.run(main, backend=backend)) == 3


class Reluctant:
    """A connection that is closed when a test lets it be."""

    def __init__(self, connection: Any) -> None:
        self.is_closing, self.may_close = threading.Event(), threading.Event()
        self._connection, self.execute = connection, connection.execute

    def close(self) -> None:
        self.is_closing.set()
        self.may_close.wait(PATIENCE_S)
        self._connection.close()


def test_a_journal_is_closed_once_nobody_that_followed_has_it_open(
    journal: Journal, journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader cannot be the last one: the log would stay, and the file count as live from then on."""
    reader = Reluctant(connect(str(journal_path), mode="ro"))
    monkeypatch.setattr("journal.changes.connect", lambda *_, **__: reader)
    with Following(journal.store.changes):
        pass
    assert reader.is_closing.wait(PATIENCE_S)
    closing = threading.Thread(target=journal.close)
    closing.start()
    closing.join(0.2)
    is_waiting = closing.is_alive()
    reader.may_close.set()
    closing.join(PATIENCE_S)
    assert is_waiting
    assert journal_path.read_bytes()

"""A forked child, which may use nothing of its parent's: what it is told, and what it lets go of."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from journal import LockLost, guards
from journal.forks import open_here
from journal.pins import CAN_PIN
from journal.store import Store
from tests.test_worst_moments import LINE, fail_after, in_another_thread, open_files

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def said_by_a_child(call: Callable[[], str]) -> str:
    """Return what a call returns in a forked child, which it ends."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, call().encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading) as said:
        return said.read()


def fail_with(error: type[BaseException] | None) -> None:
    if error is not None:
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, None])
def test_a_child_that_is_forked_within_a_block_leaves_it_as_it_likes(base, journal, error):
    """Its own error is told, and what it would commit is refused: the block is its parent's to end."""
    reading, writing = os.pipe()
    told, parent = "nothing", os.getpid()
    try:
        with journal.store.transaction() as cursor:
            cursor.execute("UPDATE sessions SET layout_no = layout_no")
            pid = os.fork()
            if not pid:
                fail_with(error)
    except BaseException as caught:
        if os.getpid() == parent:
            raise
        told = type(caught).__name__
    finally:
        if os.getpid() != parent:
            os.write(writing, told.encode())
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 99).decode() == (error or LockLost).__name__
    assert base.append(LINE).seq == 2


def commit_after(store: Store, act: Callable[[], object]) -> None:
    with store.transaction():
        act()


@pytest.mark.parametrize(
    "leave, error", [(fail_after, ZeroDivisionError), (commit_after, LockLost)]
)
def test_a_block_that_was_abandoned_commits_nothing_and_frees_no_lock(journal, base, leave, error):
    """The same, where it can be looked into."""
    store = journal.store
    with pytest.raises(error) as caught:
        leave(store, store.abandon)
    assert getattr(caught.value, "code", "forked") == "forked"
    assert store._connection.in_transaction


def test_what_was_put_off_before_a_fork_is_not_written_in_the_child(journal, base, monkeypatch):
    """To write it is to use the parent's connection, before anybody looks whether one may commit."""
    store, settled = journal.store, []
    chain = store.registry.chain_of(base.key)
    monkeypatch.setattr(store, "settle", lambda: settled.append("settled"))

    def put_off() -> None:
        store.put_off(chain)
        store.abandon()

    with pytest.raises(LockLost) as caught:
        commit_after(store, put_off)
    assert (caught.value.code, settled) == ("forked", [])


def test_a_snapshot_that_was_abandoned_is_the_parents_to_end(journal, base):
    store = journal.store
    with store.snapshot():
        store.abandon()
    assert store._connection.in_transaction


def here(call: Callable[[], str]) -> str:
    return call()


@pytest.mark.parametrize("where", [said_by_a_child, here])
def test_a_child_closes_what_its_parent_has_open_but_for_sqlites_own(
    base, journal, journal_path, tmp_path, where
):
    """What has a lock, or is written to: or the child would keep it when its parent is dead."""
    journal.mirrors.add(base.key, tmp_path / "agent.jsonl")
    base.append(LINE)
    before = Counter(open_files(tmp_path))

    def left() -> str:
        if where is here:
            journal.store.abandon()
        return "\n".join(open_files(tmp_path))

    after = Counter(where(left).splitlines())
    gone = {Path(path).name: count for path, count in (before - after).items()}
    name = journal_path.name
    assert gone.pop("agent.jsonl") == 1
    assert gone.pop(f"{name}-ticket") == 2
    if CAN_PIN:
        assert gone.pop(name) == gone.pop(f"{name}-shm") == 1
    assert after[str(journal_path)] == before[str(journal_path)] - CAN_PIN


def test_a_child_waits_for_no_lock_that_a_thread_had_when_it_was_forked(base, journal):
    """That thread is not there any more to let it go."""
    store = journal.store
    with store.changes._guard, store.group._leading:
        in_another_thread(store.lock.acquire)
        store.abandon()
        for lock in (store.changes._guard, store.group._leading, store.lock):
            assert lock.acquire(blocking=False)
            lock.release()


def abandoned(store: Store) -> None:
    store.abandon()
    open_here.discard(store)


def without_locks(store: Store) -> None:
    store.poison = LockLost("gone", hint="start anew", code="lock-lost")
    store.close()


@pytest.mark.parametrize("act, closed", [(abandoned, int(CAN_PIN)), (without_locks, 0)])
def test_a_connection_without_its_locks_is_never_closed(journal, journal_path, act, closed):
    """Not by collecting garbage either: to close one is to write. A pin is no connection."""
    journal.close()
    store = Store(str(journal_path))
    before = open_files(journal_path).count(str(journal_path))
    act(store)
    del store
    gc.collect()
    assert open_files(journal_path).count(str(journal_path)) == before - closed


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_may_open_a_journal_of_its_own_whatever_its_parent_was_opening():
    """The thread that stood in the door is not there to leave it."""
    inside, over = threading.Event(), threading.Event()

    def opening() -> None:
        with guards.door:
            inside.set()
            over.wait()

    thread = threading.Thread(target=opening)
    thread.start()
    inside.wait()
    try:
        assert said_by_a_child(lambda: str(guards.door.acquire(timeout=5))) == "True"
    finally:
        over.set()
        thread.join()
    assert guards.door.acquire(blocking=False)  # the parent's own
    guards.door.release()

"""Ctrl-C at each moment in turn: it ends one call, and leaves no lock, no half write and no wrong memory.

Python raises it in the main thread on entering a function and after a call into C: here a
profile function does, at the first of these moments, the second, and so on, until a call
runs through without reaching its turn.
"""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from journal import EntryError, Journal, Session, SessionTakeover, Turn, sidefile
from journal.admission import Put, put
from journal.audit import audit
from journal.lines import Line
from journal.parts import encode_lines
from journal.rides import Queued, Ride
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

LINE = {"type": "custom"}
DEADLINE_S = 30.0
FOR_EVER_S = (
    600.0  # much longer than the deadline: who waits for a lock that is left does not get through
)
MOST = 3000


class Interrupt:
    """Raises KeyboardInterrupt at the n-th moment at which Python would, in the journal's own code."""

    def __init__(self, turn: int) -> None:
        self.left = turn
        self.where = ""

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if event not in ("call", "c_return") or not is_ours(frame):
            return
        self.left -= 1
        if self.left == 0:
            name = getattr(called, "__qualname__", "")
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno} ({event} {name})"
            sys.setprofile(None)
            raise KeyboardInterrupt


def is_ours(frame: FrameType) -> bool:
    return "/journal/" in frame.f_code.co_filename


def interruptions(act: Callable[[], object]) -> Iterator[str]:
    """Do something again and again, interrupted a moment later each time; yield where it was.

    Coverage's trace function is not told of each return then, and would take lines for another module's.
    """
    tracing = sys.gettrace()
    for turn in range(1, MOST):
        interrupt = Interrupt(turn)
        sys.settrace(None)
        sys.setprofile(interrupt)
        try:
            act()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
            sys.settrace(tracing)
        if not interrupt.where:
            return
        yield interrupt.where


def in_a_thread(call: Callable[[], object]) -> object:
    """Call it where no lock of this thread helps; None if it waits for ever."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    return found[0] if found else None


def is_left(lock: Any) -> bool:
    """Whether this thread holds a lock that it should have let go."""
    return bool(lock._is_owned())


def append(session: Session) -> None:
    session.append(LINE)


def append_refused(session: Session) -> None:
    """A write that fails in its transaction: the request was of other lines."""
    with pytest.raises(EntryError):
        session.append({"other": 1}, request_id="first")


def fence_append(session: Session) -> None:
    with suppress(SessionTakeover):
        session.fence().append(LINE)


def batch(session: Session, journal: Journal) -> None:
    with journal.batch() as batch:
        batch.append(session, LINE)
        batch.append(journal.session("other", writer="gateway", role="run"), LINE)


def read(session: Session) -> None:
    session.read(newest=True, limit=2)


# Python itself swallows what is raised while it closes a generator, and warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("act", [append, append_refused, fence_append, batch, read])
def test_an_interrupt_at_any_moment(journal_path, act):
    with Journal(journal_path, busy_timeout=FOR_EVER_S) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append(LINE, request_id="first")
        arguments = (session, journal) if act is batch else (session,)
        for where in interruptions(lambda: act(*arguments)):
            assert not is_left(journal.store.lock), where
            assert not is_left(journal.store.ticket._thread), where
            assert in_a_thread(lambda: session.append(LINE)), where
        seqs = [entry.seq for entry in session.read()]
        assert seqs == [*range(1, len(seqs) + 1)]
    report = audit(journal_path)
    assert not report.findings, report


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_in_an_undoing_leaves_nobody_known_who_is_not_there(journal_path):
    """A session and its writer that were rolled back: who goes on to write as they would write as nobody."""
    with Journal(journal_path, busy_timeout=FOR_EVER_S) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append(LINE, request_id="first")
        made = journal.session("new", writer="newcomer", role="tool")

        def refused() -> None:
            batch = journal.batch()
            batch.append(made, LINE)
            batch.append(session, {"other": 1}, request_id="first")
            with pytest.raises(EntryError), batch:
                pass

        for where in interruptions(refused):
            assert not made.exists, where
            assert [info.key for info in journal.sessions()] == [KEY], where
            assert [writer.name for writer in journal.writers()] == ["gateway"], where
            assert in_a_thread(lambda: session.append(LINE)), where
    assert not audit(journal_path).findings


class Waiting(Queued):
    """A write that no thread waits for: as a task does, it goes on once it is told, and looks for nothing itself."""

    __slots__ = ("is_told",)

    has_thread = False

    def __init__(self, work: Callable[[Any], object]) -> None:
        super().__init__(work, self)
        self.is_told = False

    def put(self, _: None, /) -> None:
        self.is_told = self.is_done


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_leaves_nobody_untold(journal_path):
    """Who rode along in the interrupted thread's commit, or waits to be led."""
    with Journal(journal_path, busy_timeout=FOR_EVER_S) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append(LINE)

        def queued() -> list[Waiting]:
            waiting = [Waiting(Put(session, encode_lines([LINE]), None)) for _ in range(2)]
            for each in waiting:
                journal.store.group._arrive(each)
            return waiting

        waiting = queued()
        for where in interruptions(lambda: session.append(LINE)):
            assert in_a_thread(lambda: session.append(LINE)), where  # with whoever is queued yet
            assert [each.is_told for each in waiting] == [True, True], where
            waiting = queued()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_claim_that_was_interrupted_stands_no_more(journal_path):
    """Nobody has its turn, and for as long as this process lives nobody could end it but by force."""
    with Journal(journal_path, busy_timeout=FOR_EVER_S) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        other = journal.session(KEY, writer="other", role="run")
        session.append(LINE)
        taken: list[Turn] = []
        for where in interruptions(lambda: taken.append(session.claim())):
            while taken:  # it came as something was collected, where Python swallows it
                taken.pop().release()
            assert in_a_thread(lambda: other.claim().release()), where
    assert not audit(journal_path).findings


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_a_session_is_learned_leaves_nothing_known_by_half(journal_path):
    """A layout that was learned and not noted as learned could not be learned again: no read came through any more."""
    with Journal(journal_path, busy_timeout=FOR_EVER_S) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        for number in range(3):
            session.append({"n": number})
            session.rewrite([{"n": -number}], base=session.head.seq, reason="compacted")
        with journal.store.transaction() as cursor:
            put(cursor, session, [Line(b"open", b"", "raw")], None)
        session.claim().release()

        def read_anew() -> None:
            journal.store.registry._chains.clear()  # as a new process begins
            session.read()

        for where in interruptions(read_anew):
            with journal.store.snapshot() as cursor:
                chain = journal.store.find_chain(cursor, KEY)
                assert chain is not None
                chain = journal.store.fresh(chain)
                chain.load_facts(cursor)
                assert chain.open_tail, where
                assert (chain.layout.no, len(chain.earlier)) == (3, 3), where
            assert [entry.body for entry in session.read()] == [b'{"n":-2}', b"open"], where


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_moment_with_a_mirror(journal_path, tmp_path, monkeypatch):
    """The file is brought up by whoever writes next; nothing in it is ever taken for foreign."""
    monkeypatch.setattr(sidefile, "LOCK_WAIT_S", FOR_EVER_S)
    path = tmp_path / "agent.jsonl"
    with Journal(journal_path, busy_timeout=FOR_EVER_S) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=path)
        session.append(LINE)
        for where in interruptions(lambda: session.append(LINE)):
            assert not is_left(journal.store.lock), where
            assert in_a_thread(lambda: session.append(LINE)), where
        with session.fence() as fence:
            pass
        assert fence.verdict is not None
        assert not fence.verdict.foreign
        assert path.read_bytes() == b"".join(entry.data for entry in session.read())
    assert not audit(journal_path).findings


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_as_a_mirror_is_let_rest_leaves_no_lock(journal_path, tmp_path):
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=tmp_path / "a.jsonl")
        mirror = journal.mirrors.here(KEY)
        for where in interruptions(mirror.rest):
            assert not is_left(mirror._slot._threads), where
            session.append(LINE)  # and opens the file again
        session.append(LINE)
        with mirror.lock:
            assert not mirror.rest()
            assert mirror._slot.is_held()


def test_a_block_that_a_traceback_kept_undoes_no_later_one(journal_path):
    """Collected in the middle of the thread's next block, it leaves that alone."""
    with Journal(journal_path) as journal:
        store = journal.store
        kept = [store.transaction()]
        kept[0].__enter__()
        store.roll_back(KeyboardInterrupt(), Ride())  # and the interrupt came before it was noted
        with store.transaction():
            kept.clear()
            gc.collect()
            assert store._connection.in_transaction


def test_a_block_that_was_never_left_is_undone_as_it_is_collected(journal_path):
    """As an interrupt on the very step out of it leaves it."""
    with Journal(journal_path) as journal:
        session, store = journal.session(KEY, writer="gateway", role="run"), journal.store
        session.append(LINE)
        kept = [store.transaction()]
        kept[0].__enter__().execute("UPDATE sessions SET created_us = 0")
        kept.clear()
        gc.collect()
        assert not store._connection.in_transaction
        assert not is_left(store.lock)
        assert not is_left(store.ticket._thread)
        assert session.append(LINE).seq == 2


def test_a_hold_that_a_traceback_kept_frees_no_later_one(journal_path, tmp_path):
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=tmp_path / "a.jsonl")
        session.append(LINE)
        mirror = journal.mirrors.mirror(2)
        assert mirror is not None
        lock = mirror._slot
        kept = [lock.held()]
        kept[0].__enter__()
        lock.give_back()
        with lock.held():
            kept.clear()
            gc.collect()
            assert lock.is_held()

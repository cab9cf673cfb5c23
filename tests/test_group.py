"""Group commit: one transaction and one sync for what arrives together, each write by itself."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from journal import BusyError, EntryError, FullError, Journal, NotTrusted, StorageError, group
from journal.admission import Put
from journal.lines import Line
from journal.mirrorfile import MirrorFile
from journal.parts import encode_lines
from journal.rides import Queued
from journal.writing import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from journal import Session

LINE = {"type": "custom"}
DEADLINE_S = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whoever waits be woken: a look for itself would make up for a call that never came."""
    monkeypatch.setattr(group, "LOOK_S", 2 * DEADLINE_S)


@pytest.fixture
def commits(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many writes rode along in each commit."""
    made: list[int] = []
    commit = journal.store.commit

    def counted(ride: Any) -> Any:
        made.append(len(ride.writes))
        return commit(ride)

    monkeypatch.setattr(journal.store, "commit", counted)
    return made


def has_queued(journal: Journal, count: int) -> bool:
    group = journal.store.group
    return group._leading.locked() and len(group._queue) == count


@contextmanager
def together(journal: Journal, *calls: Callable[[], object]) -> Iterator[list[Future[object]]]:
    """Make calls from a thread each, so that all have arrived before the first is written."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures: list[Future[object]] = []
        with journal.store.lock:  # the first of them leads, and waits for this
            for number, call in enumerate(calls):
                futures.append(pool.submit(call))
                until(partial(has_queued, journal, number))
        yield futures


def outcome(future: Future[object]) -> object:
    error = future.exception(DEADLINE_S)
    return type(error) if error else "written"


def test_a_caller_alone_leads_nobody(base, commits):
    base.append(LINE)
    base.append(LINE)

    assert commits == [0, 0]


def test_writes_that_arrive_together_share_a_commit(base, journal, commits):
    """Each has an epoch of its own all the same, and none is told before it is durable."""
    base.append(LINE)
    commits.clear()

    with together(journal, *[lambda: base.append(LINE)] * 8) as futures:
        entries = [future.result(DEADLINE_S) for future in futures]

    assert commits == [7]
    assert len({entry.epoch for entry in entries}) == 8  # type: ignore[attr-defined]
    stored = [entry.seq for entry in base.read()]
    assert stored == [*range(1, len(stored) + 1)]


def test_sessions_share_a_commit(journal, commits):
    sessions = [journal.session(f"s{number}", writer="w", role="run") for number in range(5)]

    with together(journal, *[(lambda s=s: s.append(LINE)) for s in sessions]) as futures:
        assert [outcome(future) for future in futures] == ["written"] * 5

    assert commits == [4]
    assert [session.head.seq for session in sessions] == [1] * 5


def test_a_failing_write_fails_no_neighbour(base, journal, open_journal):
    revoked = journal.session(base.key, writer="left", role="tool")
    revoked.append(LINE)
    open_journal().revoke("left", "has gone")

    calls = [lambda: base.append(LINE), lambda: revoked.append(LINE), lambda: base.append(LINE)]
    with together(journal, *calls) as futures:
        assert [outcome(future) for future in futures] == ["written", NotTrusted, "written"]


def test_a_failing_leader_fails_no_neighbour(base, journal, open_journal):
    revoked = journal.session(base.key, writer="left", role="tool")
    revoked.append(LINE)
    open_journal().revoke("left", "has gone")

    with together(journal, lambda: revoked.append(LINE), lambda: base.append(LINE)) as futures:
        assert [outcome(future) for future in futures] == [NotTrusted, "written"]


def test_a_disk_too_full_for_one_has_room_for_the_rest(base, journal):
    """The great line is refused by itself; the small ones beside it are kept."""
    before = base.append(LINE).seq
    pages = journal.store.cursor.execute("PRAGMA page_count").fetchone()[0]
    journal.store.cursor.execute(f"PRAGMA max_page_count={pages + 20}")
    great = b'{"text":"' + b"x" * 500_000 + b'"}'

    calls = [lambda: base.append(LINE), lambda: base.append(great), lambda: base.append(LINE)]
    with together(journal, *calls) as futures:
        assert [outcome(future) for future in futures] == ["written", FullError, "written"]
    assert base.head.seq == before + 2


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
def test_an_interrupted_leader_leaves_nobody_behind(base, journal, monkeypatch, when):
    """Whoever rode along is written once, whatever became of the leader."""
    before = base.append(LINE).seq
    commit = journal.store.commit
    monkeypatch.setattr(journal.store, "commit", interrupted(journal, commit, when, monkeypatch))

    with together(journal, *[lambda: base.append(LINE)] * 4) as futures:
        outcomes = [outcome(future) for future in futures]

    assert outcomes == [KeyboardInterrupt, "written", "written", "written"]
    assert base.head.seq == before + (4 if when == "after the commit" else 3)
    assert not journal.store.lock._is_owned()
    assert base.append(LINE).seq


def interrupted(
    journal: Journal, commit: Callable[..., Any], when: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    def once(ride: Any) -> Any:
        monkeypatch.setattr(journal.store, "commit", commit)
        if when == "after the commit":
            commit(ride)
        raise KeyboardInterrupt

    return once


def test_an_interrupted_follower_leaves_the_queue(base, journal, monkeypatch):
    """What was never begun is not written; the rest goes on."""
    before = base.append(LINE).seq
    monkeypatch.setattr(group, "SimpleQueue", Interrupting)

    with together(journal, *[lambda: base.append(LINE)] * 3) as futures:
        assert [outcome(future) for future in futures] == [
            "written", KeyboardInterrupt, KeyboardInterrupt,
        ]  # fmt: skip

    assert not journal.store.group._queue
    assert base.head.seq == before + 1


class Interrupting:
    """A wake-up that never comes: Ctrl-C does."""

    def get(self, **_: float) -> None:
        raise KeyboardInterrupt

    def put(self, item: None) -> None:
        pass


def test_all_who_waited_are_told_that_the_lock_did_not_come(journal_path, thief):
    """Not one time-out after the other: who has waited as long as the leader is told with it."""
    with Journal(journal_path, busy_timeout=0.5) as journal:
        session = journal.session("s", writer="w", role="run")
        session.append(LINE)
        thief.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with together(journal, *[lambda: session.append(LINE)] * 6) as futures:
            assert [outcome(future) for future in futures] == [BusyError] * 6
        assert time.monotonic() - started < 6 * 0.5
        thief.execute("ROLLBACK")
        assert session.append(LINE).seq == 2


@pytest.mark.parametrize("is_led", [True, False])
@pytest.mark.parametrize("inside", ["snapshot", "transaction"])
def test_a_write_inside_a_read_or_a_write_is_refused(base, journal, inside, is_led):
    """It would wait for a leader that waits for it; what it is inside of goes on."""
    with ThreadPoolExecutor(1) as pool, getattr(journal.store, inside)():
        if is_led:
            other = pool.submit(base.append, LINE)
            until(journal.store.group._leading.locked)
        with pytest.raises(StorageError) as caught:
            base.append(LINE)
    assert caught.value.code == "nested"
    assert not is_led or outcome(other) == "written"


def test_many_threads_lose_nothing(journal):
    """Every acknowledged entry is there once; epochs of one session have no gap."""
    keys = [f"s{number}" for number in range(3)]

    def work(number: int) -> list[tuple[str, int, int]]:
        session = journal.session(keys[number % 3], writer=f"w{number}", role="tool")
        entries = [session.append({"n": [number, at]}) for at in range(40)]
        return [(entry.session, entry.seq, entry.epoch) for entry in entries]

    with ThreadPoolExecutor(12) as pool:
        acknowledged = [row for rows in pool.map(work, range(12)) for row in rows]

    assert len(set(acknowledged)) == len(acknowledged) == 480
    for key in keys:
        mine = sorted((seq, epoch) for name, seq, epoch in acknowledged if name == key)
        assert mine == [(number, number) for number in range(1, 161)]
        assert len(journal.session(key).read()) == 160


def test_a_shared_commit_is_one_write_to_the_mirror(base, journal, tmp_path, monkeypatch):
    """Whoever leads brings the file up to the journal at once, for all who rode along."""
    path = tmp_path / "agent.jsonl"
    journal.mirrors.add(base.key, path)
    base.append(LINE)
    written: list[bytes] = []
    append = MirrorFile.append

    def noted(self: MirrorFile, data: bytes) -> None:
        written.append(data)
        append(self, data)

    monkeypatch.setattr(MirrorFile, "append", noted)
    with together(journal, *[lambda: base.append(LINE)] * 5) as futures:
        entries = [future.result(DEADLINE_S) for future in futures]

    assert [data.count(b"\n") for data in written] == [5]
    assert path.read_bytes().endswith(b"".join(entry.data for entry in entries))  # type: ignore[attr-defined]


@pytest.fixture
def statements(journal: Journal) -> list[str]:
    """What the database was asked to do."""
    made: list[str] = []
    journal.store._connection.set_trace_callback(made.append)
    return made


def test_what_rides_along_moves_the_head_once(base, journal, statements):
    """Each write has its own epoch; the head's row is written for all of them together."""
    statements.clear()

    with together(journal, *[lambda: base.append(LINE)] * 8) as futures:
        entries = [future.result(DEADLINE_S) for future in futures]

    moves = [each for each in statements if each.startswith("UPDATE sessions")]
    assert len(moves) == 2  # the leader's own, and one for the seven
    assert sorted(entry.epoch for entry in entries) == [*range(2, 10)]  # type: ignore[attr-defined]
    assert [(entry.seq, entry.epoch) for entry in base.read()] == [(n, n) for n in range(1, 10)]
    assert journal.session(base.key).head == base.head


@pytest.mark.parametrize("count", [2, 3])
def test_many_lines_ride_along_whole(base, journal, commits, count):
    """In one commit: whatever fails as it is put off is done again by itself, and hides it."""
    commits.clear()
    with together(
        journal, lambda: base.append(LINE), lambda: base.extend([LINE] * count)
    ) as futures:
        made = [future.result(DEADLINE_S) for future in futures][1]

    assert commits == [1]
    assert [entry.seq for entry in made] == [*range(3, 3 + count)]  # type: ignore[attr-defined]
    assert base.head.seq == 2 + count
    assert journal.store.registry.chain_of(base.key).examined == 2 + count


def test_a_request_finds_what_was_put_off_before_it(base, journal):
    """The second of two equal requests in one commit is answered with the first one's entry."""
    calls = [
        lambda: base.append(LINE),
        lambda: base.append(LINE),
        lambda: base.append(LINE, request_id="r"),
        lambda: base.append(LINE),
        lambda: base.append(LINE, request_id="r"),
    ]

    with together(journal, *calls) as futures:
        seqs = [future.result(DEADLINE_S).seq for future in futures]  # type: ignore[attr-defined]

    assert seqs == [2, 3, 4, 5, 4]
    rows = journal.store.cursor.execute("SELECT seq FROM entries WHERE session_id = 2 ORDER BY id")
    assert [seq for (seq,) in rows] == [1, 2, 3, 4, 5]  # in the order in which they came


def test_what_was_put_off_is_done_again_without_who_failed(base, journal, open_journal):
    """Nothing of a rolled back transaction is left in memory: seqs and epochs have no gap."""
    revoked = journal.session(base.key, writer="left", role="tool")
    revoked.append(LINE)
    open_journal().revoke("left", "has gone")
    others = [journal.session(f"s{number}", writer="w", role="run") for number in range(3)]

    calls = [lambda: base.append(LINE), *[(lambda s=s: s.append(LINE)) for s in others * 3]]
    calls.insert(7, lambda: revoked.append(LINE))
    with together(journal, *calls) as futures:
        outcomes = [outcome(future) for future in futures]

    assert outcomes.count(NotTrusted) == 1
    assert outcomes.count("written") == 10
    assert [[entry.epoch for entry in session.read()] for session in others] == [[1, 2, 3]] * 3
    assert not any(open_journal().session(other.key).read().stepped_over for other in others)


def test_a_line_end_that_is_owed_comes_first(base, journal):
    """A line that was left open is ended before the next: such a write is not put off."""
    with journal.store.transaction() as cursor:
        chain = journal.store.open_chain(cursor, base.key)
        write(cursor, chain, base.author(cursor), 1, lines=[Line(b'{"open":1}', b"", "line")])

    other = journal.session("other", writer="w", role="run")
    calls = [lambda: other.append(LINE), *[lambda: base.append(LINE)] * 3]
    with together(journal, *calls) as futures:
        assert [outcome(future) for future in futures] == ["written"] * 4

    text = b"".join(entry.data for entry in base.read())
    assert text.splitlines()[1:] == [b'{"open":1}'] + [b'{"type":"custom"}'] * 3


def test_the_last_to_come_back_lets_the_leader_begin(base, journal, commits):
    """A leader waits for those who rode along before, and no longer than until all are there."""
    group = journal.store.group
    with together(journal, *[lambda: base.append(LINE)] * 4) as futures:
        assert [outcome(future) for future in futures] == ["written"] * 4
    assert group._before == 3
    with ThreadPoolExecutor(3) as pool:
        with group._leading:
            rest = [pool.submit(base.append, LINE) for _ in range(2)]
            until(lambda: len(group._queue) == 2)
            group._enough = 3
            rest.append(pool.submit(base.append, LINE))
            assert group._complete.acquire(timeout=DEADLINE_S)
        group._wake_next()  # as whoever led would
    assert [outcome(future) for future in rest] == ["written"] * 3


def test_a_leader_waits_for_a_moment_only_however_short_it_is(base, journal, monkeypatch):
    """Where the moment has passed before the wait begins, it is over; a queue's get() would wait for ever."""
    monkeypatch.setattr(group, "GATHER_S", 1e-9)
    led = journal.store.group
    with ThreadPoolExecutor(1) as pool:
        for _ in range(20):
            led._before = 9
            assert pool.submit(base.append, LINE).result(DEADLINE_S)


def test_whoever_was_asked_to_serve_is_asked_once(base, journal):
    """Until the thread that serves has begun, the rest only queue up; a refused one frees the next."""
    group = journal.store.group
    waiting = [queued(base) for _ in range(3)]

    assert [group.submit(each) for each in waiting] == [True, False, False]
    group.not_served(CLOSED)
    last = queued(base)
    assert group.submit(last)
    group.serve()

    assert all(each.is_done for each in [*waiting, last])
    assert not group._queue
    seqs = [group.answer(each).entries[0].seq for each in [*waiting, last]]
    assert seqs == [2, 3, 4, 5]  # in the order in which they came


def queued(session: Session) -> Queued:
    return Queued(Put(session, encode_lines([LINE]), None), SimpleQueue())


def rung(queued: Queued) -> int:
    """How often whoever waits for a write was woken."""
    return queued.wake.qsize()  # type: ignore[attr-defined,no-any-return]


def test_what_another_led_is_not_done_again(base, journal, monkeypatch):
    """Who waited for the lock to lead finds its own write committed, though it is not synced yet."""
    group, done = journal.store.group, journal.store.make_durable
    begun, go, ran = threading.Event(), threading.Event(), []

    def work(_: object) -> int:
        ran.append(1)
        return len(ran)

    own = Queued(work, SimpleQueue())
    group._queue.append(own)

    def held(number: int | None = None) -> None:
        begun.set()
        go.wait(DEADLINE_S)
        done(number)

    monkeypatch.setattr(journal.store, "make_durable", held)
    with ThreadPoolExecutor(2) as pool:
        served = pool.submit(group.serve)
        assert begun.wait(DEADLINE_S)
        followed = pool.submit(group._lead, own.work, own)
        go.set()
        assert followed.result(DEADLINE_S) == 1
        served.result(DEADLINE_S)

    assert ran == [1]


def test_what_failed_for_another_who_led_it_is_not_done_again(base, journal, monkeypatch):
    """Of a commit on a server nobody may know whether it is kept: done again it could be there twice."""
    group, ran = journal.store.group, []
    is_free, go = threading.Event(), threading.Event()

    def work(_: object) -> None:
        ran.append(1)
        raise EntryError("it failed")

    def wake_next() -> None:
        if not is_free.is_set():
            is_free.set()
            go.wait(DEADLINE_S)

    own = Queued(work, SimpleQueue())
    group._queue.extend([own, queued(base)])
    monkeypatch.setattr(group, "_wake_next", wake_next)
    with ThreadPoolExecutor(2) as pool:
        served = pool.submit(group.serve)
        assert is_free.wait(DEADLINE_S)  # it leads no more, and has told nobody yet
        assert outcome(pool.submit(group._lead, own.work, own)) is EntryError
        go.set()
        served.result(DEADLINE_S)

    assert ran == [1]


def test_what_nobody_will_serve_is_told_so_and_is_not_written(base, journal):
    """All of it, for nobody else would wake it. Who waits in a thread leads, and is woken for that."""
    group = journal.store.group
    unled, own = [unserved(base) for _ in range(3)], queued(base)
    for each in [*unled[:2], own, unled[2]]:
        group.submit(each)
    group.not_served(CLOSED)

    assert [str(each.error) for each in unled] == ["closed"] * 3
    assert len({id(each.error) for each in unled}) == 3
    assert [each.wake.qsize() for each in [*unled, own]] == [1] * 4  # type: ignore[attr-defined]
    group._lead(own.work, own)
    assert base.head.seq == 2


def test_what_nobody_wants_any_more_is_told_so_and_not_done(base, journal):
    """Whether it is met by whoever leads, or is itself the one to be served."""
    group = journal.store.group
    gone = queued(base)
    for meet in (lambda: base.append(LINE), group.serve):
        gone = queued(base)
        gone.is_withdrawn = True
        group._queue.append(gone)
        meet()
        assert gone.is_done
        assert group.answer(gone) is None
        assert rung(gone) == 1
        assert not group._queue
    assert [entry.seq for entry in base.read()] == [1, 2]


def test_what_may_have_failed_a_commit_rides_with_nobody(base, journal, commits):
    """Whatever came behind it."""
    group = journal.store.group
    failed, behind = queued(base), queued(base)
    failed.is_alone = True
    group._queue.extend([failed, behind])
    base.append(LINE)
    assert commits == [0]
    assert rung(failed) == 1  # it is to be served next
    group.serve()
    assert commits == [0, 1]


def test_who_came_first_leads_next(base, journal, commits, monkeypatch):
    """Where more have come than one commit takes: nobody is written before who waited longer."""
    monkeypatch.setattr(group, "MOST", 1)
    with together(journal, *[lambda: base.append(LINE)] * 5) as futures:
        entries = [future.result(DEADLINE_S) for future in futures]
    assert [entry.seq for entry in entries] == [2, 3, 4, 5, 6]  # type: ignore[attr-defined]
    assert commits[-3:] == [1, 1, 0]


def test_who_leaves_the_queue_lets_the_next_one_lead(base, journal, monkeypatch):
    """It was taken for a leader meanwhile, or was the one that the last leader woke."""
    own, behind = journal.store.group, queued(base)
    monkeypatch.setattr(group, "SimpleQueue", Interrupting)
    with ThreadPoolExecutor(1) as pool:
        with own._leading:
            interrupted = pool.submit(base.append, LINE)
            until(lambda: len(own._queue) == 1)
            assert not own.submit(behind)
        assert outcome(interrupted) is KeyboardInterrupt
    assert list(own._queue) == [behind]
    assert rung(behind) == 1
    own.serve()
    assert base.head.seq == 2


def test_an_error_is_no_cause_of_itself(base):
    """Whoever walks from one to its cause comes to an end."""
    base.append(LINE, request_id="r")
    with pytest.raises(EntryError) as caught:
        base.append({"other": 1}, request_id="r")
    assert caught.value.__cause__ is None


def test_what_another_leads_is_no_error_where_nobody_serves(base, journal):
    """He does it, or wakes the next: to be told that it was not written would be a lie."""
    group, mine = journal.store.group, unserved(base)
    with together(journal, lambda: base.append(LINE)) as futures:
        assert not group.submit(mine)
        group.not_served(CLOSED)
        assert mine.error is None
    assert outcome(futures[0]) == "written"
    until(lambda: mine.is_done)
    assert mine.error is None
    assert base.head.seq == 3


CLOSED = StorageError("closed", hint="-", code="closed")


class Unserved(Queued):
    """A write that is waited for in no thread."""

    has_thread = False


def unserved(session: Session) -> Unserved:
    return Unserved(Put(session, encode_lines([LINE]), None), SimpleQueue())


def test_a_call_that_never_comes_is_not_waited_for(base, journal, monkeypatch):
    """An interrupt may swallow it: who waits looks for itself."""
    monkeypatch.setattr(group, "LOOK_S", 0.01)
    monkeypatch.setattr(group, "wake", lambda *_: None)
    with together(journal, *[lambda: base.append(LINE)] * 3) as futures:
        assert [outcome(future) for future in futures] == ["written"] * 3


def test_who_came_a_moment_ago_is_not_refused_with_those_who_waited_long(journal):
    """It has its own time-out before it."""
    patient, new = (Queued(lambda _: None, SimpleQueue()) for _ in range(2))
    patient.since -= journal.store.busy_timeout_s / 2
    journal.store.group._queue.extend([patient, new])
    journal.store.group._refuse_the_patient(BusyError("no", hint="wait"))
    assert isinstance(patient.error, BusyError)
    assert rung(patient) == 1
    assert new.error is None
    assert list(journal.store.group._queue) == [new]
    journal.store.group._queue.clear()

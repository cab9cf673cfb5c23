"""The store: one kept connection, transactions that roll back in memory too, and forks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from journal import BusyError, EntryError, FullError, LockLost, StorageError
from journal import statements as sql
from journal.audit import audit
from journal.engine import driver
from journal.parts import encode_lines
from journal.writing import write
from tests.thieves import KEY

LINE = {"n": 1}


def python(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- rollback


def state(session):
    chain = session.store.registry.chain_of(KEY)
    return (chain.head, chain.open_tail, chain.examined, dict(session.store.instances))


def test_a_rollback_leaves_what_is_known_as_it_was(base, journal, thief):
    """Head, tail and instances; and the next write takes the seq that the failed one had."""
    base.append(LINE, request_id="r")
    before, rows = state(base), thief.dump()
    with pytest.raises(EntryError):
        batch_that_fails(journal, base)

    assert thief.dump() == rows
    assert not journal.store._raw.driver_connection.in_transaction
    assert base.append(LINE).seq == 3
    assert before[0].seq == 2
    assert dict(journal.store.instances) == before[3]


def batch_that_fails(journal, base) -> None:
    """Write, declare and register, and then fail at the last of it."""
    with journal.batch() as batch:
        batch.append(base, {"n": 2})
        batch.append(journal.session("new", writer="newcomer", role="tool"), {"n": 3})
        batch.append(base, {"n": 4}, request_id="r")


def test_a_writer_and_a_session_that_were_rolled_back_are_made_again(base, journal):
    """Nothing remembers them: not the registry, not the instances."""
    base.append(LINE, request_id="r")
    with pytest.raises(EntryError):
        batch_that_fails(journal, base)
    assert [writer.name for writer in journal.writers()] == ["gateway"]
    assert [info.key for info in journal.sessions()] == [KEY]

    journal.session("new", writer="newcomer", role="tool").append(LINE)

    assert [writer.name for writer in journal.writers()] == ["gateway", "newcomer"]
    assert [entry.writer for entry in journal.session("new").read()] == ["newcomer"]


@pytest.mark.parametrize("who", ["this process", "another process"])
def test_the_number_of_a_session_that_was_rolled_back_is_anothers(
    base, journal, open_journal, journal_path, who
):
    """What is known of the one says nothing of the other: above all not with which key it is sealed."""
    base.append(LINE, request_id="r")
    with pytest.raises(EntryError):
        batch_that_fails(journal, base)
    other = journal if who == "this process" else open_journal()

    assert other.session("another", writer="gateway", role="run").append(LINE).session == "another"

    session = journal.session("another", writer="gateway", role="run")
    assert [entry.json() for entry in session.read()] == [LINE]
    session.append(LINE)
    assert audit(journal_path).findings == ()


def test_a_fence_that_waited_for_a_rolled_back_write_is_stored_by_the_next(base, journal, thief):
    base.append(LINE, request_id="r")
    fence = base.fence()
    with pytest.raises(EntryError):
        batch_that_fails(journal, base)
    assert thief.count("fences") == 0

    base.append(LINE)

    assert thief.ask("SELECT id FROM fences") == fence.id
    base.append(LINE)
    assert thief.count("fences") == 1


def test_own_writes_stay_own_after_a_rollback(base, journal):
    """An instance is not lost with a transaction that did not make it: no false takeover."""
    fence = base.fence(policy="strict")
    base.append({"type": "message", "message": {"role": "user"}}, request_id="r")
    with pytest.raises(EntryError):
        base.append({"n": "other"}, request_id="r")

    assert fence.check().arrived == ()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_ends_a_transaction_early_rolls_it_back(base, journal, thief, error):
    before = thief.dump()

    with pytest.raises(error):
        interrupted(journal, error)

    assert thief.dump() == before
    assert base.append(LINE).seq == 2


def interrupted(journal, error) -> None:
    with journal.store.transaction() as cursor:
        cursor.execute("UPDATE sessions SET created_us = 0")
        raise error


def test_a_full_disk_rolls_back_and_room_lets_it_go_on(base, journal, thief):
    """Nothing half done: no row, no head, no instance; the same handle writes once there is room."""
    pages = journal.store.cursor.execute("PRAGMA page_count").fetchone()[0]
    journal.store.cursor.execute(f"PRAGMA max_page_count={pages}")
    before = thief.dump()

    with pytest.raises(FullError) as caught:
        base.append({"big": "x" * 1_000_000})

    assert caught.value.hint
    assert thief.dump() == before
    journal.store.cursor.execute("PRAGMA max_page_count=1000000")
    assert base.append({"big": "x" * 1_000_000}).seq == 2


def test_another_process_holding_the_lock_is_busy_and_nothing_else(open_journal, base, thief):
    """The lock is waited for as long as was said; afterwards the same handle goes on."""
    session = open_journal(busy_timeout=0.0).session(KEY, writer="w", role="tool")
    with thief.transaction(), pytest.raises(BusyError) as caught:
        session.append(LINE)

    assert caught.value.code == "busy"
    assert "database is locked" not in str(caught.value)
    assert session.append(LINE).seq == 2


# --- what others did


def test_only_other_connections_commits_make_it_look_again(base, heartbeat, journal, thief):
    """Our own commits are known; another's, of whatever it was, are not."""
    heartbeat.append(LINE)
    generation = journal.store.generation
    for _ in range(3):
        base.append(LINE)
        heartbeat.append(LINE)
    assert journal.store.generation == generation

    thief.execute("CREATE TABLE theirs(x)")
    base.append(LINE)

    assert journal.store.generation == generation + 1


def test_two_connections_take_turns_without_a_gap(base, open_journal):
    """Each learns the other's head from the database before it writes."""
    other = open_journal().session(KEY, writer="other", role="tool")

    seqs = [session.append(LINE).seq for _ in range(20) for session in (base, other)]

    assert seqs == list(range(2, 42))


def test_many_threads_share_one_store(journal):
    """One lock; no write is lost, none is doubled."""
    sessions = [journal.session(KEY, writer=f"w{n}", role="tool") for n in range(4)]

    def write(session) -> None:
        for number in range(15):
            session.append({"n": number})
            session.read(limit=1, newest=True)

    threads = [threading.Thread(target=write, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    read = sessions[0].read()
    assert [entry.seq for entry in read] == list(range(1, 61))
    for session in sessions:
        own = [entry.json()["n"] for entry in read if entry.writer == session.identity.writer]
        assert own == list(range(15))


def test_a_transaction_inside_a_transaction_is_refused_whole(base, journal, thief):
    """``on_takeover`` is called after the commit, so nobody needs one; by mistake it harms nothing."""
    before = thief.dump()

    with pytest.raises(StorageError):
        nested(journal, base)

    assert thief.dump() == before
    assert base.append(LINE).seq == 2


def nested(journal, base) -> None:
    with journal.store.transaction():
        base.append(LINE)


# --- the end


def test_a_closed_journal_says_so(base, journal):
    journal.close()
    journal.close()

    for use in (lambda: base.append(LINE), base.read, base.fence, journal.sessions, base.claim):
        with pytest.raises(StorageError) as caught:
            use()
        assert caught.value.code == "closed"
        assert caught.value.hint


def test_closing_folds_the_log_in(base, journal, journal_path):
    """The last to close leaves the database alone, whole, without a -wal to lose."""
    base.append(LINE)

    journal.close()

    assert [path.name for path in journal_path.parent.glob("agent.db*")] == ["agent.db"]


def test_closing_beside_others_waits_for_nobody(base, journal, open_journal, thief):
    """A reader or a writer that stays does not hold the one who leaves."""
    other = open_journal()
    thief.execute("BEGIN")
    thief.count("entries")
    base.append(LINE)
    journal.close()
    thief.execute("COMMIT")

    assert len(other.session(KEY).read()) == 2


# --- forks


FORKED = """
    import os, sys
    from journal import Journal, LockLost
    journal = Journal(sys.argv[1])
    run = journal.session("s", writer="gateway", role="run")
    run.append({"n": 1})
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        told = []
        anew = lambda: Journal(sys.argv[1])
        for use in (lambda: run.append({"n": "child"}), run.read, lambda: run.fence(), journal.close, anew):
            try:
                use()
                told.append("nothing")
            except LockLost as error:
                told.append(error.code)
        os.write(write_end, ",".join(told).encode())
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    print(os.waitstatus_to_exitcode(status), os.read(read_end, 1000).decode())
    print(run.append({"n": 2}).seq, [entry.json()["n"] for entry in run.read()])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_uses_nothing_of_its_parents(tmp_path):
    """It is refused, may not open the file anew, and the parent goes on with its locks and its chain."""
    told = python(FORKED, tmp_path / "a.db").splitlines()

    assert told == ["0 forked,forked,forked,nothing,forked", "2 [1, 2]"]


IN_A_TRANSACTION = """
    import os, sys
    from journal import Journal
    journal = Journal(sys.argv[1])
    run = journal.session("s", writer="gateway", role="run")
    run.append({"n": 1})
    with journal.store.transaction() as cursor:
        cursor.execute("UPDATE sessions SET created_us = 42 WHERE id = 2")
        pid = os.fork()
        if pid == 0:
            try:
                cursor = None
                journal.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        from journal.engine import driver
        other = driver().connect(sys.argv[1], isolation_level=None)
        print(other.execute("SELECT created_us = 42 FROM sessions WHERE id = 2").fetchone()[0])
        raise SystemExit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_commits_nothing_of_its_parents_transaction(tmp_path):
    """Not by ending, not by closing, not by collecting garbage."""
    assert python(IN_A_TRANSACTION, tmp_path / "a.db").strip() == "0"


def test_a_journal_abandoned_after_a_fork_says_what_to_do(base, journal):
    journal.store.abandon()

    with pytest.raises(LockLost) as caught:
        base.append(LINE)

    assert (
        caught.value.hint
        == "fork before the journal is opened, or start the child as a new program"
    )


def test_swallowed_rows_are_noticed_even_without_a_schema_check(base, journal, thief, monkeypatch):
    """The last line of defence: an insert must report its row."""
    monkeypatch.setattr("journal.schema.check", lambda *_: None)
    thief.execute("CREATE TRIGGER zz BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END")

    with pytest.raises(StorageError) as caught:
        base.append(LINE)

    assert caught.value.code == "rows-swallowed"
    assert str(caught.value) == "1 rows were to be written, the database says 0"
    assert caught.value.hint
    assert thief.seqs() == [1]


def test_a_head_that_did_not_move_is_noticed_even_without_a_schema_check(base, thief, monkeypatch):
    monkeypatch.setattr("journal.schema.check", lambda *_: None)
    thief.execute("CREATE TRIGGER zz BEFORE UPDATE ON sessions BEGIN SELECT RAISE(IGNORE); END")

    with pytest.raises(StorageError) as caught:
        base.append(LINE)

    assert caught.value.code == "head-not-moved"
    assert thief.seqs() == [1]


def test_a_driver_error_is_never_raised_as_such(base, journal):
    """Not from a write, not from a read."""
    for block in (journal.store.transaction, journal.store.snapshot):
        with pytest.raises(StorageError) as caught:
            break_inside(block)
        assert isinstance(caught.value.__cause__, driver().Error)
    assert base.append(LINE).seq == 2


def break_inside(block) -> None:
    with block() as cursor:
        cursor.execute("SELECT * FROM nowhere")


UNREADABLE = """
    import os, sys
    from journal import Journal, StorageError
    from journal.guards import descriptors_of, identity_of
    path = sys.argv[1]
    with Journal(path) as journal:
        journal.session("s", writer="w", role="run").extend([{"n": "x" * 3000}] * 500)
    session = Journal(path).session("s", writer="w", role="run")
    session.append({})  # from here on the log tells how large the database is
    directory = os.open("/", os.O_RDONLY)
    for number in descriptors_of(identity_of(os.stat(path))):
        os.dup2(directory, number)
    try:
        session.read()
    except StorageError as error:
        print(error.code, flush=True)
    os._exit(0)  # nothing can be closed there
"""


def test_a_disk_that_cannot_be_read_is_told_as_that(tmp_path):
    """SQLite has ended the transaction by then: to end it once more would fail, and be told instead."""
    assert python(UNREADABLE, tmp_path / "agent.db").split() == ["io-error"]


def test_a_request_is_found_by_its_own_index(journal, gateway):
    """An index with the order would do as well, and read the whole session at each append."""
    gateway.append({"n": 1}, request_id="r1")
    with journal.store.snapshot() as cursor:
        plan = cursor.execute(f"EXPLAIN QUERY PLAN {sql.rows_of_request()}", (2, "r1")).fetchall()
    assert any("ix_entries_request" in row[3] for row in plan)


def test_an_interrupt_while_another_thread_writes_leaves_its_transaction_alone(
    journal, base, monkeypatch
):
    """Ctrl-C reaches the main thread while it waits for its turn: what stands is not its own."""
    store = journal.store
    with store.transaction():
        base_chain = store.find_chain(store.cursor, base.key)
        assert base_chain is not None
        take = store.ticket.take
        waiting: list[BaseException] = []

        def interrupted(**_: bool):
            raise KeyboardInterrupt

        monkeypatch.setattr(store.ticket, "take", interrupted)

        def write():
            try:
                store._inside = False  # as it is for whoever begins before the other one is in
                store.begin()
            except KeyboardInterrupt as error:
                waiting.append(error)
            finally:
                store._inside = True

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        monkeypatch.setattr(store.ticket, "take", take)

        assert len(waiting) == 1
        assert store._connection.in_transaction


def test_an_interrupt_in_the_middle_of_a_rollback_leaves_no_head_that_never_was(
    journal, base, monkeypatch
):
    """Ctrl-C after the database undid it and before memory did: the next write finds that out."""
    store, other = journal.store, journal.session("other", writer="gateway")
    forget = store._forget

    def interrupted():
        monkeypatch.setattr(store, "_forget", forget)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_forget", interrupted)

    def undone(cursor):
        chain, lines = store.open_chain(cursor, base.key), encode_lines([{"n": "undone"}])
        write(cursor, chain, base.author(cursor), store.clock(), lines=lines)
        raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        store.group.write(undone)
    seq = 1 + next(iter(journal.session(base.key))).seq

    other.append({"n": 1})
    assert base.append({"n": "kept"}).seq == seq
    assert [entry.seq for entry in base] == [1, 2]
    assert audit(journal.path).verdict == "ok, not anchored"


def test_the_log_is_emptied_unless_a_reader_holds_it(base, journal, thief, monkeypatch):
    monkeypatch.setattr("journal.folding.EMPTY_WAIT_MS", 1)
    base.append(LINE)
    assert journal.store.empty_log() is True
    base.append(LINE)
    thief.execute("BEGIN")
    thief.count("entries")
    base.append(LINE)
    assert journal.store.empty_log() is False
    thief.execute("COMMIT")
    assert journal.store.empty_log() is True
    thief.execute("BEGIN")
    thief.count("entries")  # and so of what comes now nothing can be folded in
    base.append(LINE)
    assert journal.store.empty_log() is False
    thief.execute("COMMIT")
    assert base.append(LINE).seq == 6
    journal.close()
    with pytest.raises(StorageError) as caught:
        journal.store.empty_log()
    assert caught.value.code == "closed"
    assert caught.value.__cause__ is None


def test_a_read_leaves_no_transaction_open(base, journal):
    """It would keep the log from being folded in, for as long as the journal is open."""
    for _ in range(2):
        assert len(base.read()) == 1
        assert not journal.store._connection.in_transaction


def test_a_read_within_a_read_sees_the_same_state(base, heartbeat, journal, thief):
    with journal.store.snapshot() as cursor:
        before = cursor.execute("SELECT count(*) FROM entries").fetchone()
        thief.execute("INSERT INTO meta VALUES ('x', 'y')")
        with journal.store.snapshot() as again:
            assert again.execute("SELECT count(*) FROM meta WHERE name = 'x'").fetchone() == (0,)
        assert cursor.execute("SELECT count(*) FROM entries").fetchone() == before
        assert journal.store._connection.in_transaction


def test_a_transaction_returns_once_it_is_durable_unless_that_is_not_asked_for(
    base, journal, monkeypatch
):
    waited: list[int] = []
    monkeypatch.setattr(journal.store, "make_durable", waited.append)
    with journal.store.transaction(is_durable=False):
        pass
    assert waited == []
    with journal.store.transaction():
        pass
    assert len(waited) == 1


def test_a_session_that_an_interrupt_left_by_half_is_not_known(journal, base):
    """Its registration is rolled back by whoever asks."""
    store, half = journal.store, journal.session("half")
    store.begin()
    store.open_chain(store.cursor, "half")
    store._inside = False  # as an interrupt may leave it
    store.ticket.give_back()
    store.lock.release()

    assert not half.exists
    assert base.exists
    assert audit(journal.path).verdict == "ok, not anchored"


# --- what is current


def test_what_is_known_is_current_until_somebody_else_commits(base, journal, open_journal):
    """Its own commits are known; and inside a transaction or a snapshot the answer is to take a snapshot."""
    store = journal.store
    base.append(LINE)
    assert store.is_current()
    open_journal().session(KEY, writer="other", role="tool").append(LINE)
    assert not store.is_current()
    with store.snapshot():
        assert not store.is_current()
    assert store.is_current()
    with store.transaction():
        assert not store.is_current()
    journal.close()
    with pytest.raises(StorageError):
        store.is_current()

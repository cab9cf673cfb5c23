"""Set G: what users' reports demand at run time. ``test_g1_…`` plays G1.

| played | left out, and why |
|---|---|
| 1 2 3 4 6 7 13 14 19 23 26 27 29 30 34 | in ``test_set_g_turns.py`` and ``test_set_g_load.py``; 5, 17, 25: nowhere yet |
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from journal import ClaimedError, SessionTakeover, StorageError, Superseded
from journal.pins import CAN_PIN
from tests.thieves import KEY, raw

REPLY = {"type": "message", "id": "reply", "message": {"role": "assistant", "content": "done"}}
USER = {"type": "message", "id": "u2", "message": {"role": "user", "content": "And the fence?"}}


def bodies(session):
    return [entry.json() for entry in session.read()]


def python(script: str, *arguments: object, expect: int = 0) -> str:
    """Run a script in a process of its own; give its output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "way", ["append", "extend", "fence.append of another fence", "claim", "batch"]
)
def test_g1_an_own_append_never_absorbs_a_foreign_row(base, journal, thief, way):
    """Whatever the run itself writes after it, the foreign row is named, and the reply is not written."""
    fence = base.fence()
    external = thief.insert_copy()
    if way == "append":
        base.append({"own": 1})
    elif way == "extend":
        base.extend([{"own": 1}, {"own": 2}])
    elif way == "fence.append of another fence":
        base.fence().append({"own": 1})
    elif way == "claim":
        base.claim().release()
    else:
        with journal.batch() as batch:
            batch.append(base, {"own": 1})

    for _ in range(2):
        with pytest.raises(SessionTakeover) as caught:
            fence.append(REPLY)
        assert [entry.seq for entry in caught.value.entries] == [external]
    assert REPLY not in bodies(base)


def test_g2_a_second_user_message_during_a_long_call(base, journal):
    """It is stored, the reply persists after it, and no message is deleted."""
    ingress = journal.session(KEY, writer="telegram", role="channel")
    with base.fence() as fence:
        ingress.append(USER)
        fence.append(REPLY)

    assert bodies(base) == [{"type": "session"}, USER, REPLY]
    assert [entry.writer for entry in fence.arrived] == ["telegram"]


def test_g3_listing_and_reading_have_no_effect(base, thief, open_journal):
    """Another client lists sessions and reads history: no row of any table changes, nothing arrives."""
    fence = base.fence()
    before = thief.dump()

    with open_journal() as other:
        assert [info.key for info in other.sessions()] == [KEY]
        assert other.writers()
        reader = other.session(KEY)
        assert len(reader.read()) == len(list(reader)) == 1
        assert reader.head.seq == 1
        assert reader.parked() == []
        assert reader.exists
        assert reader.fence().check().accepted

    assert thief.dump() == before
    assert fence.check().arrived == ()


@pytest.mark.parametrize("policy", ["cotenant", "strict"])
def test_g4_the_runtime_writes_an_empty_assistant_row_during_a_long_stream(base, policy):
    """The run's own instance may write what it likes, under both policies."""
    fence = base.fence(policy=policy)
    base.append({"type": "message", "message": {"role": "assistant", "content": [], "usage": {}}})

    fence.append(REPLY)
    assert fence.check().accepted


def test_g6_one_run_through_two_lanes(base, journal, told):
    """Both lanes write rows of the same run id: accepted."""
    lanes = [
        journal.session(KEY, writer=name, role="run", run_id="run-1") for name in ("main", "side")
    ]
    fences = [lane.fence() for lane in lanes]

    for number, fence in enumerate(fences * 3):
        fence.append({"n": number})

    assert {entry.run_id for entry in base.read(after=1)} == {"run-1"}
    assert len(bodies(base)) == 7
    assert told == []


def test_g6_a_failure_in_two_lanes_is_told_once_for_each_fence(base, journal, thief, told):
    """The same takeover checked again is raised again, and stored once."""
    fence = base.fence()
    thief.insert_copy()

    verdicts = [fence.check(raise_=False) for _ in range(5)]

    assert len({verdict.id for verdict in verdicts}) == 1
    assert thief.count("verdicts") == 1


def test_g7_many_sub_agents_announce_into_the_parents_session(base, journal):
    """All are accepted, in one check, and the parent goes on without a retry."""
    fence = base.fence()
    for number in range(40):
        child = journal.session(
            KEY, writer=f"child-{number}", role="subagent", on_behalf_of="parent"
        )
        child.append({"type": "custom", "customType": "announce", "n": number})

    fence.append(REPLY)

    assert [entry.json()["n"] for entry in fence.arrived] == list(range(40))
    assert {entry.on_behalf_of for entry in fence.arrived} == {"parent"}


@pytest.mark.parametrize("write", ["append", "extend", "fence.append", "batch"])
def test_g13_a_superseded_runs_late_write(base, journal, thief, write):
    """Refused inside the transaction, the row absent, the line kept."""
    turn = base.claim()
    fence = turn.fence()
    successor = base.claim(supersede="a new message")
    rows = thief.count("entries")

    def late() -> None:
        if write == "batch":
            with journal.batch() as batch:
                batch.append(turn, REPLY)
        else:
            {
                "append": turn.append,
                "extend": lambda x: turn.extend([x]),
                "fence.append": fence.append,
            }[write](REPLY)

    with pytest.raises(Superseded) as caught:
        late()

    assert "a new message" in str(caught.value)
    assert thief.count("entries") == rows
    (parked,) = successor.parked()
    assert parked.id == caught.value.parked
    assert json.loads(parked.lines[0]) == REPLY
    successor.append(REPLY)


def test_g14_a_claim_that_fails_to_commit(base, journal, open_journal):
    """The incumbent stays authoritative and running, for every process."""
    turn = base.claim()
    whole, journal.store.cursor = journal.store.cursor, NoCommit(journal.store.cursor)

    with pytest.raises(OSError, match="no space"):
        journal.session(KEY, writer="successor", role="run").claim(supersede="a new message")

    journal.store.cursor = whole
    assert turn.stands
    assert turn.append(REPLY).claim == turn.token
    with pytest.raises(ClaimedError, match="gateway"):
        open_journal().session(KEY, writer="successor", role="run").append(REPLY)


class NoCommit:
    """A cursor on a disk that is full whenever something is to be committed."""

    def __init__(self, cursor) -> None:
        self._cursor = cursor

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    def execute(self, statement, *values):
        if statement == "COMMIT":
            raise OSError("no space")
        return self._cursor.execute(statement, *values)


def ask_the_model(session, meanwhile) -> None:
    with session.fence():
        meanwhile()
        raise ConnectionError("overloaded")


def test_g19_the_real_failure_is_what_is_reported(base, thief):
    """A model call that failed is the error; that the session was taken over meanwhile is its note."""
    with pytest.raises(ConnectionError, match="overloaded") as caught:
        ask_the_model(base, thief.insert_copy)

    external = base.head.seq + 1
    (note,) = caught.value.__notes__
    assert "takeover" in note
    assert f"seq {external}" in note


def test_g23_one_inbound_through_two_writers_with_one_idempotency_key(base, journal):
    """One row: the second writer gets the first one's entry."""
    recorder = journal.session(KEY, writer="recorder", role="channel")

    first = recorder.append(USER, request_id="telegram:1")
    second = base.append(USER, request_id="telegram:1")

    assert second.seq == first.seq
    assert second.writer == "recorder"
    assert len(bodies(base)) == 2
    assert base.append(USER).seq != base.append(USER).seq  # without a key nothing is unique


def test_g26_an_id_that_stands_already_further_back(base, open_journal):
    """With only the tail in memory no id can collide: an entry is known by its seq."""
    first = base.append(USER)
    base.extend({"type": "custom", "n": number} for number in range(50))
    other = open_journal().session(KEY, writer="c2", role="run")
    assert len(other.read(limit=1, newest=True)) == 1

    second = other.append(USER)

    assert second.seq == first.seq + 51
    assert [entry.seq for entry in base.read() if entry.json().get("id") == "u2"] == [
        first.seq,
        second.seq,
    ]


def test_g27_a_crash_between_two_rows_of_one_write(base, journal, thief):
    """Both or neither."""
    base.extend([{"n": 1}, {"n": 2}])
    before = thief.dump()
    cursor, connection = journal.store.cursor, journal.store._raw.driver_connection
    left = 3

    def interrupt() -> int:
        nonlocal left
        left -= 1
        return int(left < 0)

    connection.set_progress_handler(interrupt, 20)
    with pytest.raises(StorageError):
        base.extend([{"n": 3}, {"n": 4}])
    connection.set_progress_handler(None, 0)

    assert not connection.in_transaction
    assert thief.dump() == before
    base.extend([{"n": 3}, {"n": 4}])
    assert [body.get("n") for body in bodies(base)] == [None, 1, 2, 3, 4]
    assert cursor is journal.store.cursor


def test_g29_another_connection_of_this_process_drops_no_lock(
    journal, base, journal_path, tmp_path
):
    """A backup, a check and a reader come and go inside our transaction; another process still waits."""
    try_to_write = """
        import sys
        from journal.engine import driver
        c = driver().connect(sys.argv[1], isolation_level=None, timeout=0)
        try:
            c.execute("BEGIN IMMEDIATE")
            print("got the lock")
        except driver().OperationalError as error:
            print(error.sqlite_errorname)
    """
    with journal.store.transaction():
        for _ in range(3):
            other = raw(journal_path)
            backup = raw(tmp_path / "backup.db")
            other.backup(backup)
            assert other.execute("PRAGMA quick_check").fetchone() == ("ok",)
            backup.close()
            other.close()
        assert python(try_to_write, journal_path).strip().startswith("SQLITE_BUSY")
    assert python(try_to_write, journal_path).strip() == "got the lock"


def test_g29_we_never_open_the_databases_files_ourselves(tmp_path):
    """But for the pins: from creation to close, the database and its -shm once each, never the -wal.

    Nothing of the two is closed before SQLite has closed them (tests/test_guards.py).
    """
    script = """
        import sys
        path, opened = sys.argv[1], []
        ours = {path, path + "-wal", path + "-shm"}
        sys.addaudithook(
            lambda event, args: opened.append(args[0])
            if event == "open" and str(args[0]) in ours else None
        )
        from journal import Journal, schema
        from journal.schema import version_of
        with Journal(path) as journal:
            run = journal.session("s", writer="gateway", role="run")
            with run.fence() as fence:
                fence.append({"n": 1})
            with run.claim() as turn:
                turn.append({"n": 2})
            run.read(), journal.sessions(), journal.writers(), version_of(path)
            with Journal(path) as other:
                other.session("s").read()
            schema.restore(path)
        with open(path, "rb"):
            pass
        print([name[len(path):] for name in opened])
    """
    # The last one is the script's own, to see that the hook sees.
    told = python(script, tmp_path / "agent.db").strip()
    assert told == ("['', '-shm', '']" if CAN_PIN else "['']")


KILLED = """
    import os, signal, sys
    from journal import Journal
    from journal.store import Store
    journal = Journal(sys.argv[1])
    run = journal.session("s", writer="gateway", role="run")
    for number in range(5):
        print(run.append({"n": number}).seq, flush=True)
    where = sys.argv[2]
    if where == "before COMMIT":
        Store.commit = lambda self, ride: os.kill(os.getpid(), signal.SIGKILL)
    else:
        commit = Store.commit
        def after(self, ride):
            commit(self, ride)
            os.kill(os.getpid(), signal.SIGKILL)
        Store.commit = after
    run.extend([{"n": "a"}, {"n": "b"}])
"""


@pytest.mark.parametrize("where", ["before COMMIT", "after COMMIT"])
def test_g30_killed_in_mid_commit(journal_path, open_journal, where):
    """After the next open the whole transaction is there or none of it, and nothing acknowledged is lost."""
    acknowledged = python(KILLED, journal_path, where, expect=-signal.SIGKILL).split()

    session = open_journal().session("s", writer="gateway", role="run")

    found = [entry.json()["n"] for entry in session.read()]
    assert [str(entry.seq) for entry in session.read()][:5] == acknowledged
    assert found == [0, 1, 2, 3, 4] + (["a", "b"] if where == "after COMMIT" else [])
    assert session.read().stepped_over == ()
    fence = session.fence()
    assert session.append({"n": "next"}).epoch == session.head.epoch
    assert fence.check().accepted


def test_g34_a_refused_write_says_who_what_was_expected_and_found(base, journal):
    """The parked write keeps both claims and epochs, the error names the holder's process."""
    turn = base.claim()
    base.claim(supersede="a new message")

    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)

    (parked,) = base.parked()
    assert (parked.claim_expected, parked.claim_found) == (turn.token, turn.token + 1)
    assert (parked.reason, parked.writer, parked.epoch_found) == (
        "superseded",
        "gateway",
        turn.token + 1,
    )
    assert f"pid {os.getpid()}" in str(caught.value)

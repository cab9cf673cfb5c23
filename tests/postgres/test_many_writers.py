"""Many processes, and what is left where one of them, or the server, dies."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, StorageError, serverstore
from journal.audit import audit
from journal.dialects import catalog, postgres
from tests.postgres.writing import append_many, append_until_killed, started
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import Server


def broken(url: str) -> list[Any]:
    return [each for each in audit(url).findings if each.severity == "broken"]


@pytest.fixture
def journal(journal_path: str) -> Iterator[Journal]:
    with Journal(journal_path) as journal:
        yield journal


def test_eight_processes_append_to_one_session_and_nothing_is_lost(
    journal: Journal, journal_path: str
) -> None:
    """Seqs and epochs have no gaps, and each acknowledged line is there once."""
    names = [f"w{number}" for number in range(8)]
    processes = [started(append_many, journal_path, name, 25) for name in names]
    for _, pipe in processes:
        assert pipe.recv() == "ready"
    for _, pipe in processes:
        pipe.send("go")
    acknowledged = sorted(place for _, pipe in processes for place in pipe.recv())
    for process, _ in processes:
        process.join(60)
    assert acknowledged == [(n, n) for n in range(1, 201)]
    entries = journal.session(KEY).read()
    assert [(entry.seq, entry.epoch) for entry in entries] == acknowledged
    for name in names:
        own = [entry.json()["n"] for entry in entries if entry.writer == name]
        assert own == list(range(25))
    assert broken(journal_path) == []


def test_threads_of_one_journal_share_commits_beside_another_process(
    journal: Journal, journal_path: str
) -> None:
    process, pipe = started(append_many, journal_path, "beside", 30)
    assert pipe.recv() == "ready"
    session = journal.session(KEY, writer="threads", role="channel")
    pipe.send("go")
    threads = [
        threading.Thread(target=lambda: [session.append({"n": n}) for n in range(10)])
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(pipe.recv()) == 30
    process.join(60)
    assert [entry.seq for entry in journal.session(KEY).read()] == list(range(1, 91))
    assert broken(journal_path) == []


def test_a_killed_writer_leaves_whole_writes_only(journal: Journal, journal_path: str) -> None:
    """Kill -9 in the midst: what was acknowledged is there, and the session goes on."""
    session = journal.session(KEY, writer="heartbeat", role="heartbeat")
    for number in range(3):
        process, pipe = started(append_until_killed, journal_path, f"w{number}")
        said = [pipe.recv() for _ in range(10)]
        process.kill()
        process.join(60)
        while pipe.poll():
            try:
                said.append(pipe.recv())
            except EOFError:
                break
        mine = {e.json()["n"]: e.seq for e in session.read() if e.writer == f"w{number}"}
        assert {n: mine.get(n) for n, _ in said} == dict(said)
        assert len(mine) <= len(said) + 1
        session.append({"beat": number})
    seqs = [entry.seq for entry in session.read()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert broken(journal_path) == []


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_restarted_in_the_midst_writes_each_line_once(
    journal: Journal, journal_path: str, server: Server, mode: str
) -> None:
    """The journal waits for the server; no line is lost, and none is there twice."""
    session = journal.session(KEY, writer="gateway", role="run")
    made: list[int] = []

    def append() -> None:
        for n in range(120):
            made.append(session.append({"n": n}, request_id=f"r{n}").seq)
            time.sleep(0.01)

    thread = threading.Thread(target=append)
    thread.start()
    while len(made) < 20:
        time.sleep(0.01)
    server.stop(mode)
    time.sleep(0.3)
    server.start()
    thread.join(90)
    assert made == list(range(1, 121))
    assert [entry.json()["n"] for entry in session.read()] == list(range(120))
    assert broken(journal_path) == []


def test_a_block_waits_for_the_server_too(journal: Journal, server: Server) -> None:
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 1})
    server.stop()
    threading.Timer(0.5, server.start).start()
    with session.claim() as turn:
        turn.append({"n": 2})
    assert [entry.seq for entry in session.read()] == [1, 3]


def test_a_reader_waits_for_the_server_too(journal: Journal, server: Server) -> None:
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 1})
    server.stop()
    threading.Timer(0.5, server.start).start()
    fence = session.fence()
    assert [entry.seq for entry in session.read()] == [1]
    assert fence.check().accepted


def test_a_reader_who_waited_for_another_reader_has_waited_for_the_server(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or sixteen threads would wait one after the other, each for the whole time-out."""
    waits: list[float] = []
    clock = iter((0.0, 31.0))

    def noted(work: Any, wait_s: float, _: Any) -> None:
        waits.append(wait_s)
        work()

    monkeypatch.setattr(serverstore, "patiently", noted)
    monkeypatch.setattr(serverstore, "time", SimpleNamespace(monotonic=clock.__next__))
    with journal.store.snapshot():
        pass
    assert waits == [0]


def test_a_connection_lost_while_a_journal_is_looked_for_is_told(
    journal_path: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an error of the journal's own, not of the driver's."""

    def cut(connection: Any, *_: Any, **__: Any) -> None:
        with server.connect() as owner:
            owner.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")

    monkeypatch.setattr(catalog, "check_server", cut)
    with pytest.raises(StorageError) as caught:
        Journal(journal_path)
    assert caught.value.code == "server-gone"


class Cut:
    """A cursor whose next COMMIT is answered by nobody: it was done, or it never came to the server."""

    def __init__(self, store: Any, *, is_done: bool) -> None:
        self._store, self._cursor, self._is_done = store, store.cursor, is_done

    def execute(self, statement: str, values: Any = ()) -> Any:
        if statement != "COMMIT":
            return self._cursor.execute(statement, values)
        if self._is_done:
            self._cursor.execute(statement)
        self._store._raw.close()
        raise postgres.driver().OperationalError("the connection was lost")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def test_a_claim_whose_answer_was_lost_stands(journal: Journal) -> None:
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 1})
    journal.store.cursor = Cut(journal.store, is_done=True)
    with session.claim() as turn:
        turn.append({"n": 2})


def test_an_input_whose_answer_was_lost_is_not_said_to_be_gone(journal: Journal) -> None:
    """No head tells of it, and without a request id nothing would tell it from a second one."""
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 1})
    journal.store.cursor = Cut(journal.store, is_done=True)
    with pytest.raises(StorageError) as caught:
        session.submit({"n": 2})
    assert caught.value.code == "outcome-unknown"
    assert len(session.inputs()) == 1


@pytest.mark.parametrize("is_done", [True, False])
def test_a_new_session_whose_answer_was_lost_is_there_once(
    journal: Journal, journal_path: str, is_done: object
) -> None:
    """The first append to a session is a transaction that looks first; its commit is found out too."""
    journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    session = journal.session("other", writer="gateway", role="run")
    journal.store.cursor = Cut(journal.store, is_done=bool(is_done))
    assert session.append({"n": 2}).seq == 1
    assert [entry.json() for entry in session.read()] == [{"n": 2}]
    assert broken(journal_path) == []


def test_a_server_that_stays_away_is_told_within_the_time_out(
    journal_path: str, server: Server
) -> None:
    with Journal(journal_path, busy_timeout=1) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        server.stop()
        try:
            began = time.monotonic()
            with pytest.raises(StorageError) as caught:
                session.append({"n": 2})
            assert caught.value.code == "server-gone"
            assert time.monotonic() - began < 10
        finally:
            server.start()
        session.append({"n": 2})
        assert [entry.json() for entry in session.read()] == [{"n": 1}, {"n": 2}]

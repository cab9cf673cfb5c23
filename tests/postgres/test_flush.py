"""A plain write goes to the server at once; what it took for known is a condition of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from journal import BusyError, Journal, NotTrusted, StorageError
from journal.admission import Put, put
from journal.audit import audit
from journal.dialects.flush import Flush, UnforeseenError
from journal.parts import encode_lines
from journal.rides import Queued, Ride
from tests.thieves import KEY, Thief, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.proxy import Proxy
    from tests.postgres.server import Server

WARM = 8  # the driver prepares a statement at its sixth use


@pytest.fixture
def journal(proxy: Proxy, journal_path: str) -> Iterator[Journal]:
    with Journal(proxy.url(journal_path), busy_timeout=10) as journal:
        yield journal


@pytest.fixture
def gateway(journal: Journal) -> Any:
    gateway = journal.session(KEY, writer="gateway", role="run")
    for n in range(WARM):
        gateway.append({"n": n}, request_id=f"warm{n}")
    return gateway


@pytest.fixture
def thief(gateway: Any, journal_path: str) -> Iterator[Thief]:
    thief = thief_at(journal_path)
    yield thief
    thief.close()


def numbers(session: Any) -> list[Any]:
    return [entry.json()["n"] for entry in session.read()][WARM:]


def test_an_append_is_one_round_trip(gateway: Any, proxy: Proxy) -> None:
    before = proxy.trips
    for n in range(10):
        gateway.append({"n": n})
    gateway.append({"n": 10}, request_id="r")
    assert proxy.trips - before == 11


def test_several_lines_are_two_round_trips(gateway: Any, proxy: Proxy) -> None:
    for n in range(WARM):
        gateway.extend([{"n": n}, {"n": n}])
    before = proxy.trips
    made = gateway.extend([{"n": n} for n in range(5)])
    assert len({entry.epoch for entry in made}) == 1
    assert proxy.trips - before == 2


def test_a_request_is_written_once(gateway: Any) -> None:
    made = gateway.append({"n": 1}, request_id="r")
    assert gateway.append({"n": 1}, request_id="r").seq == made.seq
    assert numbers(gateway) == [1]


def test_threads_share_one_transaction(journal: Journal, gateway: Any, server: Server) -> None:
    """Those who come while another is under way are committed together."""
    schema = journal.store.address.schema  # type: ignore[attr-defined]
    holding = server.connect()
    holding.execute(f"BEGIN; SELECT 1 FROM {schema}.sessions WHERE id > 1 FOR UPDATE")
    sessions = [gateway, journal.session("other", writer="gateway", role="run")]
    threads = [threading.Thread(target=sessions[n % 2].append, args=({"n": n},)) for n in range(8)]
    for thread in threads:
        thread.start()
    while len(journal.store.group._queue) < 7:
        time.sleep(0.01)
    holding.execute("ROLLBACK")
    for thread in threads:
        thread.join(30)
    made = holding.execute(
        f"SELECT count(*), count(DISTINCT xmin::text) FROM {schema}.entries "
        f"WHERE session_id > 1 AND (session_id > 2 OR seq > {WARM})"
    )
    count, transactions = made.fetchone()
    holding.close()
    assert count == 8
    assert transactions <= 3


class Watched:
    """Sees what becomes of a store's flushes."""

    def __init__(self, store: Any) -> None:
        self.ends: list[str] = []
        self._send = store._send
        store._send = self.send

    def send(self, flush: Any) -> None:
        try:
            self._send(flush)
        except Exception as error:
            self.ends.append(type(error).__name__)
            raise
        self.ends.append("sent")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET head_seq = head_seq + 1 WHERE id > 1",
        "UPDATE sessions SET head_epoch = head_epoch + 1 WHERE id > 1",
        "UPDATE sessions SET cum_bytes = cum_bytes + 1 WHERE id > 1",
        "UPDATE sessions SET key = 'x' WHERE id > 1",
        "DELETE FROM sessions WHERE id > 1",
        f"UPDATE entries SET seal = 'x' WHERE session_id > 1 AND seq = {WARM}",
        f"DELETE FROM entries WHERE session_id > 1 AND seq = {WARM}",
        f"UPDATE entries SET seq = 0 WHERE session_id > 1 AND seq = {WARM - 1}",
        f"UPDATE entries SET seq = 99 WHERE session_id > 1 AND seq = {WARM - 1}",
        (
            f"UPDATE entries SET seq = 99, seal = (SELECT seal FROM entries e WHERE e.session_id > 1 AND e.seq = {WARM}) "
            f"WHERE session_id > 1 AND seq = {WARM - 1}"
        ),
        f"UPDATE entries SET request_id = 'r' WHERE session_id > 1 AND seq = {WARM - 1}",
        "UPDATE entries SET seq = 99 WHERE session_id = 1 AND seq = 1",
    ],
)
def test_a_flush_holds_only_where_all_is_as_it_was(
    journal: Journal, gateway: Any, thief: Thief, statement: str
) -> None:
    """What the slow way would have seen, the quick one does not write over."""
    watched = Watched(journal.store)
    gateway.append({"n": 1}, request_id="q")
    assert watched.ends == ["sent"]
    before = thief.count("entries")
    with thief.without_triggers():
        thief.execute(statement.replace(str(WARM), str(WARM + 1)))
    store: Any = journal.store
    store.flushes = True
    lines = encode_lines([{"n": 2}])
    with pytest.raises(UnforeseenError):
        store.group._attempt(lambda cursor: put(cursor, gateway, lines, "r"), Ride())
    store.flushes = False
    assert watched.ends == ["sent", "UnforeseenError"]
    assert thief.count("entries") == before - ("DELETE FROM entries" in statement)


def test_a_statement_that_was_let_go_is_prepared_anew(journal: Journal, gateway: Any) -> None:
    """The driver lets go of all of a connection's, with its own, after some rollbacks."""
    watched = Watched(journal.store)
    journal.store._raw.execute("DEALLOCATE ALL")
    for n in range(10):
        gateway.append({"n": n})
    assert watched.ends[-1] == "sent"
    assert watched.ends.count("InvalidSqlStatementName") == 1
    assert numbers(gateway) == list(range(10))


def test_what_a_lost_connection_held_is_let_go_by_the_next(
    journal: Journal, gateway: Any, proxy: Proxy
) -> None:
    """The server does not see that its client is gone, and the heads would be held for hours."""

    def lose() -> None:
        with journal.store.transaction() as cursor:
            proxy.cut = "both"
            while True:  # what is under way at that moment may come through
                cursor.execute("SELECT 1")

    with pytest.raises(StorageError) as caught:
        lose()
    assert caught.value.code == "server-gone"
    assert len(proxy.kept) == 1
    gateway.append({"n": 1})
    with gateway.claim() as turn:
        turn.append({"n": 2})
    assert numbers(gateway) == [1, 2]


def test_who_waited_for_the_heads_in_vain_waits_once(
    journal_path: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the time-out, and not once for each way in which a write can be sent."""
    with Journal(journal_path, busy_timeout=0.2) as journal, server.connect() as holding:
        gateway = journal.session(KEY, writer="gateway", role="run")
        gateway.append({"n": 1})
        watched, store = Watched(journal.store), journal.store
        monkeypatch.setattr(store, "_start_alike", lambda: watched.ends.append("looked"))
        holding.execute(f"BEGIN; LOCK TABLE {store.address.schema}.sessions")  # type: ignore[attr-defined]
        with pytest.raises(BusyError):
            gateway.append({"n": 2})
        holding.execute("ROLLBACK")
    assert watched.ends == ["LockNotAvailable"]


def test_a_revocation_elsewhere_stops_the_next_flush(gateway: Any, journal_path: str) -> None:
    with Journal(journal_path) as other:
        other.revoke("gateway", "left")
    with pytest.raises(NotTrusted):
        gateway.append({"n": 1})


def test_a_line_that_was_begun_before_a_revocation_is_refused(
    journal: Journal, gateway: Any, journal_path: str
) -> None:
    """It has looked; and would be acknowledged after whoever revoked its writer was told that nothing more is."""
    lines, revoked = encode_lines([{"n": 1}]), list[str]()

    def work(cursor: Any) -> Any:
        if isinstance(cursor, Flush):
            raise UnforeseenError
        if not revoked:
            with Journal(journal_path) as other:
                revoked.append(other.revoke("gateway", "left").name)
        return put(cursor, gateway, lines, None)

    with pytest.raises(NotTrusted):
        journal.store.group.write(work)
    assert (revoked, numbers(gateway)) == (["gateway"], [])
    assert audit(journal_path).findings == ()


def test_a_line_that_waits_for_a_revocation_is_refused(
    gateway: Any, journal_path: str, server: Server
) -> None:
    """Its statement has chosen what it sees before it waits."""
    told: list[str] = []

    def write() -> None:
        try:
            gateway.append({"n": 1})
        except NotTrusted as error:
            told.append(error.code)

    writing = threading.Thread(target=write)
    with Journal(journal_path) as other, server.connect() as asking:
        store: Any = other.store
        commit, table = store._commit_there, f"{store.address.schema}.sessions"
        waits = f"SELECT 1 FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"

        def commit_once_it_waits() -> None:
            writing.start()
            while asking.execute(waits).fetchone() is None:
                time.sleep(0.01)
            commit()

        store._commit_there = commit_once_it_waits
        other.revoke("gateway", "left")
    writing.join(30)
    assert (told, numbers(gateway)) == (["revoked"], [])
    assert audit(journal_path).findings == ()


def test_an_error_is_told_by_a_transaction_alone(journal: Journal, gateway: Any) -> None:
    """What is wrong for all that is known here may have become right elsewhere."""
    lines = encode_lines([{"n": 1}])

    def work(cursor: Any) -> Any:
        if isinstance(cursor, Flush):
            raise NotTrusted("as far as is known here")
        return put(cursor, gateway, lines, None)

    journal.store.group.write(work)
    assert numbers(gateway) == [1]


def test_a_server_that_went_away_before_is_no_unknown_outcome(
    server: Server, journal_path: str
) -> None:
    """Nothing was sent, for the end of the connection was seen first."""
    with Journal(journal_path, busy_timeout=1) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        server.connect().execute(
            "SELECT pg_terminate_backend(%s, 5000)", (journal.store._raw.info.backend_pid,)
        ).connection.close()
        watched = Watched(journal.store)
        session.append({"n": 2})
        assert watched.ends == []
        session.append({"n": 3})
        assert watched.ends == ["sent"]


@pytest.mark.parametrize("request_id", ["r", None])
@pytest.mark.parametrize("cut", ["request", "answer", "both"])
def test_a_flush_whose_answer_was_lost_is_found_out(
    gateway: Any, proxy: Proxy, journal_path: str, cut: str, request_id: str | None
) -> None:
    """Whether it came to the server or not, the line is there once."""
    proxy.cut = cut
    made = gateway.append({"n": 1}, request_id=request_id)
    assert made.seq == WARM + 1
    assert gateway.append({"n": 2}).seq == WARM + 2
    assert numbers(gateway) == [1, 2]
    assert [each for each in audit(journal_path).findings if each.severity == "broken"] == []


@pytest.mark.parametrize("cut", ["request", "answer", "both"])
def test_several_lines_whose_answer_was_lost_are_there_once(
    gateway: Any, proxy: Proxy, cut: str
) -> None:
    proxy.cut = cut
    gateway.extend([{"n": 1}, {"n": 2}])
    gateway.append({"n": 3})
    assert numbers(gateway) == [1, 2, 3]


def test_a_statement_that_comes_late_is_seen_to_its_end(
    journal: Journal, gateway: Any, proxy: Proxy, server: Server
) -> None:
    """The lost connection's process is held up; it may not write once nobody waits for it."""
    store: Any = journal.store
    ghost, look = store._raw.info.backend_pid, store._has_entries
    asking = server.connect()
    has_looked = threading.Event()

    is_over = (
        "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s) OR EXISTS ("
        f"SELECT FROM {store.address.schema}.entries WHERE session_id > 1 AND seq > {WARM})"
    )

    def look_and_let_go(moved: Any, deadline: float) -> bool:
        found: bool = look(moved, deadline)
        has_looked.set()
        while not asking.execute(is_over, (ghost,)).fetchone()[0]:
            time.sleep(0.01)
        return found

    def let_go() -> None:
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        with server.connect() as own:
            while not has_looked.is_set() and own.execute(waiting).fetchone() is None:
                time.sleep(0.01)
        os.kill(ghost, signal.SIGCONT)

    store._has_entries = look_and_let_go
    os.kill(ghost, signal.SIGSTOP)
    helper = threading.Thread(target=let_go)
    helper.start()
    proxy.cut = "both"
    try:
        gateway.append({"n": 1})
    finally:
        has_looked.set()
        helper.join(30)
        asking.close()
    assert numbers(gateway) == [1]


def test_an_outcome_that_nobody_can_tell_is_said_and_not_guessed(
    proxy: Proxy, journal_path: str
) -> None:
    """The server is out of reach from the lost answer on; the same request writes once all the same."""
    with Journal(proxy.url(journal_path), busy_timeout=1) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        proxy.close()
        proxy.cut = "answer"
        with pytest.raises(StorageError) as caught:
            session.append({"n": 2}, request_id="r")
        assert caught.value.code == "outcome-unknown"
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 2}, request_id="r")
        assert [entry.json() for entry in session.read()] == [{"n": 1}, {"n": 2}]


def test_an_interrupt_while_a_flush_is_under_way_is_settled(journal: Journal, gateway: Any) -> None:
    """Ctrl-C once the line was written: the error comes up, and the line is known."""
    store: Any = journal.store
    send = store._send

    def written_and_interrupted(flush: Any) -> None:
        send(flush)
        raise KeyboardInterrupt

    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    for number, broken in ((1, written_and_interrupted), (3, interrupted)):
        store._send = broken
        with pytest.raises(KeyboardInterrupt):
            gateway.append({"n": number})
        store._send = send
        gateway.append({"n": number + 1})
    assert gateway.head.seq == WARM + 3
    assert numbers(gateway) == [1, 2, 4]


def test_an_interrupted_commit_is_unknown_to_those_who_ride_along(
    journal: Journal, gateway: Any
) -> None:
    """Nobody waited for its answer: they are not told that it is kept, and it is not run again."""
    store: Any = journal.store
    group, commit = store.group, store._commit_there
    riding = Queued(Put(gateway, encode_lines([{"n": 2}]), None), SimpleQueue())

    def interrupted() -> None:
        store._commit_there = commit
        commit()
        raise KeyboardInterrupt

    store._commit_there = interrupted
    group._queue.append(riding)
    with pytest.raises(KeyboardInterrupt):
        gateway.append({"n": 1})

    assert getattr(riding.error, "code", None) == "outcome-unknown"
    assert not group._queue
    assert gateway.append({"n": 3}).seq == WARM + 3
    assert numbers(gateway) == [1, 2, 3]

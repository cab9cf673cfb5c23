"""Who met others at a session's head takes its turn there: one look, one write, and no race."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, NotTrusted
from journal.admission import Put
from journal.audit import audit
from journal.dialects import queueing
from journal.lines import parse
from journal.parts import encode_lines
from journal.rides import Queued
from tests.postgres.test_flush import Watched
from tests.thieves import KEY, Thief, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.proxy import Proxy
    from tests.postgres.server import Server

WARM = 3


@pytest.fixture
def journal(proxy: Proxy, journal_path: str) -> Iterator[Journal]:
    with Journal(proxy.url(journal_path), busy_timeout=10) as journal:
        yield journal


@pytest.fixture
def gateway(journal: Journal) -> Any:
    """A session that has met others: its next writes stand in the queue."""
    gateway = journal.session(KEY, writer="gateway", role="run")
    for n in range(WARM):
        gateway.append({"n": n})
        stand_in_turn(gateway)
    return gateway


@pytest.fixture
def other(gateway: Any, journal_path: str) -> Iterator[Any]:
    """The same session, in another journal; the one knows of the other's writer."""
    with Journal(journal_path) as journal:
        other = journal.session(KEY, writer="other", role="run")
        other.append({"n": WARM})
        gateway.append({"n": WARM + 1})
        other.append({"n": WARM + 2})
        yield other


@pytest.fixture
def thief(other: Any, journal_path: str) -> Iterator[Thief]:
    del other
    thief = thief_at(journal_path)
    yield thief
    thief.close()


def stand_in_turn(session: Any) -> None:
    session.store.group._turns = 8


def numbers(session: Any) -> list[Any]:
    return [entry.json()["n"] for entry in session.read()]


def is_whole(url: str) -> bool:
    return [each for each in audit(url).findings if each.severity == "broken"] == []


def test_who_meets_others_takes_its_turn_in_two_round_trips(
    gateway: Any, other: Any, proxy: Proxy, journal_path: str
) -> None:
    """The look comes with the turn, the commit with the write; nothing is sent in vain."""
    watched, before = Watched(gateway.store), proxy.trips
    for n in range(10):
        other.append({"n": n})
        gateway.append({"n": n})
    assert proxy.trips - before == 20
    assert watched.ends == ["sent"] * 10
    assert [entry.seq for entry in gateway.read()] == list(range(1, WARM + 24))
    assert is_whole(journal_path)


def test_who_meets_nobody_any_more_writes_at_once_again(gateway: Any, proxy: Proxy) -> None:
    for n in range(8):
        gateway.append({"n": n})
    before = proxy.trips
    gateway.append({"n": 8})
    assert proxy.trips - before == 1


def test_a_write_that_came_too_late_takes_its_turn(gateway: Any, other: Any) -> None:
    gateway.store.group._turns = 0
    watched = Watched(gateway.store)
    other.append({"n": 1})
    assert gateway.append({"n": 2}).seq == WARM + 5
    assert watched.ends == ["UnforeseenError", "sent"]


def test_a_look_that_lost_a_race_takes_its_turn(gateway: Any, other: Any) -> None:
    """What the look found of the registry is known then; it does not race again."""
    store = gateway.store
    watched, start = Watched(store), store._start_alike
    store.group._looks, other.store.group._turns = 1, 0

    def start_and_be_outrun() -> None:
        start()
        other.append({"n": 1})

    store._start_alike = start_and_be_outrun
    assert gateway.append({"n": 2}).seq == WARM + 5
    assert watched.ends == ["sent"]


def test_several_lines_take_one_turn(gateway: Any, other: Any, journal_path: str) -> None:
    watched = Watched(gateway.store)
    other.append({"n": 1})
    made = gateway.extend([{"n": 2}, {"n": 3}])
    assert [entry.seq for entry in made] == [WARM + 5, WARM + 6]
    assert watched.ends == ["sent"]
    assert is_whole(journal_path)


def waits(server: Server) -> bool:
    asked = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    with server.connect() as own:
        return bool(own.execute(asked).fetchone()[0])


def queue_of(session: Any) -> int:
    store = session.store
    return queueing.lock_of(store.address.schema, store.registry.session_ids[KEY])


def test_the_head_is_looked_at_once_the_turn_has_come(
    gateway: Any, other: Any, server: Server
) -> None:
    """What was written while it waited is known: the write is not sent in vain."""
    watched, holding = Watched(gateway.store), server.connect()
    holding.execute("SELECT pg_advisory_lock(%s)", (queue_of(gateway),))
    thread = threading.Thread(target=gateway.append, args=({"n": 2},))
    thread.start()
    while not waits(server):
        time.sleep(0.005)
    other.store.group._turns = 0
    other.append({"n": 1})
    holding.close()
    thread.join(30)
    assert watched.ends == ["sent"]
    assert numbers(gateway)[-2:] == [1, 2]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which each turn that is asked for is added."""
    stood, stand = [], queueing.stand

    def noting(*each: Any) -> Any:
        stood.append(each)
        return stand(*each)

    monkeypatch.setattr(queueing, "stand", noting)
    return stood


def test_of_two_sessions_in_one_commit_only_the_first_is_waited_for(
    journal: Journal, gateway: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits in two queues can be waited for in both."""
    side = journal.session("side", writer="gateway", role="run")
    side.append({"n": 1})
    stand_in_turn(gateway)
    other.append({"n": 1})
    stood, watched = noted(monkeypatch), Watched(gateway.store)
    riding = Queued(Put(side, encode_lines([{"n": 2}]), None), SimpleQueue())
    journal.store.group._queue.append(riding)
    gateway.append({"n": 2})
    assert (len(stood), watched.ends) == (1, ["sent"])
    assert numbers(side) == [1, 2]
    assert numbers(gateway)[-2:] == [1, 2]


def test_one_that_was_stopped_first_in_the_queue_stops_nobody(
    gateway: Any, other: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited in vain writes all the same, and does not wait there again."""
    monkeypatch.setattr(queueing, "LONGEST_MS", 50)
    holding = server.connect()
    holding.execute("SELECT pg_advisory_lock(%s)", (queue_of(gateway),))
    stood = noted(monkeypatch)
    other.store.group._turns = 0
    for n in range(3):
        other.append({"n": n})
        gateway.append({"n": n})
    holding.close()
    # Each of the two waited once at most.
    assert 1 <= len(stood) <= 2
    assert numbers(gateway)[-6:] == [0, 0, 1, 1, 2, 2]


def test_who_may_not_wait_for_long_goes_round_one_that_was_stopped(
    journal_path: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole time-out would be spent in the queue, and that of each further write."""
    monkeypatch.setattr(queueing, "LONGEST_MS", 3000)
    with Journal(journal_path, busy_timeout=2) as journal, server.connect() as holding:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        holding.execute("SELECT pg_advisory_lock(%s)", (queue_of(session),))
        stand_in_turn(session)
        session.append({"n": 2})
        assert numbers(session) == [1, 2]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET head_seq = head_seq + 1 WHERE id > 1",
        "UPDATE sessions SET key = 'x' WHERE id > 1",
        "DELETE FROM sessions WHERE id > 1",
        f"UPDATE entries SET seal = 'x' WHERE session_id > 1 AND seq = {WARM + 3}",
        f"UPDATE entries SET seal = 'x' WHERE session_id > 1 AND seq = {WARM + 2}",
        f"DELETE FROM entries WHERE session_id > 1 AND seq = {WARM + 3}",
        f"DELETE FROM entries WHERE session_id > 1 AND seq = {WARM + 2}",
        "UPDATE entries SET seq = 0 WHERE session_id > 1 AND seq = 1",
        f"UPDATE entries SET seq = 99 WHERE session_id > 1 AND seq = {WARM}",
        "UPDATE entries SET seq = 99 WHERE session_id = 1 AND seq = 1",
    ],
)
def test_what_is_not_plain_is_looked_at_in_full(gateway: Any, thief: Thief, statement: str) -> None:
    """The newest row is believed for its seal; the write's conditions see what else was done."""
    with thief.without_triggers():
        thief.execute(statement)
    before, watched = thief.count("entries"), Watched(gateway.store)
    gateway.append({"n": 1})
    assert "sent" not in watched.ends[:1]
    assert thief.count("entries") > before
    assert numbers(gateway)[-1] == 1


def test_a_line_end_that_another_left_out_is_written(gateway: Any, other: Any) -> None:
    other.store.group.write(Put(other, [parse(b'{"n":1}', b"")], None))
    watched = Watched(gateway.store)
    gateway.append({"n": 2})
    assert watched.ends == ["sent"]
    lines = b"".join(entry.data for entry in gateway.read())
    assert lines.endswith(b'{"n":1}\n{"n":2}\n')


def test_a_claim_of_another_is_seen(gateway: Any, other: Any, journal_path: str) -> None:
    """A control entry is no plain line: what it says is learned before anything is written."""
    with other.claim() as turn:
        turn.append({"n": 1})
    gateway.append({"n": 2})
    assert numbers(gateway)[-2:] == [1, 2]
    assert is_whole(journal_path)


def test_a_revocation_elsewhere_stops_a_write_in_turn(
    gateway: Any, other: Any, journal_path: str
) -> None:
    del other
    with Journal(journal_path) as journal:
        journal.revoke("gateway", "left")
    with pytest.raises(NotTrusted):
        gateway.append({"n": 1})


@pytest.mark.parametrize("cut", ["request", "answer", "both"])
@pytest.mark.parametrize("trip", [1, 2])
def test_a_turn_whose_answer_was_lost_is_found_out(
    gateway: Any, other: Any, proxy: Proxy, cut: str, trip: int
) -> None:
    """In the queue nothing was sent yet; behind it the line is there once, whatever became of the answer."""
    other.append({"n": 1})
    if trip == 1:
        proxy.cut = cut
    else:
        send = gateway.store._send

        def cut_and_send(flush: Any) -> None:
            proxy.cut, gateway.store._send = cut, send
            send(flush)

        gateway.store._send = cut_and_send
    assert gateway.append({"n": 2}).seq == WARM + 5
    assert gateway.append({"n": 3}).seq == WARM + 6
    assert numbers(gateway)[-3:] == [1, 2, 3]

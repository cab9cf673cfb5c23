"""Whoever follows a session on a server is woken by a notification, and costs nobody else anything."""

from __future__ import annotations

import errno
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, StorageError, serverchanges
from journal.changes import Following
from journal.dialects import notices
from journal.dialects.postgres import driver
from tests.thieves import KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import Server

NEVER: float = 3600


@pytest.fixture
def journal(journal_path: str) -> Iterator[Journal]:
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 0})
        yield journal


class Follower:
    """Follows a session in a thread."""

    def __init__(self, journal: Journal) -> None:
        self.seen: list[Any] = []
        self._changed = threading.Condition()
        self._tail = journal.session(KEY).tail(after=0)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with suppress(StorageError):  # the journal was closed
            self._read()

    def _read(self) -> None:
        for entry in self._tail:
            with self._changed:
                self.seen.append(entry.json()["n"])
                self._changed.notify_all()
            if entry.json()["n"] == "end":
                return

    def has(self, expected: list[Any], timeout_s: float = 30) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.seen == expected, timeout_s)

    def ended(self) -> bool:
        self._thread.join(30)
        return not self._thread.is_alive()


def test_a_follower_is_woken_by_notifications(
    journal: Journal, journal_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never looks by itself here; whatever way a write takes, it is told."""
    monkeypatch.setattr(serverchanges, "GLANCE_S", NEVER)
    follower = Follower(journal)
    assert follower.has([0])
    with Journal(journal_path) as other:
        cron = other.session(KEY, writer="cron", role="cron")
        cron.append({"n": 1})
        assert follower.has([0, 1])  # declared, in a transaction
        cron.append({"n": 2})
        assert follower.has([0, 1, 2])  # at once
        cron.extend([{"n": 3}, {"n": 4}])
        assert follower.has([0, 1, 2, 3, 4])
        with cron.fence() as fence:
            fence.append({"n": "end"})
        assert follower.has([0, 1, 2, 3, 4, "end"])
    assert follower.ended()


def test_the_next_follower_takes_over(
    journal: Journal, journal_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverchanges, "GLANCE_S", NEVER)
    first = Follower(journal)
    assert first.has([0])
    with Journal(journal_path) as other, Journal(journal_path) as writing:
        second = Follower(other)
        assert second.has([0])
        gateway = writing.session(KEY, writer="gateway", role="run")
        gateway.append({"n": 1})
        assert first.has([0, 1])
        assert second.has([0, 1])
        journal.close()
        assert first.ended()
        gateway.append({"n": "end"})
        assert second.has([0, 1, "end"])
        assert second.ended()


def test_a_lost_notification_is_made_up_for(
    journal: Journal, journal_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverchanges, "GLANCE_S", 0.05)
    monkeypatch.setattr(notices, "tell", lambda *_: None)
    follower = Follower(journal)
    with Journal(journal_path) as other:
        other.session(KEY, writer="cron", role="cron").append({"n": "end"})
    assert follower.has([0, "end"])
    assert follower.ended()


def test_a_follower_outlives_its_connection(
    journal: Journal, journal_path: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverchanges, "GLANCE_S", 0.2)
    follower = Follower(journal)
    assert follower.has([0])
    changes: Any = journal.store.changes
    listening = changes._listener._connection.info.backend_pid
    with server.connect() as asking:
        asking.execute("SELECT pg_terminate_backend(%s, 5000)", (listening,))
    with Journal(journal_path) as other:
        other.session(KEY, writer="cron", role="cron").append({"n": "end"})
    assert follower.has([0, "end"])


def test_a_follower_outlives_the_want_of_a_descriptor(
    journal: Journal, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it connects again; it is tried until it can be done."""
    monkeypatch.setattr(serverchanges, "GLANCE_S", 0.05)
    follower = Follower(journal)
    assert follower.has([0])
    pair, refused = socket.socketpair, list[int]()

    def none_left() -> Any:
        if len(refused) == 2:
            return pair()
        refused.append(errno.EMFILE)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", none_left)
    changes: Any = journal.store.changes
    listening = changes._listener._connection.info.backend_pid
    with server.connect() as asking:
        asking.execute("SELECT pg_terminate_backend(%s, 5000)", (listening,))
    journal.session(KEY, writer="gateway", role="run").append({"n": "end"})
    assert follower.has([0, "end"])
    assert follower.ended()
    assert len(refused) == 2


def test_a_journal_is_closed_while_its_server_is_looked_for(
    journal: Journal, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that does not answer may be waited for for minutes."""
    monkeypatch.setattr(serverchanges, "GLANCE_S", 0.05)
    follower = Follower(journal)
    assert follower.has([0])
    changes: Any = journal.store.changes
    opened, is_asked, is_there = changes._opened, threading.Event(), threading.Event()

    def found_at_last() -> Any:
        is_asked.set()
        is_there.wait(60)
        return opened()

    monkeypatch.setattr(changes, "_opened", found_at_last)
    with server.connect() as asking:
        listening = changes._listener._connection.info.backend_pid
        asking.execute("SELECT pg_terminate_backend(%s, 5000)", (listening,))
    assert is_asked.wait(30)
    closing = threading.Thread(target=journal.close)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
    assert follower.ended()
    thread = changes._thread
    is_there.set()
    thread.join(30)
    assert not thread.is_alive()


def test_who_cannot_begin_to_follow_is_told_so_by_the_journal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by the driver."""

    def lost(_: object) -> bool:
        raise driver().OperationalError("the connection was lost")

    monkeypatch.setattr(notices.Listener, "flag", lost)
    with pytest.raises(StorageError) as caught:
        next(iter(journal.session(KEY).tail()))
    assert caught.value.code == "server-gone"


def test_nobody_is_told_where_nobody_follows(journal: Journal, server: Server) -> None:
    """A notification costs a transaction: it is sent only where somebody asked for it."""
    store: Any = journal.store
    session = journal.session(KEY, writer="gateway", role="run")
    with server.connect() as hearing:
        hearing.execute(f"LISTEN {notices._channel(store.address.schema)}")
        session.append({"n": 1})
        with session.claim() as turn:
            turn.append({"n": 2})
        assert list(hearing.notifies(timeout=0)) == []
        with Following(journal.store.changes):
            session.append({"n": 3})
        assert [note.payload for note in hearing.notifies(timeout=30, stop_after=1)] == [""]


def test_a_follower_who_waits_asks_nothing(
    journal: Journal, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two glances its connection does not say a word."""
    monkeypatch.setattr(serverchanges, "GLANCE_S", NEVER)
    follower = Follower(journal)
    assert follower.has([0])
    changes: Any = journal.store.changes
    pid = changes._listener._connection.info.backend_pid
    words = "SELECT query_start, state FROM pg_stat_activity WHERE pid = %s"
    with server.connect() as asking:
        before = asking.execute(words, (pid,)).fetchone()
        time.sleep(0.2)
        assert asking.execute(words, (pid,)).fetchone() == before
        assert before[1] == "idle"


def test_what_plain_sql_wrote_is_seen_at_a_glance(
    journal: Journal, journal_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells of it."""
    monkeypatch.setattr(serverchanges, "GLANCE_S", 0.05)
    told = threading.Event()
    journal.store.changes.add(told.set)
    thief = thief_at(journal_path)
    thief.insert_copy(body=b"{}")
    thief.close()
    assert told.wait(30)
    journal.store.changes.remove(told.set)

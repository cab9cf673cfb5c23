"""Set G under maintenance: somebody holds the writer, rebuilds, or reads for an hour. ``test_g28_…`` plays G28."""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest

from journal import BusyError, Journal
from journal.audit import audit
from tests.thieves import KEY, raw


@pytest.fixture
def maintenance(journal_path):
    """A connection of another program that takes the write lock and keeps it."""
    with closing(raw(journal_path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.fixture
def tried(journal, monkeypatch):
    """Is set when a write has found the lock taken."""
    event, is_free = threading.Event(), journal.store._is_free

    def noted(statement, deadline):
        free = is_free(statement, deadline)
        if not free:
            event.set()
        return free

    monkeypatch.setattr(journal.store, "_is_free", noted)
    return event


def test_g28_writes_wait_for_who_holds_the_writer_and_reads_do_not(base, maintenance, tried):
    """Threads that write meanwhile all get through, once each, and nobody hears of a locked database."""
    errors: list[BaseException] = []

    def write(number):
        try:
            base.append({"n": number})
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert tried.wait(30)
    assert (base.head.seq, len(list(base.read()))) == (1, 1)  # while a write waits
    maintenance.execute("COMMIT")
    for thread in threads:
        thread.join()

    assert errors == []
    assert sorted(entry.json().get("n", -1) for entry in base.read()) == [-1, 0, 1, 2, 3]


def test_g28_who_cannot_wait_any_longer_is_told_so_in_our_words(journal_path, base, maintenance):
    with Journal(journal_path, busy_timeout=0.2) as impatient:
        session = impatient.session(KEY, writer="gateway", role="run")
        with pytest.raises(BusyError) as caught:
            session.append({"n": 1}, request_id="r")
        assert "database is locked" not in str(caught.value)
        assert caught.value.hint
        maintenance.execute("COMMIT")
        assert session.append({"n": 1}, request_id="r").seq == 2  # the same call, once it is free


@pytest.mark.parametrize("entries", [50, 2_000])
def test_g33_a_rebuilt_projection_costs_the_same_however_long_the_session(
    journal, base, journal_path, thief, entries
):
    """Its row in ``sessions`` is gone; the next write puts it back without reading the session."""
    base.extend({"n": number} for number in range(entries))
    thief.execute("DELETE FROM sessions WHERE key = ?", KEY)
    connection = journal.store._connection
    steps = [0]

    def step():
        steps[0] += 1

    connection.set_progress_handler(step, 100)
    base.append({"n": "after"})
    connection.set_progress_handler(None, 0)

    assert steps[0] < 200  # 20,000 steps of SQLite's machine; a scan of 2,000 rows takes more
    assert len(list(base.read())) == entries + 2
    with Journal(journal_path) as reader:
        assert reader.session(KEY).head.seq == base.head.seq


def test_g33_writes_and_reads_go_on_while_a_session_is_read_whole(base, journal):
    """A reader in the middle of a long session keeps nobody waiting, and sees what it began with or more."""
    base.extend({"n": number} for number in range(3_000))
    reading = iter(base)
    first = next(reading)
    for number in range(20):
        base.append({"later": number})

    assert [first.seq, *(entry.seq for entry in reading)][:3001] == list(range(1, 3002))


def test_a_reader_that_is_open_for_an_hour_costs_room_and_nothing_else(base, journal, journal_path):
    """The log cannot be folded in behind it: it grows, nobody waits, and it is emptied once the reader goes."""
    log = f"{journal_path}-wal"
    with closing(raw(journal_path)) as reader:
        reader.execute("BEGIN")
        before = reader.execute("SELECT count(*) FROM entries").fetchone()
        for number in range(600):
            base.append({"n": number, "text": "x" * 9_000})
        assert not journal.store.empty_log()
        assert os.stat(log).st_size > 600 * 9_000  # noqa: PTH116 - looked at, not opened
        assert reader.execute("SELECT count(*) FROM entries").fetchone() == before

    assert journal.store.empty_log()
    assert os.stat(log).st_size == 0  # noqa: PTH116
    assert audit(journal_path).verdict == "ok, not anchored"

"""What is large, what is odd, and what a fork may not do."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, JournalError, LockLost, SchemaError, StorageError
from journal.admission import put
from journal.audit import audit, database, proofs
from journal.audit.findings import Findings
from journal.audit.source import opened
from journal.dialects import catalog
from journal.dialects.flush import Flush
from journal.dialects.postgres import driver
from journal.dialects.texts import turned
from journal.export import export
from journal.pages import MAX_SEQ, bare_rows, page_before, page_of, rows_of, sealed_page
from journal.parts import encode_lines
from tests.thieves import KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def journal(journal_path: str) -> Iterator[Journal]:
    with Journal(journal_path) as journal:
        yield journal


@pytest.fixture
def gateway(journal: Journal) -> Any:
    return journal.session(KEY, writer="gateway", role="run")


@pytest.mark.parametrize(
    "ours, theirs",
    [
        ("SELECT a FROM t WHERE b = ? AND c = ?", "SELECT a FROM t WHERE b = $1 AND c = $2"),
        ("SELECT ?1 UNION ALL SELECT ?1", "SELECT $1 UNION ALL SELECT $1"),
        ("SELECT '?', \"?\", ?", "SELECT '?', \"?\", $1"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', $1"),
        ("a <> x''", r"a <> '\x'::bytea"),
        ('CAST(sessions."key" AS BLOB)', "convert_to(sessions.\"key\", 'UTF8')"),
        ("request_id = CAST(? AS TEXT)", "request_id = convert_from($1, 'UTF8')"),
        ("a = ? AND instr(b, ?) > 0", "a = $1 AND strpos(b, $2) > 0"),
    ],
)
def test_a_statement_is_turned(ours: str, theirs: str) -> None:
    assert turned(ours).sql == theirs


def test_lines_of_any_size_and_any_bytes(gateway: Any, journal_path: str) -> None:
    given = [
        b"x" * (9 << 20),
        bytes(b for b in range(256) if b != 10),
        b'{"id":"a\\u0000b","type":"\\ud800"}',
    ]
    gateway.extend(given)
    assert b"".join(entry.data for entry in gateway.read()) == b"\n".join([*given, b""])
    assert audit(journal_path).findings == ()


def test_no_more_comes_from_the_server_than_a_page_takes(journal: Journal, gateway: Any) -> None:
    """It hands out all that it is asked for at once, and a page of small lines has two thousand."""
    given = [b"%d" % n + b"x" * (n % 3 << 20) for n in range(12)]
    gateway.extend(given)
    number = journal.store.registry.session_ids[KEY]
    with journal.store.snapshot() as cursor:
        for page in (page_of, sealed_page):
            rows: Any = page(cursor, number, 1, MAX_SEQ, 2000)
            assert (len(rows), cursor.rowcount) == (5, 5)  # of 0, 1, 2, 0 and 1 MiB
        newest = page_before(cursor, number, 12, 2000)
        assert [row.seq for row in newest] == [12, 11, 10, 9]  # of 2, 1, 0 and 2 MiB
        assert cursor.rowcount == len(newest)
        assert [body for body, _ in bare_rows(cursor, number, 3, MAX_SEQ)] == given[2:6]
        assert [row.seq for row in rows_of(cursor, number, 2, 11)] == list(range(2, 12))
    whole = b"\n".join([*given, b""])
    for verified in (True, False):
        exported = export(journal, KEY, verified=verified)
        assert b"".join(exported) == whole
        assert exported.lines == 12


def test_many_lines_at_once(gateway: Any, journal_path: str) -> None:
    made = gateway.extend([{"n": n} for n in range(2000)])
    assert (made[0].seq, made[-1].seq, made[-1].epoch) == (1, 2000, 1)
    assert len(gateway.read(after=500, limit=700)) == 700
    assert audit(journal_path).findings == ()


def test_keys_and_names_of_any_script(journal: Journal, journal_path: str) -> None:
    session = journal.session("sitzung:ü:会話:🙂", writer="schließfach", role="channel")
    session.append({"n": 1}, request_id="é")
    session.append({"n": 1}, request_id="é")
    assert len(session.read()) == 1
    assert audit(journal_path).findings == ()


def test_a_forked_child_is_told_and_the_parent_goes_on(gateway: Any, journal_path: str) -> None:
    gateway.append({"n": 1})
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            gateway.append({"n": 2})
        except JournalError as error:
            with Journal(journal_path) as own:
                own.session(KEY, writer="child", role="subagent").append({"n": 3})
            os._exit(7 if error.code == "forked" else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    gateway.append({"n": 4})
    assert [entry.json()["n"] for entry in gateway.read()] == [1, 3, 4]


@pytest.mark.parametrize("block", ["transaction", "snapshot"])
def test_a_child_that_is_forked_within_a_block_says_nothing_to_its_parents_server(
    gateway: Any, journal: Journal, block: str
) -> None:
    """It would end what its parent has begun, over its parent's own connection."""
    gateway.append({"n": 1})
    parent = os.getpid()
    with suppress(LockLost), getattr(journal.store, block)() as cursor:
        began = cursor.execute("SELECT pg_current_xact_id_if_assigned(), now()").fetchone()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            still = cursor.execute("SELECT pg_current_xact_id_if_assigned(), now()").fetchone()
            assert still == began  # the same transaction still
    if os.getpid() != parent:
        os._exit(0)
    gateway.append({"n": 2})
    assert [entry.json()["n"] for entry in gateway.read()] == [1, 2]


# One that comes while the driver is connecting leaves a connection to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_leaves_the_journal_usable(gateway: Any, journal_path: str) -> None:
    """Whatever it meets, what was acknowledged is there and the next write works."""
    is_armed = False

    def stop(*_: object) -> None:
        nonlocal is_armed
        if is_armed:  # else it was delivered late, and would end whatever runs the tests
            is_armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    # A signal on a function's first step is told to coverage as a return without a call: it would
    # take what follows for another module's lines.
    tracing = sys.gettrace()
    sys.settrace(None)
    acknowledged = 0
    try:
        for n in range(25):
            signal.setitimer(signal.ITIMER_REAL, 0.001 + n * 0.0007)
            try:
                is_armed = True
                gateway.append({"n": n})
                acknowledged += 1
                is_armed = False
            except KeyboardInterrupt:
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.settrace(tracing)
    gateway.append({"last": True})
    seqs = [entry.seq for entry in gateway.read()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert acknowledged < len(seqs)
    assert audit(journal_path).findings == ()


class Stopped:
    """A connection whose next rollbacks, so many, are stopped by Ctrl-C before they are sent."""

    def __init__(self, link: Any, times: int) -> None:
        self._roll_back, self._times = link.roll_back, times
        link.roll_back = self

    def __call__(self) -> None:
        self._times -= 1
        if self._times >= 0:
            raise KeyboardInterrupt
        self._roll_back()


def fail() -> None:
    raise ValueError("the block's own")


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_of_a_rollback_leaves_nothing_behind(
    journal: Journal, gateway: Any, journal_path: str, times: int
) -> None:
    """Neither the lock, nor what the block had made known, nor a reading that takes it for its own."""
    gateway.append({"n": 1})
    store: Any = journal.store

    def block() -> None:
        with store.transaction() as cursor:
            put(cursor, gateway, encode_lines([{"n": 2}]), None)
            Stopped(store._link, times)
            fail()

    with pytest.raises(KeyboardInterrupt):
        block()
    assert not store._has_lock()
    assert gateway.head.seq == 1
    assert [entry.json() for entry in gateway.read()] == [{"n": 1}]
    gateway.append({"n": 3})

    def work(cursor: Any) -> None:
        put(cursor, gateway, encode_lines([{"n": 4}]), None)
        if not isinstance(cursor, Flush):
            Stopped(store._link, times)
        fail()

    with pytest.raises(KeyboardInterrupt):
        store.group.write(work)
    assert not store._has_lock()
    assert gateway.append({"n": 5}).seq == 3
    assert [entry.json() for entry in gateway.read()] == [{"n": 1}, {"n": 3}, {"n": 5}]
    assert audit(journal_path).findings == ()


def test_a_closed_journal_says_so_and_its_tail_ends(gateway: Any, journal: Journal) -> None:
    gateway.append({"n": 1})
    raised: list[JournalError] = []

    def follow() -> None:
        try:
            for _ in gateway.tail():
                pass
        except JournalError as error:
            raised.append(error)

    thread = threading.Thread(target=follow)
    thread.start()
    while not journal.store.changes._followers:
        pass
    journal.close()
    thread.join(10)
    assert [error.code for error in raised] == ["closed"]


def test_an_error_of_the_servers_driver_is_raised_as_ours_by_an_audit_too(
    journal_path: str, journal: Journal
) -> None:
    with pytest.raises(SchemaError), opened(journal_path) as source:
        source.query("SELECT * FROM nowhere")


def test_a_reading_that_a_standby_ends_met_no_writer(journal_path: str, journal: Journal) -> None:
    conflict = driver().errors.SerializationFailure("conflict with recovery")
    with pytest.raises(StorageError) as caught, opened(journal_path):
        raise conflict
    assert caught.value.code == "standby-conflict"
    assert "others wrote" not in str(caught.value)


@pytest.mark.parametrize(
    "name, code",
    [("SerializationFailure", "standby-conflict"), ("QueryCanceled", "canceled")],
)
def test_an_audit_that_was_ended_says_so_and_finds_nothing(
    journal_path: str, gateway: Any, monkeypatch: pytest.MonkeyPatch, name: str, code: str
) -> None:
    """By what ended it, and not by what the server says to whatever is asked afterwards."""
    gateway.append({"n": 1})

    def ended(*_: object) -> None:
        raise getattr(driver().errors, name)("the reading ends here")

    monkeypatch.setattr(proofs, "instance_faults", ended)
    with pytest.raises(StorageError) as caught:
        audit(journal_path)
    assert caught.value.code == code


def test_what_is_given_up_with_what_failed_does_not_end_the_reading(
    journal: Journal, journal_path: str, gateway: Any
) -> None:
    """Rows that are handed out some at a time are gone on the server with what was rolled back."""
    gateway.extend([{"n": n} for n in range(40)])
    number = journal.store.registry.session_ids[KEY]
    with opened(journal_path) as source:

        def fail_among_rows() -> None:
            with source.apart():
                for _ in source.rows(number):
                    source.query("SELECT * FROM nowhere")

        with pytest.raises(driver().errors.UndefinedTable):
            fail_among_rows()
        gc.collect()
        assert len(list(source.rows(number))) == 40


def test_what_an_audit_cannot_read_is_told_beside_what_it_can(
    journal_path: str, gateway: Any
) -> None:
    gateway.append({"n": 1})
    thief = thief_at(journal_path)
    thief.execute("DROP TABLE parked")
    thief.close()
    report = audit(journal_path)
    found = {(each.id, each.cause) for each in report.findings}
    assert ("J502", "the table parked") in found
    assert "J503" in {each.id for each in report.findings}
    assert report.verdict == "broken"


def test_a_schema_of_no_version_is_told(
    journal_path: str, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.append({"n": 1})
    found = Findings(journal_path)
    with opened(journal_path) as source:
        monkeypatch.setattr(catalog, "version_in", lambda *_: None)
        database.check_schema(source, found)
    assert ("J504", "the schema's version is 0") in [(each.id, each.cause) for each in found.all()]

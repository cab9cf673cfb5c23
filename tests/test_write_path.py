"""What a write waits for, what becomes of it, and who may: the promises of the store that a caller sees."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from traceback import walk_stack
from typing import TYPE_CHECKING, Any

import pytest

from journal import BusyError, EntryError, NotTrusted, SchemaError, StorageError, durability
from journal.admission import Put, written_as
from journal.audit import audit
from journal.controls import fact
from journal.durability import CAN_SYNC, BySQLite, LogSync
from journal.engine import is_compatible_mode
from journal.folding import FOLD_IN_AFTER
from journal.guards import identity_of
from journal.ledger import now_us
from journal.lines import Line
from journal.parts import encode_lines
from journal.store import Store
from journal.ticket import Ticket
from journal.writing import write
from tests.systems import LINUX
from tests.test_group import outcome, together, until
from tests.test_worst_moments import GREAT, LINE, fail_after, in_another_thread
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Session


# -- a lock that another program holds --------------------------------------------------------


@pytest.fixture
def held_up(journal, thief, monkeypatch) -> list[Callable[[], object]]:
    """Have another program hold the lock until a write has waited for it twice; do these things in between."""
    acts: list[Callable[[], object]] = []
    store = journal.store
    monkeypatch.setattr(store._folding, "_wait_ms", 1)
    store._folding.wait_briefly(store.cursor)

    waited: list[float] = []

    def waits(moment: float) -> None:
        waited.append(moment)
        for act in acts:
            in_another_thread(act)
        acts.clear()
        if len(waited) > 1:
            thief.execute("ROLLBACK")
            monkeypatch.undo()

    thief.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("journal.store.time.sleep", waits)
    return acts


def test_a_program_that_knows_of_no_tickets_is_waited_for(base, journal, held_up):
    """And who reads in this process meanwhile reads a state of its own."""
    made: list[str] = []
    journal.store._connection.set_trace_callback(made.append)
    seen: list[int] = []
    held_up.append(lambda: seen.extend(entry.seq for entry in base.read()))

    assert base.append(LINE).seq == 2

    assert seen == [1]
    began = [each for each in made if each.startswith(("BEGIN", "ROLLBACK", "COMMIT"))]
    assert (began[0], began[-2:]) == ("BEGIN IMMEDIATE", ["BEGIN IMMEDIATE", "COMMIT"])
    assert began[1:3] == ["BEGIN", "ROLLBACK"]


def test_a_write_that_waited_and_then_failed_is_undone(base, journal, held_up):
    """As one that did not have to wait."""
    with pytest.raises(ZeroDivisionError):
        fail_after(journal.store, held_up.clear)
    assert not journal.store._connection.in_transaction
    assert not journal.store.lock._is_owned()
    assert base.append(LINE).seq == 2


def test_a_journal_that_is_closed_while_a_write_waits_says_so(base, journal, held_up):
    held_up.append(journal.store.close)
    with pytest.raises(StorageError) as caught:
        base.append(LINE)
    assert caught.value.code == "closed"


@pytest.mark.parametrize("busy_timeout, wait_ms", [(0.05, 50), (30.0, 100)])
def test_sqlite_itself_waits_for_a_moment_only(open_journal, busy_timeout, wait_ms):
    """Who waits longer does so where others can go on."""
    store = open_journal(busy_timeout=busy_timeout).store

    def waits() -> int:
        return int(store.cursor.execute("PRAGMA busy_timeout").fetchone()[0])

    assert waits() == wait_ms
    assert store.empty_log()
    assert waits() == wait_ms


def test_the_log_is_emptied_in_turn(base, journal, open_journal):
    """Not while another writes, and the next one has its turn after it."""
    ticket = Ticket(journal.store.path, 0.01)
    ticket.take()
    with pytest.raises(BusyError):
        open_journal(busy_timeout=0.01).store.empty_log()
    ticket.give_back()
    assert journal.store.empty_log()
    ticket.take()
    ticket.give_back()
    ticket.close()


def test_a_close_just_before_the_log_is_emptied_is_told_as_one(journal, monkeypatch):
    store = journal.store
    take = store.ticket.take

    def closed_after() -> None:
        take()
        in_another_thread(store.close)

    monkeypatch.setattr(store.ticket, "take", closed_after)
    with pytest.raises(StorageError) as caught:
        store.empty_log()
    assert caught.value.code == "closed"


def test_the_log_is_not_folded_in_by_each_commit(base, journal, journal_path):
    """With a library that has not the bug SQLite does it, once there is much of it."""
    journal.store.empty_log()
    before = journal_path.stat().st_size
    for _ in range(3):
        base.append(GREAT)
    assert (journal_path.stat().st_size > before) is is_compatible_mode()
    assert (journal.store._folding.after == FOLD_IN_AFTER) is is_compatible_mode()


def test_who_closes_beside_another_leaves_an_empty_log(base, journal, open_journal, journal_path):
    with open_journal():
        base.append(GREAT)
        journal.close()
        assert Path(f"{journal_path}-wal").stat().st_size == 0


def test_who_closes_waits_for_nobodys_turn(base, journal, monkeypatch):
    """But in compatible mode, where nobody may write while the log is folded in."""
    if is_compatible_mode():
        pytest.skip("a library with the WAL-reset bug")

    def asked() -> None:
        raise AssertionError

    monkeypatch.setattr(journal.store.ticket, "take", asked)
    journal.close()


def test_a_write_that_learns_of_a_foreign_schema_leaves_the_lock_free(base, journal, thief):
    thief.execute("CREATE TRIGGER zz AFTER INSERT ON entries BEGIN SELECT 1; END")
    with pytest.raises(SchemaError) as caught:
        base.append(LINE)
    assert caught.value.__cause__ is None
    with pytest.raises(SchemaError) as caught:
        Store(journal.store.path)
    assert caught.value.__cause__ is None
    assert not journal.store._connection.in_transaction
    assert not journal.store._inside
    thief.execute("DROP TRIGGER zz")
    assert base.append(LINE).seq == 2


def test_the_clock_is_that_of_the_machine_in_microseconds():
    before = time.time_ns()
    assert before // 1000 <= now_us() <= time.time_ns() // 1000


@pytest.mark.parametrize(
    "durability, kind", [("full", LogSync if CAN_SYNC else BySQLite), ("normal", BySQLite)]
)
def test_who_syncs_is_the_journal_itself_where_it_can(open_journal, durability, kind):
    store = open_journal(durability=durability).store
    assert type(store.durability) is kind
    is_left = kind is BySQLite and durability == "full"
    assert store.cursor.execute("PRAGMA synchronous").fetchone() == (2 if is_left else 1,)
    assert sys.platform != "linux" or CAN_SYNC


@LINUX
def test_a_number_that_another_file_was_given_is_no_log(base, journal_path, tmp_path, monkeypatch):
    """Synced in its place, that file would have everything called durable that is not."""
    log, found = Path(f"{journal_path}-wal"), durability.descriptors_of  # type: ignore[attr-defined]
    with (tmp_path / "another").open("wb") as another:
        numbers = [another.fileno(), *found(identity_of(log.stat()))]
        monkeypatch.setattr(durability, "descriptors_of", lambda _: numbers)
        copy = durability.copied(str(log))
    assert os.path.samestat(os.fstat(copy), log.stat())
    os.close(copy)


# -- a commit that is interrupted ------------------------------------------------------------


def test_what_was_committed_as_the_interrupt_came_is_written_once(base, journal, monkeypatch):
    """Between COMMIT and the word of it: nobody who rode along is told to try again."""
    store = journal.store
    let_go = store._let_go

    def interrupted(ride: Any) -> Any:
        monkeypatch.setattr(store, "_let_go", let_go)
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_let_go", interrupted)
    with together(journal, *[lambda: base.append(LINE)] * 3) as futures:
        outcomes = [outcome(future) for future in futures]
    assert outcomes == [KeyboardInterrupt, "written", "written"]
    assert base.head.seq == 4
    assert base.append(LINE).seq == 5
    assert not audit(store.path).findings


def test_an_interrupt_at_the_first_step_of_an_undoing_leaves_nobody_behind(
    base, journal, monkeypatch
):
    group = journal.store.group
    undo, commit = group._undo, journal.store.commit

    def failing(ride: Any) -> Any:
        monkeypatch.setattr(journal.store, "commit", commit)
        raise ZeroDivisionError

    def interrupted(*_: Any) -> None:
        monkeypatch.setattr(group, "_undo", undo)
        raise KeyboardInterrupt

    monkeypatch.setattr(journal.store, "commit", failing)
    monkeypatch.setattr(group, "_undo", interrupted)
    with together(journal, *[lambda: base.append(LINE)] * 3) as futures:
        outcomes = [outcome(future) for future in futures]
    assert outcomes == [KeyboardInterrupt, "written", "written"]
    assert base.head.seq == 3
    assert not journal.store.lock._is_owned()


def test_who_rides_with_a_leader_that_never_comes_to_sync_syncs_alone(base, journal, monkeypatch):
    store, asked = journal.store, list[int]()
    make_durable = store.make_durable

    def interrupted(number: int) -> None:
        asked.append(number)
        if len(asked) == 1:
            raise KeyboardInterrupt
        make_durable(number)

    monkeypatch.setattr(store, "make_durable", interrupted)
    with together(journal, *[lambda: base.append(LINE)] * 3) as futures:
        outcomes = [outcome(future) for future in futures]
    assert outcomes == [KeyboardInterrupt, "written", "written"]
    assert len(asked) == 3
    assert len(set(asked)) == 1


def test_what_sqlite_itself_rolled_back_was_never_committed(base, journal, caplog):
    """It does so where the disk is full, whatever error the caller makes of that."""
    with pytest.raises(ZeroDivisionError):
        roll_back_by_hand(base)
    assert not caplog.records
    assert not journal.store.knows("made and undone")
    assert base.append(LINE).seq == 2
    assert journal.store.knows(KEY)
    assert not audit(journal.store.path).findings


def roll_back_by_hand(session: Session) -> None:
    store = session.store
    with store.transaction() as cursor:
        store.open_chain(cursor, "made and undone")
        cursor.execute("ROLLBACK")
        raise ZeroDivisionError


def test_a_file_gets_its_lines_though_a_write_was_rolled_back_before(base, journal, tmp_path):
    path = tmp_path / "agent.jsonl"
    journal.mirrors.add(base.key, path)

    def undone(cursor: Any) -> None:
        Put(base, encode_lines([{"n": "undone"}]), None)(cursor)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        journal.store.group.write(undone)
    base.append({"n": 2})
    assert path.read_bytes() == b'{"type":"session"}\n{"n":2}\n'


def test_a_fact_that_was_rolled_back_leaves_the_registry_as_it_was(base, journal, tmp_path):
    store = journal.store
    before = store.registry.chain.head
    with pytest.raises(ZeroDivisionError):
        fail_after(store, lambda: store.record(store.cursor, fact("unmirror", session_id=2)))
    journal.revoke("gateway", "has gone")
    assert store.registry.chain.head.seq == before.seq + 1
    assert not audit(store.path).findings


def test_whose_a_mirror_is_goes_by_host_and_place(base, journal, tmp_path):
    journal.mirrors.add(base.key, tmp_path / "agent.jsonl")
    (known,) = journal.store.registry.mirrors.values()
    for told, serves, has_file in [
        ({}, True, True),
        ({"host": "far"}, False, False),
        ({"place": "1/a/s/u"}, False, False),
    ]:
        other = known._replace(**told)
        assert (journal.store.serves(other), journal.store.has_file(other)) == (serves, has_file)


@pytest.mark.parametrize(
    "first, then, text",
    [
        (["a|"], ["b\n"], b"a\nb\n"),
        (["a\n", "b|"], ["c\n"], b"a\nb\nc\n"),
        (["a|"], ["\n", "b\n"], b"a\nb\n"),
        (["a|"], ["b\n", "\n"], b"a\nb\n\n"),
        (["a\n"], ["b\n"], b"a\nb\n"),
    ],
)
def test_a_line_that_was_left_open_is_ended_once(base, journal, first, then, text):
    for lines in (first, then):
        made = [
            Line(each[:-1].encode(), b"" if each[-1] == "|" else b"\n", "raw") for each in lines
        ]
        with journal.store.transaction() as cursor:
            chain = journal.store.open_chain(cursor, KEY)
            write(cursor, chain, base.author(cursor), 1, lines=made)
    assert b"".join(entry.data for entry in base.read()).endswith(b"}\n" + text)


def test_what_was_put_off_until_a_commit_that_never_came_is_never_done(base, journal):
    store, done = journal.store, list[int]()
    with pytest.raises(ZeroDivisionError):
        fail_after(store, lambda: store.after_commit(lambda: done.append(1)))
    with store.transaction():
        store.after_commit(lambda: done.append(2))
    assert done == [2]


def test_to_ask_whether_a_session_is_known_changes_nothing_of_what_is_under_way(base, journal):
    store, lines = journal.store, encode_lines([LINE])
    with store.transaction() as cursor:
        write(cursor, store.open_chain(cursor, KEY), base.author(cursor), 1, lines=lines)
        assert store.knows(KEY)
        assert not store.knows("another")
    assert base.head.seq == 2
    journal.close()
    with pytest.raises(StorageError):
        store.knows(KEY)


def test_a_request_is_found_by_the_first_of_its_lines(base, journal):
    lines, store = encode_lines([LINE, {"n": 2}]), journal.store
    base.extend([LINE, {"n": 2}], request_id="r")
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, KEY)
        assert chain is not None
        assert written_as(cursor, chain, lines, "r", 0) == (2, True)
        assert written_as(cursor, chain, lines[:1], "r", 0) is None


def test_what_a_write_says_of_oddities_is_not_in_the_file(base, journal, thief, tmp_path):
    path = tmp_path / "agent.jsonl"
    journal.mirrors.add(base.key, path)
    base.append(LINE)
    thief.insert_copy()
    base.append({"n": 2})
    assert path.read_bytes().endswith(b'{"n":1}\n{"n":2}\n')


def test_what_is_no_append_finds_what_was_put_off_before_it(base, journal):
    def count(cursor: Any) -> int:
        return int(
            cursor.execute("SELECT max(seq) FROM entries WHERE session_id = 2").fetchone()[0]
        )

    calls = [*[lambda: base.append(LINE)] * 3, lambda: journal.store.group.write(count)]
    with together(journal, *calls) as futures:
        assert futures[-1].result(20.0) == 4


@pytest.mark.skipif(not CAN_SYNC, reason="SQLite syncs in COMMIT here")
def test_who_waits_for_a_sync_waits_for_no_more_than_its_own(base, journal, monkeypatch):
    """What is durable already waits for nobody; who waited for another's sync finds it done."""
    synced: list[int] = []
    log = LogSync(journal.store.path)
    monkeypatch.setattr("journal.durability.os.fdatasync", synced.append)
    first = log.count()
    log.wait(first)
    with log._syncing:
        log.wait(first)
    second = log.count()

    class Syncing:
        """What is let go by whoever has synced the log meanwhile."""

        def __enter__(self) -> None:
            log._synced = second

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(log, "_syncing", Syncing())
    log.wait(second)
    assert len(synced) == 1
    log.close()


@pytest.mark.skipif(not CAN_SYNC, reason="SQLite syncs in COMMIT here")
def test_after_a_sync_that_failed_nothing_is_begun_nor_read(base, journal, thief, monkeypatch):
    """What would be read may be lost with the power; and before it no read has to do with syncs."""

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("journal.durability.os.fdatasync", fails)
        assert len(base.read()) == 1
        with pytest.raises(StorageError) as caught:
            base.append(LINE)
        assert caught.value.code == "not-durable"
    begun = thief.count("entries")
    for use in (lambda: base.append(LINE), base.read, base.fence, journal.store.is_current):
        with pytest.raises(StorageError) as caught:
            use()
        assert caught.value.code == "not-durable"
    assert thief.count("entries") == begun


@LINUX
def test_a_sync_is_made_once_for_all_that_it_covers(base, journal, monkeypatch):
    synced: list[int] = []
    log = LogSync(journal.store.path)
    monkeypatch.setattr("journal.durability.os.fdatasync", synced.append)
    first, second = log.count(), log.count()
    for number in (second, second, first):
        log.wait(number)
    assert len(synced) == 1
    log.wait(log.count())
    assert len(synced) == 2
    log.close()


@LINUX
def test_closing_waits_for_a_sync_that_is_under_way(base, journal, monkeypatch):
    """Its descriptor would be gone, or another file's: a committed line would end as an error of the disk."""
    begun, go_on = threading.Event(), threading.Event()
    sync = os.fdatasync

    def slow(descriptor: int) -> None:
        begun.set()
        assert go_on.wait(20)
        sync(descriptor)

    monkeypatch.setattr("journal.durability.os.fdatasync", slow)
    with ThreadPoolExecutor(2) as pool:
        append = pool.submit(base.append, LINE)
        assert begun.wait(20)
        close = pool.submit(journal.close)
        until(lambda: close.done() or is_in(LogSync.close))
        go_on.set()
        assert append.result(20).seq == 2
        close.result(20)


def is_in(function: Callable[..., object]) -> bool:
    """Whether a thread is in a call of this function."""
    return any(
        frame.f_code is function.__code__
        for current in sys._current_frames().values()
        for frame, _ in walk_stack(current)
    )


@LINUX
def test_what_was_committed_before_it_was_closed_is_durable_after_it(base, journal, monkeypatch):
    synced: list[int] = []
    log = LogSync(journal.store.path)
    monkeypatch.setattr("journal.durability.os.fdatasync", synced.append)
    number = log.count()
    log.close()
    log.wait(number)
    with pytest.raises(StorageError) as caught:
        log.wait(log.count())  # what others wrote since: it is not synced, and nobody is told so
    assert (caught.value.code, len(synced)) == ("closed", 1)


@LINUX
def test_a_last_sync_that_fails_is_told_to_whoever_waits(base, journal, monkeypatch):
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    log = LogSync(journal.store.path)
    first = log.count()
    log.wait(first)
    last = log.count()
    monkeypatch.setattr("journal.durability.os.fdatasync", fail)
    log.close()
    log.wait(first)
    with pytest.raises(StorageError) as caught:
        log.wait(last)
    assert caught.value.code == "not-durable"


# -- who writes ---------------------------------------------------------------------------


def write_some(session: Session, count: int) -> None:
    lines, store = encode_lines([LINE] * count), session.store
    with store.transaction() as cursor:
        chain = store.open_chain(cursor, session.key)
        write(cursor, chain, session.author(cursor), 1, lines=lines)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "trigger, code",
    [
        ("INSERT ON entries", "rows-swallowed"),
        ("UPDATE ON sessions", "head-not-moved"),
    ],
)
def test_lines_that_are_swallowed_are_noticed_however_many(
    base, thief, monkeypatch, trigger, code, count
):
    monkeypatch.setattr("journal.schema.check", lambda *_: None)
    thief.execute(f"CREATE TRIGGER zz BEFORE {trigger} BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(StorageError) as caught:
        write_some(base, count)
    assert caught.value.code == code
    assert caught.value.hint == "journal audit"
    assert code != "rows-swallowed" or str(caught.value).startswith(f"{count} rows were to be")
    assert thief.seqs() == [1]


def test_an_external_writers_line_ends_what_was_examined(journal, base, thief):
    """A fence looks at it, though it was put off with others' lines."""
    external = journal.session(KEY, writer="slack", role="external")
    external.append(LINE)
    examined = journal.store.registry.chain_of(KEY).examined
    with together(
        journal, lambda: base.append(LINE), lambda: external.extend([LINE] * 2)
    ) as futures:
        assert [outcome(future) for future in futures] == ["written"] * 2
    assert journal.store.registry.chain_of(KEY).examined == examined
    with together(journal, lambda: base.append(LINE), lambda: base.extend([LINE] * 2)) as futures:
        assert [outcome(future) for future in futures] == ["written"] * 2
    assert journal.store.registry.chain_of(KEY).examined == examined
    assert not base.fence().arrived
    assert [thief.column("trusted", seq) for seq in (1, 2)] == [1, 0]


def test_a_revocation_says_who_and_takes_only_names(journal, base):
    with pytest.raises(EntryError):
        journal.revoke("", "has gone")
    with pytest.raises(EntryError):
        journal.revoke("gateway", "")
    with pytest.raises(EntryError):
        journal.revoke("gateway", "has gone", by="")
    with (
        journal.store.transaction() as cursor,
        pytest.raises(NotTrusted, match="'king' is no role"),
    ):
        journal.store.declare(cursor, "x", "king")
    assert [writer.name for writer in journal.writers()] == ["gateway"]
    revoked = journal.store.revoke("gateway", "has gone", by="ann")
    assert (revoked.name, revoked.role) == ("gateway", "run")
    with pytest.raises(NotTrusted):
        base.append(LINE)


def test_a_writer_that_nobody_declared_is_told_how_to_declare_it(base, journal):
    with journal.store.transaction() as cursor, pytest.raises(NotTrusted) as caught:
        journal.store.author(cursor, "it's new", "tool", declare=False)
    assert caught.value.code == "unknown-writer"
    assert caught.value.hint == """journal writers add 'it'"'"'s new' --role tool"""


def test_a_store_without_mirrors_is_abandoned_and_serves_none(base, journal, tmp_path):
    """What only opens the store, and no mirrors with it, leaves their files to who has them."""
    path = tmp_path / "agent.jsonl"
    journal.mirrors.add(base.key, path)
    before = path.read_bytes()
    store = Store(journal.store.path)
    with store.transaction() as cursor:
        author, chain = (
            store.author(cursor, "w", "tool", declare=True),
            store.open_chain(cursor, KEY),
        )
        store.serve_later(chain.session_id, None)
        assert author.writer.name == "w"
    assert path.read_bytes() == before
    store.close()
    other = Store(journal.store.path)
    other.abandon()
    with pytest.raises(StorageError):
        other.begin()
    other.close()

"""What a process learns of a chain by its control entries, and how it forgets what was rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal.admission import put
from journal.controls import fact
from journal.lines import Line
from journal.writing import put_off, write
from tests.test_chain import known
from tests.thieves import KEY, findings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Session
    from journal.chain import Chain
    from journal.engine import Cursor
    from tests.thieves import Thief

REDACTION: dict[str, Any] = {"control": "redaction", "rows": {"1": 5}}
LAYOUT = {"control": "layout", "no": 1, "base": 0, "keep": 0, "extents": [[1, None]]}


def open_line(journal: Journal, session: Session, body: bytes) -> None:
    with journal.store.transaction() as cursor:
        put(cursor, session, [Line(body, b"", "raw")], None)


def rolled_back(journal: Journal, act: Callable[[Cursor, Chain], object]) -> Chain:
    """Do something with the session's chain in a transaction that fails; return the chain."""
    found: list[Chain] = []

    def fail() -> None:
        with journal.store.transaction() as cursor:
            found.append(journal.store.open_chain(cursor, KEY))
            act(cursor, found[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    return found[0]


def test_what_a_layout_says_of_the_files_size_holds_until_the_next(
    base: Session, journal: Journal
) -> None:
    """Only of a layout that was read off the file, which is no rewrite; a file made anew has none of it."""
    chain = known(journal)
    chain.learn({**LAYOUT, "from_file": True, "size": 7}, 2)
    assert (chain.layout_size, chain.layout_seq, chain.rewritten_no) == (7, 2, 0)
    chain.learn({"control": "edit", "what": "gone"}, 3)
    assert (chain.layout_size, chain.mirror_state) == (7, "gone")
    chain.learn({"control": "edit", "what": "made"}, 4)
    assert (chain.layout_size, chain.mirror_state) == (0, None)
    chain.learn({**LAYOUT, "no": 2, "from_file": True, "size": 9}, 5)
    chain.learn({**LAYOUT, "no": 3, "size": 11}, 6)
    assert (chain.layout_size, chain.rewritten_no, len(chain.earlier)) == (0, 3, 3)
    chain.learn({**LAYOUT, "no": 4, "from_file": True}, 7)
    assert (chain.layout_size, chain.rewritten_no) == (0, 3)


def test_facts_learned_in_a_transaction_that_was_rolled_back_are_learned_again(
    base: Session, open_journal: Callable[..., Journal]
) -> None:
    """Or a mirror's file would be held against an order that was given up."""
    other = open_journal()
    known(other)
    base.rewrite([{"n": 1}], base=base.head.seq, reason="compacted")
    base.append({"n": 2})
    chain = rolled_back(other, lambda cursor, chain: chain.know_facts(cursor))
    assert chain.layout.no == 0

    with other.store.snapshot() as cursor:
        other.store.fresh(chain).know_facts(cursor)

    assert chain.layout.no == 1


@pytest.mark.parametrize("way", ["at once", "put off"])
def test_a_write_that_was_rolled_back_leaves_nothing_to_the_next(
    base: Session, journal: Journal, thief: Thief, way: str
) -> None:
    line, store = Line(b"1", b"\n", "line"), journal.store
    chain = known(journal)

    def write() -> None:
        with store.transaction() as cursor:
            if way == "at once":
                put(cursor, base, [line], None)
            else:
                store.put_off(store.fresh(chain))
                put_off(chain, base.author(cursor), 0, [line])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()

    assert not known(journal).unwritten
    assert [base.append({"n": n}).seq for n in range(2)] == [2, 3]
    assert thief.seqs() == [1, 2, 3]


def test_a_file_whose_order_ends_with_an_open_line_is_open_whatever_came_last(
    base: Session, journal: Journal, open_journal: Callable[..., Journal]
) -> None:
    open_line(journal, base, b"open")
    base.rewrite(list(base.read()), base=base.head.seq, reason="the same again")
    base.claim().release()

    for looking in (journal, open_journal()):
        assert known(looking).open_tail

    open_journal().session(KEY, writer="gateway", role="run").append({"n": 1})
    assert b"".join(entry.data for entry in base.read()).endswith(b'open\n{"n":1}\n')


def test_a_file_whose_open_line_was_cut_off_is_not_open(
    base: Session, journal: Journal, open_journal: Callable[..., Journal]
) -> None:
    """The newest line is open, and stands in the file no more."""
    open_line(journal, base, b"open")
    base.cut(1, base=base.head.seq, reason="popped")

    for looking in (journal, open_journal()):
        assert not known(looking).open_tail


@pytest.mark.parametrize("turns", [0, 3, 4, 5])
def test_an_open_line_is_found_behind_however_many_claims(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], turns: int
) -> None:
    base.extend([{"n": n} for n in range(20)])  # one write: so epochs are not seqs
    open_line(journal, base, b"open")
    for _ in range(turns):
        base.claim().release()

    assert known(open_journal()).open_tail


def test_an_edit_that_was_taken_back_is_forgotten(
    base: Session, journal: Journal, thief: Thief
) -> None:
    seal = thief.column("seal", 1)
    thief.edit("seal", 1, b"x" * 32)
    assert list(known(journal).odd.altered) == [(1, 1)]
    thief.edit("seal", 1, seal)

    chain = known(journal)

    assert chain.head.seq == 1
    assert not chain.odd
    assert not chain.occupied
    assert base.append({"n": 1}).seq == 2


def test_the_only_line_in_whose_place_another_stands_was_replaced(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    thief.delete(1)
    thief.execute("UPDATE sessions SET head_seq = 0, head_epoch = 0, cum_bytes = 0 WHERE id = 2")
    open_journal().session(KEY, writer="heartbeat", role="heartbeat").append({"n": 10})

    chain = known(journal)

    assert chain.head.seq == 1
    assert list(chain.replaced) == [(1, 1)]


def test_an_altered_first_row_is_passed_by_the_next_write(
    base: Session, journal: Journal, thief: Thief
) -> None:
    thief.edit("seal", 1, b"x" * 32)
    assert base.append({"n": 1}).seq == 3  # 2 says what was found
    chain = journal.store.registry.chain_of(KEY)
    assert chain is not None
    assert not chain.occupied
    assert not chain.is_crowded


def test_what_is_missing_and_was_named_already_is_not_missing_anew(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    """A row was cut off, a stray put in its place and named, and taken away again."""
    size = thief.ask("SELECT cum_bytes FROM sessions WHERE id = 2")
    base.extend([{"n": n} for n in range(9)])
    known(journal)
    thief.delete(*range(2, 11))
    thief.move_head(1, 1)
    thief.execute("UPDATE sessions SET cum_bytes = ? WHERE id = 2", size)
    thief.insert_many([8])
    other = open_journal().session(KEY, writer="heartbeat", role="heartbeat")
    assert other.append({"n": 10}).seq == 3  # 2 names the stray
    thief.delete(8)

    chain = known(journal)

    assert chain.head.seq == 3
    assert list(chain.odd.missing) == [(4, 7), (9, 10)]


def test_how_far_a_session_of_one_line_was_examined_is_known_to_others(
    base: Session, open_journal: Callable[..., Journal]
) -> None:
    base.fence().stored()
    assert known(open_journal()).examined == 1


def test_a_stray_that_the_very_first_entry_names_is_known_to_others(
    journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 0})
    row = thief._row(2, 1) | {"session_id": 3, "seq": 5}
    other = journal.session("other", writer="gateway", role="run")
    with journal.store.transaction() as cursor:
        journal.store.open_chain(cursor, "other")
    with thief.without_triggers():
        thief.insert(row)

    assert other.append({"n": 1}).seq == 2

    store = open_journal().store
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, "other")
        assert chain is not None
        assert list(store.fresh(chain).named) == [(5, 5)]
        assert not chain.odd


def test_the_registrys_own_row_is_put_back_and_only_that_is_found(
    base: Session, journal: Journal, thief: Thief, journal_path: Path
) -> None:
    with thief.without_triggers():
        thief.execute("DELETE FROM sessions WHERE id = 1")

    journal.declare("late", "tool")

    assert thief.ask("SELECT head_seq FROM sessions WHERE id = 1") == thief.seqs("journal:")[-1]
    assert [finding.id for finding in findings(journal_path)] == ["J403"]


def test_a_session_of_nothing_but_turns_has_no_open_line(
    journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    session = journal.session(KEY, writer="gateway", role="run")
    session.claim().release()

    assert not known(open_journal()).open_tail
    assert open_journal().session(KEY, writer="gateway", role="run").append({"n": 1}).seq == 3


def test_a_redaction_is_under_way_until_it_ended_either_way(
    base: Session, journal: Journal
) -> None:
    chain = known(journal)
    intent = {"control": "redacting", "mirror": 1, "pieces": [[1, 0, 5]]}
    unredacted: dict[str, Any] = {"control": "unredacted", "mirror": 1}
    for facts, is_redacted in [(unredacted, False), (REDACTION, True)]:
        chain.learn(intent, 2)
        assert chain.redacting is not None
        assert chain.redacting.pieces == ((1, 0, 5),)
        chain.learn({**unredacted, "mirror": 2}, 3)
        chain.learn({**REDACTION, "rows": {"9": 5}}, 3)
        assert chain.redacting is not None  # of another file, and of other lines
        chain.redacted = chain.sealer.redacted = {}
        chain.learn(facts, 4)
        assert chain.redacting is None
        assert chain.redacted == chain.sealer.redacted == ({1: 5} if is_redacted else {})


def test_a_redaction_that_was_rolled_back_is_none(base: Session, journal: Journal) -> None:
    """Or a row whose line is gone would be taken for redacted."""
    chain = rolled_back(journal, lambda _, chain: chain.learn(REDACTION, 2))
    assert chain.redacted == chain.sealer.redacted == {}


def test_a_stray_without_a_line_end_leaves_no_line_open(
    base: Session, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    thief.insert_copy(terminator=b"", kind="raw")
    base.claim()

    assert not known(open_journal()).open_tail


def test_a_session_whose_key_another_row_took_gets_it_back(
    base: Session, thief: Thief, journal_path: Path
) -> None:
    with thief.without_triggers():
        thief.execute("UPDATE sessions SET id = 99 WHERE id = 2")

    entry = base.append({"n": 1})

    assert thief.execute("SELECT key, head_seq FROM sessions WHERE id = 2").fetchone() == (
        KEY,
        entry.seq,
    )
    assert thief.ask("SELECT key FROM sessions WHERE id = 99").startswith("displaced:99:")
    assert {finding.id for finding in findings(journal_path)} == {"J402", "J403"}


def test_an_open_line_is_found_behind_a_stray(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    open_line(journal, base, b"open")
    thief.insert_copy(terminator=b"\n")
    base.claim()

    assert known(open_journal()).open_tail


def test_how_far_a_session_was_examined_is_no_more_than_was_proved(
    base: Session, open_journal: Callable[..., Journal]
) -> None:
    editor = open_journal().session(KEY, writer="editor", role="external")
    editor.append({"n": 1})

    chain = known(open_journal())

    assert (chain.examined, chain.head.seq) == (1, 2)


def test_the_head_of_a_session_without_entries_is_as_long_as_a_seal(
    base: Session, journal: Journal
) -> None:
    """What seals many lines at once takes no shorter one; only its beginning is linked to."""
    chain = known(journal)
    empty = chain.new(KEY, 2, chain.sealer).head
    assert empty.seal == chain.sealer.genesis + bytes(16)
    assert (empty.seq, empty.epoch, empty.cum_bytes, empty.claim) == (0, 0, 0, None)


def test_lines_leave_the_facts_known_and_a_fact_does_not(base: Session, journal: Journal) -> None:
    """Else they were read again after each line, or a fact were missed."""
    store = journal.store
    chain = known(journal)
    with store.transaction() as cursor:
        store.open_chain(cursor, KEY).know_facts(cursor)
        author = base.author(cursor)
        write(cursor, chain, author, store.clock(), lines=[Line(b"1", b"\n", "line")])
        assert chain.knows_facts
        write(cursor, chain, author, store.clock(), facts=[fact("edit", what="gone")])
        assert not chain.knows_facts
        chain.know_facts(cursor)
        assert chain.mirror_state == "gone"

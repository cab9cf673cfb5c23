"""What a process knows of a chain: which row is the head, what lies around it, and what was there before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal.admission import put
from journal.layout import Extent, Layout
from journal.lines import Line
from journal.openend import ends_open
from journal.pages import MAX_SEQ
from journal.strays import Ranges
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Journal, Session
    from journal.chain import Chain
    from tests.thieves import Thief

MIN = -(2**63)


def known(journal: Journal) -> Chain:
    """Return the session's chain as this process knows it now."""
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, KEY)
        assert chain is not None
        return journal.store.fresh(chain)


def occupied(journal: Journal) -> list[tuple[int, int]]:
    return list(known(journal).occupied)


# -- the head -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["same process", "another"])
@pytest.mark.parametrize("strays", [1, 2, 255, 256, 257, 600])
def test_the_head_is_the_newest_row_that_verifies_however_many_lie_above(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief,
    where: str, strays: int,
) -> None:  # fmt: skip
    base.extend([{"n": 1}, {"n": 2}])
    thief.insert_many(range(4, 4 + strays))
    looking = journal if where == "same process" else open_journal()

    chain = known(looking)

    assert (chain.head.seq, chain.head.epoch) == base.head == (3, 2)
    assert list(chain.occupied) == [(4, 3 + strays)]
    assert list(chain.odd.stray) == [(4, 3 + strays)]
    assert chain.is_crowded
    assert list(chain.next_seqs(2)) == [4 + strays, 5 + strays]


def test_new_lines_take_the_gaps_between_strays(base: Session, journal: Journal, thief: Thief):
    thief.insert_many([3, 5, 6, 9])
    assert list(known(journal).next_seqs(5)) == [2, 4, 7, 8, 10]
    assert [entry.seq for entry in base.extend([{"n": n} for n in range(3)])] == [4, 7, 8]
    assert base.head.seq == 8
    assert occupied(journal) == [(9, 9)]


@pytest.mark.parametrize("low", [[0], [0, -1, -5], list(range(-600, 1)), [MIN], [MIN, MIN + 1, 0]])
def test_rows_below_the_first_seq_are_noted_and_none_is_the_head(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief, low: Any
) -> None:
    thief.insert_many(low)
    for looking in (journal, open_journal()):
        assert known(looking).head.seq == 1
        assert occupied(looking) == list(Ranges((seq, seq) for seq in low))
    assert base.append({"n": 1}).seq == 3  # 2 says what was found
    chain = journal.store.registry.chain_of(KEY)
    assert chain is not None
    assert list(chain.occupied) == occupied(journal) == list(Ranges((seq, seq) for seq in low))
    assert known(journal).head.seq == 3


def test_where_no_row_verifies_the_session_begins_anew(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    base.append({"n": 1})
    known(journal)
    thief.edit("seal", 1, b"x" * 32)
    thief.edit("seal", 2, b"x" * 32)
    thief.insert_many([0, -3])

    for looking in (open_journal(), journal):
        chain = known(looking)
        assert (chain.head.seq, chain.head.epoch, chain.head.claim) == (0, 0, None)
        assert list(chain.occupied) == [(-3, -3), (0, 2)]
        assert list(chain.next_seqs(1)) == [3]
    assert list(chain.odd.altered) == [(1, 2)]
    assert list(chain.odd.stray) == [(-3, -3), (0, 0)]


def test_a_stray_that_is_gone_again_is_forgotten(
    base: Session, journal: Journal, thief: Thief
) -> None:
    thief.insert_many([2, 5])
    assert occupied(journal) == [(2, 2), (5, 5)]
    thief.delete(2, 5)
    chain = known(journal)
    assert not chain.occupied
    assert not chain.is_odd
    assert base.append({"n": 1}).seq == 2


def test_a_row_at_the_greatest_seq_stands_in_nobodys_way(
    base: Session, journal: Journal, thief: Thief
) -> None:
    assert MAX_SEQ == 2**63 - 1
    thief.insert_many([MAX_SEQ])
    assert [entry.seq for entry in base.extend([{"n": 1}, {"n": 2}])] == [3, 4]
    assert occupied(journal) == [(MAX_SEQ, MAX_SEQ)]
    assert known(journal).head.seq == 4


def test_a_named_range_is_stepped_over_at_once_and_not_named_again(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    thief.insert_many([*range(10, 700), 702, 705])
    base.append({"n": 1})
    for looking in (journal, open_journal()):
        chain = known(looking)
        assert chain.head.seq == 3
        assert list(chain.occupied) == [(10, 699), (702, 702), (705, 705)]
        assert not chain.is_odd
        assert chain.odd.stray == Ranges()
    thief.insert_many([701])
    chain = known(open_journal())
    assert list(chain.odd.stray) == [(701, 701)]
    assert list(chain.occupied) == [(10, 699), (701, 702), (705, 705)]


# -- what was there before ------------------------------------------------------------


def test_rows_that_are_gone_from_the_end_are_missing_to_those_who_saw_them(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    base.extend([{"n": 1}, {"n": 2}])
    thief.delete(2, 3)
    chain = known(journal)
    assert chain.head.seq == 1
    assert list(chain.odd.missing) == list(chain.occupied) == [(2, 3)]
    assert chain.highest == 3
    fresh = known(open_journal())
    assert not fresh.odd.missing
    assert not fresh.occupied
    assert base.append({"n": 3}).seq == 5
    assert not known(journal).odd.missing


def test_the_newest_row_alone_may_be_gone_and_come_back(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    base.append({"n": 1})
    base.fence().stored()
    row = thief._row(2, 2)
    thief.delete(2)
    chain = known(journal)
    assert list(chain.odd.missing) == [(2, 2)]
    assert chain.examined == known(open_journal()).examined == 1
    with thief.without_triggers():
        thief.insert(row)
    chain = known(journal)
    assert chain.head.seq == 2
    assert not chain.is_odd
    assert not chain.occupied


def test_a_row_that_was_changed_is_altered_to_those_who_saw_it_and_a_stray_to_others(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    base.append({"n": 1})
    thief.edit("seal", 2, b"x" * 32)
    chain = known(journal)
    assert list(chain.odd.altered) == [(2, 2)]
    assert not chain.odd.stray
    fresh = known(open_journal())
    assert list(fresh.odd.stray) == [(2, 2)]
    assert not fresh.odd.altered


@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_head_in_whose_place_another_sealed_row_stands_was_replaced(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief, more: int
) -> None:
    """The end was cut off, and somebody who could not know it wrote on: only who was there can tell."""
    size = thief.ask("SELECT cum_bytes FROM sessions WHERE id = 2")
    base.append({"n": 1})
    known(journal)
    thief.delete(2)
    thief.move_head(1, 1)
    thief.execute("UPDATE sessions SET cum_bytes = ? WHERE id = 2", size)
    other = open_journal().session(KEY, writer="heartbeat", role="heartbeat")
    other.extend([{"n": 10 + n} for n in range(more + 1)])

    chain = known(journal)

    assert chain.head.seq == 2 + more
    assert list(chain.replaced) == [(2, 2)]
    assert not chain.odd.missing
    assert not known(open_journal()).replaced


def test_a_head_that_is_gone_or_changed_while_others_went_on_was_not_replaced(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    other = open_journal().session(KEY, writer="heartbeat", role="heartbeat")

    def reseal(seq: int) -> None:
        thief.edit("seal", seq, b"x" * 32)

    for spoil in (lambda seq: thief.edit("epoch", seq, 9), reseal, thief.delete):
        seq = base.append({"n": 1}).seq
        known(journal)
        other.append({"n": 2})
        spoil(seq)
        assert known(journal).head.seq > seq
        assert not known(journal).replaced


# -- the projection -------------------------------------------------------------------


@pytest.mark.parametrize(
    "column, value", [("head_seq", 9), ("head_epoch", 9), ("cum_bytes", 9), ("key", "other")]
)
def test_a_projection_that_is_not_the_heads_is_odd_and_put_right(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], thief: Thief,
    column: str, value: object,
) -> None:  # fmt: skip
    before = thief.execute("SELECT key, head_seq, head_epoch, cum_bytes FROM sessions WHERE id = 2").fetchone()  # fmt: skip
    with thief.without_triggers():
        thief.execute(f"UPDATE sessions SET {column} = ? WHERE id = 2", value)
    chain = known(journal)
    names = ("key", "head_seq", "head_epoch", "cum_bytes")
    assert chain.odd.projection == dict(zip(names, before, strict=True)) | {column: value}
    assert chain.is_odd
    other = open_journal()
    assert known(other).is_odd

    entry = base.append({"n": 1})

    found = thief.execute("SELECT key, head_seq, head_epoch, cum_bytes FROM sessions WHERE id = 2").fetchone()  # fmt: skip
    assert found[:3] == (KEY, entry.seq, entry.epoch)
    for looking in (journal, other):
        assert known(looking).odd.projection is None


def test_of_a_forged_key_only_the_beginning_is_told(
    base: Session, journal: Journal, thief: Thief
) -> None:
    with thief.without_triggers():
        thief.execute("UPDATE sessions SET key = ? WHERE id = 2", "k" * 300)
    assert known(journal).odd.projection["key"] == "k" * 200  # type: ignore[index]


def test_a_projection_that_is_gone_is_said(base: Session, journal: Journal, thief: Thief) -> None:
    with thief.without_triggers():
        thief.execute("DELETE FROM sessions WHERE id = 2")
    chain = known(journal)
    assert chain.odd.projection == {"row": "missing"}
    assert chain.found_seq is None
    assert chain.head.seq == 1


@pytest.mark.parametrize("forged", [0, 1, 3])
def test_only_who_has_the_key_says_how_far_rows_were_examined(
    base: Session, open_journal: Callable[..., Journal], thief: Thief, forged: int
) -> None:
    base.extend([{"n": 1}, {"n": 2}])
    base.fence().stored()
    columns = [row[1] for row in thief.execute("PRAGMA table_info(sessions)")]
    assert "examined_seq" in columns
    assert known(open_journal()).examined == 3
    with thief.without_triggers():
        thief.execute("UPDATE sessions SET examined_seq = ? WHERE id = 2", forged)
    assert known(open_journal()).examined == (3 if forged == 3 else 0)


# -- the end of the file --------------------------------------------------------------


@pytest.mark.parametrize("where", ["same process", "another"])
def test_a_line_without_an_end_is_ended_before_the_next(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], where: str
) -> None:
    """Whatever control entries came after it."""
    with journal.store.transaction() as cursor:
        put(cursor, base, [Line(b"open", b"", "raw")], None)
    for _ in range(6):
        base.claim().release()
    looking = journal if where == "same process" else open_journal()
    assert known(looking).open_tail
    looking.session(KEY, writer="gateway", role="run").append({"n": 1})
    assert b"".join(entry.data for entry in base.read()).endswith(b'open\n{"n":1}\n')
    assert not known(journal).open_tail


def test_a_stray_at_the_least_seq_stops_nobody_in_a_session_of_claims_alone(
    journal: Journal, open_journal: Callable[..., Journal], thief: Thief
) -> None:
    """Who looks for its last line, or for how a claim ended, looks at all there is."""
    turn = journal.session("s", writer="w", role="run").claim()
    turn.release()
    thief.insert_many([MIN, *range(-60, 1)], "s")  # with these a page of facts is full
    assert turn.outcome == "released"
    assert open_journal().session("s", writer="w", role="run").append({"n": 1}).seq > 2


def test_a_line_with_its_end_is_not_ended_again(
    base: Session, journal: Journal, open_journal: Callable[..., Journal]
) -> None:
    base.claim().release()
    for looking in (journal, open_journal()):
        assert not known(looking).open_tail
    base.rewrite(list(base.read()), base=base.head.seq, reason="the same again")
    for looking in (journal, open_journal()):
        assert not known(looking).open_tail
    seq = base.head.seq
    assert open_journal().session(KEY, writer="gateway", role="run").append({"n": 1}).seq == seq + 1


@pytest.mark.parametrize(
    "extents, is_open",
    [
        ([(1, None)], False),
        ([(1, 2)], True),
        ([(4, 4), (1, 2)], True),
        ([(2, 2), (4, 9)], False),
        ([(2, 2), (9, 9)], True),  # the last holds nothing but what is no line
        ([(2, 2), (5, 5)], True),
        ([(9, 9)], False),
        ([], False),
    ],
)
def test_whether_a_layout_ends_open(
    base: Session, journal: Journal, thief: Thief, *, extents: list[Any], is_open: bool
) -> None:
    """By its last sealed line: 2 is open, 3 ends it, 5 is a control entry and 6 is forged."""
    for line in (Line(b"open", b"", "raw"), Line(b"", b"\n", "raw"), Line(b"x", b"\n", "raw")):
        with journal.store.transaction() as cursor:
            put(cursor, base, [line], None)
    base.claim()
    thief.insert_many([6])
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, KEY)
        assert chain is not None
        layout = Layout(1, tuple(Extent(*each) for each in extents))
        assert ends_open(cursor, journal.store.fresh(chain), layout) is is_open

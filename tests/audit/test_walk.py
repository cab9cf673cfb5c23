"""A walk over rows that a key holder sealed, and over what was done to them since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal.audit.aside import KEPT
from journal.audit.declarations import Declarations, Declared, Revoked
from journal.audit.findings import Findings
from journal.audit.judging import Change, Linked, Sealed
from journal.audit.walk import UNKNOWN, Walk
from journal.seal import Sealer
from tests.audit.rows import SIZE, chain, edited, resealed, row, sealed

if TYPE_CHECKING:
    from journal.model import Row


class Walked:
    """A walk, with what it found and what it told of."""

    def __init__(self, sealer: Sealer | None) -> None:
        self.known = Declarations()
        self.known.writers |= {2: Declared("w", "run", 1), 3: Declared("e", "external", 1)}
        self.known.instances |= {3: 2, 4: 3}
        self.found = Findings("x.db")
        self.told: list[tuple[int, bool]] = []
        judge = Linked() if sealer is None else Sealed(sealer)
        self.walk = Walk("s", judge, self.known, self.found, on_entry=self.tell)

    def tell(self, row: Row, facts: dict[str, Any] | None, links: bool) -> None:  # noqa: ARG002, FBT001
        self.told.append((row.seq, links))

    def over(self, rows: list[Row]) -> Walk:
        self.walk.feed_all(rows)
        self.walk.finish()
        return self.walk

    @property
    def checks(self) -> list[tuple[str, list[int]]]:
        return [
            (each.id, [seq for first, last in each.ranges for seq in range(first, last + 1)])
            for each in self.found.all()
        ]


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(b"k" * 32, 1, 2, "s")


@pytest.fixture
def walked(sealer: Sealer) -> Walked:
    return Walked(sealer)


def seqs(ranges: Any) -> list[int]:
    return [seq for first, last in ranges for seq in range(first, last + 1)]


def stray(seq: int, **columns: Any) -> Row:
    return row(seq=seq, id=900 + seq, seal=b"x" * 32, **columns)


# -- what is whole ------------------------------------------------------------------------


@pytest.mark.parametrize("has_key", [True, False])
def test_a_whole_session(sealer, has_key):
    rows = chain(sealer, 5)
    walked = Walked(sealer if has_key else None)
    walk = walked.over(rows)
    assert walked.checks == []
    assert walk.is_plain
    assert walk.last == rows[-1]
    tally = walk.tally
    assert (tally.rows, tally.entries, tally.lines, tally.raw_lines, tally.bytes) == (
        5,
        5,
        5,
        0,
        5 * SIZE,
    )
    assert walk.trusted_whos == {(2, 3, 2, 1)}
    assert walked.told == [(seq, True) for seq in range(1, 6)]
    assert walk.number == rows[3].id
    assert walk.follows((rows[4].id, 5, rows[4].seal))
    assert not walk.follows((rows[3].id, 4, rows[3].seal))


def test_only_the_first_of_each_write_is_told_where_that_is_enough(sealer, walked):
    rows = chain(sealer, 3)
    again = resealed(
        sealer, rows[2], seq=4, id=20, epoch=3, prev=rows[2].seal[:16], cum_bytes=4 * SIZE
    )
    walked.walk.tells_each = False
    walked.over([*rows, again])
    assert walked.told == [(1, True), (2, True), (3, True)]
    assert walked.walk.tally.lines == 4


def test_raw_lines_and_control_entries_are_counted_apart(sealer, walked):
    rows = chain(sealer, 2)
    more: dict[str, Any] = {"prev": rows[1].seal[:16], "seq": 3, "epoch": 3, "id": 30}
    raw = resealed(sealer, rows[1], kind=b"raw", cum_bytes=3 * SIZE, **more)
    walk = walked.over([*rows, raw])
    assert (walk.tally.lines, walk.tally.raw_lines, walk.tally.bytes) == (3, 1, 3 * SIZE)
    first = Walked(sealer).over(chain(sealer, 1, kind=b"raw"))
    assert (first.tally.lines, first.tally.raw_lines) == (1, 1)


def test_a_control_entry_is_told_with_its_facts_and_adds_no_bytes(sealer, walked):
    rows = chain(sealer, 2)
    told: dict[str, Any] = {"body": b'{"control":"edit"}', "terminator": b"", "kind": b"control"}
    at = {"prev": rows[1].seal[:16], "seq": 3, "epoch": 3, "id": 30, "cum_bytes": 2 * SIZE}
    control = sealed(sealer, line_type=b"edit", line_id=None, parent_id=None, **told, **at)
    walk = walked.over([*rows, control])
    assert walked.checks == []
    tally = walk.tally
    assert (tally.entries, tally.controls, tally.lines, tally.bytes) == (3, 1, 2, 2 * SIZE)


# -- what a key holder should not have sealed ------------------------------------------


@pytest.mark.parametrize(
    "columns, check",
    [
        ({"epoch": 5}, "J202"),
        ({"epoch": 2}, "J202"),
        ({"epoch": 3, "claim": 9}, "J203"),
        ({"cum_bytes": 4 * SIZE + 1}, "J204"),
        ({"cum_bytes": 3 * SIZE - 1}, "J204"),
        ({"writer_id": 9}, "J104"),
        ({"recorder_id": 9}, "J104"),
        ({"instance_id": 9}, "J105"),
        ({"trusted": 0}, "J106"),
        ({"kind": b"other"}, "J112"),
        ({"origin": b"other"}, "J112"),
        ({"line_type": b"other"}, "J308"),
        ({"line_id": None}, "J308"),
        ({"parent_id": b"other"}, "J308"),
        ({"id": 14}, "J207"),
        ({"id": 0}, "J207"),
    ],
)
def test_what_breaks_a_rule_is_told_of_that_entry(sealer, walked, columns, check):
    rows = chain(sealer, 3)
    fourth: dict[str, Any] = {
        "prev": rows[2].seal[:16],
        "seq": 4,
        "epoch": 4,
        "id": 40,
        "cum_bytes": 4 * SIZE,
    }
    wrong = resealed(sealer, rows[2], **(fourth | columns))
    walked.over([*rows, wrong])
    assert [each for each, _ in walked.checks if each == check] == [check]
    assert dict(walked.checks)[check] == [4]


def test_an_external_entry_is_noted_unless_its_writer_is_permitted(sealer):
    outside = {"writer_id": 3, "recorder_id": 3, "instance_id": 4, "trusted": 0}
    for permitted, expected in [(set[int](), [1, 2]), ({3}, [])]:
        walked = Walked(sealer)
        walked.known.permitted |= permitted
        assert seqs(walked.over(chain(sealer, 2, **outside)).external) == expected
        assert walked.checks == []


def test_an_entry_after_the_revocation_of_its_writer_is_told(sealer, walked):
    rows = chain(sealer, 3)
    walked.known.revoked[2] = Revoked(99, None, rows[1].id)
    walked.over(rows)
    assert walked.checks == [("J109", [3])]


@pytest.mark.parametrize("number", [16, 500])
def test_a_row_number_that_was_raised_is_told_of_its_own_row(sealer, walked, number):
    """And not of the honest one after it."""
    rows = chain(sealer, 4)
    rows[1] = edited(rows[1], id=number)
    walked.over(rows)
    assert walked.checks == [("J207", [2])]


# -- what was done to it since ----------------------------------------------------------


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_an_entry_that_is_gone_is_missing(sealer, walked, at):
    rows = chain(sealer, 6)
    walk = walked.over([each for each in rows if each.seq != at])
    assert seqs(walk.missing) == [at]
    assert not walk.skipped
    assert not walk.is_plain
    assert walked.checks == []
    assert [seq for seq, links in walked.told if not links] == [at + 1]


@pytest.mark.parametrize("where", [0, 2, 6])
def test_strays_around_entries_are_strays(sealer, walked, where):
    rows = chain(sealer, 6)
    others = [stray(seq) for seq in ((-2, 0) if where == 0 else (where,) if where < 6 else (7, 9))]
    walk = walked.over([*rows[:where], *others, *rows[where:]])
    assert seqs(walk.strays) == [other.seq for other in others]
    assert not walk.missing
    assert not walk.replaced
    assert walk.samples == others
    assert walk.last == rows[-1]


def test_a_stray_in_the_place_of_an_entry_replaced_it(sealer, walked):
    rows = chain(sealer, 4)
    walk = walked.over([rows[0], stray(2), *rows[2:]])
    assert (seqs(walk.replaced), seqs(walk.strays), seqs(walk.missing)) == ([2], [2], [])


@pytest.mark.parametrize("low", [(), (0,), (-1, 0)])
def test_strays_below_the_first_seq_and_in_the_first_entrys_place(sealer, walked, low):
    """They stand side by side; the entry was replaced, and no other history goes on."""
    rows = chain(sealer, 3)
    walk = walked.over([*map(stray, (*low, 1)), *rows[1:]])
    assert seqs(walk.replaced) == [1]
    assert seqs(walk.strays) == [*low, 1]
    assert walked.checks == []


def test_a_stray_beside_a_gap(sealer, walked):
    rows = chain(sealer, 6)
    walk = walked.over([rows[0], stray(3), *rows[4:]])
    assert (seqs(walk.missing), seqs(walk.strays), seqs(walk.replaced)) == ([2, 4], [3], [])


@pytest.mark.parametrize(
    "column, value", [("epoch", 9), ("created_us", 7), ("prev", b"z" * 16), ("kind", b"raw")]
)
def test_an_edited_entry_is_told_with_its_column_and_is_no_stray(sealer, walked, column, value):
    rows = chain(sealer, 5)
    rows[2] = edited(rows[2], **{column: value})
    walk = walked.over(rows)
    assert list(walk.changed) == [3]
    assert walk.changed[3].column == column
    assert not any((walk.strays, walk.missing, walk.replaced, walk.skipped))


def test_an_overwritten_seal_and_a_column_that_nobody_can_tell(sealer, walked):
    rows = chain(sealer, 6)
    rows[1] = edited(rows[1], seal=b"x" * 32)
    rows[3] = edited(rows[3], created_us=1, origin=b"file")
    walk = walked.over(rows)
    assert walk.changed == {2: Change("seal"), 4: UNKNOWN}
    assert not walk.strays


def test_two_edited_neighbours(sealer, walked):
    rows = chain(sealer, 5)
    rows[1], rows[2] = edited(rows[1], trusted=0), edited(rows[2], trusted=0)
    walk = walked.over(rows)
    assert list(walk.changed) == [3, 2]
    assert not any((walk.strays, walk.missing))


def test_an_entry_that_was_moved_is_found_where_it_stands(sealer, walked):
    rows = chain(sealer, 6)
    walk = walked.over([*rows[:2], *rows[3:], edited(rows[2], seq=40)])
    assert walk.changed == {40: Change("seq", 3)}
    assert seqs(walk.moved) == [3]
    assert not any((walk.strays, walk.missing))


def test_seqs_that_were_left_out_are_skipped(sealer, walked):
    rows = chain(sealer, 2)
    later = resealed(
        sealer, rows[1], seq=5, epoch=3, id=40, prev=rows[1].seal[:16], cum_bytes=3 * SIZE
    )
    walk = walked.over([*rows, later])
    assert (seqs(walk.skipped), seqs(walk.missing)) == ([3, 4], [])
    assert not walk.is_plain


def test_a_first_entry_that_stands_later_skips_what_is_before(sealer, walked):
    first = resealed(sealer, chain(sealer, 1)[0], seq=3)
    walk = walked.over([first])
    assert (seqs(walk.skipped), seqs(walk.missing)) == ([1, 2], [])


def test_two_histories_that_both_hold(sealer, walked):
    """Nothing is missing, nothing stands between, and the later one follows another entry."""
    rows = chain(sealer, 3)
    other = resealed(sealer, rows[2], prev=b"o" * 16)
    walked.over([*rows[:2], other])
    assert walked.checks == [("J201", [3])]


def test_lines_that_were_altered_or_erased_are_told_and_stay_in_the_chain(sealer, walked):
    rows = chain(sealer, 4)
    rows[1] = edited(rows[1], body=b"other")
    rows[2] = edited(rows[2], body=None, salt=None)
    walk = walked.over(rows)
    assert walked.checks == [("J303", [2]), ("J305", [3])]
    assert (walk.tally.altered, walk.tally.erased, walk.tally.entries) == (1, 1, 2)
    assert not walk.is_plain


def test_a_line_that_is_gone_without_its_salt_going_too_is_told(sealer, walked):
    """Only a quick audit is handed lines without bodies, and believes them."""
    rows = chain(sealer, 3)
    rows[1] = edited(rows[1], body=None)
    walk = walked.over(rows)
    assert walked.checks == [("J303", [2])]
    assert walk.tally.altered == 1


def test_of_many_strays_the_first_and_the_last_are_kept_whole(sealer, walked):
    rows = chain(sealer, 2)
    others = [stray(seq) for seq in range(3, 103)]
    walk = walked.over([*rows, *others])
    assert seqs(walk.strays) == list(range(3, 103))
    assert walk.samples == others[:KEPT]
    walked.walk.aside.put(others[0])
    for other in others[1:]:
        walked.walk.aside.put(other)
    assert walked.walk.aside.rows() == [*others[:KEPT], *others[-KEPT:]]


def test_a_walk_that_goes_on_behind_an_entry_it_has_not_seen(sealer, walked):
    rows = chain(sealer, 4)
    walked.walk.resume(rows[1])
    walk = walked.over(rows[2:])
    assert walked.checks == []
    assert walk.is_plain
    assert walk.tally.rows == 2

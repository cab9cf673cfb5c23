"""The plan for a mirror's file, case by case: the whole of it, as the property tests cannot say it."""

from __future__ import annotations

from typing import Any

import pytest

from journal.comparison import lines_of
from journal.reconcile import (
    APPENDED,
    BEHIND,
    EDITED,
    IN_STEP,
    LINE_END,
    SHORTER,
    Found,
    Own,
    Plan,
    digest_of_line,
    plan,
)


def own_of(entries: list[bytes]) -> list[Own]:
    """Return entries, seqs from 1 on, as the lines that they make."""
    lines: list[Own] = []
    seqs, ends, digests, begun = [], [], [], b""
    for seq, data in enumerate(entries, 1):
        begun += data
        seqs.append(seq)
        ends.append(len(begun))
        digests.append(digest_of_line(begun))
        if data.endswith(b"\n") or seq == len(entries):
            lines.append(Own(tuple(seqs), tuple(ends), tuple(digests)))
            seqs, ends, digests, begun = [], [], [], b""
    return lines


def planned(entries: list[bytes], file: bytes, exported: int | None, **options: Any) -> Plan:
    given = {"is_final": False} | options
    return plan(
        own_of(entries), lines_of([file], 0), lambda seq: entries[seq - 1], exported=exported, **given
    )  # fmt: skip


def foreign(offset: int, data: bytes) -> Found:
    (found,) = lines_of([data], offset)
    return found


AB = [b"a\n", b"b\n"]


def test_nothing_on_either_side_is_in_step() -> None:
    assert planned([], b"", 0) == Plan(IN_STEP)
    assert planned(AB, b"a\nb\n", 4) == Plan(IN_STEP, (1, 2))
    assert not planned(AB, b"a\nb\n", None).is_edit


@pytest.mark.parametrize("exported", [0, 2, None])
def test_lines_that_were_not_written_yet_are_written(exported: int | None) -> None:
    assert planned(AB, b"a\n", exported) == Plan(BEHIND, (1,), (2,))


def test_a_line_that_was_there_and_is_not_is_lost() -> None:
    assert planned(AB, b"a\n", 4) == Plan(SHORTER, (1,), (), (2,), is_relaid=True)
    assert planned(AB, b"a\n", 3) == Plan(BEHIND, (1,), (2,))  # only a part of it was
    assert planned(AB, b"b\n", 4) == Plan(SHORTER, (2,), (), (1,), is_relaid=True)
    assert planned(AB, b"b\n", None) == Plan(SHORTER, (2,), (), (1,), is_relaid=True)
    assert planned(AB, b"", None) == Plan(BEHIND, (), (1, 2))
    assert planned(AB, b"", 4) == Plan(SHORTER, (), (), (1, 2), is_relaid=True)
    assert planned(AB, b"a\n", 4).is_edit


def test_foreign_lines_at_the_end_are_appended_and_no_edit() -> None:
    x = foreign(4, b"x\n")
    found = planned(AB, b"a\nb\nx\n", 4)
    assert found == Plan(APPENDED, (1, 2, x))
    assert found.foreign == (x,)
    assert not found.is_edit
    assert planned(AB, b"a\nb\nx\nx\n", 4) == Plan(APPENDED, (1, 2, x, foreign(6, b"x\n")))


def test_what_is_to_be_written_behind_a_foreign_line_gives_another_order() -> None:
    x = foreign(2, b"x\n")
    assert planned(AB, b"a\nx\n", 2) == Plan(APPENDED, (1, x), (2,), is_relaid=True)


def test_a_foreign_line_among_ours_is_an_edit_of_the_order() -> None:
    x = foreign(2, b"x\n")
    assert planned(AB, b"a\nx\nb\n", 4) == Plan(EDITED, (1, x, 2), is_relaid=True)
    assert planned(AB, b"x\nb\n", 4) == Plan(
        EDITED, (foreign(0, b"x\n"), 2), (), (1,), is_relaid=True
    )
    assert planned(AB, b"a\nx\n", 4) == Plan(EDITED, (1, x), (), (2,), is_relaid=True)


def test_lines_in_another_order_were_moved_if_they_had_been_written() -> None:
    assert planned(AB, b"b\na\n", 4) == Plan(EDITED, (2, 1), is_relaid=True, is_moved=True)
    # The first was not in the file before: somebody wrote the same.
    assert planned(AB, b"b\na\n", 2) == Plan(IN_STEP, (2, 1), is_relaid=True)


def test_equal_lines_are_matched_in_their_order() -> None:
    x = foreign(4, b"a\n")
    assert planned([b"a\n", b"a\n"], b"a\na\na\n", 4) == Plan(APPENDED, (1, 2, x))
    assert planned([b"a\n", b"a\n"], b"a\n", 4) == Plan(SHORTER, (1,), (), (2,), is_relaid=True)


def test_what_is_planned_from_a_position_on_counts_from_there() -> None:
    assert planned(AB, b"", 102, position=100) == Plan(BEHIND, (), (2,), (1,))._replace(
        what=SHORTER, is_relaid=True
    )
    assert planned(AB, b"", 101, position=100) == Plan(BEHIND, (), (1, 2))


# -- a last line without its end ----------------------------------------------------------


def test_a_foreign_tail_is_no_line_yet_unless_it_is_final_or_we_write_behind_it() -> None:
    x = foreign(4, b"x")
    assert planned(AB, b"a\nb\nx", 4) == Plan(IN_STEP, (1, 2), tail=x)
    assert planned(AB, b"a\nb\nx", 4, is_final=True) == Plan(APPENDED, (1, 2, x))
    y = foreign(2, b"x")
    assert planned(AB, b"a\nx", 2) == Plan(APPENDED, (1, y), (LINE_END, 2), is_relaid=True)


@pytest.mark.parametrize("is_final", ["", "final"])
def test_a_write_of_ours_that_broke_off_goes_on(is_final: str) -> None:
    entries = [b"a\n", b"bcd\n", b"e\n"]
    for size in (1, 2, 3):
        found = planned(entries, b"a\n" + b"bcd"[:size], 2, is_final=bool(is_final))
        assert found == Plan(BEHIND, (1,), (2, 3), mend=size)
    assert planned([b"bc", b"\n"], b"b", 0, is_final=bool(is_final)) == Plan(
        BEHIND, (), (1, 2), mend=1
    )


def test_what_only_begins_as_a_write_of_ours_is_foreign() -> None:
    x = foreign(2, b"bx")
    assert planned([b"a\n", b"bcd\n"], b"a\nbx", 2) == Plan(
        APPENDED, (1, x), (LINE_END, 2), is_relaid=True
    )
    # More than the whole first pending line: the next is not its end.
    long = foreign(0, b"be")
    assert planned([b"b\n", b"e\n"], b"be", 0) == Plan(
        APPENDED, (long,), (LINE_END, 1, 2), is_relaid=True
    )


def test_an_open_line_of_ours_whose_end_came_later_is_ours() -> None:
    entries = [b"a\n", b"bc", b"\n"]
    assert planned(entries, b"a\nbc", 4) == Plan(BEHIND, (1, 2), (3,))
    assert planned(entries, b"a\nbc", None) == Plan(BEHIND, (1,), (2, 3), mend=2)
    # Its end had been there: it is lost, and the line open.
    assert planned(entries, b"a\nbc", 5) == Plan(SHORTER, (1, 2), (), (3,), is_relaid=True)
    assert planned(entries, b"a\nbc\n", 5) == Plan(IN_STEP, (1, 2, 3))


def test_an_open_line_is_ended_before_another_is_written() -> None:
    entries = [b"ab", b"\n", b"c\n"]
    assert planned(entries, b"ab", 3) == Plan(SHORTER, (1,), (LINE_END, 3), (2,), is_relaid=True)
    assert planned(entries, b"ab", 2) == Plan(BEHIND, (1,), (2, 3))
    assert planned([b"a", b"b", b"c\n"], b"ab", 2) == Plan(BEHIND, (1, 2), (3,))


def test_an_open_line_behind_another_order_is_ended_too() -> None:
    found = planned([b"x\n", b"ab", b"\n"], b"ab", 0)
    assert found == Plan(BEHIND, (2,), (LINE_END, 1, 3), is_relaid=True)


def test_a_line_of_ours_that_stands_there_is_not_begun_again() -> None:
    assert planned([b"ab", b"\n"], b"ab\nab", 3) == Plan(IN_STEP, (1, 2), tail=foreign(3, b"ab"))


def test_what_was_exported_is_counted_by_whole_lines() -> None:
    entries = [b"ab", b"\n", b"c\n"]
    assert planned(entries, b"ab\n", 4) == Plan(BEHIND, (1, 2), (3,))
    assert planned(entries, b"ab\n", 5) == Plan(SHORTER, (1, 2), (), (3,), is_relaid=True)

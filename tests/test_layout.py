"""Layouts: what an order of lines is, what its entry says, and how lines are taken out and put back."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.controls import decode
from journal.errors import EntryError
from journal.layout import PLAIN, Extent, Layout, cut_off, extents_of, undone

HEAD = 12
LINES = [1, 2, 3, 5, 6, 7, 9, 10, 12]  # the rest are control entries, and stand in no file


def seqs(layout: Layout, head: int = HEAD) -> list[int]:
    """Return the lines of a layout in file order."""
    spans = layout.spans(head)
    found = chain.from_iterable(range(first, last + 1) for first, last in spans)
    return [seq for seq in found if seq in LINES]


def layout_of(*extents: tuple[int, int | None], no: int = 1) -> Layout:
    return Layout(no, tuple(Extent(*each) for each in extents))


def test_the_layout_nobody_wrote_is_every_line_as_it_came():
    assert PLAIN.is_plain
    assert not layout_of((1, 4), (5, None)).is_plain
    assert list(PLAIN.spans(4)) == [(1, 4)]
    assert list(PLAIN.spans(0)) == []
    assert PLAIN.holds(1)
    assert PLAIN.holds(10**9)
    assert not PLAIN.holds(0)


def test_spans_end_at_the_head_and_come_from_either_end():
    layout = layout_of((7, 9), (2, 3), (11, 11), (12, None))
    assert list(layout.spans(20)) == [(7, 9), (2, 3), (11, 11), (12, 20)]
    assert list(layout.spans(8, newest=True)) == [(2, 3), (7, 8)]
    assert list(layout.spans(12)) == [(7, 9), (2, 3), (11, 11), (12, 12)]
    assert [seq for seq in range(1, 15) if layout.holds(seq)] == [2, 3, 7, 8, 9, 11, 12, 13, 14]
    assert layout.without(range(15)) == [0, 1, 4, 5, 6, 10]
    assert layout_of(no=2).without([1, 2]) == [1, 2]


def test_an_entry_says_only_what_follows_the_first_change():
    before = layout_of((1, 3), (5, 6), (9, None), no=4)
    facts = decode(before.then([Extent(1, 3), Extent(6, 6), Extent(9, None)], why="cut").body)
    assert facts == {"control": "layout", "no": 5, "keep": 1, "extents": [[6, 6], [9, None]], "why": "cut"}  # fmt: skip
    assert before.after(facts) == layout_of((1, 3), (6, 6), (9, None), no=5)
    longer = decode(before.then([*before.extents, Extent(12, 12)]).body)
    assert (longer["keep"], longer["extents"]) == (3, [[12, 12]])
    shorter = decode(before.then(before.extents[:2]).body)
    assert (shorter["keep"], shorter["extents"]) == (2, [])


@pytest.mark.parametrize(
    "facts",
    [
        {"no": 1, "keep": 0, "extents": []},
        {"no": 3, "keep": 0, "extents": []},
        {"no": 2, "keep": -1, "extents": []},
        {"no": 2, "keep": 3, "extents": []},
        {"keep": 0, "extents": []},
    ],
)
def test_an_entry_that_does_not_follow_is_refused(facts: dict[str, Any]):
    with pytest.raises(EntryError) as caught:
        layout_of((1, 3), (5, None)).after(facts)
    assert caught.value.code == "layout"


@pytest.mark.parametrize("keep, expected", [(0, ()), (1, ((1, 3),)), (2, ((1, 3), (5, None)))])
def test_an_entry_may_keep_none_of_it_or_all(keep: int, expected: tuple[Any, ...]):
    made = layout_of((1, 3), (5, None)).after({"no": 2, "keep": keep, "extents": []})
    assert made == layout_of(*expected, no=2)


@pytest.mark.parametrize(
    "order, expected",
    [
        ([], []),
        ([1, 2, 3], [(1, 3)]),
        ([3, 5, 6], [(3, 6)]),  # what lies between is no line
        ([1, 3], [(1, 1), (3, 3)]),
        ([3, 2, 1], [(3, 3), (2, 2), (1, 1)]),
        ([9, 10, 1, 2], [(9, 10), (1, 2)]),
        ([12], [(12, 12)]),
    ],
)
def test_lines_that_follow_each_other_are_one_extent(
    order: list[int], expected: list[tuple[int, int]]
):
    assert extents_of(order, LINES) == [Extent(*each) for each in expected]


@settings(max_examples=50)
@given(st.permutations(LINES), st.integers(0, len(LINES)))
def test_any_order_of_any_lines_is_a_layout(order: list[int], count: int):
    assert seqs(Layout(1, tuple(extents_of(order[:count], LINES)))) == order[:count]


@settings(max_examples=50)
@given(st.permutations(LINES), st.integers(0, len(LINES)))
def test_cutting_off_the_last_lines_leaves_the_others(order: list[int], count: int):
    layout = Layout(1, tuple(extents_of(order, LINES)))
    dropped = order[::-1][:count]
    assert seqs(Layout(2, tuple(cut_off(layout, dropped, HEAD)))) == order[: len(order) - count]


def test_what_is_newer_than_the_base_is_left_to_the_caller():
    assert cut_off(PLAIN, [5, 3], 5) == [Extent(1, 2)]
    assert cut_off(PLAIN, [1], 1) == []
    assert cut_off(layout_of((1, 2), (9, None)), [], 5) == [Extent(1, 2)]
    assert cut_off(layout_of((1, 2), (7, 8), (9, None)), [7], 7) == [Extent(1, 2)]
    assert cut_off(layout_of((1, 2), (7, None)), [2], 6) == [Extent(1, 1)]


def test_extents_without_a_line_go_with_the_lines_around_them():
    """Extent 8 to 8 holds a control entry only: nobody dropped it by name."""
    assert cut_off(layout_of((1, 3), (8, 8), (9, 9)), [9, 3], HEAD) == [Extent(1, 2)]


@settings(max_examples=50)
@given(st.permutations(LINES), st.permutations(LINES), st.integers(0, 9), st.integers(0, 9))
def test_undoing_a_change_that_still_stands_gives_the_order_before(
    one: list[int], other: list[int], first: int, second: int
):
    before = Layout(1, tuple(extents_of(one[:first], LINES)))
    after = Layout(2, tuple(extents_of(other[:second], LINES)))
    assert undone(after.extents, before, after, HEAD) == list(before.extents)


@settings(max_examples=50)
@given(st.permutations(LINES), st.integers(1, 9), st.sets(st.integers(0, 8)), st.data())
def test_undoing_later_puts_back_what_was_taken_out_and_nothing_else(
    order: list[int], count: int, out: set[int], data: st.DataObject
):
    """Each behind the line it stood behind; what another took out since stays out."""
    was = order[:count]
    left = [seq for at, seq in enumerate(was) if at not in out]
    later = [seq for seq in left if data.draw(st.booleans())]
    before = Layout(1, tuple(extents_of(was, LINES)))
    after = Layout(2, tuple(extents_of(left, LINES)))
    now = extents_of(later, LINES)
    got = seqs(Layout(3, tuple(undone(now, before, after, HEAD))))
    assert sorted(got) == sorted(was if later == left else {*later, *was} - ({*left} - {*later}))
    assert [seq for seq in got if seq in later] == later


def test_a_line_goes_back_behind_the_one_it_stood_behind():
    after = layout_of((1, 2), (6, None))
    assert undone([Extent(2, 2), Extent(6, None)], PLAIN, after, 7) == [
        Extent(2, 2), Extent(3, 5), Extent(6, None),
    ]  # fmt: skip
    assert undone([Extent(1, 3), Extent(6, None), Extent(5, 5)], PLAIN, after, 7) == [
        Extent(1, 3), Extent(4, 4), Extent(6, None), Extent(5, 5),
    ]  # fmt: skip
    # In the middle of what is one extent now: that is split.
    assert undone([Extent(1, 9)], layout_of((1, 2), (10, 10), (3, 9)), layout_of((1, 9)), 12) == [
        Extent(1, 2), Extent(10, 10), Extent(3, 9),
    ]  # fmt: skip
    now = [Extent(1, 5), Extent(6, 9)]
    assert undone(now, layout_of((1, 2), (20, 20), (3, 19)), layout_of((1, 9)), 30) == [
        Extent(1, 2), Extent(20, 20), Extent(3, 5), Extent(6, 9), Extent(10, 19),
    ]  # fmt: skip
    assert undone([Extent(1, 8)], layout_of((20, 20), (1, 9)), layout_of((1, 9)), 30) == [
        Extent(20, 20), Extent(1, 8),
    ]  # fmt: skip
    parted = layout_of((4, 9), (10, None))
    assert undone([Extent(4, None)], layout_of((4, 4), (2, 2), (5, None)), parted, 30) == [
        Extent(4, 4), Extent(2, 2), Extent(5, None),
    ]  # fmt: skip

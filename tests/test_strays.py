"""Ranges, against the plain set they stand for; and what is said of odd rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.strays import Oddities, Oddity, Ranges

NUMBERS = st.integers(-40, 40)
PAIRS = st.tuples(NUMBERS, st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
MANY = st.lists(PAIRS, max_size=30)
MAX = 2**63 - 1


def plain(pairs) -> set[int]:
    return {number for first, last in pairs for number in range(first, last + 1)}


@given(MANY)
def test_ranges_hold_the_numbers_added(pairs):
    """Sorted, disjoint, never adjacent; and in whatever order they came."""
    ranges, numbers = Ranges(pairs), plain(pairs)

    kept = list(ranges)
    assert plain(kept) == numbers
    assert sum(last - first + 1 for first, last in kept) == len(numbers)
    assert bool(ranges) == bool(numbers)
    assert all(first <= last for first, last in kept)
    assert all(kept[i][1] + 1 < kept[i + 1][0] for i in range(len(kept) - 1))
    assert ranges == Ranges(reversed(pairs))


def test_ranges_may_hold_more_numbers_than_a_list_could():
    """What a control entry names may reach from the least seq to the greatest."""
    pairs = [(-(2**63), -1), (5, 2**63 - 1)]
    assert list(Ranges(pairs)) == pairs
    assert tuple(Ranges(pairs)) == tuple(pairs)
    assert repr(Ranges(pairs))


@given(MANY, NUMBERS)
def test_membership_and_the_span_around(pairs, number):
    ranges, numbers = Ranges(pairs), plain(pairs)

    span = ranges.span(number)
    assert (number in ranges) == (number in numbers) == (span is not None)
    if span is not None:
        assert set(range(span[0], span[1] + 1)) <= numbers
        assert span[0] - 1 not in numbers
        assert span[1] + 1 not in numbers


@given(MANY, NUMBERS)
def test_the_next_free_number(pairs, number):
    numbers = plain(pairs)
    expected = next(n for n in range(number, 200) if n not in numbers)

    assert Ranges(pairs).next_free(number) == expected


@given(MANY, NUMBERS, NUMBERS)
def test_whether_all_between_are_there(pairs, first, last):
    expected = set(range(first, last + 1)) <= plain(pairs)

    assert Ranges(pairs).covers(first, last) == expected


@given(MANY, MANY)
def test_update_is_union_and_a_copy_is_independent(pairs, more):
    ranges = Ranges(pairs)
    twin = ranges.copy()
    ranges.update(Ranges(more))

    assert plain(ranges) == plain(pairs) | plain(more)
    assert plain(twin) == plain(pairs)
    twin.clear()
    assert not twin
    assert plain(ranges) == plain(pairs) | plain(more)


@given(MANY)
def test_one_can_add_while_iterating(pairs):
    ranges = Ranges(pairs)
    for first, last in ranges:
        ranges.add(first - 1, last + 1)

    assert plain(ranges) >= plain(pairs)


def test_the_ends_of_what_a_seq_can_be():
    ranges = Ranges([(-(MAX + 1), -(MAX + 1)), (-5, -1), (MAX, MAX)])

    assert MAX in ranges
    assert 0 not in ranges
    assert ranges.next_free(-5) == 0
    assert ranges.next_free(MAX) == MAX + 1
    assert list(ranges) == [(-(MAX + 1), -(MAX + 1)), (-5, -1), (MAX, MAX)]


def test_ranges_have_no_hash():
    with pytest.raises(TypeError):
        hash(Ranges())
    assert repr(Ranges([(1, 3)])) == "Ranges([(1, 3)])"
    assert Ranges() != [(1, 3)]


def test_an_oddity_is_sealed_and_read_again_as_it_was():
    oddity = Oddity("stray", ((1, 3), (7, 7)), 4, "ab" * 32)

    assert Oddity.from_json(oddity.as_json()) == oddity
    assert Oddity.from_json({"sort": "missing", "ranges": [[1, 1]], "count": 1}).digest == ""


@pytest.mark.parametrize("sort", ["stray", "altered", "erased", "missing"])
def test_oddities_are_something_once_there_is_one(sort):
    odd = Oddities()
    assert not odd

    dict(odd.sorts())[sort].add(1)

    assert odd
    assert [name for name, ranges in odd.sorts() if ranges] == [sort]


def test_a_forged_projection_alone_is_odd():
    assert Oddities(projection={"head_seq": 9})

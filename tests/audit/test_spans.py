"""Sets of seqs, taken from each other: as sets of numbers would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from journal.audit.findings import spans
from journal.audit.spans import common, minus, without
from journal.strays import Ranges

SEQS = st.sets(st.integers(-3, 30), max_size=20)


def ranges(seqs: set[int]) -> Ranges:
    return Ranges((seq, seq) for seq in seqs)


@given(SEQS, SEQS)
def test_what_one_has_and_the_other_has_not(these, others):
    assert minus(ranges(these), ranges(others)) == ranges(these - others)


@given(SEQS, SEQS)
def test_what_both_have(these, others):
    assert common(ranges(these), ranges(others)) == ranges(these & others)


@given(SEQS, st.integers(-3, 30))
def test_all_but_one(these, seq):
    assert without(ranges(these), seq) == ranges(these - {seq})


def test_ranges_as_people_write_them():
    assert spans([(3, 3), (7, 9)]) == "3, 7-9"
    pairs = [(n, n) for n in range(1, 20, 2)]
    assert spans(pairs[:8]) == "1, 3, 5, 7, 9, 11, 13, 15"
    assert spans(pairs) == "1, 3, 5, 7, 9, 11, 13, 15, … 2 more"
    assert spans(iter(pairs), 2) == "1, 3, … 8 more"

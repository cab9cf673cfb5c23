"""Rows are read a page at a time: all of them, in their order, and never much at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from journal.pages import MAX_SEQ, MIN_SEQ, page_of, rows_of, sealed_page

if TYPE_CHECKING:
    from journal import Journal, Session
    from tests.thieves import Thief


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 520])
def test_rows_are_read_in_order_page_by_page(base: Session, journal: Journal, count: int) -> None:
    base.extend([{"n": n} for n in range(count)])
    with journal.store.snapshot() as cursor:
        assert [row.seq for row in rows_of(cursor, 2, 1)] == list(range(1, count + 2))
        assert [row.seq for row in rows_of(cursor, 2, 3, 258)] == list(
            range(3, min(count + 1, 258) + 1)
        )
        assert [row.seq for row in page_of(cursor, 2, 1, MAX_SEQ, 2)] == [1, 2][: count + 1]


def test_a_page_ends_after_four_mebibytes(base: Session, journal: Journal) -> None:
    big = b'"' + b"x" * (2**21 - 2) + b'"'
    base.extend([big, big, big, {"n": 1}])
    with journal.store.snapshot() as cursor:
        assert [row.seq for row in page_of(cursor, 2, 2, MAX_SEQ, 9)] == [2, 3]
        assert [row.seq for row in page_of(cursor, 2, 1, MAX_SEQ, 9)] == [1, 2, 3]
        assert [row.seq for row in rows_of(cursor, 2, 1)] == [1, 2, 3, 4, 5]


def test_a_row_of_just_four_mebibytes_ends_its_page(base: Session, journal: Journal) -> None:
    base.extend([b'"' + b"x" * (2**22 - 2) + b'"', {"n": 1}])
    with journal.store.snapshot() as cursor:
        assert [row.seq for row in page_of(cursor, 2, 2, MAX_SEQ, 9)] == [2]
        assert [row.seq for row in rows_of(cursor, 2, 2)] == [2, 3]


def test_sealed_pages_are_as_long_as_whole_ones(base: Session, journal: Journal) -> None:
    """And hold what is under the seals: the seq is the second of the numbers, the line the last column."""
    big = b'"' + b"x" * (2**21 - 2) + b'"'
    base.extend([big, big, big, {"n": 1}])
    with journal.store.snapshot() as cursor:
        for first, last, limit in [
            (1, MAX_SEQ, 9),
            (2, MAX_SEQ, 9),
            (2, 2, 9),
            (4, MAX_SEQ, 1),
            (6, 9, 9),
        ]:
            whole = page_of(cursor, 2, first, last, limit)
            found = sealed_page(cursor, 2, first, last, limit)
            assert [(row[1], row[-1]) for row in found] == [(row.seq, row.body) for row in whole]


def test_a_row_without_a_line_ends_no_page(base: Session, journal: Journal) -> None:
    base.extend([{"n": n} for n in range(3)])
    base.redact([2, 3], reason="pasted")
    with journal.store.snapshot() as cursor:
        rows = page_of(cursor, 2, 1, MAX_SEQ, 9)
        assert [row.seq for row in rows if row.body is None] == [2, 3]
        assert [row[1] for row in sealed_page(cursor, 2, 1, MAX_SEQ, 9)] == [
            row.seq for row in rows
        ]
        assert [row.seq for row in rows_of(cursor, 2, 1)] == [row.seq for row in rows]


def test_seqs_are_all_that_the_database_can_hold(
    base: Session, journal: Journal, thief: Thief
) -> None:
    assert (MIN_SEQ, MAX_SEQ) == (-(2**63), 2**63 - 1)
    thief.insert_many([MIN_SEQ, MAX_SEQ])
    with journal.store.snapshot() as cursor:
        assert [row.seq for row in rows_of(cursor, 2, MIN_SEQ)] == [MIN_SEQ, 1, MAX_SEQ]
        assert [row.seq for row in rows_of(cursor, 2, MIN_SEQ, 0)] == [MIN_SEQ]
        assert [row.seq for row in rows_of(cursor, 2, 1, 1)] == [1]
        assert [row.seq for row in rows_of(cursor, 2, 2, 1)] == []

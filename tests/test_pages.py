"""Rows are read a page at a time: all of them, in their order, and never much at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal import reading
from journal.pages import MAX_SEQ, MIN_SEQ, is_full, page_before, page_of, rows_of, sealed_page

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


def test_a_page_from_the_end_is_no_longer(base: Session, journal: Journal) -> None:
    big = b'"' + b"x" * (2**21 - 2) + b'"'
    base.extend([{"n": 1}, big, big, big])
    with journal.store.snapshot() as cursor:
        assert [row.seq for row in page_before(cursor, 2, MAX_SEQ, 9)] == [5, 4]
        assert [row.seq for row in page_before(cursor, 2, 3, 9)] == [3, 2, 1]
        assert [row.seq for row in page_before(cursor, 2, 3, 2)] == [3, 2]
        assert [is_full(page_of(cursor, 2, 1, MAX_SEQ, limit), limit) for limit in (1, 9)] == [
            True,
            True,
        ]
        assert not is_full(page_of(cursor, 2, 1, 3, 4), 4)


@pytest.mark.parametrize("size", [1, 7, 21, 10**6])
def test_who_reads_holds_no_more_than_a_page_and_gets_all(
    base: Session, journal: Journal, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Lines may be of 8 MiB, and a page of 256 of them would be 2 GiB."""
    base.extend([{"n": n} for n in range(9)])
    base.rewrite([*base.read()[5:], *base.read()[:5]], base=base.head.seq, reason="turned")
    order = [entry.seq for entry in base]
    pages = []

    def noted(*arguments: Any) -> Any:
        pages.append(page(*arguments))
        return pages[-1]

    page = reading._page
    monkeypatch.setattr("journal.pages.PAGE_BYTES", size)
    monkeypatch.setattr(reading, "_page", noted)
    assert [entry.seq for entry in base] == order
    assert [entry.seq for entry in base.read(newest=True)] == order
    tail = base.tail(after=0)
    assert sorted(order) == [entry.seq for _ in range(12) for entry in tail.new()]
    assert all(
        sum(len(entry.body or b"") for entry in page[:-1]) < size for page in pages if page[1:]
    )


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

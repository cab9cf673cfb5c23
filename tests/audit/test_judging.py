"""One row judged by itself: with the key by its seal, without it by its link and its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from journal.audit.judging import KINDS, ORIGINS, Change, Linked, Sealed, changed_column, true_seal
from journal.seal import Sealer, commitment
from tests.audit.rows import PLAIN, edited, row, sealed

if TYPE_CHECKING:
    from journal.model import Row


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(b"k" * 32, 1, 2, "s")


@pytest.fixture
def true(sealer: Sealer) -> Row:
    return sealed(sealer)


@pytest.mark.parametrize(
    "column, value",
    [
        ("prev", b"q" * 16), ("commitment", b"x" * 32), ("trusted", 0), ("kind", b"raw"), ("origin", b"file"),
        ("epoch", 7), ("epoch", 1), ("epoch", 99), ("claim", 9), ("request_id", b"r"), ("run_id", b"r"),
        ("on_behalf_of", b"o"), ("writer_id", 31), ("instance_id", 63), ("recorder_id", 31), ("seq", 77),
        ("cum_bytes", 1), ("created_us", 1), ("session_id", 9), ("key_id", 2),
    ],
)  # fmt: skip
def test_the_column_that_was_changed_is_told_with_what_it_held(sealer, true, column, value):
    before = true._replace(seq=4, epoch=4, cum_bytes=50 - len(PLAIN["body"]) - 1)
    changed = edited(true, **{column: value})
    assert changed_column(sealer, changed, before, true.prev) == Change(
        column, getattr(true, column)
    )


@pytest.mark.parametrize(
    "column, was",
    [
        *(("kind", kind) for kind in (b"line", b"raw", b"part", b"control")),
        *(("origin", origin) for origin in (b"api", b"mirror", b"file", b"input", b"parked")),
    ],
)
def test_each_kind_and_origin_is_tried(sealer, column, was):
    made = sealed(sealer, **{column: was})
    changed = edited(made, **{column: b"other"})
    assert changed_column(sealer, changed, None, made.prev) == Change(column, was)


@pytest.mark.parametrize("writer", [1, 31])
@pytest.mark.parametrize("instance", [1, 63])
def test_small_numbers_of_writers_and_processes_are_tried(sealer, writer, instance):
    was = sealed(sealer, writer_id=writer, instance_id=instance, recorder_id=writer)
    for column in ("writer_id", "instance_id", "recorder_id"):
        found = changed_column(sealer, edited(was, **{column: 500}), None, was.prev)
        assert found == Change(column, getattr(was, column))


@pytest.mark.parametrize("epoch", [1, 3, 5, 6, 7])
def test_epochs_near_by_are_tried(sealer, epoch):
    was = sealed(sealer, epoch=epoch)
    assert changed_column(sealer, was._replace(epoch=4), None, was.prev) == Change("epoch", epoch)


def test_a_control_entry_adds_nothing_to_the_sum(sealer):
    was = sealed(sealer, cum_bytes=50, kind=b"control")
    assert changed_column(sealer, was._replace(cum_bytes=3), was, was.prev) == Change(
        "cum_bytes", 50
    )


def test_what_was_never_sealed_was_not_edited(sealer, true):
    assert changed_column(sealer, true._replace(seal=b"x" * 32), None, true.prev) is None
    assert changed_column(sealer, true._replace(seq=2**70), None, true.prev) is None
    assert true_seal(sealer, true._replace(seq=2**70)) == b""
    assert true_seal(sealer, true._replace(seal=b"")) == true.seal


def test_changes_in_words():
    assert Change(None).words() == "a column was changed, which one cannot be told"
    assert Change("seal").words() == "the seal was overwritten, all else is as it was sealed"
    assert Change("epoch", 4).words() == "the column epoch was changed"
    assert Change(None).evidence(5) == Change("seal").evidence(5) == {"seq": 5}
    for was, shown in [
        (4, "4"),
        (None, "NULL"),
        (b"run", "run"),
        (b"\xff", "ff"),
        (b"a" * 32, "61" * 32),
    ]:
        assert Change("x", was).evidence(5) == {"seq": 5, "column": "x", "was": shown}


def test_with_the_key_each_row_is_judged_alone(sealer, true):
    judge = Sealed(sealer)
    assert judge.has_key
    unfit = true._replace(seq=2**70)
    altered = true._replace(body=b"other")
    rows = [true, unfit, altered, unfit, unfit, true]
    expected = ["sealed", "stray", "altered", "stray", "stray", "sealed"]
    assert list(judge.ahead(rows, lines=True)) == list(zip(rows, expected, strict=True))
    assert [judge.status(each, b"") for each in rows] == expected
    assert judge.starts(sealed(sealer, prev=sealer.genesis))
    assert not judge.starts(true)


def test_without_the_key_a_row_follows_by_its_link():
    first = row(commitment=commitment(b"s" * 16, PLAIN["body"], b"\n"))
    judge = Linked()
    assert not judge.has_key
    assert judge.starts(first)
    assert judge.status(first, b"") == "sealed"  # nothing stands before it
    assert judge.status(first._replace(prev=b"x" * 16), b"y" * 16) == "stray"
    assert judge.status(first._replace(prev=b"x" * 16), b"x" * 16) == "sealed"
    assert (
        judge.status(first._replace(prev=first.seal[:16]), b"z" * 16) == "sealed"
    )  # it follows the row before
    assert list(judge.ahead([first], lines=True)) == [(first, None)]


@pytest.mark.parametrize(
    "columns, status",
    [
        ({"body": b"other"}, "altered"),
        ({"body": None}, "altered"),
        ({"salt": None}, "altered"),
        ({"body": None, "salt": None}, "erased"),
        ({"body": None, "salt": None, "seq": 9}, "sealed"),
        ({"seal": b"s" * 31}, "stray"),
        ({"commitment": b"c" * 31}, "stray"),
    ],
)
def test_without_the_key_a_line_fits_its_commitment_or_was_erased_on_record(columns, status):
    made = row(commitment=commitment(b"s" * 16, PLAIN["body"], b"\n"))._replace(**columns)
    assert Linked({9: 5}).status(made, b"") == status


def test_without_the_key_a_redacted_line_has_its_size():
    judge = Linked({9: 5})
    assert judge.whole(row(seq=9, body=None)).body == b"{   }"
    assert judge.whole(row(seq=8, body=None)).body is None
    assert judge.whole(row(seq=9, body=b"x")).body == b"x"


def test_what_a_column_may_have_held_is_what_the_format_has():
    assert KINDS == (b"line", b"raw", b"part", b"control")
    assert ORIGINS == (b"api", b"mirror", b"file", b"input", b"parked")

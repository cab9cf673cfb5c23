"""Seals of earlier key eras, sizes at the seal's edge, and salts: what a sealer alone decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal.fields import PREV_SIZE
from journal.model import Row
from journal.seal import Era, Sealer, body_holds, commitment, holds

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW, SESSION = b"o" * 32, b"n" * 32, "agent:main:main"
SALT = bytes(range(16))


def row_of(sealer: Sealer, seq: int, **values: Any) -> Row:
    """Return a row as a sealer of one era writes it."""
    row = Row(
        seq, 7, seq, 1, 3, 4, 3, None, b"line", 1, b"api", None, None, None, 10**15, 100, b"\n",
        SALT, commitment(SALT, b"{}", b"\n"), sealer.key_id, b"p" * 16, b"", b"message", None, None, b"{}",
    )._replace(**values)  # fmt: skip
    return row._replace(seal=seal_of(sealer, row))


def seal_of(sealer: Sealer, row: Row) -> bytes:
    return sealer.seal(
        row.prev, row.seq, row.epoch, row.writer_id, row.instance_id, row.recorder_id, row.trusted,
        row.created_us, row.cum_bytes, row.commitment, row.claim, row.kind, row.origin, row.run_id,
        row.on_behalf_of, row.request_id, row.session_id, row.key_id,
    )  # fmt: skip


def first() -> Sealer:
    return Sealer(OLD, 1, 7, SESSION)


def second() -> Sealer:
    return Sealer(NEW, 2, 7, SESSION)


def both() -> Sealer:
    return Sealer(NEW, 2, 7, SESSION, [Era(1, OLD, 5)])


def lost() -> Sealer:
    """Return a sealer whose first era's key is lost."""
    return Sealer(NEW, 2, 7, SESSION, [Era(1, None, 5)])


def three() -> Sealer:
    return Sealer(b"3" * 32, 3, 7, SESSION, [Era(1, OLD, 5), Era(2, NEW, 9)])


@pytest.mark.parametrize(
    "writer, seq, status",
    [
        (first, 4, "sealed"),
        (first, 5, "sealed"),
        (first, 6, "stray"),  # whoever has the old key seals nothing new
        (second, 5, "stray"),  # nor does the new key seal what is old
        (second, 6, "sealed"),
    ],
)
def test_each_key_seals_its_own_era_and_no_other(
    writer: Callable[[], Sealer], seq: int, status: str
) -> None:
    row = row_of(writer(), seq)
    assert both().status(row) == status
    assert both().seal_proves(row) == (status == "sealed")
    assert list(both().judge([row])) == [(row, status)]


def test_a_sealer_of_many_eras_seals_as_the_one_of_then() -> None:
    assert [three().key_id_at(seq) for seq in (1, 5, 6, 9, 10)] == [1, 1, 2, 2, 3]
    assert three().until == 9
    assert three().genesis_at(5) == first().genesis
    assert three().genesis_at(6) == second().genesis
    assert three().genesis_at(10) == three().genesis
    for writer, seq in [(first, 5), (second, 6), (second, 9)]:
        assert seal_of(three(), row_of(writer(), seq)) == row_of(writer(), seq).seal


def test_a_session_starts_with_the_genesis_of_its_era() -> None:
    row = row_of(first(), 1, prev=first().genesis)
    assert both().starts(row)
    assert not both().starts(row_of(first(), 1))
    assert not both().starts(row._replace(prev=second().genesis))
    assert lost().starts(row_of(first(), 1))  # what it should be nobody knows
    assert lost().genesis_at(1) == lost().genesis
    assert not lost().starts(row_of(second(), 6))


def test_where_the_key_of_then_is_lost_a_seal_is_taken_as_it_stands() -> None:
    row = row_of(first(), 5)
    assert lost().status(row) == "sealed"
    assert not lost().seal_proves(row)
    assert lost().status(row._replace(seal=b"x" * 32)) == "sealed"
    assert lost().status(row._replace(seal=b"x" * 31)) == "stray"
    assert lost().status(row._replace(body=b"{ }")) == "altered"
    assert lost().status(row._replace(key_id=2)) == "stray"
    assert lost().status(row_of(first(), 6)) == "stray"
    for seq in (3, 5):  # whoever has the new key has none for what is old
        assert lost().status(row_of(second(), seq)) == "stray"
    assert lost().seal_proves(row_of(second(), 6))


@pytest.mark.parametrize("column, extra", [("prev", b"\0"), ("commitment", b"\0")])
@pytest.mark.parametrize("made", [first, lost])
def test_a_value_that_is_longer_than_what_is_sealed_is_none(
    made: Callable[[], Sealer], column: str, extra: bytes
) -> None:
    """Where it is packed it would be cut to its size, and the seal would hold."""
    row, sealer = row_of(first(), 3), made()
    longer = row._replace(**{column: getattr(row, column) + extra})
    assert sealer.status(row) == "sealed"
    assert sealer.status(longer) == "stray"
    assert list(sealer.judge([longer])) == [(longer, "stray")]


@pytest.mark.parametrize("column", ["prev", "commitment"])
def test_a_value_that_lacks_its_last_zeros_is_none(column: str) -> None:
    """Where it is packed they would be put back."""
    row = row_of(first(), 3, **{column: bytes(PREV_SIZE if column == "prev" else 32)})
    assert first().seal_holds(row)
    for value in (getattr(row, column)[:-1], b""):
        change: dict[str, Any] = {column: value}
        shorter = row._replace(**change)
        assert not first().seal_holds(shorter)
        assert list(first().judge([shorter])) == [(shorter, "stray")]


def test_a_row_of_another_session_or_of_a_key_there_never_was_is_a_stray() -> None:
    row = row_of(second(), 6)
    assert both().status(row) == "sealed"
    changes: list[dict[str, Any]] = [{"session_id": 8}, {"key_id": 5}, {"request_id": b"r"}]
    for change in changes:
        other = row._replace(**change)
        assert both().status(other) == "stray"
        assert list(both().judge([other])) == [(other, "stray")]
    # Not even where it has the true key's seal.
    assert both().status(row_of(second(), 6, key_id=5)) == "stray"


def test_a_seal_is_of_this_session_and_key_where_none_is_given() -> None:
    row = row_of(first(), 3)
    values = (
        row.prev, row.seq, row.epoch, row.writer_id, row.instance_id, row.recorder_id, row.trusted,
        row.created_us, row.cum_bytes, row.commitment, row.claim, row.kind, row.origin, row.run_id,
        row.on_behalf_of, row.request_id,
    )  # fmt: skip
    assert first().seal(*values) == first().seal(*values, 7, 1) == row.seal
    assert first().seal(*values, 8, 1) != row.seal != first().seal(*values, 7, 2)


def test_a_value_of_another_type_is_no_seal_and_no_error() -> None:
    row = row_of(first(), 3)
    assert holds(first(), row)
    for other in (None, "text", 2**70):
        assert holds(first(), row._replace(epoch=other)) is False  # type: ignore[arg-type]
        assert holds(first(), row._replace(prev=other)) is False  # type: ignore[arg-type]


def test_a_redacted_line_is_whole_and_stands_for_its_size() -> None:
    sealer = Sealer(OLD, 1, 7, SESSION)
    row = row_of(sealer, 3, body=None, salt=None)
    assert sealer.status(row) == "erased"
    assert sealer.whole(row) is row
    sealer.redacted = {3: 20}
    assert sealer.status(row) == "sealed"
    assert sealer.whole(row).body == b'{"redacted":true   }'
    assert sealer.whole(row._replace(body=b"kept")).body == b"kept"
    assert sealer.status(row._replace(salt=SALT)) == "altered"
    assert sealer.status(row._replace(seq=4)) == "stray"


def test_without_its_lines_a_row_is_judged_by_its_seal() -> None:
    row, other = row_of(first(), 3), row_of(first(), 4, request_id=b"r")
    bare = row._replace(body=None)
    assert list(first().judge([bare, row], lines=False)) == [(bare, "sealed"), (row, "sealed")]
    assert list(first().judge([bare, row])) == [(bare, "altered"), (row, "sealed")]
    forged = bare._replace(epoch=9)
    assert list(first().judge([forged, other], lines=False)) == [
        (forged, "stray"),
        (other, "sealed"),
    ]


def test_rows_after_an_odd_one_are_judged_too() -> None:
    good, stray = row_of(first(), 3), row_of(first(), 4)._replace(epoch=9)
    erased, requested = (
        row_of(first(), 5, body=None, salt=None),
        row_of(first(), 6, request_id=b"r"),
    )
    altered = row_of(first(), 7)._replace(body=b"[]")
    found = [status for _, status in first().judge([stray, erased, requested, altered, good])]
    assert found == ["stray", "erased", "sealed", "altered", "sealed"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\n\n"])
def test_a_line_is_committed_to_with_any_end(end: bytes) -> None:
    row = row_of(first(), 3, terminator=end, commitment=commitment(SALT, b"{}", end))
    other = row._replace(terminator=b"x")
    assert list(first().judge([row, other])) == [(row, "sealed"), (other, "altered")]
    assert [first().status(row), first().status(other)] == ["sealed", "altered"]


def test_a_salt_is_of_16_bytes_and_given_once() -> None:
    salts = [first().salt() for _ in range(200)]
    assert {len(salt) for salt in salts} == {16}
    assert len(set(salts)) == 200


@pytest.mark.parametrize(
    "change", [{"body": None}, {"salt": None}, {"salt": SALT + b"\0"}, {"body": b"[]"}]
)
def test_a_line_that_is_not_the_one_committed_to_does_not_hold(change: dict[str, Any]) -> None:
    assert body_holds(row_of(first(), 3))
    assert not body_holds(row_of(first(), 3)._replace(**change))

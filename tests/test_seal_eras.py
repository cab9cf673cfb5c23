"""Seals of earlier key eras, sizes at the seal's edge, and salts: what a sealer alone decides."""

from __future__ import annotations

from typing import Any

import pytest

from journal.model import Row
from journal.seal import PREV_SIZE, Era, Sealer, body_holds, commitment, holds

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


FIRST = Sealer(OLD, 1, 7, SESSION)
SECOND = Sealer(NEW, 2, 7, SESSION)
BOTH = Sealer(NEW, 2, 7, SESSION, [Era(1, OLD, 5)])
LOST = Sealer(NEW, 2, 7, SESSION, [Era(1, None, 5)])
THREE = Sealer(b"3" * 32, 3, 7, SESSION, [Era(1, OLD, 5), Era(2, NEW, 9)])


@pytest.mark.parametrize(
    "writer, seq, status",
    [
        (FIRST, 4, "sealed"),
        (FIRST, 5, "sealed"),
        (FIRST, 6, "stray"),  # whoever has the old key seals nothing new
        (SECOND, 5, "stray"),  # nor does the new key seal what is old
        (SECOND, 6, "sealed"),
    ],
)
def test_each_key_seals_its_own_era_and_no_other(writer: Sealer, seq: int, status: str) -> None:
    row = row_of(writer, seq)
    assert BOTH.status(row) == status
    assert BOTH.seal_proves(row) == (status == "sealed")
    assert list(BOTH.judge([row])) == [(row, status)]


def test_a_sealer_of_many_eras_seals_as_the_one_of_then() -> None:
    assert [THREE.key_id_at(seq) for seq in (1, 5, 6, 9, 10)] == [1, 1, 2, 2, 3]
    assert THREE.until == 9
    assert THREE.genesis_at(5) == FIRST.genesis
    assert THREE.genesis_at(6) == SECOND.genesis
    assert THREE.genesis_at(10) == THREE.genesis
    for writer, seq in [(FIRST, 5), (SECOND, 6), (SECOND, 9)]:
        assert seal_of(THREE, row_of(writer, seq)) == row_of(writer, seq).seal


def test_a_session_starts_with_the_genesis_of_its_era() -> None:
    first = row_of(FIRST, 1, prev=FIRST.genesis)
    assert BOTH.starts(first)
    assert not BOTH.starts(row_of(FIRST, 1))
    assert not BOTH.starts(first._replace(prev=SECOND.genesis))
    assert LOST.starts(row_of(FIRST, 1))  # what it should be nobody knows
    assert LOST.genesis_at(1) == LOST.genesis
    assert not LOST.starts(row_of(SECOND, 6))


def test_where_the_key_of_then_is_lost_a_seal_is_taken_as_it_stands() -> None:
    row = row_of(FIRST, 5)
    assert LOST.status(row) == "sealed"
    assert not LOST.seal_proves(row)
    assert LOST.status(row._replace(seal=b"x" * 32)) == "sealed"
    assert LOST.status(row._replace(seal=b"x" * 31)) == "stray"
    assert LOST.status(row._replace(body=b"{ }")) == "altered"
    assert LOST.status(row._replace(key_id=2)) == "stray"
    assert LOST.status(row_of(FIRST, 6)) == "stray"
    for seq in (3, 5):  # whoever has the new key has none for what is old
        assert LOST.status(row_of(SECOND, seq)) == "stray"
    assert LOST.seal_proves(row_of(SECOND, 6))


@pytest.mark.parametrize("column, extra", [("prev", b"\0"), ("commitment", b"\0")])
@pytest.mark.parametrize("sealer", [FIRST, LOST])
def test_a_value_that_is_longer_than_what_is_sealed_is_none(
    sealer: Sealer, column: str, extra: bytes
) -> None:
    """Where it is packed it would be cut to its size, and the seal would hold."""
    row = row_of(FIRST, 3)
    longer = row._replace(**{column: getattr(row, column) + extra})
    assert sealer.status(row) == "sealed"
    assert sealer.status(longer) == "stray"
    assert list(sealer.judge([longer])) == [(longer, "stray")]


@pytest.mark.parametrize("column", ["prev", "commitment"])
def test_a_value_that_lacks_its_last_zeros_is_none(column: str) -> None:
    """Where it is packed they would be put back."""
    row = row_of(FIRST, 3, **{column: bytes(PREV_SIZE if column == "prev" else 32)})
    assert FIRST.seal_holds(row)
    assert not FIRST.seal_holds(row._replace(**{column: getattr(row, column)[:-1]}))
    assert [status for _, status in FIRST.judge([row._replace(**{column: b""})])] == ["stray"]


def test_a_value_of_another_type_is_no_seal_and_no_error() -> None:
    row = row_of(FIRST, 3)
    assert holds(FIRST, row)
    for other in (None, "text", 2**70):
        assert holds(FIRST, row._replace(epoch=other)) is False  # type: ignore[arg-type]
        assert holds(FIRST, row._replace(prev=other)) is False  # type: ignore[arg-type]


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
    row, other = row_of(FIRST, 3), row_of(FIRST, 4, request_id=b"r")
    bare = row._replace(body=None)
    assert list(FIRST.judge([bare, row], lines=False)) == [(bare, "sealed"), (row, "sealed")]
    assert list(FIRST.judge([bare, row])) == [(bare, "altered"), (row, "sealed")]
    forged = bare._replace(epoch=9)
    assert list(FIRST.judge([forged, other], lines=False)) == [(forged, "stray"), (other, "sealed")]


def test_rows_after_an_odd_one_are_judged_too() -> None:
    good, stray = row_of(FIRST, 3), row_of(FIRST, 4)._replace(epoch=9)
    erased, requested = row_of(FIRST, 5, body=None, salt=None), row_of(FIRST, 6, request_id=b"r")
    altered = row_of(FIRST, 7)._replace(body=b"[]")
    found = [status for _, status in FIRST.judge([stray, erased, requested, altered, good])]
    assert found == ["stray", "erased", "sealed", "altered", "sealed"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\r", b"\n\n"])
def test_a_line_is_committed_to_with_any_end(end: bytes) -> None:
    row = row_of(FIRST, 3, terminator=end, commitment=commitment(SALT, b"{}", end))
    other = row._replace(terminator=b"x")
    assert list(FIRST.judge([row, other])) == [(row, "sealed"), (other, "altered")]
    assert [FIRST.status(row), FIRST.status(other)] == ["sealed", "altered"]


def test_a_salt_is_of_16_bytes_and_given_once() -> None:
    salts = [FIRST.salt() for _ in range(200)]
    assert {len(salt) for salt in salts} == {16}
    assert len(set(salts)) == 200


@pytest.mark.parametrize(
    "change", [{"body": None}, {"salt": None}, {"salt": SALT + b"\0"}, {"body": b"[]"}]
)
def test_a_line_that_is_not_the_one_committed_to_does_not_hold(change: dict[str, Any]) -> None:
    assert body_holds(row_of(FIRST, 3))
    assert not body_holds(row_of(FIRST, 3)._replace(**change))

"""What is said of many rows at once is what ``Sealer.status`` says of each, whatever was done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.model import Row
from journal.seal import Era, Sealer, commitment
from journal.sealing import alike, whole_alike, whole_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

SEALER = Sealer(b"k" * 32, 1, 7, "agent:main:main")
NUMBERS = (
    "seq",
    "epoch",
    "writer_id",
    "instance_id",
    "recorder_id",
    "trusted",
    "created_us",
    "cum_bytes",
    "claim",
    "session_id",
    "key_id",
)
BYTES = ("kind", "origin", "request_id", "run_id", "on_behalf_of", "terminator", "salt", "commitment", "prev", "seal", "body")  # fmt: skip


def sealed(seq: int, body: bytes | None, request_id: bytes | None, claim: int | None) -> Row:
    salt = bytes([seq]) * 16
    committed = commitment(salt, body or b"", b"\n")
    row = Row(
        seq, 7, seq, seq, 3, 4, 3, claim, b"line", 1, b"api", request_id, None, None, 10**15, 100,
        b"\n", salt, committed, 1, b"p" * 16, b"", b"message", None, None, body,
    )  # fmt: skip
    seal = SEALER.seal(
        row.prev, row.seq, row.epoch, row.writer_id, row.instance_id, row.recorder_id, row.trusted,
        row.created_us, row.cum_bytes, row.commitment, row.claim, row.kind, row.origin, row.run_id,
        row.on_behalf_of, row.request_id, row.session_id, row.key_id,
    )  # fmt: skip
    return row._replace(seal=seal)


def both(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    told = list(SEALER.judge(rows))
    assert told == [(row, SEALER.status(row)) for row in rows]
    return [(row, str(status)) for row, status in told]


rows = st.builds(
    sealed,
    st.integers(1, 200),
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=8),
    st.none() | st.integers(0, 2**40),
)


@given(st.lists(rows, max_size=5), st.data())
def test_many_are_judged_as_each_is(found: list[Row], data: Any) -> None:
    for row in found:
        name = data.draw(st.sampled_from([*NUMBERS, *BYTES]))
        values = st.integers(0, 2**40) if name in NUMBERS else st.binary(max_size=40)
        if name in {"body", "salt", "request_id", "run_id", "claim", "on_behalf_of"}:
            values |= st.none()  # type: ignore[operator]
        both([row, row._replace(**{name: data.draw(values)})])


@pytest.mark.parametrize(
    "change, status",
    [
        ({}, "sealed"),
        ({"body": b"other"}, "altered"),
        ({"terminator": b""}, "altered"),
        ({"salt": b"s" * 16}, "altered"),
        ({"salt": b"short"}, "altered"),
        ({"body": None, "salt": None}, "erased"),
        ({"epoch": 2}, "stray"),
        ({"prev": b""}, "stray"),
        ({"seal": b""}, "stray"),
        ({"claim": 1}, "stray"),
    ],
)
def test_what_each_change_is_called(change: dict[str, Any], status: str) -> None:
    ((_, found),) = both([sealed(1, b"{}", None, None)._replace(**change)])
    assert found == status


# As journal.statements.sealed_between has them.
COLUMNS = (
    "session_id", "seq", "epoch", "writer_id", "instance_id", "recorder_id", "trusted", "created_us",
    "cum_bytes", "key_id", "claim", "kind", "origin", "run_id", "on_behalf_of", "request_id", "prev",
    "seal", "commitment", "salt", "terminator", "body",
)  # fmt: skip


def bytes_of(found: Sequence[Row], first: int = 1) -> list[bytes] | None:
    return whole_lines(SEALER, [tuple(getattr(row, n) for n in COLUMNS) for row in found], first)


def three() -> list[Row]:
    return [sealed(seq, b"%d" % seq, None, None) for seq in (1, 2, 3)]


def test_whole_lines_are_given_and_control_entries_are_none() -> None:
    assert bytes_of(three()) == [b"1", b"\n", b"2", b"\n", b"3", b"\n"]
    control = three()[1]._replace(kind=b"control")
    control = control._replace(seal=sealed_again(control))
    assert bytes_of([three()[0], control, three()[2]]) == [b"1", b"\n", b"3", b"\n"]


def sealed_again(row: Row) -> bytes:
    return SEALER.seal(
        row.prev, row.seq, row.epoch, row.writer_id, row.instance_id, row.recorder_id, row.trusted,
        row.created_us, row.cum_bytes, row.commitment, row.claim, row.kind, row.origin, row.run_id,
        row.on_behalf_of, row.request_id, row.session_id, row.key_id,
    )  # fmt: skip


@given(st.integers(0, 2), st.sampled_from(COLUMNS), st.data())
def test_nothing_is_given_where_one_column_is_another(at: int, name: str, data: Any) -> None:
    found = three()
    values: Any = st.integers(0, 2**40) if name in NUMBERS else st.binary(max_size=40)
    value = data.draw(values | st.none())
    if value == getattr(found[at], name):
        return
    found[at] = found[at]._replace(**{name: value})
    assert bytes_of(found) is None


def test_nothing_is_given_where_a_row_is_left_out_or_moved() -> None:
    one, two, last = three()
    assert bytes_of([one, last]) is None
    assert bytes_of([two, last]) is None
    assert bytes_of([two, one, last]) is None


def test_an_earlier_era_is_looked_at_one_by_one() -> None:
    sealer = Sealer(b"k" * 32, 1, 7, "agent:main:main", [Era(0, None, 2)])
    found = [tuple(getattr(row, n) for n in COLUMNS) for row in three()]
    assert whole_lines(sealer, found, 1) is None
    assert whole_lines(sealer, found[2:], 3) == [b"3", b"\n"]


# As journal.statements.ALIKE_BETWEEN has them, and what they must be alike in.
OWN = (
    "seq", "epoch", "created_us", "cum_bytes", "prev", "seal", "commitment", "salt", "terminator",
    "body",
)  # fmt: skip
SHARED = tuple(name for name in COLUMNS if name not in {*OWN, "session_id"})


def values_of(found: Sequence[Row], names: Sequence[str]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(row, name) for name in names) for row in found]


def alike_bytes_of(found: Sequence[Row], first: int = 1) -> list[bytes] | None:
    shared = alike(values_of(three(), COLUMNS))
    assert shared is not None
    return whole_alike(SEALER, shared, values_of(found, OWN), first)


def test_lines_that_are_alike_are_given_as_whole_lines_are() -> None:
    assert alike_bytes_of(three()) == bytes_of(three())
    assert alike_bytes_of([]) == []


@given(st.integers(0, 2), st.sampled_from(OWN), st.data())
def test_nothing_is_given_of_rows_alike_where_one_column_is_another(
    at: int, name: str, data: Any
) -> None:
    found = three()
    values: Any = st.integers(0, 2**40) if name in NUMBERS else st.binary(max_size=40)
    # Not only another value: one that is longer or shorter by what packing would add or drop.
    old = getattr(found[at], name)
    if isinstance(old, bytes):
        values |= st.sampled_from([old + b"\0", old[:-1], old + b"x"])
    value = data.draw(values | st.none())
    if value == old:
        return
    found[at] = found[at]._replace(**{name: value})
    assert alike_bytes_of(found) is None


def test_nothing_is_given_of_rows_alike_where_one_is_left_out_or_moved() -> None:
    one, two, last = three()
    assert alike_bytes_of([one, last]) is None
    assert alike_bytes_of([two, last]) is None
    early = Sealer(b"k" * 32, 1, 7, "agent:main:main", [Era(0, b"o" * 32, 1)])
    shared = alike(values_of(three(), COLUMNS))
    assert shared is not None
    assert whole_alike(early, shared, values_of(three(), OWN), 1) is None
    assert whole_alike(SEALER, shared._replace(key_id=2), values_of(three(), OWN), 1) is None


@given(st.integers(0, 2), st.sampled_from(SHARED))
def test_rows_are_alike_in_every_column_that_is_not_their_own(at: int, name: str) -> None:
    found = three()
    value: Any = 9 if name in NUMBERS else b"other"
    found[at] = found[at]._replace(**{name: value})
    assert alike(values_of(found, COLUMNS)) is None


def test_control_entries_and_requests_are_alike_to_nothing() -> None:
    for change in ({"kind": b"control"}, {"request_id": b"r"}):
        found = [row._replace(**change) for row in three()]  # type: ignore[arg-type]
        assert alike(values_of(found, COLUMNS)) is None

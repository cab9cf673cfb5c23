"""``Sealer.judge`` says of many rows what ``Sealer.status`` says of each, whatever was done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.model import Row
from journal.seal import Sealer, commitment

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

"""Rows outside the chain: each is as a key holder stored it, and then a witness, or it is told."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from journal import tables
from journal.audit.proofs import (
    Witness,
    fence_faults,
    input_faults,
    parked_faults,
    parked_state,
    proof_holds,
    verdict_faults,
)
from journal.seal import Mac

MAC = Mac(b"k" * 32)
PARKED = tuple(column.name for column in tables.parked.c)


def fence(name: bytes, seq: int) -> tuple[Any, ...]:
    facts = (name, 2, 2, 3, seq, 7, b"s" * 32, b"[]", b"", None, 100)
    return (*facts, MAC("fence", *facts))


def verdict(name: bytes, evidence: dict[str, Any]) -> tuple[Any, ...]:
    facts = (name, 2, None, 2, 3, b"takeover", b"cotenant", json.dumps(evidence).encode(), 100)
    return (*facts, MAC("verdict", *facts))


def parked(name: bytes, content: bytes | None = b"lines", **columns: Any) -> tuple[Any, ...]:
    values = dict.fromkeys(PARKED) | {
        "id": name, "session_id": 2, "epoch_found": 5, "content": content,
        "content_digest": sha256(b"lines").digest(),
    } | columns  # fmt: skip
    values["mac"] = MAC("parked", *tuple(values.values())[:-2])
    return tuple(values.values())


def pending(number: int) -> tuple[Any, ...]:
    row = [number, 2, 2, 3, None, None, 100, None, None, b"\n", b"", b"line"]
    row[4] = 9
    row[10] = MAC("input", *row[:10], row[11])
    return tuple(row)


def edited(row: tuple[Any, ...], at: int, value: object) -> tuple[Any, ...]:
    return (*row[:at], value, *row[at + 1 :])


def test_a_proof_of_values_that_none_could_cover_does_not_hold():
    assert proof_holds(MAC, "fence", (1, b"x"), MAC("fence", 1, b"x"))
    assert not proof_holds(MAC, "fence", (1, b"y"), MAC("fence", 1, b"x"))
    assert not proof_holds(MAC, "verdict", (1, b"x"), MAC("fence", 1, b"x"))
    for unfit in (1.5, [1]):
        assert not proof_holds(MAC, "fence", (unfit,), b"")


def test_fences():
    """A forged one by its id; a true one says which seal stood where, but for one at the start."""
    rows = [fence(b"f1", 4), edited(fence(b"f2", 4), 4, 5), fence(b"f3", 0)]
    assert list(fence_faults(rows, MAC)) == [
        Witness("fence f1", 4, b"s" * 32, 7), "f2", Witness("fence f3", None, b"s" * 32, None)
    ]  # fmt: skip


def test_verdicts():
    """A true one says up to which epoch the session had got."""
    true = verdict(b"v1", {"head": {"seq": 4, "epoch": 6}})
    rows = [edited(true, 5, b"accepted"), true, edited(true, 0, b"v2"), verdict(b"v3", {})]
    assert list(verdict_faults(rows, MAC)) == [
        "v1", Witness("verdict v1", epoch=6), "v2", Witness("verdict v3", epoch=None)
    ]  # fmt: skip


def test_parked_writes():
    """The content counts by its digest, and may have been erased."""
    rows = [
        parked(b"p1", b"other"), parked(b"p2"), parked(b"p3", None), edited(parked(b"p4"), 1, 9),
        parked(b"p5", content_digest=b"other"), edited(parked(b"p6"), len(PARKED) - 1, 7),
    ]  # fmt: skip
    assert list(parked_faults(rows, MAC)) == [
        "p1", Witness("parked write p2", epoch=5), Witness("parked write p3", epoch=5), "p4", "p5", "p6",
    ]  # fmt: skip


@pytest.mark.parametrize("at", [1, 2, 9, 10, 11])
def test_inputs(at):
    true = pending(1)
    rows = [true, edited(true, at, 77), edited(true, 4, None), pending(2)]
    assert list(input_faults(rows, MAC)) == [None, "input 1", "input 1", None]


def test_the_request_under_which_a_parked_write_is_applied():
    named = parked_state(parked(b"p1", request_id=b"r", settled=b"applied"))
    assert (named.requests, named.is_applied) == ((b"r", b"parked:p1"), True)
    for row in (parked(b"p1", settled=b"discarded"), parked(b"p1")):
        state = parked_state(row)
        assert (state.requests, state.is_applied) == ((b"parked:p1",), False)

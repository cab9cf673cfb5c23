"""Many rows at once: what :mod:`journal.seal` says of one row, in loops without a call for each.

A migration seals millions of rows and an export holds as many against their seals;
with a call for each half of the time would go into calls.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.chain import Head
from journal.seal import (
    COMMITMENT,
    DIGEST_SIZE,
    FIXED,
    LENGTH,
    NUMBERS_SIZE,
    PREV_SIZE,
    SALT_SIZE,
    TERMINATORS,
    variable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal.lines import Line
    from journal.seal import Sealer


_GREAT: Final = 64 * 1024


class Basis(NamedTuple):
    """All that the seals of a write follow from, but the lines and the time."""

    session_id: int
    key_id: int
    head: Head
    writer_id: int
    instance_id: int


class Sealed(NamedTuple):
    """The seals of some lines as one write, of 32 bytes each, and what belongs to them.

    Attributes:
        basis: what they hold for; for anything else they are worthless.
        head: where the chain ends behind them.
        now_us: the time that is under the seals.
        salts, commitments, seals: one behind the other, as the lines are.

    """

    basis: Basis
    head: Head
    now_us: int
    salts: bytes
    commitments: bytes
    seals: bytes


def seal_lines(sealer: Sealer, basis: Basis, now_us: int, lines: Iterable[Line]) -> Sealed:
    """Seal lines of a file as the next write of their session, by a trusted writer.

    Nothing is read and nothing written, so it may be done ahead, in another thread: the
    seals hold if the chain still ends where the basis says when they are written.
    """
    session_id, key_id, (seq, epoch, seal, cum_bytes, claim), writer, instance = basis
    begun, outer = sealer.begun_seal()
    kinds = {kind: variable(claim, kind, b"file") for kind in ("line", "raw", "part")}
    pack, length, ends, join, epoch = FIXED.pack, LENGTH.pack, TERMINATORS, b"".join, epoch + 1
    lines = list(lines)
    salts, at = os.urandom(SALT_SIZE * len(lines)), 0
    commitments, seals = [], []
    for body, end, kind, _, _, _ in lines:
        seq += 1
        cum_bytes += len(body) + len(end)
        line, first, second = COMMITMENT.copy(), begun.copy(), outer.copy()
        start = salts[at : at + SALT_SIZE] + length(len(body))
        if len(body) < _GREAT:
            line.update(join((start, body, ends[end])))
        else:  # no second copy of it
            line.update(start)
            line.update(body)
            line.update(ends[end])
        at += SALT_SIZE
        held = line.digest()
        first.update(pack(
            PREV_SIZE, seal[:PREV_SIZE], NUMBERS_SIZE, session_id, seq, epoch, writer, instance,
            writer, 1, now_us, cum_bytes, key_id, DIGEST_SIZE, held,
        ) + kinds[kind])  # fmt: skip
        second.update(first.digest())
        seal = second.digest()
        commitments.append(held)
        seals.append(seal)
    head = Head(seq, epoch, seal, cum_bytes, claim)
    return Sealed(basis, head, now_us, salts, join(commitments), join(seals))

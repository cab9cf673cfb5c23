"""Many rows at once: what :mod:`journal.seal` says of one row, in loops without a call for each.

A migration seals millions of rows and an export holds as many against their seals;
with a call for each half of the time would go into calls.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.chain import Head
from journal.controls import CONTROL
from journal.fields import (
    DIGEST_SIZE,
    FIXED,
    LENGTH,
    NUMBERS_SIZE,
    PREV_SIZE,
    SALT_SIZE,
    TERMINATORS,
    UNFIT,
    begun,
    ended,
    field,
    numbers,
    of_one_write,
    of_one_writer,
    variable,
)
from journal.regions import Plain
from journal.seal import COMMITMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journal.lines import Line
    from journal.seal import Sealer


_GREAT: Final = 64 * 1024
_ALIKE: Final = 16


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


def sealed_lines(
    sealer: Sealer, basis: Basis, now_us: int, lines: Plain | Sequence[Line]
) -> Sealed:
    """Seal lines of a file as the next write of their session, by a trusted writer.

    Nothing is read and nothing written, so it may be done ahead, in another thread: the
    seals hold if the chain still ends where the basis says when they are written.
    """
    if isinstance(lines, Plain):
        return sealed_bodies(sealer, basis, now_us, lines.bodies)
    return _sealed_any(sealer, basis, now_us, lines)


def sealed_bodies(sealer: Sealer, basis: Basis, now_us: int, bodies: Sequence[bytes]) -> Sealed:
    """Seal plain lines as :func:`sealed_lines` does: they differ in nothing but their bodies."""
    session_id, key_id, (seq, epoch, seal, cum_bytes, claim), writer, instance = basis
    shown = variable(claim, "line", b"file")
    (prefix, middle), last = begun(session_id), ended(key_id)
    alike = numbers(epoch + 1, writer, instance, writer, 1, now_us)
    # Of a seal it takes the first bytes, which are the next one's prev.
    pack, end = of_one_write(shown).pack, TERMINATORS[b"\n"]
    of_lines, of_seals, of_outer = COMMITMENT.copy, sealer.begun_seal.copy, sealer.outer.copy
    salts, at, length, join = os.urandom(SALT_SIZE * len(bodies)), 0, LENGTH.pack, b"".join
    commitments, seals = [], []
    for body in bodies:
        seq += 1
        size = len(body)
        cum_bytes += size + 1
        line, first, second = of_lines(), of_seals(), of_outer()
        line.update(join((salts[at : at + SALT_SIZE], length(size), body, end)))
        at += SALT_SIZE
        held = line.digest()
        first.update(pack(prefix, seal, middle, seq, alike, cum_bytes, last, held, shown))
        second.update(first.digest())
        seal = second.digest()
        commitments.append(held)
        seals.append(seal)
    head = Head(seq, epoch + 1, seal, cum_bytes, claim)
    return Sealed(basis, head, now_us, salts, join(commitments), join(seals))


def _sealed_any(sealer: Sealer, basis: Basis, now_us: int, lines: Sequence[Line]) -> Sealed:
    session_id, key_id, (seq, epoch, seal, cum_bytes, claim), writer, instance = basis
    of_seals, outer = sealer.begun_seal.copy, sealer.outer
    kinds = {kind: variable(claim, kind, b"file") for kind in ("line", "raw", "part")}
    pack, length, ends, join, epoch = FIXED.pack, LENGTH.pack, TERMINATORS, b"".join, epoch + 1
    salts, at = os.urandom(SALT_SIZE * len(lines)), 0
    commitments, seals = [], []
    for body, end, kind, _, _, _ in lines:
        seq += 1
        cum_bytes += len(body) + len(end)
        line, first, second = COMMITMENT.copy(), of_seals(), outer.copy()
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


def whole_lines(sealer: Sealer, rows: Sequence[tuple[Any, ...]], first: int) -> list[bytes] | None:
    """Return the bytes of a session's lines, a body and a line end in turn, if each is as it was sealed.

    None where anything is odd, or only unusual, such as a redacted line or one of an
    earlier key era: then look at them one by one.

    Args:
        sealer: the session's.
        rows: in the order of :func:`journal.statements.sealed_between`.
        first: the seq that the first must have; after it none may be left out.

    """
    if first <= sealer.until:
        return None
    try:
        return _whole_lines(sealer, rows, first)
    except UNFIT:
        return None


def _whole_lines(sealer: Sealer, rows: Sequence[tuple[Any, ...]], first: int) -> list[bytes] | None:
    outer = sealer.outer
    pack, length, ends, join, own = FIXED.pack, LENGTH.pack, TERMINATORS, b"".join, sealer.key_id
    of_seals, of_lines = sealer.begun_seal.copy, COMMITMENT.copy
    lines: list[bytes] = []
    made: list[bytes] = []
    stand: list[bytes] = []
    shape: tuple[Any, ...] | None = None
    shown, is_line, expected = b"", False, first
    for row in rows:
        (
            session_id, seq, epoch, writer_id, instance_id, recorder_id, trusted, created_us,
            cum_bytes, key_id, claim, kind, origin, run_id, behalf, request_id, prev, seal,
            committed, salt, end, body,
        ) = row  # fmt: skip
        if (
            seq != expected or body is None or salt is None or request_id is not None or key_id != own
            or len(prev) != PREV_SIZE or len(salt) != SALT_SIZE or len(committed) != DIGEST_SIZE
        ):  # fmt: skip
            return None
        expected += 1
        if shape != (claim, kind, origin, run_id, behalf):
            shape = claim, kind, origin, run_id, behalf
            shown, is_line = variable(*shape), kind != CONTROL
        inner, second, line = of_seals(), outer.copy(), of_lines()
        inner.update(pack(
            PREV_SIZE, prev, NUMBERS_SIZE, session_id, seq, epoch, writer_id, instance_id,
            recorder_id, trusted, created_us, cum_bytes, key_id, DIGEST_SIZE, committed,
        ) + shown)  # fmt: skip
        second.update(inner.digest())
        line.update(join((salt, length(len(body)), body, ends.get(end) or field(end))))
        made += (second.digest(), line.digest())
        stand += (seal, committed)
        if is_line:
            lines += (body, end)
    return lines if made == stand else None


class Alike(NamedTuple):
    """What many rows of a session have in common; the lines of one writer are alike in all of it."""

    writer_id: int
    instance_id: int
    recorder_id: int
    trusted: int
    key_id: int
    claim: int | None
    kind: bytes
    origin: bytes
    run_id: bytes | None
    on_behalf_of: bytes | None


def alike(rows: Sequence[tuple[Any, ...]]) -> Alike | None:
    """Return in what the last of these rows are alike, so that those behind them may be too; None if they are not.

    The rows are as :func:`journal.statements.sealed_between` has them.
    """
    shapes = {(*row[3:7], *row[9:16]) for row in rows[-_ALIKE:]}
    *shared, request_id = shapes.pop()
    found = Alike._make(shared)
    is_odd = bool(shapes) or request_id is not None or found.kind == CONTROL
    return None if is_odd else found


def whole_alike(
    sealer: Sealer, alike: Alike, rows: Sequence[tuple[Any, ...]], first: int
) -> list[bytes] | None:
    """Return the bytes of lines as :func:`whole_lines` does, of rows that are alike.

    Args:
        sealer: the session's.
        alike: what they have in common.
        rows: in the order of :data:`journal.statements.ALIKE_BETWEEN`.
        first: the seq that the first must have; after it none may be left out.

    """
    if first <= sealer.until or alike.key_id != sealer.key_id:
        return None
    try:
        return _whole_alike(sealer, alike, rows, first)
    except UNFIT:
        return None


def _whole_alike(
    sealer: Sealer, alike: Alike, rows: Sequence[tuple[Any, ...]], first: int
) -> list[bytes] | None:
    shown = variable(*alike[5:])
    (prefix, middle), last = begun(sealer.session_id), ended(alike.key_id)
    who, pack = numbers(*alike[:4]), of_one_writer(shown).pack
    of_lines, of_seals, of_outer = COMMITMENT.copy, sealer.begun_seal.copy, sealer.outer.copy
    length, ends, join, expected = LENGTH.pack, TERMINATORS, b"".join, first
    lines: list[bytes] = []
    made: list[bytes] = []
    stand: list[bytes] = []
    for seq, epoch, created_us, cum_bytes, prev, seal, committed, salt, end, body in rows:
        if (
            seq != expected or len(prev) != PREV_SIZE or len(salt) != SALT_SIZE or len(committed) != DIGEST_SIZE
        ):  # fmt: skip
            return None
        expected += 1
        line, inner, second = of_lines(), of_seals(), of_outer()
        inner.update(pack(
            prefix, prev, middle, seq, epoch, who, created_us, cum_bytes, last, committed, shown
        ))  # fmt: skip
        second.update(inner.digest())
        line.update(join((salt, length(len(body)), body, ends.get(end) or field(end))))
        made += (second.digest(), line.digest())
        stand += (seal, committed)
        lines += (body, end)
    return lines if made == stand else None

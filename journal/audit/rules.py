"""The checks of one entry, each a pure function of the entry and the one before it.

Each returns why the entry breaks its rule, or None. They are asked only of
entries whose seal holds, so what they find a key holder has done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal.audit.judging import KINDS, ORIGINS
from journal.controls import CONTROL, decode
from journal.lines import parse
from journal.parts import PART_ROW

if TYPE_CHECKING:
    from journal.audit.declarations import Declarations
    from journal.model import Row

PARKED: Final = b"parked"
# Recorded by another than their writer, so not bound to the writer's own turn.
KEPT: Final = frozenset({PARKED, b"input"})
TERMINATORS: Final = frozenset({b"", b"\n", b"\r\n"})


def epoch_fault(row: Row, before: Row | None) -> str | None:
    """J202: epochs begin at 1 and grow by 0 or 1."""
    last = 0 if before is None else before.epoch
    if row.epoch == last + 1 or (row.epoch == last and before is not None):
        return None
    return "an epoch was taken back" if row.epoch < last else "an epoch was left out"


def write_fault(row: Row, before: Row | None) -> str | None:
    """J203: the entries of one epoch are by one writer, in one process, under one claim."""
    if before is None or row.epoch != before.epoch:
        return None
    if (row.writer_id, row.instance_id, row.recorder_id) != (
        before.writer_id,
        before.instance_id,
        before.recorder_id,
    ):
        return "entries of one write are by two writers or processes"
    return None if row.claim == before.claim else "entries of one write stand under two claims"


def sum_fault(row: Row, before: Row | None) -> str | None:
    """J204: cum_bytes grows by the line and its line end, and by nothing for a control entry."""
    size = 0 if row.kind == CONTROL else len(row.body or b"") + len(row.terminator)
    last = 0 if before is None else before.cum_bytes
    return (
        None if row.cum_bytes == last + size else "cum_bytes is not the sum of what stands before"
    )


def number_fault(number: int, before: int) -> str | None:
    """J207: row numbers are positive and grow with the entries."""
    if number < 1:
        return "a row number below 1"
    return None if number > before else "a row number out of order"


def format_fault(row: Row, known: Declarations) -> str | None:
    """J112: kind, origin, terminator and key era are of those that the format knows."""
    if row.kind not in KINDS or row.origin not in ORIGINS:
        return "a kind or origin that is none"
    # The entry that begins an era is of that era, and tells of it only when it is read.
    is_known = row.key_id <= known.key_id or row.kind == CONTROL
    if row.terminator not in TERMINATORS or row.key_id < 1 or not is_known:
        return "a line end or key era that is none"
    return None


def derived_fault(row: Row) -> str | None:
    """J308: line_type, line_id and parent_id are what a parse of the line gives."""
    if row.body is None:
        return None
    if row.kind == CONTROL:
        name = decode(row.body).get("control")
        expected = (name.encode() if isinstance(name, str) else None, None, None)
        return None if expected == (row.line_type, row.line_id, row.parent_id) else _DERIVED
    if row.kind == PART_ROW:
        return _DERIVED if any((row.line_type, row.line_id, row.parent_id)) else None
    derived = derived_of(row.body, row.terminator)
    return None if derived == (row.line_type, row.line_id, row.parent_id) else _DERIVED


def derived_of(body: bytes, terminator: bytes) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Return the derived columns that a parse of a line gives, as they are read from the database."""
    _, _, _, line_type, line_id, parent_id = parse(body, terminator)
    return (
        None if line_type is None else line_type.encode(),
        None if line_id is None else line_id.encode(),
        None if parent_id is None else parent_id.encode(),
    )


_DERIVED: Final = "line_type, line_id or parent_id is not what the line says"


def who_faults(row: Row, known: Declarations) -> tuple[tuple[str, str], ...]:
    """J104, J105, J106: the writer is declared, its process on record, trusted as its role says."""
    faults: list[tuple[str, str]] = []
    writer = known.writers.get(row.writer_id)
    if writer is None or row.recorder_id not in known.writers:
        who = "writer" if writer is None else "recorder"
        faults.append(("J104", f"no sealed entry declares the {who}"))
    elif row.trusted != (writer.role != "external"):
        faults.append(("J106", f"trusted is {row.trusted}, the writer's role is {writer.role}"))
    owner = known.instances.get(row.instance_id)
    if owner is None:
        faults.append(("J105", "no row of instances that a key holder stored tells of it"))
    elif owner not in (row.writer_id, row.recorder_id):
        faults.append(("J105", "the row of instances is another writer's"))
    return tuple(faults)


def revoked_fault(row: Row, known: Declarations) -> str | None:
    """J109: no entry of a revoked writer is later than its revocation, as far as that can be told."""
    revoked = known.revoked.get(row.writer_id)
    if revoked is None or row.origin == PARKED or row.recorder_id != row.writer_id:
        return None
    # Neither is proof alone: row numbers are under no seal, and clocks are set back.
    later = row.id > revoked.row_id and row.created_us > revoked.at_us
    return "later by row number and by clock" if later else None

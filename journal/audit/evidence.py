"""What a row says of itself, as evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journal.audit.declarations import Declarations
    from journal.model import Row


def described(row: Row, known: Declarations) -> Mapping[str, Any]:
    """Return what a row says of itself, without its line, as evidence."""
    return {
        "seq": row.seq,
        "row": row.id,
        "epoch": row.epoch,
        "writer": known.name_of(row.writer_id),
        "instance": row.instance_id,
        "kind": _shown(row.kind),
        "origin": _shown(row.origin),
        "created_us": row.created_us,
        "bytes": len(row.body or b"") + len(row.terminator),
    }


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")

"""Rows made up for the rules that need no journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journal.audit.judging import true_seal
from journal.model import Row
from journal.seal import commitment

if TYPE_CHECKING:
    from journal.seal import Sealer

PLAIN: dict[str, Any] = {
    "id": 20, "session_id": 2, "seq": 5, "epoch": 4, "writer_id": 2, "instance_id": 3,
    "recorder_id": 2, "claim": None, "kind": b"line", "trusted": 1, "origin": b"api",
    "request_id": None, "run_id": None, "on_behalf_of": None, "created_us": 100, "cum_bytes": 50,
    "terminator": b"\n", "salt": b"s" * 16, "commitment": b"c" * 32, "key_id": 1, "prev": b"p" * 16,
    "seal": b"s" * 32, "line_type": b"t", "line_id": b"i", "parent_id": b"p",
    "body": b'{"type":"t","id":"i","parentId":"p"}',
}  # fmt: skip


SIZE = len(PLAIN["body"]) + 1


def row(**columns: Any) -> Row:
    """Return a plain line's row, some of its columns as given."""
    return Row(**(PLAIN | columns))


def edited(made: Row, **columns: Any) -> Row:
    """Return a row with some columns changed."""
    return made._replace(**columns)


def sealed(sealer: Sealer, **columns: Any) -> Row:
    """Return a row as a key holder makes it."""
    made = row(**columns)
    made = edited(made, commitment=commitment(made.salt or b"", made.body or b"", made.terminator))
    return resealed(sealer, made)


def resealed(sealer: Sealer, made: Row, **columns: Any) -> Row:
    """Return a row with some columns changed, and a true seal over them."""
    made = edited(made, **columns)
    return edited(made, seal=true_seal(sealer, made))


def chain(sealer: Sealer, count: int, **columns: Any) -> list[Row]:
    """Return so many sealed rows, each a write of its own that follows the one before it."""
    found: list[Row] = []
    for seq in range(1, count + 1):
        at = {"id": 10 + 2 * seq, "seq": seq, "epoch": seq, "cum_bytes": seq * SIZE}
        prev = found[-1].seal[:16] if found else sealer.genesis
        found.append(sealed(sealer, prev=prev, **at, **columns))
    return found

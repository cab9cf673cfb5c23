"""Rows made up for the rules that need no journal."""

from __future__ import annotations

from typing import Any

from journal.model import Row

PLAIN: dict[str, Any] = {
    "id": 20, "session_id": 2, "seq": 5, "epoch": 4, "writer_id": 2, "instance_id": 3,
    "recorder_id": 2, "claim": None, "kind": b"line", "trusted": 1, "origin": b"api",
    "request_id": None, "run_id": None, "on_behalf_of": None, "created_us": 100, "cum_bytes": 50,
    "terminator": b"\n", "salt": b"s" * 16, "commitment": b"c" * 32, "key_id": 1, "prev": b"p" * 16,
    "seal": b"s" * 32, "line_type": b"t", "line_id": b"i", "parent_id": b"p",
    "body": b'{"type":"t","id":"i","parentId":"p"}',
}  # fmt: skip


def row(**columns: Any) -> Row:
    """Return a plain line's row, some of its columns as given."""
    return Row(**(PLAIN | columns))


def edited(made: Row, **columns: Any) -> Row:
    """Return a row with some columns changed."""
    return made._replace(**columns)

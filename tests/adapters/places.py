"""Where the adapters' journals are in these tests: a file, or a schema on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal import tables
from journal.dialects.address import is_url
from tests.thieves import thief_at

if TYPE_CHECKING:
    from pathlib import Path


def url_of(db: Path | str) -> str:
    """Return the URL that names it."""
    return str(db) if is_url(db) else f"sqlite:///{db}"


def is_kept(text: bytes, db: Path | str) -> bool:
    """Whether a text stands anywhere in the closed journal: its files, or its tables on a server."""
    if not isinstance(db, str):
        return any(text in path.read_bytes() for path in db.parent.glob(f"{db.name}*"))
    thief = thief_at(db)
    try:
        return any(
            text in (value if isinstance(value, bytes) else str(value).encode("utf-8", "replace"))
            for table in tables.metadata.sorted_tables
            for row in thief.execute(f"SELECT * FROM {table.name}").fetchall()
            for value in row
        )
    finally:
        thief.close()

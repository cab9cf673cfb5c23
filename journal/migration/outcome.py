"""What a migration did: values only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from journal.migration.planned import aside_json
from journal.migration.receipts import path_text

if TYPE_CHECKING:
    from journal.migration.discovery import SetAside

What = Literal["migrated", "appended", "relaid", "already", "duplicate"]


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file.

    ``what`` is "migrated" (a new session), "appended" (the rest of a file that
    was begun or has grown), "relaid" (it was changed otherwise: the session's file has
    its new order, and what was before is kept), "already" (every byte was there), or "duplicate"
    (another file brought the same bytes). ``new_entries`` and ``new_bytes`` are
    what this run wrote; the other figures are the whole file's.
    """

    path: str
    key: str
    what: What
    new_entries: int
    new_bytes: int
    bytes: int
    lines: int
    raw_lines: int
    sha256: str
    duplicate_of: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the file's result as a JSON-able object."""
        return {
            "path": path_text(self.path),
            "session": self.key,
            "what": self.what,
            "new_entries": self.new_entries,
            "new_bytes": self.new_bytes,
            "bytes": self.bytes,
            "lines": self.lines,
            "raw_lines": self.raw_lines,
            "sha256": self.sha256,
            "duplicate_of": self.duplicate_of,
        }


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did, file by file; ``run`` is its number in ``migrations``."""

    run: int
    files: tuple[FileResult, ...]
    set_aside: tuple[SetAside, ...]

    @property
    def new_entries(self) -> int:
        """How many entries the run wrote."""
        return sum(each.new_entries for each in self.files)

    @property
    def new_bytes(self) -> int:
        """How many bytes those entries hold."""
        return sum(each.new_bytes for each in self.files)

    @property
    def counts(self) -> dict[str, int]:
        """How many files came out in which way."""
        return dict(Counter(each.what for each in self.files))

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON-able object."""
        return {
            "run": self.run,
            "counts": {
                **self.counts,
                "set_aside": len(self.set_aside),
                "new_entries": self.new_entries,
                "new_bytes": self.new_bytes,
            },
            "files": [each.as_json() for each in self.files],
            "set_aside": [aside_json(each) for each in self.set_aside],
        }

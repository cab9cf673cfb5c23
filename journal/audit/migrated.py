"""Migrated files: the bytes of the entries, held against what was read from the file."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.audit.source import text
from journal.parts import goes_on

if TYPE_CHECKING:
    from journal.model import Row

_NAMES: Final = tuple(column.name for column in tables.migrated_files.c)
STATES: Final = (b"partial", b"done")


class Receipt:
    """One row of ``migrated_files``, and what the lines it names add up to."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self._values = dict(zip(_NAMES, row, strict=True))
        self._first, self._last = self._values["first_seq"], self._values["last_seq"]
        self._lines = self._raw_lines = self._bytes = 0
        self._is_open = False
        self.is_redacted = False
        self._hash = sha256()

    def feed(self, row: Row, *, is_redacted: bool = False) -> None:
        """Take a line of the session, if it is of the file's."""
        if not self._first <= row.seq <= self._last:
            return
        self.is_redacted |= is_redacted
        body = row.body or b""
        self._hash.update(body)
        self._hash.update(row.terminator)
        self._bytes += len(body) + len(row.terminator)
        # A bare line end behind a line without one ends it, and is no line of its own.
        if not goes_on(row.kind, body, is_open=self._is_open):
            self._lines += 1
            self._raw_lines += row.kind == b"raw"
        self._is_open = row.terminator == b""

    def fault(self) -> tuple[str, dict[str, Any]] | None:
        """J601: return in what entries and receipt differ, and the two."""
        expected = {name: self._values[name] for name in ("bytes", "lines", "raw_lines")}
        expected["sha256"] = text(self._values["sha256"])
        found = {
            "bytes": self._bytes,
            "lines": self._lines,
            "raw_lines": self._raw_lines,
            "sha256": self._hash.hexdigest(),
        }
        known = self._values["state"] in STATES
        if self.is_redacted:
            # What was read is not there any more, and that is on record: it cannot be held against the digest.
            del expected["sha256"], found["sha256"]
        if expected == found and known:
            return None
        cause = "bytes, lines or digest differ" if known else "a state that is none"
        return cause, {"path": text(self._values["path"]), "expected": expected, "found": found}

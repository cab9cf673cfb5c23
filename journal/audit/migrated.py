"""Migrated files: the bytes of the entries, held against what was read from the file."""

from __future__ import annotations

from copy import copy
from hashlib import sha256
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.audit.source import text
from journal.parts import goes_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.model import Row

_NAMES: Final = tuple(column.name for column in tables.migrated_files.c)
STATES: Final = (b"partial", b"done")


class Sum:
    """What the lines of a file add up to, as far as they came."""

    def __init__(self) -> None:
        self.lines = self.raw_lines = self.bytes = 0
        self.is_redacted = False
        self._is_open = False
        self.hashed = sha256()

    def feed(self, row: Row, *, is_redacted: bool) -> None:
        """Take the next line."""
        self.is_redacted |= is_redacted
        body = row.body or b""
        self.hashed.update(body)
        self.hashed.update(row.terminator)
        self.bytes += len(body) + len(row.terminator)
        # A bare line end behind a line without one ends it, and is no line of its own.
        if not goes_on(row.kind, body, is_open=self._is_open):
            self.lines += 1
            self.raw_lines += row.kind == b"raw"
        self._is_open = row.terminator == b""

    def sha256(self) -> str:
        """Return the digest of their bytes."""
        return self.hashed.hexdigest()

    def copy(self) -> Sum:
        """Return what they came to until now."""
        twin = copy(self)
        twin.hashed = self.hashed.copy()
        return twin


class Receipt:
    """One row of ``migrated_files``, and what the lines it names add up to."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self._values = dict(zip(_NAMES, row, strict=True))
        self.first, self.last = self._values["first_seq"], self._values["last_seq"]
        self.sum = Sum()

    def feed(self, row: Row, *, is_redacted: bool = False) -> None:
        """Take a line of the session, if it is of the file's."""
        if self.first <= row.seq <= self.last:
            self.sum.feed(row, is_redacted=is_redacted)

    def fault(self) -> tuple[str, dict[str, Any]] | None:
        """J601: return in what entries and receipt differ, and the two."""
        expected = {name: self._values[name] for name in ("bytes", "lines", "raw_lines")}
        expected["sha256"] = text(self._values["sha256"])
        found = {
            "bytes": self.sum.bytes,
            "lines": self.sum.lines,
            "raw_lines": self.sum.raw_lines,
            "sha256": self.sum.sha256(),
        }
        known = self._values["state"] in STATES
        if self.sum.is_redacted:
            # What was read is not there any more, and that is on record: it cannot be held against the digest.
            del expected["sha256"], found["sha256"]
        if expected == found and known:
            return None
        cause = "bytes, lines or digest differ" if known else "a state that is none"
        return cause, {"path": text(self._values["path"]), "expected": expected, "found": found}


class Receipts:
    """The receipts of one session.

    Each run that finds a file grown leaves one of all of it, so most of them begin with the
    same line: what they have in common is summed once.
    """

    def __init__(self, rows: Iterable[tuple[Any, ...]] = ()) -> None:
        self._all = [Receipt(row) for row in rows]
        # Of those with one first line the first to end is the last; and what they add up to so far.
        self._open: dict[int, list[Receipt]] = {}
        for receipt in sorted(self._all, key=attrgetter("last"), reverse=True):
            self._open.setdefault(receipt.first, []).append(receipt)
        self._sums = {first: Sum() for first in self._open}

    def __bool__(self) -> bool:
        return bool(self._all)

    def feed(self, row: Row, *, is_redacted: bool) -> None:
        """Take the next line of the session."""
        for first, waiting in self._open.items():
            while waiting and waiting[-1].last < row.seq:
                waiting.pop().sum = self._sums[first].copy()
            if waiting and first <= row.seq:
                self._sums[first].feed(row, is_redacted=is_redacted)

    def faults(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """J601: yield in what entries and receipts differ, behind the last line."""
        for first, waiting in self._open.items():
            while waiting:
                waiting.pop().sum = self._sums[first].copy()
        yield from filter(None, (receipt.fault() for receipt in self._all))

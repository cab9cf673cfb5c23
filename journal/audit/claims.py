"""Follows the sealed claims and releases of a session, and rebuilds what the table should say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from journal.audit.rules import KEPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journal.audit.declarations import Declarations
    from journal.model import Row


class _Standing(Enum):
    UNKNOWN = "entries are gone or damaged, so what stands cannot be told"
    UNDECIDED = "no claim or release in this write"


_PROCESS: Final = ("host", "pid_ns", "boot_id", "pid", "started_us")

Token = int | None | _Standing
UNACCOUNTED: Final = "no sealed claim accounts for the row"


@dataclass(frozen=True, slots=True)
class Record:
    """One claim as its sealed entries tell it."""

    writer_id: int
    instance_id: int
    run_id: str | None
    outcome: str | None = None
    reason: str | None = None
    superseded_by: int | None = None


class Claims:
    """What the sealed entries of one session say of its claims.

    Attributes:
        records: every claim by its token.

    """

    def __init__(self, known: Declarations, note: Callable[[str, str, Row], None]) -> None:
        self.records: dict[int, Record] = {}
        # Those that go with another process, a shell: the commands that it calls write in its turn.
        self._anothers: set[int] = set()
        self._known = known
        self._note = note
        self._after: Token = None
        self._decided: Token = _Standing.UNDECIDED
        self._first: Row | None = None

    def feed(self, row: Row, facts: dict[str, Any] | None, *, links: bool) -> None:
        """Take the next entry; ``links`` is whether it follows the one before it."""
        if not links:
            self._after, self._first = _Standing.UNKNOWN, None
        if self._first is None or row.epoch != self._first.epoch:
            self.close()
            self._first, self._decided = row, _Standing.UNDECIDED
        if facts is None:
            if row.kind == b"control":
                self._decided = _Standing.UNKNOWN  # damaged: it may have been a claim
        elif facts.get("control") == "claim":
            self._claim(row, facts)
        elif facts.get("control") == "release":
            self._release(int(facts["token"]))

    def agrees(self, writes: Iterable[Row]) -> bool:
        """Whether writes without a claim or release in them follow from what stands, all of them."""
        stands = self._after if self._first is None else self._first.claim
        return all(
            (stands is _Standing.UNKNOWN or row.claim == stands) and self._fits_run(row)
            for row in writes
        )

    def close(self) -> None:
        """Judge the write that ends here: does its claim follow from what stood before?"""
        row, decided = self._first, self._decided
        if row is None:
            return
        expected = self._after if decided is _Standing.UNDECIDED else decided
        if expected is not _Standing.UNKNOWN and row.claim != expected:
            self._note("J107", "another claim stands in the write than the one before it left", row)
        if decided is _Standing.UNDECIDED:
            self._judge_run(row)
        self._after = row.claim

    def _judge_run(self, row: Row) -> None:
        if not self._fits_run(row):
            self._note("J108", "another process held the claim", row)

    def _fits_run(self, row: Row) -> bool:
        """Whether a run that writes under a claim is the one that holds it."""
        writer = self._known.writers.get(row.writer_id)
        record = None if row.claim is None else self.records.get(row.claim)
        if record is None or writer is None or writer.role != "run" or row.origin in KEPT:
            return True
        is_holders = row.claim in self._anothers or record.instance_id == row.instance_id
        return is_holders and record.writer_id == row.writer_id

    def _is_anothers(self, row: Row, process: object) -> bool:
        """Whether a claim goes with another process than the one that wrote it."""
        own = self._known.processes.get(row.instance_id)
        if own is None or not isinstance(process, dict):
            return False
        return tuple(str(process.get(name)) for name in _PROCESS) != own

    def _claim(self, row: Row, facts: dict[str, Any]) -> None:
        token, before = int(facts["token"]), facts.get("supersedes")
        if token != row.epoch:
            self._note("J107", "a claim's token is not its epoch", row)
        self.records[token] = Record(row.writer_id, row.instance_id, facts.get("run_id"))
        if self._is_anothers(row, facts.get("process")):
            self._anothers.add(token)
        if before in self.records:
            self.records[before] = replace(
                self.records[before],
                outcome="superseded",
                reason=facts.get("reason"),
                superseded_by=token,
            )
        self._decided = token

    def _release(self, token: int) -> None:
        if token in self.records:
            self.records[token] = replace(self.records[token], outcome="released")
        self._decided = None


def table_faults(
    rows: Iterable[tuple[Any, ...]], records: dict[int, Record]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield in what the table of claims differs from the sealed claims of a session."""
    seen = set()
    for (
        _,
        token,
        writer_id,
        instance_id,
        run_id,
        _,
        ended_us,
        outcome,
        reason,
        superseded_by,
    ) in rows:
        seen.add(token)
        record = records.get(token)
        if record is None:
            yield UNACCOUNTED, {"token": token}
            continue
        found = Record(
            writer_id, instance_id, _text(run_id), _text(outcome), _text(reason), superseded_by
        )
        if found != record or (ended_us is None) != (outcome is None):
            yield (
                "a row was edited",
                {"token": token, "expected": _told(record), "found": _told(found)},
            )
    for token in records.keys() - seen:
        yield "a row is gone", {"token": token}


def _told(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__slots__}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")

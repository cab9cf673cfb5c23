"""Redactions: which lines were erased on record, and whether rows and table say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journal.audit.judging import UNFIT, holds
from journal.controls import decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.audit.source import Source
    from journal.model import Row
    from journal.seal import Sealer


def read(source: Source, session_id: int, sealer: Sealer | None) -> dict[int, int]:
    """Return the sizes of the lines that sealed redactions name, by seq.

    They stand after the lines they name, so they are read ahead. Without the key
    they are believed: then nothing is proved in any case.
    """
    found: dict[int, int] = {}
    for row in source.controls(session_id):
        facts = _facts(row)
        if facts.get("control") == "redaction" and (sealer is None or holds(sealer, row)):
            try:
                found |= {int(seq): int(size) for seq, size in facts["rows"].items()}
            except (KeyError, *UNFIT):
                continue  # a fact that lacks what it says is told where it is walked over
    return found


def _facts(row: Row) -> dict[str, Any]:
    return decode(row.body) if isinstance(row.body, bytes) else {}


def table_faults(
    rows: Iterable[tuple[Any, ...]], redacted: dict[int, int]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield in what the table of redactions differs from the sealed ones of a session."""
    seen = [row[2] for row in rows]
    for seq in sorted(redacted.keys() - set(seen)):
        yield "a row is gone", {"seq": seq}
    for seq in sorted({seq for seq in seen if seq not in redacted or seen.count(seq) > 1}):
        yield "no sealed redaction accounts for the row", {"seq": seq}


def undone(source: Source, session_id: int, redacted: dict[int, int]) -> Iterator[int]:
    """Yield redacted lines that are there again."""
    for seq in sorted(redacted):
        rows = source.rows_between(session_id, seq, seq)
        if any(row.body is not None for row in rows):
            yield seq

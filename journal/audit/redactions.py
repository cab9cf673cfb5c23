"""Redactions: which lines were erased on record, and whether rows and table say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journal.audit.source import text
from journal.controls import decode
from journal.fields import UNFIT
from journal.seal import body_holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.audit.source import Source
    from journal.model import Row
    from journal.seal import Sealer


class Redacted(NamedTuple):
    """One line that a sealed redaction names."""

    size: int
    control_seq: int
    writer_id: int
    reason: str


def read(source: Source, session_id: int, sealer: Sealer | None) -> dict[int, Redacted]:
    """Return the lines that sealed redactions name, by seq.

    They stand after the lines they name, so they are read ahead. Without the key
    they are believed, if they were not edited: then nothing is proved in any case.
    """
    found: dict[int, Redacted] = {}
    for row in source.controls(session_id):
        facts = _facts(row)
        if facts.get("control") == "redaction" and _is_whole(row, sealer):
            try:
                for seq, size in facts["rows"].items():
                    found[int(seq)] = Redacted(
                        int(size), row.seq, row.writer_id, str(facts["reason"])
                    )
            except (KeyError, *UNFIT):
                continue  # a fact that lacks what it says is told where it is walked over
    return found


def sizes(redacted: Mapping[int, Redacted]) -> dict[int, int]:
    """Return the sizes that the lines had, by seq."""
    return {seq: known.size for seq, known in redacted.items()}


def _facts(row: Row) -> dict[str, Any]:
    return decode(row.body) if isinstance(row.body, bytes) else {}


def _is_whole(row: Row, sealer: Sealer | None) -> bool:
    """Whether a fact is as it was sealed: what it says is in its body, which the seal alone does not cover."""
    try:
        return body_holds(row) and (sealer is None or sealer.seal_holds(row))
    except UNFIT:
        return False


def table_faults(
    rows: Iterable[tuple[Any, ...]], redacted: Mapping[int, Redacted]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield in what the table of redactions differs from the sealed ones of a session."""
    seen: set[object] = set()
    for _, _, seq, control_seq, writer_id, reason, _ in rows:
        known = redacted.get(seq)
        if known is None or seq in seen:
            yield "no sealed redaction accounts for the row", {"seq": seq}
        elif (control_seq, writer_id, text(reason)) != known[1:]:
            yield "a row was edited", {"seq": seq, "expected": known._asdict()}
        seen.add(seq)
    for seq in sorted(redacted.keys() - seen):
        yield "a row is gone", {"seq": seq}


def undone(source: Source, session_id: int, redacted: Iterable[int]) -> Iterator[int]:
    """Yield redacted lines that are there again."""
    for seq in sorted(redacted):
        rows = source.rows_between(session_id, seq, seq)
        if any(row.body is not None for row in rows):
            yield seq

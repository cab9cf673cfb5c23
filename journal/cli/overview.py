"""What stands in a journal beside its sessions: parked writes and verdicts, believed only by their MACs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from journal import Journal

SHOWN: Final = 3
_PAGE: Final = 500
_VERDICTS: Final = (
    "SELECT id, session_id, fence_id, writer_id, instance_id, outcome, policy, evidence, judged_us, mac "
    "FROM verdicts ORDER BY judged_us DESC, id LIMIT ? OFFSET ?"
)


@dataclass
class Overview:
    """Counts and the newest takeovers; ``forged`` rows are none of the journal's own."""

    parked: int = 0
    takeovers: list[dict[str, Any]] = field(default_factory=list)
    forged: int = 0


def overview(journal: Journal) -> Overview:
    """Read it all in one state of the database."""
    found = Overview()
    with journal.store.snapshot() as cursor:
        _count_parked(journal, cursor, found)
        _find_takeovers(journal, cursor, found)
    return found


def _count_parked(journal: Journal, cursor: Any, found: Overview) -> None:  # noqa: ANN401 - a driver's cursor
    from journal import parking  # noqa: PLC0415 - with the rest of the library

    sessions = cursor.execute(
        "SELECT DISTINCT session_id FROM parked WHERE settled IS NULL"
    ).fetchall()
    for (session_id,) in sessions:
        for row in parking.of_session(cursor, session_id):
            if row.holds(journal.store):
                found.parked += 1
            else:
                found.forged += 1


def _find_takeovers(journal: Journal, cursor: Any, found: Overview) -> None:  # noqa: ANN401
    at, rows = 0, [()]
    while rows and len(found.takeovers) < SHOWN:
        rows = cursor.execute(_VERDICTS, (_PAGE, at)).fetchall()
        at += len(rows)
        for row in rows:
            if row[-1] != journal.store.mac("verdict", *row[:-1]):
                found.forged += 1
            elif len(found.takeovers) < SHOWN:
                found.takeovers.append(_told(journal, row))


def _told(journal: Journal, row: tuple[Any, ...]) -> dict[str, Any]:
    evidence = json.loads(row[7])
    return {
        "verdict": row[0],
        "session": journal.store.registry.session_keys.get(row[1], f"session {row[1]}"),
        "outcome": row[5],
        "foreign": [item["seq"] for item in evidence["foreign"]],
        "judged_us": row[8],
    }

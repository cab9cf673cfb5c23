"""What stands in a journal beside its sessions: parked writes and verdicts, believed only by their MACs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from journal.errors import JournalError

if TYPE_CHECKING:
    from sqlalchemy import Column

    from journal import Journal
SHOWN: Final = 3
_PAGE: Final = 500
# Each page sorts all that is kept, and a run that is refused again and again has a verdict each time.
_LARGEST: Final = 8000
# A refused write is kept as a verdict too, but nobody was taken over by it.
_TAKEOVERS: Final = ("takeover", "between fences")
# Where something from outside is known to stand, or plainly does: a look at each session's
# chain would take a large journal seconds.
_ODD: Final = (
    "SELECT session_id FROM verdicts UNION SELECT id FROM sessions WHERE EXISTS "
    "(SELECT 1 FROM entries WHERE session_id = sessions.id AND seq > head_seq)"
)
# SQLite has an index of foreign rows alone; a server would read all of the journal.
_FOREIGN: Final = (
    "SELECT id FROM sessions WHERE EXISTS "
    "(SELECT 1 FROM entries WHERE session_id = sessions.id AND trusted = 0)"
)
_MIRRORED: Final = "SELECT session_id FROM mirrors"


@dataclass
class Overview:
    """Counts, the newest takeovers, the mirrors; ``forged`` rows are none of the journal's own.

    ``unresolved`` has, by session, how many rows from outside nobody has accepted or
    rejected, as far as anybody has seen them: only an audit looks at every row. What is
    permitted waits for nobody; where not ``is_all``, there may be more.
    """

    parked: int = 0
    takeovers: list[dict[str, Any]] = field(default_factory=list)
    forged: int = 0
    mirrors: list[dict[str, Any]] = field(default_factory=list)
    unresolved: list[dict[str, Any]] = field(default_factory=list)


def overview(journal: Journal) -> Overview:
    """Read it all in one state of the database."""
    found = Overview()
    with journal.store.snapshot() as cursor:
        _count_parked(journal, cursor, found)
        _find_takeovers(journal, cursor, found)
        _find_unresolved(journal, cursor, found)
    found.mirrors = [
        {"session": one.key, "path": one.path, "state": one.state, "detail": one.detail}
        for one in journal.mirrors.status()
    ]
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


def _find_unresolved(journal: Journal, cursor: Any, found: Overview) -> None:  # noqa: ANN401
    from journal.inspection import count_unresolved  # noqa: PLC0415

    store = journal.store
    for session_id in _sessions_to_look_at(journal, cursor):
        key = store.registry.session_keys[session_id]
        chain = store.find_chain(cursor, key)
        if chain is not None:
            waiting = count_unresolved(cursor, store.fresh(chain), store.registry.writers)
            if waiting.entries:
                found.unresolved.append({"session": key, **waiting._asdict()})


def _sessions_to_look_at(journal: Journal, cursor: Any) -> list[int]:  # noqa: ANN401
    """Return the sessions of which a chain must be looked at: not those with permitted rows alone."""
    from journal.inspection import foreign_by_writer  # noqa: PLC0415

    registry = journal.store.registry
    permitted = {each.id for each in registry.writers.values() if each.permitted}
    where = _FOREIGN if journal.store.keeps_files else _MIRRORED
    found = {row[0] for row in cursor.execute(_ODD).fetchall()}
    for (session_id,) in cursor.execute(where).fetchall():
        if session_id not in found and foreign_by_writer(cursor, session_id).keys() - permitted:
            found.add(session_id)
    return sorted(found & registry.session_keys.keys())


def _find_takeovers(journal: Journal, cursor: Any, found: Overview) -> None:  # noqa: ANN401
    from journal import statements as sql  # noqa: PLC0415
    from journal.tables import verdicts  # noqa: PLC0415

    newest_first = f"{sql.all_of(verdicts)} ORDER BY judged_us DESC, id LIMIT ? OFFSET ?"
    at, size, rows = 0, _PAGE, [()]
    while rows and len(found.takeovers) < SHOWN:
        rows = cursor.execute(newest_first, (size, at)).fetchall()
        at, size = at + len(rows), min(2 * size, _LARGEST)
        for row in rows:
            *facts, mac = map(_plain, row, verdicts.c)
            if mac != journal.store.mac("verdict", *facts):
                found.forged += 1
            elif facts[5] in _TAKEOVERS and len(found.takeovers) < SHOWN:
                told = _told(journal, facts)
                told["settled"] = _is_settled(journal, cursor, told["verdict"])
                found.takeovers.append(told)


def _is_settled(journal: Journal, cursor: Any, verdict_id: str) -> bool:  # noqa: ANN401
    """Whether all of it was accepted or rejected; of what is gone nobody can."""
    from journal.incident import Incident  # noqa: PLC0415

    try:
        found = Incident(journal.store, cursor, verdict_id)
    except JournalError:
        return False  # its session is not there any more
    is_gone = any(item["trust"] == "missing" for item in found.facts["foreign"])
    return not is_gone and not found.open_seqs()


def _plain(value: Any, column: Column[Any]) -> Any:  # noqa: ANN401 - whatever the column holds
    """Return text as text; what is none in a text column can have no valid MAC."""
    if isinstance(value, bytes) and column.type.python_type is str:
        return value.decode("utf-8", "backslashreplace")
    return value


def _told(journal: Journal, facts: list[Any]) -> dict[str, Any]:
    verdict_id, session_id, _, _, _, outcome, _, evidence, judged_us = facts
    return {
        "verdict": verdict_id,
        "session": journal.store.registry.session_keys.get(session_id, f"session {session_id}"),
        "outcome": outcome,
        "foreign": [item["seq"] for item in json.loads(evidence)["foreign"]],
        "judged_us": judged_us,
    }

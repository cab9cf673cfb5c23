"""The kept verdicts: what was judged, when and on which evidence, each row with its proof.

A verdict is an answer, not a state: nothing decides by these rows. They are what
``journal why`` explains and what is counted when it says how often lately.
"""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Text

from journal import statements as sql
from journal.errors import NotFoundError, RefusedError
from journal.tables import verdicts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from journal.engine import Cursor
    from journal.store import Store

_IS_TEXT: Final = tuple(isinstance(column.type, Text) for column in verdicts.c)
LISTED: Final = 1000
# What became of a refused write is kept beside why it was refused, and is no verdict itself.
DISCARDED: Final = "discarded"


class VerdictRow(NamedTuple):
    """One row of ``verdicts``, in the table's order."""

    id: str
    session_id: int
    fence_id: str | None
    writer_id: int | None
    instance_id: int | None
    outcome: str
    policy: str
    # As they are until it is kept.
    evidence: str = ""
    judged_us: int = 0
    mac: bytes = b""

    @classmethod
    def read(cls, values: Sequence[Any]) -> VerdictRow:
        """Return a row as it stands; text that is no UTF-8 comes out such that its proof fails."""
        return cls(*(
            value.decode("utf-8", "backslashreplace") if is_text and value is not None else value
            for value, is_text in zip(values, _IS_TEXT, strict=True)
        ))  # fmt: skip

    def holds(self, store: Store) -> bool:
        """Whether the row is as a key holder stored it."""
        return self.mac == store.mac("verdict", *self[:-1])

    @property
    def facts(self) -> dict[str, Any]:
        """The evidence."""
        found: dict[str, Any] = json.loads(self.evidence)
        return found


def keep(
    cursor: Cursor,
    store: Store,
    row: VerdictRow,
    evidence: Mapping[str, Any],
) -> None:
    """Store a verdict with its evidence and its proof, in the caller's transaction."""
    row = row._replace(evidence=json.dumps(evidence), judged_us=store.clock())
    cursor.execute(sql.INSERT_VERDICT, row._replace(mac=store.mac("verdict", *row[:-1])))


def find(cursor: Cursor, store: Store, verdict_id: str) -> VerdictRow:
    """Return one kept verdict.

    Raises:
        NotFoundError: there is none of this id.
        RefusedError: its row is not what was stored.

    """
    found = cursor.execute(f"{sql.all_of(verdicts)} WHERE id = ?", (verdict_id,)).fetchone()
    row = None if found is None else VerdictRow.read(found)
    if row is None or row.outcome == DISCARDED:
        raise NotFoundError(
            f"there is no verdict {verdict_id!r}", hint="journal why", code="no-verdict"
        )
    if not row.holds(store):
        raise RefusedError(
            f"the verdict {verdict_id} was changed after it was stored",
            hint="journal audit",
            code="verdict-altered",
        )
    return row


def since(cursor: Cursor, store: Store, at_us: int) -> Iterator[VerdictRow]:
    """Yield the true verdicts of the whole journal since a time, newest first."""
    where = f"{sql.all_of(verdicts)} WHERE judged_us >= ? ORDER BY judged_us DESC"
    for values in cursor.execute(where, (at_us,)).fetchall():
        row = VerdictRow.read(values)
        if row.outcome != DISCARDED and row.holds(store):
            yield row


def newest(cursor: Cursor, store: Store, limit: int) -> list[VerdictRow]:
    """Return the newest true verdicts of the whole journal, the newest first."""
    where = f"{sql.all_of(verdicts)} ORDER BY judged_us DESC, id LIMIT ? OFFSET ?"
    found: list[VerdictRow] = []
    for at in count(0, LISTED):  # forged rows may stand before the first true one
        rows = cursor.execute(where, (LISTED, at)).fetchall()
        true = (row for row in map(VerdictRow.read, rows) if row.holds(store))
        found += (row for row in true if row.outcome != DISCARDED)
        if len(found) >= limit or len(rows) < LISTED:
            break
    return found[:limit]


def of_fence(cursor: Cursor, store: Store, fence_id: str) -> VerdictRow | None:
    """Return a fence's newest true verdict, or None."""
    where = f"{sql.all_of(verdicts)} WHERE fence_id = ? ORDER BY judged_us DESC, id"
    rows = map(VerdictRow.read, cursor.execute(where, (fence_id,)).fetchall())
    return next((row for row in rows if row.holds(store)), None)


def of_parked(cursor: Cursor, store: Store, session_id: int, parked_id: str) -> VerdictRow | None:
    """Return the newest true verdict by which a parked write was refused, or None."""
    rows = _about(cursor, store, session_id, parked_id)
    return next((row for row in rows if row.outcome != DISCARDED), None)


def discarding(cursor: Cursor, store: Store, session_id: int, parked_id: str) -> VerdictRow | None:
    """Return what was kept when a parked write was discarded; None if it was not, or not kept."""
    rows = _about(cursor, store, session_id, parked_id)
    return next((row for row in rows if row.outcome == DISCARDED), None)


def _about(cursor: Cursor, store: Store, session_id: int, parked_id: str) -> Iterator[VerdictRow]:
    """Yield the true rows about a parked write, the newest first."""
    where = (
        f"{sql.all_of(verdicts)} WHERE session_id = ? AND instr(evidence, ?) > 0 "
        "ORDER BY judged_us DESC"
    )
    named = f'"parked": "{parked_id}"'  # a quote inside a body is escaped: it matches none
    rows = map(VerdictRow.read, cursor.execute(where, (session_id, named)).fetchall())
    return (row for row in rows if row.holds(store))

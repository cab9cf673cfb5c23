"""Requests, by which a write is done once: those written twice, and parked ones that say what is not so."""

from __future__ import annotations

from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from journal import tables
from journal.audit import proofs
from journal.audit.source import text
from journal.fields import field
from journal.seal import body_holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal.audit.proofs import ParkedState
    from journal.audit.source import Source
    from journal.model import Row
    from journal.seal import Sealer

_MOST: Final = 1000
_APPLIED: Final = "its entries are in the session, it says it is open"
_NOT_APPLIED: Final = "it says it was applied, its entries are not in the session"


def twice(source: Source, session_id: int, counts: Callable[[Row], bool]) -> Iterator[Row]:
    """J206: yield the entries of requests that were written more than once.

    Strays that copy a request do not count, nor does what was erased on record: a
    transcript that was forgotten may be written again.
    """
    again = source.query(
        "SELECT request_id FROM entries WHERE session_id = ? AND request_id IS NOT NULL "
        "GROUP BY request_id HAVING count(DISTINCT epoch) > 1 LIMIT ?",
        session_id,
        _MOST,
    ).fetchall()
    for (request_id,) in again:
        rows = [row for row in source.rows_of_request(session_id, request_id) if counts(row)]
        if len({row.epoch for row in rows}) > 1:
            yield from rows


def misstated(source: Source, session_id: int, sealer: Sealer | None) -> Iterator[tuple[str, str]]:
    """J412: yield the requests of parked writes that are not what they say of themselves, and why."""
    states = [proofs.parked_state(row) for row in source.table(tables.parked, session_id)]
    # The same lines refused again after they were discarded are parked anew, under the same request.
    claimed = {
        (request, *state.lines)
        for state in states
        if state.is_applied
        for request in state.requests
    }
    for state in states:
        found = {
            request: {
                _is_of(write, state) for write in _applied(source, session_id, request, sealer)
            }
            for request in state.requests
        }
        became = {(request, *state.lines) for request, is_its in found.items() if True in is_its}
        if became and not became <= claimed:
            yield text(state.requests[0]), _APPLIED
        # Of a write that was erased or edited nobody can tell any more whose it was.
        elif state.is_applied and not became and not any(None in each for each in found.values()):
            yield text(state.requests[0]), _NOT_APPLIED


def _applied(
    source: Source, session_id: int, request: bytes, sealer: Sealer | None
) -> Iterator[list[Row]]:
    """Yield the sealed entries of each write that a parked one became under a request."""
    rows = [
        row
        for row in source.rows_of_request(session_id, request)
        if row.origin == b"parked" and sealer is not None and sealer.seal_holds(row)
    ]
    for _, write in groupby(rows, attrgetter("epoch")):
        yield [*write]


def _is_of(write: list[Row], state: ParkedState) -> bool | None:
    """Whether entries are what a parked write became; None where they do not tell any more."""
    if write[0].writer_id != state.writer_id:
        return False
    if not all(map(body_holds, write)):
        return None
    content = b"".join(field(row.body) + field(row.terminator) for row in write)
    return sha256(content).digest() == state.digest

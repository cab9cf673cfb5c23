"""A queue at a session's head: who met others there waits for its turn, and looks only then.

A courtesy among writers and no guard: the write that follows carries its conditions as ever.
So it is waited in for a moment only, or one writer that was stopped would stop all.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from journal import statements as sql
from journal.dialects.texts import turned
from journal.dialects.wire import row_of

if TYPE_CHECKING:
    from journal.dialects.wire import Wire

LONGEST_MS: Final = 1000
# Each statement sees what was committed before it: the look, what was there when the turn came.
_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_WAIT: Final = "SELECT set_config('lock_timeout', $2, true), pg_advisory_xact_lock($1)"


def lock_of(schema: str, session_id: int) -> int:
    """Return the number of the lock that is the queue of one session in a schema's journal."""
    name = f"{schema}/{session_id}".encode()
    return int.from_bytes(blake2b(name, digest_size=8, person=b"head").digest()) >> 1


def stand(
    wire: Wire, lock: int, session_id: int, between: tuple[int, int], time_out_s: float
) -> Any:  # noqa: ANN401 - a row, or None
    """Begin, wait for one's turn, and return the newest row as it is then; one round trip.

    Without its body, and behind it: the seal at the lower seq, and the projection's
    ``examined_seq`` and ``examined_mac``. None where there is no such session. The turn is waited
    for a second at most, and half of the write's time-out: the rest of that is to go round.

    Raises:
        Exception: the driver's: the turn did not come in time.

    """
    longest_ms = max(1, min(LONGEST_MS, int(time_out_s * 500)))
    values = (session_id, between[1], 1, between[0])
    return row_of(wire.run((_BEGIN, ()), (_WAIT, (lock, str(longest_ms))), (_look(), values))[2])


@cache
def _look() -> str:
    newest = turned(sql.newest_rows()).sql
    return (
        f"SELECT newest.*, (SELECT seal FROM entries WHERE session_id = $1 AND seq = $4), "  # noqa: S608 - our own words
        f"s.examined_seq, s.examined_mac FROM ({newest}) newest, sessions s WHERE s.id = $1"
    )

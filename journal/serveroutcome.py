"""What became of a commit whose answer was lost: asked of the server, and never guessed at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from journal.errors import StorageError
from journal.model import REGISTRY_ID
from journal.servergroup import UNKNOWN

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.serverlink import Link

LOCK_ONE: Final = "SELECT 1 FROM sessions WHERE id = ? FOR UPDATE"
# The registry's row, which no append moves. Others who lock it so are not waited for.
HOLD_IF_WRITTEN: Final = (
    f"SELECT 1 FROM sessions WHERE id = {REGISTRY_ID} "  # noqa: S608 - our own number
    "AND pg_current_xact_id_if_assigned() IS NOT NULL FOR SHARE"
)
_IS_THERE: Final = "SELECT 1 FROM entries WHERE session_id = ? AND seq = ? AND seal = ?"


def has_entries(link: Link, moved: list[Chain], deadline: float) -> bool:
    """Return whether the entries that would have moved these chains are there, for good.

    Raises:
        StorageError: no standby confirms it in time.

    """
    found, execute = None, link.cursor.execute
    execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    for number in sorted({chain.session_id for chain in moved}):
        # Waits as long as a transaction that the server prepared or replays may yet commit.
        execute(LOCK_ONE, (number,))
    for chain in moved[:1]:
        head = chain.head
        found = execute(_IS_THERE, (chain.session_id, head.seq, head.seal)).fetchone()
    # Not a rollback: the locks are a write, and with its commit, after it in the log, what
    # was found is durable too, and on the standbys.
    with link.commits.confirmed(deadline - time.monotonic()):
        execute("COMMIT")
    return found is not None


_AGAIN: Final = (
    "when the server is back, do the same again with the same request_id: it is written once"
)


def unknown(where: str, hint: str = _AGAIN) -> StorageError:
    """Return the error for a commit of which nobody can say whether it is kept."""
    return StorageError(
        f"{where}: the answer to a commit was lost, or no standby gave one: whether it is kept is not known",
        hint=hint,
        code=UNKNOWN,
    )

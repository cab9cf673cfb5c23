"""The write-ahead log, folded into the database: by turns, all of it, and at the end.

SQLite does it by itself, but for one with the WAL-reset bug: with that nobody may
write meanwhile, so it is done by whoever has the turn.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from journal.engine import is_compatible_mode

if TYPE_CHECKING:
    from journal.engine import Cursor

EMPTY_WAIT_MS: Final = 1000
BRIEF_WAIT_MS: Final = 100
FOLD_IN_AFTER: Final = 200  # commits, in compatible mode

log = logging.getLogger("journal")


class Folding:
    """How the log of one open database is folded in; after so many commits by us, or by SQLite where that is 0."""

    __slots__ = ("_path", "_unfolded", "_wait_ms", "after")

    def __init__(self, path: str, busy_timeout_s: float) -> None:
        self._path = path
        self._wait_ms = min(int(busy_timeout_s * 1000), BRIEF_WAIT_MS)
        self.after = FOLD_IN_AFTER if is_compatible_mode() else 0
        self._unfolded = 0

    def wait_briefly(self, cursor: Cursor) -> None:
        """Have SQLite wait for a moment only: who waits longer does so where others can go on."""
        cursor.execute(f"PRAGMA busy_timeout={self._wait_ms}")

    def sometimes(self, cursor: Cursor) -> None:
        """Fold it in after so many commits, while the turn is still ours, so that nobody writes meanwhile."""
        self._unfolded += 1
        if self._unfolded >= self.after:
            self._unfolded = 0
            try:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except Exception as error:  # noqa: BLE001 - it was committed; the log is folded in later
                log.debug("%s: no checkpoint: %s", self._path, error)

    def empty(self, cursor: Cursor) -> bool:
        """Fold all of it in and empty it; False if a reader holds it, or somebody writes on."""
        # A reader may hold it for hours: say so rather than wait.
        cursor.execute(f"PRAGMA busy_timeout={EMPTY_WAIT_MS}")
        found = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self.wait_briefly(cursor)
        return bool(found[0] == 0)

    def at_the_end(self, connection: Any) -> None:  # noqa: ANN401 - the driver's
        """Fold it in and empty it, if that can be had at once."""
        try:
            # Others may be at work: do not wait.
            connection.execute("PRAGMA busy_timeout=0")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except Exception as error:  # noqa: BLE001 - the log stays and is folded in later
            log.debug("%s: no checkpoint at close: %s", self._path, error)

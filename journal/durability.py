"""Durable on return: one sync of the write-ahead log for all commits that wait for it.

SQLite's ``synchronous=FULL`` syncs inside COMMIT, with the write lock held: while
the disk works nobody else can write. Here COMMIT only writes the log
(``synchronous=NORMAL``), the lock is let go, and then the log is synced before
anybody is told that their write is kept. A sync covers all that was committed
before it, whoever did it, for the log is valid only as far as it is unbroken:
what is acknowledged can be lost by nothing that an earlier commit loses.

The log is never opened: SQLite's own descriptor of it is copied. (It carries no
locks, so closing the copy takes none away; no other file of the three is touched.)
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from typing import Final, Protocol

from journal.errors import StorageError
from journal.guards import descriptors_of, identity_of

# fdatasync is what it says on Linux; elsewhere the sync is left to SQLite.
CAN_SYNC: Final = sys.platform == "linux"


class Durability(Protocol):
    """How commits become durable."""

    failed: BaseException | None

    def count(self) -> int:
        """Return a number for what has been committed until now."""

    def wait(self, number: int) -> None:
        """Return once the commit of this number survives power loss."""

    def close(self) -> None:
        """Let go of what was opened."""


class BySQLite:
    """COMMIT itself was durable, or nobody asked for it to be."""

    failed: BaseException | None = None

    def count(self) -> int:
        """Return 0."""
        return 0

    def wait(self, number: int) -> None:
        """Return at once."""

    def close(self) -> None:
        """Do nothing."""


class LogSync:
    """Syncs a journal's write-ahead log, once for all who wait."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = copied(f"{path}-wal")
        self._syncing = threading.Lock()
        self._committed = self._synced = 0
        self._is_closed = False
        self.failed: BaseException | None = None

    def count(self) -> int:
        """Return a number for what has been committed until now."""
        self._committed += 1
        return self._committed

    def wait(self, number: int) -> None:
        """Return once the commit of this number survives power loss.

        Raises:
            StorageError: the log could not be synced. What was committed since the
                last sync may or may not be kept, and nothing after it can be
                trusted: this journal must be opened anew. Or it is closed, and a number
                counted after that, which stands for what others wrote, is not covered.

        """
        if self._synced >= number:
            return
        with self._syncing:  # whoever waited here finds it done, or does it for all
            if self._synced >= number:
                return
            covered = self._committed
            if self.failed is None and not self._is_closed:
                try:
                    os.fdatasync(self._descriptor)
                except OSError as error:
                    # The kernel may have dropped the pages: a second try would only seem to succeed.
                    self.failed = error
                else:
                    self._synced = covered
                    return
        if self.failed is None:
            raise StorageError("this journal is closed", hint="open it again", code="closed")
        raise StorageError(
            f"{self._path}: the write-ahead log could not be synced: {self.failed}",
            hint="check the disk, then open the journal anew",
            code="not-durable",
        ) from self.failed

    def close(self) -> None:
        """Sync what somebody may yet wait for, and let go of the log; nothing is committed any more.

        Not while it is synced: its number may be another file's in the next moment.
        """
        try:
            with suppress(StorageError):  # told to whoever waits
                self.wait(self._committed)
        finally:
            with self._syncing:
                self._is_closed = True
                os.close(self._descriptor)


def copied(path: str) -> int:
    """Return a copy of the descriptor under which this process has a file open.

    Only for the log, which carries no locks: closing a copy of any other of the
    three files would drop them.
    """
    identity = identity_of(os.stat(path))  # noqa: PTH116 - never by opening it
    for number in descriptors_of(identity):
        with suppress(OSError):  # one that was closed meanwhile
            copy = os.dup(number)
            # Its number may have been given to another file, perhaps a database: then the copy stays open.
            if identity_of(os.fstat(copy)) == identity:
                return copy
    raise StorageError(
        f"{path} is not open in this process", hint="open the journal anew", code="no-log"
    )

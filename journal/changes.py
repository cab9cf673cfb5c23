"""Tells of commits, whichever process made them.

A glance is ``PRAGMA data_version`` on a read-only connection of its own: a few
microseconds, no lock that anybody could wait for, and no row is read. One thread
glances for all that follow a journal; where nobody does there is none.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from journal.engine import connect, is_driver_error
from journal.process import begin

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

Connection: TypeAlias = Any  # one of two drivers'
GLANCE_S: Final = 0.025

log = logging.getLogger("journal")


class Changes:
    """Tells those who follow a journal of each commit; for threads of one process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._beginning = threading.Lock()  # held for as long as it takes to open
        self._followers: list[Callable[[], None]] = []
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._open: set[threading.Thread] = set()  # that have not closed their connection yet

    def add(self, call: Callable[[], None]) -> None:
        """Call this, from another thread, after each commit from now on.

        Raises:
            StorageError: the system gives no thread now, or the journal cannot be opened.

        """
        with self._beginning:
            with self._guard:
                # First, and not while a connection is opened: who removes itself waits for nothing.
                self._followers.append(call)
                is_served = self._thread is not None or self._end.is_set()
            if not is_served:
                try:
                    self._begin()
                except BaseException:
                    self.remove(call)
                    raise

    def _begin(self) -> None:
        # Opened here: what is committed once this has returned is noticed.
        connection = self._opened()
        try:
            seen = self._version(connection)
            thread = self._thread = threading.Thread(
                target=self._watch, args=(connection, seen), name="journal-tail", daemon=True
            )
            begin(thread, "the session is not followed")
        except Exception:
            self._thread = None
            connection.close()
            raise
        except BaseException:
            # A signal: who follows next begins another, and this one, if it came to run, ends.
            self._thread = None
            raise

    def remove(self, call: Callable[[], None]) -> None:
        """Call it no more."""
        with self._guard:
            self._followers.remove(call)

    def close(self) -> None:
        """End the thread, and its connection; nobody is called any more but by :meth:`tell`."""
        self._end.set()
        with self._beginning:  # one that is about to begin has begun, or will not
            # One that ends for want of followers, too: its connection may be open yet.
            threads = [self._thread, *self._open]
        for thread in threads:
            if thread is not None:
                thread.join()

    def _opened(self) -> Connection:
        return connect(self._path, mode="ro")

    def _version(self, connection: Connection) -> Any:  # noqa: ANN401 - whatever changes with each commit
        return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _watch(self, connection: Connection, seen: object) -> None:
        self._open.add(threading.current_thread())
        try:
            while not self._end.wait(GLANCE_S) and not self._is_over():
                version = self._glance(connection)
                if version not in (seen, None):
                    seen = version
                    self.tell()
        finally:
            connection.close()
            self._open.discard(threading.current_thread())

    def _is_over(self) -> bool:
        with self._guard:
            is_mine = self._thread is threading.current_thread()
            if self._followers and is_mine:
                return False
            if is_mine:
                self._thread = None
            return True

    def _glance(self, connection: Connection) -> object:
        try:
            return self._version(connection)
        except Exception as error:
            if not is_driver_error(error):
                raise
            # Busy with a recovery, or the server is away; whoever reads is told what is wrong.
            log.debug("%s: no glance at the journal: %s", self._path, error)
            return None

    def tell(self) -> None:
        """Call everybody who follows."""
        with self._guard:
            followers = list(self._followers)
        for call in followers:
            call()


class Following:
    """What waits, in a thread, for the next commit."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._event = threading.Event()

    def __enter__(self) -> Self:
        self._changes.add(self._event.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._changes.remove(self._event.set)

    def begin(self) -> None:
        """From here on a commit ends the next wait."""
        self._event.clear()

    def wait(self) -> None:
        """Return after the next commit, or when the journal is closed."""
        self._event.wait()

"""Tells of commits on a server: its notifications wake whoever follows."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from journal.changes import Changes
from journal.dialects import postgres
from journal.dialects.notices import LEFT, Listener
from journal.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal.dialects.address import Address

# A notification can be lost: with its writer, or while another follower's lock is taken over.
# What plain SQL wrote is told of by nobody. So there is a glance now and then.
GLANCE_S: Final = 3.0

log = logging.getLogger("journal")


class ServerChanges(Changes):
    """Tells those who follow a journal on a server of each commit; for threads of one process."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.shown)
        self._address = address
        self._listener: Listener | None = None

    def remove(self, call: Callable[[], None]) -> None:
        """Call it no more."""
        super().remove(call)
        self._wake()

    def close(self) -> None:
        """End the thread, and its connection; as :meth:`Changes.close`.

        One that is just looking for a server that is away is left to end by itself: there is no
        file that it might keep open.
        """
        self._end.set()
        self._wake()
        with self._beginning:
            thread = self._thread
        if thread is not None:
            thread.join(GLANCE_S)

    def _wake(self) -> None:
        listener = self._listener
        if listener is not None:
            listener.wake()

    def _opened(self) -> Listener:
        with self._told():
            self._listener = Listener(self._address)
        return self._listener

    def _version(self, connection: Any) -> Any:  # noqa: ANN401 - a listener, and what it sees
        with self._told():
            return connection.version()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have whoever begins to follow meet an error of ours."""
        try:
            yield
        except postgres.driver().Error as error:
            raise postgres.translated(error, self._path) from error

    def _watch(self, connection: Any, seen: object) -> None:  # noqa: ANN401 - a listener
        listener: Listener | None = connection
        try:
            while not self._end.is_set() and not self._is_over():
                if listener is None:
                    listener, seen = self._opened_again(), None
                    continue
                try:
                    seen = self._heard(listener, seen)
                except postgres.driver().Error as error:
                    log.debug("%s: no word from the server: %s", self._path, error)
                    listener.close()
                    listener = None
        finally:
            if listener is not None:
                listener.close()

    def _heard(self, listener: Listener, seen: object) -> object:
        said = listener.wait(GLANCE_S)
        if any(word != LEFT for word in said):
            self.tell()
            return None
        if self._end.is_set():
            return seen
        # The time is over, or who had the lock has left. Others may have written since.
        has_moved = listener.flag()
        version = listener.version()
        if has_moved or version != seen:
            self.tell()
        return version

    def _opened_again(self) -> Listener | None:
        with suppress(JournalError, postgres.driver().Error, OSError):  # no descriptor is left, say
            listener = self._opened()
            self.tell()
            return listener
        self._end.wait(GLANCE_S)
        return None

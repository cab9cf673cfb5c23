"""Follows a session: its new lines, whichever process wrote them, soon after the commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal import reading
from journal.changes import Following
from journal.inspection import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.model import Entry
    from journal.store import Store


class Tail:
    """A session's new lines, in the order they were written; as far as it was read.

    Attributes:
        after: the seq up to which the session was looked at.

    """

    def __init__(self, store: Store, key: str, after: int | None) -> None:
        self._store, self._key = store, key
        self._told: set[tuple[int, int | None]] = set()
        self.after = self._head() if after is None else after

    def _head(self) -> int:
        with self._store.snapshot() as cursor:
            chain = self._store.find_chain(cursor, self._key)
            return 0 if chain is None else self._store.fresh(chain).head.seq

    def new(self, limit: int | None = None) -> list[Entry]:
        """Return verified lines that were not returned before; an empty list where none came."""
        stepped_over: list[Entry] = []
        found, self.after = reading.written_since(
            self._store, self._key, self.after, stepped_over, limit or PAGE
        )
        self._tell(stepped_over)
        return found

    def _tell(self, stepped_over: list[Entry]) -> None:
        news = [entry for entry in stepped_over if (entry.seq, entry.row_id) not in self._told]
        self._told.update((entry.seq, entry.row_id) for entry in news)
        reading.tell(self._key, news)

    def __iter__(self) -> Iterator[Entry]:
        with Following(self._store.changes) as following:
            while True:
                following.begin()
                while page := self.new():
                    yield from page
                following.wait()

"""One open journal for all of a framework's sessions on one database, and the threads that serve it."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from journal.dialects.address import is_url
from journal.errors import EntryError
from journal.journal import Journal
from journal.threads import Threads, closed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session

T = TypeVar("T")

MEMORY: Final = ":memory:"
_PREFIXES: Final = ("sqlite+aiosqlite:///", "sqlite+pysqlite:///", "sqlite:///")


class Shared:
    """A journal with its users counted; the last one to let go closes it.

    Frameworks make a session object for each request, and to open a journal takes
    milliseconds.
    """

    _open: Final[dict[tuple[int, str], Shared]] = {}
    _lock: Final = threading.Lock()

    def __init__(self, journal: Journal, end: Callable[[], None]) -> None:
        self.journal = journal
        self.threads = Threads()
        self._end = end
        self._users = 0
        self._pid = os.getpid()

    @classmethod
    def of(cls, url: str | os.PathLike[str] | Journal) -> Shared:
        """Return the one of a database, opened if nobody in this process has it open.

        Raises:
            EntryError: a URL that names neither a file nor a PostgreSQL server's database.
            StorageError: it cannot be opened.

        """
        if isinstance(url, Journal):
            return cls(url, lambda: None).joined()
        text = os.fspath(url)
        if text == MEMORY:
            return cls._in_memory()
        at = text if is_url(text) else path_of(text)
        name = (os.getpid(), text if is_url(text) else os.path.realpath(at))
        with cls._lock:
            found = cls._open.get(name)
            if found is None:
                journal = Journal(at)
                found = cls._open[name] = cls(journal, lambda: cls._forget(name, journal))
            return found.joined()

    @classmethod
    def _in_memory(cls) -> Shared:
        """Return one in a directory that goes with it: nobody else has it, and nothing of it stays."""
        place = tempfile.TemporaryDirectory(prefix="journal-")
        journal = Journal(Path(place.name) / "memory.db", key_file=Path(place.name) / "key")

        def end() -> None:
            journal.close()
            place.cleanup()

        return cls(journal, end).joined()

    @classmethod
    def _forget(cls, name: tuple[int, str], journal: Journal) -> None:
        cls._open.pop(name, None)
        journal.close()

    def joined(self) -> Shared:
        """Count one user more."""
        self._users += 1
        return self

    def let_go(self) -> None:
        """Count one user less; the last one closes."""
        if self._pid != os.getpid():
            return  # a forked child's: neither the journal nor its threads are there
        with self._lock:
            self._users -= 1
            if not self._users:
                self.threads.close()
                self._end()


class Use:
    """One object's use of a shared journal: it runs calls in its threads, and lets go when it is gone.

    Raises:
        EntryError: a URL that names neither a file nor a PostgreSQL server's database.
        StorageError: the journal cannot be opened.

    """

    def __init__(self, url: str | os.PathLike[str] | Journal) -> None:
        self._shared = Shared.of(url)
        self._end = weakref.finalize(self, self._shared.let_go)

    @property
    def journal(self) -> Journal:
        """The journal."""
        return self._shared.journal

    async def run(self, call: Callable[..., T], *arguments: object) -> T:
        """Run a call that may block in a thread; it settles even if the caller is cancelled.

        Raises:
            StorageError: it was let go.

        """
        if not self._end.alive:
            raise closed()
        return await self._shared.threads.run(call, *arguments)

    async def write(self, session: Session, lines: Sequence[Line]) -> list[Entry]:
        """Write encoded lines with whatever else is queued; as :meth:`run` otherwise."""
        if not self._end.alive:
            raise closed()
        return await self._shared.threads.write(session, lines, None)

    def close(self) -> None:
        """Let go; the last user of a database in this process closes it."""
        self._end()


def path_of(url: str) -> Path:
    """Return the file that a path or a SQLAlchemy URL names.

    Raises:
        EntryError: it names none.

    """
    prefix = next((each for each in _PREFIXES if url.startswith(each)), "")
    text = url.removeprefix(prefix)
    if not text or "://" in text:
        raise EntryError(
            f"{url!r} names no place to keep a journal in",
            hint="a path, sqlite:///agents.db, or postgresql+psycopg://USER@HOST/DATABASE",
            code="url",
        )
    return Path(text)

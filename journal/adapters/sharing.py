"""One open journal for all of a framework's sessions on one database, and the threads that serve it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, TypeVar

from journal.dialects.address import is_url, unknown
from journal.errors import EntryError
from journal.journal import Journal
from journal.process import begin
from journal.store import log
from journal.threads import Threads, apart, closed, must_not_wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session

T = TypeVar("T")

_Name: TypeAlias = tuple[int, str]  # the process's, and where the database is

MEMORY: Final = ":memory:"
_PREFIXES: Final = ("sqlite+aiosqlite:///", "sqlite+pysqlite:///", "sqlite:///")
_MEMORIES: Final = frozenset(f"{prefix}{MEMORY}" for prefix in ("", *_PREFIXES))


class Closer:
    """A thread that lets go of journals for whoever may not wait: the garbage collector, an event loop.

    To ask it takes no lock. The collector comes in the middle of anything, in any thread.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Have the thread there, before anybody asks; one caller at a time.

        Raises:
            StorageError: the system gives none now.

        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="journal-closer", daemon=True)
            begin(thread, "the journal was not opened")
            self._thread = thread

    def ask(self, call: Callable[[], None]) -> None:
        """Have a call made, soon."""
        self._asked.put(call)

    def _run(self) -> None:
        while True:
            try:
                self._asked.get()()
            except Exception:  # noqa: BLE001 - nobody waits for it, and the next is to be let go as well
                log.exception("a journal could not be closed")


class Shared:
    """A journal with its users counted; the last one to let go closes it.

    Frameworks make a session object for each request, and to open a journal takes
    milliseconds.
    """

    _open: Final[dict[_Name, Shared]] = {}
    _standing: Final[set[Shared]] = set()  # until they are closed
    _lock: ClassVar = threading.RLock()
    _closer: ClassVar = Closer()

    def __init__(
        self, journal: Journal, end: Callable[[], None], name: _Name | None = None
    ) -> None:
        self.journal = journal
        self.threads = Threads()
        self._end, self._name = end, name
        self._users = 0
        self._pid = os.getpid()

    @classmethod
    def of(cls, url: str | os.PathLike[str] | Journal) -> Shared:
        """Return the one of a database, opened if nobody in this process has it open.

        Raises:
            EntryError: a URL that names neither a file nor a PostgreSQL server's database.
            StorageError: it cannot be opened.

        """
        with cls._lock:
            cls._closer.begin()
            if isinstance(url, Journal):
                return cls(url, lambda: None).joined()
            text = os.fspath(url)
            if text in _MEMORIES:
                return cls._in_memory()
            at = text if is_url(text) else path_of(text)
            name = (os.getpid(), text if is_url(text) else os.path.realpath(at))
            found = cls._open.get(name)
            if found is None:
                journal = Journal(at)
                found = cls._open[name] = cls(journal, journal.close, name)
            return found.joined()

    @classmethod
    def _in_memory(cls) -> Shared:
        """Return one in a directory that goes with it: nobody else has it, and nothing of it stays."""
        # No TemporaryDirectory, which a forked child would take away as it ends.
        place = Path(tempfile.mkdtemp(prefix="journal-"))
        try:
            journal = Journal(place / "memory.db", key_file=place / "key")
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise

        def end() -> None:
            journal.close()
            shutil.rmtree(place, ignore_errors=True)

        return cls(journal, end).joined()

    def joined(self) -> Shared:
        """Count one user more."""
        self._users += 1
        self._standing.add(self)
        return self

    def dropped(self) -> None:
        """Have one user less counted, soon: for the garbage collector, which waits for nobody."""
        if self._pid == os.getpid():  # a forked child has neither the journal nor its threads
            self._closer.ask(self.let_go)

    def let_go(self) -> None:
        """Count one user less; the last one closes, and waits for what is under way."""
        if self._pid != os.getpid():
            return
        with self._lock:
            self._users -= 1
            if self._users:
                return
            if self._name is not None:
                del self._open[self._name]  # first: who comes now opens it anew
        self.close()

    def close(self) -> None:
        """Close it, whoever uses it; once more is harmless."""
        if self._pid == os.getpid():
            self.threads.close(self._end)
            self._standing.discard(self)

    def may_wait(self) -> bool:
        """Whether the calling thread may wait until it is closed, and nobody waits for that thread."""
        # This lock is this thread's where the collector runs somebody's __del__ in the midst of an opening.
        return not (must_not_wait() or self._lock._is_owned())  # type: ignore[attr-defined] # noqa: SLF001 - as threading.Condition asks it

    @classmethod
    def close_all(cls) -> None:
        """Close what stands, at the end of the process."""
        for each in list(cls._standing):
            try:
                each.close()
            except Exception:  # noqa: BLE001 - nobody is left to be told, and the next is to be closed as well
                log.exception("a journal could not be closed")

    @classmethod
    def begin_anew(cls) -> None:
        """In a forked child: another thread of the parent's may have had the lock, and the closer is not there."""
        cls._lock, cls._closer = threading.RLock(), Closer()


atexit.register(Shared.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Shared.begin_anew)


class Use:
    """One object's use of a shared journal: it runs calls in its threads, and lets go when it is gone.

    Raises:
        EntryError: a URL that names neither a file nor a PostgreSQL server's database.
        StorageError: the journal cannot be opened.

    """

    def __init__(self, url: str | os.PathLike[str] | Journal) -> None:
        self._shared = Shared.of(url)
        self._end = weakref.finalize(self, self._shared.dropped)
        self._end.atexit = False  # all that stands is closed then

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
        """Let go; the last user of a database in this process closes it.

        Where an event loop runs, that is done by another thread, soon; :meth:`aclose` waits for it.
        """
        if self._end.detach():
            self._shared.let_go() if self._shared.may_wait() else self._shared.dropped()

    async def aclose(self) -> None:
        """As :meth:`close`, and return when it is done; the loop goes on meanwhile."""
        if self._end.detach():
            await apart(self._shared.let_go)


def path_of(url: str) -> Path:
    """Return the file that a path or a SQLAlchemy URL names.

    Raises:
        EntryError: it names none.

    """
    prefix = next((each for each in _PREFIXES if url.startswith(each)), "")
    text = url.removeprefix(prefix)
    if "://" in text:
        raise unknown(text)
    if not text or (prefix and "?" in text):
        raise EntryError(
            f"{url!r} names no place to keep a journal in",
            hint="a path, sqlite:///agents.db, or postgresql+psycopg://USER@HOST/DATABASE",
            code="url",
        )
    return Path(text)

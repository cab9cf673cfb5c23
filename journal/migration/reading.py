"""One file on its way into its session: read, split, counted and sealed, a transaction's worth at a time.

Nothing here touches the database, so it can be done ahead: while SQLite stores one
chunk, a thread prepares the next one. Its seals suppose that the chain ends where it
is going to; whoever stores them looks whether it does.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.chain import Chain
from journal.migration.chunks import Packed, chunks_of
from journal.migration.packed import open_source
from journal.migration.survey import head_of
from journal.parts import goes_on, is_within
from journal.regions import Plain
from journal.sealing import Basis, Sealed, sealed_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from journal.formats import Format
    from journal.lines import Line
    from journal.migration.planned import PlannedFile
    from journal.migration.source import Source
    from journal.migration.survey import Head
    from journal.seal import Sealer
    from journal.store import Store

_FEW: Final = 8
# Beside a larger chunk no second one is held, so that memory stays flat whatever a line's length.
_AHEAD_BYTES: Final = 2 * 1024 * 1024


class JoinedError(Exception):
    """The session's last line had no end, and goes on in the file: another line stands in its place."""


class Counts(NamedTuple):
    """How much of a file there is up to some point, and how it ends there.

    ``is_open``: without a line end; ``is_within``: in the midst of a long line.
    """

    bytes: int = 0
    lines: int = 0
    raw_lines: int = 0
    is_open: bool = False
    is_within: bool = False


class Chunk(NamedTuple):
    """Lines for one transaction.

    Attributes:
        lines: what they are; packed, if all are plain.
        entries: how many.
        size: how many bytes that are.
        is_last: the file ends with them.
        goes_on: the first is more of the line before it.
        counts, sha256: of all of the file up to their end.
        sealed: their seals, if they were made.

    """

    lines: Packed | list[Line]
    entries: int
    size: int
    is_last: bool
    goes_on: bool
    counts: Counts
    sha256: str
    sealed: Sealed | None = None


class Work(NamedTuple):
    """What chunks are sealed with: the session's sealer, where its chain will end, and the time."""

    sealer: Sealer
    basis: Basis
    now_us: int


class Reading:
    """The rest of a source, chunk by chunk."""

    def __init__(self, source: Source, head: Head | None = None) -> None:
        self.source = source
        self.head = head
        self._ahead: Future[Chunk] | None = None
        self.begin(Counts())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()
        self.source.close()

    def begin(self, counts: Counts) -> None:
        """Go on where the source stands, behind so much of the file that the session has already."""
        self._let_go()
        self._passes = self.source.passes
        self._counts = counts
        self._stored = self.source.hashed()
        self._chunks = chunks_of(self.source, within=counts.is_within)

    def _let_go(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not ahead.cancel():
            ahead.exception()  # until it is done with the file

    def is_ahead(self) -> bool:
        """Whether the beginning of the file was prepared, and nobody has read it otherwise since."""
        return self._ahead is not None and self._passes == self.source.passes

    def prepare(self, pool: ThreadPoolExecutor, work: Work) -> None:
        """Have the next chunk prepared by another thread."""
        self._ahead = pool.submit(self._next, work)

    def prepare_here(self, work: Work) -> None:
        """Prepare the next chunk now."""
        ready: Future[Chunk] = Future()
        ready.set_result(self._next(work))
        self._ahead = ready

    def take(self) -> Chunk:
        """Return the next chunk; do not call it again behind the last one.

        Raises:
            JoinedError: it joins the session's last line, and that is another line.

        """
        ahead, self._ahead = self._ahead, None
        return self._next(None) if ahead is None else ahead.result()

    def _next(self, work: Work | None) -> Chunk:
        found, is_last = next(self._chunks)
        counts, lines = self._counts, found if isinstance(found, list) else Packed.of(found)
        if counts.is_open and not counts.is_within and _has_begun(found):
            raise JoinedError
        size = self._hashed(lines)
        self._counts = _counted(counts, found, size)
        sealed = None
        if work is not None and len(found):
            sealed = sealed_lines(work.sealer, work.basis, work.now_us, found)
        return Chunk(
            lines, len(found), size, is_last, counts.is_open and bool(len(found)), self._counts,
            self._stored.hexdigest(), sealed,
        )  # fmt: skip

    def _hashed(self, lines: Packed | list[Line]) -> int:
        """Hash what goes into the journal, and return how many bytes that is."""
        if isinstance(lines, Packed):
            parts = [lines.data]
        else:
            parts = [part for line in lines for part in line[:2] if part]
        if len(parts) > _FEW:  # but no second copy of a piece of a long line
            parts = [b"".join(parts)]
        for part in parts:
            self._stored.update(part)
        return sum(map(len, parts))


def _has_begun(lines: Plain | list[Line]) -> bool:
    """Whether there is a first line, and it is more than a line end."""
    return isinstance(lines, Plain) or (bool(lines) and bool(lines[0].body))


def _counted(counts: Counts, lines: Plain | list[Line], size: int) -> Counts:
    size += counts.bytes
    if isinstance(lines, Plain):
        return Counts(size, counts.lines + len(lines), counts.raw_lines)
    if not lines:
        return counts
    _, count, raw_lines, is_open, _ = counts
    for line in lines:
        if not goes_on(line.kind, line.body, is_open=is_open):
            count += 1
            raw_lines += line.kind == "raw"
        is_open = line.terminator == b""
    within = is_within(line.kind, line.body, line.terminator)
    return Counts(size, count, raw_lines, is_open, within)


class Ahead:
    """What is prepared while something else is being stored: the next chunk, or the next file's first."""

    def __init__(
        self, store: Store, files: Sequence[PlannedFile], opened: Callable[[PlannedFile], Reading]
    ) -> None:
        self._store = store
        self._after = dict(zip((each.path for each in files), files[1:], strict=False))
        self._opened = opened
        self._pool = ThreadPoolExecutor(1, "journal-migrate")
        self._next: tuple[str, Future[Reading]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()
        self._pool.shutdown()

    def reading(self, each: PlannedFile) -> Reading:
        """Return a file opened, its beginning prepared if that was done.

        Raises:
            UnfitError: it cannot be read.

        """
        found, self._next = self._next, None
        if found is not None and found[0] == each.path:
            return found[1].result()
        self._next = found
        self._drop()
        return self._opened(each)

    def go_on(self, each: PlannedFile, reading: Reading, chunk: Chunk, work: Work) -> None:
        """Prepare what comes after a chunk of a file that is about to be stored."""
        if chunk.size > _AHEAD_BYTES:
            return
        if not chunk.is_last:
            reading.prepare(self._pool, work)
        elif (after := self._after.get(each.path)) is not None:
            self._begin(after, work)

    def _begin(self, each: PlannedFile, work: Work) -> None:
        """Suppose that a file becomes a new session, with the next number."""
        registry = self._store.registry
        if each.key in registry.session_ids:
            return
        number = registry.highest_id + 1
        sealer = self._store.keys.sealer(number, each.key)
        head = Chain.new(each.key, number, sealer).head
        basis = work.basis._replace(session_id=number, head=head)
        self._next = (
            each.path,
            self._pool.submit(self._first, each, Work(sealer, basis, work.now_us)),
        )

    def _first(self, each: PlannedFile, work: Work) -> Reading:
        reading = self._opened(each)
        try:
            reading.prepare_here(work)
        except BaseException:
            reading.source.close()
            raise
        return reading

    def _drop(self) -> None:
        found, self._next = self._next, None
        if found is not None and not found[1].cancel():
            with suppress(Exception):  # it is told when the file's turn comes
                found[1].result().__exit__(None, None, None)


def open_reading(
    each: PlannedFile, avoid: frozenset[tuple[int, int]], forced: Format | None
) -> Reading:
    """Open a planned file and see what it is.

    Raises:
        UnfitError: it cannot be read, or is no session file.

    """
    source = open_source(each.path, avoid)
    try:
        return Reading(source, head_of(source, forced, named=True))
    except BaseException:
        source.close()
        raise

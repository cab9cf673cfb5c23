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
from journal.lines import parse_region
from journal.migration.packed import open_source
from journal.migration.survey import head_of
from journal.parts import goes_on, is_within, regions
from journal.sealing import Basis, Sealed, seal_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from journal.formats import Format
    from journal.lines import Line
    from journal.migration.planned import PlannedFile
    from journal.migration.source import Source
    from journal.migration.survey import Head
    from journal.seal import Sealer
    from journal.store import Store

CHUNK_LINES: Final = 1000
CHUNK_BYTES: Final = 1024 * 1024
# Beside a larger chunk no second one is held, so that memory stays flat whatever a line's length.
_AHEAD_BYTES: Final = 2 * 1024 * 1024
_PLAIN: Final = {("line", b"\n")}


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
        lines: what they are.
        data: their bytes, if they are plain; else nothing, for their lines have them.
        size: how many bytes that are.
        is_last: the file ends with them.
        is_plain: each is JSON, of one piece, and ends with a line feed.
        goes_on: the first is more of the line before it.
        counts, sha256: of all of the file up to their end.
        sealed: their seals, if they were made.

    """

    lines: list[Line]
    data: bytes
    size: int
    is_last: bool
    is_plain: bool
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        lines, is_last = next(self._chunks)
        counts = self._counts
        if counts.is_open and lines and lines[0].body and not counts.is_within:
            raise JoinedError
        data = b"".join([part for line in lines for part in line[:2] if part])
        self._stored.update(data)
        is_plain = {(line.kind, line.terminator) for line in lines} == _PLAIN
        size = len(data)
        self._counts = _counted(counts, lines, size, is_plain=is_plain)
        if not is_plain:
            data = b""
        sealed = None
        if work is not None and lines:
            sealed = seal_lines(work.sealer, work.basis, work.now_us, lines)
        return Chunk(
            lines, data, size, is_last, is_plain, counts.is_open and bool(lines), self._counts,
            self._stored.hexdigest(), sealed,
        )  # fmt: skip


def _counted(counts: Counts, lines: Sequence[Line], size: int, *, is_plain: bool) -> Counts:
    size += counts.bytes
    if not lines:
        return counts
    if is_plain and not counts.is_open:
        return Counts(size, counts.lines + len(lines), counts.raw_lines)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
        number = max(registry.session_keys) + 1
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


def chunks_of(source: Source, *, within: bool = False) -> Iterator[tuple[list[Line], bool]]:
    """Yield the rest of a source as lines, a transaction's worth at a time, and whether it is the last.

    A line without an end comes with the last ones only, for its program may be
    about to finish it; but a long one comes a few parts at a time.
    """
    lines: list[Line] = []
    size = 0
    for found in regions(source.chunks(), within=within):
        some = parse_region(found) if isinstance(found, bytes) else [found]
        while some:
            room = max(1, CHUNK_LINES - len(lines))
            more, some = some[:room], some[room:]
            lines += more
            size += sum([len(line.body) for line in more])
            if _is_whole(lines[-1]) and (len(lines) >= CHUNK_LINES or size >= CHUNK_BYTES):
                yield lines, False
                lines, size = [], 0
    yield lines, True


def _is_whole(line: Line) -> bool:
    return bool(line.terminator) or is_within(line.kind, line.body, line.terminator)

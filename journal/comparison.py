"""A mirror's file beside the layout it should equal, read up to the first difference.

Both are read a page at a time, so memory does not grow with the file. Where the
beginning of a file was compared before, row by row, its digest stands in the side
file, and hashing it again is enough: the rows were verified then, and a row that
was changed since is none of the file's affair.
"""

from __future__ import annotations

import itertools
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from journal.controls import CONTROL
from journal.pages import PAGE_BYTES, page_of
from journal.parts import PART_ROW
from journal.reconcile import Found, Own

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from hashlib import _Hash

    from journal.chain import Chain
    from journal.layout import Layout
    from journal.model import Row
    from journal.store import Store

PAGE_ROWS: Final = 1000


class Readable(Protocol):
    """A file's bytes: as they are, or as they will be."""

    @property
    def size(self) -> int:
        """How many there are."""

    def chunks(self, offset: int, up_to: int) -> Iterator[bytes]:
        """Yield those between two offsets."""


class Start(NamedTuple):
    """Where to begin: rows up to ``seq`` make the file's first ``offset`` bytes."""

    offset: int = 0
    seq: int = 0


BEGINNING: Final = Start()


class Compared(NamedTuple):
    """A file beside its layout.

    Attributes:
        chain: the session's chain, and its ``head`` when the comparison began.
        layout: the layout it was compared with.
        newest_no: the session's newest layout then.
        differs: the first own entry that is not where it should be, or None.
        own: the layout's lines from there on.
        found: the file's lines from there on.
        offset: where the first difference is.
        size: the file's size when the comparison began.
        digest: of the file's bytes up to the difference.

    """

    chain: Chain
    head: int
    layout: Layout
    newest_no: int
    differs: int | None
    own: list[Own]
    found: list[Found]
    offset: int
    size: int
    digest: bytes


def compare(  # noqa: PLR0913 - two sides, and where to begin
    store: Store,
    chain: Chain,
    file: Readable,
    *,
    layout: Layout | None = None,
    start: Start = BEGINNING,
    begun: bytes | None = None,
    exported: int | None = None,
) -> Compared:
    """Read a file beside a layout, line by line, up to the first difference.

    Args:
        store: where the rows are.
        chain: the session's chain, fresh.
        file: the mirror's file, or what it will be.
        layout: the layout, if not the newest.
        start: rows that need not be looked at, for the file is known to have them.
        begun: the digest that the file had up to there. If it is another now, all
            is compared.
        exported: no more than this of the layout was ever in the file, if that is known.

    """
    size = file.size
    with store.snapshot() as cursor:
        store.fresh(chain)
        chain.know_facts(cursor)
        head = chain.head.seq
        newest = chain.layout
    beside = newest if layout is None else layout
    hashed = sha256()
    if begun is not None:
        for chunk in file.chunks(0, start.offset):
            hashed.update(chunk)
        if hashed.digest() != begun:
            start, hashed = BEGINNING, sha256()
    rows = rows_of(store, chain, _after(beside.spans(head), start.seq))
    met = _met(rows, _Source(file, start.offset, size), start.offset, hashed, exported)
    offset = met.offset
    return Compared(
        chain,
        head,
        beside,
        newest.no,
        met.rest[0].seq if met.rest else None,
        list(physical(itertools.chain(met.rest, rows) if met.rest else ())),
        list(lines_of(file.chunks(offset, size), offset)),
        offset,
        size,
        met.hashed.digest(),
    )


class _Met(NamedTuple):
    """How far rows and file are the same, the hash of it, and the rows taken beyond that."""

    offset: int
    hashed: _Hash
    rest: list[Row]


def _met(
    rows: Iterator[Row], source: _Source, offset: int, hashed: _Hash, exported: int | None
) -> _Met:
    # A line without an end that was never written here may begin as a foreign line does,
    # which would be torn by that: only what ends with it, or goes on as we go on, is it.
    begun: _Met | None = None
    for row in rows:
        data = (row.body or b"") + row.terminator
        if source.take(len(data)) != data:
            if begun is None:
                return _Met(offset, hashed, [row])
            return begun._replace(rest=[*begun.rest, row])
        if row.terminator:
            begun = None
        elif begun is not None:
            begun.rest.append(row)
        elif exported is not None and offset >= exported and row.kind != PART_ROW:
            begun = _Met(offset, hashed.copy(), [row])
        offset += len(data)
        hashed.update(data)
    return _Met(offset, hashed, []) if begun is None or source.is_used_up() else begun


def _after(spans: Iterable[tuple[int, int]], seq: int) -> Iterator[tuple[int, int]]:
    """Yield what of these spans lies after a seq."""
    for first, last in spans:
        if last > seq:
            yield max(first, seq + 1), last


def rows_of(store: Store, chain: Chain, spans: Iterable[tuple[int, int]]) -> Iterator[Row]:
    """Yield the sealed lines of these stretches, in this order, a page at a time."""
    for group in together(spans):
        held = _read_at_once(store, chain, group) if len(group) > 1 else None
        for first, last in group:
            if held is None:
                yield from _stretch(store, chain, first, last)
            else:
                yield from (held[seq] for seq in range(first, last + 1) if seq in held)


def together(spans: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield stretches in their order, as many at once as lie within one page and fill half of it.

    Where two parties wrote in turns each line is a stretch, and to ask for each alone
    takes a server's answer each.
    """
    group: list[tuple[int, int]] = []
    lowest = highest = count = 0
    for first, last in spans:
        low, high = (min(lowest, first), max(highest, last)) if group else (first, last)
        rows = count + last - first + 1
        if group and high - low < min(PAGE_ROWS, 2 * rows):
            group.append((first, last))
            lowest, highest, count = low, high, rows
            continue
        if group:
            yield group
        group, lowest, highest, count = [(first, last)], first, last, last - first + 1
    if group:
        yield group


def _read_at_once(
    store: Store, chain: Chain, group: list[tuple[int, int]]
) -> dict[int, Row] | None:
    """Return the lines of a page's worth of seqs, by seq; None if they are too large for one page."""
    first, last = min(first for first, _ in group), max(last for _, last in group)
    with store.snapshot() as cursor:
        page = page_of(cursor, chain.session_id, first, last, PAGE_ROWS)
    if sum(len(row.body or b"") for row in page) >= PAGE_BYTES:
        return None  # it may be cut short
    return {row.seq: row for row in _lines_in(chain, page)}


def _stretch(store: Store, chain: Chain, first: int, last: int) -> Iterator[Row]:
    while first <= last:
        with store.snapshot() as cursor:
            page = page_of(cursor, chain.session_id, first, last, PAGE_ROWS)
        yield from _lines_in(chain, page)
        first = page[-1].seq + 1 if page else last + 1


def _lines_in(chain: Chain, page: list[Row]) -> Iterator[Row]:
    for row, status in chain.sealer.judge(page):
        if row.kind != CONTROL and status == "sealed":
            yield chain.sealer.whole(row)


def physical(rows: Iterable[Row]) -> Iterator[Own]:
    """Yield the lines that these entries make in a file, one or more entries each."""
    seqs: list[int] = []
    ends: list[int] = []
    digests: list[bytes] = []
    line = _Line()
    for row in rows:
        line.add(row.body or b"")
        line.add(row.terminator)
        seqs.append(row.seq)
        ends.append(line.size)
        digests.append(line.digest)
        if row.terminator:
            yield Own(tuple(seqs), tuple(ends), tuple(digests))
            seqs, ends, digests, line = [], [], [], _Line()
    if seqs:
        yield Own(tuple(seqs), tuple(ends), tuple(digests))


class _Source:
    """A file's bytes, taken in pieces of any size, read a chunk at a time."""

    def __init__(self, file: Readable, offset: int, size: int) -> None:
        self._chunks = file.chunks(offset, size)
        self._data = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        while len(self._data) - self._at < count:
            more = next(self._chunks, b"")
            if not more:
                break
            self._data, self._at = self._data[self._at :] + more, 0
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def is_used_up(self) -> bool:
        """Whether nothing comes any more; what comes is taken."""
        return not self.take(1)


def lines_of(chunks: Iterable[bytes], offset: int) -> Iterator[Found]:
    """Yield each line of a file's bytes with its offset; the last may lack its line end.

    Lines are hashed as they come, so that one of any size takes no memory.
    """
    line = _Line()
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        line.add(first)
        for piece in rest:
            line.add(b"\n")
            yield line.found(offset)
            offset += line.size
            line = _Line()
            line.add(piece)
    if line.size:
        yield line.found(offset)


class _Line:
    """A line as it is put together, kept as its size and its digest."""

    def __init__(self) -> None:
        self.size = 0
        self._hashed = sha256()
        self._ends = b""

    def add(self, data: bytes) -> None:
        """Go on with some bytes."""
        if data:
            self.size += len(data)
            self._hashed.update(data)
            self._ends = (self._ends + data[-2:])[-2:]

    @property
    def digest(self) -> bytes:
        """What the line so far is matched by; as ``digest_of_line`` of its bytes."""
        return self._hashed.digest()

    def found(self, offset: int) -> Found:
        """Return the line, found in a file at an offset."""
        ends = self._ends
        end = ends if ends == b"\r\n" else b"\n" if ends.endswith(b"\n") else b""
        return Found(offset, self.size, end, self.digest)

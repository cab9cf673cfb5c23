"""A mirror's file beside the layout it should equal, read up to the first difference.

Both are read a page at a time, so memory does not grow with the file. Where the
beginning of a file was compared before, row by row, its digest stands in the side
file, and hashing it again is enough: the rows were verified then, and a row that
was changed since is none of the file's affair.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import statements as sql
from journal.controls import CONTROL
from journal.errors import MirrorError
from journal.lines import LINE_LIMIT
from journal.model import Row
from journal.reconcile import Found, Own, digest_of_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.chain import Chain
    from journal.layout import Layout
    from journal.mirrorfile import MirrorFile
    from journal.store import Store

PAGE_ROWS: Final = 1000
PAGE_BYTES: Final = 4 * 1024 * 1024


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
    file: MirrorFile,
    *,
    layout: Layout | None = None,
    start: Start = BEGINNING,
    begun: bytes | None = None,
) -> Compared:
    """Read a file beside a layout, line by line, up to the first difference.

    Args:
        store: where the rows are.
        chain: the session's chain, fresh.
        file: the mirror's file.
        layout: the layout, if not the newest.
        start: rows that need not be looked at, for the file is known to have them.
        begun: the digest that the file had up to there. If it is another now, all
            is compared.

    Raises:
        MirrorError: a line of the file is over 8 MiB.

    """
    size = file.size
    with store.snapshot() as cursor:
        store.fresh(chain)
        chain.load_facts(cursor)
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
    source = _Source(file, start.offset, size)
    offset, differs = start.offset, None
    for row in rows:
        data = (row.body or b"") + row.terminator
        if source.take(len(data)) != data:
            differs = row
            break
        offset += len(data)
        hashed.update(data)
    rest = () if differs is None else _with(differs, rows)
    return Compared(
        chain,
        head,
        beside,
        newest.no,
        None if differs is None else differs.seq,
        list(physical(rest)),
        list(lines_of(file.chunks(offset, size), offset)),
        offset,
        size,
        hashed.digest(),
    )


def _with(first: Row, rest: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from rest


def _after(spans: Iterable[tuple[int, int]], seq: int) -> Iterator[tuple[int, int]]:
    """Yield what of these spans lies after a seq."""
    for first, last in spans:
        if last > seq:
            yield max(first, seq + 1), last


def rows_of(store: Store, chain: Chain, spans: Iterable[tuple[int, int]]) -> Iterator[Row]:
    """Yield the sealed lines of these stretches, in this order, a page at a time."""
    for start, last in spans:
        first = start
        while first <= last:
            with store.snapshot() as cursor:
                cursor.execute(sql.rows_between(), (chain.session_id, first, last, PAGE_ROWS))
                page, size = [], 0
                for found in iter(cursor.fetchone, None):
                    row = Row._make(found)
                    page.append(row)
                    size += len(row.body or b"")
                    if size >= PAGE_BYTES:
                        break
            for row in page:
                if row.kind != CONTROL and chain.sealer.status(row) == "sealed":
                    yield chain.sealer.whole(row)
            first = page[-1].seq + 1 if page else last + 1


def physical(rows: Iterable[Row]) -> Iterator[Own]:
    """Yield the lines that these entries make in a file, one or more entries each."""
    seqs: list[int] = []
    ends: list[int] = []
    digests: list[bytes] = []
    data = b""
    for row in rows:
        data += (row.body or b"") + row.terminator
        seqs.append(row.seq)
        ends.append(len(data))
        digests.append(digest_of_line(data))
        if row.terminator:
            yield Own(tuple(seqs), tuple(ends), tuple(digests))
            seqs, ends, digests, data = [], [], [], b""
    if seqs:
        yield Own(tuple(seqs), tuple(ends), tuple(digests))


class _Source:
    """A file's bytes, taken in pieces of any size, read a chunk at a time."""

    def __init__(self, file: MirrorFile, offset: int, size: int) -> None:
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


def lines_of(chunks: Iterable[bytes], offset: int) -> Iterator[Found]:
    """Yield each line of a file's bytes with its offset; the last may lack its line end.

    Raises:
        MirrorError: a line is over 8 MiB; no more than that is ever held.

    """
    pending: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        size += len(first)
        for piece in rest:
            found = _found(offset, b"".join(pending) + b"\n")
            yield found
            offset += found.size
            pending, size = [piece], len(piece)
        if size > LINE_LIMIT + 1:
            raise _too_long(offset)
    if size:
        yield _found(offset, b"".join(pending))


def _found(offset: int, data: bytes) -> Found:
    end = b"\r\n" if data.endswith(b"\r\n") else b"\n" if data.endswith(b"\n") else b""
    if len(data) - len(end) > LINE_LIMIT:
        raise _too_long(offset)
    return Found(offset, len(data), end, digest_of_line(data))


def _too_long(offset: int) -> MirrorError:
    return MirrorError(
        f"line too long: the one at byte {offset} is over {LINE_LIMIT} bytes",
        hint="take that line out of the file; the journal itself is as it was",
        code="line-too-long",
    )

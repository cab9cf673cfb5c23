"""Names what a write steps over, so that no stray is ever passed by in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal.controls import fact
from journal.pages import rows_of
from journal.seal import row_digest
from journal.strays import RANGES_PER_FACT, ROWS_PER_FACT, Oddity, Ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line


def name_oddities(cursor: Cursor, chain: Chain) -> Iterator[Line]:
    """Yield the control entries that name what the chain steps over, in bounded chunks."""
    projection = chain.odd.projection
    for sort, ranges in chain.odd.sorts():
        for chunk in _chunks(ranges):
            named = _described(cursor, chain, sort, chunk)
            yield fact("stray", rows=[named.as_json()], projection=projection)
            projection = None
    if projection is not None:
        yield fact("stray", rows=[], projection=projection)


def _chunks(ranges: Ranges) -> Iterator[list[tuple[int, int]]]:
    chunk: list[tuple[int, int]] = []
    size = 0
    for first, last in ranges:
        for start in range(first, last + 1, ROWS_PER_FACT):
            stop = min(last, start + ROWS_PER_FACT - 1)
            if chunk and (len(chunk) == RANGES_PER_FACT or size + stop - start + 1 > ROWS_PER_FACT):
                yield chunk
                chunk, size = [], 0
            chunk.append((start, stop))
            size += stop - start + 1
    if chunk:
        yield chunk


def _described(cursor: Cursor, chain: Chain, sort: str, chunk: list[tuple[int, int]]) -> Oddity:
    count, digest = digest_of(cursor, chain.session_id, chunk)
    if sort == "missing":
        return Oddity(sort, tuple(chunk), sum(last - first + 1 for first, last in chunk))
    return Oddity(sort, tuple(chunk), count, digest)


def digest_of(
    cursor: Cursor, session_id: int, ranges: Sequence[tuple[int, int]]
) -> tuple[int, str]:
    """Count the rows in these ranges and return one digest over all their columns but id."""
    digests = [
        row_digest(row[1:])
        for first, last in ranges
        for row in rows_of(cursor, session_id, first, last)
    ]
    return len(digests), row_digest(digests).hex()

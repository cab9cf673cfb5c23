"""Brings the rows of one state of a journal into a copy in the making, until the two are equal.

First the entries that are missing at the end, a few MiB to a transaction; then every
other table whole; then both are read and compared, row by row, and what differs is
mended: it was changed in the journal since a copy was begun that is gone on with.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.copying.comparing import differences
from journal.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Table

    from journal.copying.comparing import Difference
    from journal.copying.fitting import Fitting
    from journal.copying.target import Target, Values

_CHUNK_BYTES: Final = 4 * 1024 * 1024
_CHUNK_ROWS: Final = 5000
_PASSES: Final = 3
_BODY: Final = -1  # of the columns of entries, the last
SMALL: Final = tuple(
    table for table in tables.metadata.sorted_tables if table is not tables.entries
)


def fill(target: Target, fitting: Fitting, told: Callable[[int], None]) -> bool:
    """Add the entries behind those that are there; return whether there were any."""
    after = target.highest()
    for chunk in _chunks(fitting.rows(tables.entries, after)):
        target.add(chunk)
        told(sum(map(size_of, chunk)))
    return after is not None


def _chunks(rows: Iterable[Values]) -> Iterator[list[Values]]:
    chunk: list[Values] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += size_of(row)
        if size >= _CHUNK_BYTES or len(chunk) >= _CHUNK_ROWS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def size_of(row: Values) -> int:
    """Return the size of an entry's body."""
    return len(row[_BODY] or b"")


def settle(target: Target, fitting: Fitting, told: Callable[[int], None]) -> int:
    """Make the copy equal to the journal; return how many entries were not, before.

    Raises:
        StorageError: it does not become equal.

    """
    mended = 0
    for _ in range(_PASSES):
        target.replace((table, fitting.rows(table)) for table in SMALL)
        wrong = _mend(target, fitting, told)
        # To their end: a server's answer that is given up in the middle ends the state that is read.
        odd = deque(others(fitting, target.ordered), maxlen=1)
        if not wrong and not odd:
            return mended
        mended += wrong
        told = _unsaid
    raise StorageError(
        f"{target.shown}: what was read back is not what was written",
        hint="look at the disk below it, take the copy away, and copy again",
        code="copy-differs",
    )


def _unsaid(_: int) -> None:
    """Say nothing: it was said the first time."""


def _mend(target: Target, fitting: Fitting, told: Callable[[int], None]) -> int:
    """Compare the entries and mend those that differ; return how many did."""
    return mend_all(target, entry_differences(target, fitting, told))


def entry_differences(
    target: Target, fitting: Fitting, told: Callable[[int], None]
) -> Iterator[Difference]:
    """Yield in what the entries differ."""
    ours = _counted(fitting.rows(tables.entries), told)
    return differences(ours, target.ordered(tables.entries), number_of)


def mend_all(target: Target, found: Iterable[Difference]) -> int:
    """Mend what differs, some at a time; return how many entries did."""
    count, size = 0, 0
    gone: list[tuple[int, ...]] = []
    rows: list[Values] = []
    for expected, there in found:
        count += 1
        if there is not None:
            gone.append(there[:3])
        if expected is not None:
            rows.append(expected)
            size += size_of(expected)
        if size >= _CHUNK_BYTES or len(gone) + len(rows) >= _CHUNK_ROWS:
            target.mend(gone, rows)
            gone, rows, size = [], [], 0
    if gone or rows:
        target.mend(gone, rows)
    return count


def number_of(row: Values) -> tuple[Any, ...]:
    """Return where an entry stands in the order of both sides: number, session, seq."""
    return row[:3]


def _counted(rows: Iterable[Values], told: Callable[[int], None]) -> Iterator[Values]:
    for row in rows:
        yield row
        told(size_of(row))


def others(
    fitting: Fitting, ordered: Callable[[Table], Iterator[Values]]
) -> Iterator[tuple[str, Values | None, Values | None]]:
    """Yield in what the tables beside the entries differ: the table, what it should hold there, and what it does."""
    for table in SMALL:
        where = [list(table.c).index(column) for column in table.primary_key]

        def key(row: Values, where: list[int] = where) -> tuple[Any, ...]:
            return tuple(row[at] for at in where)

        for expected, found in differences(fitting.rows(table), ordered(table), key):
            yield table.name, expected, found

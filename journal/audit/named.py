"""What sealed entries name as foreign or lost, held against what stands there now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journal.audit.source import MAX_INT, MIN_INT
from journal.explanation import counted
from journal.seal import row_digest
from journal.strays import Oddity, Ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.audit.source import Source
    from journal.model import Row


class Named(NamedTuple):
    """One statement of a sealed entry: by which seq, and what it names."""

    by_seq: int
    oddity: Oddity


def read(row: Row, facts: dict[str, Any]) -> Iterator[Named]:
    """Yield what a sealed ``stray`` entry names.

    Raises:
        KeyError, TypeError, ValueError: it lacks what such a fact has.

    """
    for fact in facts["rows"]:
        oddity = Oddity.from_json(fact)
        if any(not MIN_INT <= first <= last <= MAX_INT for first, last in oddity.ranges):
            raise ValueError(fact)
        yield Named(row.seq, oddity)


def seqs(names: Iterable[Named], sort: str | None = None) -> Ranges:
    """Return every seq that is named, or that is named as of one sort."""
    return Ranges(
        pair for named in names if sort in (None, named.oddity.sort) for pair in named.oddity.ranges
    )


def fault(source: Source, session_id: int, named: Named) -> str | None:
    """J307: what was named stands there still, as it was; what was missing is missing."""
    oddity = named.oddity
    count, digest = digest_of(source, session_id, oddity.ranges)
    if oddity.sort == "missing":
        return None if count == 0 else "rows stand where entries were found missing"
    if count != oddity.count:
        return f"{counted(oddity.count, 'row')} named, {count} there"
    return None if digest == oddity.digest else "the rows are others now, or were edited since"


def row_digest_of(source: Source, session_id: int, seq: int) -> str | None:
    """Return the digest of the one row of a seq, as a resolution keeps it; None if there is none."""
    rows = list(source.rows_between(session_id, seq, seq))
    return row_digest(rows[0][1:]).hex() if len(rows) == 1 else None


def digest_of(
    source: Source, session_id: int, ranges: Iterable[tuple[int, int]]
) -> tuple[int, str]:
    """Count the rows in these ranges and return the digest over them, as ``docs/format.md`` has it."""
    digests = [
        row_digest(row[1:])
        for first, last in ranges
        for row in source.rows_between(session_id, first, last)
    ]
    return len(digests), row_digest(digests).hex()

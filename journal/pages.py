"""Reads a session's rows page by page: in order, with their lines, and never all of them at once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from journal import statements as sql
from journal.dialects.postgres import Cursor as ServerCursor
from journal.model import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.engine import Cursor
    from journal.model import Entry

MAX_SEQ: Final = 2**63 - 1
MIN_SEQ: Final = -(2**63)
PAGE: Final = 256
PAGE_BYTES: Final = 4 * 1024 * 1024  # a row may be of 8 MiB


def rows_of(cursor: Cursor, session_id: int, first: int, last: int = MAX_SEQ) -> Iterator[Row]:
    """Yield whole rows in order, a page at a time, so that no read stays open."""
    while first <= last:
        rows = page_of(cursor, session_id, first, last, PAGE)
        yield from rows
        if len(rows) < PAGE and sum(len(row.body or b"") for row in rows) < PAGE_BYTES:
            return  # all there is; a fence looks here each time, and one query more is a quarter of it
        first = rows[-1].seq + 1


def sealed_page(
    cursor: Cursor, session_id: int, first: int, last: int, limit: int
) -> list[tuple[Any, ...]]:
    """Return the next rows as :func:`~journal.statements.sealed_between` has them; as many as :func:`page_of`."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    for found in _handed_out(cursor, sql.sealed_between(), (session_id, first, last, limit)):
        rows.append(found)
        size += len(found[-1] or b"")
        if size >= PAGE_BYTES:
            break
    return rows


def bare_rows(
    cursor: Cursor, session_id: int, first: int, last: int
) -> Iterable[tuple[bytes | None, bytes]]:
    """Return the bodies and line ends of what stands in a session's file; of a server's as many as make 4 MiB."""
    values = (session_id, first, last)
    if not isinstance(cursor, ServerCursor):
        return cursor.execute(sql.BARE_BETWEEN, values)
    found = cursor.execute(_up_to_a_page(sql.BARE_WITH_SEQ), values).fetchall()
    return [(body, terminator) for body, terminator, *_ in found]


def _handed_out(
    cursor: Cursor, statement: str, values: tuple[int, ...], *, order: str = "seq"
) -> Iterable[Any]:
    """Return a statement's rows as they are fetched; of a server's, which come all at once, as many as make 4 MiB."""
    if not isinstance(cursor, ServerCursor):
        cursor.execute(statement, values)
        return iter(cursor.fetchone, None)
    found = cursor.execute(_up_to_a_page(statement, order), values).fetchall()
    return [row[:-1] for row in found]


@cache
def _up_to_a_page(statement: str, order: str = "seq") -> str:
    """Have a server hand out of a statement's rows only the first that make 4 MiB, and behind each row their size.

    A page may have 2000 rows, and each of them 8 MiB: they would all be sent, and held here, for each page anew.
    """
    return (
        f"SELECT * FROM (SELECT page.*, sum(octet_length(page.body)) OVER (ORDER BY page.{order}) AS size "  # noqa: S608 - our own words
        f"FROM ({statement}) AS page) AS sized "
        f"WHERE COALESCE(size, 0) - COALESCE(octet_length(body), 0) < {PAGE_BYTES} ORDER BY {order}"
    )


def alike_page(
    cursor: Cursor, session_id: int, first: int, last: int, alike: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    """Return the next rows as :data:`~journal.statements.ALIKE_BETWEEN` has them, up to one that is another or has no line."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    for found in cursor.execute(sql.ALIKE_BETWEEN, (session_id, first, last, *alike)):
        body = found[-1]
        if found[0] != first + len(rows) or body is None:
            break
        rows.append(found)
        size += len(body)
        if size >= PAGE_BYTES:
            break
    return rows


def page_of(cursor: Cursor, session_id: int, first: int, last: int, limit: int) -> list[Row]:
    """Return the next whole rows: so many, or the first that make 4 MiB; none at the end."""
    return _page(_handed_out(cursor, sql.rows_between(), (session_id, first, last, limit)))


def page_before(cursor: Cursor, session_id: int, up_to: int, limit: int) -> list[Row]:
    """Return whole rows up to a seq, the newest first: so many, or the first that make 4 MiB."""
    values = (session_id, up_to, limit)
    return _page(_handed_out(cursor, sql.rows_before(), values, order="seq DESC"))


def is_full(page: Sequence[Row] | Sequence[Entry], limit: int) -> bool:
    """Whether more may stand behind a page: it has as many rows as it may, or 4 MiB of them."""
    return len(page) == limit or sum(len(each.body or b"") for each in page) >= PAGE_BYTES


def _page(handed_out: Iterable[Any]) -> list[Row]:
    rows: list[Row] = []
    size = 0
    for found in handed_out:
        rows.append(Row._make(found))
        size += len(rows[-1].body or b"")
        if size >= PAGE_BYTES:
            break
    return rows

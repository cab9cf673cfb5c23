"""What the other engine cannot hold as it stands: put there by plain SQL, for no writer can write it.

A server takes no text that is not UTF-8 or holds a NUL; a file takes each row number
and each writer's name once. Such a row is kept in words that can be, and told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Table

    from journal.audit.source import Source
    from journal.copying.target import Values

_TWICE: Final = "SELECT id FROM entries GROUP BY id HAVING count(*) > 1 LIMIT 1"
_AGAIN: Final = (
    "SELECT session_id, seq FROM (SELECT id, session_id, seq, "
    "row_number() OVER (PARTITION BY id ORDER BY session_id, seq) AS place FROM entries) AS numbered "
    "WHERE place > 1 ORDER BY id, session_id, seq"
)
_HIGHEST: Final = 2**63 - 1
_SHOWN: Final = 100


class Fitting:
    """How the rows of one journal are put so that the other engine can hold them.

    Attributes:
        told: what was put otherwise than it stands, in words; the first of it.
        count: how many rows that were.

    """

    def __init__(self, source: Source, *, into_server: bool) -> None:
        self._source = source
        is_server = source.schema_name is not None
        self._escapes = into_server and not is_server
        self._numbers = is_server and not into_server
        self.told: dict[tuple[str, Any], str] = {}
        self.count = 0

    def rows(self, table: Table, after: int | None = None) -> Iterator[Values]:
        """Yield a table's rows in order, each as it can be held."""
        found: Iterable[Values] = self._source.ordered(table, after)
        if self._escapes:
            return self._escaped(table, found)
        if self._numbers and table is tables.entries:
            return self._numbered(after)
        if self._numbers and table is tables.writers:
            return self._named(found)
        return iter(found)

    def _tell(self, table: Table, key: Any, what: str) -> None:  # noqa: ANN401 - a number or text
        if (table.name, key) not in self.told:
            self.count += 1
            if len(self.told) < _SHOWN:
                self.told[table.name, key] = what

    def _escaped(self, table: Table, rows: Iterable[Values]) -> Iterator[Values]:
        texts = [
            at for at, column in enumerate(table.c) if issubclass(column.type.python_type, str)
        ]
        names = [column.name for column in table.c]
        for row in rows:
            odd = [at for at in texts if row[at] is not None and not _is_plain(row[at])]
            if odd:
                row = tuple(_plain(value) if at in odd else value for at, value in enumerate(row))  # noqa: PLW2901 - the row as it can be held
                columns = ", ".join(names[at] for at in odd)
                self._tell(
                    table,
                    row[0],
                    f"{table.name} {_shown(row[0])}: {columns} is no text, so it was escaped",
                )
            yield row

    def _numbered(self, after: int | None) -> Iterator[Values]:
        """Yield entries with each number once: the first keeps it, others follow behind the last."""
        again: list[tuple[int, int]] = []
        if self._source.query(_TWICE).fetchall():
            again = [tuple(row) for row in self._source.query(_AGAIN).fetchall()]
        spare = frozenset(again)
        for row in self._source.ordered(tables.entries, after):
            if not spare or (row[1], row[2]) not in spare:
                yield row
        (highest,) = self._source.query("SELECT max(id) FROM entries").fetchone()
        for number, (session_id, seq) in enumerate(again, (highest or 0) + 1):
            if after is not None and number <= after:
                continue
            if number > _HIGHEST:
                raise _unnumbered(self._source.path)
            (row,) = self._source.rows_between(session_id, seq, seq)
            self._tell(
                tables.entries,
                number,
                f"entries {row[0]}: another has that number, so it is {number}",
            )
            yield (number, *row[1:])

    def _named(self, rows: Iterable[Values]) -> Iterator[Values]:
        seen: set[bytes] = set()
        for row in rows:
            number, name = row[0], row[1]
            if name in seen:
                self._tell(
                    tables.writers,
                    number,
                    f"writers {number}: another has that name, so its number was added",
                )
                name = b"%b (%d)" % (name, number)
            seen.add(name)
            yield (number, name, *row[2:])


def _unnumbered(where: str) -> StorageError:
    return StorageError(
        f"{where}: two entries have one number, and there is no higher one left",
        hint="journal audit  # names the rows",
        code="unnumbered",
    )


def _is_plain(value: bytes) -> bool:
    if value.isascii():
        return b"\0" not in value
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


def _plain(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    return value.decode("utf-8", "backslashreplace").replace("\0", "\\x00").encode()


def _shown(key: object) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)

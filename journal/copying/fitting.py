"""What the other engine cannot hold as it stands: put there by plain SQL, for no writer can write it.

A server takes no text that is not UTF-8 or holds a NUL; a file takes each row's number or id,
each writer's name and each session's key once. Such a row is kept in words that can be, and told.
"""

from __future__ import annotations

from heapq import heappop, heappush, merge
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Column, Table

    from journal.audit.source import Source
    from journal.copying.target import Values

_TWICE: Final = "SELECT id FROM entries GROUP BY id HAVING count(*) > 1 LIMIT 1"
_AGAIN: Final = (
    "SELECT session_id, seq FROM (SELECT id, session_id, seq, "
    "row_number() OVER (PARTITION BY id ORDER BY session_id, seq) AS place FROM entries) AS numbered "
    "WHERE place > 1 ORDER BY id, session_id, seq"
)
_NAMES: Final = (tables.writers, tables.sessions)  # have a number, and a name that a file has once
_HIGHEST: Final = 2**63 - 1
_SHOWN: Final = 100


class Fitting:
    """How the rows of one journal are put so that the other engine can hold them.

    Attributes:
        told: what was put otherwise than it stands, in words; the first of it.

    """

    def __init__(self, source: Source, *, into_server: bool) -> None:
        self._source = source
        is_server = source.schema_name is not None
        self._escapes = into_server and not is_server
        self._numbers = is_server and not into_server
        self.told: dict[tuple[str, Any], str] = {}
        self._counts: dict[str, int] = {}  # of each table, the most that one reading found
        self._found: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many rows were put otherwise than they stand."""
        return sum(self._counts.values())

    def rows(self, table: Table, after: int | None = None) -> Iterator[Values]:
        """Yield a table's rows in order, each as it can be held."""
        if not self._escapes and not self._numbers:
            return iter(self._source.ordered(table, after))
        return self._counted(table, after)

    def _counted(self, table: Table, after: int | None) -> Iterator[Values]:
        """Yield them, and count those that are put otherwise: a table is read more than once."""
        self._found[table.name] = 0
        yield from self._fitted(table, after)
        self._counts[table.name] = max(self._counts.get(table.name, 0), self._found[table.name])

    def _fitted(self, table: Table, after: int | None) -> Iterator[Values]:
        if self._escapes:
            return self._escaped_in_order(table, after)
        return self._numbered(after) if table is tables.entries else self._once(table)

    def _tell(self, table: Table, key: Any, what: str) -> None:  # noqa: ANN401 - a number or text
        self._found[table.name] += 1
        if len(self.told) < _SHOWN:
            self.told[table.name, key] = what

    def _escaped_in_order(self, table: Table, after: int | None) -> Iterator[Values]:
        """Yield a table's rows by key as it is put: what is escaped in one stands elsewhere than before."""
        key, rows = next(iter(table.primary_key)), self._source.ordered
        statement = f"SELECT {key.name} FROM {table.name}"  # noqa: S608 - names of our own
        if not _is_text(key) or all(_is_plain(each) for (each,) in self._source.query(statement)):
            return self._escaped(table, rows(table, after))
        odd = self._escaped(table, (row for row in rows(table) if not _is_plain(row[0])))
        plain = self._escaped(table, (row for row in rows(table) if _is_plain(row[0])))
        return merge(plain, sorted(odd, key=_two), key=_two)

    def _escaped(self, table: Table, rows: Iterable[Values]) -> Iterator[Values]:
        texts = [at for at, column in enumerate(table.c) if _is_text(column)]
        names = [column.name for column in table.c]
        for row in rows:
            odd = [at for at in texts if row[at] is not None and not _is_plain(row[at])]
            if odd:
                row = tuple(_plain(value) if at in odd else value for at, value in enumerate(row))  # noqa: PLW2901 - the row as it can be held
                columns = ", ".join(names[at] for at in odd)
                self._tell(
                    table,
                    row[:2],
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

    def _once(self, table: Table) -> Iterator[Values]:
        """Yield a table's rows with each number, id and name once that a file has once."""
        at = 1 if table in _NAMES else 0
        found, column = self._source.ordered(table), list(table.c)[at]
        keys = [each.name for each in table.primary_key]
        if at == 0 and tables.server_key(table) == keys:
            return iter(found)
        name = f'"{column.name}"'
        again = f"SELECT {name} FROM {table.name} GROUP BY {name} HAVING count(*) > 1"  # noqa: S608 - names of our own
        twice = {value for (value,) in self._source.query(again).fetchall()}
        if not twice:
            return iter(found)
        return (self._renamed if _is_text(column) else self._renumbered)(table, found, twice)

    def _renamed(self, table: Table, found: Iterable[Values], twice: set[Any]) -> Iterator[Values]:
        """Yield rows with each name once: one that comes again gets the row's, or its session's, number behind it."""
        at = 1 if table in _NAMES else 0
        seen: set[bytes] = set()
        late: list[Values] = []
        for row in found:
            while late and late[0][0] < row[0]:
                yield heappop(late)
            value = row[at]
            if value not in seen:
                seen |= {value} & twice
                yield row
                continue
            name = b"%b (%d)" % (value, row[1 - at])
            what = "name" if at else "id"
            words = f"{table.name} {_shown(row[0])}: another has that {what}, so a number was added"
            self._tell(table, row[:2], words)
            heappush(late, (*row[:at], name, *row[at + 1 :]))
        yield from sorted(late)

    def _renumbered(
        self, table: Table, found: Iterable[Values], twice: set[Any]
    ) -> Iterator[Values]:
        """Yield rows with each number once: one that comes again gets one behind the last."""
        seen: set[int] = set()
        late: list[Values] = []
        for row in found:
            if row[0] in seen:
                late.append(row)
                continue
            seen |= {row[0]} & twice
            yield row
        (highest,) = self._source.query(f"SELECT max(id) FROM {table.name}").fetchone()  # noqa: S608 - as above
        for number, row in enumerate(late, highest + 1):
            if number > _HIGHEST:
                raise _unnumbered(self._source.path)
            words = f"{table.name} {row[0]}: another has that number, so it is {number}"
            self._tell(table, row[:2], words)
            yield (number, *row[1:])


def _unnumbered(where: str) -> StorageError:
    return StorageError(
        f"{where}: two entries have one number, and there is no higher one left",
        hint="journal audit  # names the rows",
        code="unnumbered",
    )


def _is_text(column: Column[Any]) -> bool:
    return issubclass(column.type.python_type, str)


def _two(row: Values) -> tuple[Any, ...]:
    return row[:2]


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

"""The schema of a journal on a server, held against a new one object by object, and its triggers put back.

What a new one is like is asked of the server: it is made in a transaction that is
rolled back, in a schema that nobody ever sees.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.dialects import catalog, quoted
from journal.dialects.postgres import (
    Cursor,
    check_server,
    connect,
    driver,
    translated,
)
from journal.errors import NotFoundError, SchemaError
from journal.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from journal.dialects.address import Address

_WAIT_S: Final = 30.0
_VERSION: Final = max(catalog.DIGESTS)
_NEW: Final = "journal_as_it_should_be"
_LOCK: Final = "LOCK TABLE sessions, entries, meta IN SHARE ROW EXCLUSIVE MODE"
_TRIGGERS: Final = (
    "SELECT c.relname::text, t.tgname::text, pg_get_functiondef(t.tgfoid), pg_get_triggerdef(t.oid) "
    "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
    "WHERE c.relnamespace = ?::regnamespace AND NOT t.tgisinternal"
)
_INDEXES: Final = (
    "SELECT c.relname::text, i.relname::text, pg_get_indexdef(i.oid) "
    "FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid "
    "WHERE c.relnamespace = ?::regnamespace"
)


class Difference(NamedTuple):
    """One object that is "missing", "foreign" or "changed"."""

    what: str
    type: str
    name: str
    table: str


class _Expected(NamedTuple):
    """A new schema: its objects, and the statements that make what can be put back."""

    objects: set[tuple[str, ...]]
    statements: dict[tuple[str, str], list[str]]


def look(address: Address, migrate: Callable[[Connection], None]) -> tuple[int, list[Difference]]:
    """Return a journal's schema version, and how its schema differs from a new one; changes nothing.

    Of another version's schema nothing is told: it differs in every way there is.

    Raises:
        ReadOnlyError: who asks may make no schema, not even for a moment.
        SchemaError: a newer version's schema.

    """
    expected = _expected(address, migrate)
    with _connected(address) as connection:
        return _looked(Cursor(connection), address, expected)


def restore(address: Address, migrate: Callable[[Connection], None]) -> list[Difference]:
    """Drop foreign triggers, rules and indexes and put ours back, in one transaction; return what is left.

    Tables, columns and constraints are never changed: they may hold what nobody else has.

    Raises:
        SchemaError: another version's schema; nothing was changed.

    """
    expected = _expected(address, migrate)
    with _connected(address) as connection, connection.transaction():
        cursor = Cursor(connection)
        cursor.execute(_LOCK)
        version, found = _looked(cursor, address, expected)
        if version < _VERSION:
            raise SchemaError(
                f"{address.shown} has schema {version}, and of a server's no step is known from there to {_VERSION}; "
                "nothing was changed",
                hint="open it with the version that made it, and journal copy it to a new schema with this one",
                code="schema-older",
            )
        objects = {*_objects(cursor, address.schema), *expected.objects}
        constraints = {name for kind, name, *_ in objects if kind == "constraint"}
        for each in found:
            if each.type == "index" and f"{each.table}.{each.name}" in constraints:
                continue  # it comes and goes with its constraint
            for statement in _statements(each, expected, address):
                connection.execute(statement)
        return _looked(cursor, address, expected)[1]


@contextmanager
def _connected(address: Address) -> Iterator[Any]:
    with closing(connect(address, busy_timeout_s=_WAIT_S)) as connection:
        try:
            check_server(connection, address.shown, durability="normal")
            yield connection
        except driver().Error as error:
            raise translated(error, address.shown) from error


def _expected(address: Address, migrate: Callable[[Connection], None]) -> _Expected:
    with _connected(address) as connection, catalog.migrating(connection, address) as own:
        cursor = Cursor(connection)
        cursor.execute(f"CREATE SCHEMA {_NEW}")
        cursor.execute(f"SET LOCAL search_path = {_NEW}, pg_temp")
        migrate(own)
        found = _described(cursor, address)
        own.get_transaction().rollback()  # type: ignore[union-attr] # it is in one
        return found


def _described(cursor: Cursor, address: Address) -> _Expected:
    def ours(statement: str) -> str:
        schema = address.schema
        return statement.replace(f"{_NEW}.", f'"{schema}".').replace(f"'{_NEW}'", f"'{schema}'")

    made: dict[tuple[str, str], list[str]] = {}
    for table, name, function, trigger in cursor.execute(_TRIGGERS, (_NEW,)).fetchall():
        made["trigger", f"{table}.{name}"] = [ours(function), ours(trigger)]
    for table, name, index in cursor.execute(_INDEXES, (_NEW,)).fetchall():
        made["index", f"{table}.{name}"] = [ours(index)]
    return _Expected(set(_objects(cursor, _NEW)), made)


def _objects(cursor: Cursor, schema: str) -> Iterator[tuple[str, ...]]:
    """Yield what belongs to our tables; of others' tables nothing matters."""
    for row in catalog.objects(cursor, schema):
        if row[1].partition(".")[0] in metadata.tables:
            yield row


def _looked(cursor: Cursor, address: Address, expected: _Expected) -> tuple[int, list[Difference]]:
    version = catalog.version_in(cursor, address)
    if version is None:
        raise NotFoundError(f"no journal at {address.shown} yet", hint="journal init")
    if version > _VERSION:
        raise SchemaError(
            f"{address.shown} has schema {version}, this version writes {_VERSION}; nothing was changed",
            hint="pip install --upgrade session-journal",
            code="schema-newer",
        )
    if version < _VERSION:
        return version, []
    return version, _differences(_objects(cursor, address.schema), expected)


def _differences(objects: Iterable[tuple[str, ...]], expected: _Expected) -> list[Difference]:
    there = {row[:2]: row for row in objects}
    ours = {row[:2]: row for row in expected.objects}
    found = [_told("missing", name) for name in ours.keys() - there.keys()]
    found += [_told("foreign", name) for name in there.keys() - ours.keys()]
    found += [
        _told("changed", name) for name in ours.keys() & there.keys() if ours[name] != there[name]
    ]
    return sorted(found)


def _told(what: str, key: tuple[str, ...]) -> Difference:
    table, _, name = key[1].partition(".")
    return Difference(what, key[0], name or table, table)


def _statements(each: Difference, expected: _Expected, address: Address) -> list[str]:
    """Return what mends it; nothing where only a person can."""
    name, table = quoted(each.name), quoted(each.table)
    drops = {
        "trigger": f"DROP TRIGGER IF EXISTS {name} ON {table}",
        "rule": f"DROP RULE IF EXISTS {name} ON {table}",
        "index": f"DROP INDEX IF EXISTS {quoted(address.schema)}.{name}",
    }
    if each.type not in drops:
        return []
    made = expected.statements.get((each.type, f"{each.table}.{each.name}"), [])
    return [drops[each.type], *made]

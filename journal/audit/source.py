"""Where an audit reads from: one read-only connection, one snapshot, nothing believed.

Everything is read in one transaction, so that an audit under load sees one
state. Text comes as bytes, for a row put there by plain SQL need not be UTF-8.
"""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from journal import schema, tables
from journal.dialects import bulk, catalog, postgres, readings
from journal.dialects.address import is_url, parsed, unknown
from journal.engine import connect, driver, reading_engine, translated
from journal.errors import NotFoundError
from journal.model import Row
from journal.serverplace import mirrors_path, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Table

    from journal.dialects.address import Address

_COLUMNS: Final = ", ".join(f'"{column.name}"' for column in tables.entries.c)
_ROWS: Final = f"SELECT {_COLUMNS} FROM entries WHERE session_id = ?"  # noqa: S608 - names of our own
_ONE: Final = f"{_ROWS} AND seq = ? AND id = ?"
_WITHOUT_LINES: Final = _ROWS.replace(
    '"body"', "CASE WHEN kind IN ('line', 'raw') THEN NULL ELSE body END"
)
_TRIES: Final = 50
_ASK_EVERY: Final = 1_000_000  # of SQLite's steps: whoever is asked may hold the interpreter
_FEW: Final = 16
MAX_INT: Final = 2**63 - 1
MIN_INT: Final = -(2**63)


class Source:
    """One state of a journal's database, as it stands."""

    schema_name: str | None = None  # on a server

    def __init__(self, path: str, connection: Any) -> None:  # noqa: ANN401 - a driver's connection
        self.path = path
        self._connection = connection

    def later(self) -> AbstractContextManager[Source]:
        """Open a later state of the same database."""
        return opened(self.path)

    def place(self) -> str:
        """Return what a mirror that this journal serves is registered with."""
        return ""

    def running(self) -> tuple[object, ...] | None:
        """Return what tells this database from all others, however it is addressed; None of a file."""
        return None

    def side_path(self, journal_id: str, mirror: str) -> str:
        """Return where this host keeps what it knows of a mirror, by the mirror's path."""
        del journal_id, mirror
        return f"{self.path}-mirrors"

    def version(self) -> int:
        """Return the version of the schema."""
        return int(self.query("PRAGMA user_version").fetchone()[0])

    def query(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - rows of any shape
        """Run one statement on a cursor of its own; its rows are fetched as they are wanted."""
        return self._connection.cursor().execute(statement, values)

    def watch(self, is_over: Callable[[], bool] | None) -> None:
        """Have statements end with an error once it is over, which is asked now and then; or no more."""
        self._connection.set_progress_handler(is_over, _ASK_EVERY)

    def apart(self) -> AbstractContextManager[None]:
        """Give a block: where it cannot read something, the rest can be read all the same."""
        return nullcontext()

    def rows(self, session_id: int, *, lines: bool = True) -> Iterator[Row]:
        """Yield every row that claims a session, in the order of seq; perhaps without the bodies of lines."""
        # One by one: a page of rows of 8 MiB each would not be flat memory.
        select = _ROWS if lines else _WITHOUT_LINES
        return map(Row._make, self.query(f"{select} ORDER BY seq, id", session_id))

    def row(self, row: Row) -> Row:
        """Return a row that came without its line, whole."""
        return Row._make(self.query(_ONE, row.session_id, row.seq, row.id).fetchone())

    def controls(self, session_id: int) -> Iterator[Row]:
        """Yield the rows that claim to be a session's control entries, in the order of seq."""
        found = self.query(f"{_ROWS} AND kind = 'control' ORDER BY seq, id", session_id)
        return map(Row._make, found)

    def controls_beginning(self, session_id: int, begin: bytes) -> Iterator[Row]:
        """Yield the rows that claim to be control entries and whose bodies begin so."""
        found = self.query(
            f"{_ROWS} AND kind = 'control' AND substr(body, 1, ?) = ? ORDER BY seq, id",
            session_id,
            len(begin),
            begin,
        )
        return map(Row._make, found)

    def rows_between(self, session_id: int, first: int, last: int) -> Iterator[Row]:
        """Yield the rows of a range of seqs, both ends included."""
        found = self.query(
            f"{_ROWS} AND seq BETWEEN ? AND ? ORDER BY seq, id", session_id, first, last
        )
        return map(Row._make, found)

    def rows_of_request(self, session_id: int, request_id: bytes) -> Iterator[Row]:
        """Yield the rows that claim a request."""
        # A text index finds nothing by bytes: the cast makes them comparable. The plus keeps
        # SQLite from taking the index that has the order, and so reading the session.
        found = self.query(
            f"{_ROWS} AND request_id = CAST(? AS TEXT) ORDER BY +seq, id", session_id, request_id
        )
        return map(Row._make, found)

    def table(self, table: Table, session_id: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one of our tables, all of them or those that claim a session."""
        names = ", ".join(f'"{column.name}"' for column in table.c)
        where, values = ("", ()) if session_id is None else (" WHERE session_id = ?", (session_id,))
        yield from self.query(f"SELECT {names} FROM {table.name}{where}", *values)  # noqa: S608

    def ordered(self, table: Table, after: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one of our tables by primary key; with ``after``, those of higher numbers.

        Run it to its end before anything else is asked: a server then has one answer at a time.
        """
        where = "" if after is None else f" WHERE id > {after:d}"
        order = ", ".join(f'"{column.name}"' for column in table.primary_key)
        # Not by a generator: one that is left in the middle would close what is closed already.
        select = f"SELECT {bulk.names_of(table)} FROM {table.name}{where} ORDER BY {order}"  # noqa: S608
        return iter(self.query(select))

    def session_ids(self, table: str = "entries") -> Iterator[int]:
        """Yield every session number in a table, each by one look at an index."""
        statement = f"SELECT min(session_id) FROM {table} WHERE session_id > ?"  # noqa: S608
        (found,) = self.query(f"SELECT min(session_id) FROM {table}").fetchone()  # noqa: S608
        while found is not None:
            yield found
            (found,) = self.query(statement, found).fetchone()


class Companions(Protocol):
    """Others who are to look at the same state of a database."""

    def __bool__(self) -> bool:
        """Whether there is anybody."""

    def begin(self) -> None:
        """Have them look at the database as it stands now."""

    def close(self) -> None:
        """Let them go."""


class ServerSource(Source):
    """One state of a journal's database on a PostgreSQL server."""

    def __init__(self, address: Address, connection: Any) -> None:  # noqa: ANN401 - the driver's
        super().__init__(address.shown, connection)
        self._address = address
        self.schema_name = address.schema

    def later(self) -> AbstractContextManager[Source]:
        """Open a later state of the same database."""
        return _opened_on_server(self._address)

    def place(self) -> str:
        """Return the journal's place on its server, for this user."""
        return place_of(postgres.Cursor(self._connection), self._address.schema)

    def running(self) -> tuple[object, ...]:
        """Return what tells this schema from all others, however it is addressed."""
        return catalog.running(postgres.Cursor(self._connection), self._address.schema)

    def side_path(self, journal_id: str, mirror: str) -> str:
        """Return where this user keeps what is known of the mirrors in one's directory."""
        return mirrors_path(journal_id, self.place(), mirror)

    def query(self, statement: str, *values: object) -> Any:  # noqa: ANN401 - rows of any shape
        """Run one statement on a cursor of its own."""
        return postgres.Cursor(self._connection).execute(statement, values)

    def apart(self) -> AbstractContextManager[None]:
        """Give a block; as :meth:`Source.apart`.

        Raises:
            JournalError: the reading has ended: it was not the rows that could not be read.

        """
        return readings.apart(self._connection, self.path)

    def rows(self, session_id: int, *, lines: bool = True) -> Iterator[Row]:
        """Yield every row that claims a session; as :meth:`Source.rows`, some at a time."""
        select = _ROWS if lines else _WITHOUT_LINES
        statement = f"{select} ORDER BY seq, id"
        return map(Row._make, bulk.streamed(self._connection, statement, (session_id,)))

    def rows_between(self, session_id: int, first: int, last: int) -> Iterator[Row]:
        """Yield the rows of a range of seqs; as :meth:`Source.rows_between`, of many some at a time."""
        if last - first < _FEW:
            return super().rows_between(session_id, first, last)
        statement = f"{_ROWS} AND seq BETWEEN ? AND ? ORDER BY seq, id"
        return map(Row._make, bulk.streamed(self._connection, statement, (session_id, first, last)))

    def ordered(self, table: Table, after: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one of our tables by primary key; as :meth:`Source.ordered`."""
        return bulk.unloaded(self._connection, table, after)

    def version(self) -> int:
        """Return the version of the schema."""
        return catalog.version_in(postgres.Cursor(self._connection), self._address) or 0


@contextmanager
def _opened_on_server(address: Address) -> Iterator[Source]:
    if schema.version_on_server(address) is None:
        raise _no_journal(address.shown)
    connection = postgres.connect(address, text_as_bytes=True)
    try:
        postgres.check_server(connection, address.shown, durability=None)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield ServerSource(address, connection)
    except postgres.driver().Error as error:
        raise readings.ended(error, address.shown) from error
    finally:
        connection.close()


def _no_journal(where: str) -> NotFoundError:
    return NotFoundError(f"there is no journal at {where}", hint="journal init", code="no-journal")


@contextmanager
def opened(path: str, companions: Companions | None = None) -> Iterator[Source]:
    """Open a journal read-only, in one transaction that ends with the block.

    Companions that are let see another state than this are let go.

    Raises:
        NotFoundError: there is no journal.
        CorruptError: it is no database.
        SchemaError: another program's database, or a newer version's journal.

    """
    if is_url(path):
        with _opened_on_server(parsed(path)) as source:
            yield source
        return
    if schema.version_of(path) is None:
        raise _no_journal(path)
    engine = reading_engine(path)
    try:
        with engine.connect() as connection:
            connection.begin()  # never ended but by the connection's own end: there is nothing to commit
            raw: Any = connection.connection.driver_connection
            raw.text_factory = bytes
            if companions:
                _begin_together(path, raw, companions)
            yield Source(path, raw)
    except driver().Error as error:
        raise translated(error, path) from error
    finally:
        engine.dispose()


def _begin_together(path: str, connection: Any, companions: Companions) -> None:  # noqa: ANN401 - a driver's
    """Begin again until nobody has committed between this snapshot and the companions'."""
    with closing(connect(path, mode="ro")) as watch:
        for _ in range(_TRIES):
            version = watch.execute("PRAGMA data_version").fetchone()
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
            connection.execute(
                "SELECT count(*) FROM sqlite_schema"
            ).fetchall()  # takes the snapshot
            companions.begin()
            if watch.execute("PRAGMA data_version").fetchone() == version:
                return
    companions.close()


def path_of(path: str | Path) -> str:
    """Return the database's absolute path, of a path or a ``sqlite:///`` URL; a server's URL as it is.

    Raises:
        EntryError: a URL of another database.

    """
    if is_url(path):
        return str(path)
    file = str(path).removeprefix("sqlite:///")
    if "://" in file:
        raise unknown(file)
    return str(Path(file).absolute())


def text(value: object) -> str:
    """Return a value from the database as text that can be shown."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)

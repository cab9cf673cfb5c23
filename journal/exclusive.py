"""One transaction that nobody else writes beside, of a journal in a file or on a server."""

from __future__ import annotations

from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import schema
from journal.dialects import catalog, postgres, standbys
from journal.dialects.address import is_url, parsed
from journal.engine import connect, translated
from journal.place import check_place
from journal.servergroup import patiently
from journal.serveroutcome import unknown
from journal.serverplace import mirrors_path, place_of
from journal.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from journal.dialects.address import Address
    from journal.engine import Cursor

_WAIT_S: Final = 30.0
# Every table that a write leaves something in, whether it moves a head or not.
_LOCK: Final = (
    "LOCK TABLE sessions, entries, instances, fences, verdicts, parked, pending_inputs, meta "
    "IN SHARE ROW EXCLUSIVE MODE"
)


class Exclusive(NamedTuple):
    """The transaction.

    Attributes:
        cursor: takes its statements.
        where: how the journal is called, without a password.
        row: the column that names a row of any table, as long as the transaction stands.
        as_bytes: a block in which text comes as bytes, where it need not be UTF-8.
        side_path: where this host keeps what it knows of a mirror, by the journal's id and its path.

    """

    cursor: Cursor
    where: str
    row: str
    as_bytes: Callable[[], AbstractContextManager[None]]
    side_path: Callable[[str, str], str]


@contextmanager
def exclusive(place: str | Path) -> Iterator[Exclusive]:
    """Hold a journal for a block; committed at its end, rolled back on any error.

    Raises:
        BusyError: others wrote for as long as it waits.
        SchemaError: the schema is not the journal's own.
        StorageError: the database cannot be written; or, at the end, ``outcome-unknown``
            where the server's answer was lost, or no standby that it waits for gave one.

    """
    if is_url(place):
        address = parsed(str(place))
        with _told(address.shown), _on_server(address) as held:
            yield held
    else:
        with _told(str(place)), _in_file(Path(place)) as held:
            yield held


@contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise translated(error, where) from error


@contextmanager
def _in_file(path: Path) -> Iterator[Exclusive]:
    check_place(path)
    where = str(path)
    with _turn(where), closing(connect(where)) as connection:
        cursor = connection.cursor()
        schema.check(cursor.execute, where)

        @contextmanager
        def as_bytes() -> Iterator[None]:
            connection.text_factory = bytes
            yield
            connection.text_factory = str

        connection.execute("BEGIN IMMEDIATE")
        yield Exclusive(cursor, where, "rowid", as_bytes, lambda *_: f"{where}-mirrors")
        connection.execute("COMMIT")  # on any error before it, closing rolls back


@contextmanager
def _turn(where: str) -> Iterator[None]:
    """Take the turn among those who write, like any of them."""
    ticket = Ticket(where, _WAIT_S)
    try:
        ticket.take()
        yield
    finally:
        ticket.give_back()
        ticket.close()


@contextmanager
def _on_server(address: Address) -> Iterator[Exclusive]:
    with closing(postgres.connect(address, busy_timeout_s=_WAIT_S)) as connection:
        postgres.check_server(connection, address.shown, durability="full")
        count = standbys.check(connection, address.shown, address.standbys, durability="full")
        commits = standbys.Commits(connection, count)
        cursor = postgres.Cursor(connection)
        catalog.check(cursor, address, schema.SCHEMA_VERSION)
        place = place_of(cursor, address.schema)
        _lock(cursor)
        yield Exclusive(
            cursor,
            address.shown,
            "ctid",
            nullcontext,  # a server holds no text that is none
            lambda journal_id, mirror: mirrors_path(journal_id, place, mirror),
        )
        _commit(cursor, commits, address.shown)


def _commit(cursor: Any, commits: standbys.Commits, where: str) -> None:  # noqa: ANN401 - a server's
    """Commit, and wait for the standbys like any other commit."""
    try:
        with commits.confirmed(_WAIT_S):
            cursor.execute("COMMIT")
    except Exception as error:
        if not postgres.is_lost(error):
            raise
        hint = "when the server and its standbys are back: journal key tells which era there is"
        raise unknown(where, hint) from error


def _lock(cursor: Any) -> None:  # noqa: ANN401 - a server's
    """Begin, and lock before a state is chosen; who writes meanwhile may have locked in another order."""

    def begin() -> None:
        try:
            cursor.answer(f"BEGIN ISOLATION LEVEL REPEATABLE READ; {_LOCK}; SELECT 1")
        except Exception:
            with suppress(Exception):  # the first error is the one to tell
                cursor.execute("ROLLBACK")
            raise

    patiently(begin, _WAIT_S, _is_contended)


def _is_contended(error: BaseException) -> bool:
    return postgres.is_transient(error) and not postgres.is_lost(error)

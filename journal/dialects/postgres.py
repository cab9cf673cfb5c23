"""PostgreSQL: which driver, which settings, which error; one connection as the journal uses it.

No other module imports the driver. It is an extra: ``pip install 'session-journal[postgres]'``.
"""

from __future__ import annotations

import importlib
import re
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from journal import errors
from journal.dialects import grants
from journal.dialects.address import is_url, parsed
from journal.dialects.settings import alive, set_up
from journal.dialects.texts import turned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType

    from journal.dialects.address import Address

OLDEST: Final = 130000  # gen_random_uuid without an extension
CONTENDED: Final = "contended"
GONE: Final = "server-gone"
CONTENDED_STATES: Final = ("40001", "40P01")  # serialization failure, deadlock
_SOON_S: Final = 5
# The server ends, is starting, or cut the connection; all of class 08 as well.
_GONE: Final = ("57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04")
_SETTINGS: Final = (
    "SELECT current_setting('synchronous_commit'), current_setting('fsync'), pg_is_in_recovery(), "
    "current_setting('transaction_read_only'), current_setting('server_version_num')::int, "
    "current_setting('server_encoding')"
)


@cache
def driver() -> ModuleType:
    """Return the driver.

    Raises:
        StorageError: it is not installed.

    """
    try:
        return importlib.import_module("psycopg")
    except ImportError as error:
        raise errors.StorageError(
            "a journal on PostgreSQL needs the driver psycopg, which is not installed",
            hint="pip install 'session-journal[postgres]'",
            code="no-driver",
        ) from error


class Cursor:
    """The kept cursor of one connection: takes our statements, answers as SQLite's driver does."""

    __slots__ = ("_raw", "lastrowid")

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the driver's
        self._raw = driver().RawCursor(connection)
        self.lastrowid: int | None = None

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> Cursor:
        """Run one statement."""
        text, gives_id = turned(sql)
        try:
            self._raw.execute(text, parameters or None)
        except Exception as error:
            grants.note(error, text, self.connection)
            raise
        if gives_id:
            self.lastrowid = self._raw.fetchone()[0]
        return self

    def answer(self, sql: str, /) -> Any:  # noqa: ANN401 - a row, or None
        """Run several statements without values in one round trip; return the last one's row."""
        try:
            self._raw.execute(sql)
            while self._raw.nextset():
                pass
        except Exception as error:
            grants.note(error, sql, self.connection)
            raise
        return self._raw.fetchone()

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]], /) -> Cursor:
        """Run one statement for each row of values."""
        try:
            self._raw.executemany(turned(sql).sql, parameters)
        except Exception as error:
            grants.note(error, sql, self.connection)
            raise
        return self

    @property
    def connection(self) -> Any:  # noqa: ANN401
        """The driver's connection."""
        return self._raw.connection

    @property
    def rowcount(self) -> int:
        """How many rows the last statement wrote."""
        return int(self._raw.rowcount)

    @rowcount.setter
    def rowcount(self, _: int) -> None:
        raise AttributeError

    @property
    def said(self) -> str | None:
        """What the server says it did: COMMIT, or ROLLBACK where a commit had nothing to commit."""
        said: str | None = self._raw.statusmessage
        return said

    def __iter__(self) -> Iterator[Any]:
        return iter(self._raw)

    def fetchone(self) -> Any:  # noqa: ANN401 - a row, or None
        """Return the next row."""
        return self._raw.fetchone()

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        found: list[Any] = self._raw.fetchall()
        return found


# -- connections --------------------------------------------------------------------------
# In the driver's own words, of which no more is shown than the name.
_UNKNOWN_WORD: Final = re.compile(
    r'invalid (?:URI query parameter|connection option): "([a-z_]{1,40})"'
)


def connect(
    address: Address,
    *,
    busy_timeout_s: float = 30.0,
    text_as_bytes: bool = False,
    is_brief: bool = False,
) -> Any:  # noqa: ANN401
    """Open one connection, its search path the journal's own schema; briefly, if it comes within seconds.

    Raises:
        StorageError: the server cannot be reached, or does not let us in.

    """
    psycopg = driver()
    try:
        given = psycopg.conninfo.conninfo_to_dict(address.conninfo)
        connection = psycopg.connect(
            address.conninfo,
            autocommit=True,
            client_encoding="utf8",
            fallback_application_name="session-journal",
            **alive(given, _SOON_S if is_brief else None),
        )
    except psycopg.OperationalError as error:
        raise _refused(address, error) from None  # its own words may hold what we never show
    except (psycopg.Error, ValueError, UnicodeError) as error:
        unknown = _UNKNOWN_WORD.search(str(error))
        if unknown is not None:
            raise errors.EntryError(
                f"{address.shown} with ?{unknown[1]}=: the driver knows no such word",
                hint="leave it out; schema= and standbys= are a journal's, others libpq's, such as sslmode=",
                code="url",
            ) from None
        raise errors.EntryError(
            f"{address.shown} is no address that the driver understands",
            hint="postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE",
            code="url",
        ) from None
    try:
        set_up(connection, address, busy_timeout_s, text_as_bytes=text_as_bytes)
    except BaseException as error:
        connection.close()
        if isinstance(error, psycopg.Error):
            raise translated(error, address.shown) from error
        raise
    return connection


def _refused(address: Address, error: BaseException) -> errors.JournalError:
    """Tell why there is no connection, by what the server does and never by its words."""
    away = _no_answer(address)
    if away is not None:
        return away
    connection = getattr(error, "pgconn", None)
    if connection is not None and connection.needs_password:
        return _not_let_in(
            address,
            "it asks for a password, and none was given (by the URL, PGPASSWORD or ~/.pgpass)",
        )
    if _lets_in(address):
        return errors.StorageError(
            f"{address.shown}: the server was away a moment ago", hint="try again", code=GONE
        )
    if _lets_in(address, target_session_attrs="any"):
        return errors.StorageError(
            f"{address.shown}: no server there lets itself be written to",
            hint="name the primary in the URL, or wait until a standby is promoted",
            code=GONE,
        )
    if any(_lets_in(address, dbname=name) for name in ("postgres", "template1")):
        return errors.NotFoundError(
            f"{address.shown}: the server has no such database, or it is not open to this user",
            hint="createdb NAME, or name another database in the URL",
            code="no-database",
        )
    return _not_let_in(address, "the server does not let this user in, or not now")


def _no_answer(address: Address) -> errors.JournalError | None:
    """Return why no server answers; None if one does."""
    psycopg = driver()
    # Whoever takes connections and never says a word would be waited for without end.
    briefly = psycopg.conninfo.make_conninfo(address.conninfo, connect_timeout=_SOON_S)
    ping = psycopg.pq.PGconn.ping(briefly.encode())
    if ping == psycopg.pq.Ping.NO_ATTEMPT:
        return errors.EntryError(
            f"{address.shown}: the driver does not take what stands in the URL",
            hint="check the words behind the ?, such as sslmode=verify-full",
            code="url",
        )
    if ping != psycopg.pq.Ping.OK:
        starting = ping == psycopg.pq.Ping.REJECT
        return errors.StorageError(
            f"{address.shown}: the server "
            + ("is starting or ending" if starting else "does not answer"),
            hint="start it, or check the host and port of the URL",
            code=GONE,
        )
    return None


def _not_let_in(address: Address, why: str) -> errors.JournalError:
    return errors.StorageError(
        f"{address.shown}: {why}",
        hint="check the user and password of the URL, the server's pg_hba.conf, and its max_connections",
        code="credentials",
    )


def _lets_in(address: Address, **instead: str) -> bool:
    """Whether the same user is let in where something else is asked for."""
    psycopg = driver()
    with suppress(psycopg.Error):
        psycopg.connect(address.conninfo, **instead).close()
        return True
    return False


def check_server(connection: Any, where: str, *, durability: str | None) -> None:  # noqa: ANN401
    """Refuse a server that cannot keep what a journal promises; ``None`` is for those who only read.

    Raises:
        StorageError: too old, another encoding, or it forgets what it acknowledged.
        ReadOnlyError: a standby, or read-only, and this journal was to be written.

    """
    synchronous, fsync, is_standby, read_only, version, encoding = connection.execute(
        _SETTINGS
    ).fetchone()
    if version < OLDEST:
        raise errors.StorageError(
            f"{where}: PostgreSQL {version // 10000} is too old", hint="13 or later", code="too-old"
        )
    if _text(encoding) != "UTF8":
        raise errors.StorageError(
            f"{where}: the database is in {_text(encoding)}, and a journal's text in UTF-8",
            hint="createdb --encoding=UTF8 --template=template0 NAME",
            code="encoding",
        )
    if durability is None:
        return
    if is_standby or _text(read_only) == "on":
        what = "is a standby" if is_standby else "lets nobody write"
        raise errors.ReadOnlyError(
            f"{where}: this server {what}", hint="name the primary in the URL"
        )
    for name, value in (("fsync", fsync), ("synchronous_commit", synchronous)):
        if _text(value) == "off" and (name == "fsync" or durability == "full"):
            raise errors.StorageError(
                f"{where}: {name} is off, so the server forgets what it has acknowledged",
                hint=f"turn {name} on, or open the journal with durability='normal'"
                if name != "fsync"
                else "turn fsync on; a journal is not kept on such a server",
                code="not-durable",
            )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


# -- errors -------------------------------------------------------------------------------


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, or the server: what was under way may be done again elsewhere."""
    if isinstance(error, errors.JournalError):
        return error.code == GONE
    if not isinstance(error, driver().Error):
        return False
    state = error.sqlstate
    if state is None:  # not said by the server: the driver found nobody at the other end
        return isinstance(error, (driver().OperationalError, driver().InterfaceError))
    return state.startswith("08") or state in _GONE


def is_transient(error: BaseException) -> bool:
    """Whether the whole transaction may be run again: another was faster, or the connection is gone."""
    if isinstance(error, errors.JournalError):
        return error.code in (CONTENDED, GONE)
    return getattr(error, "sqlstate", None) in CONTENDED_STATES or is_lost(error)


def translated(error: BaseException, where: str) -> errors.JournalError:
    """Return the journal's own error for the driver's, told by SQLSTATE and never by its text."""
    state = getattr(error, "sqlstate", None) or ""
    if is_lost(error):
        return errors.StorageError(
            f"{where}: the connection to the server was lost",
            hint="try again when the server is back; the same request_id writes once",
            code=GONE,
        )
    text = " ".join(str(error).split())  # the statement and the detail stand on lines of their own
    for prefix, (kind, words, hint, code) in _STATES.items():
        if state.startswith(prefix):
            said = f": {text}" if kind in (errors.StorageError, errors.CorruptError) else ""
            lacks = grants.of(error, parsed(where).schema) if is_url(where) else None
            told = hint if lacks is None else f"{lacks}; {hint}"
            return kind(f"{where}: {words}{said}", hint=told, code=code or kind.code)
    return errors.StorageError(f"{where}: {text}", hint="journal audit")


_STATES: Final[dict[str, tuple[type[errors.JournalError], str, str, str | None]]] = {
    "40001": (errors.BusyError, "others wrote to the same session", "try again", CONTENDED),
    "40P01": (errors.BusyError, "others wrote to the same sessions", "try again", CONTENDED),
    "55P03": (
        errors.BusyError,
        "another process held a lock for too long",
        "try again; a longer busy_timeout waits longer",
        None,
    ),
    "53100": (
        errors.FullError,
        "no space left on the server; nothing of this write was kept",
        "free some space and try again",
        None,
    ),
    "57014": (
        errors.StorageError,
        "the server ended it before it was done",
        "try again; where a statement_timeout ends it: ALTER ROLE NAME SET statement_timeout = 0",
        "canceled",
    ),
    "25006": (
        errors.ReadOnlyError,
        "this server lets nobody write",
        "name the primary in the URL",
        None,
    ),
    "42501": (
        errors.ReadOnlyError,
        "this user may not do that",
        "docs/postgres.md has the grants that a writer and an auditor need",
        "not-granted",
    ),
    "23": (errors.StorageError, "refused by the database", "journal audit", "constraint"),
    "42P01": (
        errors.SchemaError,
        "a table of the journal is missing",
        "journal audit",
        "schema-changed",
    ),
    "XX00": (errors.CorruptError, "the server reports damage", "journal audit", None),
}

"""SQLite done right: which library, which pragmas, which BEGIN, which error.

Every connection to a journal is made here, by one driver chosen once per
process. Nothing else may open the database, its ``-wal`` or its ``-shm``: a
plain ``open`` and ``close`` of any of them in the same process silently drops
SQLite's POSIX locks, and so does a second SQLite library.
"""

from __future__ import annotations

import importlib
import logging
import os
import random
import sqlite3
import time
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from urllib.parse import quote

from journal import errors
from journal.darwin import IS_DARWIN
from journal.dialects import postgres
from journal.filelocks import check_system
from journal.guards import opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType

    from sqlalchemy import Engine

APPLICATION_ID: Final = 0x534A524E  # "SJRN"
WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
DURABILITY: Final = {"full": "FULL", "normal": "NORMAL"}

# https://sqlite.org/wal.html#walresetbug: fixed in 3.51.3, with two backports.
_FIXED: Final = (((3, 51, 3), (99,)), ((3, 50, 7), (3, 51)), ((3, 44, 6), (3, 45)))

log = logging.getLogger("journal")


class Cursor(Protocol):
    """As much of a driver's cursor as the journal uses."""

    rowcount: int
    lastrowid: int | None

    def execute(self, sql: str, parameters: Sequence[object] = (), /) -> Cursor:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Iterable[Sequence[object]], /) -> Cursor:
        """Run one statement for each row of values."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows that are left."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row, or None
        """Return the next row."""

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""


def wal_reset_fixed(version: tuple[int, ...]) -> bool:
    """Whether this SQLite version is free of the WAL-reset bug."""
    return any(first <= version < before for first, before in _FIXED)


@cache
def driver() -> ModuleType:
    """Return the SQLite driver of this process: stdlib if fixed, else pysqlite3 if fixed.

    The linked version decides, never the package's name: ``pysqlite3-binary``
    installs the same import name with an affected library. Where only an
    affected library is at hand it is used, and said once.
    """
    chosen = _choose()
    # Both drivers offer each bytes and None they bind to every adapter protocol,
    # 1 us apiece and fifteen a row, unless an adapter is found at once.
    for kind in (bytes, type(None)):
        chosen.register_adapter(kind, _as_it_is)
    return chosen


def _as_it_is(value: object) -> object:
    return value


def _choose() -> ModuleType:
    if wal_reset_fixed(sqlite3.sqlite_version_info):
        return sqlite3
    try:
        other = importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        other = None
    if other is not None and wal_reset_fixed(other.sqlite_version_info):
        return other
    warnings.warn(
        f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug (fixed in 3.51.3), so the journal works in "
        "compatible mode, slower: install pysqlite3 0.6.1 or later where it has a wheel",
        RuntimeWarning,
        stacklevel=2,
    )
    return sqlite3


def is_compatible_mode() -> bool:
    """Whether the library at hand has the WAL-reset bug, so that nobody may fold the log in beside a writer."""
    return not wal_reset_fixed(driver().sqlite_version_info)


def check_strictly() -> None:
    """Refuse a library with the WAL-reset bug.

    Raises:
        UnsafeSQLite: it has it.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the error says it
        is_affected = is_compatible_mode()
    if is_affected:
        raise errors.UnsafeSQLite(
            f"SQLite {sqlite_version()} has the WAL-reset bug (fixed in 3.51.3)",
            hint="pip install 'pysqlite3>=0.6.1', or a Python that links a newer SQLite",
            code="wal-reset-bug",
        )


def sqlite_version() -> str:
    """Return the version of the SQLite library in use."""
    return str(driver().sqlite_version)


def connect(
    path: str, *, mode: str = "rw", durability: str = "full", busy_timeout_s: float = 30.0
) -> Any:  # noqa: ANN401 - one of two drivers' Connection
    """Open one connection, its pragmas set and its journal mode verified.

    Args:
        path: the database file.
        mode: "ro" (changes nothing but ``-shm``), "rw", or "rwc" (may create).
        durability: "full" or "normal" (``synchronous``).
        busy_timeout_s: how long SQLite waits for another's lock.

    Raises:
        StorageError: as :func:`translated` names it.
        UnsafeSQLite: something else in this process has the file open.

    """
    check_system()
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}"  # a name need not be UTF-8
    try:
        with opening(path):
            connection = driver().connect(
                uri,
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=busy_timeout_s,
                cached_statements=256,
            )
            try:
                _set_pragmas(connection, mode, durability, busy_timeout_s)
            except BaseException:
                connection.close()  # or it would be open for as long as somebody keeps the error
                raise
    except (driver().Error, OSError, UnicodeDecodeError) as error:
        raise translated(error, path) from error
    return connection


def _set_pragmas(connection: Any, mode: str, durability: str, wait_s: float) -> None:  # noqa: ANN401
    execute = connection.execute
    for pragma in (
        "foreign_keys=ON",
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "mmap_size=0",
    ):
        execute(f"PRAGMA {pragma}")
    if mode == "ro":
        return
    if IS_DARWIN:
        # For the log and for what a checkpoint writes. Without it SQLite calls fsync, which there
        # leaves it all in the drive's cache: a power cut could take back what was acknowledged,
        # and damage the database.
        execute("PRAGMA fullfsync=ON")
    answer = _in_wal_mode(execute, wait_s)
    if answer != "wal":
        message = f"this file system does not carry SQLite's WAL (journal_mode is {answer!r})"
        raise errors.UnsafeSQLite(message, hint="keep the journal on a local disk")
    execute(f"PRAGMA synchronous={DURABILITY[durability]}")  # per connection, never stored
    execute("PRAGMA secure_delete=ON")
    execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
    if is_compatible_mode():
        # The log may only be folded in while nobody writes: the store does it, in its turn.
        execute("PRAGMA wal_autocheckpoint=0")


def _in_wal_mode(execute: Callable[[str], Any], wait_s: float) -> str:
    """Switch to WAL unless it is so already; return the mode.

    The switch needs the file for itself for a moment, and SQLite does not ask
    its busy handler then: where many processes open a new journal at once, all
    but one are told "busy" at once.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            if execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return "wal"
            return str(execute("PRAGMA journal_mode=WAL").fetchone()[0])
        except driver().OperationalError as error:
            if (
                not str(error.sqlite_errorname).startswith("SQLITE_BUSY")
                or time.monotonic() > deadline
            ):
                raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - only to come apart


def writing_engine(
    path: str, *, durability: str = "full", busy_timeout_s: float = 30.0, create: bool = True
) -> Engine:
    """Return an engine whose every transaction begins IMMEDIATE.

    A deferred transaction that turns into a writer fails with SQLITE_BUSY at
    once when another writer came between; an immediate one waits its turn.
    """
    mode = "rwc" if create else "rw"
    return _engine(
        lambda: connect(path, mode=mode, durability=durability, busy_timeout_s=busy_timeout_s),
        "BEGIN IMMEDIATE",
    )


def reading_engine(path: str, *, busy_timeout_s: float = 30.0) -> Engine:
    """Return an engine that can change nothing (``mode=ro``)."""
    return _engine(lambda: connect(path, mode="ro", busy_timeout_s=busy_timeout_s), "BEGIN")


def _engine(creator: Any, begin: str) -> Engine:  # noqa: ANN401
    # Imported when needed: SQLAlchemy costs 200 ms, and --help must not pay them.
    from sqlalchemy import NullPool, create_engine, event  # noqa: PLC0415

    engine = create_engine("sqlite://", module=driver(), creator=creator, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:  # noqa: ANN401
        connection.exec_driver_sql(begin)

    return engine


def is_driver_error(error: BaseException) -> bool:
    """Whether an error is the driver's own, to be translated."""
    # A catalogue written by hand may hold text that the driver cannot even decode.
    if isinstance(error, UnicodeDecodeError) or hasattr(error, "sqlite_errorname"):
        return True
    return hasattr(error, "sqlstate")  # PostgreSQL's


def is_busy(error: BaseException) -> bool:
    """Whether another connection had the lock for longer than SQLite was told to wait."""
    return str(getattr(error, "sqlite_errorname", "")).startswith("SQLITE_BUSY")


def raise_translated(error: BaseException, where: str) -> NoReturn:
    """Raise the journal's own error for any other; its own, and signals, as they are: none is its own cause."""
    if isinstance(error, errors.JournalError) or not isinstance(error, Exception):
        raise error
    raise translated(error, where) from error


def translated(error: BaseException, where: str = "the journal") -> errors.JournalError:
    """Return the journal's own error for a driver's, told by its name and never by its text.

    Constraint failures come out as :class:`StorageError` with the code
    "constraint"; what is not a driver's error comes out unchanged in kind as
    the cause of a :class:`StorageError`.
    """
    if isinstance(error, errors.JournalError):
        return error
    original = getattr(error, "orig", None) or error
    if isinstance(original, UnicodeDecodeError):
        return _corrupt(where, original)
    if hasattr(original, "sqlstate"):
        return postgres.translated(original, where)
    name = getattr(original, "sqlite_errorname", None) or ""
    for prefix, make in _NAMES.items():
        if name.startswith(prefix):
            return make(where, original)
    return errors.StorageError(f"{where}: {original}", hint="journal audit")


def _busy(where: str, _: BaseException) -> errors.JournalError:
    message = f"{where}: another process held the write lock for too long"
    return errors.BusyError(message, hint="try again; a longer busy_timeout waits longer")


def _full(where: str, _: BaseException) -> errors.JournalError:
    return errors.FullError(
        f"{where}: no space left; nothing of this write was kept",
        hint="free some space and try again",
    )


def _read_only(where: str, _: BaseException) -> errors.JournalError:
    return errors.ReadOnlyError(
        f"{where} cannot be written here",
        hint="check the owner and mode of the file and its directory",
    )


def _cannot_open(where: str, _: BaseException) -> errors.JournalError:
    return errors.ReadOnlyError(
        f"{where} cannot be opened", hint="check that its directory exists and may be written"
    )


def _corrupt(where: str, error: BaseException) -> errors.JournalError:
    return errors.CorruptError(f"{where}: {error}", hint="journal audit  # shows what is damaged")


def _io_error(where: str, error: BaseException) -> errors.JournalError:
    name = getattr(error, "sqlite_errorname", "")
    return errors.StorageError(
        f"{where}: the system could not read or write it ({error}, {name})",
        hint="look at the disk and its space (dmesg, df), then try again; journal doctor tells what is known",
        code="io-error",
    )


def _not_a_database(where: str, _: BaseException) -> errors.JournalError:
    return errors.CorruptError(
        f"{where} is not a database", code="not-a-database", hint="name another file with --db"
    )


def _constraint(where: str, error: BaseException) -> errors.JournalError:
    return errors.StorageError(f"{where}: {error}", code="constraint", hint="journal audit")


_NAMES: Final = {
    "SQLITE_BUSY": _busy,
    "SQLITE_LOCKED": _busy,
    "SQLITE_FULL": _full,
    "SQLITE_READONLY": _read_only,
    "SQLITE_PERM": _read_only,
    "SQLITE_CANTOPEN": _cannot_open,
    "SQLITE_NOTADB": _not_a_database,
    "SQLITE_CORRUPT": _corrupt,
    "SQLITE_IOERR_CORRUPTFS": _corrupt,
    "SQLITE_IOERR_SHORT_READ": _corrupt,
    "SQLITE_IOERR": _io_error,
    "SQLITE_CONSTRAINT": _constraint,
}

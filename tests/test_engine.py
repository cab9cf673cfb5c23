"""The engine: which library, which pragmas, which BEGIN, and errors by their names."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from journal import engine, errors
from journal.engine import (
    connect,
    driver,
    reading_engine,
    translated,
    wal_reset_fixed,
    writing_engine,
)
from tests.limits import nothing_may_be_written, small_disk
from tests.thieves import raw


@pytest.fixture
def database(tmp_path) -> str:
    path = str(tmp_path / "plain.db")
    connection = connect(path, mode="rwc")
    connection.execute("CREATE TABLE t(x UNIQUE)")
    connection.close()
    return path


# --- which library


@pytest.mark.parametrize(
    "version, is_fixed",
    [
        *(
            ((3, 40, 1), False),
            ((3, 44, 5), False),
            ((3, 44, 6), True),
            ((3, 44, 99), True),
            ((3, 45, 0), False),
        ),
        *(
            ((3, 50, 4), False),
            ((3, 50, 6), False),
            ((3, 50, 7), True),
            ((3, 51, 0), False),
            ((3, 51, 1), False),
        ),
        *(
            ((3, 51, 2), False),
            ((3, 51, 3), True),
            ((3, 52, 0), True),
            ((3, 53, 4), True),
            ((4, 0, 0), True),
        ),
    ],
)
def test_which_versions_have_the_wal_reset_bug(version, is_fixed):
    """Fixed in 3.51.3, with backports 3.50.7 and 3.44.6."""
    assert wal_reset_fixed(version) is is_fixed


def test_one_driver_for_the_whole_process():
    assert driver() is driver()
    assert engine.sqlite_version() == driver().sqlite_version


class Library:
    """A driver that links some SQLite."""

    def __init__(self, version: str) -> None:
        self.sqlite_version = version
        self.sqlite_version_info = tuple(map(int, version.split(".")))


@pytest.mark.parametrize(
    "stdlib, other, chosen",
    [
        ("3.51.3", "3.53.4", "stdlib"),
        ("3.40.1", "3.53.4", "other"),
        ("3.40.1", "3.51.1", "stdlib"),
        ("3.40.1", None, "stdlib"),
    ],
)
def test_the_linked_version_decides_and_an_affected_one_is_said(
    monkeypatch, recwarn, stdlib, other, chosen
):
    """The standard library if it is fixed, else pysqlite3 if that is, else with a warning."""
    libraries: dict[str, Any] = {"stdlib": Library(stdlib)}
    if other is not None:
        libraries["other"] = Library(other)

    def import_module(_: str) -> Any:
        if other is None:
            raise ImportError
        return libraries["other"]

    monkeypatch.setattr(engine, "sqlite3", libraries["stdlib"])
    monkeypatch.setattr("importlib.import_module", import_module)

    assert engine._choose() is libraries[chosen]

    is_affected = not wal_reset_fixed(libraries[chosen].sqlite_version_info)
    assert [warning.category for warning in recwarn] == [RuntimeWarning] * is_affected
    assert all("pysqlite3" in str(warning.message) for warning in recwarn)


# --- which pragmas


PRAGMAS = {
    "foreign_keys": 1,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "mmap_size": 0,
    "journal_mode": "wal",
    "synchronous": 2,
    "secure_delete": 1,
    "journal_size_limit": engine.WAL_LIMIT_BYTES,
}


@pytest.mark.parametrize("pragma", PRAGMAS)
def test_a_writing_connection_has_every_pragma(database, pragma):
    found = connect(database).execute(f"PRAGMA {pragma}").fetchone()

    assert found == (PRAGMAS[pragma],)


@pytest.mark.parametrize(
    "pragma", ["foreign_keys", "trusted_schema", "cell_size_check", "mmap_size"]
)
def test_a_reading_connection_has_those_that_guard_it(database, pragma):
    assert connect(database, mode="ro").execute(f"PRAGMA {pragma}").fetchone() == (PRAGMAS[pragma],)


def test_every_connection_of_an_engine_has_them(database):
    """``synchronous`` is per connection, never stored: the second connection needs it as well."""
    made = writing_engine(database)
    for _ in range(2):
        with made.begin() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
            assert connection.exec_driver_sql("PRAGMA secure_delete").scalar_one() == 1
    made.dispose()


def test_normal_durability_is_a_choice(database):
    assert connect(database, durability="normal").execute("PRAGMA synchronous").fetchone() == (1,)


def test_a_file_that_cannot_carry_a_wal_is_refused(tmp_path, monkeypatch):
    """The answer to ``journal_mode=WAL`` is read, not assumed."""
    path = str(tmp_path / "old.db")
    other = raw(path, isolation_level=None)
    other.execute("CREATE TABLE t(x)")
    real = driver().connect

    class NoWal:
        def __init__(self, *args: object, **kwargs: object) -> None:
            self.connection = real(*args, **kwargs)

        def execute(self, statement: str):
            return self.connection.execute(statement.replace("=WAL", "=DELETE"))

        def close(self) -> None:
            self.connection.close()

    monkeypatch.setattr(driver(), "connect", NoWal)

    with pytest.raises(errors.UnsafeSQLite, match="delete") as caught:
        connect(path)
    assert caught.value.hint


@pytest.mark.parametrize(
    "name", ["a b.db", "a?mode=memory.db", "a#b.db", "a%20b.db", "é門.db", "'.db"]
)
def test_any_file_name_is_that_file(tmp_path, name):
    """A path is quoted into the URI, so that nothing in it is an option."""
    connect(str(tmp_path / name), mode="rwc").execute("CREATE TABLE t(x)")

    assert [path.name for path in tmp_path.glob("*.db")] == [name]


def test_no_file_is_made_unless_asked(tmp_path):
    with pytest.raises(errors.ReadOnlyError):
        connect(str(tmp_path / "absent.db"))
    assert list(tmp_path.glob("absent*")) == []


# --- which BEGIN


def test_a_writing_engine_takes_the_lock_at_once(database):
    """A deferred transaction would fail later, when it turned into a writer."""
    made = writing_engine(database)
    other = raw(database, isolation_level=None, timeout=0)
    with made.begin(), pytest.raises(driver().OperationalError):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    made.dispose()


def test_a_reading_engine_changes_nothing(database):
    made = reading_engine(database)
    with made.begin() as connection, pytest.raises(OperationalError):
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    made.dispose()


def test_a_rollback_takes_tables_back_too(database):
    """With a BEGIN of our own, what SQLite calls DDL is in the transaction."""
    made = writing_engine(database)
    with pytest.raises(ZeroDivisionError):
        fail_after(made, "CREATE TABLE other(x)")
    with made.begin() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE type='table'")
        assert tables.scalars().all() == ["t"]
    made.dispose()


def fail_after(made, statement: str) -> None:
    with made.begin() as connection:
        connection.exec_driver_sql(statement)
        raise ZeroDivisionError


# --- errors, each from a real database


def caught_by(connection, *statements: str) -> Exception:
    *before, last = statements
    for statement in before:
        connection.execute(statement)
    with pytest.raises(driver().Error) as caught:
        connection.execute(last)
    error: Exception = caught.value
    return error


def held(database: str) -> Exception:
    holder = connect(database)
    holder.execute("BEGIN IMMEDIATE")
    return caught_by(connect(database, busy_timeout_s=0), "BEGIN IMMEDIATE")


def full(database: str) -> Exception:
    connection = connect(database)
    connection.execute("PRAGMA max_page_count=3")
    return caught_by(connection, "INSERT INTO t VALUES (zeroblob(100000))")


def read_only(database: str) -> Exception:
    return caught_by(connect(database, mode="ro"), "INSERT INTO t VALUES (1)")


def constraint(database: str) -> Exception:
    return caught_by(connect(database), "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)")


def not_a_database(database: str) -> Exception:
    path = database + ".txt"
    with open(path, "wb") as file:  # noqa: PTH123 - a text file, and no database of ours
        file.write(b"not a database, but quite long enough to look like one " * 40)
    return caught_by(driver().connect(path), "SELECT * FROM sqlite_schema")


def damaged(database: str) -> Exception:
    connection = connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with open(database, "r+b") as file:  # noqa: PTH123 - nobody has it open
        file.seek(4096)
        file.write(b"\xff" * 4096)
    return caught_by(connect(database), "SELECT * FROM t")


def cannot_open(database: str) -> Exception:
    with pytest.raises(driver().Error) as caught:
        driver().connect("file:/nowhere/at/all.db?mode=rw", uri=True)
    error: Exception = caught.value
    return error


@pytest.mark.parametrize(
    "make, kind, code",
    [
        (held, errors.BusyError, "busy"),
        (full, errors.FullError, "full"),
        (read_only, errors.ReadOnlyError, "read-only"),
        (cannot_open, errors.ReadOnlyError, "read-only"),
        (constraint, errors.StorageError, "constraint"),
        (not_a_database, errors.CorruptError, "not-a-database"),
        (damaged, errors.CorruptError, "corrupt"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_real_error_of_the_driver_becomes_ours(database, make, kind, code):
    """Told by its name; with the place, a hint, and no words of SQLite's about locks."""
    error = translated(make(database), "agent.db")

    assert type(error) is kind
    assert error.code == code
    assert "agent.db" in str(error)
    assert error.hint
    assert "database is locked" not in str(error)


@pytest.mark.parametrize(
    "name, code",
    [
        ("SQLITE_IOERR_SHMSIZE", "io-error"),
        ("SQLITE_IOERR_FSYNC", "io-error"),
        ("SQLITE_IOERR_SHORT_READ", "corrupt"),
    ],
)
def test_a_disk_that_fails_is_not_a_damaged_journal(name, code):
    """No more room for the shared memory says nothing of what is in the file."""
    error = driver().OperationalError("disk I/O error")
    error.sqlite_errorname = name

    told = translated(error, "agent.db")

    assert (told.code, told.hint is None) == (code, False)


def test_a_wrapped_error_is_told_by_what_it_wraps(database):
    made = writing_engine(database)
    with pytest.raises(Exception, match="UNIQUE") as caught, made.begin() as connection:
        insert_twice(connection)
    made.dispose()

    assert translated(caught.value).code == "constraint"


def insert_twice(connection) -> None:
    for _ in range(2):
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")


def test_our_own_errors_come_out_as_they_are():
    error = errors.EntryError("x")

    assert translated(error) is error


def test_anything_else_is_a_storage_error_that_says_what():
    error = translated(ZeroDivisionError("out of luck"), "agent.db")

    assert type(error) is errors.StorageError
    assert "out of luck" in str(error)
    assert error.hint


def test_a_disk_that_is_really_full(tmp_path):
    with small_disk(tmp_path / "disk", "256k") as disk:
        connection = connect(str(disk / "a.db"), mode="rwc")
        connection.execute("CREATE TABLE t(x)")
        error = translated(caught_by(connection, "INSERT INTO t VALUES (zeroblob(1000000))"))
        connection.close()

    assert type(error) is errors.FullError


def test_a_directory_that_is_really_read_only(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    with nothing_may_be_written(place), pytest.raises(errors.ReadOnlyError) as caught:
        connect(str(place / "a.db"), mode="rwc")

    assert caught.value.hint

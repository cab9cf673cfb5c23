"""The schema: what the migrations make is what the tables say and what is checked at each open."""

from __future__ import annotations

import hashlib

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from journal import Journal, SchemaError, StorageError, schema, tables
from journal.engine import APPLICATION_ID, driver
from tests.thieves import KEY


@pytest.fixture
def migrated():
    """Give a connection to a database that has had every migration."""
    engine = create_engine("sqlite://", module=driver())
    with engine.begin() as connection:
        schema.run_migrations(connection)
        yield connection


def test_the_tables_are_what_the_migrations_make(migrated):
    """Alembic finds nothing to add, drop or change."""
    context = MigrationContext.configure(migrated, opts={"compare_type": True})

    assert compare_metadata(context, tables.metadata) == []


def test_every_column_is_as_the_tables_say_and_in_their_order(migrated):
    """The hot paths name columns by their place."""
    for table in tables.metadata.tables.values():
        found = migrated.exec_driver_sql(f"PRAGMA table_xinfo({table.name})").fetchall()
        assert [(row[1], bool(row[3])) for row in found] == [
            (column.name, not column.nullable) for column in table.columns
        ], table.name
        kinds = {"BIGINT": "INTEGER", "INTEGER": "INTEGER", "TEXT": "TEXT", "BLOB": "BLOB"}
        assert [row[2] for row in found] == [
            kinds[column.type.compile(dialect=migrated.dialect)] for column in table.columns
        ], table.name


def test_every_table_is_strict_and_every_constraint_named(migrated):
    rows = migrated.exec_driver_sql(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main'"
    )
    strict = dict(tuple(row) for row in rows)
    for table in tables.metadata.tables.values():
        assert strict[table.name] == 1
        assert all(constraint.name for constraint in table.constraints)
        assert not table.foreign_keys  # no cascade, and no entry hangs on a projection


def test_the_digest_is_that_of_the_migrations(migrated):
    """A change to the first revision's text would lock every journal out; so it is pinned."""
    found = schema.objects(migrated.exec_driver_sql)

    assert schema.digest(found) == schema.SCHEMA_DIGESTS[schema.SCHEMA_VERSION]
    assert schema.expected_objects() == found
    assert {item.type for item in found} == {"table", "index", "trigger"}


def test_the_digest_depends_on_every_part(migrated):
    found = schema.objects(migrated.exec_driver_sql)
    for number, item in enumerate(found):
        for part in item._fields:
            changed = [*found]
            changed[number] = item._replace(**{part: "x"})
            assert schema.digest(changed) != schema.digest(found)


def test_a_new_journal_says_what_it_is(journal, thief):
    assert thief.ask("PRAGMA application_id") == APPLICATION_ID == int.from_bytes(b"SJRN")
    assert thief.ask("PRAGMA user_version") == schema.SCHEMA_VERSION
    assert thief.ask("SELECT version_num FROM alembic_version") == "0001"
    assert schema.version_of(str(journal.path)) == schema.SCHEMA_VERSION


def test_creating_twice_is_creating_once(journal, journal_path):
    def never(_: object) -> None:
        raise AssertionError("there was a journal already")

    assert schema.create(str(journal_path), never) is False


def test_a_creation_that_fails_leaves_nothing_behind(journal_path):
    """Half a schema would be nobody's: the next open makes a whole journal."""

    def fails(_: object) -> None:
        raise ZeroDivisionError("out of luck")

    with pytest.raises(StorageError, match="out of luck"):
        schema.create(str(journal_path), fails)

    assert schema.version_of(str(journal_path)) is None
    with Journal(journal_path) as journal:
        assert journal.session("s", writer="w", role="run").append({"n": 1}).seq == 1


def test_no_file_and_an_empty_file_are_no_journal_yet(journal_path):
    assert schema.version_of(str(journal_path)) is None
    journal_path.touch()
    assert schema.version_of(str(journal_path)) is None
    with Journal(journal_path) as journal:
        assert journal.sessions() == []


def make_database(path, *statements: str) -> None:
    connection = driver().connect(str(path), isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def bytes_of(path) -> dict[str, str]:
    """Digest every file of a closed database but ``-shm``; looking may leave an empty ``-wal``."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.parent.glob(path.name + "*")
        if not file.name.endswith("-shm") and file.stat().st_size
    }


@pytest.mark.parametrize("newer", [2, 3, 2**31 - 1])
def test_a_newer_schema_is_refused_untouched_byte_for_byte(journal_path, newer):
    """Neither opening nor upgrading changes a byte, a name or a size of it."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="w", role="run").append({"n": 1})
    make_database(journal_path, f"PRAGMA user_version={newer}")
    before = bytes_of(journal_path)

    for attempt in (Journal, lambda path: Journal(path, create=False)):
        with pytest.raises(SchemaError) as caught:
            attempt(journal_path)
        assert caught.value.code == "schema-newer"
        assert caught.value.exit_code == 12
        assert str(newer) in str(caught.value)
        assert caught.value.hint

    assert bytes_of(journal_path) == before


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE theirs(x)"],
        ["CREATE TABLE entries(x)"],
        ["CREATE TABLE theirs(x)", "PRAGMA application_id=42", "PRAGMA user_version=1"],
        ["CREATE TABLE theirs(x)", "PRAGMA journal_mode=WAL"],
    ],
)
def test_another_programs_database_is_left_as_it_is(journal_path, statements):
    make_database(journal_path, *statements)
    before = bytes_of(journal_path)

    with pytest.raises(SchemaError) as caught:
        Journal(journal_path)

    assert caught.value.code == "not-a-journal"
    assert caught.value.hint
    assert bytes_of(journal_path) == before


def test_an_older_schema_is_never_upgraded_by_opening(journal_path):
    with Journal(journal_path):
        pass
    make_database(journal_path, "PRAGMA user_version=0")
    before = bytes_of(journal_path)

    with pytest.raises(SchemaError) as caught:
        Journal(journal_path)

    assert caught.value.code == "schema-older"
    assert caught.value.hint == "journal upgrade --apply"
    assert bytes_of(journal_path) == before


def test_an_upgrade_that_has_nothing_to_do(journal_path):
    """The rows stay, the version is said."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="w", role="run").append({"n": 1})

    assert schema.upgrade(str(journal_path)) == schema.SCHEMA_VERSION

    with Journal(journal_path) as journal:
        assert len(journal.session(KEY).read()) == 1


def test_what_is_restored_is_said(journal, thief):
    """What was foreign, what was missing and what was changed, each by its name."""
    thief.connection.executescript(
        "DROP TRIGGER entries_delete; DROP TRIGGER entries_update;"
        "CREATE TRIGGER entries_update BEFORE UPDATE ON entries BEGIN SELECT 1; END;"
        "CREATE TRIGGER his BEFORE INSERT ON entries BEGIN SELECT 1; END;"
        'CREATE INDEX "his ""index""" ON entries(kind)'
    )

    changes = schema.restore(str(journal.path))

    assert {(what, item.name) for what, item in changes} == {
        ("missing", "entries_delete"),
        ("changed", "entries_update"),
        ("foreign", "his"),
        ("foreign", 'his "index"'),
    }
    assert schema.restore(str(journal.path)) == []


def test_restoring_leaves_other_programs_tables_alone(journal, thief):
    thief.connection.executescript(
        "CREATE TABLE theirs(x); CREATE INDEX i ON theirs(x); INSERT INTO theirs VALUES(1)"
    )

    assert schema.restore(str(journal.path)) == []
    assert thief.count("theirs") == 1

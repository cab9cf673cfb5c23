"""`journal upgrade` on a server: what of the schema is another, and triggers put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, SchemaError
from journal.audit import audit
from journal.dialects import restoring
from journal.dialects.address import parsed
from journal.schema import run_migrations
from tests.postgres.test_server import run
from tests.thieves import KEY, ServerThief, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import Server


SWALLOWING = (
    "CREATE OR REPLACE FUNCTION entries_insert() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RETURN NULL; END $$"
)


@pytest.fixture
def thief(journal: Journal, journal_path: str) -> Iterator[ServerThief]:
    journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    found: Any = thief_at(journal_path)
    yield found
    found.close()


def test_what_is_as_it_should_be_is_left_so(journal: Journal, journal_path: str) -> None:
    del journal
    done = run(journal_path, "upgrade")
    assert (done.exit_code, "nothing to do" in done.stderr) == (0, True)
    version, found = restoring.look(parsed(journal_path), run_migrations)
    assert (version, found) == (1, [])


def test_triggers_and_indexes_are_put_back(
    thief: ServerThief, journal_path: str, server: Server
) -> None:
    for statement in (
        "DROP TRIGGER entries_delete ON entries",
        "ALTER TABLE entries DISABLE TRIGGER entries_update",
        SWALLOWING,
        "CREATE TRIGGER mine BEFORE INSERT ON meta FOR EACH ROW EXECUTE FUNCTION entries_insert()",
        "CREATE RULE hide AS ON DELETE TO writers DO INSTEAD NOTHING",
        "DROP INDEX ix_entries_control",
        "CREATE UNIQUE INDEX theirs_only ON entries (session_id, seq, epoch)",
        'CREATE INDEX "x; DROP TABLE writers; --" ON entries (epoch)',
        "DROP INDEX ix_migrated_files_path",
        "CREATE INDEX ix_migrated_files_path ON migrated_files (session_id)",
        "CREATE TABLE theirs (n int)",
    ):
        thief.execute(statement)
    with pytest.raises(SchemaError) as caught:
        Journal(journal_path)
    assert "journal upgrade --apply" in str(caught.value.hint)
    assert {finding.id for finding in audit(journal_path).findings} == {"J503"}

    done = run(journal_path, "upgrade")
    assert done.exit_code == 3
    assert [line.split("\t")[:3] for line in done.stdout.splitlines()[2:]] == [
        ["changed", "index", "ix_migrated_files_path"],
        ["changed", "trigger", "entries_insert"],
        ["changed", "trigger", "entries_update"],
        ["foreign", "index", "theirs_only"],
        ["foreign", "index", "x; DROP TABLE writers; --"],
        ["foreign", "rule", "hide"],
        ["foreign", "trigger", "mine"],
        ["missing", "index", "ix_entries_control"],
        ["missing", "trigger", "entries_delete"],
    ]
    done = run(journal_path, "upgrade", "--apply")
    assert (done.exit_code, "Done." in done.stderr) == (0, True)
    assert audit(journal_path).findings == ()
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    with pytest.raises(Exception, match="an entry never vanishes"):
        thief.execute("DELETE FROM entries")
    assert thief.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    with server.connect() as plain:
        left = plain.execute("SELECT 1 FROM pg_namespace WHERE nspname LIKE 'journal_as%'")
        assert left.fetchall() == []


def test_a_name_is_a_name_whatever_it_holds(thief: ServerThief, journal_path: str) -> None:
    """Who may make a trigger runs no SQL as the one who upgrades."""
    names = [f'x" ON {each}; DROP TABLE sessions CASCADE; --' for each in ("entries", "writers")]
    trigger, rule = ('"{}"'.format(each.replace('"', '""')) for each in names)
    thief.execute(
        f"CREATE TRIGGER {trigger} BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION entries_insert()"
    )
    thief.execute(f"CREATE RULE {rule} AS ON DELETE TO writers DO INSTEAD NOTHING")
    done = run(journal_path, "upgrade")
    assert [line.split("\t")[2] for line in done.stdout.splitlines()[2:]] == names[::-1]
    done = run(journal_path, "upgrade", "--apply")
    assert (done.exit_code, "Done." in done.stderr) == (0, True)
    assert audit(journal_path).findings == ()
    assert restoring.look(parsed(journal_path), run_migrations) == (1, [])


def test_an_index_stays_with_its_constraint(thief: ServerThief, journal_path: str) -> None:
    """Which refuses rows: a person says whether it goes. What else there is, is put right."""
    thief.execute("ALTER TABLE writers ADD CONSTRAINT theirs UNIQUE (id, name)")
    thief.execute("ALTER TABLE fences DROP CONSTRAINT pk_fences")
    thief.execute("CREATE INDEX more ON writers (name, id)")
    done = run(journal_path, "upgrade", "--apply")
    assert done.exit_code == 12
    assert "still foreign: the constraint theirs" in done.stderr
    left = restoring.look(parsed(journal_path), run_migrations)[1]
    assert {(each.what, each.type, each.name) for each in left if each.type != "column"} == {
        ("foreign", "constraint", "theirs"),
        ("foreign", "index", "theirs"),
        ("missing", "constraint", "pk_fences"),
        ("missing", "index", "pk_fences"),
    }


@pytest.mark.parametrize("version", [0, 2])
def test_another_versions_schema_is_left_alone(
    thief: ServerThief, journal_path: str, version: int
) -> None:
    """An older one until there is a step from it; a newer one by whoever does not know it."""
    thief.execute("DROP TRIGGER entries_delete ON entries")
    schema = parsed(journal_path).schema
    thief.execute(f"COMMENT ON SCHEMA {schema} IS 'session-journal schema {version}'")
    done = run(journal_path, "upgrade")
    assert done.exit_code == (12 if version else 3)
    done = run(journal_path, "upgrade", "--apply")
    assert done.exit_code == 12
    assert f"has schema {version}" in done.stderr
    with pytest.raises(SchemaError, match="nothing was changed"):
        restoring.restore(parsed(journal_path), run_migrations)
    assert (
        thief.execute(
            "SELECT 1 FROM pg_trigger WHERE tgname = 'entries_delete' AND tgrelid = 'entries'::regclass"
        ).fetchall()
        == []
    )
    with pytest.raises(SchemaError) as caught:
        Journal(journal_path)
    assert caught.value.code == ("schema-newer" if version else "schema-older")
    assert ("pip install" if version else "journal upgrade") in str(caught.value.hint)


def test_a_table_is_never_changed(thief: ServerThief, journal_path: str) -> None:
    thief.execute("ALTER TABLE writers ADD COLUMN theirs int")
    done = run(journal_path, "upgrade", "--apply")
    assert done.exit_code == 12
    assert "still foreign: the column theirs" in done.stderr
    assert thief.execute("SELECT count(theirs) FROM writers").fetchone() == (0,)

"""What belongs to one session can be spread over servers by it: the rule that Citus and its like ask for."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal
from journal.dialects.address import parsed
from journal.dialects.postgres import connect
from journal.tables import OF_THE_JOURNAL, SESSION_OF, metadata, server_key

if TYPE_CHECKING:
    from collections.abc import Iterator

# Looked for by a name that does not tell the session; not unique, so each server has its own.
BY_NAME = {
    "ix_sessions_key",
    "ix_fences_id",
    "ix_verdicts_id",
    "ix_parked_id",
    "ix_pending_inputs_id",
    "ix_migrated_files_path",
}
INDEXES = (
    "SELECT c.relname, i.relname, x.indisunique, x.indisprimary, ARRAY("
    "SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k(number, place) "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number ORDER BY k.place) "
    "FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid "
    "WHERE c.relnamespace = %s::regnamespace AND c.relkind IN ('r', 'p')"
)


@pytest.fixture
def catalogue(journal_path: str) -> Iterator[Any]:
    Journal(journal_path).close()
    address = parsed(journal_path)
    with closing(connect(address)) as connection:
        yield lambda words: connection.execute(words, (address.schema,)).fetchall()


def test_each_table_is_spread_by_session_or_whole_on_each_server(catalogue: Any) -> None:
    words = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind IN ('r', 'p')"
    found = {name for (name,) in catalogue(words)} - {"alembic_version"}
    assert SESSION_OF.keys() | OF_THE_JOURNAL == found == set(metadata.tables)
    assert not SESSION_OF.keys() & OF_THE_JOURNAL


def test_what_is_unique_is_unique_within_a_session(catalogue: Any) -> None:
    """The session leads every primary key, and is in all that is unique."""
    unique = [row for row in catalogue(INDEXES) if row[2] and row[0] in SESSION_OF]
    assert {row[0] for row in unique if row[3]} == set(SESSION_OF)
    for table, name, _, _, columns in unique:
        assert columns[0] == SESSION_OF[table], name


def test_the_session_leads_each_index_but_those_by_name(catalogue: Any) -> None:
    others = [row for row in catalogue(INDEXES) if not row[2] and row[0] in SESSION_OF]
    led = {name for table, name, _, _, columns in others if columns[0] == SESSION_OF[table]}
    assert {row[1] for row in others} - led == BY_NAME


def test_no_constraint_reaches_beyond_a_session(catalogue: Any) -> None:
    """No foreign key, no exclusion: only what one server can hold by itself."""
    words = (
        "SELECT k.contype::text FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
        "WHERE c.relnamespace = %s::regnamespace AND k.contype <> 'n'"
    )
    assert {kind for (kind,) in catalogue(words)} == {"p", "c"}


def test_a_row_is_replaced_by_the_key_that_the_server_has(catalogue: Any) -> None:
    keys = {row[0]: row[4] for row in catalogue(INDEXES) if row[3]}
    for table in metadata.tables.values():
        assert server_key(table) == keys[table.name]

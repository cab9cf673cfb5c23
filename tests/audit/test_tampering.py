"""Any column of any row of any table, edited: found, or listed here as not detectable, and why."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from journal import tables
from journal.audit import audit
from journal.engine import driver

CLOCK: Final = "the clock is read once more for the row than for the entry, and orders nothing"
PEOPLE: Final = "a record for people, of which no sealed entry tells; nothing is decided by it"
NUMBER: Final = "a row's own number: no entry tells it"
KNOWN_UNDETECTABLE: Final = {
    (
        "entries",
        "id",
    ): "under no seal; only its order is checked, so it may move between its neighbours",
    ("layouts", "byte_start"): "not kept by this version: always 0, and read by nobody",
    ("redactions", "redacted_us"): CLOCK,
    ("redactions", "id"): NUMBER,
    ("mirrors", "added_us"): CLOCK,
    ("mirrors", "removed_us"): CLOCK,
    **{
        ("mirrors", name): "kept for people; how a mirror does is read off its file, each time"
        for name in ("state", "detail", "layout_no", "synced_to", "synced_boot_id", "mac")
    },
    ("claims", "claimed_us"): CLOCK,
    ("claims", "ended_us"): CLOCK,
    **{("migrations", column.name): PEOPLE for column in tables.migrations.c},
    **{
        ("migrated_files", name): PEOPLE
        for name in (
            "id",
            "migration_id",
            "path",
            "name",
            "alias",
            "format",
            "class",
            "mode",
            "migrated_us",
        )
    },
}
# What a thief can take away without a trace: no entry counts these rows.
KNOWN_TO_VANISH: Final = {
    *("fences", "verdicts", "parked", "pending_inputs", "migrations", "migrated_files"),
    "instances",  # those that wrote nothing; of the others below
}


@pytest.fixture
def full(busy, thief, tmp_path):
    """Give the busy journal a verdict, a redaction, inputs, a mirror and a migrated file as well."""
    said = busy.session("agent:main:said", writer="gateway", role="run")
    said.extend([{"n": 1}, {"secret": 2}, {"n": 3}])
    said.redact([2], reason="pasted")
    channel = busy.session("agent:main:said", writer="channel", role="channel")
    channel.submit({"say": 1}, request_id="say-1")
    with said.claim() as turn:
        turn.take_inputs()
        channel.submit({"say": 2}, request_id="say-2")
    busy.session(
        "agent:main:mirrored", writer="gateway", role="run", mirror=tmp_path / "session.jsonl"
    ).append({"n": 1})
    gateway = busy.session("agent:main:third", writer="gateway", role="run")
    gateway.append({"n": 1})
    fence = gateway.fence()
    outside = busy.session("agent:main:third", writer="outside", role="external")
    outside.append({"n": 2})
    fence.check(raise_=False)
    session_id = thief.session_id("agent:main:third")
    digest = sha256(b'{"n":1}\n').hexdigest()
    thief.execute("INSERT INTO migrations VALUES (1, '[]', 'done', 1, 1, 8, 0, 0)")
    thief.execute(
        f"INSERT INTO migrated_files VALUES (1, 1, {session_id}, '/x', 'x', NULL, 'pi', 'primary', 'done', "
        f"1, 1, 8, 1, 0, '{digest}', 420, 0)"
    )
    return busy


def told(path: Path) -> set[str]:
    return {str(finding.as_json()) for finding in audit(path).findings}


def forged(value: Any) -> Any:
    """Return another value of the same kind."""
    if value is None:
        return None
    if isinstance(value, int):
        return value + 1_000 if value < 2**62 else value - 1_000  # clear of other rows' numbers
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else b"\0"
    return value[:-1] + ("x" if value[-1:] != "x" else "y")


SAMPLE: Final = 6  # python -m tests.proof edits every kind of row a hundred thousand times
CELLS: Final = [
    (table.name, column.name) for table in tables.metadata.sorted_tables for column in table.c
]


@pytest.mark.parametrize("table, column", CELLS)
def test_every_column_of_every_table(full, thief, journal_path, table, column):
    """Each row's column in turn, edited and put back."""
    before = told(journal_path)
    if (table, column) in KNOWN_UNDETECTABLE:
        pytest.skip(KNOWN_UNDETECTABLE[table, column])
    rowids = sample([rowid for (rowid,) in thief.execute(f"SELECT rowid FROM {table}")], column)
    if not rowids:
        pytest.skip(f"this version writes no {table}")
    unseen = []
    for rowid in rowids:
        value = thief.ask(f'SELECT "{column}" FROM {table} WHERE rowid = ?', rowid)
        if value is None and is_number(table, column):
            other: Any = 1
        else:
            other = (
                (b"forged" if is_bytes(table, column) else "forged")
                if value is None
                else forged(value)
            )
        change(thief, table, column, rowid, other)
        now = other if column == primary(table) else rowid
        if told(journal_path) == before:
            unseen.append((rowid, value))
        change(thief, table, column, now, value)
    assert unseen == []
    assert told(journal_path) == before


def sample(rows: list[Any], name: str) -> list[Any]:
    """Return a few rows at most: both ends, and others of them for each name."""
    if len(rows) <= SAMPLE:
        return rows
    middle = rows[1:-1]
    return [rows[0], *Random(name).sample(middle, SAMPLE - 2), rows[-1]]  # noqa: S311 - no secret


def is_number(table: str, column: str) -> bool:
    return "INT" in str(tables.metadata.tables[table].c[column].type).upper()


def is_bytes(table: str, column: str) -> bool:
    return "BLOB" in str(tables.metadata.tables[table].c[column].type).upper()


def primary(table: str) -> str | None:
    """Return the column that is the row's own number, if there is one."""
    return "id" if "id" in tables.metadata.tables[table].c and is_number(table, "id") else None


def change(thief: Any, table: str, column: str, rowid: int, value: Any) -> None:
    with thief.without_triggers():
        thief.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', value, rowid)


@pytest.mark.parametrize("table", [table.name for table in tables.metadata.sorted_tables])
def test_a_row_that_is_taken_away(full, thief, journal_path, table):
    """Each row of each table: its loss is found, or the table is known for it."""
    before = told(journal_path)
    unseen = []
    names = [column.name for column in tables.metadata.tables[table].c]
    for rowid, *values in sample(thief.execute(f"SELECT rowid, * FROM {table}").fetchall(), table):
        with thief.without_triggers():
            thief.execute(f"DELETE FROM {table} WHERE rowid = ?", rowid)
        if told(journal_path) == before:
            unseen.append(values)
        with thief.without_triggers():
            marks = ", ".join("?" * (len(names) + 1))
            quoted = ", ".join(f'"{name}"' for name in names)
            thief.execute(f"INSERT INTO {table}(rowid, {quoted}) VALUES ({marks})", rowid, *values)
    if table == "instances":
        authors = {row[0] for row in thief.execute("SELECT DISTINCT instance_id FROM entries")}
        assert authors.isdisjoint(values[0] for values in unseen)
    if table in KNOWN_TO_VANISH:
        assert any("deleted from" in item for item in audit(journal_path).not_checked)
    else:
        assert unseen == []


def test_a_table_of_its_own_is_complete():
    """Whatever is listed as undetectable is a column that there is."""
    assert set(KNOWN_UNDETECTABLE) <= set(CELLS)
    assert all(KNOWN_UNDETECTABLE.values())


def test_the_threat_model_names_what_is_not_detectable():
    """And nothing that is."""
    text = (Path(__file__).parent.parent.parent / "docs" / "threat-model.md").read_text("utf-8")
    (section,) = re.findall(r"## What an edit may leave unnoticed\n(.*?)\n## ", text, re.DOTALL)
    named = set(re.findall(r"`(\w+)\.(\w+)`", section))
    of_files = re.search(r"of `migrated_files`: (.*?) \|", section)
    assert of_files is not None
    named |= {("migrated_files", name) for name in re.findall(r"`(\w+)`", of_files[1])}
    named |= {cell for cell in CELLS if cell[0] == "migrations"}
    assert named == set(KNOWN_UNDETECTABLE)
    assert all(f"`{table}`" in section for table in KNOWN_TO_VANISH)


# --- at random


VALUES: Final = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.binary(max_size=40)
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_random_edit_of_an_entry_is_found_or_changes_nothing(full, thief, journal_path, data):
    """Several columns of several rows at once, any value that the column takes."""
    before = told(journal_path)
    columns = [column.name for column in tables.entries.c if column.name != "id"]
    rowids = [rowid for (rowid,) in thief.execute("SELECT rowid FROM entries")]
    edits = data.draw(
        st.lists(
            st.tuples(st.sampled_from(rowids), st.sampled_from(columns), VALUES),
            min_size=1,
            max_size=4,
        )
    )
    thief.execute("BEGIN IMMEDIATE")
    kept = thief.triggers()
    thief.drop_triggers()
    whole = thief.execute("SELECT * FROM entries ORDER BY id").fetchall()
    for rowid, column, value in edits:
        try:
            thief.execute(f"UPDATE entries SET {column} = ? WHERE rowid = ?", value, rowid)
        except driver().Error:
            continue  # the table does not take such a value
    same = thief.execute("SELECT * FROM entries ORDER BY id").fetchall() == whole
    for _, text in kept:
        thief.execute(text)
    thief.execute("COMMIT")

    now = told(journal_path)

    restore(thief, whole)
    assert (now == before) is same
    assert told(journal_path) == before


def restore(thief: Any, whole: list[tuple[Any, ...]]) -> None:
    with thief.without_triggers():
        thief.execute("DELETE FROM entries")
        marks = ", ".join("?" * len(whole[0]))
        thief.connection.executemany(f"INSERT INTO entries VALUES ({marks})", whole)


def test_the_holder_of_the_key_leaves_no_trace(holder, report):
    """What the audit cannot tell, and says so: who held the key."""
    holder.append()

    told = report()

    assert told.findings == ()
    assert any("who held the key" in item for item in told.not_checked)

"""Migrated files: every byte that was read is there, and a receipt that says otherwise is found."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from journal.audit import audit
from journal.migration import apply, plan
from tests.thieves import Thief

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def migrated(journal) -> Path:
    """Migrate all the fixtures."""
    apply(journal, plan([FIXTURES]))
    return Path(journal.path)


@pytest.fixture
def robber(migrated) -> Iterator[Thief]:
    thief = Thief(migrated)
    yield thief
    thief.close()


def test_the_fixtures_migrate_and_the_audit_has_no_finding(migrated, robber):
    """Every file of every format, the edge cases included."""
    told = audit(migrated)

    assert list(map(str, told.findings)) == []
    assert told.verdict == "ok, not anchored"
    assert robber.count("migrated_files") > 10
    assert told.completeness["raw_lines"] > 0


def test_a_session_that_went_on_after_its_migration_has_no_finding(journal, migrated):
    key = journal.sessions()[-1].key
    journal.session(key, writer="gateway", role="run").append({"type": "message"})

    assert audit(migrated).findings == ()


@pytest.mark.parametrize(
    "column, value",
    [
        ("sha256", sha256(b"another").hexdigest()),
        ("bytes", 1),
        ("lines", 99_999),
        ("raw_lines", 99_999),
        ("last_seq", 1),
        ("first_seq", 2),
        ("state", "rumoured"),
    ],
)
def test_a_forged_receipt_is_found(migrated, robber, column, value):
    """J601, and nothing else."""
    number = robber.ask("SELECT id FROM migrated_files WHERE last_seq > 3")
    robber.execute(f"UPDATE migrated_files SET {column} = ? WHERE id = ?", value, number)

    (finding,) = audit(migrated).findings

    assert finding.id == "J601"
    assert finding.evidence[0]["path"]


def test_a_changed_byte_is_found_twice(migrated, robber):
    """By the entry's own commitment, and by the file's digest."""
    session_id = robber.ask("SELECT session_id FROM migrated_files WHERE last_seq > 3")
    key = robber.ask("SELECT key FROM sessions WHERE id = ?", session_id)
    robber.edit("body", 2, b"{}", key)

    findings = audit(migrated).findings

    assert [finding.id for finding in findings] == ["J303", "J601"]
    assert {finding.session for finding in findings} == {key}


def test_a_receipt_of_a_session_that_is_not_there(migrated, robber):
    """J602."""
    robber.execute("UPDATE migrated_files SET session_id = 999 WHERE id = 1")

    assert "J602" in {finding.id for finding in audit(migrated).findings}

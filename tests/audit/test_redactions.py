"""What was erased on record: as sealed entries name it, and as the table says."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit.redactions import Redacted, _is_whole, sizes, table_faults
from journal.controls import encode
from journal.pages import rows_of
from tests.thieves import KEY

KNOWN = {4: Redacted(7, 9, 2, "pasted"), 5: Redacted(8, 9, 2, "pasted")}
TRUE = [(1, 2, 4, 9, 2, b"pasted", 100), (2, 2, 5, 9, 2, b"pasted", 100)]
NOT_SEALED = "no sealed redaction accounts for the row"


def test_the_table_of_redactions_says_what_sealed_entries_say():
    assert sizes(KNOWN) == {4: 7, 5: 8}
    assert list(table_faults(TRUE, KNOWN)) == []
    assert list(table_faults(TRUE[1:], KNOWN)) == [("a row is gone", {"seq": 4})]
    assert list(table_faults([*TRUE, (3, 2, 6, 9, 2, b"pasted", 100)], KNOWN)) == [
        (NOT_SEALED, {"seq": 6})
    ]
    assert list(table_faults([*TRUE, TRUE[0]], KNOWN)) == [(NOT_SEALED, {"seq": 4})]


@pytest.mark.parametrize("at, value", [(3, 8), (4, 3), (5, b"other")])
def test_a_row_of_the_table_that_was_edited_is_told(at, value):
    edited = (*TRUE[0][:at], value, *TRUE[0][at + 1 :])
    told = {"seq": 4, "expected": KNOWN[4]._asdict()}
    assert list(table_faults([edited, TRUE[1]], KNOWN)) == [("a row was edited", told)]


def test_a_redacted_line_that_is_there_again_is_told(busy, thief, report):
    body = thief.column("body", 2)
    salt = thief.column("salt", 2)
    busy.session(KEY, writer="heartbeat", role="heartbeat").redact([2], reason="pasted")
    assert report().findings == ()
    thief.edit("body", 2, body)
    thief.edit("salt", 2, salt)
    assert ("J310", ((2, 2),)) in [(finding.id, finding.ranges) for finding in report().findings]


@pytest.mark.parametrize("has_key", [True, False])
def test_a_fact_that_was_edited_into_a_redaction_hides_no_erased_line(
    busy, thief, report, tmp_path, has_key
):
    """The line's own seal holds without its bytes; only a redaction that is as it was sealed explains that."""
    heartbeat = busy.session(KEY, writer="heartbeat", role="heartbeat")
    heartbeat.redact([2], reason="pasted")
    control, size = heartbeat.head.seq, len(thief.column("body", 3))
    thief.edit("body", control, encode("redaction", rows={"3": size}, reason="pasted"))
    for column in ("body", "salt", "line_type", "line_id", "parent_id"):
        thief.edit(column, 3, None)

    found = report() if has_key else report(key_file=tmp_path / "none")

    told = {(finding.id, finding.ranges) for finding in found.findings}
    assert {("J303", ((control, control),)), ("J305", ((2, 3),))} <= told


def test_a_parked_write_without_its_lines_is_told_unless_a_redaction_can_have_taken_them(
    busy, thief, report
):
    parked_id = thief.ask("SELECT id FROM parked WHERE settled IS NULL")
    thief.execute("UPDATE parked SET content = NULL")
    (finding,) = report().findings
    assert (finding.id, finding.evidence) == ("J411", ({"id": parked_id},))
    busy.session(KEY, writer="heartbeat", role="heartbeat").redact([2], reason="pasted")
    assert report().findings == ()


def test_a_row_that_somebody_accepted_is_told_no_more_while_it_is_the_same(busy, thief, report):
    """By its digest: another row in its place is another."""
    heartbeat = busy.session(KEY, writer="heartbeat", role="heartbeat")
    seq = thief.insert_copy()
    heartbeat.append({"n": 1})
    assert [finding.id for finding in report().findings] == ["J302"]
    heartbeat.resolve([seq], accept=True, reason="it was us")
    assert report().findings == ()
    thief.edit("created_us", seq, 5)
    assert {finding.id for finding in report().findings} == {"J307", "J301"}


def test_a_fact_with_a_value_that_nothing_could_be_sealed_with_is_not_whole(busy):
    with busy.store.snapshot() as cursor:
        row: Any = next(rows_of(cursor, 1, 1))
    assert _is_whole(row, None)
    assert not _is_whole(row._replace(body=b"{}"), None)
    assert not _is_whole(row._replace(salt=7), None)

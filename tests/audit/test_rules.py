"""The rules of one entry and the one before it: where each begins to be broken."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit import rules
from journal.audit.declarations import Declarations, Declared, Revoked
from tests.audit.rows import PLAIN, edited, row


@pytest.fixture
def known() -> Declarations:
    found = Declarations()
    found.writers |= {2: Declared("w", "run", 1), 3: Declared("e", "external", 1)}
    found.instances |= {3: 2, 4: 3}
    found.key_id = 2
    return found


@pytest.mark.parametrize(
    "epoch, before, fault",
    [
        (1, None, None),
        (0, None, "an epoch was left out"),
        (2, None, "an epoch was left out"),
        (4, 4, None),
        (5, 4, None),
        (6, 4, "an epoch was left out"),
        (3, 4, "an epoch was taken back"),
    ],
)
def test_epochs_begin_at_one_and_grow_by_one(epoch, before, fault):
    earlier = None if before is None else row(epoch=before)
    assert rules.epoch_fault(row(epoch=epoch), earlier) == fault


@pytest.mark.parametrize("column", ["writer_id", "instance_id", "recorder_id", "claim"])
def test_one_write_is_by_one(column):
    before, other = row(), row(**{column: 9})
    assert rules.write_fault(row(), before) is None
    assert rules.write_fault(other, None) is None
    assert rules.write_fault(other._replace(epoch=5), before) is None
    expected = "two claims" if column == "claim" else "two writers or processes"
    assert expected in (rules.write_fault(other, before) or "")


def test_sums_grow_by_lines_and_their_ends_and_by_no_control_entry():
    size = len(PLAIN["body"]) + 1
    assert rules.sum_fault(row(cum_bytes=size), None) is None
    assert rules.sum_fault(row(cum_bytes=50 + size), row()) is None
    assert rules.sum_fault(row(kind=b"control"), row()) is None
    assert rules.sum_fault(row(body=None, cum_bytes=51), row()) is None
    for wrong in (49 + size, 51 + size):
        assert rules.sum_fault(row(cum_bytes=wrong), row())
    assert rules.sum_fault(row(kind=b"control", cum_bytes=51), row())


def test_row_numbers_are_positive_and_grow():
    assert rules.number_fault(1, 0) is None
    assert rules.number_fault(8, 7) is None
    assert rules.number_fault(7, 7) == "a row number out of order"
    assert rules.number_fault(0, -1) == "a row number below 1"


@pytest.mark.parametrize(
    "columns, is_wrong",
    [
        ({}, False),
        *(({"kind": kind}, False) for kind in (b"line", b"raw", b"part", b"control")),
        *(
            ({"origin": origin}, False)
            for origin in (b"api", b"mirror", b"file", b"input", b"parked")
        ),
        *(({"terminator": end}, False) for end in (b"", b"\n", b"\r\n")),
        ({"kind": b"x"}, True),
        ({"origin": b"x"}, True),
        ({"terminator": b"\r"}, True),
        ({"key_id": 0}, True),
        ({"key_id": 2}, False),
        ({"key_id": 3}, True),
        ({"key_id": 3, "kind": b"control"}, False),  # it may begin the era
        ({"key_id": 0, "kind": b"control"}, True),
    ],
)
def test_an_entry_is_of_what_the_format_knows(known, columns, is_wrong):
    assert (rules.format_fault(row(**columns), known) is not None) is is_wrong


@pytest.mark.parametrize("kind", [b"line", b"control", b"part"])
@pytest.mark.parametrize("column", ["line_type", "line_id", "parent_id"])
def test_what_is_derived_from_a_line_is_what_it_says(kind, column):
    columns: dict[bytes, dict[str, Any]] = {
        b"line": {},
        b"control": {"body": b'{"control":"t"}', "line_id": None, "parent_id": None},
        b"part": {"line_type": None, "line_id": None, "parent_id": None},
    }
    true = row(kind=kind, **columns[kind])
    assert rules.derived_fault(true) is None
    assert rules.derived_fault(edited(true, **{column: b"other"}))
    assert rules.derived_fault(edited(true, body=None, **{column: b"other"})) is None


def test_a_control_entry_without_a_name_has_none():
    nameless = row(
        kind=b"control", body=b'{"control":7}', line_type=None, line_id=None, parent_id=None
    )
    assert rules.derived_fault(nameless) is None
    assert rules.derived_fault(nameless._replace(line_type=b"7"))


@pytest.mark.parametrize(
    "columns, checks",
    [
        ({}, []),
        ({"trusted": 0}, ["J106"]),
        ({"writer_id": 9}, ["J104"]),
        ({"recorder_id": 9}, ["J104"]),
        ({"writer_id": 3, "instance_id": 4, "trusted": 0, "recorder_id": 3}, []),
        ({"writer_id": 3, "instance_id": 4, "trusted": 1, "recorder_id": 3}, ["J106"]),
        ({"writer_id": 3, "trusted": 0}, []),  # by its recorder's process
        ({"instance_id": 9}, ["J105"]),
        ({"instance_id": 4}, ["J105"]),
        ({"writer_id": 9, "recorder_id": 9, "instance_id": 9}, ["J104", "J105"]),
    ],
)
def test_who_wrote_is_declared_and_its_process_on_record(known, columns, checks):
    faults = rules.who_faults(row(**columns), known)
    assert [check for check, _ in faults] == checks
    if columns.get("writer_id") == 9:
        assert "writer" in faults[0][1]
    elif columns.get("recorder_id") == 9:
        assert "recorder" in faults[0][1]


@pytest.mark.parametrize(
    "columns, is_late",
    [
        ({}, True),
        ({"id": 19}, True),
        ({"id": 18}, False),
        ({"created_us": 91}, True),
        ({"created_us": 90}, False),
        ({"origin": b"parked"}, False),
        ({"recorder_id": 3}, False),
        ({"writer_id": 3}, False),
    ],
)
def test_a_revoked_writer_writes_no_more_as_far_as_can_be_told(known, columns, is_late):
    """By row number and by clock: neither is proof alone."""
    known.revoked[2] = Revoked(90, None, 18)
    assert (rules.revoked_fault(row(**columns), known) is not None) is is_late

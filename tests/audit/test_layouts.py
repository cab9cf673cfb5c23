"""File orders as an audit rebuilds them, and sums of migrated files as it adds them up."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from journal import tables
from journal.audit.layouts import Layouts
from journal.audit.migrated import Receipt, Receipts, Sum
from tests.audit.rows import row


def layout(no: int, keep: int, *extents: tuple[int, int | None]) -> dict[str, Any]:
    return {
        "control": "layout",
        "no": no,
        "keep": keep,
        "extents": [list(each) for each in extents],
    }


def state(layouts: Layouts) -> tuple[int, Any]:
    return layouts.no, layouts.extents


def test_a_layout_keeps_what_the_one_before_it_began_with():
    layouts = Layouts()
    assert state(layouts) == (0, ((1, None),))
    assert layouts.learn(layout(1, 0, (1, 2), (5, None))) is None
    assert layouts.learn(layout(2, 1, (7, None))) is None
    assert state(layouts) == (2, ((1, 2), (7, None)))
    assert layouts.learn(layout(3, 2)) is None
    assert state(layouts) == (3, ((1, 2), (7, None)))


@pytest.mark.parametrize("wrong", [layout(2, 0), layout(0, 0), layout(1, 2), layout(1, -1)])
def test_a_layout_that_follows_none_is_told_and_the_order_is_lost(wrong):
    layouts = Layouts()
    assert layouts.learn(wrong) == "it does not follow the layout before it"
    assert state(layouts) == (wrong["no"], None)


def test_an_order_that_was_lost_is_known_again_by_a_layout_that_keeps_nothing():
    layouts = Layouts()
    layouts.lose()
    assert layouts.extents is None
    assert list(layouts.table_faults([(2, 1, 0, 1, None, 0)])) == []
    assert layouts.learn(layout(4, 1, (9, None))) is None
    assert layouts.extents is None
    assert layouts.learn(layout(9, 0, (9, None))) is None
    assert state(layouts) == (9, ((9, None),))


def test_the_table_has_the_newest_layout_and_nothing_else():
    layouts = Layouts()
    assert list(layouts.table_faults([])) == []
    layouts.learn(layout(1, 0, (1, 2), (5, None)))
    true = [(2, 1, 0, 1, 2, 0), (2, 1, 1, 5, None, 0)]
    assert list(layouts.table_faults(true)) == []
    cause = "a row is gone, was added or edited"
    told = {"layout": 1, "position": 1, "expected": (5, None), "found": None}
    assert list(layouts.table_faults(true[:1])) == [(cause, told)]
    more = list(layouts.table_faults([*true, (2, 0, 0, 1, None, 0)]))
    assert more == [(cause, {"layout": 0, "position": 0, "expected": None, "found": (1, None)})]


NAMES = tuple(column.name for column in tables.migrated_files.c)
LINES = [(b"a", b"\n"), (b"bc", b""), (b"", b"\n"), (b"d", b"")]


def receipt(**values: Any) -> Receipt:
    data = b"".join(body + end for body, end in LINES)
    true = dict.fromkeys(NAMES) | {
        "first_seq": 3, "last_seq": 6, "lines": 3, "raw_lines": 1, "bytes": len(data),
        "sha256": sha256(data).hexdigest().encode(), "state": b"done", "path": b"p",
    }  # fmt: skip
    return Receipt(tuple((true | values).values()))


def fed(found: Any, *, redacted: int = 0) -> Any:
    for seq, (body, end) in enumerate([(b"x", b"\n"), *LINES, (b"y", b"\n")], 2):
        kind = b"raw" if body == b"bc" else b"line"
        line = row(seq=seq, body=body, terminator=end, kind=kind)
        found.feed(line, is_redacted=seq == redacted)
    return found


def test_the_lines_of_a_migrated_file_add_up_to_its_receipt():
    """From the first to the last; a bare line end that ends an open line is no line of its own."""
    assert fed(receipt()).fault() is None
    assert fed(receipt(state=b"partial")).fault() is None
    cause, told = fed(receipt(bytes=9, lines=2)).fault() or ("", dict[str, Any]())
    assert cause == "bytes, lines or digest differ"
    assert told["path"] == "p"
    assert (told["expected"]["bytes"], told["found"]["bytes"]) == (9, 6)
    assert (told["expected"]["lines"], told["found"]["lines"]) == (2, 3)


@pytest.mark.parametrize(
    "values",
    [{"first_seq": 2}, {"first_seq": 4}, {"last_seq": 7}, {"last_seq": 5}, {"raw_lines": 0}],
)
def test_a_receipt_of_other_lines_is_found(values):
    assert fed(receipt(**values)).fault() is not None


def test_a_receipt_of_a_state_that_is_none_is_found():
    cause, _ = fed(receipt(state=b"rumoured")).fault() or ("", dict[str, Any]())
    assert cause == "a state that is none"


def test_receipts_of_one_file_that_grew_are_summed_once(monkeypatch):
    """A file that is migrated each night leaves hundreds; each says what it would say by itself."""
    whole = receipt()._values
    true = {"last_seq": 4, "lines": 2, "bytes": 4, "sha256": sha256(b"a\nbc").hexdigest().encode()}
    rows = [
        tuple((whole | each).values())
        for each in (
            {},
            true,
            {"last_seq": 4},
            {"last_seq": 99},
            {"first_seq": 4},
            {"first_seq": 99},
        )
    ]
    alone = [fed(Receipt(row)).fault() for row in rows]
    assert [fault is None for fault in alone] == [True, True, False, False, False, False]
    summed: list[int] = []
    feed = Sum.feed

    def noted(sum_: Sum, row: Any, **told: Any) -> None:
        summed.append(row.seq)
        feed(sum_, row, **told)

    monkeypatch.setattr(Sum, "feed", noted)
    together = Receipts(rows)
    fed(together)
    assert [*together.faults()] == [fault for fault in alone if fault is not None]
    assert sorted(summed) == [3, 4, 4, 5, 5, 6, 6, 7]


def test_of_what_was_redacted_only_the_digest_is_not_held_against_the_receipt():
    other = sha256(b"other").hexdigest().encode()
    assert fed(receipt(sha256=other)).fault() is not None
    assert fed(receipt(sha256=other), redacted=4).fault() is None
    _, told = fed(receipt(sha256=other, lines=9), redacted=4).fault() or ("", dict[str, Any]())
    assert "sha256" not in told["expected"]
    assert "sha256" not in told["found"]
    assert fed(receipt(sha256=other), redacted=7).fault() is not None  # not of this file

"""The report of an audit in words: all of it, nothing that could steer a terminal, and one is one."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit.catalog import RULES
from journal.audit.findings import Findings
from journal.audit.report import Report
from journal.audit.sessions import Head


def head(session: str, seq: int = 2, seal: str = "ab", entries: int = 2, size: int = 9) -> Head:
    return Head(session, seq, seq, seal, entries, size)


def report(**values: Any) -> Report:
    true: dict[str, Any] = {
        "verdict": "ok",
        "journal": {"path": "/a/b\n.db", "id": "1d", "schema": 1, "key": "at hand"},
        "scope": None,
        "heads": (head("journal:"), head("s")),
        "completeness": {
            "sessions": 2,
            "registered_sessions": 2,
            "entries": 1,
            "lines": 3,
            "strays": 0,
        },
        "not_checked": ("this", "that\x1b"),
    }
    return Report(**(true | values))


def test_a_report_without_findings():
    assert report().as_text().splitlines() == [
        "verdict: ok",
        r"journal: /a/b\n.db, id 1d, schema 1",
        "key:     at hand",
        "scope:   the whole journal, 1 session and the registry",
        "looked:  1 session, the registry, 1 registered session, 1 entry, 3 lines",
        "  the registry: seq 2, epoch 2, seal ab, 2 entries, 9 bytes",
        "  s: seq 2, epoch 2, seal ab, 2 entries, 9 bytes",
        "",
        "not checked:",
        "  - this",
        r"  - that\x1b",
    ]


def test_a_report_of_nothing():
    lines = report(heads=(), completeness={"sessions": 0}).as_text().splitlines()
    assert lines[3:5] == ["scope:   the whole journal, 0 sessions", "looked:  at nothing"]


def test_without_the_registry_sessions_are_counted_as_they_are():
    lines = report(heads=(head("s", seal=""),)).as_text().splitlines()
    assert lines[3] == "scope:   the whole journal, 1 session"
    assert lines[4].startswith("looked:  2 sessions, 2 registered sessions, ")
    assert lines[5] == "  s: seq 2, epoch 2, seal -, 2 entries, 9 bytes"


@pytest.mark.parametrize("more", [0, 1, 2])
def test_of_many_sessions_the_first_are_listed(more):
    heads = tuple(head(f"s{number}") for number in range(20 + more))
    lines = report(heads=heads, scope=("a\x1b", "b")).as_text().splitlines()
    assert lines[3] == r"scope:   a\x1b, b"
    assert [line for line in lines if line.startswith("  s")][-1].startswith("  s19: ")
    told = [line for line in lines if line.startswith("  … and")]
    assert told == ([] if not more else [f"  … and {more} more session{'s' * (more > 1)}"])


def test_findings_say_what_how_and_what_next():
    found = Findings("x.db")
    found.add("J301", "why\x1b", session="s\n", seqs=[(4, 5)], evidence={"row": "\x07", "n": 1})
    (finding,) = found.all()
    lines = report(findings=(finding,), verdict="broken").as_text().splitlines()
    at = lines.index("", 3)
    assert lines[0] == "verdict: broken (1 finding)"
    assert lines[at + 1] == rf"J301 {finding.severity} in s\n: {finding.title}"
    assert lines[at + 2] == f"  rule {finding.rule}:".ljust(18) + RULES[finding.rule]
    assert lines[at + 3 : at + 8] == [
        r"  cause:          why\x1b",
        "  seq:            4-5 (2 in all)",
        r"  evidence:       row \x07, n 1",
        f"  proves:         {finding.proves}",
        f"  does not prove: {finding.not_proved}",
    ]
    assert lines[at + 8].startswith("  Try: journal -d x.db ")
    assert report(findings=(finding,) * 2).as_text().startswith("verdict: ok (2 findings)\n")


def test_a_finding_of_the_whole_journal_names_no_session():
    found = Findings("x.db")
    found.add("J406", "why")
    text = report(findings=found.all()).as_text()
    assert "\nJ406 " in text
    assert " in None" not in text
    assert "  seq:" not in text


def test_a_report_as_json_has_all_of_it():
    found = Findings("x.db")
    found.add("J406", "why")
    told = report(findings=found.all(), scope=("s",), sqlite={"version": "3"}).as_json()
    assert told["schema"] == "journal.audit/1"
    assert told["scope"] == ["s"]
    assert report().as_json()["scope"] is None
    assert told["heads"][1] == head("s")._asdict()
    assert [each["id"] for each in told["findings"]] == ["J406"]
    assert (told["sqlite"], told["not_checked"]) == ({"version": "3"}, ["this", "that\x1b"])
    assert (report().exit_code, report(findings=found.all()).exit_code) == (0, 3)


def test_evidence_of_several_values_is_told_by_their_names():
    """And never as Python writes them."""
    found = Findings("x.db")
    found.add(
        "J401", "why", session="s", seqs=[(4, 4)], evidence={"expected": {"seq": 9, "at": [1, 2]}}
    )
    (finding,) = found.all()
    assert "expected (seq 9, at 1, 2)" in report(findings=(finding,)).as_text()

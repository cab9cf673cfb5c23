"""Findings: grouped by cause, bounded, the gravest first, each with a next step."""

from __future__ import annotations

import pytest

from journal.audit.catalog import CHECKS
from journal.audit.findings import EVIDENCE_LIMIT, RANGES_SHOWN, SESSIONS_APART, Findings


@pytest.fixture
def found() -> Findings:
    return Findings("/a b/x.db")


def test_rows_of_one_cause_are_one_finding(found):
    assert not found
    assert not found.has("s")
    found.add("J301", "why", session="s", seq=4, evidence={"seq": 4})
    found.add("J301", "why", session="s", seqs=[(5, 6), (9, 9)])
    found.add("J301", "why", session="s", seq=0)
    found.explain("J301", "why", "s", {"more": 1})
    (finding,) = found.all()
    assert found
    assert found.has("s")
    assert not found.has("other")
    assert (finding.ranges, finding.count) == (((0, 0), (4, 6), (9, 9)), 5)
    assert finding.evidence == ({"seq": 4}, {"more": 1})
    assert finding.severity == CHECKS["J301"].severity
    assert (finding.title, finding.rule) == (CHECKS["J301"].title, CHECKS["J301"].rule)


def test_a_fact_without_seqs_counts_as_one(found):
    found.add("J406", "why")
    found.add("J406", "why", seqs=[])
    (finding,) = found.all()
    assert (finding.ranges, finding.count, finding.session) == ((), 2, None)


def test_evidence_is_bounded(found):
    for number in range(EVIDENCE_LIMIT + 2):
        found.add("J406", "why", evidence={"n": number})
    found.explain("J406", "why", None, {"n": "more"})
    (finding,) = found.all()
    assert [piece["n"] for piece in finding.evidence] == [0, 1, 2, 3, 4]


def test_the_gravest_come_first_then_by_check_and_session(found):
    severities = {check.severity: check.id for check in CHECKS.values()}
    for check, session in [
        (severities["notice"], "a"), (severities["warning"], "b"), ("J304", "b"), ("J304", "a"), ("J301", "c"),
    ]:  # fmt: skip
        found.add(check, "why", session=session, seq=1)
    assert [(finding.id, finding.session) for finding in found.all()] == [
        ("J301", "c"), ("J304", "a"), ("J304", "b"), (severities["warning"], "b"), (severities["notice"], "a"),
    ]  # fmt: skip


@pytest.mark.parametrize("more", [0, 1])
def test_one_cause_in_many_sessions_is_one_finding(found, more):
    for number in range(SESSIONS_APART + more):
        found.add("J301", "why", session=f"s{number}", seqs=[(1, 2)])
    findings = found.all()
    if not more:
        assert [finding.session for finding in findings] == sorted(f"s{n}" for n in range(10))
        return
    (finding,) = findings
    assert (finding.session, finding.count, finding.ranges) == (None, 22, ())
    first = {"session": "s0", "seqs": "1-2", "count": 2}
    assert finding.evidence[:2] == ({"sessions": 11}, first)
    assert len(finding.evidence) == 1 + EVIDENCE_LIMIT


def test_long_lists_of_seqs_are_cut_where_they_are_told(found):
    found.add("J301", "why", session="s", seqs=[(n, n) for n in range(1, 2 * RANGES_SHOWN + 8, 2)])
    (finding,) = found.all()
    told = finding.as_json()
    assert len(told["seqs"]) == RANGES_SHOWN == 50
    assert told["seqs_left_out"] == 4
    assert told["seqs"][0] == [1, 1]
    assert told["count"] == 54
    found.add("J302", "why", session="s", seq=7)
    assert found.all()[-1].as_json()["seqs_left_out"] == 0


def test_the_next_step_names_the_session_and_the_first_seq(found):
    by_next = {check.next: check.id for check in CHECKS.values()}
    of_seq = next(name for name in by_next if "{seq}" in name)
    of_session = next(name for name in by_next if "{session}" in name and "{seq}" not in name)
    found.add(by_next[of_seq], "a", session="s t", seqs=[(4, 5), (9, 9)])
    found.add(by_next[of_seq], "b", session="s t")
    found.add(by_next[of_session], "c", session="s t")
    found.add(by_next[of_session], "d")
    steps = {finding.cause: finding.next for finding in found.all()}
    begin = "journal -d '/a b/x.db' "
    assert steps["a"] == begin + of_seq.format(session="'s t'", seq=4)
    assert steps["b"] == begin + "log 's t'"
    assert steps["c"] == begin + of_session.format(session="'s t'")
    assert steps["d"] == begin + "status"
    silent = next((check.id for check in CHECKS.values() if not check.next), None)
    if silent is not None:
        found.add(silent, "e", session="s")
        assert next(f.next for f in found.all() if f.cause == "e") is None


def test_a_finding_in_words(found):
    found.add("J301", "why", session="s", seqs=[(4, 5)])
    found.add("J406", "how")
    words = list(map(str, found.all()))
    check = CHECKS["J301"]
    assert words[0] == f"J301 {check.severity} in 's': {check.title}: why (seq 4-5)"
    assert words[1] == f"J406 {CHECKS['J406'].severity}: {CHECKS['J406'].title}: how"

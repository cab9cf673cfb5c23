"""A verdict as a value: what is foreign, why, where it came from, and what is told and kept of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from journal.model import Entry
from journal.verdict import (
    ACCEPTED,
    BETWEEN_FENCES,
    REASONS,
    REFUSED,
    TAKEOVER,
    Mark,
    Place,
    Verdict,
    classes,
    evidence_of,
    judge,
    origin,
    reason_of,
    rule_of,
    what_happened,
)
from tests.thieves import KEY

MARK = Mark(3, 2, b"s" * 32)
OWN = 4


def entry(seq: int = 4, **values: Any) -> Entry:
    given: dict[str, Any] = {
        "session": KEY, "seq": seq, "epoch": 5, "writer": "w", "role": "run", "trust": "asserted",
        "kind": "line", "origin": "api", "created_us": 7, "body": b"{}", "terminator": b"\n",
        "instance_id": 9, "row_id": 40 + seq,
    }  # fmt: skip
    return Entry(**(given | values))


def yes(_: Entry) -> bool:
    return True


def no(_: Entry) -> bool:
    return False


def verdict(*foreign: Entry, outcome: str = TAKEOVER, **values: Any) -> Verdict:
    reasons = tuple(REASONS.get(each.trust, REFUSED) for each in foreign)
    given: dict[str, Any] = {
        "foreign": foreign,
        "reasons": reasons,
        "head_seq": 8,
        "head_epoch": 6,
    } | values
    return Verdict(outcome, KEY, MARK, given.pop("policy", "cotenant"), **given)


# -- what is foreign --------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, lets_pass, reason",
    [
        ({}, True, None),
        ({}, False, REFUSED),
        ({"instance_id": OWN}, False, None),
        ({"kind": "control"}, False, None),
        ({"trust": "stray"}, True, REASONS["stray"]),
        ({"trust": "stray", "instance_id": OWN}, True, REASONS["stray"]),
        ({"trust": "altered", "kind": "control"}, True, REASONS["altered"]),
        ({"trust": "external"}, True, REASONS["external"]),
        ({"trust": "external", "kind": "control"}, True, REASONS["edit"]),
        ({"trust": "permitted"}, False, None),
        ({"trust": "accepted"}, False, None),
        ({"trust": "rejected"}, False, None),
        ({"trust": "external", "body": b""}, True, None),  # a lone line end
        ({"trust": "stray", "body": b""}, True, REASONS["stray"]),
        ({"trust": "missing", "body": None}, True, REASONS["missing"]),
        ({"body": None}, False, None),
    ],
)
def test_each_entry_is_judged_by_itself(
    values: dict[str, Any], lets_pass: object, reason: str | None
) -> None:
    assert reason_of(entry(**values), OWN, yes if lets_pass else no) == reason


def test_what_arrived_are_lines_of_other_instances() -> None:
    ours, control, other = entry(4, instance_id=OWN), entry(5, kind="control"), entry(6)
    stray, line_end = entry(7, trust="stray"), entry(8, body=b"")
    arrived, foreign, reasons = judge([ours, control, other, stray, line_end], OWN, yes)
    assert arrived == [other, line_end]
    assert (foreign, reasons) == ([stray], [REASONS["stray"]])
    assert judge([ours], None, yes) == ([ours], [], [])
    assert judge([other], OWN, no) == ([], [other], [REFUSED])


# -- where it came from -----------------------------------------------------------------


def test_an_entry_came_from_a_row_or_a_place_in_a_file() -> None:
    assert origin(entry()) == "database row 44"
    assert origin(entry(row_id=None)) == "database row"
    assert origin(entry(origin="mirror")) == "a file, as database row 44"
    assert origin(entry(origin="file", row_id=None)) == "a file, as database row"
    assert origin(entry(trust="missing"), Place("f")) == "no row"
    assert (
        origin(entry(), Place("/s.jsonl", 10, 2)) == "/s.jsonl, line 2, byte 10, as database row 44"
    )
    assert (
        origin(entry(), Place("/s.jsonl", 0, 1)) == "/s.jsonl, line 1, byte 0, as database row 44"
    )
    assert str(Place("/s.jsonl")) == "/s.jsonl"
    found = verdict(entry(4), entry(5), places={5: Place("/f", 1, 1)})
    assert found.origins == ("database row 44", "/f, line 1, byte 1, as database row 45")


# -- what is told -----------------------------------------------------------------------


def test_a_verdict_in_one_sentence() -> None:
    stray = entry(4, trust="stray")
    assert verdict(outcome=ACCEPTED).summary() == f"{KEY}: accepted, 0 arrived since the fence"
    assert (
        verdict(outcome=ACCEPTED, arrived=(entry(),))
        .summary()
        .endswith("1 arrived since the fence")
    )
    one = f"takeover of {KEY!r}: seq 4 {REASONS['stray']}"
    assert verdict(stray).summary() == one
    assert verdict(stray, entry(5, trust="stray")).summary() == f"{one} (and 1 more)"
    assert verdict(stray, stray, stray).summary() == f"{one} (and 2 more)"
    assert verdict().summary() == f"takeover of {KEY!r}: no evidence"
    assert verdict(outcome=ACCEPTED).accepted
    assert not verdict(stray, outcome=BETWEEN_FENCES).accepted


def test_the_classes_of_a_verdict() -> None:
    assert classes(ACCEPTED, []) == (ACCEPTED,)
    assert classes(BETWEEN_FENCES, [])[-1] == classes(BETWEEN_FENCES, ["stray"])[-1]
    assert len(classes(BETWEEN_FENCES, ["stray"])) == len(classes(TAKEOVER, ["stray"])) + 1
    assert BETWEEN_FENCES not in classes(TAKEOVER, ["stray"])


def test_the_rule_is_the_policys() -> None:
    assert "no later run's verdict" in rule_of("cotenant", BETWEEN_FENCES)
    assert rule_of("cotenant", TAKEOVER).endswith(
        "the policy cotenant lets pass whatever they write"
    )
    assert "cannot change what the model is told" in rule_of("strict", TAKEOVER)
    assert rule_of("my own", ACCEPTED).endswith("the policy my own decides")


def test_what_happened_in_sentences() -> None:
    assert what_happened(ACCEPTED, [], 3, None) == (
        "the run was away, and only those wrote who may.",
    )
    assert what_happened(ACCEPTED, [], 3, "cron") == (
        "cron was away, and only those wrote who may.",
    )
    taken = what_happened(TAKEOVER, [(4, "stray")], 0, "cron", ["edited."])
    assert taken[0].startswith("While cron was away, its session was taken over: 1 entry (seq 4)")
    assert taken[1] == "edited."
    assert not any("meanwhile" in sentence for sentence in taken)
    refused = what_happened(TAKEOVER, [(4, "asserted")], 0, None)
    assert "something came that it may not go on over" in refused[0]
    both = what_happened(TAKEOVER, [(4, "asserted"), (5, "stray")], 2, None)
    assert "taken over" in both[0]
    assert both[-1].startswith("Declared writers wrote 2 other entries meanwhile")
    assert "1 other entry" in what_happened(TAKEOVER, [(4, "stray")], 1, None)[-1]
    between = what_happened(BETWEEN_FENCES, [(4, "stray")], 5, None, ["edited."])
    assert between[0].startswith("When the run raised a fence")
    assert between[1] == "edited."
    assert between[-1].endswith("stays listed until it is resolved.")


def test_an_explanation_lists_the_rows_in_order_with_their_causes() -> None:
    edit = entry(9, trust="external", kind="control", body=b'{"control":"edit","what":"gone"}')
    told = verdict(
        edit,
        entry(5, trust="stray", body=None),
        arrived=(entry(6),),
        id="v1",
        extra={"holder": {"w": 1}},
    ).explanation()
    assert [(row.seq, row.cause, row.body) for row in told.between] == [
        (5, REASONS["stray"], b""), (6, None, b"{}"), (9, REASONS["external"], edit.body),
    ]  # fmt: skip
    assert "The session's file was removed; the journal has all its lines." in told.what
    assert (told.expected["seq"], told.expected["epoch"]) == (3, 2)
    assert (told.found["seq"], told.found["epoch"]) == (8, 6)
    assert told.holder == {"w": 1}
    assert [act.command for act in told.acts] == ["journal why v1"]
    assert "taken over" in verdict(edit).explain()


def test_an_edit_that_says_nothing_is_told_by_no_sentence() -> None:
    edit = entry(9, trust="external", kind="control", body=b'{"control":"edit","what":"back"}')
    assert all(verdict(edit).explanation().what)


def test_a_verdict_that_is_not_kept_is_looked_into_by_an_audit() -> None:
    assert verdict(id="v1").next_command() == "journal why v1"
    assert "audit" in verdict().next_command()


# -- what is kept -----------------------------------------------------------------------


def test_what_is_kept_is_bounded_and_can_be_read_again() -> None:
    strays = [entry(seq, trust="stray", body=b"\xff" * 300) for seq in range(4, 154)]
    arrived = tuple(entry(seq) for seq in range(200, 350))
    kept = json.loads(json.dumps(evidence_of(verdict(*strays, arrived=arrived, places={4: Place("/f", 1, 2)}))))  # fmt: skip
    assert kept["fence"] == {"seq": 3, "epoch": 2}
    assert kept["head"] == {"seq": 8, "epoch": 6}
    assert (kept["foreign_count"], kept["arrived_count"]) == (150, 150)
    assert (len(kept["foreign"]), len(kept["arrived"])) == (100, 100)
    assert kept["arrived"][0] == [200, "w", "run"]
    assert kept["foreign"][0] == {
        "seq": 4, "epoch": 5, "trust": "stray", "reason": REASONS["stray"], "claims_writer": "w",
        "claims_role": "run", "instance": 9, "claim": None, "kind": "line", "created_us": 7,
        "origin": "/f, line 2, byte 1, as database row 44",
        "place": {"file": "/f", "offset": 1, "line": 2}, "body": r"\xff" * 200,
    }  # fmt: skip
    assert kept["foreign"][1]["place"] is None


def test_of_a_row_that_is_gone_no_body_is_kept() -> None:
    (kept,) = evidence_of(verdict(entry(trust="missing", body=None)))["foreign"]
    assert (kept["body"], kept["origin"]) == ("", "no row")

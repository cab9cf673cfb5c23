"""Each check, made to fail by a real edit: the finding is the right one, and the only one."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from journal import CorruptError
from journal.audit import audit, named
from journal.audit.catalog import ABOUT, CHECKS, RULES
from journal.audit.source import opened
from journal.cli import cli
from journal.strays import Oddity, Ranges
from tests.audit.crimes import CRIMES, Scene, a_lost_registration
from tests.thieves import KEY

# Tests of their own: below, in test_migrated.py, and in tests/mirror/test_audit.py.
ELSEWHERE = {
    "J310",
    "J501",
    "J502",
    "J601",
    "J113",  # tests/test_adopting.py
    "J602",
    *(f"J70{n}" for n in range(1, 7)),
    *(f"J80{n}" for n in range(1, 5)),
}


@pytest.fixture
def scene(busy, thief, holder, journal_path, key_file) -> Scene:
    return Scene(busy, thief, holder, journal_path, key_file)


@pytest.mark.parametrize("crime", CRIMES.values(), ids=CRIMES.keys())
def test_a_crime_is_found_and_nothing_else(scene, found, crime):
    """The checks that must say so say so, about the right rows, and no other check says anything."""
    assert found() == {}
    answer = crime.do(scene)

    findings = found()

    assert set(findings) == set(crime.checks), list(map(str, findings.values()))
    first = findings[crime.checks[0]]
    assert first.session == crime.session
    seqs = crime.seqs or ((answer,) if isinstance(answer, int) else ())
    if seqs:
        assert first.ranges == tuple(Ranges((seq, seq) for seq in seqs))


# Without the key the command tells where it should be. What a key holder sealed that leads nowhere
# stops whoever reads the session, and leads back to the audit.
LEADS_ON = {"J101": "copy the key file there", "J112": "audit", "J209": "audit"}
ONE_OF_EACH = {crime.checks: crime for crime in CRIMES.values()}


@pytest.mark.parametrize("crime", ONE_OF_EACH.values(), ids=map(" ".join, ONE_OF_EACH))
def test_the_command_to_go_on_with_works(scene, found, crime, key_file, monkeypatch):
    """Typed as it stands: it shows something, and ends well or with what it found."""
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(key_file))
    crime.do(scene)
    scene.journal.close()

    for finding in found().values():
        if finding.next is None:
            continue
        done = CliRunner().invoke(cli, shlex.split(finding.next)[1:], prog_name="journal")
        if finding.id in LEADS_ON:
            assert (done.exit_code, "bug" in done.stderr) == (1, False)
            assert LEADS_ON[finding.id] in done.stderr.partition("Try: ")[2]
        else:
            assert done.exit_code in (0, 3), done.stderr
            assert done.stdout


def test_every_check_is_made_to_fail():
    assert {check for crime in CRIMES.values() for check in crime.checks} | ELSEWHERE == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_every_check_says_what_it_proves_and_what_not(check):
    assert check.title
    assert check.proves
    assert check.not_proved
    assert check.severity in ("broken", "warning", "notice")
    assert int(check.id[1]) in ABOUT
    assert check.rule in RULES


# --- more than which check


@pytest.mark.parametrize(
    "column, value, was",
    [
        ("writer_id", 1, "2"),
        ("epoch", 77, "4"),
        ("trusted", 0, "1"),
        ("claim", 3, "NULL"),
        ("kind", "raw", "line"),
        ("origin", "file", "api"),
        ("run_id", "x", "NULL"),
        ("cum_bytes", 1, "75"),
    ],
)
def test_an_edited_column_is_named_with_what_it_was(found, thief, column, value, was):
    """The seal proves what stood there: it comes out right for one value only."""
    thief.edit(column, 5, value)

    (finding,) = found().values()

    assert finding.id == "J304"
    assert finding.cause == f"the column {column} was changed"
    assert finding.evidence[0]["column"] == column
    if column not in ("epoch", "cum_bytes"):
        assert finding.evidence[0]["was"] == was


def test_thirty_thousand_strays_are_one_finding(found, thief):
    thief.insert_many(range(1_000, 61_000, 2))

    (finding,) = found().values()

    assert finding.id == "J301"
    assert finding.count == 30_000
    assert len(finding.evidence) == 5
    told = finding.as_json()
    assert len(told["seqs"]) == 50
    assert told["seqs_left_out"] == 29_950
    assert len(str(finding)) < 1000


def test_thirty_thousand_named_strays_are_one_finding(found, busy, thief):
    thief.insert_many(range(1_000, 31_000))
    busy.session(KEY, writer="heartbeat").append({"n": 1})

    (finding,) = found().values()

    assert (finding.id, finding.count) == ("J302", 30_000)


def test_one_cause_in_many_sessions_is_one_finding(found, busy, thief):
    for n in range(20):
        busy.session(f"s{n}", writer="heartbeat").append({"n": n})
    thief.execute("DELETE FROM sessions")

    (finding,) = found().values()

    assert finding.id == "J401"
    assert finding.session is None
    assert finding.count == 24
    assert finding.evidence[0] == {"sessions": 24}


def test_two_edited_neighbours_are_both_named_and_nobody_else(found, thief):
    thief.edit("created_us", 4, 1)
    thief.edit("created_us", 5, 2)

    (finding,) = found().values()

    assert finding.id == "J304"
    assert finding.ranges == ((4, 5),)


def test_a_stray_beside_a_missing_entry(found, thief):
    """What is gone and what was put there are two findings, and honest rows are in neither."""
    thief.delete(4)
    with thief.without_triggers():
        thief.insert_copy(move_head=False, seq=1_000)

    findings = found()

    assert findings["J306"].ranges == ((4, 4),)
    assert findings["J301"].ranges == ((1_000, 1_000),)
    assert set(findings) == {"J306", "J301"}


def test_a_damaged_file_is_found(busy, journal_path, tmp_path, key_file):
    """J501, J502: pages that SQLite cannot follow."""
    busy.close()
    whole = journal_path.read_bytes()
    seen = set()
    for start in range(4096, len(whole), 4096):
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(whole[:start] + b"\xff" * 4096 + whole[start + 4096 :])
        with suppress(CorruptError):  # the schema's own pages
            seen |= {finding.id for finding in audit(damaged).findings}
    assert {"J501", "J502"} <= seen


def test_a_session_without_a_trace_of_its_key_is_not_called_foreign(found, thief, scene):
    """Its registration and its row are gone: nobody can tell, and the finding says so."""
    a_lost_registration(scene)
    thief.execute("DELETE FROM sessions WHERE key = ?", KEY)

    findings = found()

    assert "they are not" in findings["J102"].not_proved
    assert {"J102", "J306"} <= set(findings)


def test_a_session_asked_for_by_its_key_is_found_by_it(found, thief, scene):
    a_lost_registration(scene)
    thief.execute("DELETE FROM sessions WHERE key = ?", KEY)

    findings = found(sessions=[KEY])

    assert findings["J103"].session == KEY
    assert "J102" not in findings


def test_the_digest_is_that_of_the_format(busy, thief, holder):
    """What an honest writer named is recomputed by other code, and is the same."""
    thief.insert_many([1_000, 1_001, 5_000])
    entry = busy.session(KEY, writer="heartbeat").append({"n": 1})
    body = json.loads(thief.column("body", entry.seq - 1))
    oddity = Oddity.from_json(body["rows"][0])

    with opened(str(busy.path)) as source:
        assert named.digest_of(source, thief.session_id(), oddity.ranges) == (3, oddity.digest)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_every_check_stands_in_the_documentation(check):
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {check.id} |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    go_on = f"`journal {check.next}`" if check.next else ""
    assert cells[1:] == [
        str(check.rule), check.severity, check.title, check.proves, check.not_proved, go_on,
    ]  # fmt: skip

"""What an audit is asked to look at: the quick way past what is plain, --quick, --since, progress."""

from __future__ import annotations

import pytest

from journal import Journal
from journal.anchor import take
from journal.audit import AnchorFile, audit
from journal.audit.walk import Walk
from tests.audit.conftest import OTHER
from tests.audit.crimes import CRIMES, Scene
from tests.thieves import KEY

# What only the bytes of a line can tell, or SQLite's own look at the file.
BY_BYTES = {"J303", "J308", "J501", "J502", "J505", "J601"}


@pytest.fixture
def scene(busy, thief, holder, journal_path, key_file) -> Scene:
    return Scene(busy, thief, holder, journal_path, key_file)


@pytest.mark.parametrize("crime", CRIMES.values(), ids=CRIMES.keys())
def test_the_way_past_plain_rows_overlooks_nothing(scene, journal_path, crime, monkeypatch):
    """What it takes for plain is just what the rules, asked one by one, have nothing to say of.

    And a quick audit overlooks only what it says.
    """
    crime.do(scene)
    report, quick = audit(journal_path), audit(journal_path, quick=True)
    monkeypatch.setattr(Walk, "_is_plain", lambda *_: False)
    assert report.as_json() == audit(journal_path).as_json()
    whole = {finding.id: finding.ranges for finding in report.findings}
    found = {finding.id: finding.ranges for finding in quick.findings}
    assert set(whole) - set(found) <= BY_BYTES
    assert found == {name: whole[name] for name in found}


def test_a_quick_audit_never_says_ok(busy, journal_path):
    told = audit(journal_path, quick=True)
    assert (told.verdict, told.findings, told.exit_code) == ("not verified", (), 0)
    assert sum("--quick" in item for item in told.not_checked) == 2
    assert told.completeness == audit(journal_path).completeness


def test_a_quick_audit_without_the_key_looks_at_everything(busy, journal_path, tmp_path):
    told = audit(journal_path, quick=True, key_file=tmp_path / "none")
    assert told.verdict == "not verified"
    assert [finding.id for finding in told.findings] == ["J101"]


def test_sessions_with_nothing_new_are_left_out_and_counted(busy, journal_path, clock, thief):
    clock.step(3_600_000_000)
    since = clock.now_us
    busy.session(OTHER, writer="cron", role="cron").append({"n": 2})
    told = audit(journal_path, since_us=since)
    assert [head.session for head in told.heads] == ["journal:", OTHER]
    assert any("2 sessions in which no entry is newer than 2027" in x for x in told.not_checked)
    assert len(audit(journal_path, since_us=0).heads) == 4
    thief.edit("body", 1, b"{}", KEY)
    assert audit(journal_path, since_us=since).findings == ()
    assert audit(journal_path).findings != ()


def test_a_session_that_is_old_since_its_end_was_cut_off_is_held_against_an_anchor(
    busy, journal_path, clock, thief
):
    """Else the very thing that an anchor shows would take it out of sight."""
    before = thief.execute("SELECT * FROM sessions WHERE key = ?", OTHER).fetchone()
    clock.step(3_600_000_000)
    since = clock.now_us
    cut = busy.session(OTHER, writer="cron", role="cron").append({"n": 2}).seq
    anchor = AnchorFile("heads", take(busy).text.encode())
    assert audit(journal_path, since_us=since, anchors=[anchor]).verdict == "ok"
    thief.delete(cut, key=OTHER)
    with thief.without_triggers():
        thief.execute("DELETE FROM sessions WHERE id = ?", before[0])
        thief.execute(f"INSERT INTO sessions VALUES ({','.join('?' * len(before))})", *before)

    told = audit(journal_path, since_us=since, anchors=[anchor])

    assert OTHER not in [head.session for head in told.heads]
    assert told.verdict == "broken"
    (found,) = told.findings
    assert (found.id, found.session, found.ranges) == ("J801", OTHER, ((cut, cut),))
    assert audit(journal_path, since_us=since, anchors=[anchor], sessions=[KEY]).findings == ()


def test_progress_tells_how_much_there_is_and_was_looked_at(tmp_path):
    told: list[tuple[int, int]] = []
    with Journal(tmp_path / "j.db") as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.extend([{"n": n} for n in range(2000)])
        size = journal.sessions()[0].bytes
    audit(tmp_path / "j.db", progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {size}
    assert size / 2 < sum(done for done, _ in told) <= size

"""What an audit says when it cannot tell, and what it makes of what is seldom met."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from journal import Journal, NotFoundError
from journal.anchor import take
from journal.audit import AnchorFile, audit
from journal.audit import database as audited_database
from tests.audit.conftest import OTHER
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal.audit import Report
    from tests.audit.conftest import Holder
    from tests.thieves import Thief

    Look = Callable[..., Report]


def open_items(report: Report, *words: str) -> list[str]:
    return [item for item in report.not_checked if all(word in item for word in words)]


def test_tables_of_somebody_else_are_counted_and_no_finding(report: Look, thief: Thief):
    assert open_items(report(), "tables in the file") == []
    thief.execute("CREATE TABLE notes (x)")
    thief.execute("CREATE TABLE more (x)")
    told = report()
    assert told.findings == ()
    assert open_items(told) != []
    assert open_items(told, "2 tables in the file that are not the journal's")


def test_a_control_entry_of_a_later_version_is_said_and_counted(report: Look, holder: Holder):
    for _ in range(2):
        holder.fact(b'{"control":"tea"}', "tea")
    told = report()
    assert told.findings == ()
    assert open_items(told, "2 control entries", repr(KEY), "tea")


def test_a_library_with_the_bug_is_told(report: Look, monkeypatch: pytest.MonkeyPatch):
    assert open_items(report(), "WAL-reset") == []
    monkeypatch.setattr(audited_database, "wal_reset_fixed", lambda _: False)
    assert open_items(report(), "WAL-reset bug: the library at hand has it")


# -- sessions whose registration is gone ----------------------------------------------


def unregistered(thief: Thief, key: str) -> None:
    body = thief.execute(
        "SELECT seq, body FROM entries WHERE session_id = 1 AND line_type = 'session'"
    )
    (seq,) = [seq for seq, body in body.fetchall() if json.loads(body)["key"] == key]
    thief.delete(seq, key="journal:")


def test_a_session_is_known_again_by_the_key_that_was_asked_for(
    report: Look, thief: Thief, busy: Journal
):
    number = thief.session_id(OTHER)
    unregistered(thief, OTHER)
    with thief.without_triggers():
        thief.execute("UPDATE sessions SET key = 'forged' WHERE id = ?", number)
    told = {finding.id: finding for finding in report().findings}
    assert OTHER not in {head.session for head in report().heads}
    assert {"J102"} <= set(told)
    asked = report(sessions=[OTHER])
    assert {head.session for head in asked.heads} == {"journal:", OTHER}
    assert "J103" in {finding.id for finding in asked.findings}


def test_a_session_is_known_again_by_an_entry_that_was_changed(
    report: Look, thief: Thief, busy: Journal
):
    """What it claims is proved by the session's own seals, so it may come from anywhere."""
    number = thief.session_id(OTHER)
    seq = thief.ask(
        "SELECT seq FROM entries WHERE session_id = 1 AND line_type = 'session' AND instr(body, ?)",
        OTHER.encode(),
    )
    thief.edit("epoch", seq, 99, "journal:")
    with thief.without_triggers():
        thief.execute("UPDATE sessions SET key = ? WHERE id = ?", b"\xff".decode("latin-1"), number)
    assert OTHER in {head.session for head in report().heads}


def test_a_session_that_nobody_knows_is_not_found(report: Look):
    with pytest.raises(NotFoundError, match="there is no session 'nobody'"):
        report(sessions=["nobody"])
    assert open_items(report(sessions=[KEY]), "2 other sessions, not asked for")


# -- anchors --------------------------------------------------------------------------


def test_what_came_after_the_newest_anchor_is_counted(report: Look, busy: Journal):
    old = AnchorFile("old", take(busy).text.encode())
    gateway = busy.session(OTHER, writer="cron", role="cron")
    gateway.append({"n": 2})
    gateway.append({"n": 3})
    assert open_items(report(anchors=[old]), "2 entries in 1 session")
    new = AnchorFile("new", take(busy).text.encode())
    assert not open_items(report(anchors=[old, new]), "newer than")
    assert not open_items(report(anchors=[new, old]), "2 entries")


@pytest.mark.parametrize(
    "seq, cause", [(2, "the anchored row is gone"), (1, "the anchored row is gone")]
)
def test_an_anchored_row_that_is_gone_from_the_middle(journal_path: Path, seq: int, cause: str):
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.extend([{"n": n} for n in range(seq)])
        anchor = AnchorFile("x", take(journal).text.encode())
        session.extend([{"n": n} for n in range(3)])
    from tests.thieves import Thief

    thief = Thief(journal_path)
    thief.delete(seq)
    thief.close()
    told = [f for f in audit(journal_path, anchors=[anchor]).findings if f.id == "J801"]
    assert [(f.cause, f.ranges) for f in told] == [(cause, ((seq, seq),))]


def test_an_anchor_of_an_earlier_era_only_counts_nothing(tmp_path: Path):
    """Who has the old key by now could have signed it yesterday."""
    from journal.adopting import adopt_key

    path = tmp_path / "a.db"
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
        anchor = AnchorFile("old", take(journal).text.encode())
    adopt_key(path)
    told = audit(path, anchors=[anchor])
    assert told.verdict == "ok, not anchored"
    assert told.findings == ()
    assert not open_items(told, "entries in")

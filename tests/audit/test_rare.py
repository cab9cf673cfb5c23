"""What an audit seldom meets: no key, no helper, tables that cannot be read, facts that say nothing, places it cannot see."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from journal import Journal, StorageError
from journal.audit import ahead, audit, auditor, database, held, keyring, scope, source, words
from journal.audit.findings import Findings
from journal.audit.judging import Linked
from journal.audit.redactions import read
from journal.audit.source import MAX_INT, opened
from journal.place import Mount
from journal.process import this_process
from tests.audit.conftest import OTHER
from tests.audit.rows import PLAIN, row
from tests.audit.test_ahead import Near
from tests.thieves import KEY

# -- helpers ------------------------------------------------------------------------------


class Noted(Near):
    """Keeps what helpers were asked."""

    tasks: list[Any]

    def plan(self, *arguments: Any) -> None:
        super().plan(*arguments)
        whole = self.task._replace(stretches=list(enumerate(self._grid)))
        self.tasks.append(whole)


def test_a_helper_serves_until_its_audit_lets_go(busy, journal_path, monkeypatch):
    """As often as it is told to begin it looks at the database as it stands then."""
    monkeypatch.setattr(ahead, "_STRETCH_ROWS", range(2, 2))
    monkeypatch.setattr(Near, "path", str(journal_path), raising=False)
    monkeypatch.setattr(Noted, "tasks", [], raising=False)
    monkeypatch.setattr(auditor, "Ahead", Noted)
    audit(journal_path)
    (task,) = Noted.tasks
    assert len(task.stretches) > 2
    reader, writer = os.pipe()
    asked = io.BytesIO(b"".join(map(pickle.dumps, (str(journal_path), "begin", "begin", task))))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=asked))
    monkeypatch.setattr(sys, "argv", ["", str(writer)])

    ahead.main()

    with os.fdopen(reader, "rb") as answers:
        assert [pickle.load(answers) for _ in range(2)] == ["begun", "begun"]  # noqa: S301
        told = [pickle.load(answers) for _ in task.stretches]  # noqa: S301
        assert answers.read() == b""
    with opened(str(journal_path)) as source:
        assert told == [(at, ahead.looked_at(source, task, each)) for at, each in task.stretches]


def test_an_audit_whose_helpers_cannot_be_started_does_without(busy, journal_path, monkeypatch):
    alone = audit(journal_path)
    monkeypatch.setattr(ahead, "_helpers_for", lambda _: 2)
    before = os.listdir("/dev/fd")  # noqa: PTH208 - numbers
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert audit(journal_path) == alone
    assert os.listdir("/dev/fd") == before  # noqa: PTH208


def test_a_session_that_is_not_long_enough_is_not_shared_out():
    assert list(ahead._stretches(2, KEY, 600, 60_000)) == []
    assert len(list(ahead._stretches(2, KEY, 600, 60_000_000))) == 3


def test_a_session_as_long_as_no_file_is_is_not_shared_out(tmp_path):
    """Whatever plain SQL put into the table of sessions: to cut that up would take all memory there is."""
    path = tmp_path / "j.db"
    path.write_bytes(bytes(64 * 1000))
    nothing: Any = None
    helped = ahead.Ahead(str(path), is_wanted=False)
    helped.plan([(2, KEY, 600, 60_000_000), (3, "x", 10_000_000, 1)], nothing, nothing, {})
    assert {each.session for each in helped._grid} == {2}


# -- what cannot be read ------------------------------------------------------------------


def test_what_is_no_fault_of_the_database_ends_an_audit(busy, journal_path, monkeypatch):
    """A bug of ours must not pass for damage."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keyring, "find", fails)
    with pytest.raises(ZeroDivisionError):
        audit(journal_path)


def test_whoever_interrupts_an_audit_does_not_wait_for_sqlites_own_check(
    busy, journal_path, monkeypatch
):
    """Of a large file that takes minutes."""
    told = []

    def long(_, ended):
        told.append(ended.wait(20))
        return ["ok"]

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(database, "integrity", long)
    monkeypatch.setattr(auditor, "SessionAudit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audit(journal_path)
    assert told == [True]


def test_sqlites_own_check_breaks_off_where_the_audit_has_ended(busy, journal_path, monkeypatch):
    monkeypatch.setattr(source, "_ASK_EVERY", 1)
    ended = threading.Event()
    assert database.integrity(str(journal_path), ended) == ["ok"]
    ended.set()
    assert "interrupt" in str(database.integrity(str(journal_path), ended))


def test_sizes_that_cannot_be_read_hold_no_audit_up(busy, journal_path, thief):
    busy.close()
    thief.execute("ALTER TABLE sessions RENAME TO sessions_gone")
    said: list[object] = []
    assert audit(journal_path, progress=lambda *sizes: said.append(sizes)).verdict == "broken"


def test_a_session_whose_times_cannot_be_read_is_looked_at(busy, journal_path, thief):
    busy.close()
    thief.execute("ALTER TABLE entries RENAME TO entries_gone")
    with opened(str(journal_path)) as source:
        assert scope._newest_us(source, 2) == MAX_INT


def test_an_error_of_the_driver_is_raised_as_ours(busy, journal_path):
    with pytest.raises(StorageError), opened(str(journal_path)) as source:
        source.query("SELECT * FROM nowhere")


def test_a_key_that_no_session_can_have_is_tried_for_nothing(busy, journal_path, thief):
    """A registration that was edited: what it says now proves no row, and ends no audit."""
    number = thief.session_id(OTHER)
    thief.execute("DELETE FROM sessions WHERE id = ?", number)
    registered = thief.ask(
        "SELECT seq FROM entries WHERE session_id = 1 AND instr(body, CAST(? AS BLOB)) > 0", OTHER
    )
    body = b'{"control":"session","id":%d,"key":"\\ud800"}' % number
    thief.edit("body", registered, body, "journal:")
    told = audit(journal_path)
    assert told.verdict == "broken"
    assert "J303" in {finding.id for finding in told.findings}


def test_a_row_whose_line_is_no_bytes_is_altered_without_the_key_too():
    judge = Linked()
    assert judge.status(row(), b"") == "altered"
    assert judge.status(row(prev=PLAIN["seal"][:16], body=5), b"") == "altered"


def test_a_redaction_that_does_not_say_of_what_redacts_nothing(busy, journal_path, holder):
    for body in (b'{"control":"redaction"}', b'{"control":"redaction","rows":{"x":1},"reason":""}'):
        holder.fact(body, "redaction")
    with opened(str(journal_path)) as source:
        assert read(source, 2, holder.sealer()) == {}


# -- places -------------------------------------------------------------------------------


def test_a_file_system_that_keeps_no_locks_is_told(busy, journal_path, monkeypatch):
    monkeypatch.setattr(database, "mount_of", lambda _: Mount("server:/x", "/x", "nfs4"))
    found = Findings(str(journal_path))
    database.check_files(str(journal_path), found)
    assert [(each.id, each.cause) for each in found.all()] == [
        ("J507", "locks do not hold on this file system")
    ]


def test_a_database_without_a_log_is_none_the_worse(journal_path):
    Journal(journal_path).close()
    found = Findings(str(journal_path))
    database.check_files(str(journal_path), found)
    assert found.all() == ()


HOST = this_process().host


@pytest.mark.parametrize(
    "own, place, host, told",
    [
        ("", "", HOST, None),
        ("", "", "other", " on the host other"),
        ("1/a/s/u", "1/a/s/v", HOST, ": it is served by the user v"),
        ("1/a/s/u", "2/a/s/u", HOST, f": it belongs to the journal on {HOST} that this was copied from"),
        ("?/a/s/u", "2/a/s/u", HOST, ": the server does not tell this user which it is (pg_control_system)"),
        ("?/a/s/u", "2/a/s/u", "other", " on the host other"),
    ],
)  # fmt: skip
def test_a_mirror_that_is_not_looked_at_from_here_is_told_as_what_it_is(own, place, host, told):
    source: Any = SimpleNamespace(place=lambda: own)
    nothing: Any = None
    mirrors = held.MirrorAudit(source, nothing, nothing, nothing, [])
    declared: Any = SimpleNamespace(host=host)
    assert mirrors._elsewhere(declared, place) == told


def test_an_id_that_is_no_text_is_no_id_of_the_journal(busy, journal_path, thief):
    """A row that nobody sealed may claim any: it is told as what it is, and ends no audit."""
    thief.insert_copy("journal:", kind="control", body=b'{"control":"journal","id":"\\ud800"}')
    assert "J301" in {finding.id for finding in audit(journal_path).findings}


@pytest.mark.parametrize(
    "fact",
    [
        b'{"control":"session","id":77,"key":"\\ud800"}',
        b'{"control":"mirror","number":9,"session_id":2,"host":"HOST","path":"/x\\u0000","on_edit":"entries","writer_id":5}',
        b'{"control":"mirror","number":9,"session_id":2,"host":"HOST","path":[7],"on_edit":"entries","writer_id":5}',
    ],
)  # fmt: skip
def test_what_only_the_key_could_refute_ends_no_audit_without_it(
    busy, journal_path, key_file, thief, holder, fact
):
    """Whoever can write the file can link a fact to the newest one; without the key it is believed."""
    thief.execute("INSERT INTO sessions VALUES (77, 'x', 0, 0, 0, 0, x'', 0, 0)")
    body = fact.replace(b"HOST", HOST.encode())
    holder.fact(body, json.loads(body)["control"], "journal:")
    key_file.unlink()
    told = audit(journal_path)
    assert told.verdict == "broken"
    assert "J502" in {finding.id for finding in told.findings}


# -- facts, and who bears witness -----------------------------------------------------------


def test_a_fact_of_a_kind_that_the_registry_does_not_know_is_counted(busy, report, holder):
    for _ in range(2):
        holder.fact(b'{"control":"of tomorrow"}', "of tomorrow", key="journal:")
    assert any("of tomorrow" in text for text in report().not_checked)


def test_a_newest_entry_that_was_edited_twice_is_known_by_the_fence_that_saw_it(
    busy, thief, report
):
    """It links to nothing any more and is no stray: a stored fence has its seal."""
    session = busy.session(KEY, writer="heartbeat", role="heartbeat")
    session.append({"n": 1})
    seq = session.fence().mark.seq
    thief.delete(session.append({"n": 2}).seq)
    for column, value in (("created_us", 7), ("run_id", "other")):
        thief.edit(column, seq, value)
    found = {finding.id: finding for finding in report().findings}
    assert (seq, seq) in found["J304"].ranges
    assert "J302" not in found


def test_two_entries_on_one_link_that_were_both_edited_are_both_told(thief, holder, busy, report):
    """Behind the one whose link was edited the other is looked for at the same place."""
    start = holder.newest()["seal"][:16]
    one = holder.append()
    other = holder.append(prev=start)
    holder.append()
    thief.edit("created_us", one, 7)
    thief.edit("prev", other, b"x" * 16)
    told = [finding.ranges for finding in report().findings if finding.id == "J304"]
    assert told == [((one, one),), ((other, other),)]


def test_progress_is_told_of_stretches_that_others_judged_too(busy, journal_path, monkeypatch):
    monkeypatch.setattr(ahead, "_STRETCH_ROWS", range(2, 2))
    monkeypatch.setattr(Near, "path", str(journal_path), raising=False)
    monkeypatch.setattr(auditor, "Ahead", Near)
    said: list[tuple[int, int]] = []
    audit(journal_path, progress=lambda *sizes: said.append(sizes))
    assert sum(size for size, _ in said) == said[-1][1]


# -- no key, and no next step ---------------------------------------------------------------


def test_a_finding_with_nothing_to_try_says_nothing_of_it():
    found = Findings("/a.db")
    found.add("J501", "cause")
    (finding,) = found.all()
    told = "\n".join(words._finding(finding))
    assert "Try: " in told
    assert list(words._finding(replace(finding, next=None))) == told.splitlines()[:-1]

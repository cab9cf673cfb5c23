"""A healthy journal has no finding; an audit changes nothing, and says what it did not check."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from journal import CorruptError, Journal, NotFoundError, SchemaError
from journal.audit import audit
from journal.engine import driver
from journal.guards import own_hand
from tests.audit.conftest import OTHER
from tests.thieves import KEY


def test_a_journal_with_some_of_everything_has_no_finding(report):
    """And what is left open is said."""
    told = report()

    assert list(map(str, told.findings)) == []
    assert told.verdict == "ok, not anchored"
    assert told.exit_code == 0
    assert any("anchor" in item for item in told.not_checked)


def test_a_new_journal_has_no_finding(journal, journal_path):
    told = audit(journal_path)

    assert told.findings == ()
    assert [head.session for head in told.heads] == ["journal:"]


def test_a_closed_journal_has_no_finding(busy, journal_path):
    busy.close()

    assert audit(journal_path).findings == ()


def test_a_session_that_was_only_fenced_has_no_finding(journal, journal_path):
    """Registered, and nothing written: the fence is what was."""
    journal.session("quiet", writer="gateway", role="run").fence().stored()

    assert audit(journal_path).findings == ()


def test_the_counts_are_those_of_the_journal(report, thief):
    """Completeness: what was looked at is counted."""
    counts = report().completeness

    assert counts["sessions"] == counts["registered_sessions"] == 4
    assert counts["rows"] == counts["entries"] == thief.count("entries")
    assert counts["lines"] + counts["controls"] == counts["entries"]
    assert counts["raw_lines"] == 1
    assert counts["fences"] == thief.count("fences")
    assert counts["parked"] == thief.count("parked") == 2
    assert counts["instances"] == thief.count("instances")


def test_the_words_count_the_registry_apart(tmp_path):
    """As every listing of sessions does; and one is one."""
    with Journal(tmp_path / "one.db") as journal:
        session = journal.session("s", writer="gateway", role="run")
        session.append({"n": 1})
        session.fence().stored()

    told = audit(tmp_path / "one.db").as_text()

    assert "scope:   the whole journal, 1 session and the registry" in told
    assert "looked:  1 session, the registry, 1 registered session, " in told
    assert ", 1 fence" in told
    assert ", 1 entry, 8 bytes" in told
    assert "\n  the registry: seq " in told
    assert "journal::" not in told


def test_the_heads_are_those_of_the_sessions(report, busy):
    heads = {head.session: head for head in report().heads}

    assert (heads[KEY].seq, heads[KEY].epoch) == busy.session(KEY).head
    assert heads[OTHER].entries == 1
    assert len(heads[OTHER].seal) == 16


def test_only_the_sessions_asked_for(report):
    """What was not asked for is listed as not checked; the registry is looked at in any case."""
    told = report(sessions=[OTHER])

    assert [head.session for head in told.heads] == ["journal:", OTHER]
    assert told.scope == (OTHER,)
    assert any("other session" in item for item in told.not_checked)


def test_a_finding_elsewhere_is_not_in_the_scope(report, thief):
    thief.edit("body", 1, b"x", KEY)

    assert report(sessions=[OTHER]).findings == ()
    assert report(sessions=[KEY]).verdict == "broken"


def test_an_unknown_session_is_not_found(report):
    with pytest.raises(NotFoundError) as caught:
        report(sessions=["nobody"])

    assert caught.value.exit_code == 10
    assert caught.value.hint


def test_nothing_is_changed(busy, journal_path):
    """Not a byte of the database or its log, and not its time."""
    before = fingerprints(journal_path)

    audit(journal_path)

    assert fingerprints(journal_path) == before
    busy.close()
    before = fingerprints(journal_path)
    audit(journal_path)
    assert fingerprints(journal_path)[:1] == before[:1]


def fingerprints(path: Path) -> list[tuple[str, int, str]]:
    """Give name, time and content of the database and its log. Only a test may open them so."""
    files = [path, *(file for file in [Path(f"{path}-wal")] if file.exists())]
    with own_hand():  # a read is all right where nobody writes any more
        return [
            (file.name, file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())
            for file in files
        ]


def test_the_json_is_json(report):
    told = json.loads(json.dumps(report().as_json()))

    assert told["schema"] == "journal.audit/1"
    assert told["verdict"] == "ok, not anchored"
    assert set(told) == {
        *("schema", "verdict", "journal", "scope", "heads", "completeness"),
        *("findings", "not_checked", "sqlite"),
    }


def test_the_text_begins_with_the_verdict(report):
    text = report().as_text()

    assert text.startswith("verdict: ok, not anchored\n")
    assert "not checked:" in text


# --- without the key


@pytest.fixture
def keyless(key_file):
    key_file.rename(key_file.with_name("elsewhere"))


def test_without_the_key_nothing_is_ok(report, keyless):
    """What can be checked is, and it is said that no seal was."""
    told = report()

    assert told.verdict == "not verified"
    assert told.exit_code == 3
    assert [finding.id for finding in told.findings] == ["J101"]
    assert any("no key" in item for item in told.not_checked)
    assert told.completeness["entries"] == told.completeness["rows"]


def test_without_the_key_a_session_of_which_only_an_input_is_there_is_not_bare(
    busy, report, keyless
):
    busy.session("said to", writer="you", role="channel").submit({"n": 1})

    told = report()

    assert [finding.id for finding in told.findings] == ["J101"]
    assert told.completeness["pending_inputs"] == 1


def test_the_key_of_another_journal_is_no_key(report, key_file):
    key_file.write_text("00" * 32 + "\n")

    (finding,) = report().findings

    assert finding.id == "J101"
    assert "no entry of the registry was sealed with the key at hand" in str(finding.evidence)


def test_a_key_that_others_may_read_is_no_key(report, key_file):
    key_file.chmod(0o644)

    assert [finding.id for finding in report().findings] == ["J101"]


@pytest.mark.parametrize(
    "edit, check",
    [
        (lambda thief: thief.edit("body", 2, b"x"), "J303"),
        (lambda thief: thief.edit("line_type", 2, "x"), "J308"),
        (lambda thief: thief.edit("epoch", 5, 50), "J202"),
        (lambda thief: thief.edit("cum_bytes", 3, 1), "J204"),
        (lambda thief: thief.edit("prev", 3, bytes(16)), "J201"),
        (lambda thief: thief.delete(3), "J306"),
        (lambda thief: thief.drop_triggers(), "J503"),
        (lambda thief: thief.execute("UPDATE sessions SET head_seq = 1"), "J401"),
        (lambda thief: thief.execute("DELETE FROM writers"), "J405"),
        (lambda thief: thief.insert_copy(), "J201"),
    ],
)
def test_without_the_key_what_shows_is_found(report, keyless, thief, edit, check):
    edit(thief)

    told = report()

    assert told.verdict == "broken"
    assert check in {finding.id for finding in told.findings}


def test_the_journals_id_is_tried_from_its_first_entry_too(found, thief):
    """Who changes the id in meta takes the key from nobody."""
    with thief.without_triggers():
        thief.execute("UPDATE meta SET value = ? WHERE name = 'journal_id'", "0" * 32)

    assert set(found()) == {"J406"}


# --- what is no journal


def test_nothing_there(tmp_path):
    with pytest.raises(NotFoundError):
        audit(tmp_path / "nothing.db")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.db").touch()

    with pytest.raises(NotFoundError):
        audit(tmp_path / "empty.db")


@pytest.mark.parametrize("content", [b"no database\n" * 100, bytes(65536)], ids=["text", "zeros"])
def test_no_database(tmp_path, content):
    (tmp_path / "other.db").write_bytes(content)

    with pytest.raises(CorruptError):
        audit(tmp_path / "other.db")


def test_another_programs_database(tmp_path):
    connection = driver().connect(str(tmp_path / "other.db"))
    connection.execute("CREATE TABLE entries(id INTEGER PRIMARY KEY)")
    connection.close()

    with pytest.raises(SchemaError):
        audit(tmp_path / "other.db")


def test_a_newer_journal(journal, journal_path, thief):
    thief.execute("PRAGMA user_version=99")

    with pytest.raises(SchemaError) as caught:
        audit(journal_path)

    assert caught.value.exit_code == 12


def test_a_truncated_database_is_no_crash_and_never_ok(busy, journal_path, tmp_path):
    """Whatever can be read is; what cannot is said."""
    busy.close()
    whole = journal_path.read_bytes()
    for size in range(4096, len(whole), 4096):
        cut = tmp_path / "cut.db"
        cut.write_bytes(whole[:size])
        with suppress(CorruptError):
            assert audit(cut).verdict == "broken", size


def test_a_page_of_zeros_is_no_crash_and_never_ok(busy, journal_path, tmp_path):
    busy.close()
    whole = journal_path.read_bytes()
    for start in range(4096, len(whole), 4096):
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(whole[:start] + bytes(4096) + whole[start + 4096 :])
        try:
            told = audit(damaged)
        except CorruptError:
            continue
        # A page may lie free, and then its content is nobody's.
        assert told.verdict == "broken" or told.findings == (), start


def test_hostile_text_reaches_no_terminal(report, busy, thief):
    """Escapes, bidi controls and lone bytes come out as what they are, not as what they do."""
    name = "agent:\u202emain"
    busy.session(name, writer="gateway", role="run").append({"n": 1})
    hostile = "\x1b]52;c;x\x07\u202e\x9b"
    thief.execute("UPDATE writers SET name = ? WHERE name = 'cron'", hostile)
    thief.edit("kind", 2, hostile)
    thief.edit("body", 1, hostile.encode(), name)

    text = report().as_text()

    assert "\\x1b" in text
    assert not {char for char in text if not char.isprintable() and char != "\n"}


def test_an_audit_runs_beside_an_open_journal_and_by_url(busy, journal_path):
    assert audit(f"sqlite:///{journal_path}").findings == ()
    with Journal(journal_path) as another:
        another.session(KEY, writer="heartbeat", role="heartbeat").append({"n": 1})
        assert audit(str(journal_path)).findings == ()


def test_healthy_journals_of_any_history_have_no_finding(tmp_path):
    """Ten thousand by hand: ``python -m tests.audit.healthy 10000``."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.audit.healthy", "60", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr

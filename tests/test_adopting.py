"""``journal key adopt``: a new key era, with the old key at hand and without it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing

import pytest

from journal import CorruptError, Journal, KeyMissing, StorageError, Superseded, adopting, keys
from journal.adopting import adopt_key
from journal.anchor import take
from journal.audit import AnchorFile, audit
from journal.bundle import write_bundle
from journal.custody import custody, export_key, import_key
from journal.redaction import redact
from journal.seal import Sealer, commitment, derive_key

KEY = "agent:main:main"
LINES = [{"type": "message", "id": f"m{n}", "text": "x" * n} for n in range(40)]


@pytest.fixture
def path(tmp_path):
    return filled(tmp_path / "journal.db")


def filled(where):
    """Make a journal with entries, a fence, a claim, a parked write and an input."""
    with Journal(where) as journal:
        run = journal.session(KEY, writer="gateway", role="run")
        run.extend(LINES)
        with run.fence() as fence:
            fence.append({"type": "message", "id": "fenced"})
        turn = run.claim()
        journal.session(KEY, writer="you", role="operator").submit({"type": "message", "id": "in"})
        second = run.claim(supersede="newer")
        with pytest.raises(Superseded):
            turn.append({"type": "message", "id": "late"})
        second.release()
        journal.session("other", writer="cron", role="cron").append({"n": 1})
    return where


@pytest.fixture
def key_path(path):
    return custody(path).path


def bodies(path, key=KEY):
    with Journal(path) as journal:
        return [entry.body for entry in journal.session(key)]


def verdict(path):
    report = audit(path)
    assert report.verdict in ("ok, not anchored", "not verified"), report.findings
    return report.verdict


def settled(key_path):
    return [each for each in keys.read_secrets(key_path) if not each.is_pending]


def alter(path, statement, *values):
    """Change a database by plain SQL, its triggers put back as they were; return how many rows it was."""
    with closing(sqlite3.connect(path)) as thief, thief:
        triggers = thief.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            thief.execute(f"DROP TRIGGER {name}")
        count = thief.execute(statement, values).rowcount
        for _, sql in triggers:
            thief.execute(sql)
    return count


def checks(path):
    return {finding.id for finding in audit(path).findings}


def test_a_rotation_changes_what_seals_and_nothing_that_stands(path, key_path):
    before = bodies(path)
    old = custody(path)

    new = adopt_key(path, reason="the laptop was sold")

    assert (old.era, new.era) == (1, 2)
    assert new.fingerprint != old.fingerprint
    assert [each.era for each in settled(key_path)] == [1, 2]
    assert bodies(path) == before
    assert verdict(path) == "ok, not anchored"
    with Journal(path) as journal:
        entry = journal.session(KEY, writer="gateway", role="run").append({"type": "message"})
        assert journal.session(KEY).read(entry.seq - 1)[0].body == entry.body
    assert verdict(path) == "ok, not anchored"
    assert sqlite3.connect(path).execute(
        "SELECT DISTINCT key_id FROM entries ORDER BY 1"
    ).fetchall() == [(1,), (2,)]


def test_eras_follow_each_other(path, key_path):
    for era in (2, 3, 4):
        assert adopt_key(path).era == era
        with Journal(path) as journal:
            journal.session(KEY, writer="gateway", role="run").append({"era": era})
            journal.session(f"of era {era}", writer="gateway", role="run").append({"era": era})
    assert [each.era for each in settled(key_path)] == [1, 2, 3, 4]
    assert verdict(path) == "ok, not anchored"
    assert len(bodies(path)) == len([*LINES, 1, 2, 3, 4])


def test_a_stray_among_the_entries_of_an_older_era_is_told_as_that(path):
    """It is no part of what the next era's first entry has the digest of."""
    with Journal(path) as journal:
        hole = journal.session(KEY, writer="gateway", role="run").append({"n": 1}).seq
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    adopt_key(path)
    assert alter(
        path, "UPDATE entries SET seal = zeroblob(32) WHERE session_id = 2 AND seq = ?", hole
    )
    assert "J113" in checks(path)
    assert audit(path).verdict == "broken"


def test_parked_writes_fences_and_inputs_are_as_good_as_before(path):
    adopt_key(path)
    with Journal(path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        (parked,) = session.parked()
        turn = session.claim()
        assert [each.json()["id"] for each in turn.take_inputs()] == ["in"]
        turn.release()
        parked.apply(writer="operator")
        with session.fence() as fence:
            pass
        assert fence.check().accepted
    assert verdict(path) == "ok, not anchored"


def test_whoever_has_only_the_old_key_is_told_and_cannot_seal(path, key_path, tmp_path):
    old = tmp_path / "old.key"
    export_key(path, old)
    adopt_key(path)

    with pytest.raises(KeyMissing, match="got a new key") as caught:
        Journal(path, key_file=old)
    assert caught.value.code == "key-changed"
    assert audit(path, key_file=old).verdict == "not verified"


def test_a_forged_table_of_facts_brings_no_old_key_back(path, tmp_path):
    """It says that the old key is the present one: whoever believes it is told at the first use."""
    old = tmp_path / "old.key"
    known = export_key(path, old)
    adopt_key(path)
    assert alter(
        path, "UPDATE meta SET value = ? WHERE name = 'key_fingerprint'", known.fingerprint
    )

    with Journal(path, key_file=old) as journal, pytest.raises(KeyMissing, match="got a new key"):
        journal.session(KEY, writer="gateway", role="run").append({"type": "message"})
    with pytest.raises(KeyMissing, match="got a new key"):
        adopt_key(path, key_file=old)


def test_a_process_that_has_the_journal_open_is_refused_until_it_opens_it_again(path):
    with Journal(path) as journal:
        run = journal.session(KEY, writer="gateway", role="run")
        adopt_key(path)
        with pytest.raises(KeyMissing, match="got a new key") as caught:
            run.append({"type": "message"})
        assert caught.value.code == "key-changed"
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"type": "message"})
    assert verdict(path) == "ok, not anchored"


SEALED = (
    "prev", "seq", "epoch", "writer_id", "instance_id", "recorder_id", "trusted", "created_us", "cum_bytes",
    "commitment", "claim", "kind", "origin", "run_id", "on_behalf_of", "request_id",
)  # fmt: skip


class OldHand:
    """Somebody who kept the secret of the first era, and can write the file."""

    def __init__(self, path, secret):
        self.path = path
        with Journal(path) as journal:
            assert journal.session(KEY).head
            self.journal_id, self.numbers = journal.id, dict(journal.store.registry.session_ids)
        self.key = derive_key(secret, self.journal_id)

    def newest(self, key):
        with closing(sqlite3.connect(self.path)) as thief:
            thief.row_factory = sqlite3.Row
            found = thief.execute(
                "SELECT * FROM entries WHERE session_id = ? ORDER BY seq DESC", (self.numbers[key],)
            )
            return dict(found.fetchone())

    def sealed(self, key, row, body, key_id=1):
        row |= {"body": body, "terminator": b"\n", "salt": b"s" * 16, "key_id": key_id}
        row["commitment"] = commitment(row["salt"], body, b"\n")
        sealer = Sealer(self.key, key_id, self.numbers[key], key)
        return row | {"seal": sealer.seal(*(row[name] for name in SEALED))}


def test_what_a_thief_seals_with_the_old_key_afterwards_does_not_hold(path, key_path):
    """He appends a row that would have been true in the old era."""
    hand = OldHand(path, keys.read_secret(key_path))
    adopt_key(path)
    row = hand.newest(KEY)
    row |= {"id": None, "seq": row["seq"] + 1, "epoch": row["epoch"] + 1, "prev": row["seal"][:16]}
    row |= {"kind": "line", "claim": None, "cum_bytes": row["cum_bytes"] + 11}
    row = hand.sealed(KEY, row, b'{"forged":1}')

    marks = ", ".join("?" * len(row))
    assert alter(path, f"INSERT INTO entries VALUES ({marks})", *row.values())

    assert b'{"forged":1}' not in bodies(path)
    assert "J301" in checks(path)


@pytest.mark.parametrize("times", [1, 2])
def test_a_thief_begins_no_era_with_an_old_key(path, key_path, times):
    """He says in the registry that his is the newest key, and where the eras before it ended."""
    for _ in range(times):
        adopt_key(path)
    known = custody(path)
    hand = OldHand(path, keys.read_secrets(key_path)[times - 1].value)
    hand.numbers["journal:"] = 1
    row = hand.newest("journal:")
    row |= {"id": None, "seq": row["seq"] + 1, "epoch": row["epoch"] + 1, "prev": row["seal"][:16]}
    body = b'{"control":"era","key_id":9,"fingerprint":"","was_at_hand":true,"reason":"","sessions":[]}'
    row = hand.sealed("journal:", row, body, key_id=9)

    marks = ", ".join("?" * len(row))
    assert alter(path, f"INSERT INTO entries VALUES ({marks})", *row.values())

    assert custody(path) == known
    assert len(bodies(path)) == len(LINES) + 1
    assert audit(path).verdict == "broken"


def test_what_a_thief_makes_of_the_old_era_with_the_old_key_shows(path, key_path):
    """He seals the newest line of a session anew, all as it should be: only the digest can tell."""
    hand = OldHand(path, keys.read_secret(key_path))
    adopt_key(path)
    row = hand.sealed("other", hand.newest("other"), b'{"n":2}')

    update = "UPDATE entries SET body = ?, salt = ?, commitment = ?, seal = ? WHERE id = ?"
    values = (row[name] for name in ("body", "salt", "commitment", "seal", "id"))
    assert alter(path, update, *values)

    assert checks(path) == {"J113"}
    assert audit(path).verdict == "broken"


@pytest.fixture
def lost(path, key_path):
    key_path.unlink()
    return path


def test_without_the_key_nothing_is_adopted_unless_somebody_says_that_it_is_lost(lost, key_path):
    with pytest.raises(KeyMissing, match="not there") as caught:
        adopt_key(lost)
    assert "--without-key" in str(caught.value.hint)
    assert not key_path.exists()


def test_a_journal_whose_key_is_lost_is_adopted_as_it_stands(path, lost):
    new = adopt_key(lost, without_key=True, reason="lost with the disk")

    assert (new.era, new.lost) == (2, (1,))
    assert len(bodies(lost)) == len(LINES) + 1
    report = audit(lost)
    assert report.verdict == "ok, not anchored", report.findings
    assert any("key era 1" in each for each in report.not_checked)
    with Journal(lost) as journal:
        run = journal.session(KEY, writer="gateway", role="run")
        run.append({"type": "message"})
        journal.session("new", writer="gateway", role="run").append({"type": "message"})
        assert run.parked()
    assert verdict(lost) == "ok, not anchored"
    assert adopt_key(lost).era == 3
    assert verdict(lost) == "ok, not anchored"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET writer_id = 3 WHERE line_id = 'm7'",
        "UPDATE entries SET created_us = created_us + 1 WHERE line_id = 'm7'",
        "UPDATE entries SET body = CAST('{}' AS BLOB) WHERE line_id = 'm7'",
        "DELETE FROM entries WHERE line_id = 'm7'",
    ],
)
def test_what_was_adopted_cannot_be_changed_unseen(lost, change):
    adopt_key(lost, without_key=True)
    assert alter(lost, change)

    assert audit(lost).verdict == "broken"
    assert checks(lost) & {"J113", "J303", "J306"}


def test_a_journal_that_looks_wrong_is_not_adopted_without_its_key(lost, key_path):
    assert alter(lost, "UPDATE entries SET body = CAST('{}' AS BLOB) WHERE line_id = 'm7'")

    with pytest.raises(CorruptError) as caught:
        adopt_key(lost, without_key=True)
    assert caught.value.code == "not-adoptable"
    assert not key_path.exists()
    assert sqlite3.connect(lost).execute("SELECT max(key_id) FROM entries").fetchone() == (1,)


def test_the_second_key_may_be_lost_too(path, key_path, tmp_path):
    adopt_key(path)
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"type": "message"})
    first = keys.read_secrets(key_path)[0]
    key_path.write_text(first.value.hex() + "\n")
    with pytest.raises(KeyMissing):
        adopt_key(path)

    new = adopt_key(path, without_key=True)

    assert (new.era, new.lost) == (3, (2,))
    assert len(bodies(path)) == len(LINES) + 2
    assert verdict(path) == "ok, not anchored"


def test_a_redaction_of_an_old_line_stays_a_redaction(path):
    adopt_key(path)
    with Journal(path) as journal:
        session = journal.session(KEY, writer="you", role="operator")
        redact(session, [3], reason="a secret")
    assert verdict(path) == "ok, not anchored"


def test_an_exported_key_opens_the_journal_elsewhere_in_every_era(path, key_path, tmp_path):
    old, both = tmp_path / "old.key", tmp_path / "both.key"
    export_key(path, old)
    adopt_key(path)
    export_key(path, both)
    key_path.unlink()
    keys.put_secret(key_path, keys.read_secret(old))

    assert import_key(path, both).era == 2
    assert verdict(path) == "ok, not anchored"


def test_a_lost_key_that_is_found_proves_its_era_again(path, key_path, tmp_path):
    """As doctor says: it is imported beside the new one, which stays."""
    found = tmp_path / "found.key"
    key_path.rename(found)
    adopt_key(path, without_key=True)

    known = import_key(path, found)

    assert (known.era, known.lost) == (2, ())
    assert verdict(path) == "ok, not anchored"


def test_nothing_is_added_to_a_file_that_holds_only_others_keys(path, key_path, tmp_path):
    own, others = tmp_path / "own.key", (b"x" * 32).hex() + "\n"
    export_key(path, own)
    key_path.write_text(others)

    with pytest.raises(KeyMissing, match="another key") as caught:
        import_key(path, own)

    assert caught.value.code == "key-exists"
    assert key_path.read_text() == others


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET commitment = zeroblob(32) WHERE line_type = 'era'",
        "UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '[1,', '[9,') AS BLOB) WHERE line_type = 'era'",
        "DELETE FROM entries WHERE line_type = 'era' AND seq = (SELECT max(seq) FROM entries WHERE line_type = 'era')",
    ],
)
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_damaged_first_entry_of_an_era_is_not_taken_for_none(
    path, key_path, monkeypatch, change, is_lost
):
    """Without it nobody knows where the old era ended; nothing is written in the wrong one, and no fence accepts."""
    monkeypatch.setattr(adopting, "_SESSIONS_A_FACT", 1)
    if is_lost:
        key_path.unlink()
    adopt_key(path, without_key=is_lost)
    assert alter(path, change)

    with pytest.raises((KeyMissing, CorruptError)):
        Journal(path)
    assert audit(path).verdict in ("broken", "not verified")


def test_a_lost_eras_first_entry_is_held_against_the_next_eras_digest(path, key_path):
    """The key of the second era is lost, so no seal tells that its first entry was forged."""
    adopt_key(path)
    key_path.unlink()
    adopt_key(path, without_key=True)
    body = 'CAST(replace(CAST(body AS TEXT), \'"reason":""\', \'"reason":"x"\') AS BLOB)'
    salted = alter(
        path,
        f"UPDATE entries SET body = {body}, commitment = zeroblob(32) WHERE line_type = 'era' AND key_id = 2",
    )
    assert salted

    with pytest.raises(CorruptError) as caught:
        Journal(path)
    assert caught.value.code == "era-damaged"


def test_nothing_is_written_in_the_wrong_era(path):
    """The old era's newest rows are gone, so the head is below where the new one began."""
    with Journal(path) as journal:
        head = journal.session(KEY).head.seq
    adopt_key(path)
    assert alter(path, "DELETE FROM entries WHERE session_id = 2 AND seq > ?", head - 3) == 3

    with Journal(path) as journal:
        run = journal.session(KEY, writer="gateway", role="run")
        assert run.append({"type": "message", "id": "after"}).seq > head
    with Journal(path) as journal:
        assert list(journal.session(KEY))[-1].json()["id"] == "after"
    assert {"J113", "J306"} <= checks(path)


def test_an_adoption_that_does_not_come_to_its_end_changes_nothing(path, monkeypatch):
    before = custody(path)
    with monkeypatch.context() as patch:
        patch.setattr(adopting._Adoption, "_prove_examined", lambda *_: 1 / 0)
        with pytest.raises(StorageError):
            adopt_key(path)

    assert custody(path) == before
    assert verdict(path) == "ok, not anchored"
    assert adopt_key(path).era == 2


def test_a_mirror_goes_on_in_the_new_era(path, tmp_path):
    file = tmp_path / "main.jsonl"
    with Journal(path) as journal:
        journal.mirrors.add(KEY, file)
    adopt_key(path)
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"type": "message", "id": "new"})

    assert file.read_bytes().endswith(b'"id":"new"}\n')
    assert audit(path).verdict == "ok, not anchored", audit(path).findings
    assert not [each for each in audit(path).findings if each.severity != "notice"]


def test_whoever_is_killed_before_he_proves_what_is_known_of_mirrors_accuses_nobody(
    path, tmp_path, monkeypatch
):
    """The era has begun by then; the next comparison of the file is a full one."""
    file = tmp_path / "main.jsonl"
    with Journal(path) as journal:
        journal.mirrors.add(KEY, file)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(adopting, "_prove_mirrors", killed)
        with pytest.raises(KeyboardInterrupt):
            adopt_key(path)

    assert not audit(path).findings
    assert custody(path).era == 2
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"type": "message", "id": "new"})
    assert file.read_bytes().endswith(b'"id":"new"}\n')
    assert not audit(path).findings


def test_a_mirror_goes_on_where_the_old_key_is_lost(path, key_path, tmp_path):
    """What was known of its file nobody can prove any more: that is forgotten, and no finding."""
    file = tmp_path / "main.jsonl"
    with Journal(path) as journal:
        journal.mirrors.add(KEY, file)
    key_path.unlink()

    adopt_key(path, without_key=True)

    assert not audit(path).findings
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"type": "message", "id": "new"})
        assert journal.mirrors.status()[0].state == "on"
    assert file.read_bytes().endswith(b'"id":"new"}\n')
    assert not audit(path).findings


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_bundle_tells_the_eras_apart(path, key_path, tmp_path, is_lost):
    if is_lost:
        key_path.unlink()
    adopt_key(path, without_key=is_lost)
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"type": "message", "id": "new"})
    target, unpacked = tmp_path / "evidence.zip", tmp_path / "unpacked"
    write_bundle(path, target)
    zipfile.ZipFile(target).extractall(unpacked)

    command = [sys.executable, "-I", "-S", unpacked / "verify.py", "--key", key_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == (3 if is_lost else 0), done.stdout + done.stderr
    assert ("NOT CHECKED" in done.stdout) == is_lost
    assert ("verdict: not verified" in done.stdout) == is_lost
    assert "WRONG" not in done.stdout


def test_another_journals_secret_in_a_shared_key_file_makes_no_honest_bundle_wrong(
    tmp_path, monkeypatch
):
    """It names no journal, and so may be the lost one: what it made nothing of is unproved, not forged."""
    shared = tmp_path / "shared.key"
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(shared))
    path = filled(tmp_path / "journal.db")
    shared.unlink()
    filled(tmp_path / "another.db")
    adopt_key(path, without_key=True)
    target, unpacked = tmp_path / "evidence.zip", tmp_path / "unpacked"
    assert write_bundle(path, target).report.verdict == "ok, not anchored"
    zipfile.ZipFile(target).extractall(unpacked)

    command = [sys.executable, "-I", "-S", unpacked / "verify.py", "--key", shared]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert "WRONG" not in done.stdout, done.stdout
    assert (done.returncode, "verdict: not verified, seals not checked: " in done.stdout) == (
        3,
        True,
    )


@pytest.fixture
def copy(path, tmp_path):
    """The journal as it stood in the first era."""
    with (
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(tmp_path / "old.db")) as to,
    ):
        source.backup(to)
    return tmp_path / "old.db"


def test_an_older_copy_is_not_taken_for_the_journal(path, copy, tmp_path):
    """Who has the old key and puts the old state back could seal what he likes in it."""
    adopt_key(path)
    copy.replace(path)

    with pytest.raises(KeyMissing) as caught:
        Journal(path)
    assert caught.value.code == "key-era"
    report = audit(path)
    assert report.verdict == "not verified"
    assert "older than its key" in str(report.findings)


def test_an_older_copy_goes_on_in_an_era_of_its_own_if_somebody_says_so(path, copy):
    adopt_key(path)
    copy.replace(path)

    new = adopt_key(path, without_key=True, reason="the newer one is lost")

    assert (new.era, new.lost) == (3, ())  # the first era's key is there, so its seals are checked
    assert verdict(path) == "ok, not anchored"


def test_an_old_key_begins_no_era(path, key_path):
    """He seals the first entry of a third era with the key of the first: the key file knows better."""
    hand = OldHand(path, keys.read_secret(key_path))
    hand.numbers["journal:"] = 1
    adopt_key(path)
    row = hand.newest("journal:")
    body = b'{"control":"era","key_id":3,"was":2,"fingerprint":"","was_at_hand":true,"reason":"","sessions":[]}'
    row |= {"id": None, "seq": row["seq"] + 1, "epoch": row["epoch"] + 1, "prev": row["seal"][:16]}
    row = hand.sealed("journal:", row, body) | {"terminator": b"", "key_id": 3}
    row["commitment"] = commitment(row["salt"], body, b"")
    sealer = Sealer(hand.key, 3, 1, "journal:")
    row["seal"] = sealer.seal(*(row[name] for name in SEALED))
    marks = ", ".join("?" * len(row))
    assert alter(path, f"INSERT INTO entries VALUES ({marks})", *row.values())

    assert custody(path).era == 2
    assert "J301" in checks(path)


def test_an_adoption_that_was_cut_off_after_its_commit_is_completed(path, key_path, monkeypatch):
    """The key file says only that the era may have begun; the journal that it has."""
    with monkeypatch.context() as patch:
        patch.setattr(adopting, "custody", lambda *_: None)
        adopt_key(path)
    assert [each.is_pending for each in keys.read_secrets(key_path)] == [False, True]

    assert verdict(path) == "ok, not anchored"
    Journal(path).close()
    assert [each.is_pending for each in keys.read_secrets(key_path)] == [False, True, False]


def test_a_secret_that_never_began_an_era_stands_in_nobodys_way(path, key_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(adopting._Adoption, "_begin", lambda *_, **__: 1 / 0)
        with pytest.raises(StorageError):
            adopt_key(path)

    Journal(path).close()
    assert custody(path).era == 1
    assert adopt_key(path).era == 2
    assert verdict(path) == "ok, not anchored"


def test_a_session_that_only_a_file_wrote_to_stays_whole(path, tmp_path):
    """Nobody examined it, and that is proved too."""
    file = tmp_path / "outside.jsonl"
    with Journal(path) as journal:
        journal.mirrors.add("outside", file)
        file.write_bytes(b'{"type":"message"}\n')
        journal.mirrors.reconcile(journal.store.registry.session_ids["outside"])
    before = checks(path)
    adopt_key(path)
    assert checks(path) == before


def test_an_older_eras_own_entry_cannot_reach_past_the_next_eras_beginning(path, key_path):
    """Two keys lost: what the first adoption's entry says is only believed as the second found it."""
    for _ in range(2):
        key_path.unlink()
        adopt_key(path, without_key=True)
    more = "CAST(replace(CAST(body AS TEXT), '[2,', '[2,9') AS BLOB)"
    assert alter(path, f"UPDATE entries SET body = {more} WHERE line_type = 'era' AND key_id = 2")

    with pytest.raises((CorruptError, KeyMissing)), Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    assert audit(path).verdict in ("broken", "not verified")


def test_two_journals_of_one_key_file_have_their_own_eras(path, key_path, tmp_path):
    other = tmp_path / "other.db"
    with Journal(other) as journal:
        journal.session("s", writer="w", role="run").append({"n": 1})
    adopt_key(path)
    adopt_key(other)
    adopt_key(path)

    assert (custody(path).era, custody(other).era) == (3, 2)
    assert (verdict(path), verdict(other)) == ("ok, not anchored", "ok, not anchored")


def test_an_anchor_of_the_old_key_shows_what_is_gone_and_vouches_for_nothing(path):
    """Who has the old key can sign what stands today with it."""
    with Journal(path) as journal:
        old = AnchorFile("old", take(journal).text.encode())
    adopt_key(path)
    with Journal(path) as journal:
        new = AnchorFile("new", take(journal).text.encode())

    assert audit(path, anchors=[old]).verdict == "ok, not anchored"
    assert audit(path, anchors=[old, new]).verdict == "ok"
    assert alter(path, "DELETE FROM entries WHERE session_id = 2 AND seq > 30")
    assert "J801" in {finding.id for finding in audit(path, anchors=[old]).findings}

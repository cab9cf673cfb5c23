"""The rules that may never break, each with the tests named after it.

Rule 9, the mirror, comes with the mirror. Rules 10 and 11 are also held where
files are migrated and where the audit is tested.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from journal import (
    BusyError,
    ClaimedError,
    EntryError,
    Journal,
    NotTrusted,
    SessionTakeover,
    StorageError,
    Superseded,
)
from journal.durability import CAN_SYNC
from journal.engine import connect, driver
from tests.thieves import KEY, findings

if TYPE_CHECKING:
    from journal import Session

LINE = {"type": "custom", "customType": "n"}


def rows_of(thief, key: str = KEY, columns: str = "seq, epoch, writer_id, instance_id, kind"):
    statement = f"SELECT {columns} FROM entries WHERE session_id = ? ORDER BY seq"
    return thief.execute(statement, thief.session_id(key)).fetchall()


# --- 1. identity inside the transaction


def test_rule_1_identity_inside_the_transaction_revoked_since(base, open_journal, thief):
    """A handle made before its writer was revoked writes nothing after."""
    open_journal().revoke("gateway", "left")
    before = thief.dump()

    for write in (base.append, lambda line: base.extend([line]), base.fence().append):
        with pytest.raises(NotTrusted) as caught:
            write(LINE)
        assert caught.value.code == "revoked"
        assert "left" in str(caught.value)
    with pytest.raises(NotTrusted):
        base.claim()
    assert thief.dump() == before


def test_rule_1_identity_inside_the_transaction_revoked_by_this_process(base, journal):
    """The same where the revocation came through the very same connection."""
    base.append(LINE)
    journal.revoke("gateway", "left")

    with pytest.raises(NotTrusted):
        base.append(LINE)


def test_rule_1_identity_inside_the_transaction_claimed_since(base, open_journal):
    """A claim that committed a moment ago counts for a handle made before it."""
    open_journal().session(KEY, writer="other", role="run").claim()

    with pytest.raises(ClaimedError):
        base.append(LINE)


def test_rule_1_identity_inside_the_transaction_declared_by_another_since(journal, open_journal):
    """Two processes that declare one name with two roles: the second is refused at its write."""
    first = journal.session(KEY, writer="worker", role="tool")
    second = open_journal().session(KEY, writer="worker", role="cron")
    first.append(LINE)

    with pytest.raises(NotTrusted) as caught:
        second.append(LINE)

    assert caught.value.code == "role-differs"


def test_rule_1_identity_is_the_handles_and_never_the_threads(journal):
    """One thread with many handles, one handle in many threads: each line has its handle's writer."""
    handles = [journal.session(KEY, writer=f"w{number}", role="tool") for number in range(4)]

    def write(handle: Session) -> None:
        for other in (handle, handles[0], handle):
            other.append({"by": other.identity.writer if other.identity else None})

    threads = [threading.Thread(target=write, args=(handle,)) for handle in handles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for entry in journal.session(KEY).read():
        assert entry.json()["by"] == entry.writer


# --- 2. order


def test_rule_2_order_after_a_mixed_history(base, journal, open_journal, heartbeat, thief, clock):
    """Seq and epoch begin at 1 without a gap; a write is adjacent and by one writer and instance."""
    other = open_journal()
    cron = other.session(KEY, writer="cron", role="cron")
    clock.step(-(10**12))  # time goes backwards, and order does not care
    for number in range(5):
        heartbeat.append({"n": number})
        cron.extend([{"n": number}, {"n": number}, {"n": number}])
        with base.fence() as fence:
            fence.append({"reply": number})
        with base.claim() as turn:
            turn.append({"n": number})
            with pytest.raises(ClaimedError):
                base.append({"refused": number})
        with pytest.raises(EntryError):
            base.append(b"")
        with journal.batch() as batch:
            batch.append(base, {"n": number})
            batch.extend(heartbeat, [{"n": number}, {"n": number}])
            batch.append(journal.session("other", writer="cron", role="cron"), {"n": number})

    for key in (KEY, "other", "journal:"):
        holds_order(rows_of(thief, key))


def holds_order(rows) -> None:
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    epochs = [row[1] for row in rows]
    assert epochs[0] == 1
    assert all(after - before in (0, 1) for before, after in itertools.pairwise(epochs))
    for _, write in itertools.groupby(rows, key=lambda row: row[1]):
        assert len({row[2:4] for row in write}) == 1


def test_rule_2_order_with_many_processes(journal_path, thief, base):
    """Four processes at once: every acknowledged seq is there once, in each process's own order."""
    script = (
        "import sys\nfrom journal import Journal\n"
        "with Journal(sys.argv[1]) as journal:\n"
        "    session = journal.session(sys.argv[2], writer=sys.argv[3], role='tool')\n"
        "    for number in range(40):\n"
        "        print(session.append({'n': number}).seq)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(journal_path), KEY, f"w{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    acknowledged = [[int(seq) for seq in process.communicate()[0].split()] for process in processes]

    assert [process.returncode for process in processes] == [0] * 4
    assert all(seqs == sorted(seqs) for seqs in acknowledged)
    assert sorted(itertools.chain([1], *acknowledged)) == thief.seqs()
    holds_order(rows_of(thief))


def test_rule_2_every_write_leaves_a_sealed_entry_and_a_refused_one_none(base, thief):
    base.extend([])
    turn = base.claim()
    before = thief.seqs()

    with pytest.raises(ClaimedError):
        base.append(LINE)

    assert thief.seqs() == before
    assert turn.release()
    assert len(thief.seqs()) == len(before) + 1


# --- 3. nothing changes, nothing vanishes


def test_rule_3_nothing_changes_and_nothing_vanishes(base, journal, heartbeat, thief):
    """Whatever is done, every row that stood before stands after, byte for byte."""
    base.extend([{"n": 1}, b"raw \xff bytes\r\n"])
    before = thief.execute("SELECT * FROM entries ORDER BY id").fetchall()

    fence = base.fence()
    thief.insert_copy()
    heartbeat.append(LINE)
    with pytest.raises(SessionTakeover) as caught:
        fence.append(LINE)
    caught.value.parked.apply()
    base.claim().append(LINE)
    base.claim(supersede="x").release()
    journal.revoke("gateway", "left")
    journal.close()

    after = thief.execute("SELECT * FROM entries ORDER BY id").fetchall()
    assert after[: len(before)] == before
    assert len(after) > len(before)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = x'00'",
        "UPDATE entries SET seq = seq + 1000",
        "DELETE FROM entries",
        "REPLACE INTO entries SELECT * FROM entries",
        "UPDATE meta SET value = 'x' WHERE name = 'journal_id'",
    ],
)
def test_rule_3_nothing_changes_by_plain_sql_either(base, thief, statement):
    """Short of taking the triggers away; then the seals tell."""
    before = thief.dump()

    with pytest.raises(driver().IntegrityError):
        thief.execute(statement)

    assert thief.dump() == before


# --- 4. durable on return


@pytest.fixture
def synced(journal, monkeypatch) -> list[int]:
    """How far the log reached each time it was synced, as seen at that moment by another."""
    seen: list[int] = []
    path, fdatasync = journal.store.path, os.fdatasync

    def sync(descriptor: int) -> None:
        assert Path(f"/proc/self/fd/{descriptor}").resolve() == Path(f"{path}-wal")
        reader = connect(path, mode="ro")
        seen.append(
            reader.execute("SELECT max(seq) FROM entries WHERE session_id > 1").fetchone()[0]
        )
        reader.close()
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    return seen


@pytest.mark.skipif(not CAN_SYNC, reason="SQLite syncs in COMMIT here")
@pytest.mark.parametrize("write", ["append", "extend", "batch", "fence", "claim"])
def test_rule_4_durable_on_return(base, journal, synced, write):
    """When a write returns, the log was synced after its row was in it."""
    {
        "append": lambda: base.append(LINE),
        "extend": lambda: base.extend([LINE, LINE]),
        "batch": lambda: batched(journal, base),
        "fence": lambda: base.fence().append(LINE),
        "claim": base.claim,
    }[write]()

    assert synced[-1] == base.head.seq


def batched(journal, session) -> None:
    with journal.batch() as batch:
        batch.append(session, LINE)


@pytest.mark.skipif(not CAN_SYNC, reason="SQLite syncs in COMMIT here")
def test_rule_4_what_cannot_be_synced_is_not_acknowledged(base, journal, monkeypatch, open_journal):
    """After a failed sync nothing is acknowledged any more, for the kernel may have dropped the pages."""
    base.append(LINE)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fails)
        with pytest.raises(StorageError) as caught:
            base.append(LINE)
    assert caught.value.code == "not-durable"

    with pytest.raises(StorageError) as again:  # though the disk would take it now
        base.append(LINE)
    assert again.value.code == "not-durable"
    assert open_journal().session(base.key, writer="w2", role="run").append(LINE).seq > 1


def fails(descriptor: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.skipif(CAN_SYNC, reason="the journal syncs the log itself here")
def test_rule_4_sqlite_syncs_where_the_journal_does_not(journal):
    assert journal.store.cursor.execute("PRAGMA synchronous").fetchone() == (2,)


def test_rule_4_normal_is_asked_for(journal_path, monkeypatch):
    """Only who asked for less gets less: nothing is synced."""
    monkeypatch.setattr(os, "fdatasync", fails, raising=False)
    with Journal(journal_path, durability="normal") as journal:
        assert journal.store.cursor.execute("PRAGMA synchronous").fetchone() == (1,)
        assert journal.session("s", writer="w", role="run").append(LINE).seq == 1


def test_rule_4_what_returned_was_committed(base, journal, thief):
    """Nothing is held back: when append returns, every other process reads the line."""
    entry = base.append(LINE)

    assert thief.column("body", entry.seq) == entry.body
    assert not journal.store._raw.driver_connection.in_transaction


# --- 5. trust is declared identity plus a valid seal


def test_rule_5_trust_is_never_content(base, heartbeat, thief):
    """The same bytes are trusted from a declared writer and foreign from anybody else."""
    fence = base.fence()
    honest = heartbeat.append({"same": "bytes"})
    forged = thief.insert_copy(of=honest.seq)

    verdict = fence.check(raise_=False)

    assert [entry.seq for entry in verdict.arrived] == [honest.seq]
    assert [entry.seq for entry in verdict.foreign] == [forged]
    assert verdict.foreign[0].data == honest.data


def test_rule_5_trust_is_never_file_state(base, journal_path):
    """Times, modes and a checkpoint of the files change no verdict."""
    fence = base.fence()
    for path in journal_path.parent.glob("agent.db*"):
        os.utime(path, (0, 0))
        path.chmod(0o640)

    assert fence.check().accepted


def test_rule_5_trust_is_never_the_lock(base, thief, open_journal):
    """Who held the write lock at the time says nothing of a row."""
    fence = base.fence()
    with thief.transaction():
        with pytest.raises(BusyError):
            open_journal(busy_timeout=0.0).session(KEY, writer="x", role="tool").append(LINE)
        forged = thief.insert_copy()

    assert [entry.seq for entry in fence.check(raise_=False).foreign] == [forged]


@pytest.mark.parametrize("role", ["external"])
def test_rule_5_what_came_from_outside_is_never_trusted(base, journal, role):
    """A sealed entry by an external writer is attributed, and a takeover."""
    fence = base.fence()
    entry = journal.session(KEY, writer="editor", role=role).append(LINE)

    verdict = fence.check(raise_=False)

    assert [e.seq for e in verdict.foreign] == [entry.seq]
    assert verdict.foreign[0].trust == "external"
    assert [e.trusted for e in base.read()] == [True, False]


# --- 6. no laundering


@pytest.mark.parametrize("where", ["before", "after", "between", "around"])
def test_rule_6_no_laundering(base, heartbeat, thief, where):
    """Trusted writes before, between and after leave a foreign row foreign, and themselves accepted."""
    fence = base.fence()
    honest, forged = [], []
    for step in {"before": "hf", "after": "fh", "between": "hfhfh", "around": "fhfhf"}[where]:
        if step == "h":
            honest.append(heartbeat.append(LINE).seq)
        else:
            forged.append(thief.insert_copy())

    verdict = fence.check(raise_=False)

    assert [entry.seq for entry in verdict.foreign] == forged
    assert [entry.seq for entry in verdict.arrived] == honest


def test_rule_6_a_fence_advances_only_over_rows_examined(base, heartbeat, thief):
    """``examined`` stays behind a stray that nobody judged, and follows once somebody did."""
    heartbeat.append(LINE)
    examined = "SELECT examined_seq FROM sessions WHERE id = 2"
    assert thief.ask(examined) == 2
    thief.insert_copy()

    heartbeat.append(LINE)
    assert thief.ask(examined) == 2

    base.fence().stored()
    assert thief.ask(examined) == base.head.seq


def test_rule_6_a_takeover_moves_no_fence(base, thief):
    """The fence stands where it stood, however often it is asked."""
    fence = base.fence()
    mark = fence.mark
    thief.insert_copy()

    for _ in range(3):
        assert not fence.check(raise_=False).accepted
    assert fence.mark == mark


def test_rule_6_a_new_fence_over_an_old_row_judges_what_comes_after(base, thief):
    """The first row is listed, the second is a takeover by itself."""
    first = thief.insert_copy()
    fence = base.fence()
    second = thief.insert_copy()

    verdict = fence.check(raise_=False)

    assert [entry.seq for entry in verdict.foreign] == [second]
    assert [entry.seq for entry in fence.unresolved] == [first, second]


# --- 7. a verdict is an answer, not a state


def test_rule_7_a_verdict_is_computed_at_each_check(base, thief):
    """Take the row away again, and the next check of the same fence accepts."""
    fence = base.fence()
    seq = thief.insert_copy()
    assert not fence.check(raise_=False).accepted

    thief.delete(seq)
    thief.move_head(1, 1)

    assert fence.check().accepted


def test_rule_7_contention_is_busy_and_never_a_takeover(base, open_journal, thief):
    """A lock held by another is BusyError; afterwards the same fence accepts."""
    other = open_journal(busy_timeout=0.0).session(KEY, writer="gateway", role="run")
    fence = other.fence()
    with thief.transaction():
        with pytest.raises(BusyError) as caught:
            fence.append(LINE)
        assert caught.value.hint
        assert fence.check().accepted  # reading waits for nobody

    assert fence.append(LINE).seq == 2
    assert other.parked() == []


def test_rule_7_an_older_foreign_row_does_not_make_the_next_verdict(base, thief, open_journal):
    """It was judged at an earlier fence; it stays listed for every process."""
    fence = base.fence()
    seq = thief.insert_copy()
    fence.check(raise_=False)

    for journal in (base.store, open_journal().store):
        session = type(base)(journal, KEY, base.identity)
        later = session.fence()
        session.append(LINE)
        assert later.check().accepted
        assert [entry.seq for entry in later.unresolved] == [seq]


def test_rule_7_an_accepted_check_writes_nothing(base, heartbeat, thief):
    fence = base.fence()
    heartbeat.append(LINE)
    before = thief.dump()

    fence.check()

    assert thief.dump() == before


# --- 8. the superseded run is the one that fails


def test_rule_8_the_superseded_run_fails_in_every_way_to_write(base, journal, thief):
    """With who, when and why; each write parked once, none in the session."""
    turn = base.claim()
    fence = turn.fence()
    journal.session(KEY, writer="successor", role="run").claim(supersede="a visible user turn")
    rows = thief.count("entries")

    for number, write in enumerate((turn.append, lambda line: turn.extend([line]), fence.append)):
        with pytest.raises(Superseded) as caught:
            write({"late": number})
        assert "'successor'" in str(caught.value)
        assert "a visible user turn" in str(caught.value)
        assert caught.value.parked
        assert caught.value.exit_code == 11

    assert thief.count("entries") == rows
    late = sorted(json.loads(parked.lines[0])["late"] for parked in base.parked())
    assert late == [0, 1, 2]
    assert not turn.release()


def test_rule_8_while_a_claim_stands_a_run_writes_through_its_turn(base, heartbeat):
    """A run beside the turn is refused, its line parked; co-tenants never are."""
    turn = base.claim()

    with pytest.raises(ClaimedError) as caught:
        base.append(LINE)
    assert caught.value.hint == "you hold this turn: use it"
    assert caught.value.parked

    assert heartbeat.append(LINE).claim == turn.token
    assert turn.append(LINE).claim == turn.token
    turn.release()
    assert base.append(LINE).claim is None


def test_rule_8_the_successors_claim_commits_first(base, open_journal):
    """From the moment it returned, the old turn is over in every process."""
    turn = base.claim()
    fence = turn.fence()
    successor = open_journal().session(KEY, writer="successor", role="run").claim(supersede="x")

    assert not turn.stands
    assert successor.stands
    with pytest.raises(Superseded):
        turn.append(LINE)
    assert successor.append(LINE).claim == successor.token
    assert fence.check().accepted  # it may still ask


# --- 10. every byte, parsable or not


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"{not json\n",
            b"\xff\xfe\x00\n",
            b"\x00\n",
            b" \n",
            b"{}\r\n",
            b"\r\r\n",
            b"\xef\xbb\xbf{}\n",
        ),
        *(
            b'{"a":1,"a":2}\n',
            b"42\n",
            b'"\xed\xa0\x80"\n',
            "line\u2028separator\n".encode(),
            b"x" * 100_000,
        ),
        b"[" * 5_000 + b"\n",
        b'{"n":' + b"9" * 5_000 + b"}\n",
    ],
    ids=lambda line: repr(line[:20]),
)
def test_rule_10_every_byte_of_a_line_is_kept(base, open_journal, line):
    """A failed parse loses and blocks nothing: what goes in comes out, in every process."""
    whole = line if line.endswith(b"\n") else line + b"\n"
    entry = base.append(line)

    assert entry.data == whole
    for session in (base, open_journal().session(KEY)):
        assert session.read(after=1)[0].data == whole
    assert base.append(LINE).seq == entry.seq + 1


# --- 11. the auditor trusts nobody


def test_rule_11_an_audit_changes_nothing(base, heartbeat, thief, journal_path):
    """It reads, beside open writers, and no row of any table changes."""
    fence = base.fence()
    thief.insert_copy()
    heartbeat.append(LINE)
    fence.check(raise_=False)
    before = thief.dump()

    assert findings(journal_path)

    assert thief.dump() == before
    assert thief.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_rule_11_a_healthy_journal_has_no_finding(base, heartbeat, journal, journal_path):
    """Neither while it is open nor after it was closed."""
    with base.fence() as fence:
        heartbeat.append(LINE)
        fence.append(LINE)
    base.claim().release()
    assert findings(journal_path) == []

    journal.close()

    assert findings(journal_path) == []


# --- 12. silence is never success


def test_rule_12_what_is_stepped_over_is_counted_and_said(base, thief, caplog):
    """``read`` gives the rows it did not believe, and the log has a line of it."""
    seqs = [thief.insert_copy() for _ in range(3)]

    reading = base.read()

    assert [entry.seq for entry in reading.stepped_over] == seqs
    assert "stepped over 3 rows" in caplog.text


def test_rule_12_what_is_refused_is_counted(base):
    """The same refused line twice is one parked write, refused twice."""
    base.claim()
    for _ in range(2):
        with pytest.raises(ClaimedError):
            base.append(LINE)

    assert [parked.times for parked in base.parked()] == [2]


def test_rule_12_what_could_not_be_kept_is_said(base, thief, monkeypatch):
    """A full quota is in the refusal's own words, whatever it refuses."""
    monkeypatch.setattr("journal.parking.QUOTA_WRITES", 0)
    fence = base.fence()
    turn = base.claim()
    with pytest.raises(ClaimedError, match="quota is full") as caught:
        base.append(LINE)
    assert caught.value.parked is None
    turn.release()
    thief.insert_copy()

    with pytest.raises(SessionTakeover, match="quota is full") as taken:
        fence.append(LINE)

    assert taken.value.parked is None


def test_rule_12_a_fence_that_could_not_be_checked_says_so(base, thief):
    """Where the block failed and the check as well, the note says that nothing was checked."""
    with pytest.raises(ZeroDivisionError) as caught:
        fail_inside(base, lambda: thief.execute("CREATE INDEX zz ON entries(kind)"))

    assert "not checked" in caught.value.__notes__[0]


def fail_inside(session, act) -> None:
    with session.fence():
        act()
        raise ZeroDivisionError

"""A thief with plain SQL at his best.

He has the database and no key. Whatever he does: no check accepts it, the check,
``read`` or the audit names it, no honest row is blamed for it, and no honest
append is wedged by it, but by a schema that is not ours, which is refused with a
hint.

The scene of most tests, seq by seq: 1 the gateway's header, 2 a heartbeat, 3 the
gateway's line where its fence stands, 4 and 5 heartbeats while the gateway thinks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from journal import (
    ClaimedError,
    CorruptError,
    EntryError,
    Journal,
    NotFoundError,
    NotTrusted,
    RefusedError,
    SchemaError,
    SessionTakeover,
    schema,
)
from journal.engine import driver
from tests.limits import no_longer_than
from tests.thieves import COLUMNS, KEY, UNSEALED, Thief, findings, forged_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal import Entry, Fence, Session, Verdict

MAX = 2**63 - 1
MIN = -(2**63)
FENCE = 3
SUSPECT = {"stray", "altered", "erased", "missing"}


class Scene:
    """A gateway that thinks behind its fence, a heartbeat that writes meanwhile, and a thief."""

    def __init__(
        self, journal: Journal, reopen: Callable[..., Journal], thief: Thief, told: list[Verdict]
    ) -> None:
        self.journal = journal
        self.reopen = reopen
        self.thief = thief
        self.told = told
        self.lines: list[bytes] = []
        self.gateway = journal.session(KEY, writer="gateway", role="run")
        self.heartbeat = journal.session(KEY, writer="heartbeat", role="heartbeat")
        self.write(self.gateway)
        self.write(self.heartbeat)
        self.write(self.gateway)
        self.fence = self.gateway.fence()
        self.fence_id = self.fence.stored()
        self.write(self.heartbeat)
        self.write(self.heartbeat)

    def write(self, session: Session) -> Entry:
        """Append an honest line that is like no other."""
        entry = session.append({"type": "custom", "customType": "honest", "n": len(self.lines)})
        self.lines.append(entry.data)
        return entry

    def go_on(self) -> list[Entry]:
        """Append as the same process, as a fresh one, and once more as the same."""
        fresh = self.reopen().session(KEY, writer="cron", role="cron")
        return [self.write(self.heartbeat), self.write(fresh), self.write(self.heartbeat)]

    def fences(self) -> Iterator[tuple[str, Fence]]:
        """Give the fence as the process that raised it has it, and as a fresh one does."""
        yield "same process", self.fence
        yield "fresh process", self.reopen().fence(self.fence_id)

    def names(self, *seqs: int) -> None:
        """Both checks are takeovers by exactly these rows, and tell what honest ones arrived."""
        for where, fence in self.fences():
            verdict = fence.check(raise_=False)
            assert verdict.outcome == "takeover", where
            assert sorted(entry.seq for entry in verdict.foreign) == sorted(seqs), where
            assert {entry.trust for entry in verdict.foreign} <= SUSPECT, where
            assert len(verdict.reasons) == len(verdict.origins) == len(seqs)
            self.blames_nobody(verdict)

    def blames_nobody(self, verdict: Verdict) -> None:
        """No line that an honest writer wrote, and that still stands, is foreign."""
        standing = {entry.seq for entry in self.gateway.read() if entry.data in self.lines}
        assert {entry.seq for entry in verdict.foreign} & standing == set()
        assert {entry.data for entry in verdict.arrived} <= set(self.lines)

    def reads(self, *, without: tuple[int, ...] = ()) -> None:
        """Every honest line is read, in order, but those whose seq is given; and no other."""
        expected = [line for number, line in enumerate(self.lines, 1) if number not in without]
        for journal in (self.journal, self.reopen()):
            assert [entry.data for entry in journal.session(KEY).read()] == expected

    def stepped_over(self) -> set[int]:
        return {entry.seq for entry in self.gateway.read().stepped_over}

    def audit_names(self) -> None:
        assert findings(self.journal.path)


@pytest.fixture
def scene(journal, open_journal, thief, told):
    return Scene(journal, open_journal, thief, told)


# --- rows that he puts there


def fact(control: str, **facts: Any) -> dict[str, Any]:
    """Give the columns of a forged control entry."""
    body = json.dumps({"control": control, **facts}, separators=(",", ":")).encode()
    return {"kind": "control", "line_type": control, "terminator": b"", "body": body}


def one(**columns: Any) -> Callable[[Thief], list[int]]:
    return lambda thief: [thief.insert_copy(**columns)]


def quietly(**columns: Any) -> Callable[[Thief], list[int]]:
    """Take the triggers and checks out of the way, and put the triggers back."""

    def attack(thief: Thief) -> list[int]:
        thief.execute("PRAGMA ignore_check_constraints=ON")
        with thief.without_triggers():
            return [thief.insert_copy(move_head=False, **columns)]

    return attack


def not_utf8(column: str) -> Callable[[Thief], list[int]]:
    def attack(thief: Thief) -> list[int]:
        thief.execute("PRAGMA ignore_check_constraints=ON")
        with thief.without_triggers():
            seq = thief.insert_copy()
            thief.execute(
                f"UPDATE entries SET {column} = CAST(x'fffe00ff' AS TEXT) WHERE session_id = ? AND seq = ?",
                thief.session_id(),
                seq,
            )
        return [seq]

    return attack


def a_seq_named_before(thief: Thief) -> list[int]:
    """Put a row where another stray was named, deleted, and left a free seq."""
    seq = thief.insert_copy()
    thief.delete(seq)
    return quietly(seq=seq, epoch=seq)(thief)


def two_sessions_apart(thief: Thief) -> list[int]:
    """Bring a row whose seal is true, in the registry."""
    row = thief.execute(f"SELECT {', '.join(COLUMNS)} FROM entries WHERE session_id = 1 LIMIT 1")
    return [thief.insert_copy(**dict(zip(COLUMNS[2:], row.fetchone()[2:], strict=True)))]


INSERTIONS: dict[str, Callable[[Thief], list[int]]] = {
    "the head's next seq, the head moved along": one(),
    "the head's next seq, the triggers down": quietly(),
    "a far seq": one(seq=1_000),
    "the last seq there is": one(seq=MAX),
    "the last epoch there is": one(epoch=MAX),
    "a seq used before": a_seq_named_before,
    "epoch 1": one(epoch=1),
    "the epoch of the entry before": one(of=5, epoch=5),
    "the fence's epoch": one(epoch=FENCE),
    "an exact copy of a sealed row": one(of=2, epoch=2),
    "a sealed row of the registry": two_sessions_apart,
    "the heartbeat as writer": one(of=4, body=b'{"type":"message"}'),
    "the gateway as writer": one(of=FENCE, body=b'{"type":"message"}'),
    "the registry's keeper as writer": one(writer_id=1, instance_id=1, recorder_id=1),
    "a writer nobody declared": one(writer_id=999),
    "another instance": one(instance_id=999),
    "another recorder": one(recorder_id=1),
    "trusted": one(trusted=1, body=b"1"),
    "not trusted": one(trusted=0),
    "a claim": one(claim=3),
    "a run": one(run_id="run-1", on_behalf_of="operator"),
    "another key": one(key_id=2),
    "from a mirror": one(origin="mirror"),
    "from an input": one(origin="input"),
    "from where nothing comes from": one(origin="nowhere"),
    "a claim entry": one(**fact("claim", token=6, writer="gateway", instance=1, process={})),
    "a release": one(claim=None, **fact("release", token=5)),
    "a layout": one(**fact("layout", extents=[[1, 1]])),
    "a resolution": one(**fact("resolution", seqs=[6], how="accepted")),
    "a redaction": one(**fact("redaction", seqs=[2], reason="no reason")),
    "a naming of honest rows": one(
        **fact("stray", rows=[{"sort": "stray", "ranges": [[1, 5]], "count": 5, "digest": ""}])
    ),
    "a control entry that is no JSON": one(**fact("claim") | {"body": b"\xff"}),
    "only a line end": one(body=b"", kind="raw"),
    "an erased line": one(body=None, salt=None),
    "seq 0": quietly(seq=0),
    "seq -1": quietly(seq=-1),
    "the first seq there is": quietly(seq=MIN),
    "epoch 0": quietly(epoch=0),
    "epoch -1": quietly(epoch=-1),
    "id -1": quietly(id=-1),
    "id 0": quietly(id=0),
    "the last id there is": one(id=MAX),
    "a kind that is none": quietly(kind="rumour"),
    "trusted 7": quietly(trusted=7),
    "no seal": one(seal=b""),
    "a seal of zeros": one(seal=bytes(32)),
    "no commitment": one(commitment=b""),
    "no prev": one(prev=b""),
    "a longer prev": one(prev=bytes(17)),
    "no salt": one(salt=None),
    "a terminator that is none": one(terminator=b"x"),
    **{
        f"{column} that is no UTF-8": not_utf8(column)
        for column in (
            "kind",
            "origin",
            "request_id",
            "run_id",
            "on_behalf_of",
            "line_type",
            "parent_id",
        )
    },
}


@pytest.fixture(params=tuple(INSERTIONS.values()), ids=tuple(INSERTIONS))
def insertion(request):
    return request.param


def test_a_forged_row_is_named_by_the_check_and_nobody_else_is(scene, insertion):
    """His row makes the verdict, whatever it claims; honest rows around it are accepted."""
    forged = insertion(scene.thief)

    scene.go_on()

    scene.names(*forged)
    with pytest.raises(SessionTakeover) as caught:
        scene.fence.check()
    assert [entry.seq for entry in caught.value.entries] == forged


def test_a_forged_row_is_named_before_anybody_writes_again(scene, insertion):
    """The check needs no honest write after the theft."""
    forged = insertion(scene.thief)

    scene.names(*forged)


def test_a_forged_row_is_never_read_and_takes_no_honest_line_away(scene, insertion):
    """``read`` gives the honest lines, all of them and in order."""
    insertion(scene.thief)

    scene.reads()
    scene.go_on()
    scene.reads()


def test_no_honest_append_is_wedged_by_a_forged_row(scene, insertion):
    """The next writes take free seqs, one epoch after another, and are accepted at a later fence."""
    forged = insertion(scene.thief)

    entries = scene.go_on()

    assert not {entry.seq for entry in entries} & set(forged)
    assert [entry.epoch for entry in entries] == [6, 7, 8]
    fence = scene.gateway.fence()
    scene.write(scene.heartbeat)
    assert fence.check().accepted
    assert [entry.seq for entry in fence.unresolved] == forged


def test_a_forged_row_parks_the_reply(scene, insertion):
    """``fence.append`` refuses in the transaction that judged, and keeps the line."""
    forged = insertion(scene.thief)

    with pytest.raises(SessionTakeover) as caught:
        scene.fence.append({"type": "message", "reply": 1})

    assert [entry.seq for entry in caught.value.entries] == forged
    (parked,) = scene.gateway.parked()
    assert parked.lines == (b'{"type":"message","reply":1}\n',)
    assert parked.id == caught.value.parked.id
    scene.reads()


def test_a_forged_row_is_named_by_the_audit(scene, insertion):
    """The audit finds it before and after honest writers went on."""
    insertion(scene.thief)

    scene.audit_names()
    scene.go_on()
    scene.audit_names()


def test_a_scene_without_a_theft_has_no_finding(scene):
    scene.go_on()

    assert findings(scene.journal.path) == []


def test_two_thefts_around_an_honest_row_are_two_rows(scene):
    """An honest co-tenant in the same window neither hides a thief nor is blamed for him."""
    first = scene.thief.insert_copy()
    honest = scene.write(scene.heartbeat)
    second = scene.thief.insert_copy()
    scene.go_on()

    scene.names(first, second)
    assert honest.seq in {entry.seq for entry in scene.fence.check(raise_=False).arrived}


def test_the_next_write_names_what_it_steps_over(scene):
    """Its first entry is a sealed control entry with the range, the count and a digest."""
    forged = scene.thief.insert_copy()

    entry = scene.write(scene.heartbeat)

    assert entry.seq == forged + 2
    body = json.loads(scene.thief.column("body", forged + 1))
    assert body["control"] == "stray"
    assert body["rows"][0]["sort"] == "stray"
    assert body["rows"][0]["ranges"] == [[forged, forged]]
    assert body["rows"][0]["count"] == 1
    assert len(body["rows"][0]["digest"]) == 64


def batch(journal: Journal, *wanted: tuple[Session, str | None]) -> None:
    with journal.batch() as writes:
        for session, request_id in wanted:
            writes.append(session, {"n": "batch"}, request_id=request_id)


def test_what_a_rolled_back_write_named_is_named_by_the_next(scene):
    """A naming that was rolled back is no naming."""
    forged = scene.thief.insert_copy()
    other = scene.journal.session("other", writer="heartbeat", role="heartbeat")
    other.append({"n": 1}, request_id="r")
    with pytest.raises(EntryError):
        batch(scene.journal, (scene.heartbeat, None), (other, "r"))

    entry = scene.write(scene.heartbeat)

    body = json.loads(scene.thief.column("body", entry.seq - 1) or b"{}")
    assert body.get("rows", [{}])[0].get("ranges") == [[forged, forged]]


def test_a_named_seq_is_never_used_again(scene):
    """Not even when the thief takes his row away again."""
    forged = scene.thief.insert_copy()
    scene.write(scene.heartbeat)
    scene.thief.delete(forged)

    entries = scene.go_on()

    assert forged not in {entry.seq for entry in entries}
    scene.reads()


def test_a_foreign_row_is_judged_once_and_stays_listed(scene):
    """The next run's fence accepts, and lists what nobody resolved."""
    forged = scene.thief.insert_copy()
    assert not scene.fence.check(raise_=False).accepted

    for journal in (scene.journal, scene.reopen()):
        fence = journal.session(KEY, writer="gateway", role="run").fence()
        assert fence.check().accepted
        assert [entry.seq for entry in fence.unresolved] == [forged]
    assert not scene.fence.check(raise_=False).accepted


def test_a_row_put_there_while_no_fence_was_up_is_told_once(scene):
    """The raise succeeds, ``on_takeover`` hears "between fences", and no verdict comes of it."""
    scene.fence.check()
    forged = scene.thief.insert_copy()

    first, second = scene.gateway.fence(), scene.gateway.fence()

    assert [(v.outcome, [e.seq for e in v.foreign]) for v in scene.told] == [
        ("between fences", [forged])
    ]
    assert first.check().accepted
    assert second.check().accepted
    assert [entry.seq for entry in second.unresolved] == [forged]


def test_a_stray_that_lay_beyond_a_fence_and_changes_is_new(scene):
    """The fence remembers what its own strays were, by digest."""
    forged = scene.thief.insert_copy(seq=50)
    fence = scene.gateway.fence()
    assert fence.check().accepted

    scene.thief.edit("body", forged, b"changed")

    assert [entry.seq for entry in fence.check(raise_=False).foreign] == [forged]


# --- replacing rows


REPLACEMENTS = {
    "INSERT OR REPLACE by id": "INSERT OR REPLACE INTO entries SELECT {row} FROM entries WHERE {it}",
    "REPLACE INTO": "REPLACE INTO entries SELECT {row} FROM entries WHERE {it}",
    "INSERT OR REPLACE by session and seq": (
        "INSERT OR REPLACE INTO entries({names}) SELECT {values} FROM entries WHERE {it}"
    ),
    "INSERT OR REPLACE with id -1": (
        "INSERT OR REPLACE INTO entries SELECT -1, {values} FROM entries WHERE {it}"
    ),
    "INSERT OR REPLACE of the id alone": (
        "INSERT OR REPLACE INTO entries(id, {names}) "
        "SELECT id, {values_at_head} FROM entries WHERE {it}"
    ),
    "an upsert by seq": (
        "INSERT INTO entries({names}) SELECT {values} FROM entries WHERE {it} "
        "ON CONFLICT(session_id, seq) DO UPDATE SET body = excluded.body"
    ),
    "an upsert by id": (
        "INSERT INTO entries SELECT {row} FROM entries WHERE {it} "
        "ON CONFLICT(id) DO UPDATE SET body = excluded.body"
    ),
    "UPDATE": "UPDATE entries SET body = x'2d' WHERE {it}",
    "UPDATE OR REPLACE of the seq": "UPDATE OR REPLACE entries SET seq = 4 WHERE session_id = 2 AND seq = 5",
    "UPDATE OR REPLACE of the id": (
        "UPDATE OR REPLACE entries SET id = (SELECT id FROM entries WHERE {it}) "
        "WHERE session_id = 2 AND seq = 5"
    ),
    "UPDATE OR IGNORE": "UPDATE OR IGNORE entries SET body = x'2d' WHERE {it}",
    "DELETE": "DELETE FROM entries WHERE {it}",
}
VICTIM = 4


def replacement(form: str) -> str:
    def values(**forged: str) -> str:
        return ", ".join(forged.get(column, column) for column in COLUMNS)

    return REPLACEMENTS[form].format(
        it=f"session_id = 2 AND seq = {VICTIM}",
        names=", ".join(COLUMNS),
        values=values(body="x'2d'"),
        values_at_head=values(body="x'2d'", seq="6", epoch="6"),
        row="id, " + values(body="x'2d'"),
    )


@pytest.mark.parametrize("form", REPLACEMENTS)
def test_the_triggers_refuse_every_way_to_replace_a_row(scene, form):
    """With the seat belts on, no form of REPLACE, upsert, UPDATE or DELETE changes anything."""
    scene.thief.execute("PRAGMA ignore_check_constraints=ON")
    before = scene.thief.dump()

    if "of the id alone" in form:
        scene.thief.move_head(6, 6)
    with pytest.raises(driver().IntegrityError):
        scene.thief.execute(replacement(form))
    scene.thief.move_head(5, 5)

    assert scene.thief.dump() == before


@pytest.mark.parametrize("form", REPLACEMENTS)
def test_without_triggers_a_replaced_row_is_named(scene, form):
    """With the seat belts off he can, and the check names the row."""
    scene.thief.execute("PRAGMA ignore_check_constraints=ON")
    with scene.thief.without_triggers():
        scene.thief.execute(replacement(form))
    lost = {VICTIM, 5} if form.startswith("UPDATE OR REPLACE") else {VICTIM}
    if form == "UPDATE OR REPLACE of the id":
        lost = {VICTIM}  # the row at 5 keeps its seq and all else that is sealed
    added = {6} if "of the id alone" in form else set()

    scene.go_on()

    scene.names(*lost, *added)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 'x' WHERE name = 'journal_id'",
        "DELETE FROM meta WHERE name = 'journal_id'",
    ],
)
def test_the_triggers_keep_the_journals_id(scene, statement):
    with pytest.raises(driver().IntegrityError, match="keeps its id"):
        scene.thief.execute(statement)


def test_a_forged_id_takes_nobodys_own_key_away(journal_path, monkeypatch):
    """Its key file is named by the id: the one by the id in the first entry is looked for, too."""
    monkeypatch.delenv("JOURNAL_KEY_FILE")
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
        own = journal.id
    thief = Thief(journal_path)
    with thief.without_triggers():
        thief.execute("UPDATE meta SET value = ? WHERE name = 'journal_id'", "0" * 32)
    thief.close()

    with Journal(journal_path) as journal:
        assert journal.id == own
        assert len(journal.session(KEY).read()) == 1


def test_the_triggers_let_a_redaction_through_and_nothing_else(scene):
    """Body, salt and derived columns to NULL; not of a control entry, and nothing beside."""
    erase = "UPDATE entries SET body = NULL, salt = NULL, line_type = NULL, line_id = NULL, parent_id = NULL"
    with pytest.raises(driver().IntegrityError):
        scene.thief.execute(f"{erase}, trusted = 0 WHERE session_id = 2 AND seq = 2")
    with pytest.raises(driver().IntegrityError):
        scene.thief.execute(f"{erase} WHERE session_id = 1 AND seq = 1")

    scene.thief.execute(f"{erase} WHERE session_id = 2 AND seq = 2")

    assert scene.stepped_over() == {2}


# --- rows that he edits


POSITIONS = {"before the fence": 2, "at the fence": FENCE, "after the fence": 4, "at the head": 5}
SEALED = [column for column in COLUMNS if column not in (*UNSEALED, "session_id", "seq")]


@pytest.mark.parametrize("seq", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("column", SEALED)
def test_an_edited_column_is_named(scene, column, seq):
    """Every column under the seal, and the line itself, wherever the row stands."""
    scene.thief.edit(column, seq, forged_value(column, scene.thief.column(column, seq)))

    if seq >= FENCE:
        scene.names(seq)
    scene.go_on()

    if seq >= FENCE:
        scene.names(seq)
    assert scene.stepped_over() == {seq}
    scene.reads(without=(seq,))


@pytest.mark.parametrize(
    "seq", [2, FENCE, 4], ids=["before the fence", "at the fence", "after the fence"]
)
def test_a_line_made_a_control_entry_does_not_vanish_in_silence(scene, seq):
    """A kind is under the seal; the row is stepped over, not left out."""
    scene.thief.edit("kind", seq, "control")

    scene.go_on()

    if seq >= FENCE:
        scene.names(seq)
    assert scene.stepped_over() == {seq}
    scene.reads(without=(seq,))


@pytest.mark.parametrize("seq", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("column", UNSEALED)
def test_what_is_under_no_seal_proves_nothing_and_blames_nobody(scene, column, seq):
    """The row's address and its listing aids: the line is what it was."""
    scene.thief.edit(column, seq, 1_000_000 if column == "id" else "forged")

    scene.go_on()

    for _, fence in scene.fences():
        assert fence.check().accepted
    scene.reads()


@pytest.mark.parametrize("seq", POSITIONS.values(), ids=POSITIONS)
@pytest.mark.parametrize("column", [column for column in COLUMNS if column != "session_id"])
def test_an_edited_column_is_named_by_the_audit(scene, column, seq):
    forged = {"seq": 1_000}.get(column) or forged_value(column, scene.thief.column(column, seq))
    scene.thief.edit(column, seq, forged)

    scene.audit_names()
    scene.go_on()
    scene.audit_names()


@pytest.mark.parametrize("seq", POSITIONS.values(), ids=POSITIONS)
def test_a_row_moved_to_another_seq_is_named_where_it_is(scene, seq):
    """And where it was, unless that is before the fence: then the audit tells."""
    scene.thief.edit("seq", seq, 1_000)
    gone = () if seq < FENCE else (seq,)

    verdict = scene.fence.check(raise_=False)
    scene.go_on()

    assert sorted(entry.seq for entry in verdict.foreign) == [*gone, 1_000]
    scene.blames_nobody(verdict)
    scene.reads(without=(seq,))
    assert 1_000 in scene.stepped_over()


@pytest.mark.parametrize("seq", POSITIONS.values(), ids=POSITIONS)
def test_a_row_moved_to_another_session_is_missed_here_and_a_stray_there(scene, seq):
    """Its seal is true, but for the session it came from."""
    other = scene.journal.session("other", writer="cron", role="cron")
    other.append({"n": 1})
    fence = other.fence()
    scene.thief.edit("session_id", seq, scene.thief.session_id("other"))

    assert [entry.seq for entry in fence.check(raise_=False).foreign] == [seq]
    here = scene.fence.check(raise_=False)
    assert [(entry.seq, entry.trust) for entry in here.foreign] == (
        [] if seq < FENCE else [(seq, "missing")]
    )
    assert other.append({"n": 3}).body == b'{"n":3}'
    scene.go_on()
    scene.reads(without=(seq,))


def test_an_erased_row_needs_a_sealed_redaction(scene):
    """Body and salt gone as a redaction would leave them, its record forged: still named."""
    scene.thief.execute(
        "UPDATE entries SET body = NULL, salt = NULL, line_type = NULL, line_id = NULL, parent_id = NULL "
        "WHERE session_id = 2 AND seq = 4"
    )
    scene.thief.execute("INSERT INTO redactions VALUES (1, 2, 4, 6, 2, 'no reason', 0)")
    forged = scene.thief.insert_copy(**fact("redaction", seqs=[4], reason="no reason"))

    scene.go_on()

    scene.names(4, forged)
    assert [
        entry.seq for entry in scene.gateway.read().stepped_over if entry.trust == "erased"
    ] == [4]


def test_an_edited_head_is_stepped_over_by_every_process(scene):
    """The next write links to the newest row that verifies, and takes a seq of its own."""
    scene.thief.edit("seal", 5, bytes(32))

    entry = scene.reopen().session(KEY, writer="cron", role="cron").append({"n": 1})

    assert entry.seq == 7  # 6 names the row at 5
    assert json.loads(scene.thief.column("body", 6))["rows"][0]["ranges"] == [[5, 5]]


# --- rows that he deletes


def test_a_deleted_row_in_the_middle_is_missed_by_everybody(scene):
    scene.thief.delete(4)

    scene.go_on()

    scene.names(4)
    scene.reads(without=(4,))


def test_a_deleted_row_at_the_fence_is_missed_by_everybody(scene):
    scene.thief.delete(FENCE)

    scene.go_on()

    scene.names(FENCE)


@pytest.mark.parametrize("head", [5, 4], ids=["the head left", "the head put back"])
def test_a_deleted_tail_is_missed_by_whoever_knew_it(scene, head):
    """A fresh process cannot know: that takes an anchor. It blames nobody either."""
    scene.thief.delete(5)
    scene.thief.move_head(head, head)

    own, fresh = (fence.check(raise_=False) for _, fence in scene.fences())

    assert [(entry.seq, entry.trust) for entry in own.foreign] == [(5, "missing")]
    assert fresh.accepted
    entries = scene.go_on()
    assert 5 not in {entry.seq for entry in entries}
    scene.reads(without=(5,))


def test_the_seq_of_a_deleted_tail_is_not_used_again_whoever_commits_between(scene):
    """What a process saw missing stays missing through any number of looks."""
    scene.thief.delete(5)
    assert scene.gateway.head.seq == 4
    scene.journal.session("other", writer="cron", role="cron").append({"n": 1})
    scene.thief.execute("CREATE TABLE elsewhere(x)")
    assert scene.gateway.head.seq == 4

    scene.write(scene.heartbeat)

    assert json.loads(scene.thief.column("body", 6))["rows"][0] == {
        "sort": "missing",
        "ranges": [[5, 5]],
        "count": 1,
        "digest": "",
    }
    assert scene.thief.seqs() == [1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize(
    "cut", [(5,), (4, 5), (3, 4, 5)], ids=["the head", "two rows", "and the fence's own"]
)
def test_an_honest_row_on_the_seq_of_a_deleted_one_is_not_blamed(scene, cut):
    """A fresh process appended where the tail was cut: what is gone is missing, what is there is honest."""
    scene.thief.delete(*cut)
    scene.thief.execute(
        "UPDATE sessions SET (head_seq, head_epoch, cum_bytes) = "
        "(SELECT seq, epoch, cum_bytes FROM entries WHERE session_id = 2 ORDER BY seq DESC LIMIT 1) WHERE id = 2"
    )
    fresh = scene.reopen().session(KEY, writer="cron", role="cron")
    honest = [scene.write(fresh) for _ in cut]
    assert [entry.seq for entry in honest] == list(cut)

    verdict = scene.fence.check(raise_=False)

    assert {entry.trust for entry in verdict.foreign} <= {"missing"}
    assert {entry.data for entry in verdict.foreign} & set(scene.lines) == set()
    if FENCE in cut:
        assert not verdict.accepted
    scene.go_on()


@pytest.mark.parametrize(
    "seq", [1, 2, FENCE, 4], ids=["first", "before the fence", "at the fence", "after"]
)
def test_a_deleted_row_is_named_by_the_audit(scene, seq):
    scene.thief.delete(seq)

    scene.audit_names()
    scene.go_on()
    scene.audit_names()


# --- thirty thousand of them


@pytest.mark.parametrize(
    "seqs",
    [
        pytest.param(range(6, 30_006), id="in a row"),
        pytest.param(
            range(MAX - 29_999 * 2_000, MAX + 1, 2_000),
            id="scattered to the last seq there is",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_thirty_thousand_strays(scene, seqs):
    """All are named, in bounded chunks, and honest writers go on beside them."""
    scene.thief.insert_many(seqs)

    verdict = scene.fence.check(raise_=False)

    assert [entry.seq for entry in verdict.foreign] == list(seqs)
    entries = scene.go_on()
    assert not {entry.seq for entry in entries} & set(seqs)
    fence = scene.gateway.fence()
    scene.write(scene.heartbeat)
    assert fence.check().accepted
    scene.reads()
    named = scene.thief.execute(
        "SELECT body FROM entries WHERE session_id = 2 AND kind = 'control' AND line_type = 'stray'"
    ).fetchall()
    facts = [json.loads(body)["rows"][0] for (body,) in named]
    assert sum(fact["count"] for fact in facts) == 30_000
    assert max(fact["count"] for fact in facts) <= 10_000
    assert max(len(fact["ranges"]) for fact in facts) <= 512


@pytest.mark.parametrize("count", [999, 1_000, 1_001, 3_000])
def test_strays_in_the_registry_stop_nobody(scene, count):
    """The registry is read to its end, however many rows are no facts."""
    key = "journal:"
    newest = max(scene.thief.seqs(key))
    scene.thief.insert_many(range(newest + 1, newest + 1 + count), key)

    with no_longer_than(60):
        scene.go_on()
        scene.journal.session("new", writer="newcomer", role="tool").append({"n": 1})
        fresh = scene.reopen()

    assert [info.key for info in fresh.sessions()] == [KEY, "new"]
    assert fresh.session("new").read()[0].writer == "newcomer"
    scene.reads()


def test_more_low_rows_than_a_page_are_all_named(scene):
    scene.thief.execute("PRAGMA ignore_check_constraints=ON")
    low = list(range(-600, 1))
    scene.thief.insert_many(low)

    scene.go_on()

    scene.names(*low)


# --- what no decision reads: projections and proofs


MANY_INSTANCES = "INSERT INTO instances SELECT id + 1000000, {rest} FROM instances"
PROJECTIONS = {
    "head_seq 0": "UPDATE sessions SET head_seq = 0 WHERE id = 2",
    "head_seq -1": "UPDATE sessions SET head_seq = -1",
    "head_seq further on": "UPDATE sessions SET head_seq = head_seq + 1",
    "head_seq far": "UPDATE sessions SET head_seq = 1000000",
    "head_seq at the end": f"UPDATE sessions SET head_seq = {MAX}",
    "head_epoch 1": "UPDATE sessions SET head_epoch = 1",
    "head_epoch at the end": f"UPDATE sessions SET head_epoch = {MAX}",
    "cum_bytes": "UPDATE sessions SET cum_bytes = 42",
    "examined far, forged": "UPDATE sessions SET examined_seq = 1000000, examined_mac = x'00'",
    "examined behind": "UPDATE sessions SET examined_seq = 1",
    "examined with the proof of another session": (
        "UPDATE sessions SET (examined_seq, examined_mac) = "
        "(SELECT examined_seq, examined_mac FROM sessions WHERE id = 1)"
    ),
    "a layout": "UPDATE sessions SET layout_no = 7",
    "layout rows": "INSERT INTO layouts VALUES (2, 0, 0, 5, 5, 0)",
    "the session's key": "UPDATE sessions SET key = 'elsewhere' WHERE id = 2",
    "the session's key no UTF-8": "UPDATE sessions SET key = CAST(x'ff' AS TEXT) WHERE id = 2",
    "the registry's key": "UPDATE sessions SET key = 'elsewhere' WHERE id = 1",
    "the session's number": "UPDATE sessions SET id = 77 WHERE id = 2",
    "no session": "DELETE FROM sessions WHERE id = 2",
    "no registry": "DELETE FROM sessions WHERE id = 1",
    "no sessions at all": "DELETE FROM sessions",
    "a session in the next one's place": "INSERT INTO sessions VALUES (3, 'new', 9, 9, 9, 9, x'00', 0, 0)",
    "sessions at the end of the numbers": (
        f"INSERT INTO sessions VALUES ({(1 << 40) - 1}, 'a', 0, 0, 0, 0, x'', 0, 0), "
        f"({1 << 40}, 'b', 0, 0, 0, 0, x'', 0, 0), ({MAX}, 'c', 0, 0, 0, 0, x'', 0, 0)"
    ),
    "no writers": "DELETE FROM writers",
    "another role": "UPDATE writers SET role = 'external'",
    "revoked by plain SQL": "UPDATE writers SET revoked_us = 1, reason = 'x'",
    "another's name": "UPDATE writers SET name = 'thief' WHERE name = 'gateway'",
    "a name that is no UTF-8": "UPDATE writers SET name = CAST(x'ff' AS TEXT) WHERE name = 'gateway'",
    "a writer in the next one's place": "INSERT INTO writers VALUES (4, 'cron', 'external', 0, 1, 'x')",
    "a writer at the end of the numbers": f"INSERT INTO writers VALUES ({MAX}, 'last', 'run', 0, NULL, NULL)",
    "no instances": "DELETE FROM instances",
    "another's instance": "UPDATE instances SET writer_id = 99, pid = 1, host = 'elsewhere'",
    "an instance at the end of the numbers": f"UPDATE instances SET id = {MAX} WHERE id = 1",
    "a claim": "INSERT INTO claims VALUES (2, 99, 2, 1, NULL, 0, NULL, NULL, NULL, NULL)",
    "a claim in the next one's place": "INSERT INTO claims VALUES (2, 6, 2, 1, NULL, 0, NULL, NULL, NULL, NULL)",
    "no fences": "DELETE FROM fences WHERE id <> (SELECT min(id) FROM fences)",
    "verdicts": "INSERT INTO verdicts VALUES ('v', 2, NULL, 2, 1, 'accepted', 'cotenant', '{}', 0, x'00')",
    "an input": "INSERT INTO pending_inputs VALUES (1, 2, 2, 1, NULL, NULL, 0, NULL, NULL, x'0a', x'00', x'7b7d')",
    "a mirror": (
        "INSERT INTO mirrors VALUES (1, 2, 'host', '/etc/passwd', 'keep', 'live', NULL, 2, 0, 0, NULL, 0, NULL, x'00')"
    ),
    "a migration": "INSERT INTO migrations VALUES (1, '/', 'done', 1, 1, 1, 0, 0)",
    "a redaction": "INSERT INTO redactions VALUES (1, 2, 2, 2, 2, 'x', 0)",
    "meta": "INSERT INTO meta VALUES ('format', '99') ON CONFLICT DO UPDATE SET value = excluded.value",
    "meta that is no UTF-8": "INSERT INTO meta VALUES (CAST(x'ff' AS TEXT), CAST(x'ff' AS TEXT))",
}


@pytest.fixture(params=tuple(PROJECTIONS.values()), ids=tuple(PROJECTIONS))
def forgery(request):
    return request.param


def test_nothing_unsealed_is_believed(scene, forgery):
    """No forged projection makes a verdict, blames anybody, hides a line, or wedges an append."""
    scene.thief.execute(forgery)

    entries = scene.go_on()

    assert {entry.trust for entry in entries} == {"asserted"}
    verdict = scene.fence.check()
    assert {entry.data for entry in verdict.arrived} == set(scene.lines[3:])
    scene.reads()
    fresh = scene.reopen()
    assert [info.key for info in fresh.sessions()] == [KEY]
    assert {(w.name, w.role, w.revoked_us) for w in fresh.writers()} == {
        ("gateway", "run", None),
        ("heartbeat", "heartbeat", None),
        ("cron", "cron", None),
    }


def test_a_new_session_and_a_new_writer_go_on_after_any_forgery(scene, forgery):
    """Numbers are given by the registry; what a table says of them stops nobody."""
    scene.thief.execute(forgery)

    for journal, name in ((scene.journal, "new"), (scene.reopen(), "newer")):
        session = journal.session(name, writer=f"writer of {name}", role="tool")
        session.append({"n": 1})
        assert [entry.writer for entry in journal.session(name).read()] == [f"writer of {name}"]
        assert session.claim().release()
    scene.reads()


def test_a_forgery_hides_no_theft(scene, forgery):
    """Whatever the projections say, his row is named."""
    forged = scene.thief.insert_copy()
    scene.thief.execute(forgery)

    verdict = scene.fence.check(raise_=False)

    assert [entry.seq for entry in verdict.foreign] == [forged]


@pytest.mark.parametrize(
    "statement",
    [
        statement
        for name, statement in PROJECTIONS.items()
        if name.startswith(("head", "cum", "the session"))
    ],
)
def test_a_forged_projection_is_named_and_put_right_by_the_next_write(scene, statement):
    """The sessions row is what an honest write left, and a sealed entry says what it was."""
    scene.thief.execute(statement)

    entry = scene.write(scene.heartbeat)

    found = scene.thief.execute(
        "SELECT CAST(key AS BLOB), head_seq, head_epoch, cum_bytes FROM sessions WHERE id = 2"
    ).fetchone()
    assert found == (KEY.encode(), entry.seq, 6, sum(map(len, scene.lines)))
    fact = json.loads(scene.thief.column("body", entry.seq - 1))
    assert fact["control"] == "stray"
    assert fact["projection"]


def test_swapped_session_keys_swap_nothing(scene):
    """A session's key is under its seals; the two sessions stay who they are."""
    other = scene.journal.session("other", writer="cron", role="cron")
    other.append({"n": "other"})
    swap = "UPDATE sessions SET key = ? WHERE key = ?"
    for new, old in (("x", KEY), (KEY, "other"), ("other", "x")):
        scene.thief.execute(swap, new, old)

    scene.go_on()
    other.append({"n": "other, too"})

    scene.reads()
    fresh = scene.reopen()
    assert [entry.body for entry in fresh.session("other").read()] == [
        b'{"n":"other"}',
        b'{"n":"other, too"}',
    ]
    assert scene.fence.check().accepted
    rows = dict(scene.thief.execute("SELECT id, key FROM sessions").fetchall())
    assert rows == {1: "journal:", 2: KEY, 3: "other"}


@pytest.mark.parametrize(
    "statement",
    [
        PROJECTIONS[name]
        for name in (
            *("head_seq 0", "head_epoch 1", "cum_bytes", "the session's key", "no session"),
            *("no writers", "another role", "revoked by plain SQL", "another's name"),
            *("another's instance", "a claim", "layout rows", "verdicts", "a redaction"),
            "examined far, forged",
        )
    ],
)
def test_a_forged_projection_is_named_by_the_audit(scene, statement):
    scene.thief.execute(statement)

    scene.audit_names()


# --- the registry


def registry_row(thief: Thief, control: str, needle: str) -> int:
    """Give the seq of the registry's fact that holds a text."""
    statement = (
        "SELECT seq FROM entries WHERE session_id = 1 AND line_type = ? "
        "AND instr(CAST(body AS TEXT), ?) ORDER BY seq"
    )
    return int(thief.ask(statement, control, needle))


@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_a_damaged_declaration_blames_no_honest_row(scene, how):
    """Trust is under each row's own seal: a writer whose declaration is gone keeps it."""
    damage(scene.thief, registry_row(scene.thief, "writer", "heartbeat"), how)

    for _, fence in scene.fences():
        verdict = fence.check(raise_=False)
        assert verdict.foreign == ()
    assert [entry.data for entry in scene.reopen().session(KEY).read()] == scene.lines
    scene.go_on()


@pytest.mark.parametrize("projection", ["kept", "gone"])
@pytest.mark.parametrize("how", ["edited", "deleted"])
def test_a_damaged_registration_does_not_empty_a_session_in_silence(scene, how, projection):
    """A fresh process finds the session's lines by what their seals prove."""
    scene.write(scene.journal.session("later", writer="gateway", role="run"))
    scene.lines.pop()
    damage(scene.thief, registry_row(scene.thief, "session", KEY), how)
    if projection == "gone":
        scene.thief.execute("DELETE FROM sessions WHERE id = 2")

    session = scene.reopen().session(KEY, writer="cron", role="cron")
    session.append({"n": "after"})

    assert [entry.data for entry in session.read()][: len(scene.lines)] == scene.lines


def damage(thief: Thief, seq: int, how: str) -> None:
    if how == "edited":
        thief.edit("body", seq, b'{"control":"nothing"}', "journal:")
    else:
        thief.delete(seq, key="journal:")


@pytest.mark.parametrize(
    "columns",
    [
        fact("revoke", id=3, reason="x"),
        fact("writer", id=3, name="heartbeat", role="external"),
        fact("writer", id=9, name="cron", role="external"),
        fact("session", id=99, key=KEY),
        fact("journal", id="00", format=1, key_id=2, fingerprint="00"),
    ],
    ids=["a revocation", "another role", "a name taken", "another session", "another journal"],
)
def test_a_forged_fact_of_the_registry_is_no_fact(scene, columns):
    scene.thief.insert_copy("journal:", **columns)

    scene.go_on()

    assert scene.fence.check().accepted
    scene.reads()
    assert {writer.revoked_us for writer in scene.reopen().writers()} == {None}


def test_a_forged_writer_is_still_unknown(scene):
    """A row in ``writers`` declares nobody."""
    scene.thief.execute("INSERT INTO writers VALUES (50, 'intruder', 'run', 0, NULL, NULL)")

    for journal in (scene.journal, scene.reopen()):
        with pytest.raises(NotTrusted) as caught:
            journal.session(KEY, writer="intruder", role="run", declare=False)
        assert caught.value.code == "unknown-writer"


# --- requests, fences, claims, verdicts, parked writes


def test_a_forged_request_does_not_make_an_honest_one_look_done(scene):
    """An honest append with that id is really written, once."""
    scene.thief.insert_copy(request_id="r", body=b'{"n":"honest"}')

    first = scene.heartbeat.append({"n": "honest"}, request_id="r")
    again = scene.heartbeat.append({"n": "honest"}, request_id="r")

    assert first.trust == "asserted"
    assert again.seq == first.seq
    assert [entry.seq for entry in scene.gateway.read() if entry.request_id == "r"] == [first.seq]


def test_a_done_request_whose_row_was_edited_hands_out_nothing_of_the_thief(scene):
    """The retry does not get the thief's text as the outcome of its own."""
    done = scene.heartbeat.append({"n": "honest"}, request_id="r")
    scene.thief.edit("body", done.seq, b'{"n":"thief"}')

    again = scene.heartbeat.append({"n": "honest"}, request_id="r")

    assert again.body == b'{"n":"honest"}'


@pytest.mark.parametrize(
    "change",
    [
        *(
            "seq = 5",
            "epoch = 5",
            "session_id = 1",
            "writer_id = 3",
            "instance_id = 1",
            "raised_us = 0",
        ),
        *(
            "beyond = '[[6,9]]'",
            "beyond = CAST(x'ff' AS TEXT)",
            "beyond = 'no json'",
            "beyond_digest = 'x'",
        ),
        *("seal = x'00'", "mac = x'00'", "mirror_position = 1"),
        "(seq, epoch, seal) = (SELECT seq, epoch, seal FROM entries WHERE session_id = 2 AND seq = 5)",
        "id = 'another'",
    ],
)
def test_a_forged_fence_is_no_fence(scene, change):
    """A stored fence is proved whole; moved past his row it would hide it."""
    scene.thief.execute(f"UPDATE fences SET {change} WHERE id = ?", scene.fence_id)
    wanted = "another" if change.startswith("id") else scene.fence_id

    with pytest.raises(NotFoundError) as caught:
        scene.reopen().fence(wanted)

    assert caught.value.hint
    assert caught.value.exit_code == 10


def test_a_fence_made_by_plain_sql_is_no_fence(scene):
    scene.thief.execute(
        "INSERT INTO fences VALUES ('f', 2, 2, 1, 5, 5, x'00', '[]', '', NULL, 0, x'00')"
    )

    with pytest.raises(NotFoundError):
        scene.reopen().fence("f")


def test_a_forged_or_deleted_verdict_changes_no_check(scene):
    """A verdict is computed anew each time; what is stored is only the record."""
    forged = scene.thief.insert_copy()
    verdict = scene.fence.check(raise_=False)
    scene.thief.execute("UPDATE verdicts SET outcome = 'accepted'")
    assert verdict.id

    assert [entry.seq for entry in scene.fence.check(raise_=False).foreign] == [forged]
    scene.thief.execute("DELETE FROM verdicts")
    scene.names(forged)


@pytest.mark.parametrize("by", ["a reader", "a revoked writer"])
def test_a_verdict_needs_no_right_to_write(scene, by):
    """Whoever has a fence gets its answer."""
    fence = scene.journal.session(KEY).fence() if by == "a reader" else scene.gateway.fence()
    forged = scene.thief.insert_copy()
    if by == "a revoked writer":
        scene.journal.revoke("gateway", "left")

    verdict = fence.check(raise_=False)

    assert [entry.seq for entry in verdict.foreign] == [forged]


def test_a_forged_claim_or_release_holds_and_frees_nobody(scene):
    scene.thief.insert_copy(
        claim=99, **fact("claim", token=99, writer="gateway", instance=1, process={})
    )
    scene.write(scene.gateway)
    turn = scene.gateway.claim()
    scene.thief.insert_copy(claim=None, **fact("release", token=turn.token))
    scene.thief.execute("UPDATE claims SET ended_us = 1, outcome = 'released'")

    assert turn.stands
    with pytest.raises(ClaimedError):
        scene.gateway.append({"n": 1})
    assert turn.append({"n": 1}).claim == turn.token
    assert turn.release()


@pytest.mark.parametrize("how", ["behind many forged claims", "by an edited listing aid"])
def test_a_dead_holder_cannot_be_hidden(scene, how):
    """A claim of a process that is gone is superseded without a reason, whatever he puts over it."""
    script = (
        "import sys\nfrom journal import Journal\n"
        "Journal(sys.argv[1]).session(sys.argv[2], writer='gateway', role='run').claim()"
    )
    subprocess.run([sys.executable, "-c", script, str(scene.journal.path), KEY], check=True)
    seq = scene.gateway.head.seq
    if how == "by an edited listing aid":
        scene.thief.edit("line_type", seq, "custom")
    else:
        scene.thief.insert_many(range(seq + 1, seq + 101))

    turn = scene.gateway.claim()

    assert turn.stands


PARKED = (
    "id, session_id, writer_id, instance_id, reason, verdict_id, request_id, run_id, on_behalf_of, "
    "claim_expected, claim_found, epoch_expected, epoch_found, lines, content_digest, parked_us, times, "
    "settled_us, settled, mac, content"
)


@pytest.fixture
def taken_over(scene):
    """Play the scene up to a theft, and park the gateway's reply."""
    scene.thief.insert_copy()
    with pytest.raises(SessionTakeover):
        scene.fence.append({"reply": 1})
    return scene


@pytest.mark.parametrize(
    "change",
    [
        *(
            "content = x'00000001780000000a'",
            "writer_id = 3",
            "session_id = 1",
            "request_id = 'r'",
            "lines = 2",
        ),
        *(
            "settled = 'discarded'",
            "content_digest = x'00'",
            "mac = x'00'",
            "reason = CAST(x'ff' AS TEXT)",
        ),
        "content = NULL",
    ],
)
def test_a_changed_parked_write_is_not_applied(taken_over, change):
    """Its MAC covers every column, and the content's digest is among them."""
    (parked,) = taken_over.gateway.parked()
    taken_over.thief.execute(f"UPDATE parked SET {change}")

    with pytest.raises((CorruptError, RefusedError)) as caught:
        parked.apply()

    assert caught.value.hint
    taken_over.reads()


def test_a_parked_write_made_by_plain_sql_is_neither_shown_nor_applied(taken_over):
    (parked,) = taken_over.gateway.parked()
    taken_over.thief.execute(
        f"INSERT INTO parked SELECT 'forged', {PARKED.removeprefix('id, ')} FROM parked"
    )
    taken_over.thief.execute("UPDATE parked SET content = x'ff' WHERE id = 'forged'")

    assert [p.id for p in taken_over.gateway.parked()] == [parked.id]


def test_a_parked_row_that_is_no_utf8_loses_no_verdict_and_no_reply(taken_over):
    """Refusing goes on, and equal lines are still counted."""
    taken_over.thief.execute(
        f"INSERT INTO parked SELECT CAST(x'ff' AS TEXT), {PARKED.removeprefix('id, ')} FROM parked"
    )

    with pytest.raises(SessionTakeover) as caught:
        taken_over.fence.append({"reply": 1})

    assert caught.value.parked.times == 2
    assert [p.times for p in taken_over.gateway.parked()] == [2]


def test_forged_parked_rows_fill_no_quota(scene):
    """Only what a key holder parked counts."""
    scene.thief.insert_copy()
    scene.thief.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "INSERT INTO parked SELECT 'z' || i, 2, 2, 1, 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, 1, "
        "x'00', 0, 1, NULL, NULL, x'00', zeroblob(100000) FROM n"
    )

    with pytest.raises(SessionTakeover) as caught:
        scene.fence.append({"reply": 1})

    assert caught.value.parked is not None
    assert [p.lines for p in scene.gateway.parked()] == [(b'{"reply":1}\n',)]


# --- a schema that is not ours


SCHEMAS = {
    "a trigger that swallows rows": (
        "CREATE TRIGGER zz BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END"
    ),
    "a trigger in another case": (
        "CREATE TRIGGER zz BEFORE INSERT ON ENTRIES BEGIN SELECT RAISE(IGNORE); END"
    ),
    "a trigger on a quoted name": (
        'CREATE TRIGGER zz BEFORE INSERT ON "Entries" BEGIN SELECT RAISE(IGNORE); END'
    ),
    "a trigger that deletes what was written": (
        "CREATE TRIGGER zz AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE id = NEW.id; END"
    ),
    "a trigger that moves rows away": (
        "CREATE TRIGGER zz AFTER INSERT ON entries BEGIN "
        "UPDATE entries SET session_id = 99 WHERE id = NEW.id; END"
    ),
    "a trigger on the heads": (
        "CREATE TRIGGER zz BEFORE UPDATE ON sessions BEGIN SELECT RAISE(IGNORE); END"
    ),
    "a trigger on parked writes": (
        "CREATE TRIGGER zz BEFORE INSERT ON Parked BEGIN SELECT RAISE(IGNORE); END"
    ),
    "one of our triggers gone": "DROP TRIGGER entries_delete",
    "all of our triggers gone": (
        "DROP TRIGGER entries_insert; DROP TRIGGER entries_update; DROP TRIGGER entries_delete; "
        "DROP TRIGGER meta_update; DROP TRIGGER meta_delete"
    ),
    "one of our triggers changed": (
        "DROP TRIGGER entries_delete; "
        "CREATE TRIGGER entries_delete BEFORE DELETE ON entries WHEN 0 BEGIN SELECT 1; END"
    ),
    "an index of his": "CREATE UNIQUE INDEX zz ON entries(session_id)",
    "an index of ours gone": "DROP INDEX ix_entries_request",
}


@pytest.fixture(params=tuple(SCHEMAS.values()), ids=tuple(SCHEMAS))
def foreign_schema(request):
    return request.param


def make(scene: Scene, statements: str) -> None:
    if "UNIQUE" in statements:  # it could not be made over more than one row
        statements = statements.replace("(session_id)", "(session_id, seq)")
    scene.thief.connection.executescript(statements)


def test_a_foreign_schema_is_refused_with_a_hint_before_anything_is_written(scene, foreign_schema):
    """Nothing is written, nothing is called accepted, and the hint is the way out."""
    make(scene, foreign_schema)
    before = scene.thief.dump()

    for attempt in (
        lambda: scene.write(scene.heartbeat),
        lambda: scene.fence.append({"reply": 1}),
        scene.fence.check,
        scene.gateway.claim,
        scene.reopen,
    ):
        with pytest.raises(SchemaError) as caught:
            attempt()
        assert caught.value.code == "schema-changed"
        assert caught.value.exit_code == 12
        assert caught.value.hint
    assert scene.thief.dump() == before


def test_honest_appends_go_on_once_the_schema_is_restored(scene, foreign_schema):
    """``restore`` takes his away and puts ours back; no handle needs to be made again."""
    make(scene, foreign_schema)
    with pytest.raises(SchemaError):
        scene.write(scene.heartbeat)

    assert schema.restore(str(scene.journal.path))
    scene.go_on()

    assert scene.fence.check().accepted
    scene.reads()
    assert schema.restore(str(scene.journal.path)) == []


def test_a_theft_under_a_foreign_schema_is_named_after_it_is_restored(scene):
    scene.thief.drop_triggers()
    scene.thief.execute("UPDATE entries SET body = x'2d' WHERE session_id = 2 AND seq = 4")
    schema.restore(str(scene.journal.path))

    scene.go_on()

    scene.names(4)


def test_a_schema_change_behind_an_old_schema_version_is_seen_at_open(scene):
    """The running process never loads his trigger, and a fresh one refuses it."""
    version = scene.thief.ask("PRAGMA schema_version")
    make(scene, SCHEMAS["a trigger that swallows rows"])
    scene.thief.execute(f"PRAGMA schema_version = {version}")

    with pytest.raises(SchemaError):
        scene.reopen()
    schema.restore(str(scene.journal.path))

    scene.go_on()
    scene.reads()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE entries ADD COLUMN extra TEXT",
        "ALTER TABLE entries RENAME TO others",
        "DROP TABLE claims",
    ],
)
def test_a_changed_table_is_refused_and_left_as_it_is(scene, statement):
    """Tables may hold what nobody else has: none is ever dropped or changed."""
    scene.thief.execute(statement)
    before = scene.thief.dump()

    with pytest.raises(SchemaError) as caught:
        scene.write(scene.heartbeat)

    assert caught.value.hint
    assert scene.thief.dump() == before


@pytest.mark.parametrize(
    "change",
    ["tbl_name = 'theirs'", "sql = replace(sql, 'zz', 'yy')", "name = CAST(x'ff' AS TEXT)"],
)
def test_a_catalogue_written_by_hand_is_a_damaged_database(scene, change):
    """SQLite itself refuses it; that is said, and nothing is called accepted."""
    make(scene, "CREATE TABLE theirs(x); " + SCHEMAS["a trigger that swallows rows"])
    scene.thief.connection.executescript(
        f"PRAGMA writable_schema=ON; UPDATE sqlite_schema SET {change} WHERE name = 'zz'; "
        "PRAGMA writable_schema=RESET"
    )

    for attempt in (lambda: scene.write(scene.heartbeat), scene.fence.check, scene.reopen):
        with pytest.raises(CorruptError) as caught:
            attempt()
        assert caught.value.hint


def test_another_programs_own_tables_stop_nobody(scene):
    scene.thief.connection.executescript(
        "CREATE TABLE theirs(x); CREATE INDEX i ON theirs(x); CREATE VIEW v AS SELECT * FROM entries"
    )

    scene.go_on()

    assert scene.fence.check().accepted


def test_a_newer_version_meanwhile_is_refused_by_the_next_write(scene):
    """Every write transaction compares the version, not only the schema's text."""
    scene.thief.execute("PRAGMA user_version = 2")

    with pytest.raises(SchemaError) as caught:
        scene.write(scene.heartbeat)

    assert caught.value.code == "schema-newer"
    assert caught.value.hint


# --- a race of our own that looked like a thief's work


def test_a_fence_is_stored_once_however_writers_race(scene, monkeypatch):
    """What waits for the next write is taken before another thread can write it again."""
    fence = scene.gateway.fence()
    errors: list[BaseException] = []
    store = scene.journal.store
    make_durable = store.make_durable

    def hooked(number: int) -> None:  # committed, and the lock is let go
        monkeypatch.setattr(store, "make_durable", make_durable)
        run(errors, scene.heartbeat)
        make_durable(number)

    monkeypatch.setattr(store, "make_durable", hooked)

    scene.write(scene.gateway)

    assert errors == []
    stored = scene.thief.ask("SELECT count(*) FROM fences WHERE id = ?", fence.id)
    assert stored == 1


def run(errors: list[BaseException], session: Session) -> None:
    def write() -> None:
        try:
            session.append({"n": "from another thread"})
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def test_a_fence_stored_by_a_write_can_be_stored_again(scene):
    """``stored()`` says the id, whether or not a write took it along."""
    fence = scene.gateway.fence()
    scene.write(scene.gateway)

    assert fence.stored() == fence.id
    assert scene.reopen().fence(fence.id).check().accepted

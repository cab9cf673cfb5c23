"""Resolving: foreign entries accepted or rejected, on record, and nobody's name put on them."""

from __future__ import annotations

import json

import pytest

from journal import (
    ClaimedError,
    EntryError,
    NotFoundError,
    NotTrusted,
    RefusedError,
    SessionTakeover,
    StorageError,
)
from journal.inspection import Unresolved, count_unresolved, foreign_so_far
from tests.thieves import KEY, findings

STOLEN = b'{"type":"message","stolen":true}'


@pytest.fixture
def alice(journal):
    return journal.session(KEY, writer="alice", role="operator")


@pytest.fixture
def mirror(tmp_path, journal, base):
    """Give a session's file, to be edited behind the journal's back."""
    path = tmp_path / "session.jsonl"
    journal.session(KEY, writer="gateway", role="run", mirror=path)
    return path


@pytest.fixture
def edited(mirror, base):
    """Append a line to the file, behind the journal's back; return the foreign entry's seq."""
    with mirror.open("ab") as file:
        file.write(STOLEN + b"\n")
    base.fence()
    (foreign,) = base.read(trusted=False)
    return foreign.seq


def fact(thief, seq: int):
    return json.loads(thief.column("body", seq))


def test_an_accepted_entry_stays_and_is_marked(base, alice, edited, mirror):
    """By whom it came, never by whom it was accepted."""
    before = mirror.read_bytes()

    assert alice.resolve([edited], accept=True, reason="a known tool") == []

    (entry,) = base.read(trusted=False)
    assert (entry.seq, entry.trust, entry.writer) == (edited, "accepted", "external:mirror-1")
    assert not entry.trusted
    assert base.fence().unresolved == []
    assert mirror.read_bytes() == before


@pytest.mark.parametrize("accept", [True, False])
def test_a_foreign_line_that_was_redacted_is_settled_like_any(
    alice, edited, journal_path, *, accept
):
    """It is sealed, and why it has no bytes is on record."""
    alice.redact([edited], reason="a password")

    alice.resolve([edited], accept=accept, reason="seen")

    assert findings(journal_path) == []


def test_a_rejected_entry_leaves_the_file_and_stays_in_the_journal(
    base, alice, edited, mirror, thief
):
    alice.resolve([edited], accept=False, reason="not ours")
    base.append({"after": 1})

    assert STOLEN not in mirror.read_bytes()
    assert mirror.read_bytes() == b'{"type":"session"}\n{"after":1}\n'
    assert edited not in [entry.seq for entry in base.read()]
    assert thief.column("body", edited) == STOLEN
    assert base.fence().unresolved == []


def cut_short(mirror, keep: int) -> None:
    """Take all lines of the file but the first few, behind the journal's back."""
    mirror.write_bytes(b"".join(mirror.read_bytes().splitlines(keepends=True)[:keep]))


@pytest.fixture
def longer(base, mirror):
    """Write three lines more; return the file's bytes."""
    base.extend({"n": number} for number in range(3))
    return mirror.read_bytes()


def foreign_seqs(base) -> list[int]:
    return [entry.seq for entry in base.fence().unresolved]


def test_a_rejected_cut_is_undone(base, alice, mirror, longer, journal_path):
    """What was taken out of the file stands in it again, and in the session's order."""
    lines = [entry.seq for entry in base.read()]
    cut_short(mirror, 2)
    edits = foreign_seqs(base)
    assert [entry.seq for entry in base.read()] == lines[:2]

    alice.resolve(edits, accept=False, reason="not ours")
    base.append({"after": 1})

    assert mirror.read_bytes() == longer + b'{"after":1}\n'
    assert [entry.seq for entry in base.read()][:4] == lines
    assert base.fence().unresolved == []
    assert findings(journal_path) == []


def test_a_rejected_cut_inside_a_line_is_undone_with_its_fragment(base, alice, mirror, longer):
    mirror.write_bytes(longer[:-4])
    edits = foreign_seqs(base)
    assert len(edits) == 2

    alice.resolve(edits, accept=False, reason="not ours")
    base.fence()

    assert mirror.read_bytes() == longer


def test_a_rejected_move_is_undone(base, alice, mirror, longer):
    mirror.write_bytes(b"".join(reversed(longer.splitlines(keepends=True))))
    edits = foreign_seqs(base)

    alice.resolve(edits, accept=False, reason="not ours")
    base.fence()

    assert mirror.read_bytes() == longer


def test_an_accepted_cut_stays(base, alice, mirror, longer):
    cut_short(mirror, 2)
    alice.resolve(foreign_seqs(base), accept=True, reason="known")
    base.append({"after": 1})

    assert mirror.read_bytes() == longer[: longer.index(b'{"n":1}')] + b'{"after":1}\n'


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0,), (1,)])
def test_cuts_are_undone_in_any_order(base, alice, mirror, longer, journal_path, order):
    """Each gives back its own lines, whatever was written or cut since."""
    cut_short(mirror, 3)
    base.fence()
    base.append({"between": 1})
    cut_short(mirror, 2)
    base.append({"after": 1})
    edits = foreign_seqs(base)
    assert len(edits) == 2

    for each in order:
        alice.resolve([edits[each]], accept=False, reason="not ours")
    base.fence()

    n1, n2, between = b'{"n":1}\n', b'{"n":2}\n', b'{"between":1}\n'
    begin, after = longer[: longer.index(n1)], b'{"after":1}\n'
    given = {
        (0,): n2,
        (1,): n1 + between,
        (1, 0): n1 + n2 + between,
        (0, 1): n1 + between + n2,  # behind their own neighbour, for n2 was none of theirs
    }
    middle = given[order]
    assert mirror.read_bytes() == begin + middle + after
    assert findings(journal_path) == []


@pytest.mark.parametrize("accept", [True, False])
def test_the_decision_is_sealed_with_actor_and_reason(alice, edited, thief, accept, journal_path):
    alice.resolve([edited], accept=accept, reason="because")

    facts = [
        json.loads(body)
        for (body,) in thief.execute("SELECT body FROM entries WHERE kind = 'control'")
    ]
    (resolution,) = [each for each in facts if each["control"] == "resolution"]
    assert resolution["seqs"] == [edited]
    assert resolution["verdict"] == ("accept" if accept else "reject")
    assert (resolution["actor"], resolution["reason"]) == ("alice", "because")
    assert findings(journal_path) == []


@pytest.mark.parametrize("accept", [True, False])
def test_a_fence_counts_it_no_more(base, alice, mirror, accept):
    """A run whose reply was parked goes on once somebody has decided."""
    fence = base.fence()
    with mirror.open("ab") as file:
        file.write(STOLEN + b"\n")
    with pytest.raises(SessionTakeover) as caught:
        fence.append({"reply": 1})

    alice.resolve([e.seq for e in caught.value.entries], accept=accept, reason="seen")

    assert fence.check().accepted
    caught.value.parked.apply()
    assert base.fence().check().accepted


def test_an_accepted_strays_bytes_become_a_new_external_entry(base, alice, thief, journal_path):
    """The stray itself is never read; the new entry is accepted, and foreign for ever."""
    stray = thief.insert_copy(body=STOLEN)

    (made,) = alice.resolve([stray], accept=True, reason="rescued by hand")

    assert (made.writer, made.role, made.trust) == ("external:strays", "external", "accepted")
    read = base.read()
    assert [(e.seq, e.body, e.trust) for e in read][1:] == [(made.seq, STOLEN, "accepted")]
    assert read[-1].recorder == "alice"
    assert base.fence().unresolved == []
    assert findings(journal_path) == []


def test_a_rejected_stray_is_off_the_list(base, alice, thief, journal_path):
    stray = thief.insert_copy(body=STOLEN)
    base.append({"n": 1})
    assert [e.seq for e in base.fence().unresolved] == [stray]

    assert alice.resolve([stray], accept=False, reason="not ours") == []

    assert base.fence().unresolved == []
    assert STOLEN not in [e.body for e in base.read()]
    assert findings(journal_path) == []


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("what", ["a stray", "a line that was altered", "the fence's own row"])
def test_a_fence_from_before_it_accepts_once_it_is_resolved(base, alice, thief, what, accept):
    """It is off the list, and makes no verdict any more: not of that fence either."""
    if what == "the fence's own row":
        base.append({"n": 1})
    fence, other = base.fence(), base.fence()
    if what == "a line that was altered":
        base.append({"n": 1})
    seq = thief.insert_copy(body=STOLEN) if what == "a stray" else base.head.seq
    if what != "a stray":
        thief.edit("body", seq, STOLEN)
    assert [entry.seq for entry in fence.check(raise_=False).foreign] == [seq]

    alice.resolve([seq], accept=accept, reason="looked at")

    assert fence.check().accepted
    thief.edit("body", seq, b"other")  # it was decided on that row, and no other
    assert [entry.seq for entry in other.check(raise_=False).foreign] == [seq]


def test_a_line_that_was_accepted_and_then_altered_is_another(base, alice, mirror, thief):
    """Nobody has decided about what stands there now; somebody may."""
    fence = base.fence()
    with mirror.open("ab") as file:
        file.write(STOLEN + b"\n")
    (foreign,) = base.fence().unresolved
    alice.resolve([foreign.seq], accept=True, reason="looked at")
    assert fence.check().accepted
    before = base.fence()

    thief.edit("body", foreign.seq, b'{"worse":1}')

    assert [entry.seq for entry in before.unresolved] == [foreign.seq]
    alice.resolve([foreign.seq], accept=True, reason="that, too")
    assert before.unresolved == []


def test_a_row_in_the_place_of_a_resolved_entry_is_not_resolved(
    base, alice, mirror, thief, journal_path
):
    """What was decided on was sealed; who takes its place by plain SQL was never looked at."""
    with mirror.open("ab") as file:
        file.write(STOLEN + b"\n")
    (foreign,) = base.fence().unresolved
    alice.resolve([foreign.seq], accept=True, reason="looked at")
    thief.edit("created_us", foreign.seq, 1)

    assert [entry.seq for entry in base.fence().unresolved] == [foreign.seq]


def test_another_stray_in_the_same_place_is_not_resolved(base, alice, thief):
    """The decision was about that row, not about whatever may come to stand there."""
    stray = thief.insert_copy(body=STOLEN)
    alice.resolve([stray], accept=False, reason="not ours")
    thief.edit("body", stray, b'{"worse":1}')

    assert [e.seq for e in base.fence().unresolved] == [stray]


def test_a_line_end_inside_a_stray_cannot_make_two_lines(base, alice, thief):
    stray = thief.insert_copy(body=b'{"a":1}\n{"b":2}', terminator=b"")

    (made,) = alice.resolve([stray], accept=True, reason="rescued")

    assert made.data == b'{"a":1} {"b":2}\n'


def test_every_process_learns_of_it(base, alice, edited, open_journal):
    other = open_journal().session(KEY, writer="other", role="run")
    assert [e.trust for e in other.read(trusted=False)] == ["external"]

    alice.resolve([edited], accept=True, reason="known")

    assert [e.trust for e in other.read(trusted=False)] == ["accepted"]
    assert [e.trust for e in open_journal().session(KEY).read(trusted=False)] == ["accepted"]


def test_what_was_accepted_may_be_rejected_and_not_the_other_way(base, alice, edited):
    alice.resolve([edited], accept=True, reason="known")
    alice.resolve([edited], accept=False, reason="after all not")

    assert edited not in [e.seq for e in base.read()]
    with pytest.raises(RefusedError) as caught:
        alice.resolve([edited], accept=True, reason="again")
    assert (caught.value.code, caught.value.exit_code) == ("settled", 11)
    assert "journal show" in (caught.value.hint or "")


def test_a_decision_is_made_once(alice, edited):
    for accept in (True, False):
        alice.resolve([edited], accept=accept, reason="x")
        with pytest.raises(RefusedError) as caught:
            alice.resolve([edited], accept=accept, reason="x")
        assert caught.value.code == "settled"


def test_rolled_back_it_is_not_known(base, alice, edited, journal, thief):
    """A decision that was not committed decides nothing, here or elsewhere."""
    connection = journal.store._raw.driver_connection
    before = thief.dump()
    left = 6

    def interrupt() -> int:
        nonlocal left
        left -= 1
        return int(left < 0)

    connection.set_progress_handler(interrupt, 40)
    with pytest.raises(StorageError):
        alice.resolve([edited], accept=True, reason="known")
    connection.set_progress_handler(None, 0)

    assert thief.dump() == before
    assert [e.trust for e in base.read(trusted=False)] == ["external"]


# --- bad input


@pytest.mark.parametrize(
    "seqs, reason, error, code",
    [
        ([1], "x", EntryError, "not-foreign"),
        ([99], "x", NotFoundError, "no-entry"),
        ([2**70], "x", NotFoundError, "no-entry"),
        ([], "x", EntryError, "no-seqs"),
        ([1], "", EntryError, "reason"),
        ([1], "  ", EntryError, "reason"),
        ([1], None, EntryError, "reason"),
        ([1], "a\nb", EntryError, "reason"),
    ],
)
def test_what_cannot_be_resolved_changes_nothing(base, alice, thief, seqs, reason, error, code):
    alice.append({"n": 1})
    before = thief.dump()

    with pytest.raises(error) as caught:
        alice.resolve(seqs, accept=True, reason=reason)

    assert caught.value.code == code
    assert caught.value.hint
    assert thief.dump() == before


def test_one_bad_seq_stops_all(alice, edited, thief):
    before = thief.dump()

    with pytest.raises(EntryError):
        alice.resolve([edited, 1], accept=True, reason="x")

    assert thief.dump() == before


def test_a_run_beside_a_standing_turn_decides_nothing(base, edited, thief, alice):
    turn = base.claim()
    before = thief.dump()
    with pytest.raises(ClaimedError):
        base.resolve([edited], accept=True, reason="x")
    assert thief.dump() == before

    turn.resolve([edited], accept=True, reason="x")


def test_who_only_reads_decides_nothing(journal, edited):
    with pytest.raises(NotTrusted):
        journal.session(KEY).resolve([edited], accept=True, reason="x")


def test_a_session_that_is_not_there(journal):
    with pytest.raises(NotFoundError):
        journal.session("nowhere", writer="alice", role="operator").resolve(
            [1], accept=True, reason="x"
        )


def test_what_was_resolved_takes_no_room_on_the_list(base, alice, mirror, journal):
    """However many were settled: the first open ones are still told."""
    with mirror.open("ab") as file:
        file.write(STOLEN + b"\n" + STOLEN + b"\n")
    base.fence()
    first, second = (entry.seq for entry in base.read(trusted=False))
    alice.resolve([first], accept=True, reason="known")

    with journal.store.snapshot() as cursor:
        chain = journal.store.fresh(journal.store.find_chain(cursor, KEY))
        found = foreign_so_far(cursor, chain, journal.store.registry.writers, limit=1)

    assert [entry.seq for entry in found] == [second]


@pytest.fixture
def unresolved(journal):
    """Count what waits in the session."""

    def count(**most):
        with journal.store.snapshot() as cursor:
            chain = journal.store.fresh(journal.store.find_chain(cursor, KEY))
            return count_unresolved(cursor, chain, journal.store.registry.writers, **most)

    return count


def test_all_that_waits_is_counted_and_what_was_settled_is_not(base, alice, mirror, unresolved):
    assert unresolved() == (0, True)
    with mirror.open("ab") as file:
        file.write((STOLEN + b"\n") * 1500 + b"\n")  # the last line is empty
    base.fence()
    assert unresolved(most=1) == (1500, True)

    first, second = [entry.seq for entry in base.read(trusted=False)][:2]
    alice.resolve([first], accept=True, reason="known")
    alice.resolve([second], accept=False, reason="not ours")
    assert unresolved() == (1498, True)


def test_a_row_in_the_place_of_a_settled_one_waits(base, alice, edited, thief, unresolved):
    alice.resolve([edited], accept=True, reason="known")
    assert unresolved() == (0, True)
    with thief.without_triggers():
        thief.execute("UPDATE entries SET created_us = 1 WHERE seq = ?", edited)
    assert unresolved() == (1, True)


def test_rows_by_plain_sql_are_counted_so_far(alice, thief, unresolved):
    alice.append({"n": 1})
    strays = [thief.insert_copy(body=b"{}") for _ in range(3)]
    assert unresolved() == unresolved(most=3) == (3, True)
    assert unresolved(most=2) == Unresolved(2, is_all=False)
    alice.resolve(strays[:1], accept=False, reason="not ours")
    assert unresolved(most=2) == (2, True)


def test_a_row_by_plain_sql_that_calls_itself_foreign_is_counted_once(alice, thief, unresolved):
    alice.append({"n": 1})
    stray = thief.insert_copy(body=b"{}", trusted=0)
    assert unresolved() == (1, True)
    alice.resolve([stray], accept=False, reason="not ours")
    assert unresolved() == (0, True)


def test_a_row_by_plain_sql_in_a_permitted_programs_name_waits(journal, edited, thief, unresolved):
    journal.mirrors.permit(KEY, permitted=True, reason="known")
    assert unresolved() == (0, True)
    thief.insert_copy(of=edited, body=b"{}")
    assert unresolved() == (1, True)

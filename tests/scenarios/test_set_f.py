"""Set F: claims, as OpenClaw's writer-claim era tested them. ``test_f1_…`` plays F1.

A session entry's "writer" there is the standing claim here; "publish" is an entry that
others can read.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from pathlib import Path

import pytest

import journal as package
from journal import (
    ClaimedError,
    EntryError,
    NotFoundError,
    RefusedError,
    SessionTakeover,
    Superseded,
)
from tests.thieves import KEY

LINE = {"type": "event"}
REPLY = {"type": "message", "message": {"role": "assistant", "content": "do"}}

pytestmark = pytest.mark.scenario("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8")


@pytest.fixture
def successor(journal):
    return journal.session(KEY, writer="successor", role="run")


def bodies(session):
    return [entry.json() for entry in session.read()]


@pytest.mark.parametrize("way", ["append", "extend", "fence", "batch", "rewrite", "cut", "inputs"])
def test_f1_a_stale_writer_is_refused_in_every_way(base, successor, journal, thief, way):
    """The transcript holds only its header."""
    first = base.claim()
    fence = first.fence()
    head = base.head.seq
    successor.submit(LINE)
    successor.claim(supersede="successor")
    before = thief.execute("SELECT * FROM entries").fetchall()

    with pytest.raises(Superseded) as caught:
        stale(first, fence, journal, head, way)

    assert thief.execute("SELECT * FROM entries").fetchall() == before
    assert bodies(base) == [{"type": "session"}]
    assert (caught.value.by, caught.value.reason) == ("successor", "successor")
    assert caught.value.at_us is not None
    assert caught.value.exit_code == 11


def stale(turn, fence, journal, head, way) -> None:
    if way == "batch":
        with journal.batch() as batch:
            batch.append(turn, LINE)
        return
    {
        "append": lambda: turn.append(LINE),
        "extend": lambda: turn.extend([LINE, LINE]),
        "fence": lambda: fence.append(LINE),
        "rewrite": lambda: turn.rewrite([LINE], base=head, reason="compaction"),
        "cut": lambda: turn.cut(1, base=head, reason="x"),
        "inputs": turn.take_inputs,
    }[way]()


def test_f1_a_stale_turn_raises_no_fence(base, successor):
    """It learns at once, not after the model has thought."""
    first = base.claim()
    successor.claim(supersede="successor")

    with pytest.raises(Superseded):
        first.fence()


def test_f2_no_claim_comes_from_the_surroundings(base, successor):
    """A stale turn is refused and a fresh one is not, in any context, thread or task."""
    stale_turn = base.claim()
    turn = successor.claim(supersede="successor")
    outcomes = []

    def write(session) -> None:
        try:
            outcomes.append(session.append(LINE).claim)
        except (Superseded, ClaimedError) as error:
            outcomes.append(type(error))

    contextvars.copy_context().run(write, stale_turn)
    for session in (stale_turn, base, turn):
        thread = threading.Thread(target=write, args=(session,))
        thread.start()
        thread.join()

    assert outcomes == [Superseded, Superseded, ClaimedError, turn.token]


def test_f2_two_turns_on_two_sessions_in_one_task_never_mix(journal):
    """Interleaved in one task, and across tasks that share everything."""
    turns = [
        journal.session(f"session {n}", writer="gateway", role="run").claim() for n in range(2)
    ]

    async def think(turn, other) -> None:
        for number in range(5):
            turn.append({"n": number})
            await asyncio.sleep(0)
            with turn.fence() as fence:
                await asyncio.sleep(0)
                other.submit({"for": other.key})
                fence.append({"n": number})

    async def both() -> None:
        await asyncio.gather(think(*turns), think(*reversed(turns)))

    asyncio.run(both())

    for turn in turns:
        entries = turn.read()
        assert {entry.claim for entry in entries} == {turn.token}
        assert [entry.json()["n"] for entry in entries] == [n // 2 for n in range(10)]
        assert {entry.json()["for"] for entry in turn.take_inputs()} == {turn.key}


def test_f2_nothing_in_the_package_is_ambient():
    """No module keeps who writes in a context variable or a thread's own storage."""
    sources = Path(package.__file__).parent.rglob("*.py")

    assert [
        path.name
        for path in sources
        if "contextvars" in (text := path.read_text("utf-8")) or "threading.local" in text
    ] == []


def test_f3_a_successor_claims_after_no_writer_was_expected(base, successor):
    """Replace and append are both refused."""
    head = base.head.seq
    successor.claim()

    with pytest.raises(ClaimedError):
        base.rewrite([LINE], base=head, reason="x")
    with pytest.raises(ClaimedError):
        base.append(LINE)
    assert bodies(base) == [{"type": "session"}]


@pytest.mark.parametrize("token", [None, "", "2", 2.0, True])
def test_f4_an_explicit_null_is_not_whatever_is_current(base, journal, thief, token):
    """Refused before anything is run."""
    base.claim()
    before = thief.dump()

    with pytest.raises(EntryError):
        base.end_claim(token)
    with pytest.raises(EntryError):
        base.claim(supersede="")
    with pytest.raises((NotFoundError, EntryError)):
        journal.fence(None)

    assert thief.dump() == before


def test_f5_another_message_while_the_turn_is_prepared(base, journal):
    """Under the strict policy the commit is refused, prepared once; only the other message is stored."""
    telegram = journal.session(KEY, writer="telegram", role="channel")
    prepared = []

    with base.claim() as turn:
        fence = turn.fence(policy="strict")
        prepared.append(REPLY)
        telegram.append({"type": "message", "message": {"role": "user", "content": "wait"}})
        with pytest.raises(SessionTakeover) as caught:
            fence.append(prepared[-1])

    assert len(prepared) == 1
    assert [body.get("type") for body in bodies(base)] == ["session", "message"]
    assert caught.value.parked.lines


def test_f6_a_turn_persisted_with_its_key(base, successor):
    """Stored once; the repeat appends nothing; nor does one after the session was rebound."""
    turn = base.claim()
    first = turn.append(REPLY, request_id="turn-1")

    assert turn.append(REPLY, request_id="turn-1").seq == first.seq
    rebound = successor.claim(supersede="rebound")
    assert turn.append(REPLY, request_id="turn-1").seq == first.seq
    assert rebound.append(REPLY, request_id="turn-1").seq == first.seq
    assert turn.outcome == "superseded"  # the reason: the session is another's now
    assert bodies(base).count(REPLY) == 1


def test_f7_history_changes_between_reading_and_claiming(base, heartbeat, thief):
    """The claim is refused, nobody holds the session, nothing was written."""
    seen = base.head.seq
    heartbeat.append(LINE)
    before = thief.dump()

    with pytest.raises(RefusedError) as caught:
        base.claim(base=seen)

    assert caught.value.code == "changed-since"
    assert thief.dump() == before
    assert base.claim(base=base.head.seq).stands


def test_f8_the_aborted_partial_answer_of_a_superseded_run(base, successor, thief):
    """Refused, rows unchanged, the answer kept whole."""
    turn = base.claim()
    successor.claim(supersede="successor-run")
    before = thief.execute("SELECT * FROM entries").fetchall()

    with pytest.raises(Superseded) as caught:
        turn.append(REPLY)

    assert thief.execute("SELECT * FROM entries").fetchall() == before
    (parked,) = base.parked()
    assert parked.id == caught.value.parked
    assert b'"do"' in parked.lines[0]

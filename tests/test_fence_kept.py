"""What fences leave in the journal: their rows and their verdicts, also where storing them fails."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from journal import EntryError, NotFoundError, SessionTakeover
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from journal import Journal, Session
    from journal.verdict import Verdict
    from tests.thieves import Thief

LINE = {"type": "custom", "customType": "n"}


@contextmanager
def interrupted(name: str) -> Iterator[None]:
    """Raise KeyboardInterrupt on entering a function, by its qualified name; expect it."""

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_qualname == name:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        sys.setprofile(None)


def test_a_fence_whose_storing_was_interrupted_is_stored_with_the_next_write(
    base: Session, heartbeat: Session, thief: Thief
) -> None:
    fence = base.fence()
    with interrupted("Store.commit"):
        fence.stored()
    assert thief.count("fences") == 0

    heartbeat.append(LINE)

    assert thief.ask("SELECT id FROM fences") == fence.id


@pytest.mark.parametrize("act", ["check", "append"])
def test_a_verdict_whose_storing_was_interrupted_is_stored_by_the_next_check(
    base: Session, thief: Thief, told: list[Verdict], act: str
) -> None:
    """What was never kept is not taken for told."""
    fence = base.fence()
    thief.insert_copy()
    with interrupted("Store.commit"):
        fence.check() if act == "check" else fence.append(LINE)
    assert thief.count("verdicts") == 0

    verdict = fence.check(raise_=False)

    assert verdict.id == thief.ask("SELECT id FROM verdicts")
    assert told == [verdict]


def test_what_was_found_between_fences_is_told_until_it_could_be_stored(
    base: Session, open_journal: Callable[..., Journal], thief: Thief, told: list[Verdict]
) -> None:
    """Somebody holds the write lock while a fence is raised: the next one finds it again, and keeps it."""
    editor = open_journal().session(KEY, writer="editor", role="external")
    came = editor.append(LINE).seq
    session = open_journal(busy_timeout=0.0).session(KEY, writer="gateway", role="run")
    with thief.transaction():
        fence = session.fence()
    assert thief.count("verdicts") == 0
    fence.stored()
    assert thief.ask("SELECT examined_seq FROM sessions WHERE id = 2") == 1
    session.append(LINE)

    for _ in range(2):
        session.fence()

    assert [(v.outcome, [e.seq for e in v.foreign]) for v in told] == [
        ("between fences", [came])
    ] * 2
    assert thief.ask("SELECT id FROM verdicts") == told[1].id
    assert thief.count("verdicts") == 1
    open_journal().session(KEY, writer="gateway", role="run").fence()
    assert len(told) == 2


def test_a_takeover_found_by_a_check_says_nothing_of_a_write(base: Session, thief: Thief) -> None:
    fence = base.fence()
    thief.insert_copy()

    with pytest.raises(SessionTakeover) as caught:
        fence.check()

    assert caught.value.parked is None
    assert "parked" not in str(caught.value)


@pytest.mark.parametrize("lost", ["session", "writer"])
def test_a_stored_fence_whose_session_or_writer_is_lost_is_not_found(
    base: Session, open_journal: Callable[..., Journal], thief: Thief, lost: str
) -> None:
    """Either declaration alone: a fence that is nobody's, or of no session, binds nothing."""
    fence_id = base.fence().stored()
    named = json.dumps(KEY if lost == "session" else "gateway").encode()
    with thief.without_triggers():
        thief.execute(
            "UPDATE entries SET body = x'7b7d' WHERE session_id = 1 AND line_type = ? AND instr(body, ?)",
            lost,
            named,
        )

    with pytest.raises(NotFoundError, match="is not registered any more"):
        open_journal().fence(fence_id)


def test_a_row_at_the_least_seq_there_is_is_found_by_a_fence(base: Session, thief: Thief) -> None:
    fence = base.fence()
    thief.insert_many([-(2**63)])

    assert [entry.seq for entry in fence.check(raise_=False).foreign] == [-(2**63)]


@pytest.mark.parametrize("fence_id", ["", "x" * 1000, 7])
def test_what_is_no_fence_id_is_refused_as_such(journal: Journal, fence_id: Any) -> None:
    with pytest.raises(EntryError):
        journal.fence(fence_id)


def test_to_write_no_lines_under_a_fence_is_a_check(base: Session, thief: Thief) -> None:
    fence = base.fence()
    thief.insert_copy()

    with pytest.raises(SessionTakeover):
        fence.extend([])


def test_a_verdict_keeps_who_held_the_session_and_what_was_parked(
    base: Session, thief: Thief
) -> None:
    """Only this moment could tell."""
    turn = base.claim()
    fence = turn.fence()
    thief.insert_copy(claim=turn.token)
    with pytest.raises(SessionTakeover) as caught:
        fence.append(LINE)

    evidence = json.loads(thief.ask("SELECT evidence FROM verdicts"))

    assert caught.value.parked is not None
    assert evidence["parked"] == caught.value.parked.id
    assert evidence["claim"] == evidence["holder"]["token"] == turn.token
    assert evidence["holder"]["writer"] == "gateway"


def test_a_verdict_on_a_session_that_nobody_holds_says_so(base: Session, thief: Thief) -> None:
    fence = base.fence()
    thief.insert_copy()
    fence.check(raise_=False)

    evidence = json.loads(thief.ask("SELECT evidence FROM verdicts"))

    assert (evidence["claim"], evidence["holder"]) == (None, None)
    assert "parked" not in evidence


def test_a_reader_may_raise_a_fence_that_is_nobodys(
    base: Session, journal: Journal, heartbeat: Session, thief: Thief
) -> None:
    """All that comes arrives, and the verdict is kept under no writer."""
    fence = journal.session(KEY).fence()
    lines = [base.append(LINE), heartbeat.append(LINE)]
    assert [entry.seq for entry in fence.check().arrived] == [line.seq for line in lines]
    forged = thief.insert_copy()

    assert [entry.seq for entry in fence.check(raise_=False).foreign] == [forged]
    row = thief.execute("SELECT writer_id, instance_id, fence_id FROM verdicts").fetchone()
    assert row == (None, None, fence.id)
    assert thief.count("fences") == 0

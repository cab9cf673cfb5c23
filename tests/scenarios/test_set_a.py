"""Set A: openclaw's own tests of its file fence, played on a journal.

C, C1 and C2 of the originals are handles with the role ``run``; RELEASE raises a
fence, REACQUIRE and CLEANUP check it, WRITE is ``fence.append``. A RAW-APPEND by an
outsider is a row inserted by plain SQL here (as bytes in a mirror it comes with the
mirror). MERGE's entries are ``fence.arrived``. ``test_a24_…`` plays A24.

| played | left out, and why |
|---|---|
| 2 24 25 26 28 30 32 33 34 36 40 42 46 48 50 52 54 56 58 60 62 64 68 70 72 74 76 78 80 82 84 86 98 | |
| | 38: a check on the mirror; 66: a transcript file that is overwritten |
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from journal import SessionTakeover
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Entry, Fence, Journal, Session
    from tests.thieves import Thief

POLICIES = ("cotenant", "strict")
EXTERNAL = b'{"type":"message","id":"external"}'
DELIVERY: dict[str, Any] = {
    "type": "message",
    "id": "d1",
    "parentId": "a1",
    "message": {"role": "assistant", "provider": "openclaw", "model": "delivery-mirror"},
}
LABEL = {"type": "label", "id": "l1", "targetId": "d1", "label": "kept"}
SESSION_INFO = {"type": "session_info", "id": "s1", "name": "The gate"}
OWNED = {"type": "message", "id": "owned", "message": {"role": "assistant", "content": "mine"}}
REPLY = {"type": "message", "id": "reply", "message": {"role": "assistant", "content": "done"}}
USER = {"type": "message", "id": "u1", "message": {"role": "user", "content": "Mend the gate."}}
ANSWER = {"type": "message", "id": "a1", "message": {"role": "assistant", "content": "How?"}}
COMPACTION = {
    "type": "compaction",
    "id": "c1",
    "summary": "s",
    "firstKeptEntryId": "u1",
    "tokensBefore": 9,
}

A25 = (
    {
        "type": "custom",
        "customType": "model-snapshot",
        "id": "x1",
        "parentId": None,
        "timestamp": "t",
    },
    LABEL | {"parentId": "x1", "timestamp": "t"},
    SESSION_INFO | {"parentId": "l1", "timestamp": "t"},
    {"type": "session_info", "id": "s2", "parentId": "s1", "timestamp": "t"},
)
A33 = {
    "a: custom without customType": {"type": "custom", "id": "x"},
    "b: custom with empty customType": {"type": "custom", "customType": "", "id": "x"},
    "c: label without targetId": {"type": "label", "label": "l", "id": "x"},
    "d: label whose label is no string": {"type": "label", "targetId": "t", "label": 7, "id": "x"},
    "e: session_info whose name is no string": {"type": "session_info", "name": 7, "id": "x"},
}
A34 = {
    "a: model_change": {"type": "model_change", "provider": "openai", "modelId": "m"},
    "b: thinking_level_change": {"type": "thinking_level_change", "thinkingLevel": "high"},
    "c: a user message": USER,
    "d: custom_message": {
        "type": "custom_message",
        "customType": "c",
        "content": "x",
        "display": False,
    },
    "e: compaction": COMPACTION,
    "f: branch_summary": {"type": "branch_summary", "fromId": "u1", "summary": "s"},
    "g: leaf": {"type": "leaf", "targetId": None},
}


@pytest.fixture
def c(base: Session) -> Session:
    """Give C: a run on the session that holds only its header."""
    return base


@pytest.fixture
def c2(journal: Journal, base: Session) -> Session:
    return journal.session(KEY, writer="c2", role="run")


@pytest.fixture
def owner(journal: Journal) -> Session:
    """Give what upstream calls owned: a registered writer's handle."""
    return journal.session(KEY, writer="delivery", role="channel")


def takes_over(act: Callable[[], object], *seqs: int) -> SessionTakeover:
    """Expect a takeover by exactly these rows."""
    with pytest.raises(SessionTakeover) as caught:
        act()
    assert [entry.seq for entry in caught.value.entries] == list(seqs)
    return caught.value


def bodies(session: Session) -> list[Any]:
    return [entry.json() for entry in session.read()]


def seqs(entries: list[Entry] | tuple[Entry, ...]) -> list[int]:
    return [entry.seq for entry in entries]


def raw_append(thief: Thief, body: bytes = EXTERNAL) -> int:
    """Append a row as an outsider does: the session's own writer, no seal."""
    return thief.insert_copy(body=body)


def test_a2_a_row_from_before_the_run_is_no_snapshot_to_trust(c, thief, open_journal, told):
    """A later run does not take what an outsider left for granted: it is told, and the row stays out."""
    with c.fence():
        pass
    external = raw_append(thief)

    second = open_journal().session(KEY, writer="c2", role="run")
    fence = second.fence()

    assert [(verdict.outcome, seqs(verdict.foreign)) for verdict in told] == [
        ("between fences", [external])
    ]
    assert seqs(fence.unresolved) == [external]
    assert bodies(second) == [{"type": "session"}]


def test_a24_a_write_and_a_cleanup_after_a_foreign_row(c, thief):
    """WRITE is a takeover, its line is parked; CLEANUP is computed anew and still sees it."""
    fence = c.fence()
    external = raw_append(thief, b'{"type":"message","id":"takeover"}')

    error = takes_over(lambda: fence.append(REPLY), external)

    takes_over(fence.check, external)
    assert error.parked.lines[0].startswith(b'{"type":"message","id":"reply"')
    assert bodies(c) == [{"type": "session"}]


@pytest.mark.parametrize("policy", POLICIES)
def test_a25_a_co_tenants_four_metadata_rows(c, owner, policy):
    """Accepted, and merged once, with the four in order."""
    fence = c.fence(policy=policy)
    written = owner.extend(A25)

    fence.append(REPLY)
    fence.check()

    assert seqs(fence.arrived) == seqs(written)
    assert [entry.json()["id"] for entry in fence.arrived] == ["x1", "l1", "s1", "s2"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("line", A25, ids=lambda line: line["id"])
def test_a25_the_same_rows_by_an_outsider(c, thief, policy, line):
    """The same lines by plain SQL are a takeover under both policies."""
    fence = c.fence(policy=policy)
    external = raw_append(thief, str(line).encode())

    takes_over(lambda: fence.append(REPLY), external)


@pytest.mark.parametrize("policy", POLICIES)
def test_a26_an_outsiders_session_info(c, thief, policy):
    """A takeover, and nobody has to supply a merge for it."""
    fence = c.fence(policy=policy)
    external = raw_append(thief, b'{"type":"session_info","name":"mine now"}')

    takes_over(lambda: fence.append(REPLY), external)


@pytest.mark.parametrize("policy", POLICIES)
def test_a28_a_delivery_mirror_beside_the_answer(c, owner, policy):
    """Accepted; the answer and the delivery are both kept, each with the parent it named."""
    c.extend([USER, ANSWER])
    fence = c.fence(policy=policy)
    delivery = owner.append(DELIVERY)

    assert seqs(fence.check().arrived) == [delivery.seq]
    assert bodies(c) == [{"type": "session"}, USER, ANSWER, DELIVERY]


@pytest.mark.parametrize("policy", POLICIES)
def test_a28_a_delivery_mirror_by_an_outsider(c, thief, policy):
    """A takeover under both policies."""
    fence = c.fence(policy=policy)

    takes_over(
        fence.check, raw_append(thief, b'{"type":"message","message":{"model":"delivery-mirror"}}')
    )


def test_a30_two_stale_runs_and_a_session_info(c, c2, owner):
    """C2 learns C1's turn as an arrival instead of writing over it; the name is kept; no takeover."""
    first, second = c.fence(), c2.fence()
    info = owner.append(SESSION_INFO)

    turn = first.append(USER)

    assert seqs(second.check().arrived) == [info.seq, turn.seq]
    assert bodies(c2) == [{"type": "session"}, SESSION_INFO, USER]


@pytest.mark.parametrize("policy", POLICIES)
def test_a30_the_session_info_alone(c, owner, policy):
    """By a registered co-tenant it is accepted under both policies."""
    fence = c.fence(policy=policy)
    info = owner.append(SESSION_INFO)

    fence.append(USER)

    assert seqs(fence.arrived) == [info.seq]


def test_a32_owned_delivery_label_and_name_survive_a_full_rewrite(c, owner):
    """All the owner wrote is there after the run's own answer; no takeover."""
    c.append(USER)
    fence = c.fence()
    owner.append(OWNED)
    owner.append(LABEL)
    owner.append(SESSION_INFO)

    fence.append(ANSWER)

    assert bodies(c) == [{"type": "session"}, USER, OWNED, LABEL, SESSION_INFO, ANSWER]
    assert fence.check().accepted


@pytest.mark.parametrize("line", [*A33.values(), *A34.values()], ids=[*A33, *A34])
class TestA33AndA34:
    """One row that the file era's fence did not let pass."""

    def test_by_an_outsider(self, c, thief, line):
        """A takeover under both policies, at WRITE and again at CLEANUP."""
        fences = [c.fence(policy=policy) for policy in POLICIES]
        external = raw_append(thief, str(line).encode())

        for fence in fences:
            takes_over(partial(fence.append, REPLY), external)
            takes_over(fence.check, external)

    def test_by_a_co_tenant(self, c, owner, line):
        """Accepted under ``cotenant``, a takeover under ``strict``."""
        cotenant, strict = (c.fence(policy=policy) for policy in POLICIES)
        row = owner.append(line)

        assert seqs(cotenant.check().arrived) == [row.seq]
        error = takes_over(lambda: strict.append(REPLY), row.seq)
        assert error.verdict.reasons == ("is not accepted by the policy",)
        takes_over(strict.check, row.seq)


@pytest.mark.parametrize("policy", POLICIES)
def test_a36_a_delivery_mirror_a_label_on_it_and_a_name(c, owner, policy):
    """By a co-tenant: accepted under both policies, merged in order."""
    fence = c.fence(policy=policy)
    rows = [owner.append(line) for line in (DELIVERY, LABEL, SESSION_INFO)]

    fence.append(REPLY)

    assert seqs(fence.arrived) == seqs(rows)


@pytest.mark.parametrize("policy", POLICIES)
def test_a36_the_same_three_by_an_outsider(c, thief, policy):
    """A takeover that names all three."""
    fence = c.fence(policy=policy)
    external = [raw_append(thief, str(line).encode()) for line in (DELIVERY, LABEL, SESSION_INFO)]

    takes_over(lambda: fence.append(REPLY), *external)


def run_in_thread(act: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def test_a40_a_detached_task_writes_after_the_write_that_started_it(c):
    """It writes in a transaction of its own; the next write is accepted."""
    fence = c.fence()
    fence.append(ANSWER)

    run_in_thread(lambda: c.append(OWNED))

    fence.append(REPLY)
    assert bodies(c) == [{"type": "session"}, ANSWER, OWNED, REPLY]


def test_a42_reacquiring_after_a_foreign_row(c, thief, open_journal):
    """REACQUIRE is a takeover, and holds no lock: others write at once."""
    fence = c.fence()
    external = raw_append(thief)

    takes_over(fence.check, external)

    other = open_journal(busy_timeout=0.0).session(KEY, writer="heartbeat", role="heartbeat")
    assert other.append({"type": "custom", "customType": "beat"}).trusted


def test_a46_one_letter_changed_and_nothing_else_to_see(c, thief):
    """Same size, same times: a takeover all the same, for the line is not the one sealed."""
    fence = c.fence()
    thief.edit("body", 1, b'{"type":"sessiom"}')

    error = takes_over(lambda: fence.append(REPLY), 1)

    assert [entry.trust for entry in error.entries] == ["altered"]


def test_a48_an_append_under_the_owned_lock(c, owner):
    """Accepted."""
    fence = c.fence()
    delivery = owner.append(DELIVERY)

    fence.append(REPLY)

    assert seqs(fence.arrived) == [delivery.seq]


def test_a50_publishing_what_is_known_changes_nothing(c):
    """A check that sees nothing new moves nothing; after an own write it stands at that write, once."""
    fence = c.fence()
    marks = [fence.mark]
    fence.check()
    marks.append(fence.mark)
    own = fence.append(REPLY)
    marks.append(fence.mark)
    fence.check()
    marks.append(fence.mark)

    assert [mark.seq for mark in marks] == [1, 1, own.seq, own.seq]
    assert fence.arrived == []


def test_a52_the_runs_own_append_while_released(c):
    """Accepted: it is no arrival and no takeover; what it may not hide is G1."""
    fence = c.fence()
    own = c.append(OWNED)

    assert fence.append(REPLY).seq == own.seq + 1
    assert fence.arrived == []


@pytest.mark.parametrize("policy", POLICIES)
def test_a54_an_outsiders_well_formed_compaction(c, thief, policy):
    """Well-formed or not, a takeover."""
    fence = c.fence(policy=policy)
    external = raw_append(thief, str(COMPACTION).encode())

    takes_over(lambda: fence.append(REPLY), external)


def test_a56_a_foreign_row_first_inside_the_owned_section(c, thief):
    """The run's own compaction after it makes it no better: the foreign row is named, and it alone."""
    fence = c.fence()
    external = raw_append(thief)
    c.append(COMPACTION)

    takes_over(lambda: fence.append(REPLY), external)


def test_a58_another_run_publishes_its_own_row(c, c2):
    """C1 accepts what C2 declared, beside its own compaction."""
    first = c.fence()
    c2.fence()
    other = c2.append({"type": "message", "id": "owned-other"})
    c.append(COMPACTION)

    first.append(REPLY)

    assert seqs(first.arrived) == [other.seq]


def test_a60_an_owned_append_is_merged_with_its_persisted_id(c, owner):
    """The arrival is the very entry that was stored."""
    fence = c.fence()
    entry = owner.append(OWNED)

    arrived = fence.check().arrived

    assert [(e.seq, e.epoch, e.data, e.writer) for e in arrived] == [
        (entry.seq, entry.epoch, entry.data, "delivery")
    ]


def test_a62_a_session_that_has_nothing_yet(journal):
    """A fence on it is raised at nothing; the first line by a co-tenant is one arrival."""
    run = journal.session("agent:main:fresh", writer="gateway", role="run")
    fence = run.fence()

    entry = journal.session("agent:main:fresh", writer="delivery", role="channel").append(OWNED)

    assert entry.seq == 1
    assert seqs(fence.check().arrived) == [1]


def test_a64_a_hook_that_throws(journal):
    """Its own error reaches the caller, the verdict rides along as a note, nothing arrived."""
    run = journal.session("agent:main:fresh", writer="gateway", role="run")

    with pytest.raises(ZeroDivisionError) as caught, run.fence() as fence:
        _ = 1 // 0

    assert any("accepted, 0 arrived" in note for note in caught.value.__notes__)
    assert fence.arrived == []
    assert not run.exists


def test_a68_an_event_that_carries_a_payload_like_a_message(c, owner):
    """It arrives as it is: nobody looks inside."""
    event = {"type": "metadata", "message": {"role": "user", "content": "not a message"}}
    fence = c.fence()
    owner.append(event)

    assert [entry.json() for entry in fence.check().arrived] == [event]


@pytest.mark.parametrize("policy", POLICIES)
def test_a70_an_owned_message_of_a_mebibyte_and_one(c, owner, policy):
    """No size makes a co-tenant's line foreign."""
    line = DELIVERY | {"message": DELIVERY["message"] | {"content": "x" * (1 << 20)}}
    fence = c.fence(policy=policy)
    entry = owner.append(line)

    assert len(entry.data) > 1 << 20
    assert seqs(fence.check().arrived) == [entry.seq]


def test_a72_two_publishes_one_behind_the_other(c, owner):
    """Merged in the order they were written, each once, whatever ids their lines repeat."""
    fence = c.fence()
    first, second = owner.append(OWNED), owner.append(OWNED)

    fence.check()
    fence.check()

    assert seqs(fence.arrived) == [first.seq, second.seq]


def test_a74_a_publish_nobody_waited_for(c, owner):
    """Once it has run it is an arrival like any other."""
    fence = c.fence()
    run_in_thread(lambda: owner.append(OWNED))

    fence.append(REPLY)

    assert [entry.json() for entry in fence.arrived] == [OWNED]


def test_a76_a_publish_that_appends_a_foreign_row_first(c, owner, thief):
    """Every write under that fence is a takeover; its line is parked, and nothing is merged."""
    fence = c.fence()
    external = raw_append(thief)
    owner.append(OWNED)

    for line in (OWNED, REPLY, REPLY):
        takes_over(partial(fence.append, line), external)

    assert fence.arrived == []
    assert sorted(parked.times for parked in c.parked()) == [1, 2]
    assert bodies(c) == [{"type": "session"}, OWNED]


def test_a78_a_delayed_write_of_a_publish_that_has_ended(c, owner):
    """It is a write of its own, and accepted."""
    fence = c.fence()
    owner.append(OWNED)

    run_in_thread(lambda: owner.append(DELIVERY))

    fence.append(REPLY)
    assert [entry.json()["id"] for entry in fence.arrived] == ["owned", "d1"]


def test_a80_rows_of_unknown_type_and_a_bare_number(c, owner):
    """Both are kept as they are, and stand in order beside the messages."""
    c.append(USER)
    fence = c.fence()
    owner.append({"type": "metadata"})
    owner.append(b"42")

    fence.append(ANSWER)

    assert bodies(c) == [{"type": "session"}, USER, {"type": "metadata"}, 42, ANSWER]
    assert [entry.kind for entry in c.read()] == ["line"] * 5


def test_a82_another_run_cleans_up_and_an_outsider_writes(c, c2, thief):
    """C2's clean end does not make C1 miss the row."""
    first = c.fence()
    with c2.fence() as second:
        pass
    external = raw_append(thief)
    assert second.arrived == []

    takes_over(lambda: first.append(REPLY), external)


def test_a84_rows_that_another_run_did_not_declare(c, c2, thief):
    """Under C2's writer, instance and epoch, and yet without a seal: a takeover by both rows."""
    first = c.fence()
    declared = c2.append(OWNED)
    undeclared = [
        thief.insert_copy(of=declared.seq, body=body) for body in (b'{"n":1}', b'{"n":2}')
    ]

    error = takes_over(lambda: first.append(REPLY), *undeclared)

    assert {entry.writer for entry in error.entries} == {"c2"}
    assert {entry.trust for entry in error.entries} == {"stray"}


def test_a86_an_outsiders_row_and_then_another_runs_write(c, c2, thief, told):
    """C2 raises its fence over the row and writes: that launders nothing for C1."""
    first: Fence = c.fence()
    external = raw_append(thief)
    second = c2.fence()
    other = second.append(OWNED)
    assert second.check().accepted

    error = takes_over(lambda: first.append(REPLY), external)

    assert seqs(error.verdict.arrived) == [other.seq]
    assert [verdict.outcome for verdict in told] == ["between fences", "takeover"]


def test_a98_two_writers_at_once(c, owner, open_journal):
    """Both rows are written; no deadlock, no takeover."""
    fence = c.fence()
    other = open_journal().session(KEY, writer="hook", role="tool")
    meet = threading.Barrier(2)

    def write(session: Session, line: object) -> Callable[[], None]:
        def run() -> None:
            meet.wait(30)
            session.append(line)

        return run

    threads = [
        threading.Thread(target=write(*pair)) for pair in ((owner, OWNED), (other, DELIVERY))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    fence.append(REPLY)
    assert sorted(entry.json()["id"] for entry in fence.arrived) == ["d1", "owned"]

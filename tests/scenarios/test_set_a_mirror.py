"""Set A where an outsider has the file: each RAW-APPEND is bytes put into the mirror.

``test_set_a`` plays the same rows by plain SQL. After each test the file is what an
export gives: nothing the outsider wrote was lost, and nothing of ours.

| played | left out, and why |
|---|---|
| 2 24 25 26 28 30 32 33 34 36 38 40 42 46 48 52 54 56 58 60 64 66 68 70 72 76 80 82 84 86 98 | |
| | 50 62 74 78: no outsider and no file in them, played in ``test_set_a`` |
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from journal import SessionTakeover
from journal.export import export
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from journal import Journal, Session

POLICIES = ("cotenant", "strict")
EXTERNAL: dict[str, Any] = {"type": "message", "id": "external"}
DELIVERY: dict[str, Any] = {
    "type": "message",
    "id": "d1",
    "parentId": "a1",
    "message": {"role": "assistant", "provider": "openclaw", "model": "delivery-mirror"},
}
LABEL = {"type": "label", "id": "l1", "targetId": "d1", "label": "kept"}
SESSION_INFO = {"type": "session_info", "id": "s1", "name": "The gate"}
SNAPSHOT = {"type": "custom", "customType": "model-snapshot", "id": "x1", "parentId": None}
NAMELESS = {"type": "session_info", "id": "s2", "parentId": "s1"}
COMPACTION = {"type": "compaction", "id": "c1", "summary": "s", "firstKeptEntryId": "u1"}
OWNED = {"type": "message", "id": "owned", "message": {"role": "assistant", "content": "mine"}}
REPLY = {"type": "message", "id": "reply", "message": {"role": "assistant", "content": "done"}}
USER = {"type": "message", "id": "u1", "message": {"role": "user", "content": "Mend the gate."}}
BY_OUTSIDERS: dict[str, list[dict[str, Any]]] = {
    "A25": [SNAPSHOT, LABEL, SESSION_INFO, NAMELESS],
    "A26": [SESSION_INFO],
    "A28": [DELIVERY],
    "A30": [SESSION_INFO],
    "A33a": [{"type": "custom", "id": "x"}],
    "A33b": [{"type": "custom", "customType": "", "id": "x"}],
    "A33c": [{"type": "label", "label": "l", "id": "x"}],
    "A33d": [{"type": "label", "targetId": "t", "label": 7, "id": "x"}],
    "A33e": [{"type": "session_info", "name": 7, "id": "x"}],
    "A34a": [{"type": "model_change", "provider": "openai", "modelId": "m"}],
    "A34b": [{"type": "thinking_level_change", "thinkingLevel": "high"}],
    "A34c": [USER],
    "A34d": [{"type": "custom_message", "customType": "c", "content": "x", "display": False}],
    "A34e": [COMPACTION],
    "A34f": [{"type": "branch_summary", "fromId": "u1", "summary": "s"}],
    "A34g": [{"type": "leaf", "targetId": None}],
    "A36": [DELIVERY, LABEL, SESSION_INFO],
    "A54": [COMPACTION],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


@pytest.fixture
def c(journal: Journal, path: Path) -> Iterator[Session]:
    """Give C: a run on a session that holds only its header, with its file."""
    session = journal.session(KEY, writer="gateway", role="run", mirror=path)
    session.append({"type": "session"})
    yield session
    with journal.session(KEY, writer="operator", role="operator").fence():
        pass
    assert path.read_bytes() == b"".join(export(journal, KEY))


@pytest.fixture
def owner(journal: Journal, c: Session) -> Session:
    return journal.session(KEY, writer="delivery", role="channel")


def drop(path: Path, *lines: dict[str, Any]) -> None:
    """Append to the file as a program does that knows nothing of a journal."""
    with path.open("ab") as file:
        file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def takes_over(act: Callable[[], object], *lines: dict[str, Any]) -> SessionTakeover:
    """Expect a takeover by exactly these lines, all attributed to the mirror's external writer."""
    with pytest.raises(SessionTakeover) as caught:
        act()
    assert [entry.json() for entry in caught.value.entries] == list(lines)
    assert {(entry.role, entry.trust) for entry in caught.value.entries} == {
        ("external", "external")
    }
    return caught.value


def test_a2_what_an_outsider_left_before_the_run(c, path, open_journal, told):
    with c.fence():
        pass
    drop(path, EXTERNAL)

    second = open_journal().session(KEY, writer="c2", role="run")
    fence = second.fence()

    assert [verdict.outcome for verdict in told] == ["between fences"]
    assert [entry.json() for entry in fence.unresolved] == [EXTERNAL]


def test_a24_a_write_and_a_cleanup_after_a_foreign_row(c, path):
    fence = c.fence()
    drop(path, EXTERNAL)

    error = takes_over(lambda: fence.append(REPLY), EXTERNAL)

    takes_over(fence.check, EXTERNAL)
    assert error.parked.lines[0].startswith(b'{"type":"message","id":"reply"')
    assert b"reply" not in path.read_bytes()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("lines", BY_OUTSIDERS.values(), ids=BY_OUTSIDERS)
def test_lines_by_an_outsider(c, path, policy, lines):
    """A25, A26, A28, A30, A33, A34, A36, A54: a takeover under both policies, at WRITE and CLEANUP."""
    fence = c.fence(policy=policy)
    drop(path, *lines)

    takes_over(lambda: fence.append(REPLY), *lines)
    takes_over(fence.check, *lines)


@pytest.mark.parametrize("lines", BY_OUTSIDERS.values(), ids=BY_OUTSIDERS)
def test_the_same_lines_by_a_co_tenant(c, owner, path, lines):
    """Accepted, in order, and in the file."""
    fence = c.fence()
    owner.extend(lines)

    fence.append(REPLY)

    assert [entry.json() for entry in fence.arrived] == lines
    assert len(path.read_bytes().splitlines()) == len(lines) + 2


def test_a32_owned_lines_survive_a_full_rewrite(c, owner, path):
    c.append(USER)
    fence = c.fence()
    owner.extend([OWNED, LABEL, SESSION_INFO])

    c.rewrite(c.read(), base=c.head.seq, reason="linear migration")

    assert fence.check().accepted
    assert [json.loads(line) for line in path.read_bytes().splitlines()[1:]] == [
        USER, OWNED, LABEL, SESSION_INFO,
    ]  # fmt: skip


def test_a38_a_big_linear_file_is_not_rewritten(c, owner, path):
    """A line of 8 MiB without a parent: the file only grows, by the new line alone."""
    big = b'{"type":"message","text":"%s"}' % (b"x" * (8 * 1024 * 1024 - 40))
    c.append(big)
    fence, before = c.fence(), path.stat()

    owner.append({"type": "message", "id": "d1"})

    after = path.stat()
    assert (after.st_ino, after.st_size - before.st_size) == (before.st_ino, 29)
    assert fence.check().accepted


def test_a40_and_a98_a_thread_writes_meanwhile(c, owner, path):
    fence = c.fence()
    threads = [threading.Thread(target=side.append, args=[OWNED]) for side in (c, owner)]
    for thread in threads:
        thread.start()
    fence.append(REPLY)
    for thread in threads:
        thread.join()

    assert fence.check().accepted
    assert len(path.read_bytes().splitlines()) == 4


def test_a42_reacquiring_after_a_foreign_row(c, path, open_journal):
    """A takeover, and no lock is held after it."""
    fence = c.fence()
    drop(path, EXTERNAL)

    takes_over(fence.check, EXTERNAL)

    other = open_journal(busy_timeout=0.0).session(KEY, writer="heartbeat", role="heartbeat")
    assert other.append({"type": "custom"}).trusted


def test_a46_one_letter_changed_size_and_time_as_they_were(c, path):
    fence = c.fence()
    times = path.stat()
    with path.open("r+b") as file:
        file.write(b'{"type":"sessiom"}')
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    with pytest.raises(SessionTakeover) as caught:
        fence.append(REPLY)

    assert caught.value.entries[0].body == b'{"type":"sessiom"}'


def test_a48_a52_a60_a64_a68_a70_owned_appends(c, owner, path):
    """All accepted, whatever they hold and however long they are."""
    fence = c.fence()
    c.append(OWNED)
    metadata = {"type": "metadata", "message": {"role": "user"}}
    for line in (DELIVERY, metadata, {"type": "message", "text": "x" * (1 << 20)}):
        owner.append(line)
    with pytest.raises(ValueError, match="not JSON-able"):
        owner.append({"type": "message", "bad": float("nan")})

    fence.append(REPLY)

    assert [entry.writer for entry in fence.arrived] == ["delivery"] * 3


@pytest.mark.parametrize("row", ["A56", "A76", "A84", "A86"])
def test_an_honest_line_does_not_hide_a_foreign_one(c, owner, path, journal, row):
    """By the run itself, by a publisher, by another run: before it or behind it in the same window."""
    fence = c.fence()
    honest = {"A56": c, "A76": owner, "A84": owner, "A86": None}[row]
    other = honest or journal.session(KEY, writer="c2", role="run")
    if row == "A84":
        other.append(OWNED)
    drop(path, EXTERNAL)
    if row != "A84":
        other.append(OWNED)

    takes_over(lambda: fence.append(REPLY), EXTERNAL)


def test_a58_a72_two_publishers_in_order(c, owner, journal):
    second = journal.session(KEY, writer="c2", role="run")
    fence = c.fence()
    first = [second.append({"id": "p1"}), owner.append({"id": "p2"})]

    fence.append(REPLY)

    assert [entry.seq for entry in fence.arrived] == [entry.seq for entry in first]


def test_a66_the_file_overwritten_with_another_sessions_header(c, path):
    """A takeover; both headers are kept."""
    fence = c.fence()
    other = {"type": "session", "id": "another"}
    path.write_bytes(json.dumps(other).encode() + b"\n")

    with pytest.raises(SessionTakeover) as caught:
        fence.append(REPLY)

    assert caught.value.entries[0].json() == other
    assert [entry.json() for entry in c.read()] == [other]


def test_a80_opaque_rows_are_kept(c, owner, path):
    """A bare number too."""
    owner.append({"type": "metadata"})
    owner.append(b"42")
    fence = c.fence()

    fence.append(REPLY)

    assert b"\n42\n" in path.read_bytes()


def test_a82_a_second_controller_between(c, path, journal):
    first = c.fence()
    second = journal.session(KEY, writer="c2", role="run")
    with second.fence():
        pass
    drop(path, EXTERNAL)

    takes_over(lambda: first.append(REPLY), EXTERNAL)


def test_g5_own_compaction_shrinks_the_history(c, path):
    """Accepted, and the file has what the layout has."""
    c.extend([USER, OWNED])
    fence = c.fence()

    c.rewrite([*c.read()[:1], COMPACTION], base=c.head.seq, reason="compacted")

    assert fence.append(REPLY).trusted
    assert len(path.read_bytes().splitlines()) == 3

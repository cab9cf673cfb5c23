from __future__ import annotations

from pathlib import Path

import pytest

from journal.formats import Header, codex, detect

SESSIONS = Path(__file__).parents[1] / "fixtures" / "codex" / "0.169.0" / "sessions"
UUID = "01a20313-8396-7560-87b5-ec33f5967a23"
ROLLOUT = f"rollout-2026-11-22T11-45-40-{UUID}.jsonl"


@pytest.mark.parametrize("path", sorted(SESSIONS.rglob("*.jsonl")), ids=lambda path: path.name)
def test_a_real_rollout_is_codexs_and_says_whose_it_is(path):
    lines = path.read_bytes().split(b"\n")[:2]
    assert detect(str(path), lines) is codex
    found = codex.header(lines)
    assert found.id == codex.alias(str(path))
    assert found.cwd == "/home/dev/codex/proj"


def test_the_content_is_enough_under_another_name():
    line = b'{"timestamp":"t","type":"session_meta","payload":{"id":"a","cwd":"/x","forked_from_id":"b"}}'
    assert detect("copy.jsonl", [line]) is codex
    assert codex.header([line]) == Header(id="a", cwd="/x", parent="b")


def test_the_name_is_enough_where_the_first_line_is_damaged():
    assert detect(ROLLOUT, [b'{"timestamp"']) is codex
    assert codex.header([b'{"timestamp"']) == Header()


def test_a_fork_is_known_by_its_own_record_which_comes_first():
    lines = [
        b'{"type":"session_meta","payload":{"id":"%b"}}' % each for each in (b"own", b"parent")
    ]
    assert codex.header(lines).id == "own"


@pytest.mark.parametrize(
    "path, found",
    [
        (f"sessions/2026/11/22/{ROLLOUT}", "primary"),
        (f"archived_sessions/{ROLLOUT}", "archived"),
        (f"sessions/{ROLLOUT}.zst", "archived"),
        ("copy.jsonl", "primary"),
    ],
)
def test_archived_and_packed_rollouts_are_archived(path, found):
    assert codex.classify(path) == found


def test_a_packed_rollout_is_still_known():
    assert detect(f"{ROLLOUT}.zst", []) is codex
    assert codex.alias(f"{ROLLOUT}.zst") == UUID


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"type":"session_meta"}',
        b'{"type":"session_meta","payload":[]}',
        b'{"type":["session_meta"]}',
    ],
)
def test_garbage_is_no_header(line):
    assert codex.header([line]) == Header()
    assert detect("copy.jsonl", [line]) is not codex

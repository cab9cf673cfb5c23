from __future__ import annotations

import pytest

from journal.formats import Header, claude, detect

NAME = "/home/dev/.claude/projects/-home-dev/9e594184-0d1d-4178-91cd-3d32bea6d465.jsonl"
SUMMARY = b'{"type":"summary","summary":"Mend the gate","leafUuid":"u9"}'
SNAPSHOT = (
    b'{"type":"file-history-snapshot","messageId":"m1","snapshot":{},"isSnapshotUpdate":false}'
)
QUEUED = b'{"type":"queue-operation","operation":"enqueue","timestamp":"t","sessionId":"s1"}'
USER = (
    b'{"parentUuid":null,"isSidechain":false,"cwd":"/x","sessionId":"s1","type":"user","uuid":"u1"}'
)
AGENT = (
    b'{"parentUuid":null,"isSidechain":true,"cwd":"/x","sessionId":"s1","agentId":"a7f",'
    b'"type":"user","uuid":"u2"}'
)


@pytest.mark.parametrize("lines", [[SUMMARY], [SNAPSHOT], [QUEUED], [USER], [b"\x00", USER]])
def test_an_envelope_among_the_first_lines_is_enough(lines):
    assert detect(NAME, lines) is claude
    assert claude.classify(NAME) == "primary"


def test_identity_place_and_title_are_the_first_found():
    assert claude.header([SUMMARY, SNAPSHOT, USER]) == Header(
        "s1", None, "/x", "Mend the gate", None
    )


def test_a_sub_agent_is_a_session_of_its_own_with_a_parent():
    assert claude.header([AGENT]) == Header("agent-a7f", None, "/x", None, "s1")
    assert claude.alias("/x/subagents/agent-a7f.jsonl") == "agent-a7f"


def test_what_describes_a_sub_agent_is_no_session():
    assert claude.classify("agent-a7f.meta.json") == "ignored"
    assert detect("agent-a7f.meta.json", [b'{"agentType":"Explore"}']) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"7",
        b'{"type":"user"}',
        b'{"type":["summary"],"leafUuid":"x"}',
        b'{"type":"summary","leafUuid":7}',
        b'{"uuid":"u","sessionId":"s"}',
        b'{"type":"session","id":"a"}',
    ],
)
def test_other_lines_are_not_claudes(line):
    assert detect("x.jsonl", [line]) is not claude


def test_garbage_says_nothing():
    assert claude.header([b"\xff", b"[]", b'{"sessionId":7,"cwd":null}']) == Header()

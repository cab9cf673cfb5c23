"""The store that ships for the demo is real in format and holds together."""

from __future__ import annotations

from pathlib import Path

import journal.lines
from journal.formats import detect, openclaw, pi
from journal.parts import split

STORE = Path(journal.lines.__file__).parent / "demo_store"
SESSIONS = sorted(path for path in STORE.rglob("*.jsonl*"))


def test_it_is_an_openclaw_store_beside_a_pi_session():
    found = {path: detect(str(path), path.read_bytes().split(b"\n")[:5]) for path in SESSIONS}
    assert sorted(each.NAME for each in found.values() if each) == ["openclaw"] * 3 + ["pi"]
    assert (
        sorted(openclaw.classify(path.name) for path in SESSIONS) == ["archived"] + ["primary"] * 3
    )


def test_the_index_names_the_live_transcripts():
    folder = STORE / "agents" / "main" / "sessions"
    index = openclaw.index((folder / "sessions.json").read_bytes())
    assert set(index) == {"agent:main:main", "agent:main:telegram:direct:100001"}
    assert all((folder / name).is_file() for name in index.values())


def test_each_line_parses_and_has_the_line_before_as_its_parent():
    for path in SESSIONS:
        header, *lines = list(split([path.read_bytes()]))
        assert header.line_type == "session"
        assert pi.header([header.body]).id == openclaw.alias(path.name)
        assert all(line.kind == "line" and line.terminator == b"\n" for line in lines)
        assert [line.parent_id for line in lines] == [None, *(line.line_id for line in lines[:-1])]


def test_it_is_small_but_not_empty():
    assert 20 <= sum(path.read_bytes().count(b"\n") for path in SESSIONS) <= 60

from __future__ import annotations

from pathlib import Path

import pytest

from journal.formats import FORMATS, Header, by_name, detect, pi, plain

EDGE = Path(__file__).parents[1] / "fixtures" / "edge"


@pytest.mark.parametrize("name", ["notes.jsonl", "NOTES.JSONL", "/x/y.ndjson"])
@pytest.mark.parametrize("lines", [[], [b""], [b"\xff\x00"], [b'{"a":1}']])
def test_a_file_of_lines_is_plain_whatever_it_holds(name, lines):
    assert detect(name, lines) is plain
    assert plain.classify(name) == "primary"


@pytest.mark.parametrize(
    "name", ["", "notes.txt", "session.json", "jsonl", "a.jsonl.zst", "a/b.jsonl/"]
)
def test_what_is_no_file_of_lines_is_nobodys(name):
    assert detect(name, [b'{"a":1}']) is None
    assert plain.classify(name) == "ignored"


def test_the_alias_is_the_name_without_its_ending():
    assert plain.alias("/x/a.b.jsonl") == "a.b"
    assert plain.alias("c.ndjson") == "c"
    assert plain.alias("README") == "README"


def test_a_header_is_taken_from_the_first_line_alone():
    opened = b'{"type":"session","id":"a","cwd":"/x"}'
    assert plain.header([opened]) == Header(id="a", cwd="/x")
    assert plain.header([b"{}", opened]) == Header()
    assert plain.header([b'{"type":["session"],"id":"a"}']) == Header()
    assert plain.header([]) == Header()


@pytest.mark.parametrize("path", sorted(EDGE.rglob("*.jsonl")), ids=lambda path: path.name)
def test_every_damaged_file_has_a_format(path):
    lines = path.read_bytes().split(b"\n")[:10]
    assert detect(str(path), lines) is (plain if path.name == "empty.jsonl" else pi)


def test_a_format_is_found_by_its_name():
    assert [each.NAME for each in FORMATS] == ["openclaw", "codex", "claude", "pi", "plain"]
    assert all(by_name(each.NAME) is each for each in FORMATS)
    assert by_name("gemini") is None

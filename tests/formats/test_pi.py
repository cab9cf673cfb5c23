from __future__ import annotations

from pathlib import Path

import pytest

from journal.formats import Header, detect, pi

FIXTURES = Path(__file__).parents[1] / "fixtures"


def first_lines(path: Path, count: int = 20) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:count]


@pytest.mark.parametrize(
    "path", sorted((FIXTURES / "pi").rglob("*.jsonl")), ids=lambda path: path.parent.name
)
def test_a_real_file_of_each_version_is_pis(path):
    assert detect(str(path), first_lines(path)) is pi
    assert pi.classify(str(path)) == "primary"


@pytest.mark.parametrize("folder, version", [("v1", 1), ("v2", 2), ("v3-linear", 3)])
def test_identity_and_place_come_from_the_header(folder, version):
    (path,) = (FIXTURES / "pi" / folder).rglob("*.jsonl")
    found = pi.header(first_lines(path))
    assert found.version == version
    assert found.cwd == "/home/dev/demo"
    assert len(found.id or "") == 36


def test_the_file_name_is_an_alias_that_need_not_match_the_header():
    (path,) = (FIXTURES / "pi" / "v1").rglob("*.jsonl")
    assert pi.alias(str(path)) == "f255e2c5-4d68-46c7-b340-8ce35d2e359d"
    assert pi.header(first_lines(path)).id == "2b62d032-9f18-4e80-bf25-b21699f1183a"


def test_the_last_title_given_is_the_title():
    (path,) = (FIXTURES / "pi" / "v3-linear").rglob("*.jsonl")
    assert pi.header(first_lines(path, 500)).title == "Linear demo ✓"
    assert pi.header(first_lines(path, 1)).title is None


@pytest.mark.parametrize(
    "name",
    [
        "real/pi073-duplicate-header-and-ids.jsonl",
        "synthetic/utf8-bom.jsonl",
        "synthetic/crlf.jsonl",
    ],
)
def test_a_damaged_file_still_says_whose_it_is(name):
    path = FIXTURES / "edge" / name
    assert detect(str(path), first_lines(path)) is pi
    assert pi.header(first_lines(path)).id == "01a20305-80e1-72ac-a7cf-e2e637a977a7"


def test_pis_own_name_is_enough_where_the_header_is_lost():
    name = "2026-11-22T11-30-22-211Z_f255e2c5-4d68-46c7-b340-8ce35d2e359d.jsonl"
    assert detect(name, []) is pi
    assert detect(name, [b"\x00\x00"]) is pi


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"42",
        b"[]",
        b'{"type":"session"}',
        b'{"type":"session","id":7}',
        b'{"type":["session"],"id":"a"}',
        b'{"type":"session","id":"a\\u0000b"}',
        b'{"type":"session","id":"\\ud800"}',
        b'{"type":"session","id":"' + b"x" * 501 + b'"}',
        b"[" * 100_000,
        b"9" * 10_000,
        b"\xff\xfe",
    ],
)
def test_garbage_is_no_header(line):
    assert pi.header([line]) == Header()
    assert not pi.recognises("a.jsonl", [line])


@pytest.mark.parametrize("version", ["true", '"3"', "null", "3.0", "9" * 9000])
def test_a_version_that_is_no_number_is_none(version):
    found = pi.header([b'{"type":"session","id":"a","version":%b}' % version.encode()])
    assert found.id == "a"
    assert found.version in {None, 0}


def test_a_parent_session_is_told():
    line = b'{"type":"session","version":3,"id":"a","cwd":"/x","parentSession":"/y/b.jsonl"}'
    assert pi.header([line]) == Header("a", 3, "/x", None, "/y/b.jsonl")

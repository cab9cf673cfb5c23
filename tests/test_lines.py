"""Lines: what is kept exactly, what is read, and what is refused."""

from __future__ import annotations

import enum
import json
from pathlib import Path

import pytest

from journal.errors import EntryError
from journal.lines import DEPTH_LIMIT, LINE_LIMIT, Line, encode, parse
from journal.parts import split

FIXTURES = Path(__file__).parent / "fixtures"


def refused(line: object) -> EntryError:
    with pytest.raises(EntryError) as caught:
        encode(line)
    assert caught.value.hint
    return caught.value


# --- what encode makes of an object


def test_an_object_is_encoded_compactly_and_keeps_its_characters():
    line = encode({"type": "message", "text": "gate — 门 🦞 \u2028"})
    assert line.body == '{"type":"message","text":"gate — 门 🦞 \u2028"}'.encode()
    assert (line.terminator, line.kind, line.line_type) == (b"\n", "line", "message")


@pytest.mark.parametrize(
    "value, body",
    [(42, b"42"), (None, b"null"), (True, b"true"), ([1, 2.5], b"[1,2.5]"), ({}, b"{}")],
)
def test_any_json_value_is_a_line(value, body):
    assert encode(value) == Line(body, b"\n", "line")


def test_text_with_lone_surrogates_is_escaped_and_stays_json():
    line = encode({"type": "\ud800", "id": "ok", "note": "门\udfff"})
    assert line.body.isascii()
    assert json.loads(line.body) == {"type": "\ud800", "id": "ok", "note": "门\udfff"}
    assert (line.kind, line.line_type, line.line_id) == ("line", None, "ok")


def test_two_lone_surrogates_are_derived_as_they_read_back():
    line = encode({"id": "\ud83e\udd9e"})
    assert line == parse(line.body)
    assert line.line_id == "🦞"


def test_text_is_refused_for_nobody_can_tell_whether_it_is_encoded():
    error = refused('{"type":"message"}')
    assert error.hint == "pass bytes or an object"
    assert error.code == "not-a-line"


def circular() -> dict[str, object]:
    value: dict[str, object] = {}
    value["self"] = value
    return value


def nested(depth: int) -> object:
    value: object = "x"
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": float("inf")},
        {"a": object()},
        {"a": b"bytes inside"},
        {("a", "b"): 1},
        {1, 2},
        {"a": 10**5000},
        circular(),
        nested(DEPTH_LIMIT + 1),
        nested(100_000),
        {"pad": "x" * 5000, "deep": nested(DEPTH_LIMIT)},
        {"deep": nested(DEPTH_LIMIT), "lone": "\ud800"},
    ],
    ids=[
        "nan",
        "infinity",
        "object",
        "bytes inside",
        "tuple key",
        "set",
        "5000 digits",
        "circular",
        "deep",
        "very deep",
        "deep and long",
        "deep and escaped",
    ],
)
def test_what_is_no_json_is_refused(value):
    assert refused(value).code == "not-json"


@pytest.mark.parametrize("pad", ["", "x" * 5000])
def test_nesting_up_to_the_limit_is_a_line(pad):
    line = encode([pad, nested(DEPTH_LIMIT - 1)])
    assert line.kind == "line"
    assert parse(line.body) == line


def test_an_enums_member_is_derived_as_its_text():
    class Kind(enum.StrEnum):
        LABEL = "label"

    class Loud(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "loud"

    line = encode({"type": Kind.LABEL, "id": Loud("quiet")})
    assert (line.line_type, line.line_id) == ("label", "quiet")
    assert type(line.line_type) is type(line.line_id) is str
    assert line == parse(line.body)


# --- what encode makes of bytes


@pytest.mark.parametrize(
    "data, body, terminator",
    [
        (b'{"a": 1}', b'{"a": 1}', b"\n"),
        (b'{"a": 1}\n', b'{"a": 1}', b"\n"),
        (b'{"a": 1}\r\n', b'{"a": 1}', b"\r\n"),
        (b'{"a": 1}\r', b'{"a": 1}', b"\r\n"),
        (b"a\r\r\n", b"a\r", b"\r\n"),
        (b" ", b" ", b"\n"),
        (b"\xff\x00", b"\xff\x00", b"\n"),
    ],
)
def test_bytes_are_kept_and_one_line_end_is_the_terminator(data, body, terminator):
    line = encode(data)
    assert (line.body, line.terminator) == (body, terminator)
    assert list(split([line.body + line.terminator])) == [parse(body, terminator)]


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_every_kind_of_bytes_becomes_bytes(wrap):
    assert type(encode(wrap(b"[1]")).body) is bytes


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n", b"\r"])
def test_an_empty_line_is_refused(data):
    assert refused(data).code == "empty-line"


@pytest.mark.parametrize("data", [b"a\nb", b"a\n\n", b"\na", b"a\n\r\n"])
def test_a_line_end_inside_is_refused(data):
    assert refused(data).code == "line-end-inside"


def test_a_line_of_8_mib_is_kept_and_one_byte_more_is_refused():
    assert len(encode(b"x" * LINE_LIMIT).body) == LINE_LIMIT
    assert len(encode(b"x" * LINE_LIMIT + b"\r\n").body) == LINE_LIMIT
    assert encode(b"x" * (LINE_LIMIT + 1)).kind == "part"
    assert encode({"a": "x" * LINE_LIMIT}).kind == "part"
    assert encode({"a": "\ud800" + "x" * LINE_LIMIT}).kind == "part"


# --- what parse reads

RAW = {
    "empty": b"",
    "blank": b"  ",
    "torn": b'{"type":"message","id":"a',
    "two values": b"{}{}",
    "fused": b'{"a":1}{"b":2}',
    "not utf-8": b'{"a":"\xff"}',
    "utf-8 surrogate": b'{"a":"\xed\xa0\x80"}',
    "utf-16": '{"a":1}'.encode("utf-16"),
    "utf-16-le": '{"a":1}'.encode("utf-16-le"),
    "utf-32": '{"a":1}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "NaN": b"NaN",
    "NaN inside": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "NUL inside": b'{"a":"\x00"}',
    "NUL run": b"\x00" * 4096,
    "NUL tail": b'{"a":1}' + b"\x00" * 64,
    "control character": b'{"a":"\x01"}',
    "no-break space": '\u00a0{"a":1}'.encode(),
    "4301 digits": b'{"a":' + b"9" * 4301 + b"}",
    "minus 4301 digits": b"-" + b"9" * 4301,
    "a million digits": b"9" * 1_000_000,
    "deep lists": b"[" * 100_000,
    "closed deep lists": b"[" * 501 + b"]" * 501,
    "closed deep objects": b'{"a":' * 900 + b"1" + b"}" * 900,
}


@pytest.mark.parametrize("body", RAW.values(), ids=RAW)
def test_what_does_not_parse_is_raw_and_keeps_its_bytes(body):
    assert parse(body, b"\r\n") == Line(body, b"\r\n", "raw")


JSON = {
    "bare number": b"42",
    "string": b'"text"',
    "spaces around": b' \t{"a":1}\t ',
    "carriage return before the end": b'{"a":1}\r',
    "4300 digits": b"9" * 4300,
    "minus 4300 digits": b"[-" + b"9" * 4300 + b"]",
    "beyond a double": b"1e999",
    "lone surrogate escaped": b'{"a":"\\ud800"}',
    "line separators": '{"a":"\u2028\u2029\u0085"}'.encode(),
    "500 levels": b"[" * 500 + b"]" * 500,
    "many brackets, not deep": b"[" + b"[{}]," * 2000 + b"[]]",
    "brackets in text": b'{"a":"' + b"[{" * 3000 + b'"}',
}


@pytest.mark.parametrize("body", JSON.values(), ids=JSON)
def test_json_of_any_shape_is_a_line(body):
    assert parse(body).kind == "line"


def test_a_deep_callers_stack_raises_nothing():
    def descend(depth: int) -> Line:
        return descend(depth - 1) if depth else parse(b"[" * 500 + b"]" * 500)

    assert descend(600).kind in {"line", "raw"}


@pytest.mark.parametrize(
    "body, derived",
    [
        (b'{"type":"message","id":"a","parentId":"b"}', ("message", "a", "b")),
        (b'{"type":"user","uuid":"a","parentUuid":"b"}', ("user", "a", "b")),
        (b'{"id":"a","uuid":"u","parentId":"b","parentUuid":"v"}', (None, "a", "b")),
        (b'{"id":7,"uuid":"u","parentId":null}', (None, "u", None)),
        (b'{"type":"x","type":"message","id":"a","id":"b"}', ("message", "b", None)),
        (b'{"type":"a\\u0000b","id":"\\ud800","parentId":["x"]}', (None, None, None)),
        (b'[{"type":"message","id":"a"}]', (None, None, None)),
        (b'{"message":{"type":"t","id":"a"}}', (None, None, None)),
        ('{"type":"🦞"}'.encode(), ("🦞", None, None)),
        (b'{"type":"' + b"x" * 200 + b'"}', ("x" * 200, None, None)),
        (b'{"type":"' + b"x" * 201 + b'"}', (None, None, None)),
    ],
)
def test_derived_columns_are_bounded_valid_text_or_nothing(body, derived):
    assert parse(body)[3:] == derived


# --- how split cuts


@pytest.mark.parametrize(
    "data, lines",
    [
        (b"", []),
        (b"\n", [(b"", b"\n")]),
        (b"a", [(b"a", b"")]),
        (b"a\n", [(b"a", b"\n")]),
        (b"a\r\nb\n\nc", [(b"a", b"\r\n"), (b"b", b"\n"), (b"", b"\n"), (b"c", b"")]),
        (b"a\rb\r\r\nc\r", [(b"a\rb\r", b"\r\n"), (b"c\r", b"")]),
        (
            "a\u2028\u2029\u0085\x0b\x0c\n".encode(),
            [("a\u2028\u2029\u0085\x0b\x0c".encode(), b"\n")],
        ),
    ],
)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_lines_are_split_on_line_feeds_alone_however_they_arrive(data, lines, step):
    chunks = [data[at : at + step] for at in range(0, len(data), step)]
    assert [line[:2] for line in split(chunks)] == lines


def test_empty_chunks_change_nothing():
    assert list(split([b"", b"a", b"", b"\n", b""])) == [parse(b"a", b"\n")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_the_longest_line_allowed_is_given_whole(end):
    assert list(split([b"x" * LINE_LIMIT + end])) == [parse(b"x" * LINE_LIMIT, end)]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in FIXTURES.rglob("*") if path.is_file()),
    ids=lambda path: path.name,
)
def test_every_byte_of_a_real_file_is_given_back(path):
    data = path.read_bytes()
    chunks = (data[at : at + 1000] for at in range(0, len(data), 1000))
    lines = list(split(chunks))
    assert b"".join(line.body + line.terminator for line in lines) == data
    assert len(lines) == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def kinds(name: str) -> list[str]:
    data = (FIXTURES / "edge" / name).read_bytes()
    return [line.kind for line in split([data])]


@pytest.mark.parametrize(
    "name, raw",
    [
        ("synthetic/header-only.jsonl", 0),
        ("synthetic/dup-keys.jsonl", 0),
        ("synthetic/lone-surrogates.jsonl", 0),
        ("synthetic/unicode-line-separators.jsonl", 0),
        ("synthetic/utf8-bom.jsonl", 1),
        ("synthetic/torn-tail.jsonl", 1),
        ("synthetic/invalid-utf8.jsonl", 1),
        ("real/pi073-fused-line-after-torn-tail.jsonl", 1),
        ("real/pi073-duplicate-header-and-ids.jsonl", 0),
    ],
)
def test_damage_costs_the_damaged_line_alone(name, raw):
    assert kinds(name).count("raw") == raw

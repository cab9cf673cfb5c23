"""Lines, for any bytes and any JSON value."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from journal.lines import encode, parse
from journal.parts import split

texts = st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"]), max_size=30)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
named = st.sampled_from(["type", "id", "uuid", "parentId", "parentUuid"])
entries = st.dictionaries(named | texts, values, max_size=6)
noisy = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\x00", b'{"type":"a"}', b"\xe2\x80\xa8", b"{", b'"'])
    | st.binary(max_size=8)
).map(b"".join)


@given(st.lists(noisy))
def test_split_gives_every_byte_back_whatever_the_chunks(chunks):
    lines = list(split(chunks))
    data = b"".join(chunks)
    assert b"".join(line.body + line.terminator for line in lines) == data
    assert lines == list(split([data]))
    assert all(b"\n" not in line.body for line in lines)
    assert all(line.terminator in {b"\n", b"\r\n"} for line in lines[:-1])


@given(noisy | st.binary())
def test_parse_takes_any_bytes_and_keeps_them(body):
    line = parse(body, b"\n")
    assert (line.body, line.terminator) == (body, b"\n")
    for text in line[3:]:
        assert text is None or (len(text.encode()) <= 800 and "\0" not in text)


@given(noisy | st.binary())
def test_a_line_is_what_the_standard_library_reads_as_json_text(body):
    """Nothing this short is beyond the limits of depth and digits."""
    assert (parse(body).kind == "line") == _reads(body)


def _reads(body: bytes) -> bool:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(body.decode(), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


@given(entries | values.filter(lambda value: not isinstance(value, str)))
def test_an_object_reads_back_equal_and_is_derived_as_its_bytes_are(value):
    line = encode(value)
    # Two lone surrogates that make a pair come back as one character.
    assert json.loads(line.body) == json.loads(json.dumps(value))
    assert line == parse(line.body, line.terminator)
    assert line.kind == "line"
    assert b"\n" not in line.body


@given(
    noisy.filter(lambda data: b"\n" not in data and data.strip(b"\r")),
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
def test_appended_bytes_stand_in_the_file_as_given(data, end):
    line = encode(data + end)
    stands = line.body + line.terminator
    assert stands == (data + end if end else data + b"\n")
    assert list(split([stands])) == [line]

"""The quick parse decides nothing that the standard library would decide otherwise."""

from hypothesis import given
from hypothesis import strategies as st

from journal import lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["type", "id", "uuid", "a"]) | st.text(), inner)
    ),
)
PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"type",
        b"id",
        b"uuid",
        b"parentId",
        b"1",
        b"-",
        b"0",
        b".5",
        b"e9",
        b" ",
        b"\\u0041",
        b"\\ud800",
        b"\\n",
        b"\t",
        b"true",
        b"null",
        b"NaN",
        b"\x00",
        b"\x7f",
        b"a",
        b"\xc3\xa9",
        b"\xff",
        b"\xef\xbb\xbf",
    ]
)


@given(JSON)
def test_what_is_json_is_read_the_same_either_way(value):
    body = lines.encode({"type": "t", "value": value}).body if is_strict(value) else b"{}"
    assert lines.parse(body) == lines._parsed(body, b"\n")


@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_what_is_nearly_json_is_read_the_same_either_way(body):
    assert lines.parse(body) == lines._parsed(body, b"\n")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_the_same_either_way(body):
    assert lines.parse(body) == lines._parsed(body, b"\n")


LONG = [b'"' + b"x" * 4300 + b'"', b"7" * 4300, b"7" * 4301, b'"' + b"7" * 4301 + b'"', b" " * 4300]


@given(st.lists(PIECES | st.sampled_from(LONG), max_size=12).map(b"".join), st.sampled_from(LONG))
def test_long_ones_are_read_the_same_either_way(middle, pad):
    """A number may have 4,300 digits and no more; a string may be all digits."""
    for body in (b'{"type":"t","a":%s,"b":%s}' % (pad, middle), b"[%s,%s]" % (middle, pad)):
        assert lines.parse(body) == lines._parsed(body, b"\n")


def is_strict(value) -> bool:
    try:
        lines.encode({"value": value})
    except ValueError:
        return False
    return True

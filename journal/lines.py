"""Lines: exact bytes in, exact bytes out, and the little that is read from them.

A line's bytes are sacred. Whatever is read from them (does it parse, which type,
which id) comes from a tolerant parse that never raises, and never changes them:
in an ordinary session file half the lines differ after a parse and a dump.
"""

from __future__ import annotations

from json import JSONDecoder, JSONEncoder
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn

import msgspec

from journal.errors import EntryError

if TYPE_CHECKING:
    from journal.model import Kind

LINE_LIMIT: Final = 8 * 1024 * 1024
TEXT_LIMIT: Final = 200
DEPTH_LIMIT: Final = 500
DIGIT_LIMIT: Final = 4300

# Digits as zeros, all else as spaces: then the search for a long number is one for bytes.
_ZEROS: Final = bytes(0x30 if octet in b"0123456789" else 0x20 for octet in range(256))
_LONG_NUMBER: Final = b"0" * (DIGIT_LIMIT + 1)
_LF: Final = b"\n"
_CRLF: Final = b"\r\n"
_CR: Final = 0x0D
_BACKSLASH: Final = b"\\"
_ESCAPE: Final = b"\\u"  # the only way for NUL and lone surrogates into the text of an ASCII line
_new: Final = tuple.__new__  # a named tuple without the call of its own constructor
_SPACE: Final = " \t\r\n"
# Up to this size counting brackets is cheaper than walking what was parsed.
_COUNTED: Final = 4096
SHALLOW: Final = 2 * DEPTH_LIMIT  # below this size nothing is too deep


class Line(NamedTuple):
    """One line: its exact bytes, its line end, and what could be read from it.

    ``kind`` is "line" if the body is JSON, else "raw"; "part" if it is a piece of a line
    over 8 MiB. The last three are valid
    text of at most 200 characters without NUL, or None; they are a listing aid,
    neither unique nor proof of anything.
    """

    body: bytes
    terminator: bytes
    kind: Kind
    line_type: str | None = None
    line_id: str | None = None
    parent_id: str | None = None


def encode(line: object) -> Line:
    """Return the line to append: an object as JSON, bytes exactly as they are.

    What is over 8 MiB comes whole, its kind "part": it is yet to be cut up.
    An object is encoded once, compactly, with non-ASCII characters as they are;
    only text with lone surrogates, which UTF-8 cannot hold, is escaped. One line
    end at the end of bytes is the terminator, else a line feed is added.

    Raises:
        EntryError: text instead of an object or bytes, an object that is no JSON
            (NaN and infinities included), an empty line, or a line end inside.

    """
    if line.__class__ is bytes:
        # Nearly every line; the checks of the rest in as few calls as can be (docs/performance-profile.md).
        end = line.find(_LF)
        body: bytes = line if end < 0 else line[:-1] if end == len(line) - 1 else b""
        if body and body[-1] != _CR and len(body) <= LINE_LIMIT:
            return parse(body)
    if isinstance(line, (bytes, bytearray, memoryview)):
        return _checked(bytes(line))
    if isinstance(line, str):
        message = "a line is an object or bytes, not text"
        raise EntryError(message, hint="pass bytes or an object", code="not-a-line")
    return _encoded(line)


def parse(body: bytes, terminator: bytes = _LF) -> Line:
    """Return a line found in a file; any bytes will do, and nothing is raised.

    A byte order mark, bytes that are no UTF-8 (UTF-16 too), NaN, more than 500
    levels of nesting, and integers of more than 4300 digits make it "raw".
    Duplicate keys resolve to the last.
    """
    size = len(body)
    if (
        (size <= DIGIT_LIMIT or not has_long_number(body))
        and (size <= SHALLOW or not has_depth(body))
        and (body.isascii() or is_text(body))
    ):
        # Nearly every line is plain and flat. What msgspec then takes, the standard
        # library takes too (a test holds them together); where it does not, nothing
        # is decided yet.
        try:
            found = ENVELOPE.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
        else:
            if (
                _BACKSLASH in body and _ESCAPE in body
            ):  # one byte is found at a quarter of the price
                return Line(body, terminator, "line", *_named(found))
            line_id, parent_id = found.id or found.uuid, found.parent_id or found.parent_uuid
            values = (body, terminator, "line", found.type, line_id, parent_id)
            return _new(Line, values)
    return _parsed(body, terminator)


def _parsed(body: bytes, terminator: bytes) -> Line:
    decoder = _SHORT if len(body) <= DIGIT_LIMIT else _LONG
    try:
        text = body.decode().strip(_SPACE)
        value, end = decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return Line(body, terminator, "raw")
    if end != len(text) or is_deep(value, body):
        return Line(body, terminator, "raw")
    return Line(body, terminator, "line", *_derived(value))


def _checked(data: bytes) -> Line:
    # b"a\r" gets its \n and is then "a" with \r\n: the same bytes in a file, and
    # what anybody who splits that file again will find.
    stem = data[:-1] if data.endswith(_LF) else data
    body, terminator = (stem[:-1], _CRLF) if stem.endswith(b"\r") else (stem, _LF)
    if not body:
        raise EntryError("the line is empty", hint="append a line with content", code="empty-line")
    if _LF in body:
        message = f"the line has a line end inside, at byte {body.index(_LF)}"
        raise EntryError(message, hint="append each line by itself", code="line-end-inside")
    if len(body) > LINE_LIMIT:
        return Line(body, terminator, "part")
    return parse(body, terminator)


def _encoded(value: object) -> Line:
    try:
        text = _PLAIN.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        hint = "pass plain dicts, lists, text and numbers"
        raise EntryError(
            f"the line is not JSON-able: {error}", hint=hint, code="not-json"
        ) from error
    try:
        body = text.encode()
    except UnicodeEncodeError:
        # Two lone surrogates may read back as one character: look at the bytes.
        body = _ESCAPED.encode(value).encode("ascii")
        if len(body) <= LINE_LIMIT:
            return _readable(parse(body))
    if len(body) > LINE_LIMIT:
        return Line(body, _LF, "part")
    if is_deep(value, body):
        return _readable(Line(body, _LF, "raw"))
    return Line(body, _LF, "line", *_derived(value))


def _readable(line: Line) -> Line:
    if line.kind == "raw":
        message = f"the line is nested more than {DEPTH_LIMIT} levels deep"
        raise EntryError(message, hint="flatten it, or pass it as bytes", code="not-json")
    return line


_Name = Annotated[str, msgspec.Meta(max_length=TEXT_LIMIT)]


class Envelope(msgspec.Struct, gc=False):
    """The members that are read from a line; all others are only checked to be JSON."""

    type: _Name | None = None
    id: _Name | None = None
    uuid: _Name | None = None
    parent_id: _Name | None = msgspec.field(default=None, name="parentId")
    parent_uuid: _Name | None = msgspec.field(default=None, name="parentUuid")


ENVELOPE: Final = msgspec.json.Decoder(Envelope)


def _named(line: Envelope) -> tuple[str | None, str | None, str | None]:
    line_type, line_id, parent = line.type, line.id, line.parent_id
    return (
        None if line_type is None else _text(line_type),
        _text(line.uuid) if line_id is None else _text(line_id) or _text(line.uuid),
        _text(line.parent_uuid) if parent is None else _text(parent) or _text(line.parent_uuid),
    )


def _derived(value: Any) -> tuple[str | None, str | None, str | None]:  # noqa: ANN401 - any JSON
    if not isinstance(value, dict):
        return None, None, None
    return (
        _text(value.get("type")),
        _first_text(value, "id", "uuid"),
        _first_text(value, "parentId", "parentUuid"),
    )


def _first_text(value: dict[Any, Any], key: str, other: str) -> str | None:
    # Most lines have the first or neither: no call for what is not there.
    found = _text(value[key]) if key in value else None
    return _text(value[other]) if found is None and other in value else found


def _text(value: object) -> str | None:
    """Return text that a column can hold, or None."""
    if value is None or not isinstance(value, str) or len(value) > TEXT_LIMIT or "\0" in value:
        return None
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        return None
    return str.__str__(value)  # an enum's member as the plain text it is


def is_deep(value: object, body: bytes) -> bool:
    """Whether it is nested too deep to be called JSON.

    How deep the standard library's parser gets depends on the caller's stack and
    on the Python; a limit of our own makes every reader find the same.
    """
    if len(body) <= _COUNTED and not has_depth(body):
        return False
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def has_depth(body: bytes) -> bool:
    """Whether it could be nested too deep: it has brackets enough."""
    if len(body) <= SHALLOW:
        return False
    # Not counted: to take away a byte that is rare, and look how much is left, is nine times as fast.
    return 2 * len(body) - len(body.replace(b"{", b"")) - len(body.replace(b"[", b"")) > DEPTH_LIMIT


def has_long_number(body: bytes) -> bool:
    """Whether it has so many digits in a row as no number may have; they may stand in a string."""
    return _LONG_NUMBER in body.translate(_ZEROS)


def is_text(body: bytes) -> bool:
    """Whether it is UTF-8; msgspec does not look at what it skips."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _children(node: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    if isinstance(node, dict):
        return [child for child in node.values() if isinstance(child, (dict, list, tuple))]
    if isinstance(node, (list, tuple)):
        return [child for child in node if isinstance(child, (dict, list, tuple))]
    return []


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)


def _count_digits(text: str) -> int:
    if len(text.lstrip("-")) > DIGIT_LIMIT:
        message = f"an integer of more than {DIGIT_LIMIT} digits"
        raise ValueError(message)
    return 0


# No number's value is ever used, so none is converted: that saves a sixth of the
# parse, and an integer of a million digits takes no quadratic time.
_SHORT: Final = JSONDecoder(parse_constant=_no_constant, parse_float=len, parse_int=len)
_LONG: Final = JSONDecoder(parse_constant=_no_constant, parse_float=len, parse_int=_count_digits)
_PLAIN: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ESCAPED: Final = JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))

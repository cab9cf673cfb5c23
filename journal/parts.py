"""Lines over 8 MiB: kept in parts of 1 MiB, in one write, and the same bytes as ever in a file.

A part has no line end but the last of its line; so the entries of a session, joined,
are its file still. Parts are bytes and nothing else: what such a line says is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal.lines import LINE_LIMIT, Line, encode, parse
from journal.regions import parse_region

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PART_SIZE: Final = 1024 * 1024
PART: Final = "part"
PART_ROW: Final = b"part"
_KINDS: Final = (PART, PART_ROW)
_LF: Final = b"\n"
_CR: Final = b"\r"
# A line is known to be long only when one byte more than its limit is there, and
# one more still: that may be the \r of its line end.
_SURELY_LONG: Final = LINE_LIMIT + 2


def encode_line(line: object) -> Sequence[Line]:
    """Return a line to append, as :func:`encode_lines` does."""
    encoded = encode(line)
    return parts_of(encoded.body, encoded.terminator) if encoded.kind == PART else (encoded,)


def encode_lines(lines: Iterable[object]) -> list[Line]:
    """Return the lines to append, as :func:`~journal.lines.encode` gives them; a long one in parts."""
    found: list[Line] = []
    for line in lines:
        encoded = encode(line)
        if encoded.kind == PART:
            found += parts_of(encoded.body, encoded.terminator)
        else:
            found.append(encoded)
    return found


def parts_of(body: bytes, terminator: bytes) -> list[Line]:
    """Return the parts of a long line, the last with the line end."""
    cuts = range(0, len(body), PART_SIZE)
    parts = [Line(body[at : at + PART_SIZE], b"", PART) for at in cuts]
    return [*parts[:-1], parts[-1]._replace(terminator=terminator)]


def is_within(kind: str | bytes, body: bytes, terminator: bytes) -> bool:
    """Whether this is a part that another may follow, so that nothing is fused by going on."""
    return kind in _KINDS and not terminator and len(body) == PART_SIZE


def goes_on(kind: str | bytes, body: bytes | None, *, is_open: bool) -> bool:
    """Whether an entry belongs to the line before it, which has no line end so far."""
    return is_open and (not body or kind in _KINDS)


def joined(lines: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield whole lines, line ends included, from bodies and line ends as entries have them."""
    begun: list[bytes] = []
    for body, terminator in lines:
        begun += (body, terminator)
        if terminator:
            yield b"".join(begun)
            begun = []
    if begun:
        yield b"".join(begun)


def reread(pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[Line]:
    """Yield lines that were kept as bodies and line ends, as they were encoded."""
    is_open = False
    for body, terminator in pairs:
        is_part = is_open or is_within(PART, body, terminator)
        yield Line(body, terminator, PART) if is_part else parse(body, terminator)
        is_open = is_part and not terminator


def split(chunks: Iterable[bytes], *, within: bool = False) -> Iterator[Line]:
    """Yield each line of a stream, split on 0x0A alone; a line over 8 MiB in parts.

    Their bodies and terminators joined again are the stream. A last line without an
    end comes with the terminator ``b""``; no more than one line and one chunk are held.

    Args:
        chunks: the stream.
        within: it begins behind some parts of a long line.

    """
    for found in regions(chunks, within=within):
        if isinstance(found, bytes):
            yield from parse_region(found)
        else:
            yield found


def regions(chunks: Iterable[bytes], *, within: bool = False) -> Iterator[bytes | Line]:
    """Yield a stream as :func:`split` does, but ordinary lines many at a time, for :func:`~journal.regions.read_region`."""
    pending: list[bytes] = []
    size = 0
    for chunk in chunks:
        # Pieces are joined once, at the line end: joining at each chunk would
        # copy a long line over and over.
        end = chunk.find(_LF)
        if end < 0:
            pending.append(chunk)
            size += len(chunk)
        else:
            pending.append(chunk[:end])
            size += end
            first = b"".join(pending)
            if within or size > LINE_LIMIT or first[-1:] == _CR:
                yield from _ended(first, within=within)
                pending = []
            else:
                pending = [first]
            within = False
            last = chunk.rfind(_LF)
            yield from _whole_lines(pending, chunk[end + 1 : last] if last > end else None)
            pending, size = [chunk[last + 1 :]], len(chunk) - last - 1
        within = within or size >= _SURELY_LONG
        while within and size >= PART_SIZE + 2:
            yield Line(_taken(pending, PART_SIZE), b"", PART)
            size -= PART_SIZE
    if size:
        yield from _whole(b"".join(pending), b"", within=within)


def _whole_lines(first: list[bytes], rest: bytes | None) -> Iterator[bytes | Line]:
    """Yield whole lines: at most one that came over several chunks, and the rest of a chunk."""
    if rest is None:
        yield from first
    elif len(rest) <= LINE_LIMIT and (b"\r" not in rest):
        yield _LF.join([*first, rest])
    else:
        yield from first
        for body in rest.split(_LF):
            yield from _ended(body, within=False)


def _taken(pending: list[bytes], size: int) -> bytes:
    """Take so many bytes from the beginning of what is pending; the rest stays, and no copy of it is made."""
    taken: list[bytes] = []
    while size:
        piece = pending.pop(0)
        if len(piece) > size:
            pending.insert(0, piece[size:])
        taken.append(piece[:size])
        size -= len(taken[-1])
    return b"".join(taken)


def _ended(data: bytes, *, within: bool) -> Iterator[Line]:
    is_crlf = data.endswith(_CR)
    body = data[:-1] if is_crlf else data
    return _whole(body, b"\r\n" if is_crlf else _LF, within=within)


def _whole(body: bytes, terminator: bytes, *, within: bool) -> Iterator[Line]:
    if within or len(body) > LINE_LIMIT:
        # Behind parts nothing may be left but the line end.
        yield from parts_of(body, terminator) if body else [Line(b"", terminator, PART)]
    else:
        yield parse(body, terminator)

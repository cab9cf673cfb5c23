"""A file's lines, a transaction's worth at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journal.parts import is_within, regions
from journal.regions import Plain, parse_region, read_region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.lines import Line
    from journal.migration.source import Source

CHUNK_LINES: Final = 1000
CHUNK_BYTES: Final = 512 * 1024
_PLAIN: Final = {("line", b"\n")}


class Packed(NamedTuple):
    """Plain lines as one statement takes them, and nothing else of them is kept.

    Attributes:
        entries: how many lines.
        data: their bytes, line ends included.
        told: what :meth:`~journal.regions.Plain.told` says of them.

    """

    entries: int
    data: bytes
    told: str

    @classmethod
    def of(cls, plain: Plain) -> Packed:
        """Return plain lines packed."""
        return cls(len(plain), plain.data(), plain.told())

    def bodies(self) -> list[bytes]:
        """Return the bytes of each, without its line end."""
        return self.data[:-1].split(b"\n")

    def lines(self) -> list[Line]:
        """Return each line by itself."""
        return parse_region(self.data[:-1])


def chunks_of(source: Source, *, within: bool = False) -> Iterator[tuple[Plain | list[Line], bool]]:
    """Yield the rest of a source as lines, a transaction's worth at a time, and whether it is the last.

    By columns if all are plain. A line without an end comes with the last ones only, for its
    program may be about to finish it; but a long one comes a few parts at a time.
    """
    pieces: list[Plain | list[Line]] = []
    # What is the last one if nothing follows; whoever gets it has it alone, and lets it go.
    ready: list[Plain | list[Line]] = []
    count = size = 0
    for found in regions(source.chunks(), within=within):
        rest = read_region(found) if isinstance(found, bytes) else [found]
        while len(rest):
            if ready:
                yield ready.pop(), False
            more, rest = _cut(rest, max(1, CHUNK_LINES - count))
            pieces.append(more)
            count += len(more)
            size += _size(more)
            if (count >= CHUNK_LINES or size >= CHUNK_BYTES) and _ends_whole(more):
                ready = [_joined(pieces)]
                pieces, count, size = [], 0, 0
                if not isinstance(ready[0], Plain):  # a piece of a long line waits for no other
                    yield ready.pop(), False
    yield ready.pop() if ready else _joined(pieces), True


def as_lines(found: Plain | list[Line]) -> list[Line]:
    """Return a chunk's lines one by one."""
    return found.lines() if isinstance(found, Plain) else found


def _cut(found: Plain | list[Line], count: int) -> tuple[Plain | list[Line], Plain | list[Line]]:
    return found.cut(count) if isinstance(found, Plain) else (found[:count], found[count:])


def _size(found: Plain | list[Line]) -> int:
    return found.size if isinstance(found, Plain) else sum([len(line.body) for line in found])


def _ends_whole(found: Plain | list[Line]) -> bool:
    if isinstance(found, Plain):
        return True
    body, end, kind, *_ = found[-1]
    return bool(end) or is_within(kind, body, end)


def _joined(pieces: list[Plain | list[Line]]) -> Plain | list[Line]:
    first, *rest = pieces or [[]]
    if all(isinstance(piece, Plain) for piece in pieces) and isinstance(first, Plain):
        for piece in rest:
            first.add(piece)  # type: ignore[arg-type] # plain too
        return first
    lines = [line for piece in pieces for line in as_lines(piece)]
    is_plain = {(line.kind, line.terminator) for line in lines} == _PLAIN
    return Plain.of(lines) if is_plain else lines

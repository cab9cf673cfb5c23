"""Many lines at once: what :mod:`journal.lines` says of one line, for whole stretches of a file.

A migration has millions of lines, and nearly all of them are JSON objects, each ended by a
line feed. Those are kept as columns, with no object for each line.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import TYPE_CHECKING, Final

import msgspec

from journal.lines import (
    DIGIT_LIMIT,
    ENVELOPE,
    SHALLOW,
    Line,
    has_depth,
    has_long_number,
    is_text,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_LF: Final = b"\n"
_BRACES: Final = {b"{}"}
_new: Final = tuple.__new__


class _Object(msgspec.Struct, gc=False):
    """Any object, and nothing of what is in it."""


_OBJECTS: Final = msgspec.json.Decoder(_Object)
_ROWS: Final = msgspec.json.Encoder()


@dataclass(slots=True, eq=False)
class Plain:
    """Lines that are JSON, of one piece and ended by a line feed each, by columns.

    Attributes:
        bodies: their bytes, without the line end.
        types, ids, parents: what is read from each, as in :class:`~journal.lines.Line`.

    """

    bodies: list[bytes]
    types: list[str | None]
    ids: list[str | None]
    parents: list[str | None]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Plain:
        """Return lines of which each is one to be kept so."""
        return cls(
            [line.body for line in lines], [line.line_type for line in lines],
            [line.line_id for line in lines], [line.parent_id for line in lines],
        )  # fmt: skip

    def __len__(self) -> int:
        """Return how many lines there are."""
        return len(self.bodies)

    @property
    def size(self) -> int:
        """How many bytes they are, without their line ends."""
        return sum(map(len, self.bodies))

    def cut(self, count: int) -> tuple[Plain, Plain]:
        """Return the first lines, so many at most, and the rest."""
        return (self if count >= len(self) else self._taken(0, count)), self._taken(
            count, len(self)
        )

    def _taken(self, first: int, end: int) -> Plain:
        taken = slice(first, end)
        return Plain(self.bodies[taken], self.types[taken], self.ids[taken], self.parents[taken])

    def add(self, more: Plain) -> None:
        """Put other lines behind these."""
        self.bodies += more.bodies
        self.types += more.types
        self.ids += more.ids
        self.parents += more.parents

    def data(self) -> bytes:
        """Return their bytes, line ends included."""
        return _LF.join([*self.bodies, b""])

    def told(self) -> str:
        """Return type, id, parent, place in :meth:`data` and size of each, as one JSON array of arrays."""
        sizes = list(map(len, self.bodies))
        starts = accumulate((size + 1 for size in sizes), initial=0)
        rows = list(zip(self.types, self.ids, self.parents, starts, sizes, strict=False))
        return _ROWS.encode(rows).decode()

    def lines(self) -> list[Line]:
        """Return each line by itself."""
        columns = (self.bodies, repeat(_LF), repeat("line"), self.types, self.ids, self.parents)
        return list(map(_new, repeat(Line), zip(*columns, strict=False)))


def read_region(region: bytes) -> Plain | list[Line]:
    """Return the lines of a region, each as :func:`~journal.lines.parse` reads it; by columns if all are objects.

    A region is lines joined by 0x0A, each ended by one in its file. Ordinary lines are looked
    at all at once, and one by one only where not all of them are objects.
    """
    bodies = region.split(_LF)
    try:
        found = ENVELOPE.decode_lines(region) if _are_objects(region, bodies) else []
    except (msgspec.MsgspecError, ValueError, RecursionError):
        found = []
    # msgspec takes a stream of values, wherever their line ends are.
    if len(found) != len(bodies):
        return [parse(body) for body in bodies]
    types = [line.type for line in found]
    ids = [line.id or line.uuid for line in found]
    parents = [line.parent_id or line.parent_uuid for line in found]
    if _are_odd(types, ids, parents):
        return [parse(body) for body in bodies]
    return Plain(bodies, types, ids, parents)


def parse_region(region: bytes) -> list[Line]:
    """Return the lines of a region one by one, as :func:`read_region` finds them."""
    found = read_region(region)
    return found.lines() if isinstance(found, Plain) else found


def raw_lines(region: bytes) -> int:
    """Return how many lines of a region, as for :func:`read_region`, are "raw"."""
    bodies = region.split(_LF)
    try:
        if _are_objects(region, bodies) and len(_OBJECTS.decode_lines(region)) == len(bodies):
            return 0
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    return sum(parse(body).kind == "raw" for body in bodies)


def _are_objects(region: bytes, bodies: list[bytes]) -> bool:
    """Whether these are plain objects if only they are as many values as lines."""
    # Where each line begins with { and ends with }, no value goes on behind a line end, for
    # nowhere in JSON does { follow }. Then as many values as lines are one in each.
    if {body[:1] + body[-1:] for body in bodies} != _BRACES:
        return False
    longest = max(map(len, bodies))
    if longest > DIGIT_LIMIT and has_long_number(region):
        return False
    if longest > SHALLOW and any(map(has_depth, bodies)):
        return False
    return region.isascii() or is_text(region)


def _are_odd(*columns: list[str | None]) -> bool:
    """Whether any of these texts is one that no column can hold: with a NUL, or half a character."""
    text = "".join(filter(None, chain.from_iterable(columns)))
    return "\0" in text or not (text.isascii() or _is_valid(text))


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

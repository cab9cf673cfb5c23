"""Tables at a terminal: side by side what fits; beneath its row, on a line of its own, what does not.

No value gives way but the text that a listing only quotes: an id or a path is copied, and a
state decides. So a long one is moved, never cut, and a narrow terminal gets a block for each row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    Rows = list[list[str]]

_GAP: Final = 2
_LEAST: Final = 24  # of a last column that is cut or folded
_NOTHING: Final = ("", "-")


class Columns(NamedTuple):
    """Which columns stand side by side and which beneath, by number."""

    beside: list[int]
    beneath: list[int]


def placed(widths: Sequence[int], least: int, room: int) -> Columns:
    """Return where each column stands: the widest go beneath until the others fit.

    The first stays, for it says what a row is about; of the last, ``least`` is enough.
    """
    shrunk = [*widths[:-1], min(widths[-1], least)]
    beside = list(range(len(widths)))
    while len(beside) > 1 and sum(shrunk[each] + _GAP for each in beside) - _GAP > room:
        beside.remove(max(beside[1:], key=widths.__getitem__))
    return Columns(beside, [each for each in range(len(widths)) if each not in beside])


def show(
    console: Console,
    headers: Sequence[str],
    rows: Rows,
    *,
    is_last_cut: bool,
    spare: Sequence[str],
) -> list[str]:
    """Write the table; return which of the spare columns were left out."""
    headers, rows = _filled(headers, rows, console.width, is_last_cut=is_last_cut)
    kept, rows = _without(headers, rows, spare, console.width, is_last_cut=is_last_cut)
    _Table(console, kept, rows, is_last_cut=is_last_cut).show()
    return [name for name in spare if name in headers and name not in kept]


def _filled(
    headers: Sequence[str], rows: Rows, room: int, *, is_last_cut: bool
) -> tuple[Sequence[str], Rows]:
    """Return a table that does not fit without its columns in which nothing stands."""
    least = _least(rows, is_last_cut=is_last_cut)
    if not rows or not placed(_widths(headers, rows), least, room).beneath:
        return headers, rows
    last = len(headers) - 1
    kept = [
        at
        for at in range(len(headers))
        if any(row[at] for row in rows) or (at == last and is_last_cut)
    ]
    return [headers[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _without(
    headers: Sequence[str], rows: Rows, spare: Sequence[str], room: int, *, is_last_cut: bool
) -> tuple[Sequence[str], Rows]:
    """Return a table without the first of the spare columns, until it fits."""
    for name in spare:
        columns = placed(_widths(headers, rows), _least(rows, is_last_cut=is_last_cut), room)
        if not columns.beneath:
            break
        at = headers.index(name)
        headers = [*headers[:at], *headers[at + 1 :]]
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    return headers, rows


def _widths(headers: Sequence[str], rows: Rows) -> list[int]:
    columns = ([header, *(row[at] for row in rows)] for at, header in enumerate(headers))
    return [max(map(cell_len, column)) for column in columns]


def _least(rows: Rows, *, is_last_cut: bool) -> int:
    """Return how narrow the last column may be: a path in it is not to be folded in the middle."""
    words = () if is_last_cut else (word for row in rows for word in row[-1].split())
    return max((_LEAST, *map(cell_len, words)))


class _Table:
    """One table and the console it is shown on."""

    def __init__(
        self, console: Console, headers: Sequence[str], rows: Rows, *, is_last_cut: bool
    ) -> None:
        self._console, self._headers, self._rows = console, headers, rows
        self._is_last_cut, self._last = is_last_cut, len(headers) - 1
        self._widths = _widths(headers, rows)
        least = _least(rows, is_last_cut=is_last_cut)
        self._columns = placed(self._widths, least, console.width)
        self._named = max((cell_len(headers[each]) for each in self._columns.beneath), default=0)

    def show(self) -> None:
        self._write(next(iter(self._beside(self._headers))), "bold")
        for row in self._rows:
            for text in (*self._beside(row), *self._beneath(row)):
                self._write(text)

    def _write(self, text: str, style: str = "") -> None:
        # Whole: what is longer than the terminal it wraps itself, and gives whole to who copies it.
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _beside(self, row: Sequence[str]) -> list[str]:
        """Return the line of a row, or several where its last column is folded."""
        *front, back = self._columns.beside
        cells = "".join(self._padded(row[each], each) for each in front)
        if not front or back != self._last:
            return [cells + row[back]]
        return self._hanging(cells, row[back])

    def _padded(self, cell: str, at: int) -> str:
        return cell + " " * (self._widths[at] + _GAP - cell_len(cell))

    def _beneath(self, row: Sequence[str]) -> Iterable[str]:
        for each in self._columns.beneath:
            if row[each] not in _NOTHING:
                name = self._headers[each]
                lead = " " * _GAP + name + " " * (self._named + _GAP - cell_len(name))
                yield from self._hanging(lead, row[each], is_last=each == self._last)

    def _hanging(self, lead: str, cell: str, *, is_last: bool = True) -> list[str]:
        """Return a cell behind what leads to it: cut to the width, or folded between its words."""
        text, indent = Text(cell), cell_len(lead)
        room = max(self._console.width - indent, 1)
        if self._is_last_cut and is_last:
            text.truncate(room, overflow="ellipsis")
            return [lead + text.plain]
        if cell_len(cell) <= room or any(cell_len(word) > room for word in cell.split()):
            return [lead + cell]
        first, *more = (line.plain.rstrip() for line in text.wrap(self._console, room))
        return [lead + first, *(" " * indent + line for line in more)]

"""Draws lines a second over connections: one line for each number of sessions, as SVG by hand."""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 640
HEIGHT: Final = 360
LEFT: Final = 64
RIGHT: Final = 150
TOP: Final = 24
BOTTOM: Final = 48
COLOURS: Final = ("#b45309", "#047857", "#1d4ed8", "#7c3aed", "#be185d")
GREY: Final = "#6b7280"

Point = tuple[int, float]


def drawn(cells: list[dict[str, Any]]) -> str:
    """Return the picture of some cells; plain INSERT is the median of what stood beside them."""
    lines = dict(_lines(cells))
    counts = sorted({cell["connections"] for cell in cells})
    top = max(rate for points in lines.values() for _, rate in points) * 1.08
    return "\n".join([*_frame(counts, top), *_drawn_lines(lines, counts, top), "</svg>", ""])


def _lines(cells: list[dict[str, Any]]) -> Iterator[tuple[str, list[Point]]]:
    by_count: dict[int, list[float]] = {}
    for cell in cells:
        by_count.setdefault(cell["connections"], []).append(cell["rates"]["plain"]["median"])
    yield (
        "plain INSERT",
        [(count, sorted(rates)[len(rates) // 2]) for count, rates in sorted(by_count.items())],
    )
    for sessions in sorted({cell["sessions"] for cell in cells}):
        name = f"journal, {sessions} session{'s' if sessions > 1 else ''}"
        yield (
            name,
            sorted(
                (cell["connections"], cell["rates"]["journal"]["median"])
                for cell in cells
                if cell["sessions"] == sessions
            ),
        )


def _x(count: int, counts: list[int]) -> float:
    whole = log2(counts[-1] / counts[0]) or 1
    return LEFT + (WIDTH - LEFT - RIGHT) * log2(count / counts[0]) / whole


def _y(rate: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * rate / top


def _frame(counts: list[int], top: float) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img">'
    )
    yield "<title>Lines a second, by connections and sessions</title>"
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    step = _step(top)
    for number in range(int(top // step) + 1):
        y = _y(number * step, top)
        yield f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e5e7eb"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{GREY}">{number * step:,.0f}</text>'
    for count in counts:
        x = _x(count, counts)
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="{GREY}">{count}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle" fill="{GREY}">connections, a process each</text>'
    yield f'<text x="{LEFT - 8}" y="14" text-anchor="end" fill="{GREY}">lines/s</text>'


def _step(top: float) -> float:
    size = 1.0
    while top / size > 6:  # noqa: PLR2004 - so many lines can be told apart
        size *= 2 if str(size)[0] == "1" else 2.5 if str(size)[0] == "2" else 2
    return size


def _drawn_lines(lines: dict[str, list[Point]], counts: list[int], top: float) -> Iterator[str]:
    ends: list[float] = []
    for number, (name, points) in enumerate(lines.items()):
        colour = GREY if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
        places = [(_x(count, counts), _y(rate, top)) for count, rate in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashes = ' stroke-dasharray="5 4"' if number == 0 else ""
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)
        x, y = places[-1]
        while any(abs(y - other) < 14 for other in ends):  # noqa: PLR2004 - a line of text
            y += 14
        ends.append(y)
        yield f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>'

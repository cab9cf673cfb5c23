"""Draws a run's ratios as bars: one picture, in SVG, that needs nothing but a browser."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEFT: Final = 450  # of the titles, in pixels
_WIDE: Final = 440  # of the longest bar
_ROW: Final = 24
_TOP: Final = 46
# Ours, and everybody else: told apart by brightness too.
_OURS: Final = "#1f6f8b"
_OTHERS: Final = "#b8c4cc"


def drawn(figures: dict[str, Any]) -> str:
    """Return the picture of one run: a bar for each contender, from the least to the greatest a line."""
    rows = list(figures["appends"]["contenders"].items())
    longest = max(row["ratio"]["high"] for _, row in rows)
    high = _TOP + _ROW * len(rows) + 34
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDE + 90} {high}" '
                'font-family="system-ui, sans-serif" font-size="13" role="img" '
                'aria-label="Appends a second over the plain row of the same durability">'
            ),
            f'<rect width="100%" height="{high}" fill="white"/>',
            f'<text x="12" y="26" font-size="15" font-weight="600">{escape(_TITLE)}</text>',
            *_rule(longest, high),
            *(line for at, row in enumerate(rows) for line in _bar(at, *row, longest)),
            f'<text x="12" y="{high - 12}" fill="#555">{escape(_about(figures))}</text>',
            "</svg>",
            "",
        ]
    )


_TITLE: Final = (
    "Lines a second, over the plain row of the same durability (median, least to greatest)"
)


def _about(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    return ", ".join(f"{name} {machine[name]}" for name in ("python", "sqlite", "cores", "date"))


def _rule(longest: float, high: int) -> Iterator[str]:
    """Where the plain row stands."""
    x = _LEFT + _WIDE / longest
    yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{high - 32}" stroke="#888" stroke-dasharray="3 3"/>'


def _bar(at: int, name: str, row: dict[str, Any], longest: float) -> Iterator[str]:
    ratio, y = row["ratio"], _TOP + _ROW * at
    scale = _WIDE / longest
    middle = y + _ROW / 2 - 2
    color = _OURS if name.startswith("journal") else _OTHERS
    yield f'<text x="{_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(row["title"])}</text>'
    yield f'<rect x="{_LEFT}" y="{y}" width="{ratio["median"] * scale:.1f}" height="{_ROW - 6}" fill="{color}"/>'
    yield (
        f'<line x1="{_LEFT + ratio["low"] * scale:.1f}" x2="{_LEFT + ratio["high"] * scale:.1f}" '
        f'y1="{middle:.1f}" y2="{middle:.1f}" stroke="#222"/>'
    )
    end = _LEFT + ratio["high"] * scale + 8
    yield f'<text x="{end:.1f}" y="{middle + 4:.1f}">{ratio["median"]:.2f}</text>'

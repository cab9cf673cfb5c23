"""What was done to a session's file that no line tells of, put into words.

Lines that came by a file are entries of their own. That lines are gone from it or
were moved, or that the whole file is gone, is a sealed control entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EDIT: Final = "edit"
_RANGES: Final = 10


def sort_of(trust: str, kind: str) -> str:
    """Return what sort of foreign entry it is: its trust, or that it records an edit of the file."""
    return EDIT if trust == "external" and kind == "control" else trust


def removed_by(facts: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the seqs, as ranges, of the lines that an edit took out of the file."""
    found = facts.get("lost" if facts.get("control") == "layout" else "seqs") or ()
    return [(int(first), int(last)) for first, last in found]


def edit_words(facts: Mapping[str, Any]) -> str | None:
    """Say what a sealed fact tells of the session's file; None if it tells nothing of it."""
    if facts.get("control") == "layout":
        ranges = removed_by(facts)
        if not ranges:
            return "Lines of the session's file were put into another order."
        them = "it" if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else "them"
        return f"{_lines(ranges)} removed from the session's file; the journal still has {them}."
    if facts.get("control") != "edit":
        return None
    if facts.get("what") == "lost":
        ranges = removed_by(facts)
        return f"{_lines(ranges)} removed from the session's file before it was written anew."
    return _EDITS.get(str(facts.get("what")))


_EDITS: Final = {
    "gone": "The session's file was removed; the journal has all its lines.",
    "refused": "Since then the file is left alone, as its mirror was told to on such an edit.",
}


def seqs_in_words(ranges: list[tuple[int, int]]) -> str:
    """Return seqs in a few words: ``4-5, 9``."""
    told = (str(first) if first == last else f"{first}-{last}" for first, last in ranges[:_RANGES])
    return ", ".join([*told, *(["…"] if len(ranges) > _RANGES else [])])


def _lines(ranges: list[tuple[int, int]]) -> str:
    count = sum(last - first + 1 for first, last in ranges)
    noun, verb = ("line", "was") if count == 1 else ("lines", "were")
    return f"{count} {noun} (seq {seqs_in_words(ranges)}) {verb}"


def each_in(ranges: list[tuple[int, int]], limit: int) -> Iterator[int]:
    """Yield the seqs of ranges, up to a limit."""
    seqs = (seq for first, last in ranges for seq in range(first, last + 1))
    yield from (seq for _, seq in zip(range(limit), seqs, strict=False))

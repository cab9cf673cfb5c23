"""What stands for a line that was redacted, wherever its bytes would be handed out.

It has the size the line had, so that in a file nothing behind it moves.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

SECTOR: Final = 512
_WHOLE: Final = b'{"redacted":true'


def placeholder(size: int) -> bytes:
    """Return as many bytes, valid JSON from one byte on; ``{"redacted":true}`` where it fits."""
    if size > len(_WHOLE):
        return _WHOLE + b" " * (size - len(_WHOLE) - 1) + b"}"
    if size > 1:
        return b"{" + b" " * (size - 2) + b"}"
    return b"0" * size


class Piece(NamedTuple):
    """Where an entry's line stands in a mirror's file, and its size without its line end."""

    seq: int
    offset: int
    size: int


class Intent(NamedTuple):
    """What a redaction was about to overwrite in a mirror's file, by a sealed ``redacting`` entry."""

    mirror: int
    pieces: tuple[Piece, ...]


def standing(before: Intent | None, facts: dict[str, Any]) -> Intent | None:
    """Return the intent that stands after a sealed control entry, as before where it tells of none.

    What another redaction erased ends it only where that was all it was about to overwrite:
    who has no such file cannot put anything back in it.
    """
    what = facts.get("control")
    if what == "redacting":
        return Intent(facts["mirror"], tuple(Piece._make(piece) for piece in facts["pieces"]))
    if before is None or (what == "unredacted" and facts["mirror"] == before.mirror):
        return None
    if what == "redaction" and all(str(piece.seq) in facts["rows"] for piece in before.pieces):
        return None
    return before


def is_overwritten(found: bytes, line: bytes, offset: int) -> bool:
    """Whether a line's place has the placeholder, or as much of it as a kill or a power cut leaves.

    A write may break off anywhere, and of one that was never synced any sectors may be on
    disk: so each sector of the file begins as the placeholder and goes on as the line.
    """
    if len(found) != len(line):
        return False
    stands = placeholder(len(line))
    begin = 0
    while begin < len(line):
        end = min(len(line), begin + SECTOR - (offset + begin) % SECTOR)
        at = begin
        while at < end and found[at] == stands[at]:
            at += 1
        if found[at:end] != line[at:end]:
            return False
        begin = end
    return True

"""The formats of session files: which program wrote this, and whose session is it?

Nothing here opens a file. A caller gives a path as text and the first lines as
bytes, whole: one header may be tens of kilobytes long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal.formats import claude, codex, openclaw, pi, plain
from journal.formats.shape import FileClass, Format, Header

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FORMATS", "FileClass", "Format", "Header", "by_name", "detect"]

# OpenClaw and pi share one header; only OpenClaw's names are a closed table, so it
# is asked first. Plain takes what is left.
FORMATS: Final[tuple[Format, ...]] = (openclaw, codex, claude, pi, plain)


def detect(path_name: str, first_lines: Sequence[bytes]) -> Format | None:
    """Return the format of a file, or None if it is no session file of any kind.

    None is for what this project does not read, such as one pretty-printed
    JSON document per session: name it to the reader, never pass over it.
    """
    return next((each for each in FORMATS if each.recognises(path_name, first_lines)), None)


def by_name(name: str) -> Format | None:
    """Return the format of that name."""
    return next((each for each in FORMATS if name == each.NAME), None)

"""Plain JSONL: lines of anything, of no program known here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal.formats.shape import FileClass, Header, base_name, objects, text

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "plain"

_SUFFIXES: Final = (".jsonl", ".ndjson")


def recognises(path_name: str, first_lines: Sequence[bytes]) -> bool:
    """Whether the name says lines; the content, damaged or empty, is not asked."""
    del first_lines
    return base_name(path_name).lower().endswith(_SUFFIXES)


def classify(path_name: str) -> FileClass:
    """Return "primary" for every file of lines."""
    return "primary" if recognises(path_name, ()) else "ignored"


def alias(path_name: str) -> str:
    """Return the name without its ending."""
    name = base_name(path_name)
    return name.rpartition(".")[0] if recognises(name, ()) else name


def header(first_lines: Sequence[bytes]) -> Header:
    """Return the id of a first line that says it opens a session, if any does."""
    first = next(objects(first_lines[:1]), {})
    if first.get("type") != "session":
        return Header()
    return Header(id=text(first.get("id")), cwd=text(first.get("cwd")))

"""pi: one header line, then a tree of entries (formats 1 to 3).

Version 1 has no version and no ids, 2 has ids and parents, 3 has more types. The
header is the first line, but pi up to 0.75 may write it twice, and its key order
is no promise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from journal.formats.shape import FileClass, Header, base_name, objects, text

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "pi"

_NAMED: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d-]+Z?_(?P<id>[\w-]+)\.jsonl")


def recognises(path_name: str, first_lines: Sequence[bytes]) -> bool:
    """Whether the name is pi's, or one of the first lines is a session header."""
    name = base_name(path_name)
    if not name.endswith(".jsonl"):
        return False
    return _NAMED.fullmatch(name) is not None or _header_of(first_lines) is not None


def classify(path_name: str) -> FileClass:
    """Return "primary": pi keeps nothing else beside its sessions."""
    return "primary" if base_name(path_name).endswith(".jsonl") else "ignored"


def alias(path_name: str) -> str:
    """Return the id in a name ``<time>_<id>.jsonl``, else the bare name."""
    name = base_name(path_name)
    match = _NAMED.fullmatch(name)
    return match["id"] if match else name.removesuffix(".jsonl")


def header(first_lines: Sequence[bytes]) -> Header:
    """Return the first header's identity, and the last title given."""
    found = _header_of(first_lines)
    if found is None:
        return Header()
    return Header(
        id=text(found.get("id")),
        version=_version(found.get("version", 1)),
        cwd=text(found.get("cwd")),
        title=_title(first_lines),
        parent=text(found.get("parentSession")),
    )


def _header_of(lines: Sequence[bytes]) -> dict[str, Any] | None:
    return next((line for line in objects(lines) if _is_header(line)), None)


def _is_header(line: dict[str, Any]) -> bool:
    return line.get("type") == "session" and text(line.get("id")) is not None


def _title(lines: Sequence[bytes]) -> str | None:
    infos = [line for line in objects(lines) if line.get("type") == "session_info"]
    return text(infos[-1].get("name")) if infos else None


def _version(value: object) -> int | None:
    # True is 1 to Python, and no version.
    return value if type(value) is int else None

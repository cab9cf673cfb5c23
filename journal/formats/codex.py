"""Codex: ``rollout-<time>-<uuid>.jsonl``, each line a timed envelope with a payload."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from journal.formats.shape import FileClass, Header, base_name, folders, objects, text

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "codex"

_ROLLOUT: Final = re.compile(
    r"rollout-\d{4}-\d\d-\d\dT[\d-]+?-(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.jsonl"
    r"(?P<packed>\.zst)?"
)


def recognises(path_name: str, first_lines: Sequence[bytes]) -> bool:
    """Whether the name is a rollout's, or a line is the record of a session's start."""
    return _ROLLOUT.fullmatch(base_name(path_name)) is not None or _meta(first_lines) is not None


def classify(path_name: str) -> FileClass:
    """Return "archived" in ``archived_sessions`` or when compressed, else "primary"."""
    match = _ROLLOUT.fullmatch(base_name(path_name))
    is_archived = bool(match and match["packed"]) or "archived_sessions" in folders(path_name)
    return "archived" if is_archived else "primary"


def alias(path_name: str) -> str:
    """Return the id in a rollout's name, else the bare name."""
    name = base_name(path_name)
    match = _ROLLOUT.fullmatch(name)
    return match["id"] if match else name.removesuffix(".jsonl")


def header(first_lines: Sequence[bytes]) -> Header:
    """Return what the first ``session_meta`` says.

    A forked session's file repeats its parent's record after its own.
    """
    payload = _meta(first_lines)
    if payload is None:
        return Header()
    return Header(
        id=text(payload.get("id")) or text(payload.get("session_id")),
        cwd=text(payload.get("cwd")),
        parent=text(payload.get("forked_from_id")),
    )


def _meta(lines: Sequence[bytes]) -> dict[str, Any] | None:
    for line in objects(lines):
        payload = line.get("payload")
        if line.get("type") == "session_meta" and isinstance(payload, dict):
            return payload
    return None

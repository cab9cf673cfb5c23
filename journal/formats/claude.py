"""Claude Code: no header; each line is an envelope that names its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal.formats.shape import FileClass, Header, base_name, objects, text

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "claude"

# These carry no uuid, and may stand before the first line that does.
_LOOSE: Final = {
    "summary": "leafUuid",
    "file-history-snapshot": "messageId",
    "queue-operation": "sessionId",
}


def recognises(path_name: str, first_lines: Sequence[bytes]) -> bool:
    """Whether one of the first lines has Claude Code's envelope."""
    return base_name(path_name).endswith(".jsonl") and any(map(_is_envelope, objects(first_lines)))


def classify(path_name: str) -> FileClass:
    """Return "primary" for sessions and sub-agents' files, "ignored" for what describes them."""
    return "primary" if base_name(path_name).endswith(".jsonl") else "ignored"


def alias(path_name: str) -> str:
    """Return the bare name: a session's uuid, or ``agent-<id>``."""
    return base_name(path_name).removesuffix(".jsonl")


def header(first_lines: Sequence[bytes]) -> Header:
    """Return the session that the lines name, the first found of each.

    A sub-agent's lines carry its parent's session id; its own is the agent's.
    """
    lines = list(objects(first_lines))
    session, agent = _first(lines, "sessionId"), _first(lines, "agentId")
    is_agent = agent is not None and any(line.get("isSidechain") is True for line in lines)
    return Header(
        id=f"agent-{agent}" if is_agent else session,
        cwd=_first(lines, "cwd"),
        title=_first([line for line in lines if line.get("type") == "summary"], "summary"),
        parent=session if is_agent else None,
    )


def _is_envelope(line: dict[str, Any]) -> bool:
    found = line.get("type")
    if not isinstance(found, str):
        return False
    if text(line.get("uuid")) and text(line.get("sessionId")):
        return True
    return found in _LOOSE and text(line.get(_LOOSE[found])) is not None


def _first(lines: list[dict[str, Any]], key: str) -> str | None:
    return next((found for line in lines if (found := text(line.get(key)))), None)

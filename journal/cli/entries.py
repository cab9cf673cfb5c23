"""Entries as they are printed and as they stand in JSON documents."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from journal.cli.output import counted, say, when

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal import Entry, Session

HEADERS: Final = ("seq", "time", "writer", "role", "trust", "epoch", "type", "content")
# The least important first, where a terminal is narrow: seq, writer and trust stay.
SPARE: Final = ("epoch", "role", "type", "time")
_EXCERPT: Final = 160
_TYPE: Final = 24
# A larger line is not parsed for a listing's sake; its first bytes are shown.
_PARSED_UP_TO: Final = 256 * 1024
_ENDS: Final = {b"\n": "lf", b"\r\n": "crlf", b"": "none"}
_TELLING: Final = ("customType", "name", "label", "summary", "text", "cwd", "id")


def cells(entry: Entry) -> tuple[object, ...]:
    """Return an entry as one line of a listing."""
    value = parsed(entry)
    return (
        entry.seq,
        when(entry.created_us),
        entry.writer,
        entry.role,
        entry.trust,
        entry.epoch,
        _cut(type_of(entry, value), _TYPE),
        excerpt(entry, value),
    )


def parsed(entry: Entry) -> Any:  # noqa: ANN401 - any JSON, or None
    """Return what a line of moderate length holds; None where it cannot be read."""
    body = entry.body or b""
    if entry.kind not in ("line", "control") or len(body) > _PARSED_UP_TO:
        return None
    try:
        return json.loads(body.decode())
    except (ValueError, RecursionError):
        return None  # a row put there by plain SQL may call anything a line


def type_of(entry: Entry, value: Any) -> str:  # noqa: ANN401
    """Return the line's own type where it has one, else the entry's kind."""
    named = (
        value.get("control" if entry.kind == "control" else "type")
        if isinstance(value, dict)
        else None
    )
    return named if isinstance(named, str) and named else entry.kind


def excerpt(entry: Entry, value: Any) -> str:  # noqa: ANN401
    """Return the beginning of what a line says."""
    text = _said(value) if isinstance(value, dict) else None
    if text is None:
        text = (entry.body or b"")[: 4 * _EXCERPT].decode("utf-8", "backslashreplace")
    return _cut(text, _EXCERPT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _said(value: dict[str, Any]) -> str | None:
    message = value.get("message")
    if not isinstance(message, dict):
        told = (value.get(name) for name in _TELLING)
        return next((item for item in told if isinstance(item, str) and item), None)
    words = _words(message.get("content"))
    role = message.get("role")
    return f"{role}: {words}" if isinstance(role, str) and words else words


def _words(content: object) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    pieces = [_piece(item) for item in content if isinstance(item, dict)]
    return " ".join(filter(None, pieces)) or None


def _piece(item: dict[str, Any]) -> str | None:
    for name in ("text", "thinking"):
        if isinstance(item.get(name), str):
            return str(item[name])
    kind, called = item.get("type"), item.get("name")
    return f"[{kind} {called}]" if isinstance(called, str) else f"[{kind}]"


def as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry whole, for a document; its bytes as text, or as base64 where they are none."""
    value = parsed(entry)
    return {
        "seq": entry.seq,
        "epoch": entry.epoch,
        "created_us": entry.created_us,
        "writer": entry.writer,
        "role": entry.role,
        "trust": entry.trust,
        "kind": entry.kind,
        "type": type_of(entry, value),
        "origin": entry.origin,
        "claim": entry.claim,
        "request_id": entry.request_id,
        "run_id": entry.run_id,
        "on_behalf_of": entry.on_behalf_of,
        "recorder": entry.recorder,
        "instance": entry.instance_id,
        "row": entry.row_id,
        "redacted": entry.redacted,
        "end": _ENDS.get(entry.terminator, "other"),
        **_body(entry.body),
    }


def _body(body: bytes | None) -> dict[str, str | None]:
    try:
        return {"body": None if body is None else body.decode()}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body or b"").decode()}


def brief(entry: Entry, reason: str | None = None) -> dict[str, Any]:
    """Return what names an entry and says what it is."""
    told = {"seq": entry.seq, "epoch": entry.epoch, "trust": entry.trust}
    told |= {"writer": entry.writer, "role": entry.role, "row": entry.row_id}
    return told if reason is None else {**told, "reason": reason}


def say_stepped_over(session: Session, rows: Iterable[Entry]) -> None:
    """Say which rows could not be believed, and how to see more; of what is settled only that."""
    from journal.who import decided  # noqa: PLC0415 - with the rest of the library

    found = list(rows)
    settled = decided(session.store, session.key, [entry.seq for entry in found])
    for seq, word in sorted(settled.items())[:10]:
        say(f"Note: stepped over seq {seq}, which is not in the sealed chain and was {word}.")
    if len(settled) > 10:  # noqa: PLR2004 - as many as were said
        say(f"Note: stepped over {len(settled) - 10} more that were accepted or rejected.")
    is_open = [entry for entry in found if entry.seq not in settled]
    if not is_open:
        return
    rows_said = counted(len(is_open), "row")
    say(f"Warning: stepped over {rows_said} of {session.key} not in the sealed chain:")
    for entry in is_open[:10]:
        say(f"  seq {entry.seq}: {entry.trust}, claims to be by {entry.writer!r}")
    if len(is_open) > 10:  # noqa: PLR2004 - as many as were shown
        say(f"  and {len(is_open) - 10} more")

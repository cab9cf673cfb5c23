"""OpenClaw's flat files (up to 2026.7.1): pi's lines under names of a closed table.

The names decide what a file is: the live transcript, one it archived, a record of
its own for debugging, the index, or a lock. ``sessions.json`` is advisory: in real
homes it misses sessions, and names files that are gone.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.formats import pi
from journal.formats.shape import FileClass, Header, base_name, folders, loads, text
from journal.lines import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "openclaw"

_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_STAMP: Final = r"\d{4}-\d\d-\d\dT\d\d[-:]\d\d[-:]\d\d(?:[.-]\d{1,6})?Z"
_PACKED: Final = r"(?:\.[0-9a-f]{32})?(?:\.zst)?"


class _Rule(NamedTuple):
    """One row of the table. A name that is ``own`` is OpenClaw's in any folder."""

    pattern: re.Pattern[str]
    found: FileClass
    own: bool


def _rule(pattern: str, found: FileClass, *, own: bool = True) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), found, own)


# First match wins: the sidecars' names end in .jsonl too.
_TABLE: Final = (
    _rule(r"sessions\.json", "index"),
    _rule(r"sessions\.json\..+", "ignored"),
    _rule(r"(?P<id>.+)\.jsonl\.lock", "lock"),
    _rule(r"(?P<id>.+)\.trajectory(?:-path)?\.jsonl?(?:\..+)?", "diagnostic"),
    _rule(r"(?P<id>probe-.+)\.jsonl(?:\..+)?", "diagnostic", own=False),
    _rule(rf"(?P<id>.+)\.checkpoint\.{_UUID}\.jsonl", "archived"),
    _rule(rf"(?P<id>.+?)\.jsonl\.(?:deleted|reset|bak)\.{_STAMP}{_PACKED}", "archived"),
    _rule(r"(?P<id>.+?)\.jsonl\.bak-\d+-\d+", "archived"),
    _rule(r"(?P<id>.+?)\.jsonl\.pre-doctor-.+\.bak", "archived"),
    _rule(r"archive-tier\.(?P<id>.+?)\.jsonl\.imported-.+", "archived"),
    _rule(r"(?P<id>.+?)\.jsonl\.imported-\d.*", "archived"),
    _rule(rf"(?:{_STAMP}_)?(?P<id>{_UUID})(?:-topic-[\w.%-]+)?\.jsonl", "primary", own=False),
    _rule(r"(?P<id>[A-Za-z0-9][\w.%-]*)\.jsonl", "primary", own=False),
)
_HOMES: Final = frozenset({"sessions", "session-sqlite-import-archive"})


def recognises(path_name: str, first_lines: Sequence[bytes]) -> bool:
    """Whether a file is OpenClaw's: by a name only it gives, or by its folder.

    Nothing is asked of the content, so that a damaged transcript is still known
    for what it was.
    """
    del first_lines
    found = _look_up(path_name)
    return found is not None and (found[0].own or _is_home(path_name))


def classify(path_name: str) -> FileClass:
    """Return what a file of this name holds; what the table does not know is "ignored"."""
    found = _look_up(path_name)
    return found[0].found if found else "ignored"


def alias(path_name: str) -> str:
    """Return the session id in a file's name, else the bare name."""
    found = _look_up(path_name)
    return (found[1].get("id") if found else None) or base_name(path_name)


def header(first_lines: Sequence[bytes]) -> Header:
    """Return the header's identity, as pi writes it."""
    return pi.header(first_lines)


def index(data: bytes) -> dict[str, str]:
    """Return which session key names which file, from ``sessions.json``.

    The file is its bare name: the paths inside are absolute, and of the machine
    they were written on. An entry without a path is looked for under its session
    id. Of garbage the part that makes sense is returned, and nothing is raised.
    """
    found = loads(data)
    if not isinstance(found, dict):
        return {}
    pairs = ((key, _file_of(entry)) for key, entry in found.items() if text(key))
    return {key: name for key, name in pairs if name is not None}


def entries(data: bytes) -> dict[str, str]:
    """Return what ``sessions.json`` says of each session key that names a file, as compact JSON.

    Of what is nested so deep that not every reader could read it again, and of NaN and
    its like, the rest is returned.
    """
    found = loads(data)
    if not isinstance(found, dict):
        return {}
    named = ((key, entry) for key, entry in found.items() if text(key) and _file_of(entry))
    return {key: _told(entry) for key, entry in named}


def _told(entry: dict[str, Any]) -> str:
    try:
        told = json.dumps(entry, separators=(",", ":"))
        is_whole = parse(told.encode()).kind == "line"
    except RecursionError:
        is_whole = False
    if is_whole:
        return told
    plain = {name: value for name, value in entry.items() if isinstance(value, (str, int))}
    return json.dumps(plain, separators=(",", ":"))


def _file_of(entry: object) -> str | None:
    if not isinstance(entry, dict):
        return None
    path, session_id = text(entry.get("sessionFile")), text(entry.get("sessionId"))
    name = base_name(path) if path else f"{session_id}.jsonl" if session_id else ""
    # A name that climbs or points elsewhere must never reach a caller who joins it.
    return name if name and base_name(name) == name and name not in {".", ".."} else None


def _look_up(path_name: str) -> tuple[_Rule, dict[str, str]] | None:
    name = base_name(path_name)
    for rule in _TABLE:
        match = rule.pattern.fullmatch(name)
        if match:
            return rule, match.groupdict()
    return None


def _is_home(path_name: str) -> bool:
    """Whether it lies in ``agents/<agent>/sessions`` or where its import moves files."""
    match folders(path_name):
        case [*_, "agents", _, home]:
            return home in _HOMES
        case _:
            return False

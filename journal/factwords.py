"""A control entry's fact in a few words: what matters in it, and nothing of how it is stored."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

_LIMIT: Final = 100
_TELLING: Final = (
    *("supersedes", "reason", "verdict", "lost", "seqs", "actor", "what", "no", "base"),
    "rows",
)


def fact_words(body: bytes) -> str:
    """Say a control entry's fact; what is none, as a forged row may hold, as it stands."""
    facts = _facts(body)
    if facts is not None:
        with suppress(RecursionError):  # since Python 3.12 more is parsed than can be walked over
            return _said(facts)
    text = body[: 4 * _LIMIT].decode("utf-8", "backslashreplace")
    return text if len(text) <= _LIMIT else f"{text[:_LIMIT]}…"


def _said(facts: dict[str, Any]) -> str:
    told = [f"{name} {_plain(facts[name])}" for name in _TELLING if facts.get(name)]
    token = f" {_plain(facts['token'])}" if "token" in facts else ""
    what = f"control: {_plain(facts['control'])}{token}{_for_whom(facts)}"
    return ", ".join([what, *told])[: 2 * _LIMIT]


def _for_whom(facts: dict[str, Any]) -> str:
    """Say with whose life a claim goes: a command claims for the process that called it."""
    process = facts.get("process") if facts["control"] == "claim" else None
    pid = process.get("pid") if isinstance(process, dict) else None
    return "" if pid is None else f", goes with pid {_plain(pid)}"


def _facts(body: bytes) -> dict[str, Any] | None:
    try:
        facts = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and facts.get("control") else None


def _plain(value: object) -> str:
    """Say a value as people write it: seqs one after the other, a range by its ends."""
    if isinstance(value, dict):
        ranges = _plain(value.get("ranges", []))
        return f"{value.get('sort')} at seq {ranges}" if "sort" in value else json.dumps(value)
    if not isinstance(value, list):
        return str(value)
    if value and all(_is_range(each) for each in value):
        return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in value)
    return ", ".join(map(_plain, value))


def _is_range(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)  # noqa: PLR2004 - its two ends

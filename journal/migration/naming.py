"""Which session a file becomes: names and keys, decided without looking at any journal.

A session's identity is the id in its header; the file's name is an alias. But
archives, checkpoints and copies carry the same header, so the first file takes
the id, and each other one the id with its own name behind it. The order of the
candidates is fixed, so the same files get the same keys every time.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from journal.model import KEY_LIMIT, REGISTRY_KEY

if TYPE_CHECKING:
    from journal.formats import FileClass

_DIGEST_SIZE: Final = 16
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # C0, DEL and C1, surrogates
_STEP: Final = re.compile(r"(?<![^/\\:])\.\.(?![^/\\:])")  # a way up, between any two separators
_RANKS: Final[dict[FileClass, int]] = {"primary": 0, "archived": 1, "diagnostic": 2}


def candidates(base: str, name: str, path: str) -> tuple[str, str, str]:
    """Return the keys that a file may take, the best first.

    Args:
        base: the header's id, or the file's stem where there is none.
        name: the file's name.
        path: its whole path, which tells it from every other file of the name.

    """
    return clean(base), clean(f"{base}:{name}"), clean(f"{base}:{name}:{_digest(path)}")


def clean(text: str) -> str:
    """Return the text as a session key: what a key may not hold is written as ``%`` and hex.

    A text too long keeps its beginning, and a digest of the whole.
    """
    shown = _UNFIT.sub(_escaped, text) or "%"
    shown = _STEP.sub("%2E%2E", shown)
    if shown == REGISTRY_KEY:
        shown = shown.replace(":", "%3A")
    if len(shown) <= KEY_LIMIT:
        return shown
    return f"{shown[: KEY_LIMIT - _DIGEST_SIZE - 2]}%:{_digest(text)}"


def rank(found: FileClass, base: str, name: str, path: str) -> tuple[int, bool, str]:
    """Return what to sort files by, so that the one most like its header takes the id."""
    return _RANKS.get(found, len(_RANKS)), base not in name, path


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_SIZE]


def _escaped(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"

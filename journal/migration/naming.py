"""Which session a file becomes: names and keys, decided without looking at any journal.

A session's identity is the id in its header; the file's name is an alias. But
archives, checkpoints and copies carry the same header, so the first file takes
the id, and each other one the id with its own name behind it. The order of the
candidates is fixed, so the same files get the same keys every time.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from journal.model import KEY_LIMIT, REGISTRY_KEY

if TYPE_CHECKING:
    from journal.formats import FileClass

_DIGEST_SIZE: Final = 16
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
    shown = "".join(_escaped(char) if _is_unfit(char) else char for char in text) or "%"
    for separator in "/\\:":
        steps = shown.split(separator)
        shown = separator.join("%2E%2E" if step == ".." else step for step in steps)
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


def _is_unfit(char: str) -> bool:
    code = ord(char)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000  # noqa: PLR2004 - C0, DEL and C1, surrogates


def _escaped(char: str) -> str:
    return f"%{ord(char):02X}"

"""Makes text from anywhere safe to show: nothing in it can steer a terminal or fool an eye.

Bodies, names and paths come from outside. An escape sequence in one of them could
rewrite the screen, fill the clipboard (OSC 52) or hide a link (OSC 8); a bidirectional
control could show a line in another order than it is read.
"""

from __future__ import annotations

from typing import Final
from unicodedata import category

# Controls (C0, DEL, C1), format characters (bidi, invisible ones, tags), lone surrogates,
# and the two separators that some programs take for line ends.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Zero-width (non-)joiners make Persian, Indic scripts and emoji readable and move nothing.
_KEPT: Final = frozenset("\u200c\u200d")


def escape(text: str) -> str:
    r"""Return the text on one line, unsafe characters written as ``\n``, ``\x1b``, ``\u202e``.

    For people's eyes only: a backslash stays as it is, so the way back is not unique.
    """
    if text.isprintable():
        return text
    return "".join(_escaped(char) if is_unsafe(char) else char for char in text)


def is_unsafe(char: str) -> bool:
    """Whether a character could do more at a terminal than be seen."""
    return category(char) in _UNSAFE and char not in _KEPT


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")

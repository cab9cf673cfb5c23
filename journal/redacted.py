"""What stands for a line that was redacted, wherever its bytes would be handed out.

It has the size the line had, so that in a file nothing behind it moves.
"""

from __future__ import annotations

from typing import Final

_WHOLE: Final = b'{"redacted":true'


def placeholder(size: int) -> bytes:
    """Return as many bytes, valid JSON from one byte on; ``{"redacted":true}`` where it fits."""
    if size > len(_WHOLE):
        return _WHOLE + b" " * (size - len(_WHOLE) - 1) + b"}"
    if size > 1:
        return b"{" + b" " * (size - 2) + b"}"
    return b"0" * size

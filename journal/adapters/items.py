"""What frameworks keep, as lines: their objects as JSON, their names as keys."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from journal.errors import EntryError
from journal.model import check_label
from journal.parts import PART, is_within
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.model import Entry
    from journal.session import Session

_UNSAFE: Final = re.compile(r"[%:\x00-\x1f\x7f-\x9f\ud800-\udfff]|(?<![^/\\])\.(?=\.(?![^/\\]))")
_ESCAPED: Final = re.compile(r"%([0-9A-F]+);")


def line_of(item: object, what: str) -> bytes:
    """Return an object as its line: JSON in ASCII, so that lone surrogates come back as they were.

    Raises:
        EntryError: it is no JSON; ``what`` names it.

    """
    try:
        return json.dumps(item, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EntryError(
            f"the {what} is not JSON-able: {error}",
            hint="pass what the framework itself works with",
            code="not-json",
        ) from error


def whole(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Yield entries with the parts of each long line put together, as one entry by the last part's seq."""
    begun: list[bytes] = []
    for entry in entries:
        if entry.kind != PART:
            begun = []
            yield entry
            continue
        begun.append(entry.body or b"")
        if not is_within(PART, entry.body or b"", entry.terminator):
            yield entry._replace(body=b"".join(begun), kind="line")
            begun = []


def newest(session: Session, count: int) -> list[Entry]:
    """Return a session's last lines in their order, at most so many, each whole."""
    window = count + 1
    while True:
        entries = session.read(limit=window, newest=True)
        lines = list(whole(entries))
        # The first of a window may have lost its beginning.
        if len(lines) > count or len(entries) < window:
            return lines[max(0, len(lines) - count) :]
        window *= 2


def parsed(entries: Iterable[Entry]) -> Iterator[Any]:
    """Yield what the lines hold; a line that somebody else put there and that is no JSON is said, and left out."""
    for entry in whole(entries):
        try:
            yield entry.json()
        except EntryError as error:
            log.warning("left out: %s", error)


def label_of(text: object) -> str | None:
    """Return a text that the journal can note beside an entry, or None: a name of others may be anything."""
    try:
        return check_label(text, "name")  # type: ignore[arg-type] # what is no text is what it refuses
    except EntryError:
        return None


def key_of(*parts: str) -> str:
    """Return names as one session key; no two lists of names have the same.

    The parts are joined by ``:``. What a key may not hold, and ``%`` and ``:`` within
    a part, is written as ``%``, its code point in hexadecimal, and ``;``.

    Raises:
        EntryError: a name that is no text.

    """
    for part in parts:
        if not isinstance(part, str):
            raise EntryError(
                f"{part!r} is no text to name a session by", hint="pass a str", code="key"
            )
    return ":".join(_UNSAFE.sub(lambda found: f"%{ord(found[0]):X};", part) for part in parts)


def parts_of(key: str) -> list[str]:
    """Return the names that :func:`key_of` made a key of; none of a key that it never makes."""
    try:
        parts = [
            _ESCAPED.sub(lambda found: chr(int(found[1], 16)), part) for part in key.split(":")
        ]
    except (ValueError, OverflowError):
        return []
    return parts if key_of(*parts) == key else []

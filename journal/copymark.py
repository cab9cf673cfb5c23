"""What marks a copy of a journal that is not finished, so that nobody takes it for a journal.

A file then has another application id, a server's schema another comment; either
says what is being copied into it.
"""

from __future__ import annotations

import json
from shlex import quote
from typing import Final, NamedTuple

from journal.errors import SchemaError, StorageError

APPLICATION_ID: Final = 0x534A5243  # "SJRC"; a journal's is "SJRN"
TABLE: Final = "copying"
COMMENT: Final = "session-journal copying "
CODE: Final = "unfinished-copy"


class CopyMark(NamedTuple):
    """Which journal is being copied, and where it was named; never with a password."""

    source: str
    journal_id: str | None

    def text(self) -> str:
        """Return the mark as it is kept."""
        return json.dumps(self._asdict())


def mark_of(text: str) -> CopyMark:
    """Return a mark as it was kept; one that somebody spoilt says nothing."""
    try:
        values = json.loads(text)
        return CopyMark(str(values["source"]), values["journal_id"])
    except (ValueError, KeyError, TypeError):
        return CopyMark("SRC", None)


def unfinished(where: str, mark: CopyMark) -> SchemaError:
    """Return the refusal of a copy that is not finished."""
    return SchemaError(
        f"{where} is a copy of {mark.source} that is not finished; no journal yet",
        hint=f"journal copy {quote(mark.source)} {quote(where)}",
        code=CODE,
    )


def another(where: str, mark: CopyMark) -> StorageError:
    """Return the refusal of a place where a copy of another journal was begun."""
    return StorageError(
        f"{where}: a copy of another journal ({mark.source}) was begun; it was left as it is",
        hint="name another DST",
        code="another-journal",
    )

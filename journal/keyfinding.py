"""Finds a journal's id and key, proved by what was sealed with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from journal import keys
from journal.controls import decode
from journal.errors import CorruptError, KeyMissing
from journal.model import REGISTRY_ID
from journal.registry import Registry
from journal.seal import derive_key

if TYPE_CHECKING:
    import os

    from journal.engine import Cursor

_ID: Final = re.compile("[0-9a-f]{32}")


def find_key(
    cursor: Cursor, where: str, key_file: str | os.PathLike[str] | None
) -> tuple[str, bytes]:
    """Return a journal's id and its key.

    Raises:
        KeyMissing: the key is not at hand, or is another journal's.
        CorruptError: the journal has lost its id.

    """
    for journal_id in _possible_ids(cursor, where):
        path = keys.key_path(journal_id, key_file)
        key = derive_key(keys.read_secret(path), journal_id)
        if Registry(key).has_sealed(cursor):
            return journal_id, key
    raise KeyMissing(
        f"the key at hand is not the key of {where}",
        hint="name this journal's own key file with JOURNAL_KEY_FILE",
        code="key-of-another-journal",
    )


def _possible_ids(cursor: Cursor, where: str) -> list[str]:
    """Return what the journal's id may be: as ``meta`` has it, and as its first entry."""
    found = cursor.execute(
        "SELECT CAST(value AS BLOB) FROM meta WHERE name = 'journal_id' UNION ALL "
        "SELECT body FROM entries WHERE session_id = ? AND seq = 1",
        (REGISTRY_ID,),
    ).fetchall()
    texts = [bytes(row[0] or b"") for row in found]
    ids = [str(decode(text).get("id", text.decode("ascii", "replace"))) for text in texts]
    known = [name for name in dict.fromkeys(ids) if _ID.fullmatch(name)]
    if not known:
        message = f"{where} has lost its journal id"
        raise CorruptError(message, hint="restore a backup", code="no-journal-id")
    return known

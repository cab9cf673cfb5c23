"""What a program's index said of a file, kept with the file's session, for the way back.

An index is advisory: what it names is nowhere believed, and what it says besides, such as
model, tokens and channel, is only kept. It is a sealed fact of the session, written again
when the index says something else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from journal import statements as sql
from journal.controls import decode, fact
from journal.migration.receipts import path_text
from journal.model import Row
from journal.writing import write

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.migration.planned import PlannedFile
    from journal.writing import Author

_CONTROL: Final = "index"

# By the file's path and the index's key for it.
Entries = dict[tuple[str, str], dict[str, Any]]


def known(cursor: Cursor, chain: Chain) -> Entries:
    """Return what indexes said of a session's files, the newest of each."""
    found: Entries = {}
    rows = cursor.execute(sql.controls_after(), (chain.session_id, 0)).fetchall()
    for row in map(Row._make, rows):
        facts = decode(row.body) if chain.sealer.status(row) == "sealed" else {}
        if facts.get("control") == _CONTROL:
            for key, entry in facts["entries"].items():
                found[facts["path"], key] = entry
    return found


def is_kept(cursor: Cursor, chain: Chain, each: PlannedFile) -> bool:
    """Whether the session has all that the index says of a file."""
    if not each.indexed:
        return True
    there, path = known(cursor, chain), path_text(each.path)
    return all(there.get((path, key)) == json.loads(text) for key, text in each.indexed)


def keep(cursor: Cursor, chain: Chain, author: Author, now_us: int, each: PlannedFile) -> None:
    """Seal what the index says of a file, unless the session has it; in the caller's transaction."""
    if not is_kept(cursor, chain, each):
        entries = {key: json.loads(text) for key, text in each.indexed}
        told = fact(_CONTROL, path=path_text(each.path), entries=entries)
        write(cursor, chain, author, now_us, facts=[told])

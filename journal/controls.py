"""Control entries: facts about a session, sealed like any line, never in a file.

A control entry's body is compact JSON whose ``control`` names the fact. The
registry, the reserved session ``journal:``, holds nothing else.

| fact | where | says |
|---|---|---|
| journal | registry | the journal's id, format and key fingerprint; its first entry |
| writer | registry | a writer's number, name and role |
| revoke | registry | a writer may not write any more, and why |
| session | registry | a session's number and key |
| names | registry | by what else a migrated session is called: index keys, a file's path and name |
| stray | session | rows that are not in the chain, or no longer whole |
| layout | session | the order of the lines in the session's file from here on |
| edit | session | what was done to the session's file that no line tells of |
| damage | session | what a power cut left in that file in the place of ours |
| mirror, unmirror | registry | that a session has a file, where, and that it has none any more |
| permit | registry | whether an external writer's entries are permitted |
| key, era | registry | that a key follows, and what stood when it began |
| claim, release | session | who holds the session from this epoch on; who let it go |
| resolution | session | which foreign entries were accepted or rejected, by whom and why |
| redacting | session | which lines a redaction is about to overwrite in the session's file, and where |
| index | session | what a program's index said of a migrated file, by the index's key |
| redaction | session | which lines were erased, what size they had, and why |
| unredacted | session | that a redaction was given up, and which lines were put back in the file |
"""

from __future__ import annotations

import json
from typing import Any, Final

from journal.lines import Line

FORMAT: Final = 1
CONTROL: Final = b"control"


def encode(control: str, **facts: Any) -> bytes:  # noqa: ANN401 - JSON values
    """Return the body of a control entry."""
    return json.dumps({"control": control, **facts}, separators=(",", ":")).encode()


def fact(control: str, **facts: Any) -> Line:  # noqa: ANN401 - JSON values
    """Return a control entry about to be written."""
    return Line(encode(control, **facts), b"", "control", control)


def decode(body: bytes | None) -> dict[str, Any]:
    """Return a control entry's facts; an unreadable body has none."""
    try:
        facts = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}

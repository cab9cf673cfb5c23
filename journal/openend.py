"""How a session's file ends: a last line without a line end must be ended by whatever comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal import statements as sql
from journal.controls import CONTROL, decode
from journal.model import Row
from journal.pages import PAGE

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.layout import Layout

# After these the last appended line may stand elsewhere.
_REORDERING: Final = ("layout", "resolution")


def tail_is_open(cursor: Cursor, chain: Chain) -> bool:
    """Whether the file's last line has no line end."""
    chain.load_facts(cursor)
    return ends_open(cursor, chain, chain.layout)


def ends_open(cursor: Cursor, chain: Chain, layout: Layout) -> bool:
    """Whether the last line of a layout has no line end."""
    for first, last in layout.spans(chain.head.seq, newest=True):
        up_to = last
        while first <= up_to:
            cursor.execute(sql.newest_rows(), (chain.session_id, up_to, PAGE))
            up_to = first - 1  # where they are fewer than a page there are no more
            # One by one: mostly it is the first.
            for count, row in enumerate(map(Row._make, iter(cursor.fetchone, None)), 1):
                if row.seq < first:
                    break
                if row.kind != CONTROL and chain.sealer.seal_holds(row):
                    return row.terminator == b""
                if count == PAGE:
                    up_to = row.seq - 1
    return False


def is_open_behind_controls(cursor: Cursor, chain: Chain) -> bool:
    """Whether the file's last line has no line end, where control entries came after it.

    What was appended last stands last, unless one of them gave the file another
    order. So not all facts of the session are read: a new process would need a
    second for tens of thousands of claims, with the write lock held.
    """
    up_to, limit = chain.head.seq, 8
    while rows := cursor.execute(sql.rows_before(), (chain.session_id, up_to, limit)).fetchall():
        for row in map(Row._make, rows):
            if row.seq < 1:
                return False  # below the first seq stand at most strays
            status = chain.sealer.status(row)
            if status == "stray":
                continue
            if row.kind != CONTROL:
                return row.terminator == b""
            if status != "sealed" or decode(row.body).get("control") in _REORDERING:
                return tail_is_open(cursor, chain)
        up_to, limit = rows[-1][2] - 1, PAGE
    return False

"""How much of a file a session holds already: told by the bytes, and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from journal.export import pages

if TYPE_CHECKING:
    from journal.export import Page
    from journal.migration.source import Source
    from journal.store import Store

Relation = Literal["equal", "beginning", "more", "other", "unsound"]


class Holding(NamedTuple):
    """A session beside a file.

    ``relation`` says what the session is to the file: "equal"; its "beginning",
    so that the rest can be appended; "more", the file being the session's
    beginning; an "other" history; or "unsound", for its rows do not verify. The
    counts are those of the compared lines; a line end that came late is none.
    """

    relation: Relation
    head_seq: int = 0
    first_seq: int = 0
    last_seq: int = 0
    bytes: int = 0
    lines: int = 0
    raw_lines: int = 0
    is_open: bool = False

    @property
    def is_done(self) -> bool:
        """Whether every byte of the file is in the session."""
        return self.relation in ("equal", "more")


NOTHING: Final = Holding("beginning")


def compare(store: Store, key: str, source: Source) -> Holding:
    """Compare a session's lines with a file, from the first byte on.

    If the session is the file's beginning, the source stands behind the part
    that is held, ready for the rest.
    """
    source.rewind()
    held = NOTHING._replace(head_seq=head_seq(store, key))
    otherwise: Relation = "other"
    for page in pages(store, key):
        if page.stepped_over:
            # A stray may never have been of the session; a line that differs tells.
            otherwise = "unsound"
            if any(each.status != "stray" for each in page.stepped_over):
                return held._replace(relation="unsound")
        data = page.data
        found = source.read_exactly(len(data))
        if found != data:
            is_start = data.startswith(found)
            return held._replace(relation="more" if is_start else otherwise)
        held = _with(held, page, len(data))
    return held if held.bytes < source.size else held._replace(relation="equal")


def head_seq(store: Store, key: str) -> int:
    """Return where a session's chain ends; 0 if there is no such session."""
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        return 0 if chain is None else store.fresh(chain).head.seq


def _with(held: Holding, page: Page, size: int) -> Holding:
    if not page.rows:
        return held
    lines, raw_lines, is_open = held.lines, held.raw_lines, held.is_open
    for row in page.rows:
        if not (is_open and not row.body):  # the line end of the line before it
            lines += 1
            raw_lines += row.kind == b"raw"
        is_open = row.terminator == b""
    return held._replace(
        first_seq=held.first_seq or page.rows[0].seq,
        last_seq=page.rows[-1].seq,
        bytes=held.bytes + size,
        lines=lines,
        raw_lines=raw_lines,
        is_open=is_open,
    )

"""How much of a file a session holds already: told by the bytes, and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from journal.export import every_page, pages
from journal.parts import goes_on, is_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.export import Page
    from journal.migration.source import Source
    from journal.model import Row
    from journal.store import Store

Relation = Literal["equal", "beginning", "more", "other", "unsound"]


class Holding(NamedTuple):
    """A session beside a file.

    ``relation`` says what the session is to the file: "equal"; its "beginning",
    so that the rest can be appended; "more", the file being the session's
    beginning; an "other" history; or "unsound", for its rows do not verify. The
    counts are those of the compared lines; a line end that came late is none, nor
    is each part of a long line. ``is_within`` says that it ends in the midst of one;
    ``as_file`` what its file is to this one, where its own order is another: no receipt
    can tell of that, so it counts as "more" or "other"; ``has_erased`` that it has other bytes than
    what stands for a line, where one was erased.
    """

    relation: Relation
    head_seq: int = 0
    first_seq: int = 0
    last_seq: int = 0
    bytes: int = 0
    lines: int = 0
    raw_lines: int = 0
    is_open: bool = False
    is_within: bool = False
    as_file: Relation = "beginning"
    has_erased: bool = False

    @property
    def is_done(self) -> bool:
        """Whether every byte of the file is in the session."""
        return self.relation in ("equal", "more")


NOTHING: Final = Holding("beginning")
# What a session that was rewritten since is to a file, for want of a layout of its own.
_REARRANGED: Final[dict[Relation, Relation]] = {"equal": "more", "beginning": "other"}


def compare(store: Store, key: str, source: Source) -> Holding:
    """Compare a session's lines with a file, from the first byte on.

    If the session is the file's beginning, the source stands behind the part
    that is held, ready for the rest. A line that was erased is any line of its size.
    """
    source.rewind()
    head_seq, is_plain = _head_of(store, key)
    held = _compared(pages(store, key), source, NOTHING._replace(head_seq=head_seq))
    held = held._replace(as_file=held.relation)
    if is_plain or not held.bytes:
        return held
    # Its file order is no range of entries, which is what a receipt tells of.
    return held._replace(relation=_REARRANGED.get(held.relation, held.relation))


def seems_erased(store: Store, key: str, source: Source) -> bool:
    """Whether a file begins with lines of the sizes that a session had, of which some were erased."""
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return False
        store.fresh(chain).load_facts(cursor)
        if not chain.redacted:
            return False
    source.rewind()
    held = _compared(every_page(store, key), source, NOTHING)
    return held.relation in ("equal", "more") or (held.relation == "beginning" and held.bytes > 0)


def _compared(found_pages: Iterator[Page], source: Source, held: Holding) -> Holding:
    otherwise: Relation = "other"
    for page in found_pages:
        if page.stepped_over:
            # A stray may never have been of the session; a line that differs tells.
            otherwise = "unsound"
            if any(each.status != "stray" for each in page.stepped_over):
                return held._replace(relation="unsound")
        data = page.data
        found = source.read_exactly(len(data))
        if found != data:
            told = _with_erased(found, page.rows)
            is_start = data.startswith(told)
            if is_start and not data.startswith(found):
                held = held._replace(has_erased=True)
            if told != data:
                return held._replace(relation="more" if is_start else otherwise)
        held = _with(held, page, len(data))
    return held if held.bytes < source.size else held._replace(relation="equal")


def _with_erased(found: bytes, rows: list[Row]) -> bytes:
    """Return what a file has, but where a line was erased what stands for it."""
    parts: list[bytes] = []
    at = 0
    for row in rows:
        body = row.body or b""
        end = at + len(body)
        line = found[at:end]
        is_it = row.salt is None and b"\n" not in line
        parts.append(body[: len(line)] if is_it else line)
        at = end + len(row.terminator)
        parts.append(found[end:at])
    return b"".join(parts)


def _head_of(store: Store, key: str) -> tuple[int, bool]:
    """Return where a session's chain ends, and whether its file order is its journal order."""
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return 0, True
        store.fresh(chain).load_facts(cursor)
        return chain.head.seq, chain.layout.is_plain


def _with(held: Holding, page: Page, size: int) -> Holding:
    if not page.rows:
        return held
    lines, raw_lines, is_open = held.lines, held.raw_lines, held.is_open
    for row in page.rows:
        if not goes_on(row.kind, row.body, is_open=is_open):
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
        is_within=is_within(row.kind, row.body or b"", row.terminator),
    )

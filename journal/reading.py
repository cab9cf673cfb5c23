"""Reads a session's lines in file order, each verified, a page at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal.explanation import counted
from journal.inspection import PAGE, entry_of, learn_erased
from journal.model import Entry
from journal.pages import MAX_SEQ, MIN_SEQ, is_full, page_before, page_of
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journal.model import Row
    from journal.store import Store

_FIRST_PAGE: Final = 64
_NO_LINES: Final = ("stray", "altered", "erased")


class Reading(list[Entry]):
    """Entries that were read, and in ``stepped_over`` the rows that could not be believed."""

    def __init__(self, entries: Iterable[Entry] = (), stepped_over: Iterable[Entry] = ()) -> None:
        super().__init__(entries)
        self.stepped_over = tuple(stepped_over)


def oldest(store: Store, key: str, after: int, stepped_over: list[Entry]) -> Iterator[Entry]:
    """Yield a session's lines of a greater seq, in file order, up to its present head.

    What does not verify goes to ``stepped_over``.
    """
    for first, last in _spans(store, key, after, newest=False):
        start = first
        while start <= last:
            page = _page(store, key, page_of, start, last, PAGE)
            for entry in page:
                yield from _sorted_out(entry, stepped_over)
            start = page[-1].seq + 1 if is_full(page, PAGE) else last + 1


def newest(store: Store, key: str, after: int, stepped_over: list[Entry]) -> Iterator[Entry]:
    """Yield a session's lines of a greater seq, from the file's end backwards."""
    size = _FIRST_PAGE
    for first, last in _spans(store, key, after, newest=True):
        end = last
        while first <= end:
            page = _page(store, key, page_before, end, size)
            for entry in page:
                if entry.seq >= first:
                    yield from _sorted_out(entry, stepped_over)
            end = page[-1].seq - 1 if is_full(page, size) else first - 1
            size = PAGE


def written_since(
    store: Store, key: str, after: int, stepped_over: list[Entry], limit: int
) -> tuple[list[Entry], int]:
    """Return a session's next lines in the order they were written, and the seq that was looked at.

    Layouts do not matter here: what was rewritten in the file was written once.
    """
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return [], after
        head = store.fresh(chain).head.seq
        if not chain.occupied and head <= after:
            return [], after
        chain.load_facts(cursor)
    rows: list[Entry] = []
    while after < head and not rows:
        page = _page(store, key, page_of, after + 1, head, limit)
        rows += [kept for entry in page for kept in _sorted_out(entry, stepped_over)]
        after = page[-1].seq if is_full(page, limit) else head
    if chain.occupied:
        # Only what is none: a line that was written behind the head meanwhile comes the next time.
        stepped_over += [each for each in _beyond(store, key, head) if each.trust in _NO_LINES]
    return rows, after


def _beyond(store: Store, key: str, head: int) -> list[Entry]:
    return _page(store, key, page_of, head + 1, MAX_SEQ, PAGE)


def _spans(store: Store, key: str, after: int, *, newest: bool) -> list[tuple[int, int]]:
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return []
        head = store.fresh(chain).head.seq
        chain.load_facts(cursor)
        spans = [*chain.layout.spans(head, newest=newest)]
        # Beyond the head, and below the first seq, lie at most strays: a reader is told of them.
        beyond = [(head + 1, MAX_SEQ), (MIN_SEQ, 0)] if chain.occupied else []
    spans = [(max(first, after + 1), last) for first, last in spans]
    return [*beyond, *spans] if newest else [*spans, *beyond]


def _page(store: Store, key: str, rows_of: Callable[..., list[Row]], *bounds: int) -> list[Entry]:
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return []
        rows = rows_of(cursor, chain.session_id, *bounds)
        learn_erased(cursor, chain, rows)
        writers = store.registry.writers
    return [entry_of(row, chain, writers) for row in rows]


def _sorted_out(entry: Entry, stepped_over: list[Entry]) -> Iterator[Entry]:
    # The seal is looked at first: a line whose kind was edited must not slip by as control.
    if entry.trust in _NO_LINES:
        stepped_over.append(entry)
    elif entry.kind != "control":
        yield entry


def tell(key: str, stepped_over: list[Entry]) -> None:
    """Say in the log that rows were stepped over: silence would be taken for success."""
    if stepped_over:
        log.warning(
            "%s: stepped over %s that could not be verified, the first at seq %d (%s): journal audit shows which",
            key,
            counted(len(stepped_over), "row"),
            stepped_over[0].seq,
            stepped_over[0].trust,
        )

"""A session's lines as its file would hold them, each verified on its way out.

Export is the way back: for a migrated file it gives the original bytes, and
behind them what was written since. It reads a page at a time and each page by
itself, so nothing stays open and memory does not grow with the session. Whoever wants the
bytes as they stand, and has them audited otherwise, may do without the verifying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import statements as sql
from journal.controls import CONTROL
from journal.errors import no_session
from journal.inspection import is_resolved, learn_erased
from journal.model import Row, check_key
from journal.pages import PAGE_BYTES, alike_page, bare_rows, page_of, sealed_page
from journal.sealing import alike, whole_alike, whole_lines

if TYPE_CHECKING:
    from typing import Self

    from journal.chain import Chain
    from journal.journal import Journal
    from journal.sealing import Alike
    from journal.store import Store

PAGE_ROWS: Final = 2000
FIRST_ROWS: Final = 16  # they tell whether what comes is more of the same


class SteppedOver(NamedTuple):
    """Rows that an export left out: from one seq to another, and what they are.

    ``status`` is "stray", "altered", "erased" or "missing", as an audit says it; whether
    they are ``settled`` says that somebody accepted or rejected these very rows.
    """

    first_seq: int
    last_seq: int
    status: str
    settled: bool = False


# Some lines' bytes, how many lines, and what was stepped over among them.
Piece = tuple[bytes, int, list[SteppedOver]]
PiecesOf = Callable[["Store", "Chain", int, int], Iterator[Piece]]


class Page(NamedTuple):
    """Some of a session's lines, in file order, and what was stepped over among them."""

    rows: list[Row]
    stepped_over: list[SteppedOver]

    @property
    def data(self) -> bytes:
        """The lines' exact bytes, line ends included."""
        return b"".join([part for row in self.rows for part in (row.body or b"", row.terminator)])


class Export:
    """The bytes of one session, to be iterated once.

    Attributes:
        key: the session's key.
        bytes: how many bytes were given so far.
        lines: how many entries they came from.
        stepped_over: the rows that could not be believed, and so are not in the
            bytes. Look at it after the last chunk; empty means all is there,
            where it was ``verified``.
        verified: whether each line is held against its seal.

    """

    def __init__(self, store: Store, key: str, *, verified: bool = True) -> None:
        self.key, self.verified = key, verified
        self.bytes = 0
        self.lines = 0
        self.stepped_over: list[SteppedOver] = []
        self._pieces = _pieces(store, key, _pieces_of if verified else _bare_pieces_of)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        while True:
            data, count, stepped_over = next(self._pieces)
            _extend(self.stepped_over, stepped_over)
            if count:
                self.bytes += len(data)
                self.lines += count
                return data

    @property
    def is_complete(self) -> bool:
        """Whether each line was verified so far, and nothing stepped over."""
        return self.verified and not self.stepped_over


def export(journal: Journal, key: str, *, verified: bool = True) -> Export:
    """Return an iterator over a session's bytes, in file order, up to its present head.

    Joined they are the session's file: for a migrated file the very bytes that
    were read, then what was written since. Each line is verified before it is
    given out. A row that does not verify is left out, and reported in the
    iterator's ``stepped_over``; nothing is left out silently.

    Args:
        journal: where from.
        key: of the session.
        verified: hold each line against its seal. Without it, which is several times as
            fast, lines come as they stand in the database, whoever put them there or changed
            them, and a gap is not seen; only the order, and what sealed entries name
            as no part of the session, are believed as ever.

    Raises:
        NotFoundError: there is no such session.

    """
    check_key(key)
    with journal.store.snapshot() as cursor:
        known = journal.store.find_chain(cursor, key)
    if known is None:
        raise no_session(key)
    return Export(journal.store, key, verified=verified)


def pages(store: Store, key: str) -> Iterator[Page]:
    """Yield the verified lines of a session up to its present head; none if there is none."""
    found = _spans(store, key)
    if found is None:
        return
    chain, spans, beyond = found
    for first, last in spans:
        yield from _pages_of(store, chain, first, last)
    if beyond:
        yield Page([], beyond)


def _pieces(store: Store, key: str, pieces_of: PiecesOf) -> Iterator[Piece]:
    """Yield what :func:`pages` does as bytes: with how many lines they are, and what was stepped over."""
    found = _spans(store, key)
    if found is None:
        return
    chain, spans, beyond = found
    for first, last in spans:
        yield from pieces_of(store, chain, first, last)
    if beyond:
        yield b"", 0, beyond


def _spans(store: Store, key: str) -> tuple[Chain, list[tuple[int, int]], list[SteppedOver]] | None:
    """Return a session's chain, the seqs in file order, and the strays that stand beyond them."""
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return None
        head = store.fresh(chain).head.seq
        chain.load_facts(cursor)
        spans = list(chain.layout.spans(head))
        beyond = [span for span in chain.occupied if not 0 < span[0] <= head]
    return chain, spans, [SteppedOver(*span, "stray") for span in beyond]


def every_page(store: Store, key: str) -> Iterator[Page]:
    """Yield all verified lines of a session in the order they were written, in its file or not."""
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return
        head = store.fresh(chain).head.seq
    yield from _pages_of(store, chain, 1, head)


def _pages_of(store: Store, chain: Chain, first: int, last: int) -> Iterator[Page]:
    while first <= last:
        with store.snapshot() as cursor:
            found = page_of(cursor, chain.session_id, first, last, PAGE_ROWS)
            learn_erased(cursor, chain, found)
        yield _judged(chain, found, first, last)
        first = found[-1].seq + 1 if found else last + 1


def _pieces_of(store: Store, chain: Chain, first: int, last: int) -> Iterator[Piece]:
    limit, shared = min(FIRST_ROWS, PAGE_ROWS), None
    while first <= last:
        if shared is not None:
            lines = _alike_lines(store, chain, first, last, shared)
            if lines:
                first += len(lines) // 2
                yield b"".join(lines), len(lines) // 2, []
                continue
        with store.snapshot() as cursor:
            found = sealed_page(cursor, chain.session_id, first, last, limit)
        lines = whole_lines(chain.sealer, found, first) if found else None
        limit, shared = PAGE_ROWS, alike(found) if lines and store.keeps_files else None
        if lines is None:  # one by one, to tell what is odd
            with store.snapshot() as cursor:
                rows = page_of(cursor, chain.session_id, first, last, PAGE_ROWS)
                learn_erased(cursor, chain, rows)
            page = _judged(chain, rows, first, last)
            first = rows[-1].seq + 1 if rows else last + 1
            yield page.data, len(page.rows), page.stepped_over
        else:
            first += len(found)
            found = []  # or they would be held as long as those like them come
            yield b"".join(lines), len(lines) // 2, []


def _alike_lines(
    store: Store, chain: Chain, first: int, last: int, shared: Alike
) -> list[bytes] | None:
    """Return the next lines, bodies and line ends in turn, if they are like those before and whole."""
    end = min(first + PAGE_ROWS - 1, last)
    with store.snapshot() as cursor:
        found = alike_page(cursor, chain.session_id, first, end, shared)
    return whole_alike(chain.sealer, shared, found, first)


def _bare_pieces_of(store: Store, chain: Chain, first: int, last: int) -> Iterator[Piece]:
    """Yield the lines as they stand; what is known to be odd, or has no bytes, as it is verified."""
    odd = [*chain.named, *chain.occupied]
    while first <= last:
        end = min(first + PAGE_ROWS - 1, last)
        is_odd = any(low <= end and high >= first for low, high in odd)
        found = None if is_odd else _bare_page(store, chain.session_id, first, end)
        if found is None:
            yield from _pieces_of(store, chain, first, end)
        else:
            data, count, end = found
            yield data, count, []
        first = end + 1


def _bare_page(
    store: Store, session_id: int, first: int, end: int
) -> tuple[bytes, int, int] | None:
    """Return lines, or as many of them as make 4 MiB, how many they are, and up to where; None if one has no bytes."""
    parts: list[bytes] = []
    size = 0
    with store.snapshot() as cursor:
        for body, terminator in bare_rows(cursor, session_id, first, end):
            if body is None:
                return None
            parts += (body, terminator)
            size += len(body)
            if size >= PAGE_BYTES:
                place = len(parts) // 2 - 1
                cursor.execute(sql.BARE_SEQ, (session_id, first, end, place))
                end = cursor.fetchone()[0]
                break
    return b"".join(parts), len(parts) // 2, end


def _judged(chain: Chain, found: list[Row], expected: int, last: int) -> Page:
    """Sort rows into lines and what is stepped over; a gap between them is something gone."""
    lines: list[Row] = []
    odd: list[SteppedOver] = []
    for row, status in chain.sealer.judge(found):
        if row.seq > expected:
            odd.append(SteppedOver(expected, row.seq - 1, "missing"))
        expected = row.seq + 1
        if status != "sealed":
            odd.append(SteppedOver(row.seq, row.seq, status, is_resolved(row, chain)))
        elif row.kind != CONTROL:
            lines.append(chain.sealer.whole(row))
    if not found and expected <= last:
        odd.append(SteppedOver(expected, last, "missing"))
    return Page(lines, odd)


def _extend(known: list[SteppedOver], more: list[SteppedOver]) -> None:
    """Add what was stepped over, neighbours of one sort as one range."""
    for each in more:
        last = known[-1] if known else None
        if last and last[2:] == each[2:] and last.last_seq + 1 == each.first_seq:
            known[-1] = last._replace(last_seq=each.last_seq)
        else:
            known.append(each)

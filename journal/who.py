"""Who: a session's attribution table. Who wrote what, for whom, and was it allowed?

Every row is told, also what a reader never gets: control entries, strays, altered
rows, and seqs at which something is gone. Each is judged by itself, as a fence
under the given policy would judge it if it arrived now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journal import policy as policies
from journal.errors import no_session
from journal.inspection import entry_of, gone, is_resolved
from journal.model import REGISTRY_KEY, check_key
from journal.pages import MAX_SEQ, MIN_SEQ, rows_of
from journal.verdict import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.journal import Journal
    from journal.model import Entry, Row
    from journal.policy import Policy
    from journal.store import Store

ACCEPTED: Final = "accepted"
# What the trust of an entry says that somebody has decided on.
_DECIDED: Final = ("accepted", "rejected")
_PAGE: Final = 500
_GAP: Final = 1000


class Attribution(NamedTuple):
    """One row of a session and what is made of it.

    ``judged`` is "accepted", or why a fence would call it a takeover; of what somebody
    has decided on "settled (accepted)" or "settled (rejected)". ``left_out`` says of a line
    that it is kept here, and was cut or rewritten out of the session's file.
    """

    entry: Entry
    judged: str
    settled: str | None = None
    left_out: bool = False

    @property
    def accepted(self) -> bool:
        """Whether a fence would accept it."""
        return self.judged == ACCEPTED or self.settled is not None


def who(
    journal: Journal, key: str, *, policy: str | Policy = "cotenant", after: int | None = None
) -> Iterator[Attribution]:
    """Yield every row of a session, oldest first, each attributed and judged.

    It reads a page at a time: nothing stays open, and a long session needs no memory.

    Raises:
        NotFoundError: there is no such session.
        EntryError: there is no such policy.

    """
    if key != REGISTRY_KEY:
        check_key(key)
    chosen = policies.resolve(policy)
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, key)
    if chain is None:
        raise no_session(key)
    return (
        Attribution(
            entry,
            f"settled ({settled})" if settled else reason_of(entry, None, chosen) or ACCEPTED,
            settled,
            left_out,
        )
        for entry, settled, left_out in _entries(
            journal.store, chain, MIN_SEQ if after is None else after + 1
        )
    )


def _entries(store: Store, chain: Chain, first: int) -> Iterator[tuple[Entry, str | None, bool]]:
    """Yield every row as an entry, what somebody has decided about it, and whether the file was rid of it."""
    expected = max(first, 1)
    while first <= MAX_SEQ:
        with store.snapshot() as cursor:
            store.fresh(chain).load_facts(cursor)
            page = _page(cursor, chain, first)
            found = [(entry_of(row, chain, store.registry.writers), row) for row in page]
            out = {*chain.layout.without(row.seq for row in page)}
        for entry, row in found:
            if entry.seq > expected and entry.trust != "stray":
                yield from ((each, None, False) for each in _missing(chain, expected, entry.seq))
            if entry.trust != "stray" or entry.seq == expected:
                expected = max(expected, entry.seq + 1)
            is_line = entry.kind != "control" and entry.trust not in ("stray", "erased")
            yield entry, _settled(entry, row, chain), is_line and entry.seq in out
        if len(page) < _PAGE:
            return
        first = page[-1].seq + 1


def decided(store: Store, key: str, seqs: Iterable[int]) -> dict[int, str]:
    """Return, of a session's rows at these seqs, which somebody has "accepted" or "rejected"."""
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return {}
        chain.load_facts(cursor)
        known = sorted({*seqs} & chain.resolved.keys())
        rows = [row for seq in known for row in rows_of(cursor, chain.session_id, seq, seq)]
        return {
            row.seq: f"{chain.resolved[row.seq].verdict}ed"
            for row in rows
            if is_resolved(row, chain)
        }


def _settled(entry: Entry, row: Row, chain: Chain) -> str | None:
    """Return what was decided about a foreign row, a stray by plain SQL included; or None."""
    if entry.trusted or not is_resolved(row, chain):
        return None
    return entry.trust if entry.trust in _DECIDED else f"{chain.resolved[row.seq].verdict}ed"


def _page(cursor: Cursor, chain: Chain, first: int) -> list[Row]:
    rows = rows_of(cursor, chain.session_id, first)
    return [row for _, row in zip(range(_PAGE), rows, strict=False)]


def _missing(chain: Chain, first: int, stop: int) -> Iterable[Entry]:
    """Yield what should stand before a sealed entry and does not; far gaps by their ends alone."""
    seqs = range(first, stop) if stop - first <= _GAP else (first, stop - 1)
    return (gone(chain, seq) for seq in seqs)

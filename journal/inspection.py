"""Reads rows and says what each is: an entry to trust, or a sort of oddity.

Nothing here decides; it turns rows into entries whose ``trust`` tells what a
seal could prove. The judging is :mod:`journal.verdict`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import statements as sql
from journal.model import Entry, Row
from journal.naming import digest_of
from journal.pages import MIN_SEQ, rows_of
from journal.seal import holds, row_digest
from journal.strays import Ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.model import Writer
    from journal.verdict import Mark

PAGE: Final = 256
_RESOLVED: Final = {"accept": "accepted", "reject": "rejected"}
# What plain SQL made of a row: decided on is such a row alone, by the digest of all of it.
BY_SQL: Final = ("stray", "altered")
# What is nothing but a line end waits for nobody; only a body's length is read.
_FOREIGN_BY_WRITER: Final = (
    "SELECT writer_id, count(*) FROM entries WHERE session_id = ? AND trusted = 0 "
    "AND (kind = 'control' OR body IS NULL OR length(body) > 0) GROUP BY writer_id"
)


class Unresolved(NamedTuple):
    """How many foreign entries of a session nobody resolved; there may be more where not ``is_all``."""

    entries: int
    is_all: bool = True


def entry_of(row: Row, chain: Chain, writers: Mapping[int, Writer]) -> Entry:
    """Return the row as an entry, its trust told by its seal and nothing else."""
    status: str = chain.sealer.status(row)
    writer = writers.get(row.writer_id)
    if status == "sealed":
        # Whether its writer was trusted is under the seal: a registry that was
        # damaged since must not turn an honest row into a foreign one.
        status = "asserted" if row.trusted == 1 else _foreign(row.seq, chain, writer)
    return Entry(
        session=chain.key,
        seq=row.seq,
        epoch=row.epoch,
        writer=f"writer {row.writer_id}" if writer is None else writer.name,
        role="unknown" if writer is None else writer.role,
        trust=status,
        kind=_text(row.kind) or "raw",
        origin=_text(row.origin) or "api",
        created_us=row.created_us,
        body=chain.sealer.whole(row).body,
        terminator=row.terminator,
        claim=row.claim,
        request_id=_text(row.request_id),
        run_id=_text(row.run_id),
        on_behalf_of=_text(row.on_behalf_of),
        instance_id=row.instance_id,
        recorder=_recorder(row, writers),
        row_id=row.id,
        redacted=row.body is None and row.seq in chain.redacted,
    )


def _foreign(seq: int, chain: Chain, writer: Writer | None) -> str:
    resolved = chain.resolved.get(seq)
    if resolved is not None:
        return _RESOLVED.get(resolved.verdict, "external")
    return "permitted" if writer is not None and writer.permitted else "external"


def learn_erased(cursor: Cursor, chain: Chain, rows: Iterable[Row]) -> None:
    """Learn what is on record of erased rows, for whoever reads page by page: one may be erased meanwhile."""
    if any(row.salt is None and row.seq not in chain.redacted for row in rows):
        chain.load_facts(cursor)


def is_resolved(row: Row, chain: Chain) -> bool:
    """Whether somebody has accepted or rejected this very row."""
    known = chain.resolved.get(row.seq)
    if known is None:
        return False
    if known.digest is None:
        # Of what was sealed; a row in its place is another, and so is one with another line in it.
        return holds(chain.sealer, row) and chain.sealer.status(row) != "altered"
    return known.digest == row_digest(row[1:]).hex()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _recorder(row: Row, writers: Mapping[int, Writer]) -> str | None:
    if row.recorder_id == row.writer_id:
        return None
    recorder = writers.get(row.recorder_id)
    return f"writer {row.recorder_id}" if recorder is None else recorder.name


def gone(chain: Chain, seq: int) -> Entry:
    """Return what stands for an entry that was there and is gone."""
    return Entry(
        session=chain.key,
        seq=seq,
        epoch=0,
        writer="nobody",
        role="external",
        trust="missing",
        kind="raw",
        origin="api",
        created_us=0,
        body=None,
        terminator=b"",
    )


def found_at(
    cursor: Cursor, chain: Chain, mark: Mark, writers: Mapping[int, Writer]
) -> list[Entry]:
    """Return what is wrong with the row a fence stands at; nothing if it is as it was.

    Where another sealed row stands in its place, what the fence knew is missing,
    and the honest row, written where a cut tail had been, is an arrival.
    """
    if mark.seq == 0:
        return []
    found = cursor.execute(sql.row_at(), (chain.session_id, mark.seq)).fetchone()
    if found is None:
        return [gone(chain, mark.seq)]
    row = Row._make(found)
    if row.seal == mark.seal and chain.sealer.status(row) == "sealed":
        return []  # no entry is made of what is as it was: a check comes by here after each commit
    entry = entry_of(row, chain, writers)
    if entry.trust in ("altered", "erased"):
        chain.load_facts(cursor)  # it may be on record, or decided on
        entry = entry_of(row, chain, writers)
    if entry.trust == "stray":
        return [entry._replace(trust="altered")]
    if row.seal != mark.seal:
        return [gone(chain, mark.seq), entry]
    is_open = entry.trust == "altered" and not is_resolved(row, chain)
    return [entry] if is_open or entry.trust == "erased" else []


def found_since(
    cursor: Cursor, chain: Chain, mark: Mark, writers: Mapping[int, Writer]
) -> Iterator[Entry]:
    """Yield what is wrong at a fence, all that stands after it, and what should and does not.

    Rows that were odd when it was raised, and are still the same, are not new
    and not yielded. The chain must be fresh.
    """
    beyond = _still_beyond(cursor, chain, mark)
    if mark.seq not in beyond:
        yield from found_at(cursor, chain, mark, writers)
    yield from found_after(cursor, chain, mark.seq, writers, beyond)


def found_after(
    cursor: Cursor,
    chain: Chain,
    seq: int,
    writers: Mapping[int, Writer],
    known: Ranges,
) -> Iterator[Entry]:
    """Yield all that stands after a seq but what is known, and what should stand and does not."""
    yield from _low_rows(cursor, chain, writers, known)
    expected, gaps = seq + 1, Ranges()
    knows_facts = False
    for row in rows_of(cursor, chain.session_id, seq + 1):
        if row.seq > expected:
            gaps.add(expected, row.seq - 1)
        expected = row.seq + 1
        entry = entry_of(row, chain, writers)
        if entry.trust != "asserted" and not knows_facts:
            # What was resolved is no foreign entry any more. Only then: a new process has
            # every claim of the session to read for it.
            chain.load_facts(cursor)
            entry, knows_facts = entry_of(row, chain, writers), True
        if entry.trust != "stray":
            # Honest writes take the first free seq: what is free below one is gone.
            yield from _missing(chain, gaps, known)
            gaps.clear()
        if row.seq not in known and not (entry.trust in BY_SQL and is_resolved(row, chain)):
            yield entry
    yield from _missing(chain, chain.odd.missing, known, seq)
    yield from _missing(chain, chain.replaced, known, seq)


def _low_rows(
    cursor: Cursor,
    chain: Chain,
    writers: Mapping[int, Writer],
    beyond: Ranges,
) -> Iterator[Entry]:
    for row in rows_of(cursor, chain.session_id, MIN_SEQ, 0):
        chain.load_facts(cursor)
        if row.seq not in beyond:
            yield entry_of(row, chain, writers)


def _missing(chain: Chain, gaps: Ranges, beyond: Ranges, after: int = 0) -> Iterator[Entry]:
    for first, last in gaps:
        for seq in range(max(first, after + 1), last + 1):
            if seq not in beyond:
                yield gone(chain, seq)


def _still_beyond(cursor: Cursor, chain: Chain, mark: Mark) -> Ranges:
    """Return the seqs of the fence's own strays, or none if they are not what they were."""
    if not mark.beyond:
        return Ranges()
    _, digest = digest_of(cursor, chain.session_id, mark.beyond)
    return Ranges(mark.beyond) if digest == mark.beyond_digest else Ranges()


def foreign_so_far(
    cursor: Cursor,
    chain: Chain,
    writers: Mapping[int, Writer],
    limit: int = 1000,
) -> list[Entry]:
    """Return the foreign entries of a session that nobody resolved, oldest first, up to a limit."""
    chain.load_facts(cursor)
    spans = Ranges([*chain.named, *chain.occupied])
    # What was resolved is not told, so it must not use the limit up either.
    enough = limit + len(chain.resolved)
    for (seq,) in cursor.execute(sql.foreign_seqs(), (chain.session_id, enough)).fetchall():
        spans.add(seq)
    found: list[Entry] = []
    for first, last in spans:
        for row in rows_of(cursor, chain.session_id, first, last):
            entry = entry_of(row, chain, writers)
            if not (entry.trusted or entry.is_line_end or is_resolved(row, chain)):
                found.append(entry)
            if len(found) >= limit:
                return found
    return found


def foreign_by_writer(cursor: Cursor, session_id: int) -> Counter[int]:
    """Return how many rows of a session say that they are foreign, by writer; nothing is verified."""
    return Counter(dict(cursor.execute(_FOREIGN_BY_WRITER, (session_id,)).fetchall()))


def unresolved_by_writer(cursor: Cursor, chain: Chain) -> Counter[int]:
    """Return the same without what somebody accepted or rejected."""
    counts = foreign_by_writer(cursor, chain.session_id)
    chain.load_facts(cursor)
    for seq in chain.resolved if counts else ():
        found = cursor.execute(sql.row_at(), (chain.session_id, seq)).fetchone()
        row = None if found is None else Row._make(found)
        if row is not None and _says_foreign(row) and is_resolved(row, chain):
            counts[row.writer_id] -= 1
    return counts


def count_unresolved(
    cursor: Cursor, chain: Chain, writers: Mapping[int, Writer], most: int = 1000
) -> Unresolved:
    """Count what waits for somebody to decide: what is permitted does not.

    Rows that plain SQL put there are looked at one by one, and of these so many at most.
    """
    permitted = {each.id for each in writers.values() if each.permitted}
    by_writer = unresolved_by_writer(cursor, chain)
    count = sum(number for writer, number in by_writer.items() if writer not in permitted)
    odd = 0
    for first, last in Ranges([*chain.named, *chain.occupied]):
        for row in rows_of(cursor, chain.session_id, first, last):
            if odd == most:
                return Unresolved(count + odd, is_all=False)
            if not (_says_foreign(row) and row.writer_id not in permitted):
                entry = entry_of(row, chain, writers)
                odd += not (entry.trusted or entry.is_line_end or is_resolved(row, chain))
    return Unresolved(count + odd)


def _says_foreign(row: Row) -> bool:
    """Whether a row counts as foreign by what it says."""
    return row.trusted == 0 and (row.kind == b"control" or row.body != b"")

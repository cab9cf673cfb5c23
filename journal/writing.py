"""One write: identity checked, head moved, rows sealed, in the caller's transaction."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import statements as sql
from journal.chain import Chain, Head, rows_of
from journal.controls import CONTROL, encode
from journal.errors import CorruptError, EntryError
from journal.model import Entry, Row, Writer
from journal.seal import SALT_SIZE, commitment, row_digest
from journal.strays import RANGES_PER_FACT, ROWS_PER_FACT, Oddities, Oddity, Ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journal.engine import Cursor
    from journal.lines import Line

KEEP: Final = -1


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: a declared writer, in one process, for whom, and by which right.

    ``claim`` is the token of the turn that writes, or None. ``recorder_id`` is
    the writer whose key seals: another's than the writer's own only for inputs
    and parked lines.
    """

    writer: Writer
    instance_id: int
    claim: int | None = None
    run_id: str | None = None
    on_behalf_of: str | None = None
    recorder_id: int | None = None


class Item(NamedTuple):
    """What becomes one entry."""

    kind: bytes
    body: bytes
    terminator: bytes
    line_type: str | None
    line_id: str | None
    parent_id: str | None
    request_id: str | None = None


def fact(control: str, **facts: Any) -> Item:  # noqa: ANN401 - JSON values
    """Return a control entry about to be written."""
    return Item(CONTROL, encode(control, **facts), b"", control, None, None)


def _item(line: Line, request_id: str | None) -> Item:
    return Item(
        line.kind.encode(),
        line.body,
        line.terminator,
        line.line_type,
        line.line_id,
        line.parent_id,
        request_id,
    )


# What ends a line that a file left open: an entry that is only a line end.
_LINE_END: Final = Item(b"raw", b"", b"\n", None, None, None)


def write(  # noqa: PLR0913 - a write has this many sides
    cursor: Cursor,
    chain: Chain,
    author: Author,
    now_us: int,
    *,
    lines: Sequence[Line] = (),
    facts: Sequence[Item] = (),
    origin: str = "api",
    request_id: str | None = None,
    claim: int | None = KEEP,
) -> list[Entry]:
    """Write one session's entries at once and return them, lines and facts alike.

    The chain must be fresh and the transaction a writing one. Odd rows that the
    write steps over are named first, in the same epoch. Nothing is checked here
    but that each statement did what it says; the caller has checked who may.

    Raises:
        CorruptError: the database answered that it did something else.

    """
    naming = list(name_oddities(cursor, chain))
    items = [*naming, *facts]
    if lines and chain.open_tail:
        items.append(_LINE_END)
    items += [_item(line, request_id) for line in lines]
    standing = chain.head.claim if claim == KEEP else claim
    trusted = author.writer.role != "external"
    before = chain.head
    sealed = list(_sealed(chain, author, items, now_us, origin, standing))
    chain.head = _head_of(sealed[-1])
    if chain.examined == before.seq and trusted and not naming:
        chain.examined = chain.head.seq
    _advance(cursor, chain)
    _insert(cursor, sealed)
    if lines:
        chain.open_tail = lines[-1].terminator == b""
    if naming:
        _remember_named(chain)
    for statement, values in chain.waiting:
        cursor.execute(statement, values)
    return [_entry(chain, author, row) for row in sealed]


class Sealed(NamedTuple):
    """A new row, in the table's order but for its automatic id."""

    session_id: int
    seq: int
    epoch: int
    writer_id: int
    instance_id: int
    recorder_id: int
    claim: int | None
    kind: str
    trusted: int
    origin: str
    request_id: str | None
    run_id: str | None
    on_behalf_of: str | None
    created_us: int
    cum_bytes: int
    terminator: bytes
    salt: bytes
    commitment: bytes
    key_id: int
    prev: bytes
    seal: bytes
    line_type: str | None
    line_id: str | None
    parent_id: str | None
    body: bytes


def _sealed(  # noqa: PLR0913
    chain: Chain,
    author: Author,
    items: Sequence[Item],
    now_us: int,
    origin: str,
    standing: int | None,
) -> Iterator[Sealed]:
    sealer, head = chain.sealer, chain.head
    prev, cum_bytes, epoch = head.seal[:16], head.cum_bytes, head.epoch + 1
    writer_id, instance_id = author.writer.id, author.instance_id
    recorder_id = author.recorder_id or writer_id
    trusted = 0 if author.writer.role == "external" else 1
    run_id, on_behalf_of = author.run_id, author.on_behalf_of
    run_bytes, behalf_bytes = _bytes(run_id), _bytes(on_behalf_of)
    origin_bytes = origin.encode()
    for seq, item in zip(chain.next_seqs(len(items)), items, strict=True):
        kind, body, terminator, line_type, line_id, parent_id, request_id = item
        if kind != CONTROL:
            cum_bytes += len(body) + len(terminator)
        salt = os.urandom(SALT_SIZE)
        committed = commitment(salt, body, terminator)
        seal = sealer.seal(
            prev, seq, epoch, writer_id, instance_id, recorder_id, trusted, now_us, cum_bytes, committed,
            standing, kind, origin_bytes, run_bytes, behalf_bytes, _bytes(request_id),
        )  # fmt: skip
        yield Sealed(
            sealer.session_id, seq, epoch, writer_id, instance_id, recorder_id, standing,
            kind.decode(), trusted, origin, request_id, run_id, on_behalf_of, now_us, cum_bytes,
            terminator, salt, committed, sealer.key_id, prev, seal, line_type, line_id, parent_id, body,
        )  # fmt: skip
        prev = seal[:16]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _head_of(row: Sealed) -> Head:
    return Head(row.seq, row.epoch, row.seal, row.cum_bytes, row.claim)


def _advance(cursor: Cursor, chain: Chain) -> None:
    head, found = chain.head, chain.found_seq
    if chain.odd.projection is not None:
        _repair_projection(cursor, chain)
        found = chain.found_seq
    cursor.execute(
        sql.advance(),
        (
            head.seq,
            head.epoch,
            head.cum_bytes,
            chain.examined,
            chain.sealer.examined_mac(chain.examined),
            chain.session_id,
            found,
        ),
    )
    if cursor.rowcount != 1:
        message = f"the head of {chain.key!r} did not move"
        raise CorruptError(message, hint="journal audit", code="head-not-moved")
    chain.found_seq = head.seq


def _repair_projection(cursor: Cursor, chain: Chain) -> None:
    """Give the session its row back: under its own id and key, whatever stands there."""
    cursor.execute(
        "UPDATE sessions SET key = 'displaced:' || id || ':' || hex(randomblob(8)) WHERE key = ? AND id <> ?",
        (chain.key, chain.session_id),
    )
    cursor.execute("UPDATE sessions SET key = ? WHERE id = ?", (chain.key, chain.session_id))
    if cursor.rowcount == 0:
        cursor.execute(sql.INSERT_PROJECTION, (chain.session_id, chain.key, 0, 0, 0, 0, b"", 0, 0))
        chain.found_seq = 0


def _insert(cursor: Cursor, rows: list[Sealed]) -> None:
    if len(rows) == 1:
        cursor.execute(sql.INSERT_ENTRY, rows[0])
    else:
        cursor.executemany(sql.INSERT_ENTRY, rows)
    if cursor.rowcount != len(rows):
        message = f"{len(rows)} rows were to be written, the database says {cursor.rowcount}"
        raise CorruptError(message, hint="journal audit", code="rows-swallowed")


def name_oddities(cursor: Cursor, chain: Chain) -> Iterator[Item]:
    """Yield the control entries that name what the chain steps over, in bounded chunks."""
    if not chain.odd:
        return
    projection = chain.odd.projection
    for sort, ranges in chain.odd.sorts():
        for chunk in _chunks(ranges):
            named = _described(cursor, chain, sort, chunk)
            yield fact("stray", rows=[named.as_json()], projection=projection)
            projection = None
    if projection is not None:
        yield fact("stray", rows=[], projection=projection)


def _chunks(ranges: Ranges) -> Iterator[list[tuple[int, int]]]:
    chunk: list[tuple[int, int]] = []
    size = 0
    for first, last in ranges:
        for start in range(first, last + 1, ROWS_PER_FACT):
            stop = min(last, start + ROWS_PER_FACT - 1)
            if chunk and (len(chunk) == RANGES_PER_FACT or size + stop - start + 1 > ROWS_PER_FACT):
                yield chunk
                chunk, size = [], 0
            chunk.append((start, stop))
            size += stop - start + 1
    if chunk:
        yield chunk


def _described(cursor: Cursor, chain: Chain, sort: str, chunk: list[tuple[int, int]]) -> Oddity:
    count, digest = digest_of(cursor, chain.session_id, chunk)
    if sort == "missing":
        return Oddity(sort, tuple(chunk), sum(last - first + 1 for first, last in chunk))
    return Oddity(sort, tuple(chunk), count, digest)


def digest_of(
    cursor: Cursor, session_id: int, ranges: Sequence[tuple[int, int]]
) -> tuple[int, str]:
    """Count the rows in these ranges and return one digest over all their columns but id."""
    digests = [
        row_digest(row[1:])
        for first, last in ranges
        for row in rows_of(cursor, session_id, first, last)
    ]
    return len(digests), row_digest(digests).hex()


def _remember_named(chain: Chain) -> None:
    # New objects, for a rollback puts the old ones back.
    named = chain.named.copy()
    for _, ranges in chain.odd.sorts():
        named.update(ranges)
    chain.named, chain.odd = named, Oddities()


def _entry(chain: Chain, author: Author, row: Sealed) -> Entry:
    return Entry(
        session=chain.key,
        seq=row.seq,
        epoch=row.epoch,
        writer=author.writer.name,
        role=author.writer.role,
        trust="asserted" if row.trusted else "external",
        kind=row.kind,
        origin=row.origin,
        created_us=row.created_us,
        body=row.body,
        terminator=row.terminator,
        claim=row.claim,
        request_id=row.request_id,
        run_id=row.run_id,
        on_behalf_of=row.on_behalf_of,
        instance_id=row.instance_id,
    )


def same_lines(rows: Sequence[Row], lines: Sequence[Line]) -> bool:
    """Whether these sealed rows hold just these lines; an erased row matches any."""
    if len(rows) != len(lines):
        return False
    return all(
        row.salt is None or commitment(row.salt, line.body, line.terminator) == row.commitment
        for row, line in zip(rows, lines, strict=True)
    )


def reused(request_id: str) -> EntryError:
    """Return the refusal of a request id that was used for other lines."""
    return EntryError(
        f"request {request_id!r} was already written with other lines",
        hint="use a new request id for new lines",
        code="request-reused",
    )

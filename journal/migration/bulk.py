"""Write many lines at once: the same rows as any write, sealed in one tight loop.

A migration writes millions of lines, and nobody waits for the entries; so none
are made. Where anything odd stands in the session the ordinary write is used,
which names it first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from journal import statements as sql
from journal.chain import Head
from journal.errors import CorruptError
from journal.seal import SALT_SIZE, commitment
from journal.writing import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.writing import Author


def write_lines(  # noqa: PLR0913 - a write has this many sides
    cursor: Cursor,
    chain: Chain,
    author: Author,
    now_us: int,
    lines: Sequence[Line],
    *,
    goes_on: bool = False,
) -> int:
    """Write lines of a file as one write; return the first one's seq.

    The chain must be fresh and the transaction a writing one. ``goes_on`` says that
    the first line is more of the session's last one, which the file left open there.

    Raises:
        CorruptError: the database answered that it did something else.

    """
    if goes_on:
        chain.open_tail = False  # nothing is fused: the file says what comes, its line end too
    if chain.is_odd or chain.occupied or chain.open_tail:
        entries = write(cursor, chain, author, now_us, lines=lines, origin="file")
        return entries[-len(lines)].seq
    before = chain.head
    rows, chain.head = _sealed(chain, author, now_us, lines)
    if chain.examined == before.seq:
        chain.examined = chain.head.seq
    _advance(cursor, chain, before)
    cursor.executemany(sql.INSERT_ENTRY, rows)
    _check(cursor.rowcount, len(rows), chain)
    chain.open_tail = lines[-1].terminator == b""
    return before.seq + 1


def _sealed(
    chain: Chain, author: Author, now_us: int, lines: Sequence[Line]
) -> tuple[list[tuple[Any, ...]], Head]:
    """Return the rows, in the order of the insert, and the head after them."""
    head, seal_of = chain.head, chain.sealer.seal
    session_id, key_id, claim = chain.session_id, chain.sealer.key_id, head.claim
    writer_id, instance_id = author.writer.id, author.instance_id
    seq, epoch, cum_bytes, seal = head.seq, head.epoch + 1, head.cum_bytes, head.seal
    kinds = {"line": b"line", "raw": b"raw", "part": b"part"}
    salts = os.urandom(SALT_SIZE * len(lines))
    rows = []
    for at, (body, end, kind, line_type, line_id, parent_id) in enumerate(lines):
        seq += 1
        cum_bytes += len(body) + len(end)
        salt = salts[at * SALT_SIZE : at * SALT_SIZE + SALT_SIZE]
        held, prev = commitment(salt, body, end), seal[:16]
        seal = seal_of(
            prev, seq, epoch, writer_id, instance_id, writer_id, 1, now_us, cum_bytes, held,
            claim, kinds[kind], b"file", None, None, None,
        )  # fmt: skip
        rows.append((
            session_id, seq, epoch, writer_id, instance_id, writer_id, claim, kind, 1, "file",
            None, None, None, now_us, cum_bytes, end, salt, held, key_id, prev, seal,
            line_type, line_id, parent_id, body,
        ))  # fmt: skip
    return rows, Head(seq, epoch, seal, cum_bytes, claim)


def _advance(cursor: Cursor, chain: Chain, before: Head) -> None:
    head = chain.head
    mac = chain.sealer.examined_mac(chain.examined)
    cursor.execute(
        sql.advance(),
        (head.seq, head.epoch, head.cum_bytes, chain.examined, mac, chain.session_id, before.seq),
    )
    _check(cursor.rowcount, 1, chain)
    chain.found_seq = head.seq


def _check(done: int, meant: int, chain: Chain) -> None:
    if done != meant:
        raise CorruptError(
            f"{meant} rows of {chain.key!r} were to be written, the database says {done}",
            hint="journal audit",
            code="rows-swallowed",
        )

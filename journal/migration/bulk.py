"""Write many lines at once: the same rows as any write, sealed in one tight loop.

A migration writes millions of lines, and nobody waits for the entries; so none
are made. Where anything odd stands in the session the ordinary write is used,
which names it first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal import statements as sql
from journal.dialects.bulk import add_entries
from journal.dialects.postgres import Cursor as ServerCursor
from journal.errors import CorruptError
from journal.fields import DIGEST_SIZE, PREV_SIZE, SALT_SIZE
from journal.migration.chunks import Packed
from journal.sealing import Basis, Sealed, sealed_bodies, sealed_lines
from journal.writing import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from journal.chain import Chain, Head
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.seal import Sealer
    from journal.writing import Author

# Rows made inside SQLite, out of a few values for all of them: to bind 25 values for each
# row takes as long as to store it, and while SQLite is at it another thread can go on.
# JSON carries what differs in size: type, id and parent, where the body begins, its length.
_INSERT_PLAIN: Final = """
INSERT INTO entries(
    session_id, seq, epoch, writer_id, instance_id, recorder_id, claim, kind, trusted, origin,
    request_id, run_id, on_behalf_of, created_us, cum_bytes, terminator, salt, commitment, key_id,
    prev, seal, line_type, line_id, parent_id, body
)
SELECT
    ?1, ?2 + n, ?3, ?4, ?5, ?4, ?6, 'line', 1, 'file',
    NULL, NULL, NULL, ?7, ?8 + start + size + 1, x'0a', substr(?9, n * 16 + 1, 16),
    substr(?10, n * 32 + 1, 32), ?11, substr(?12, n * 32 + 1, 16), substr(?12, n * 32 + 33, 32),
    type, name, parent, substr(?13, start + 1, size)
FROM (
    SELECT key AS n, value ->> 0 AS type, value ->> 1 AS name, value ->> 2 AS parent,
        value ->> 3 AS start, value ->> 4 AS size
    FROM json_each(?14) LIMIT -1 OFFSET 0
)
"""


def basis_of(chain: Chain, author: Author) -> Basis:
    """Return what the next write's seals follow from."""
    sealer = chain.sealer
    return Basis(chain.session_id, sealer.key_id, chain.head, author.writer.id, author.instance_id)


def write_lines(  # noqa: PLR0913 - a write has this many sides
    cursor: Cursor,
    chain: Chain,
    author: Author,
    now_us: int,
    lines: Packed | list[Line],
    *,
    goes_on: bool = False,
    sealed: Sealed | None = None,
    meanwhile: Callable[[Basis], None] = lambda _: None,
) -> int:
    """Write lines of a file as one write; return the first one's seq.

    The chain must be fresh and the transaction a writing one.

    Args:
        cursor: of the transaction.
        chain: of the session.
        author: who writes.
        now_us: the time, if the lines are not sealed yet.
        lines: at least one; packed, if all are plain.
        goes_on: the first line is more of the session's last one, which the file left open there.
        sealed: the lines' seals, made ahead; used if they hold for the chain as it stands.
        meanwhile: called before the rows are stored, with what the write after them follows from.

    Raises:
        CorruptError: the database answered that it did something else.

    """
    if goes_on:
        chain.open_tail = False  # nothing is fused: the file says what comes, its line end too
    before = chain.head
    is_odd = chain.is_odd or chain.occupied or chain.open_tail
    if is_odd or before.seq < chain.sealer.until:
        alone = _alone(lines)
        entries = write(cursor, chain, author, now_us, lines=alone, origin="file")
        return entries[-len(alone)].seq
    basis = basis_of(chain, author)
    if sealed is None or sealed.basis != basis:
        sealed = _sealed(chain.sealer, basis, now_us, lines)
    chain.head = sealed.head
    if chain.examined == before.seq:
        chain.examined = chain.head.seq
    _advance(cursor, chain, before)
    # Not before: whoever works meanwhile has Python's lock as long as this thread lets go of it,
    # and a short statement would wait for the lock longer than it takes itself.
    meanwhile(basis._replace(head=sealed.head))
    done = _insert(cursor, sealed, lines)
    _check(done, chain.head.seq - before.seq, chain)
    chain.open_tail = not isinstance(lines, Packed) and lines[-1].terminator == b""
    return before.seq + 1


def _sealed(sealer: Sealer, basis: Basis, now_us: int, lines: Packed | list[Line]) -> Sealed:
    if isinstance(lines, Packed):
        return sealed_bodies(sealer, basis, now_us, lines.bodies())
    return sealed_lines(sealer, basis, now_us, lines)


def _alone(lines: Packed | list[Line]) -> list[Line]:
    return lines.lines() if isinstance(lines, Packed) else lines


def _insert(cursor: Cursor, sealed: Sealed, lines: Packed | list[Line]) -> int:
    """Store the rows; return how many the database says it has stored."""
    if isinstance(cursor, ServerCursor):
        return add_entries(cursor, _rows(sealed, _alone(lines)))
    if isinstance(lines, Packed):
        cursor.execute(_INSERT_PLAIN, _values(sealed, lines))
    else:
        cursor.executemany(sql.INSERT_ENTRY, _rows(sealed, lines))
    return cursor.rowcount


def _values(sealed: Sealed, packed: Packed) -> tuple[Any, ...]:
    session_id, key_id, head, writer_id, instance_id = sealed.basis
    return (
        session_id, head.seq + 1, head.epoch + 1, writer_id, instance_id, head.claim,
        sealed.now_us, head.cum_bytes, sealed.salts, sealed.commitments, key_id,
        head.seal + sealed.seals, packed.data, packed.told,
    )  # fmt: skip


def _rows(sealed: Sealed, lines: Sequence[Line]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, in the order of the insert."""
    session_id, key_id, head, writer_id, instance_id = sealed.basis
    seq, epoch, seal, cum_bytes, claim = head
    seals, salts = _cut(sealed.seals, DIGEST_SIZE), _cut(sealed.salts, SALT_SIZE)
    held = _cut(sealed.commitments, DIGEST_SIZE)
    for line, salt, commitment, next_seal in zip(lines, salts, held, seals, strict=True):
        body, end, kind, line_type, line_id, parent_id = line
        seq += 1
        cum_bytes += len(body) + len(end)
        yield (
            session_id, seq, epoch + 1, writer_id, instance_id, writer_id, claim, kind, 1, "file",
            None, None, None, sealed.now_us, cum_bytes, end, salt, commitment, key_id,
            seal[:PREV_SIZE], next_seal, line_type, line_id, parent_id, body,
        )  # fmt: skip
        seal = next_seal


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


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

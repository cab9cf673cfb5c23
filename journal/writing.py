"""One write: identity checked, head moved, rows sealed, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import statements as sql
from journal.chain import Chain, Head
from journal.errors import CorruptError
from journal.fields import PREV_SIZE
from journal.lines import Line
from journal.model import Entry, Writer
from journal.naming import name_oddities
from journal.seal import commitment
from journal.strays import Oddities

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journal.engine import Cursor

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

    @property
    def trusted(self) -> int:
        """What the ``trusted`` column of its rows says: 0 for external writers."""
        # No bool: the drivers look for an adapter for one, in vain, for 4 us each time.
        return 0 if self.writer.role == "external" else 1


# What ends a line that a file left open: an entry that is only a line end.
LINE_END: Final = Line(b"", b"\n", "raw")


def write(  # noqa: PLR0913 - a write has this many sides
    cursor: Cursor,
    chain: Chain,
    author: Author,
    now_us: int,
    *,
    lines: Sequence[Line] = (),
    facts: Sequence[Line] = (),
    origin: str = "api",
    request_id: str | None = None,
    claim: int | None = KEEP,
    closing: Callable[[Sequence[int], int], Line] | None = None,
) -> list[Entry]:
    """Write one session's entries at once and return them, facts first.

    ``closing`` makes one more control entry, to stand last: it is given the
    seqs that the lines get, and its own.

    The chain must be fresh and the transaction a writing one. Odd rows that the
    write steps over are named first, in the same epoch. Nothing is checked here
    but that each statement did what it says; the caller has checked who may.

    Raises:
        CorruptError: the database answered that it did something else.

    """
    ahead = [*name_oddities(cursor, chain), *facts] if chain.is_odd else list(facts)
    if lines and chain.open_tail and lines[0].body:
        ahead.append(LINE_END)
    lines_and_last = lines
    if closing is not None:
        seqs = chain.next_seqs(len(ahead) + len(lines) + 1)
        lines_and_last = [*lines, closing(seqs[len(ahead) : -1], seqs[-1])]
    standing = chain.head.claim if claim == KEEP else claim
    before = chain.head.seq
    is_lines = not (facts or closing or chain.is_odd)
    knew_facts = chain.knows_facts
    batch = [*ahead, *lines_and_last]
    made = _sealed(chain, author, batch, len(ahead), now_us, origin, standing, request_id)
    chain.head = made.head
    if is_lines and knew_facts:
        chain.facts_head = made.head.seal  # lines say nothing of the session
    if chain.examined == before and author.trusted and not chain.is_odd:
        chain.examined = made.head.seq
    _advance(cursor, chain)
    _insert(cursor, made.rows)
    if lines:
        chain.open_tail = lines[-1].terminator == b""
    if chain.is_crowded:
        chain.forget_passed()
    if chain.is_odd:
        _remember_named(chain)
    if closing is not None:
        chain.load_facts(cursor)
    return made.entries


def put_off(chain: Chain, author: Author, now_us: int, lines: Sequence[Line]) -> list[Entry]:
    """Seal lines with line ends as :func:`write` does, and leave them to :func:`write_out`; return their entries.

    For chains that :func:`journal.appending.is_plain`. Whoever writes many lines of many writes to one
    session saves the head's statement for all but one of them.
    """
    before = chain.head.seq
    made = _sealed(chain, author, lines, 0, now_us, "api", chain.head.claim, None)
    chain.head = made.head
    if chain.examined == before and author.trusted:
        chain.examined = made.head.seq
    chain.unwritten += made.rows
    return made.entries


def write_out(cursor: Cursor, chain: Chain) -> None:
    """Write the rows that were put off, the head first."""
    rows, chain.unwritten = chain.unwritten, []
    _advance(cursor, chain)
    _insert(cursor, rows)


class Made(NamedTuple):
    """New rows, in the table's order but for their automatic id; as entries; and the head they make."""

    rows: list[tuple[object, ...]]
    entries: list[Entry]
    head: Head


def _sealed(  # noqa: PLR0913 - what goes under the seal
    chain: Chain,
    author: Author,
    lines: Sequence[Line],
    unasked: int,
    now_us: int,
    origin: str,
    claim: int | None,
    request_id: str | None,
) -> Made:
    """Seal lines one after the other; the first ``unasked`` are ours and carry no request id.

    One loop with everything in local names, for this is the path of each append:
    after a sync the caches are cold, and a call costs a microsecond.
    """
    sealer, (_, epoch, prev, cum_bytes, _) = chain.sealer, chain.head
    key, session_id, key_id, seal_of = chain.key, sealer.session_id, sealer.key_id, sealer.seal
    name, role, trusted = author.writer.name, author.writer.role, author.trusted
    writer, instance_id, run_id, behalf = (
        author.writer.id, author.instance_id, author.run_id, author.on_behalf_of,
    )  # fmt: skip
    recorder = author.recorder_id or writer
    trust = "asserted" if trusted else "external"
    prev, epoch = prev[:PREV_SIZE], epoch + 1
    rows: list[tuple[object, ...]] = []
    entries: list[Entry] = []
    seal, seq = b"", 0
    for seq, line in zip(chain.next_seqs(len(lines)), lines, strict=True):
        body, end, kind, line_type, line_id, parent_id = line
        if kind != "control":
            cum_bytes += len(body) + len(end)
        request = request_id if len(rows) >= unasked else None
        salt = sealer.salt()
        committed = commitment(salt, body, end)
        seal = seal_of(
            prev, seq, epoch, writer, instance_id, recorder, trusted, now_us, cum_bytes,
            committed, claim, kind, origin, run_id, behalf, request, session_id, key_id,
        )  # fmt: skip
        rows.append((
            session_id, seq, epoch, writer, instance_id, recorder, claim, kind, trusted, origin,
            request, run_id, behalf, now_us, cum_bytes, end, salt, committed, key_id, prev, seal,
            line_type, line_id, parent_id, body,
        ))  # fmt: skip
        entries.append(Entry(
            key, seq, epoch, name, role, trust, kind, origin, now_us, body, end, claim, request,
            run_id, behalf, instance_id,
        ))  # fmt: skip
        prev = seal[:PREV_SIZE]
    return Made(rows, entries, Head(seq, epoch, seal, cum_bytes, claim))


def _advance(cursor: Cursor, chain: Chain) -> None:
    head, found = chain.head, chain.found_seq
    if chain.is_odd and chain.odd.projection is not None:
        _repair_projection(cursor, chain)
        found = chain.found_seq
    cursor.execute(
        sql.ADVANCE,
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
        raise not_moved(chain)
    chain.found_seq = head.seq


def _repair_projection(cursor: Cursor, chain: Chain) -> None:
    """Give the session its row back: under its own id and key, whatever stands there."""
    cursor.execute(
        "UPDATE sessions SET key = 'displaced:' || id || ':' || hex(randomblob(8)) WHERE key = ? AND id <> ?",
        (chain.key, chain.session_id),
    )
    cursor.execute("UPDATE sessions SET key = ? WHERE id = ?", (chain.key, chain.session_id))
    if cursor.rowcount == 0:
        chain.load_facts(cursor)
        row = (chain.session_id, chain.key, 0, 0, 0, 0, b"", chain.layout.no, chain.created_us)
        cursor.execute(sql.INSERT_PROJECTION, row)
        chain.found_seq = 0


def _insert(cursor: Cursor, rows: list[tuple[object, ...]]) -> None:
    if len(rows) == 1:
        cursor.execute(sql.INSERT_ENTRY, rows[0])
    else:
        cursor.executemany(sql.INSERT_ENTRY, rows)
    if cursor.rowcount != len(rows):
        raise swallowed(len(rows), cursor.rowcount)


def not_moved(chain: Chain) -> CorruptError:
    """Return the error of a head that the database did not move."""
    message = f"the head of {chain.key!r} did not move"
    return CorruptError(message, hint="journal audit", code="head-not-moved")


def swallowed(written: int, told: int) -> CorruptError:
    """Return the error of rows that the database did not take as they were written."""
    message = f"{written} rows were to be written, the database says {told}"
    return CorruptError(message, hint="journal audit", code="rows-swallowed")


def _remember_named(chain: Chain) -> None:
    # New objects, for a rollback puts the old ones back.
    named = chain.named.copy()
    for _, ranges in chain.odd.sorts():
        named.update(ranges)
    chain.named, chain.odd, chain.is_odd = named, Oddities(), False

"""One line appended in one stretch, as most lines are: to a chain that stands as this process left it.

It does what :func:`journal.writing.write` does for lines of any number and kind, to the last byte
(``tests/test_appending.py`` holds the two together), and nothing that this one line does not
need. Whatever is unusual, :func:`is_plain` says no, and the long way is taken. After each sync the
processor's caches are cold and a call costs a microsecond, so this is longer than
functions here are, and everything in it has a local name (docs/performance-profile.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal import statements as sql
from journal.chain import Head
from journal.fields import (
    DIGEST_SIZE,
    FIXED,
    INTEGER,
    LENGTH,
    MAC_SIZE,
    NUMBERS_SIZE,
    PREV_SIZE,
    TERMINATORS,
    variable,
)
from journal.model import Entry
from journal.seal import COMMITMENT, EXAMINED_TAG
from journal.writing import not_moved, swallowed

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.writing import Author

_ORIGIN: Final = "api"
_FULL: Final = 8  # in front of 8 bytes of a number
_new: Final = tuple.__new__  # a named tuple without the call of its own constructor


def is_plain(chain: Chain, author: Author, generation: int) -> bool:
    """Whether a write to the chain needs nothing but its own rows: nothing to learn, to name or to refuse."""
    return not (
        chain.generation != generation
        or chain.is_odd
        or chain.is_crowded
        or chain.open_tail
        or chain.waiting
        or author.claim != chain.head.claim
        or chain.head.seq < chain.sealer.until
    )


def append_one(cursor: Cursor, chain: Chain, author: Author, now_us: int, line: Line) -> Entry:
    """Seal a line as :func:`seal_one` does and write it; return its entry.

    Raises:
        CorruptError: the database answered that it did something else.

    """
    row, entry = seal_one(chain, author, now_us, line)
    head, sealer = chain.head, chain.sealer
    inner, outer = sealer.inner.copy(), sealer.outer.copy()
    inner.update(EXAMINED_TAG + INTEGER.pack(_FULL, chain.examined))
    outer.update(inner.digest())
    values = (
        head[0], head[1], head[3], chain.examined, outer.digest()[:MAC_SIZE], chain.session_id,
        chain.found_seq,
    )  # fmt: skip
    cursor.execute(sql.ADVANCE, values)
    if cursor.rowcount != 1:
        raise not_moved(chain)
    chain.found_seq = head[0]
    cursor.execute(sql.INSERT_ENTRY, row)
    if cursor.rowcount != 1:
        raise swallowed(1, cursor.rowcount)
    return entry


def seal_one(
    chain: Chain, author: Author, now_us: int, line: Line
) -> tuple[tuple[object, ...], Entry]:
    """Seal a line with a line end, the next of a chain that :func:`is_plain`; return its row and its entry.

    The chain has it for its head then. Before that its :class:`~journal.chain.Place` must
    be kept, for a rollback to put back.
    """
    body, end, kind, line_type, line_id, parent_id = line
    sealer, writer, instance_id = chain.sealer, author.writer, author.instance_id
    run_id, behalf, number = author.run_id, author.on_behalf_of, writer.id
    before, epoch, prev, cum_bytes, claim = chain.head
    seq, epoch, prev = before + 1, epoch + 1, prev[:PREV_SIZE]
    cum_bytes += len(body) + len(end)
    session_id, key_id = chain.session_id, sealer.key_id
    recorder, trusted = author.recorder_id or number, author.trusted

    salt, hashed = sealer.salt(), COMMITMENT.copy()
    hashed.update(b"".join((salt, LENGTH.pack(len(body)), body, TERMINATORS[end])))
    committed = hashed.digest()
    hashed, outer = sealer.begun_seal.copy(), sealer.outer.copy()
    hashed.update(FIXED.pack(
        PREV_SIZE, prev, NUMBERS_SIZE, session_id, seq, epoch, number, instance_id, recorder,
        trusted, now_us, cum_bytes, key_id, DIGEST_SIZE, committed,
    ) + variable(claim, kind, _ORIGIN, run_id, behalf))  # fmt: skip
    outer.update(hashed.digest())
    seal = outer.digest()
    chain.head = _new(Head, (seq, epoch, seal, cum_bytes, claim))
    if trusted and chain.examined == before:
        chain.examined = seq
    row = (
        session_id, seq, epoch, number, instance_id, recorder, claim, kind, trusted, _ORIGIN, None,
        run_id, behalf, now_us, cum_bytes, end, salt, committed, key_id, prev, seal, line_type,
        line_id, parent_id, body,
    )  # fmt: skip
    values = (
        chain.key, seq, epoch, writer.name, writer.role, "asserted" if trusted else "external", kind,
        _ORIGIN, now_us, body, end, claim, None, run_id, behalf, instance_id, None, None, False,
    )  # fmt: skip
    return row, _new(Entry, values)

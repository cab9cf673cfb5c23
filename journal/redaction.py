"""Redaction: a line's bytes are erased wherever the journal keeps them, and that it was done is sealed.

The chain covers a salted commitment and never the line itself: with the line and
its salt gone everything still verifies, and nobody can test a guess. What a copy
outside the journal still holds cannot be erased from here; the receipts say so.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from journal import parking
from journal import statements as sql
from journal.commands import command_on
from journal.controls import CONTROL
from journal.erasing import (
    DONE,
    EQUAL,
    KEPT,
    OUT_OF_REACH,
    PENDING,
    Receipt,
    chain_of,
    erase,
    erase_settled,
    unrecorded,
)
from journal.errors import EntryError, MirrorError, NotFoundError
from journal.inspection import entry_of
from journal.model import Row, check_reason
from journal.overwriting import overwritten, told
from journal.pages import MAX_SEQ, MIN_SEQ
from journal.parts import PART_ROW, is_within
from journal.rewriting import Plan, relay

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.mirror import Mirror
    from journal.model import Entry
    from journal.session import Session
    from journal.store import Store

_AT_ONCE: Final = 1000
_BYTES_AT_ONCE: Final = 32 * 1024 * 1024  # the last of them may be larger: it is one line
_NAMED: Final = 20
_WITH_BYTES: Final = "FROM entries WHERE session_id = ? AND kind <> 'control' AND length(body) > 0"
_BEYOND: Final = (
    "backups, exports, bundles, the file a session was migrated from, snapshots of the file system, "
    "and whoever has read it"
)


def redact(session: Session, seqs: Iterable[int], reason: str) -> list[Receipt]:
    """Erase lines of a session for good, and record it.

    All of them or none; of a line over 8 MiB all parts. What was redacted before is left as it is; doing it again
    only cleans up what was pending.

    Raises:
        NotFoundError: there is no such session, or no such entry.
        EntryError: an entry that is no line, or was changed; or no reason.
        RefusedError: this writer may not.
        MirrorError: the session's file could not be brought up, or is served elsewhere; nothing
            was erased.

    """
    check_why(reason)
    wanted = _counted(seqs)
    receipts: list[Receipt] = []
    mirror = _mirror_of(session)
    with nullcontext() if mirror is None else mirror.lock:
        if mirror is not None:
            with told(mirror):
                mirror.reconcile()
        rows = _rows(session, _whole_lines(session, wanted))
        in_file = [] if mirror is None else _unrecorded(session, rows)
        with (
            nullcontext()
            if mirror is None or not in_file
            else overwritten(session, mirror, in_file, reason) as done
        ):
            receipts += [] if done is None else [done]
            receipts += erase(session, rows, reason)
    return [*receipts, *cleaned(session.store)]


def _counted(seqs: Iterable[int]) -> list[int]:
    """Return each seq once, in order; or refuse so many at once."""
    wanted = sorted(set(seqs))
    if not 0 < len(wanted) <= _AT_ONCE:
        raise EntryError(
            f"{len(wanted)} entries cannot be redacted at once",
            hint=f"name 1 to {_AT_ONCE}",
            code="redaction",
        )
    return wanted


def check_why(reason: str) -> None:
    """Refuse a redaction that says no reason.

    Raises:
        EntryError: it says none, or one that cannot be recorded.

    """
    check_reason(reason, "--reason 'a password was pasted'")


def planned(session: Session, seqs: Iterable[int]) -> list[Entry]:
    """Return the lines that :func:`redact` would erase; what was erased before is not among them.

    Raises:
        NotFoundError, EntryError, MirrorError: as for :func:`redact`.

    """
    wanted = _counted(seqs)
    _mirror_of(session)  # or refused, where it is served elsewhere
    rows = _rows(session, _whole_lines(session, wanted))
    with session.store.snapshot() as cursor:
        chain, writers = chain_of(session, cursor), session.store.registry.writers
        return [entry_of(row, chain, writers) for row in rows]


def to_forget(session: Session) -> int:
    """Return how many entries :func:`forget` would erase, those that the file has no more among them.

    Raises:
        NotFoundError: there is no such session.
        MirrorError: its file is served elsewhere.

    """
    _mirror_of(session)
    with session.store.snapshot() as cursor:
        number = chain_of(session, cursor).session_id
        count: int = cursor.execute(f"SELECT count(*) {_WITH_BYTES}", (number,)).fetchone()[0]
    return count


def forget(session: Session, reason: str) -> list[Receipt]:
    """Redact every line of a session and empty its file; that it was there stays on record.

    Raises:
        As for :func:`redact`.

    """
    receipts: list[Receipt] = []
    while True:
        seqs, head = _next_lines(session)
        if seqs:
            receipts += redact(session, seqs, reason)
        elif relay(session, Plan([], is_open=False), head, f"forgotten: {reason}"):
            break  # else somebody wrote meanwhile
    ended = erase_settled(session)
    if ended or not receipts:  # the log is emptied behind the last of it
        receipts = [*ended, *receipts, *cleaned(session.store)]
    # What was equal to a line, and not yet erased when that was, is erased by now.
    done = dict.fromkeys(each for each in receipts if each.copy != EQUAL)
    return [*done, *_waiting(session), *_left(session)]


def _left(session: Session) -> Iterator[Receipt]:
    """Yield the rows that nobody sealed as they stand: what was a line there was changed, or never was one."""
    with session.store.snapshot() as cursor:
        chain = chain_of(session, cursor)
        found = cursor.execute(
            f"SELECT seq {_WITH_BYTES} ORDER BY seq LIMIT ?", (chain.session_id, _AT_ONCE)
        ).fetchall()
        seqs = [seq for (seq,) in found]
        left = sorted({*seqs} - {row.seq for row in _sealed(cursor, chain, seqs)})
    for seq in left[:_NAMED]:
        yield Receipt("row", KEPT, f"{session.key}, seq {seq}: not as it was sealed")
    if left[_NAMED:]:
        more = f"and {len(left) - _NAMED} more" if len(found) < _AT_ONCE else "and more"
        yield Receipt("row", KEPT, f"{session.key}: {more}")


def _waiting(session: Session) -> Iterator[Receipt]:
    """Yield what was said to a session and is no entry of it: that is for somebody to settle."""
    with session.store.snapshot() as cursor:
        number = chain_of(session, cursor).session_id
        refused = [row.id for row in parking.of_session(cursor, number)]
        found = cursor.execute(
            "SELECT id FROM pending_inputs WHERE session_id = ? AND taken_seq IS NULL", (number,)
        ).fetchall()
    for parked_id in refused:
        yield Receipt(
            "parked write", KEPT, f"{parked_id}: refused, and neither applied nor discarded"
        )
    for (input_id,) in found:
        yield Receipt("pending input", KEPT, f"input {input_id}: said, and not taken yet")


def _next_lines(session: Session) -> tuple[list[int], int]:
    """Return the next lines that still hold bytes, and the head up to which was looked; none if that is all."""
    with session.store.snapshot() as cursor:
        chain = chain_of(session, cursor)
        seqs: list[int] = []
        after, is_more = 0, True
        while not seqs and is_more:  # a page of rows that nobody sealed is not the end
            found = cursor.execute(
                f"SELECT seq, length(body) {_WITH_BYTES} AND seq > ? ORDER BY seq LIMIT ?",
                (chain.session_id, after, _AT_ONCE),
            ).fetchall()
            page = _at_once(found)
            seqs = [row.seq for row in _sealed(cursor, chain, page)]
            is_more = len(page) < len(found) or len(found) == _AT_ONCE
            after = page[-1] if page else after
        return seqs, chain.head.seq


def _at_once(found: Sequence[tuple[int, int]]) -> list[int]:
    """Return the first of some lines, given as seqs and sizes, that are no more than memory is to hold."""
    sizes = accumulate(size for _, size in found)
    before = zip(found, sizes, strict=True)
    return [seq for (seq, size), up_to in before if up_to - size < _BYTES_AT_ONCE]


def _mirror_of(session: Session) -> Mirror | None:
    store = session.store
    with store.snapshot() as cursor:
        number = chain_of(session, cursor).session_id
    if store.mirrors is None:
        return None
    # Whoever serves the file would find the line in it, take it for somebody's, and keep it again.
    elsewhere = store.mirrors.elsewhere(number)
    if elsewhere is not None:
        path, where = elsewhere
        raise MirrorError(
            f"the session's file {path} is {where}, and has the lines too",
            hint=f"redact them there; if that file is gone for good: {command_on(session.key, 'mirror remove')}",
            code="mirror-elsewhere",
        )
    found: Mirror | None = store.mirrors.mirror(number)
    return found


def _rows(session: Session, wanted: list[int]) -> list[Row]:
    """Return the lines to erase, whole; without those that were erased before."""
    with session.store.snapshot() as cursor:
        chain = chain_of(session, cursor)
        found = list(_sealed(cursor, chain, wanted))
        missing = set(wanted) - {row.seq for row in found} - set(chain.redacted)
        if missing:
            raise _missing(cursor, chain, min(missing))
    for row in found:
        if row.kind == CONTROL or not row.body:
            message = f"entry {row.seq} of {session.key!r} holds no line"
            raise EntryError(message, hint="name lines, as journal log lists them", code="no-line")
    return found


def _unrecorded(session: Session, rows: list[Row]) -> list[Row]:
    """Return the lines that a file has still: in the place of others the placeholder stands, whoever put their rows back."""
    with session.store.snapshot() as cursor:
        return unrecorded(chain_of(session, cursor), rows)


def _missing(cursor: Cursor, chain: Chain, seq: int) -> NotFoundError:
    what = f"entry {seq} of {chain.key!r}"
    if _row_at(cursor, chain, seq) is None:
        hint = f"{command_on(chain.key, 'log')}  # lists what is"
        return NotFoundError(f"{what} is not there", hint=hint, code="no-entry")
    return NotFoundError(
        f"{what} is not as it was sealed",
        hint="journal audit  # shows in what it differs",
        code="no-entry",
    )


def _whole_lines(session: Session, wanted: list[int]) -> list[int]:
    """Return these seqs and with each part of a long line all its parts: a secret may lie across them."""
    seqs = set(wanted)
    with session.store.snapshot() as cursor:
        chain = chain_of(session, cursor)
        for row in list(_sealed(cursor, chain, wanted)):
            if row.kind == PART_ROW:
                seqs.update(_parts_around(cursor, chain, row))
    return sorted(seqs)


def _parts_around(cursor: Cursor, chain: Chain, row: Row) -> Iterator[int]:
    for step in (-1, 1):
        part, seq = row, row.seq
        while step < 0 or is_within(part.kind, part.body or b"", part.terminator):
            seq += step
            found = next(_sealed(cursor, chain, [seq]), None)
            if found is None or found.kind != PART_ROW:
                break
            if step < 0 and not is_within(found.kind, found.body or b"", found.terminator):
                break
            yield seq
            part = found


def _sealed(cursor: Cursor, chain: Chain, seqs: list[int]) -> Iterator[Row]:
    for seq in seqs:
        row = _row_at(cursor, chain, seq)
        if row is not None and row.body is not None and chain.sealer.status(row) == "sealed":
            yield row


def _row_at(cursor: Cursor, chain: Chain, seq: int) -> Row | None:
    if not MIN_SEQ <= seq <= MAX_SEQ:
        return None  # no column holds such a number, nor does the driver take it
    found = cursor.execute(sql.row_at(), (chain.session_id, seq)).fetchone()
    return None if found is None else Row._make(found)


# -- the log -----------------------------------------------------------------------------


def cleaned(store: Store) -> list[Receipt]:
    """Fold the write-ahead log in and empty it, so that no erased byte is left in it."""
    done = store.empty_log()
    if done is None:
        detail = (
            "the server's log and the rows' old versions: VACUUM, and its own rotation of the log"
        )
        return [
            Receipt("server", OUT_OF_REACH, detail),
            Receipt("elsewhere", OUT_OF_REACH, _BEYOND),
        ]
    state = DONE if done else PENDING
    detail = "emptied" if done else "a reader holds it: journal redact again once it has gone"
    return [Receipt("write-ahead log", state, detail), Receipt("elsewhere", OUT_OF_REACH, _BEYOND)]

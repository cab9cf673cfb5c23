"""Parked writes: what was refused is kept whole beside the session, never dropped."""

from __future__ import annotations

import hashlib
import secrets
from base64 import b32encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Text

from journal import statements as sql
from journal.errors import NotFoundError, RefusedError
from journal.explanation import counted
from journal.fields import field
from journal.parts import joined, reread
from journal.store import log
from journal.tables import parked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.model import Entry
    from journal.store import Store
    from journal.writing import Author

QUOTA_WRITES: Final = 1000
QUOTA_BYTES: Final = 64 * 1024 * 1024
QUOTA_IS_FULL: Final = (
    "the session's quota is full: journal parked list, then apply or discard some"
)


def new_id(prefix: str) -> str:
    """Return a short random id, its first letter telling what it names."""
    return prefix + b32encode(secrets.token_bytes(10)).decode().lower()[:12]


def pack(lines: Sequence[Line]) -> bytes:
    """Return lines as one value, each body and line end length-prefixed."""
    return b"".join(field(line.body) + field(line.terminator) for line in lines)


def unpack(content: bytes) -> list[Line]:
    """Return the lines of :func:`pack`."""
    pieces = []
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        pieces.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return list(reread(list(zip(pieces[::2], pieces[1::2], strict=True))))


class Refusal(NamedTuple):
    """Why a write is refused, and what was expected and found."""

    reason: str
    verdict_id: str | None = None
    claim_expected: int | None = None
    claim_found: int | None = None
    epoch_expected: int | None = None


class ParkedRow(NamedTuple):
    """One row of ``parked``, in the table's order."""

    id: str
    session_id: int
    writer_id: int
    instance_id: int
    reason: str
    verdict_id: str | None
    request_id: str | None
    run_id: str | None
    on_behalf_of: str | None
    claim_expected: int | None
    claim_found: int | None
    epoch_expected: int | None
    epoch_found: int
    lines: int
    content_digest: bytes
    parked_us: int
    times: int
    settled_us: int | None
    settled: str | None
    mac: bytes
    content: bytes | None

    @classmethod
    def read(cls, values: Sequence[Any]) -> ParkedRow:
        """Return a row as it stands; text that is no UTF-8 comes out such that its MAC fails."""
        texts = (
            value.decode("utf-8", "backslashreplace") if is_text and value is not None else value
            for value, is_text in zip(values, _IS_TEXT, strict=True)
        )
        return cls(*texts)

    def proof(self, store: Store) -> bytes:
        """Return the MAC this row should have; the content counts by its digest."""
        return store.mac("parked", *self[:-2])

    def is_ours(self, store: Store) -> bool:
        """Whether a key holder stored this row; its content is not looked at."""
        return self.mac == self.proof(store)

    def holds(self, store: Store) -> bool:
        """Whether the row is as a key holder left it, content included."""
        digest = hashlib.sha256(self.content or b"").digest()
        return (self.content is None or digest == self.content_digest) and self.is_ours(store)


class Settlement(NamedTuple):
    """How a parked write ended: "applied" or "discarded"; by which writer and process, when, and why.

    ``seqs`` are the entries that its lines became. ``by`` is None where whoever
    discarded it did not say.
    """

    how: str
    at_us: int
    by: str | None = None
    instance_id: int | None = None
    seqs: tuple[int, ...] = ()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """One refused write, kept whole.

    ``settled`` is None, "applied" or "discarded"; ``times`` how often the very
    same lines were refused. ``apply()`` and ``discard()`` settle it, once.
    """

    id: str
    session: str
    writer: str
    reason: str
    lines: tuple[bytes, ...]
    parked_us: int
    times: int
    settled: str | None
    verdict_id: str | None
    epoch_expected: int | None
    epoch_found: int
    claim_expected: int | None
    claim_found: int | None
    settled_us: int | None = None
    _store: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        # An open journal does not travel: a copy in another process only tells.
        values = [getattr(self, name) for name in self.__dataclass_fields__ if name != "_store"]
        return Parked, (*values,)

    def apply(
        self, *, writer: str | None = None, role: str = "operator", claim: int | None = None
    ) -> list[Entry]:
        """Write the lines now: by their original writer, recorded by whoever applies.

        Args:
            writer: who applies; without one it is the original writer.
            role: the role of whoever applies.
            claim: the token of the turn that whoever applies holds; not needed in the
                process that took it, nor in a role that needs no turn.

        Raises:
            ClaimedError: it would be written as a run's, by a run, beside another's turn.
            RefusedError: it was settled already, or is not what was parked.

        """
        from journal.settling import apply  # noqa: PLC0415 - it needs the write path

        return apply(self._store, self.id, writer, role, claim)

    def discard(
        self, *, writer: str | None = None, role: str = "operator", reason: str | None = None
    ) -> None:
        """Settle it without writing; the content stays for the record, with who gave it up and why.

        Raises:
            RefusedError: it was settled already, is not what was parked, or the writer may not write.

        """
        from journal.settling import discard  # noqa: PLC0415 - it needs the write path

        discard(self._store, self.id, writer, role, reason)

    def settlement(self) -> Settlement | None:
        """Return how it was settled: by whom, when, and as which entries; None while it is open."""
        from journal.settling import settlement  # noqa: PLC0415 - it needs the write path

        with self._store.snapshot() as cursor:
            return settlement(cursor, self._store, whole(cursor, self._store, self.id))


def park(  # noqa: PLR0913
    cursor: Cursor,
    store: Store,
    chain: Chain,
    author: Author,
    lines: Sequence[Line],
    request_id: str | None,
    refusal: Refusal,
) -> Parked | None:
    """Keep refused lines, in the caller's transaction; None if there are none, or no room.

    Equal lines of one writer are kept once and counted.
    """
    if not lines:
        return None
    content = pack(lines)
    digest = hashlib.sha256(content).digest()
    known = _same(cursor, store, chain.session_id, author.writer.id, digest)
    if known is not None:
        known = known._replace(times=known.times + 1)
        _store_state(cursor, store, known)
        return parked_of(known, store)
    if not _has_room(cursor, store, chain.session_id, len(content)):
        return None
    row = ParkedRow(
        new_id("p"), chain.session_id, author.writer.id, author.instance_id,
        refusal.reason, refusal.verdict_id, request_id, author.run_id, author.on_behalf_of,
        refusal.claim_expected, refusal.claim_found, refusal.epoch_expected, chain.head.epoch,
        len(lines), digest, store.clock(), 1, None, None, b"", content,
    )  # fmt: skip
    row = row._replace(mac=row.proof(store))
    cursor.execute(sql.INSERT_PARKED, row)
    return parked_of(row, store)


def _same(
    cursor: Cursor, store: Store, session_id: int, writer_id: int, digest: bytes
) -> ParkedRow | None:
    where = "WHERE session_id = ? AND writer_id = ? AND content_digest = ? AND settled IS NULL"
    found = _select(cursor, where, session_id, writer_id, digest)
    # Not one whose lines were erased since: these would be kept nowhere.
    return next((row for row in found if row.content is not None and row.holds(store)), None)


def _has_room(cursor: Cursor, store: Store, session_id: int, size: int) -> bool:
    """Whether the session's quota has room; rows that nobody with the key stored do not count.

    They are only looked at one by one where all rows together would leave no room, and
    once for as long as nothing changes: a run that tries again and again would hold
    up everybody else.
    """
    known = store.at_quota.get(session_id)
    if known is not None and known[1][0] >= QUOTA_WRITES:
        count = cursor.execute(sql.PARKED_COUNT, (session_id,)).fetchone()[0]
        if count == known[0][0]:
            return False
    count, total = cursor.execute(sql.PARKED_SIZE, (session_id,)).fetchone()
    found = int(count), int(total)
    if _leaves_room(*found, size):
        return True
    if known is None or known[0] != found:
        ours = [
            len(row.content or b"")
            for row in _select(cursor, "WHERE session_id = ? AND settled IS NULL", session_id)
            if row.is_ours(store)
        ]
        known = store.at_quota[session_id] = (found, (len(ours), sum(ours)))
    return _leaves_room(*known[1], size)


def _leaves_room(count: int, total: int, size: int) -> bool:
    return count < QUOTA_WRITES and total + size <= QUOTA_BYTES


def parked_of(row: ParkedRow, store: Store) -> Parked:
    """Return a row as its reader gets it."""
    writer = store.registry.writers.get(row.writer_id)
    return Parked(
        row.id,
        store.registry.session_keys.get(row.session_id, f"session {row.session_id}"),
        f"writer {row.writer_id}" if writer is None else writer.name,
        row.reason,
        tuple(joined(line[:2] for line in unpack(row.content or b""))),
        row.parked_us,
        row.times,
        row.settled,
        row.verdict_id,
        row.epoch_expected,
        row.epoch_found,
        row.claim_expected,
        row.claim_found,
        row.settled_us,
        store,
    )


_IS_TEXT: Final = tuple(isinstance(column.type, Text) for column in parked.c)


def _select(cursor: Cursor, where: str, *values: object) -> list[ParkedRow]:
    found = cursor.execute(f"{sql.all_of(parked)} {where}", values).fetchall()
    return [ParkedRow.read(row) for row in found]


def find(cursor: Cursor, parked_id: str) -> ParkedRow:
    """Return one parked row.

    Raises:
        NotFoundError: there is none of this id.

    """
    found = _select(cursor, "WHERE id = ?", parked_id)
    if not found:
        raise NotFoundError(f"there is no parked write {parked_id!r}", hint="journal parked list")
    return found[0]


def of_session(cursor: Cursor, session_id: int, *, settled: bool = False) -> list[ParkedRow]:
    """Return a session's parked rows, oldest first."""
    which = "" if settled else " AND settled IS NULL"
    return _select(cursor, f"WHERE session_id = ?{which} ORDER BY parked_us, id", session_id)


def tell(key: str, not_believed: int) -> None:
    """Say in the log that rows are not as they were parked: silence would be taken for success."""
    if not_believed:
        log.warning(
            "%s: %s changed since it was parked, and not believed: journal audit names which",
            key,
            counted(not_believed, "parked row"),
        )


def whole(cursor: Cursor, store: Store, parked_id: str) -> ParkedRow:
    """Return a parked row that is as a key holder left it.

    Raises:
        NotFoundError: there is none of this id.
        RefusedError: it is not what was parked.

    """
    row = find(cursor, parked_id)
    if not row.holds(store):
        raise RefusedError(
            f"the parked write {parked_id} was changed after it was parked",
            hint="journal audit",
            code="parked-altered",
        )
    return row


def unsettled(cursor: Cursor, store: Store, parked_id: str) -> ParkedRow:
    """Return a parked row that is whole and still open.

    Raises:
        RefusedError: it is not what was parked, or was settled already.

    """
    row = whole(cursor, store, parked_id)
    if row.settled is not None:
        raise RefusedError(
            f"the parked write {parked_id} was {row.settled} already",
            code="settled",
            hint=f"journal parked show {parked_id}",
        )
    return row


def settle(cursor: Cursor, store: Store, row: ParkedRow, how: str) -> None:
    """Record how a parked write ended."""
    _store_state(cursor, store, row._replace(settled=how, settled_us=store.clock()))


def _store_state(cursor: Cursor, store: Store, row: ParkedRow) -> None:
    cursor.execute(
        "UPDATE parked SET times = ?, settled_us = ?, settled = ?, mac = ? WHERE id = ?",
        (row.times, row.settled_us, row.settled, row.proof(store), row.id),
    )

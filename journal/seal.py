"""Seals: how a row proves that a key holder wrote it, here, after that row.

The exact bytes are a promise (``docs/format.md``); :mod:`journal.fields` makes them.

A seal covers the 16-byte ``prev`` that stands in its own row, never a value
that only another row holds: so each row is judged alone, and a damaged row is
never blamed on the honest one after it.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from secrets import token_bytes
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from journal.fields import (
    DIGEST_SIZE,
    FIXED,
    INTEGER,
    LENGTH,
    MAC_SIZE,
    NULL,
    NUMBERS_SIZE,
    PREV_SIZE,
    SALT_SIZE,
    TERMINATORS,
    UNFIT,
    any_field,
    before_request,
    field,
    number,
    text,
    variable,
)
from journal.redacted import placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from hashlib import _Hash

    from journal.model import Row

Status = Literal["sealed", "altered", "erased", "stray"]

SECRET_SIZE: Final = 32

_SALTS: Final = 64
_INNER: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER: Final = bytes(octet ^ 0x5C for octet in range(256))

# Hashed once: copying a hash is cheaper than making one.
COMMITMENT: Final = sha256(field(b"session-journal/commitment/1") + LENGTH.pack(SALT_SIZE))
EXAMINED_TAG: Final = field(b"session-journal/examined/1")
SEAL_TAG: Final = field(b"session-journal/seal/1")


class KeyedHash:
    """HMAC-SHA-256 under one key, its two pads hashed once (a third of the price of hmac.digest)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = sha256(block.translate(_INNER))
        self._outer = sha256(block.translate(_OUTER))

    @property
    def pads(self) -> tuple[_Hash, _Hash]:
        """The two hashes to go on from, copied: the inner takes the message, the outer its digest."""
        return self._inner, self._outer

    def __call__(self, message: bytes) -> bytes:
        """Return the 32 bytes for a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


def derive_key(secret: bytes, journal_id: str) -> bytes:
    """Derive one journal's key from a secret that may serve many (HKDF, RFC 5869)."""
    extracted = hmac.digest(journal_id.encode(), secret, "sha256")
    return hmac.digest(extracted, b"session-journal/key/1\x01", "sha256")


def fingerprint(key: bytes) -> str:
    """Return 16 hex digits that name a key without giving it away."""
    return KeyedHash(key)(field(b"session-journal/fingerprint/1"))[:8].hex()


def commitment(salt: bytes, body: bytes, terminator: bytes) -> bytes:
    """Return what stands for a line in the chain, so that the line itself can be erased later."""
    end = TERMINATORS.get(terminator) or field(terminator)
    committed = COMMITMENT.copy()
    committed.update(b"".join((salt, LENGTH.pack(len(body)), body, end)))
    return committed.digest()


class Mac:
    """Short proofs, under a journal's key, for rows outside the chain (fences, instances, …)."""

    __slots__ = ("_hash",)

    def __init__(self, key: bytes) -> None:
        self._hash = KeyedHash(key)

    def __call__(self, kind: str, *values: bytes | str | int | None) -> bytes:
        """Return the 16-byte proof of these values; ``kind`` keeps one table's from another's."""
        parts = [field(b"session-journal/mac/1"), text(kind), *map(any_field, values)]
        return self._hash(b"".join(parts))[:MAC_SIZE]

    def begin(self, kind: str, *values: bytes | str | int | None) -> _Hash:
        """Return the hash of all values but the last, for :meth:`finish`: many proofs begin alike."""
        parts = [field(b"session-journal/mac/1"), text(kind), *map(any_field, values)]
        begun = self._hash.pads[0].copy()
        begun.update(b"".join(parts))
        return begun

    def finish(self, begun: _Hash, value: bytes) -> bytes:
        """Return the proof of the values of :meth:`begin` and a last one."""
        inner, outer = begun.copy(), self._hash.pads[1].copy()
        inner.update(LENGTH.pack(len(value)) + value)
        outer.update(inner.digest())
        return outer.digest()[:MAC_SIZE]


class Era(NamedTuple):
    """An earlier key era, as it counts for one session.

    Attributes:
        key_id: its number.
        key: the key of that era; None where it is lost.
        until: the seq of the last entry that was sealed in it.

    """

    key_id: int
    key: bytes | None
    until: int


class Sealer:
    """Seals and verifies the rows of one session.

    The session's own key is derived from the journal's by the session's number
    *and* its key text, so a row copied to another session, or a session whose
    key text was changed, does not verify.

    A row of an earlier key era holds only up to where that era ended: whoever has
    an old key cannot seal anything new. Where that key is lost, the seals up to
    there are taken as they stand; what they were then only an audit can tell.
    """

    __slots__ = (
        "_eras",
        "_hash",
        "_salts",
        "begun_seal",
        "genesis",
        "inner",
        "key_id",
        "outer",
        "redacted",
        "session_id",
        "until",
    )

    def __init__(
        self,
        key: bytes,
        key_id: int,
        session_id: int,
        session_key: str,
        eras: Sequence[Era] = (),
    ) -> None:
        tag = field(b"session-journal/session/1") + number(session_id) + text(session_key)
        self._hash = KeyedHash(KeyedHash(key)(tag))
        # In their order, each with what it was sealed with: None where that is lost.
        self._eras = [
            (era.until, era.key_id, None if era.key is None else KeyedHash(KeyedHash(era.key)(tag)))
            for era in eras
        ]
        self.until = max((era.until for era in eras), default=0)
        # Hashes to copy and go on from: ``inner`` takes a message, ``begun_seal`` what follows
        # a seal's tag, and then ``outer`` takes the digest of that.
        self.inner, self.outer = self._hash.pads
        self.begun_seal = self.inner.copy()
        self.begun_seal.update(SEAL_TAG)
        self._salts: list[bytes] = []
        # Sizes of lines that a sealed redaction names, by seq: without their bytes they are whole.
        self.redacted: Mapping[int, int] = {}
        self.session_id = session_id
        self.key_id = key_id
        self.genesis = _genesis(self._hash)

    def seal(  # noqa: PLR0913 - the columns under the seal, in their order
        self,
        prev: bytes,
        seq: int,
        epoch: int,
        writer_id: int,
        instance_id: int,
        recorder_id: int,
        trusted: int,
        created_us: int,
        cum_bytes: int,
        commitment: bytes,
        claim: int | None,
        kind: bytes | str,
        origin: bytes | str,
        run_id: bytes | str | None,
        on_behalf_of: bytes | str | None,
        request_id: bytes | str | None,
        session_id: int | None = None,
        key_id: int | None = None,
    ) -> bytes:
        """Return the seal of a row of these values (``docs/format.md``)."""
        fixed = FIXED.pack(
            PREV_SIZE,
            prev,
            NUMBERS_SIZE,
            self.session_id if session_id is None else session_id,
            seq,
            epoch,
            writer_id,
            instance_id,
            recorder_id,
            trusted,
            created_us,
            cum_bytes,
            self.key_id if key_id is None else key_id,
            DIGEST_SIZE,
            commitment,
        )
        shown = before_request(claim, kind, origin, run_id, on_behalf_of)
        request = NULL if request_id is None else any_field(request_id)
        seal_with = self._hash
        if seq <= self.until and self._eras:
            seal_with = self._era_at(seq)[1] or self._hash
        return seal_with(b"".join((SEAL_TAG, fixed, shown, request)))

    def _era_at(self, seq: int) -> tuple[int, KeyedHash | None]:
        """Return the number of the era that a seq belongs to, and what sealed then."""
        for until, key_id, sealed_with in self._eras:
            if seq <= until:
                return key_id, sealed_with
        return self.key_id, self._hash

    def key_id_at(self, seq: int) -> int:
        """Return the number of the era that a seq belongs to."""
        return self._era_at(seq)[0]

    def seal_proves(self, row: Row) -> bool:
        """Whether the row's seal holds under a key that is at hand."""
        return self._era_at(row.seq)[1] is not None and self.seal_holds(row)

    def starts(self, row: Row) -> bool:
        """Whether a row links to the session's beginning; believed where the key of then is lost."""
        _, sealed_with = self._era_at(row.seq)
        return sealed_with is None or row.prev == _genesis(sealed_with)

    def genesis_at(self, seq: int) -> bytes:
        """Return what a session's first entry links to, if it stands at a seq."""
        return _genesis(self._era_at(seq)[1] or self._hash)

    def salt(self) -> bytes:
        """Return 16 random bytes, each given once.

        Drawn many at a time. A forked child cannot draw the same: it may not use
        its parent's journal, and a sealer belongs to one.
        """
        if not self._salts:
            drawn = token_bytes(SALT_SIZE * _SALTS)
            self._salts = [drawn[at : at + SALT_SIZE] for at in range(0, len(drawn), SALT_SIZE)]
        return self._salts.pop()

    def seal_holds(self, row: Row) -> bool:
        """Whether the row's metadata and commitment stand under its own seal."""
        if len(row.prev) != PREV_SIZE or len(row.commitment) != DIGEST_SIZE:
            return False
        if row.seq <= self.until or row.key_id != self.key_id:
            key_id, sealed_with = self._era_at(row.seq)
            if row.key_id != key_id:
                return False
            if sealed_with is None:
                return len(row.seal) == DIGEST_SIZE
        expected = self.seal(
            row.prev,
            row.seq,
            row.epoch,
            row.writer_id,
            row.instance_id,
            row.recorder_id,
            row.trusted,
            row.created_us,
            row.cum_bytes,
            row.commitment,
            row.claim,
            row.kind,
            row.origin,
            row.run_id,
            row.on_behalf_of,
            row.request_id,
            row.session_id,
            row.key_id,
        )
        return hmac.compare_digest(expected, row.seal)

    def status(self, row: Row) -> Status:
        """Judge one row by itself: "sealed", "altered", "erased" or "stray".

        "altered" means a true seal over another line: the line was edited.
        "erased" means that no sealed redaction which is known here names the row.
        """
        if not self.seal_holds(row):
            return "stray"
        if row.body is None and row.salt is None:
            return "sealed" if row.seq in self.redacted else "erased"
        return "sealed" if body_holds(row) else "altered"

    def judge(self, rows: Iterable[Row], *, lines: bool = True) -> Iterator[tuple[Row, Status]]:
        """Yield rows with their status, each as :meth:`status` tells it; for many, in one loop.

        An audit and the comparison of a file judge every row, and half of their time went into
        the calls; an export does where something is odd (:mod:`journal.sealing`). Without
        ``lines`` a row that has its salt and no body is judged by its seal alone.
        """
        inner, outer = self._hash.pads
        pack, equal, shown_of = FIXED.pack, hmac.compare_digest, variable
        until, own = self.until, self.key_id
        for row in rows:
            (
                _, session_id, seq, epoch, writer_id, instance_id, recorder_id, claim, kind,
                trusted, origin, request_id, run_id, behalf, created_us, cum_bytes, end, salt,
                committed, key_id, prev, seal, _, _, _, body,
            ) = row  # fmt: skip
            if (
                salt is None or (body is None and lines) or request_id is not None or len(salt) != SALT_SIZE
                or len(prev) != PREV_SIZE or len(committed) != DIGEST_SIZE or seq <= until or key_id != own
            ):  # fmt: skip
                yield row, self.status(row)
                continue
            fixed = pack(
                PREV_SIZE, prev, NUMBERS_SIZE, session_id, seq, epoch, writer_id, instance_id,
                recorder_id, trusted, created_us, cum_bytes, key_id, DIGEST_SIZE, committed,
            )  # fmt: skip
            shown = shown_of(claim, kind, origin, run_id, behalf)
            first, second, line = inner.copy(), outer.copy(), COMMITMENT.copy()
            first.update(b"".join((SEAL_TAG, fixed, shown)))
            second.update(first.digest())
            if not equal(second.digest(), seal):
                yield row, "stray"
                continue
            if body is None:
                yield row, "sealed"
                continue
            ended = TERMINATORS.get(end) or field(end)
            line.update(b"".join((salt, LENGTH.pack(len(body)), body, ended)))
            yield row, "sealed" if equal(line.digest(), committed) else "altered"

    def whole(self, row: Row) -> Row:
        """Return the row, with what stands for its line if that was redacted."""
        if row.body is None and row.seq in self.redacted:
            return row._replace(body=placeholder(self.redacted[row.seq]))
        return row

    def examined_mac(self, seq: int) -> bytes:
        """Return the proof that a key holder examined the session up to ``seq``."""
        return self._hash(EXAMINED_TAG + INTEGER.pack(8, seq))[:MAC_SIZE]


def _genesis(sealed_with: KeyedHash) -> bytes:
    """Return what a session's first entry links to."""
    return sealed_with(field(b"session-journal/genesis/1"))[:PREV_SIZE]


def holds(sealer: Sealer, row: Row) -> bool:
    """Whether a row's seal holds; False for values no seal could cover."""
    try:
        return sealer.seal_holds(row)
    except UNFIT:
        return False


def body_holds(row: Row) -> bool:
    """Whether the row's line is the one its commitment was made for."""
    if row.body is None or row.salt is None or len(row.salt) != SALT_SIZE:
        return False
    return hmac.compare_digest(commitment(row.salt, row.body, row.terminator), row.commitment)


def row_digest(values: Iterable[bytes | int | None]) -> bytes:
    """Return the digest that stands for a row nobody sealed, over all its columns."""
    return sha256(b"".join(map(any_field, values))).digest()

"""A journal's keys, era by era: which sealed what, and what seals from now on.

A journal begins in era 1. ``journal key adopt`` begins another: the last entry of
the registry under the old key, where that is at hand, says so (``key``), and the
first entries under the new one (``era``) name for each session the last entry of
the old era and a digest over all of them. So whoever has an old key can seal
nothing new, and can change nothing old that the digest would not show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.controls import decode
from journal.model import REGISTRY_ID, REGISTRY_KEY
from journal.seal import UNFIT, Era, Mac, Sealer, row_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from journal.model import Row

FIRST_KEY_ID: Final = 1
# What a row of these begins with; how keys and eras are found without reading the whole registry.
ERA_BODY: Final = b'{"control":"era"'
KEY_BODY: Final = b'{"control":"key"'
MAX_SEQ: Final = 2**63 - 1
_WRONG: Final = (KeyError, TypeError, ValueError)


class Bound(NamedTuple):
    """Where an era ended in one session: its last entry, and what stands for all of its entries."""

    seq: int
    digest: str


NOWHERE: Final = Bound(0, "")


@dataclass(frozen=True)
class Keys:
    """The keys of one journal.

    Attributes:
        key: the key that seals now.
        key_id: the number of its era.
        earlier: the keys of the eras before, by number; None where one is lost.
        bounds: where each earlier era ended, by its number and then by session.

    """

    key: bytes
    key_id: int = FIRST_KEY_ID
    earlier: Mapping[int, bytes | None] = field(default_factory=dict)
    bounds: Mapping[int, Mapping[int, Bound]] = field(default_factory=dict)

    @property
    def mac(self) -> Mac:
        """What proves rows outside the chain; they are proved anew when an era begins."""
        return Mac(self.key)

    def sealer(self, session_id: int, session_key: str) -> Sealer:
        """Return what seals and verifies the rows of one session."""
        eras = [
            Era(key_id, self.earlier.get(key_id), bound[session_id].seq)
            for key_id, bound in sorted(self.bounds.items())
            if session_id in bound
        ]
        return Sealer(self.key, self.key_id, session_id, session_key, eras)

    @property
    def lost(self) -> list[int]:
        """The eras whose keys are not at hand."""
        return [key_id for key_id in sorted(self.bounds) if self.earlier.get(key_id) is None]

    def all(self) -> list[bytes]:
        """Return every key that is at hand, the newest first."""
        older = [key for _, key in sorted(self.earlier.items(), reverse=True) if key is not None]
        return [self.key, *older]


def prove(
    candidates: Sequence[bytes], rows: Callable[[bytes | None], Iterable[Row]]
) -> Keys | None:
    """Return a journal's keys, of those that may be, by what they sealed; None if none of them did.

    Args:
        candidates: keys that may be the journal's.
        rows: gives rows of the registry, in the order of seq: those whose bodies begin
            so, or all.

    """
    begun = list(rows(ERA_BODY))
    first = next((key for key in candidates if _began(key, rows(None), MAX_SEQ)), None)
    proved = _proved([key for key in candidates if key != first], begun)
    if not proved:
        return None if first is None else Keys(first)
    bounds, limit = {}, None
    for key_id in range(max(proved), FIRST_KEY_ID, -1):
        held = [row for row in begun if row.key_id == key_id and _counts(proved, row, limit)]
        bounds[key_id - 1] = _bounds_of(held)
        limit = bounds[key_id - 1].get(REGISTRY_ID, NOWHERE).seq
    first = next((key for key in candidates if _began(key, rows(None), limit or 0)), None)
    earlier = {
        key_id: proved.get(key_id, first if key_id == FIRST_KEY_ID else None) for key_id in bounds
    }
    return Keys(proved[max(proved)], max(proved), earlier, bounds)


def _proved(candidates: Sequence[bytes], eras: Iterable[Row]) -> dict[int, bytes]:
    """Return which key began which era: each the first one that it did.

    Else whoever has an old key could begin another era with it, and seal again.
    """
    found: dict[int, bytes] = {}
    for row in sorted(eras, key=lambda row: row.key_id):
        for key in candidates:
            is_new = row.key_id not in found and key not in found.values()
            if row.key_id > FIRST_KEY_ID and is_new and _holds(key, row):
                found[row.key_id] = key
    return found


def _holds(key: bytes, row: Row) -> bool:
    try:
        return Sealer(key, row.key_id, REGISTRY_ID, REGISTRY_KEY).seal_holds(row)
    except UNFIT:
        return False


def _began(key: bytes, rows: Iterable[Row], until: int) -> bool:
    """Whether a key sealed the first era of this journal, up to a seq of its registry."""
    return any(row.key_id == FIRST_KEY_ID and row.seq <= until and _holds(key, row) for row in rows)


def _counts(proved: Mapping[int, bytes], row: Row, limit: int | None) -> bool:
    """Whether an entry that begins an era is to be believed: by its seal, or as it was adopted later."""
    if limit is not None and row.seq > limit:
        return False
    key = proved.get(row.key_id)
    return limit is not None if key is None else _holds(key, row)


def _bounds_of(rows: Iterable[Row]) -> dict[int, Bound]:
    found: dict[int, Bound] = {}
    for row in rows:
        try:
            for number, seq, digest in decode(row.body)["sessions"]:
                found[int(number)] = Bound(int(seq), str(digest))
        except _WRONG:
            continue
    return found


def bounds_in(rows: Iterable[Row]) -> dict[int, dict[int, Bound]]:
    """Return where each era ended, as rows of the registry say; they are believed."""
    found: dict[int, dict[int, Bound]] = {}
    for row in rows:
        found.setdefault(row.key_id - 1, {}).update(_bounds_of([row]))
    return found


def newer_key(rows: Iterable[Row], keys: Keys) -> dict[str, Any] | None:
    """Return what a sealed entry says of an era after the newest that is known; None if none does."""
    sealer = keys.sealer(REGISTRY_ID, REGISTRY_KEY)
    for row in rows:
        if row.key_id == keys.key_id and sealer.status(row) == "sealed":
            facts = decode(row.body)
            if facts.get("control") == "key" and int(facts.get("key_id", 0)) > keys.key_id:
                return facts
    return None


class EraDigest:
    """Digests the entries of one session, in their order, without what a redaction erases."""

    def __init__(self) -> None:
        self._digest = sha256(b"session-journal/era/1")
        self.last = 0

    def feed(self, row: Row) -> None:
        """Take the next entry."""
        # Not the row number, the salt and the body, nor what is derived from it.
        self._digest.update(
            row_digest((*row[1:17], row.commitment, row.key_id, row.prev, row.seal))
        )
        self.last = row.seq

    def bound(self) -> Bound:
        """Return what stands for what was taken."""
        return Bound(self.last, self._digest.hexdigest())

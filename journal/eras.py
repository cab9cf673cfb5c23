"""A journal's keys, era by era: which sealed what, and what seals from now on.

A journal begins in era 1. ``journal key adopt`` begins another: the last entry of
the registry under the old key, where that is at hand, says so (``key``), and the
first entries under the new one (``era``) name for each session the last entry of
the old era and a digest over all of them. So whoever has an old key can seal
nothing new, and can change nothing old that the digest would not show.

Which secret is the newest is never taken from the database, for an old key would
seal any claim to that: the key file says it, with the journal's id and the era on
the line of each later secret. A database that knows less of eras than its key file
is an older copy, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.controls import decode
from journal.errors import CorruptError, KeyMissing
from journal.fields import UNFIT
from journal.model import REGISTRY_ID, REGISTRY_KEY
from journal.seal import Era, Mac, Sealer, body_holds, derive_key, holds, row_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from journal.model import Row

FIRST_KEY_ID: Final = 1
# What a row of these begins with; how keys and eras are found without reading the whole registry.
ERA_BODY: Final = b'{"control":"era"'
KEY_BODY: Final = b'{"control":"key"'
MAX_SEQ: Final = 2**63 - 1
_FEW: Final = 16
_WRONG: Final = (KeyError, TypeError, ValueError, OverflowError)


class Secret(NamedTuple):
    """One secret of a key file.

    Attributes:
        value: the 32 bytes.
        journal_id: whose later era it is; None for one that any journal may begin with.
        era: the number of that era.
        is_pending: written before the era had begun, so it may never have.

    """

    value: bytes
    journal_id: str | None = None
    era: int = FIRST_KEY_ID
    is_pending: bool = False


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
        pending: the secret of the newest era, where its file does not say yet that it began.

    """

    key: bytes
    key_id: int = FIRST_KEY_ID
    earlier: Mapping[int, bytes | None] = field(default_factory=dict)
    bounds: Mapping[int, Mapping[int, Bound]] = field(default_factory=dict)
    pending: Secret | None = None

    @property
    def mac(self) -> Mac:
        """What proves rows outside the chain; they are proved anew when an era begins."""
        return Mac(self.key)

    def sealer(self, session_id: int, session_key: str) -> Sealer:
        """Return what seals and verifies the rows of one session."""
        eras, until = [], MAX_SEQ
        for key_id, bound in sorted(self.bounds.items(), reverse=True):
            # An era ended before the next one did, whatever its own entries say.
            until = min(until, bound.get(session_id, NOWHERE).seq)
            eras.append(Era(key_id, self.earlier.get(key_id), until))
        return Sealer(self.key, self.key_id, session_id, session_key, eras[::-1])

    @property
    def lost(self) -> list[int]:
        """The eras whose keys are not at hand."""
        return [key_id for key_id in sorted(self.bounds) if self.earlier.get(key_id) is None]

    def all(self) -> list[bytes]:
        """Return every key that is at hand, the newest first."""
        older = [key for _, key in sorted(self.earlier.items(), reverse=True) if key is not None]
        return [self.key, *older]


def prove(
    secrets: Sequence[Secret], journal_id: str, rows: Callable[[bytes | None], Iterable[Row]]
) -> Keys | None:
    """Return a journal's keys, of the secrets of a key file; None if none of them sealed anything in it.

    Args:
        secrets: what the key file holds.
        journal_id: the journal's.
        rows: gives rows of the registry, in the order of seq: those whose bodies begin
            so, or all.

    Raises:
        KeyMissing: the journal is older than its key file: no entry began its newest era.

    """
    firsts = [
        derive_key(each.value, journal_id) for each in secrets if each.journal_id != journal_id
    ]
    own = [each for each in secrets if each.journal_id == journal_id]
    begun = list(rows(ERA_BODY)) if own else []  # most journals have had one key only
    later, pending = _later(own, begun)
    if not later:
        first = _first(firsts, rows(None), MAX_SEQ)
        return None if first is None else Keys(first)
    top = max(later)
    if not any(row.key_id == top and _holds(later[top], row) for row in begun):
        raise KeyMissing(
            f"the journal is older than its key: the key file knows key era {top}, and no entry began it",
            hint="an older copy was put back, or its newest entries were cut off; if that was you, "
            "journal key adopt --without-key goes on from it",
            code="key-era",
        )
    bounds: dict[int, dict[int, Bound]] = {}
    key_id, limit = top, MAX_SEQ
    while key_id > FIRST_KEY_ID:
        key = later.get(key_id)
        held = [row for row in begun if row.key_id == key_id and row.seq <= limit]
        held = [row for row in held if (body_holds(row) if key is None else _holds(key, row))]
        was = min((_was(row) for row in held), default=FIRST_KEY_ID)
        key_id, bounds[was] = was, _bounds_of(held)
        limit = bounds[was][REGISTRY_ID].seq
    first = _first(firsts, rows(None), limit)
    earlier = {era: later.get(era, first if era == FIRST_KEY_ID else None) for era in bounds}
    keys = Keys(later[top], top, earlier, bounds, pending.get(top))
    if len(bounds) > 1:
        _check_adopted(keys, rows(None))
    return keys


def _later(
    secrets: Sequence[Secret], begun: Sequence[Row]
) -> tuple[dict[int, bytes], dict[int, Secret]]:
    """Return the keys of later eras, and those secrets of which only the database tells that their era began."""
    found = {
        each.era: derive_key(each.value, str(each.journal_id))
        for each in secrets
        if not each.is_pending
    }
    pending = {}
    for each in secrets:
        key = derive_key(each.value, str(each.journal_id))
        if each.era not in found and any(
            row.key_id == each.era and _holds(key, row) for row in begun
        ):
            found[each.era], pending[each.era] = key, each
    return found, pending


def _first(keys: Sequence[bytes], rows: Iterable[Row], until: int) -> bytes | None:
    """Return the key that sealed the first era of this journal, up to a seq of its registry."""
    if not keys:
        return None
    held = (row for row in rows if row.key_id == FIRST_KEY_ID and 1 <= row.seq <= until)
    # The first few tell nearly always: an open must not read the registry for it, nor a file's many secrets slow it.
    few = list(islice(held, _FEW))
    for some in (few, held):
        tried = list(some)
        for key in keys:
            if any(_holds(key, row) for row in tried):
                return key
    return None


def _was(row: Row) -> int:
    """Return the era before the one that an entry began."""
    was = decode(row.body).get("was")
    return was if isinstance(was, int) and FIRST_KEY_ID <= was < row.key_id else FIRST_KEY_ID


def _check_adopted(keys: Keys, rows: Iterable[Row]) -> None:
    """Hold the registry against what the newest era's key sealed of it: older eras' own entries stand in that."""
    bound = keys.bounds[max(keys.bounds)][REGISTRY_ID]
    sealer, digest = keys.sealer(REGISTRY_ID, REGISTRY_KEY), EraDigest()
    for row in rows:
        if 1 <= row.seq <= bound.seq and holds(sealer, row):
            digest.feed(row)
    if digest.bound() != bound:
        raise damaged("entries of the registry from before the newest key era were changed")


def damaged(what: str) -> CorruptError:
    """Return the refusal of a journal of which nobody can tell where its eras ended."""
    return CorruptError(
        f"{what}: where a key era ended cannot be told, and nothing is written in the wrong one",
        hint="journal audit  # shows it; restore a backup",
        code="era-damaged",
    )


def _holds(key: bytes, row: Row) -> bool:
    """Whether a key sealed an entry of the registry, the facts in it and all."""
    try:
        return Sealer(key, row.key_id, REGISTRY_ID, REGISTRY_KEY).status(row) == "sealed"
    except UNFIT:
        return False


def _bounds_of(rows: Iterable[Row]) -> dict[int, Bound]:
    """Return where an era ended in each session, as the entries that began the next one say.

    Raises:
        CorruptError: one of them is missing.

    """
    found, count = _said_of(rows)
    if REGISTRY_ID not in found or len(found) != count:
        raise damaged("an entry that began a key era is missing, or was changed")
    return found


def _said_of(rows: Iterable[Row]) -> tuple[dict[int, Bound], int]:
    found: dict[int, Bound] = {}
    count = 0
    for row in rows:
        try:
            facts = decode(row.body)
            count = int(facts["count"])
            for number, seq, digest in facts["sessions"]:
                found[int(number)] = Bound(min(int(seq), MAX_SEQ), str(digest))
        except _WRONG:
            continue
    return found, count


def bounds_in(rows: Iterable[Row]) -> dict[int, dict[int, Bound]]:
    """Return where each era ended, as rows of the registry say; they are believed."""
    found: dict[int, dict[int, Bound]] = {}
    for row in rows:
        found.setdefault(_was(row), {}).update(_said_of([row])[0])
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

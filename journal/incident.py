"""One kept verdict and all that the journal knows about it, read in one state of the database.

The verdict's own row tells what only its moment could: who held the session, and
whether that process lived. All else is read from sealed entries, which do not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal import explanation as told
from journal import inspection, parking, verdicts
from journal import statements as sql
from journal.chain import MAX_SEQ, MIN_SEQ, rows_of
from journal.errors import EntryError, NotFoundError
from journal.explanation import Between, process_words
from journal.model import Row
from journal.tables import instances
from journal.verdict import BETWEEN_FENCES, TAKEOVER, origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.model import Entry
    from journal.parking import Parked
    from journal.store import Store
    from journal.verdicts import VerdictRow

LIMIT: Final = 1000
SUPERSESSION: Final = "supersession"
_KEPT: Final = 400


class Incident:
    """A verdict under explanation.

    Attributes:
        row: the verdict as it was kept; ``facts`` is its evidence.
        parked: the refused write that was kept with it, or None.
        chain: its session's, fresh.

    """

    def __init__(self, store: Store, cursor: Cursor, wanted: str) -> None:
        self.store = store
        self._cursor, self._wanted = cursor, wanted
        self.parked: Parked | None = None
        self.row = self._find()
        self.facts: dict[str, Any] = self.row.facts
        key = store.registry.session_keys.get(self.row.session_id, "")
        chain = store.find_chain(cursor, key) if key else None
        if chain is None:
            message = f"the session of {wanted} is not registered any more"
            raise NotFoundError(message, hint="journal audit", code="no-session")
        self.chain: Chain = store.fresh(chain)
        self.chain.load_facts(cursor)
        if self.parked is None:
            self.parked = self._parked_by()

    @property
    def is_check(self) -> bool:
        """Whether a fence judged it, and not a claim."""
        return self.row.outcome in (TAKEOVER, BETWEEN_FENCES)

    @property
    def holder(self) -> Mapping[str, Any] | None:
        """Who held the session then."""
        found: Mapping[str, Any] | None = self.facts.get("holder")
        return found

    # -- finding ----------------------------------------------------------------------

    def _find(self) -> VerdictRow:
        store, cursor, wanted = self.store, self._cursor, self._wanted
        if not isinstance(wanted, str) or wanted[:1] not in ("v", "p", "f"):
            raise EntryError(
                f"{wanted!r} is no id that can be explained",
                hint="name a verdict (v…), a parked write (p…) or a fence (f…): journal status",
                code="id",
            )
        if wanted.startswith("v"):
            return verdicts.find(cursor, store, wanted)
        if wanted.startswith("f"):
            return self._of_fence()
        row = parking.whole(cursor, store, wanted)
        self.parked = parking.parked_of(row, store)
        if row.verdict_id is None:
            message = f"why {wanted} was refused was not kept"
            raise NotFoundError(message, hint=f"journal parked show {wanted}", code="no-verdict")
        return verdicts.find(cursor, store, row.verdict_id)

    def _of_fence(self) -> VerdictRow:
        found = verdicts.of_fence(self._cursor, self.store, self._wanted)
        if found is not None:
            return found
        where = "SELECT 1 FROM fences WHERE id = ?"
        is_there = self._cursor.execute(where, (self._wanted,)).fetchone() is not None
        what = "was never judged to be taken over" if is_there else "is not there"
        hint = f"journal fence check {self._wanted}" if is_there else "journal status"
        raise NotFoundError(f"fence {self._wanted!r} {what}", hint=hint, code="no-verdict")

    def _parked_by(self) -> Parked | None:
        rows = parking.of_session(self._cursor, self.row.session_id, settled=True)
        mine = (row for row in rows if row.verdict_id == self.row.id and row.holds(self.store))
        found = next(mine, None)
        return None if found is None else parking.parked_of(found, self.store)

    # -- who asked

    def asker(self) -> str:
        """Say who was judged or refused."""
        writer = self.store.registry.writers.get(self.row.writer_id or 0)
        name = "somebody who only reads" if writer is None else f"{writer.name} ({writer.role}"
        process = self._process(self.row.instance_id)
        if writer is None:
            return name
        return f"{name})" if process is None else f"{name}; {process})"

    def _process(self, instance_id: int | None) -> str | None:
        """Say which process an instance is, if its row is as a key holder stored it."""
        where = f"{sql.all_of(instances)} WHERE id = ?"
        row = self._cursor.execute(where, (instance_id,)).fetchone()
        if row is None or row[-1] != self.store.mac("instance", *row[:-1]):
            return None
        names = [column.name for column in instances.c]
        found = dict(zip(names, row, strict=True))
        words = {name: _text(found[name]) for name in ("pid", "host", "program")}
        return process_words(words)

    # -- the entries between ------------------------------------------------------------

    def between(self) -> tuple[tuple[Between, ...], int]:
        """Return every entry between what was expected and found, and how many more there are."""
        return self._checked() if self.is_check else self._claimed()

    def _checked(self) -> tuple[tuple[Between, ...], int]:
        """Return what stood after the fence: as it was found then where it made the verdict."""
        causes = {item["seq"]: item for item in self.facts["foreign"]}
        first, last = self.facts["fence"]["seq"] + 1, self.facts["head"]["seq"]
        found = [
            self._row(row, _cause_of(causes.get(row.seq)))
            for row in self._rows(first, last)
            if row.seq not in causes
        ]
        told_causes = [self._found_then(item) for item in causes.values()]
        left = max(0, last - first + 1 - LIMIT)
        return tuple(sorted([*found, *told_causes], key=lambda row: row.seq)), left

    def _claimed(self) -> tuple[tuple[Between, ...], int]:
        """Return what stood from the claim that was expected, or stood in the way, to the head."""
        claims = [self.facts["expected"]["claim"], self.facts["found"]["claim"]]
        since = min(claim for claim in (*claims, self.row.facts["head"]["epoch"]) if claim)
        last = self.facts["head"]["seq"] + (self.row.outcome == SUPERSESSION)
        rows = list(self._rows_from(since, last))
        by = self.facts.get("holder") if self.row.outcome != SUPERSESSION else None
        token = self.facts["found"]["claim"] if by is None else by["token"]
        found = (self._row(row, _claim_cause(row, token, claims[0])) for row in rows[:LIMIT])
        return tuple(found), max(0, len(rows) - LIMIT)

    def _rows(self, first: int, last: int) -> Iterable[Row]:
        rows = rows_of(self._cursor, self.chain.session_id, first, last)
        return (row for _, row in zip(range(LIMIT), rows, strict=False))

    def _rows_from(self, epoch: int, last: int) -> Iterable[Row]:
        where = "SELECT min(seq) FROM entries WHERE session_id = ? AND epoch >= ? AND seq > 0"
        (first,) = self._cursor.execute(where, (self.chain.session_id, epoch)).fetchone()
        return [] if first is None else rows_of(self._cursor, self.chain.session_id, first, last)

    def _row(self, row: Row, cause: str | None) -> Between:
        entry = inspection.entry_of(row, self.chain, self.store.registry.writers)
        is_true = entry.trust in told.TRUE
        return Between(
            entry.seq, entry.epoch, entry.created_us, entry.writer, entry.role, entry.trust,
            entry.kind, entry.claim, self._origin(entry, row), (entry.body or b"")[:_KEPT],
            self._process(entry.instance_id) if is_true else None, entry.instance_id, cause,
        )  # fmt: skip

    def _found_then(self, item: Mapping[str, Any]) -> Between:
        """Return a foreign entry as the verdict found it; what it is now may be something else."""
        place = item["origin"]
        row = self._row_at(item["seq"])
        if row is None and item["trust"] != "missing":
            place = f"{place}; gone since"
        elif row is not None and item["trust"] == "external":
            entry = inspection.entry_of(row, self.chain, self.store.registry.writers)
            place = self._origin(entry, row)
            if entry.trust in ("accepted", "rejected"):
                place = f"{place}; {entry.trust} since"
        elif row is not None and inspection.is_resolved(row, self.chain):
            place = f"{place}; {self.chain.resolved[item['seq']].verdict}ed since"
        return Between(
            item["seq"], item["epoch"], item.get("created_us", 0), item["claims_writer"],
            item["claims_role"], item["trust"], item.get("kind", "line"), item["claim"], place,
            item["body"].encode(), None, item["instance"], _cause_of(item),
        )  # fmt: skip

    def _origin(self, entry: Entry, row: Row) -> str:
        """Say where an entry came from: a database row; or a file, and where in it."""
        if entry.origin not in ("mirror", "file"):
            return origin(entry)
        mirror = self.store.registry.mirrors.get(self.chain.session_id)
        name = "a file" if mirror is None else mirror.path
        if entry.kind == "control" or not self.chain.layout.is_plain:
            return f"{name}, as database row {entry.row_id}"
        offset = row.cum_bytes - len(entry.data)
        return f"{name} at byte {offset}, as database row {entry.row_id}"

    def open_seqs(self) -> list[int]:
        """Return the foreign seqs that can still be resolved."""
        found = []
        for item in self.facts["foreign"]:
            row = self._row_at(item["seq"])
            if row is None or inspection.is_resolved(row, self.chain):
                continue
            if not inspection.entry_of(row, self.chain, self.store.registry.writers).trusted:
                found.append(row.seq)
        return found

    def _row_at(self, seq: int) -> Row | None:
        if not MIN_SEQ <= seq <= MAX_SEQ:
            return None
        found = self._cursor.execute(sql.row_at(), (self.chain.session_id, seq)).fetchone()
        return None if found is None else Row._make(found)



def _cause_of(item: Mapping[str, Any] | None) -> str | None:
    return None if item is None else f"it {item['reason']}"


def _claim_cause(row: Row, token: int | None, expected: int | None) -> str | None:
    if row.epoch == token and row.kind == b"control" and b'"control":"claim"' in (row.body or b""):
        return "the claim in the way" if expected is None else "the claim that ended the turn"
    return None


def _text(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value

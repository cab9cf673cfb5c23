"""One kept verdict and all that the journal knows about it, read in one state of the database.

The verdict's own row tells what only its moment could: who held the session, and
whether that process lived. All else is read from sealed entries, which do not change.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from journal import explanation as told
from journal import inspection, parking, settling, verdicts
from journal import statements as sql
from journal.controls import decode
from journal.errors import EntryError, NotFoundError
from journal.explanation import Between
from journal.fileedit import EDIT, each_in, removed_by, sort_of
from journal.instance import process_of
from journal.model import Row
from journal.pages import MAX_SEQ, MIN_SEQ, rows_of
from journal.places import places_of
from journal.verdict import BETWEEN_FENCES, CHANGED_SINCE, REWRITTEN_SINCE, TAKEOVER, origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.model import Entry
    from journal.parking import Parked
    from journal.store import Store
    from journal.verdicts import VerdictRow

LIMIT: Final = 1000
SUPERSESSION: Final = "supersession"
_KEPT: Final = 400
_FACTS: Final = 4000  # a fact that is cut off says nothing
_REMOVED: Final = 20


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
    def is_stale(self) -> bool:
        """Whether a write was refused for what it went out from, and not for a claim."""
        return self.row.outcome in (CHANGED_SINCE, REWRITTEN_SINCE)

    @property
    def base(self) -> int:
        """The position that a stale write went out from."""
        base: int = self.facts["expected"]["base"]
        return base

    @property
    def holder(self) -> Mapping[str, Any] | None:
        """Who held the session then."""
        found: Mapping[str, Any] | None = self.facts.get("holder")
        return found

    # -- finding ----------------------------------------------------------------------

    def _find(self) -> VerdictRow:
        store, cursor, wanted = self.store, self._cursor, self._wanted
        is_id = isinstance(wanted, str) and wanted.isascii() and wanted[:1] in ("v", "p", "f")
        if not is_id:
            # What is asked for by a word is not there; None is no word.
            kind = NotFoundError if isinstance(wanted, str) and wanted else EntryError
            raise kind(
                f"{wanted!r} is no id that can be explained",
                hint="name a verdict (v…), a parked write (p…) or a fence (f…): journal why lists some",
                code="id",
            )
        if wanted.startswith("v"):
            return verdicts.find(cursor, store, wanted)
        if wanted.startswith("f"):
            return self._of_fence()
        row = parking.whole(cursor, store, wanted)
        self.parked = parking.parked_of(row, store)
        newest = verdicts.of_parked(cursor, store, row.session_id, row.id)
        if newest is not None:
            return newest  # equal lines are parked once: the latest refusal is what matters now
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
        hint = f"journal fence check {self._wanted}" if is_there else "journal why"
        raise NotFoundError(f"fence {self._wanted!r} {what}", hint=hint, code="no-verdict")

    def _parked_by(self) -> Parked | None:
        rows = parking.of_session(self._cursor, self.row.session_id, settled=True)
        wanted = self.facts.get("parked")  # equal lines are parked once, by the first verdict
        mine = (
            row
            for row in rows
            if (row.verdict_id == self.row.id or row.id == wanted) and row.holds(self.store)
        )
        found = next(mine, None)
        return None if found is None else parking.parked_of(found, self.store)

    def foreign(self) -> Iterator[tuple[int, str]]:
        """Yield each foreign entry's seq and sort; one that the evidence leaves out by the last seq that is known of its sort."""
        if not self.facts.get("sorts"):  # as a verdict was kept that knew only of those it tells
            for item in self.facts["foreign"]:
                yield item["seq"], sort_of(item["trust"], item.get("kind", "line"))
            return
        for sort, (count, first) in self.facts["sorts"].items():
            yield from ((seq, sort) for seq in first)
            yield from repeat((first[-1], sort), count - len(first))

    # -- what was done to the file

    def edits(self) -> list[dict[str, Any]]:
        """Return what the foreign entries say that record an edit of the session's file."""
        found = []
        for item in self.facts["foreign"]:
            is_edit = sort_of(item["trust"], item.get("kind", "line")) == EDIT
            row = self._row_at(item["seq"]) if is_edit else None
            trust = "missing" if row is None else self._entry(row).trust
            # One that was altered says whatever somebody has it say.
            if row is not None and trust in told.TRUE and trust != "altered":
                found.append(decode(row.body))
        return found

    def removed(self) -> tuple[Between, ...]:
        """Return the lines that were taken out of the session's file, the first of them."""
        ranges = [span for facts in self.edits() for span in removed_by(facts)]
        rows = (self._row_at(seq) for seq in each_in(ranges, _REMOVED))
        return self._told([self._brief(row) for row in rows if row is not None], {})

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
        return process_of(self._cursor, self.store.mac, instance_id)

    @property
    def can_be_applied(self) -> bool:
        """Whether the refused write may be applied: its writer stands, and its lines are there."""
        parked = self.parked
        if parked is None or parked.settled is not None or not parked.lines:
            return False
        writer = self.store.registry.by_name.get(parked.writer)
        return writer is not None and writer.revoked_us is None

    def settlement(self) -> dict[str, Any] | None:
        """Return how the refused write ended: how, when, by whom, as which seqs, and why."""
        if self.parked is None or self.parked.settled is None:
            return None
        row = parking.whole(self._cursor, self.store, self.parked.id)
        found = settling.settlement(self._cursor, self.store, row)
        if found is None:
            return None
        process = self._process(found.instance_id)
        return {**found._asdict(), "seqs": list(found.seqs), "process": process}

    # -- the entries between ------------------------------------------------------------

    def between(self) -> tuple[tuple[Between, ...], int]:
        """Return every entry between what was expected and found, and how many more there are."""
        if self.is_check:
            return self._checked()
        return self._came_since() if self.is_stale else self._claimed()

    def _checked(self) -> tuple[tuple[Between, ...], int]:
        """Return what stood after the fence: as it was found then where it made the verdict."""
        causes = {item["seq"]: self._found_then(item) for item in self.facts["foreign"]}
        first, last = self.facts["fence"]["seq"] + 1, self.facts["head"]["seq"]
        rows, left = self._ends(first, last)
        others = self._told([row for row in rows if row.seq not in causes], {})
        left = _not_told(left, first, last, causes)
        return tuple(sorted([*others, *causes.values()], key=lambda row: row.seq)), left

    def _came_since(self) -> tuple[tuple[Between, ...], int]:
        """Return what stood from the position that the write went out from to the head it met."""
        rows, left = self._ends(self.base + 1, self.facts["head"]["seq"])
        if self.row.outcome == CHANGED_SINCE:
            return self._told(rows, {row.seq: "came since it was read" for row in rows}), left
        # Lines that came stay at the end, and no rewrite is refused for them.
        layouts = [row.seq for row in rows if _is_layout(row)]
        return self._told(rows, dict.fromkeys(layouts, "gave the lines another order since")), left

    def _claimed(self) -> tuple[tuple[Between, ...], int]:
        """Return what stood from the claim that was expected, or stood in the way, to the head."""
        expected, found = self.facts["expected"]["claim"], self.facts["found"]["claim"]
        since = min(claim for claim in (expected, found, self.facts["head"]["epoch"]) if claim)
        # The successor's claim is the very entry after the head that it met.
        last = self.facts["head"]["seq"] + (self.row.outcome == SUPERSESSION)
        where = "SELECT min(seq) FROM entries WHERE session_id = ? AND epoch >= ? AND seq > 0"
        (first,) = self._cursor.execute(where, (self.chain.session_id, since)).fetchone()
        first = first or last
        rows, left = self._ends(first, last)
        by = self.holder if self.row.outcome != SUPERSESSION else None
        cause = self._claim_at(found if by is None else by["token"])
        why = "the claim in the way" if expected is None else "the claim that ended the turn"
        if cause is None:
            return self._told(rows, {}), left
        left = _not_told(left, first, last, [cause.seq])
        known = {row.seq: row for row in [*rows, self._brief(cause)]}
        return self._told([known[seq] for seq in sorted(known)], {cause.seq: why}), left

    def _ends(self, first: int, last: int) -> tuple[list[Entry], int]:
        """Return the entries of a range, of a long one its two ends, and how many are left out."""
        spans = [(first, last)]
        left = max(0, last - first + 1 - LIMIT)
        if left:
            half = LIMIT // 2
            spans = [(first, first + half - 1), (last - half + 1, last)]
        rows = (
            row for span in spans for row in rows_of(self._cursor, self.chain.session_id, *span)
        )
        return [self._brief(row) for row in rows], left

    def _claim_at(self, token: int | None) -> Row | None:
        where = "SELECT seq FROM entries WHERE session_id = ? AND kind = 'control' AND epoch = ?"
        found = self._cursor.execute(where, (self.chain.session_id, token)).fetchall()
        rows = [row for (seq,) in found if (row := self._row_at(seq)) is not None]
        return next((row for row in rows if decode(row.body).get("control") == "claim"), None)

    def _told(self, entries: Sequence[Entry], causes: Mapping[int, str]) -> tuple[Between, ...]:
        places = places_of(self._cursor, self.store, self.chain, entries)
        return tuple(
            Between(
                entry.seq, entry.epoch, entry.created_us, entry.writer, entry.role, entry.trust,
                entry.kind, entry.claim, origin(entry, places.get(entry.seq)),
                (entry.body or b"")[: _FACTS if entry.kind == "control" else _KEPT],
                self._process(entry.instance_id) if entry.trust in told.TRUE else None,
                entry.instance_id, causes.get(entry.seq),
            )
            for entry in entries
        )  # fmt: skip

    def _brief(self, row: Row) -> Entry:
        """Return a row as an entry, of its line the beginning alone: of a thousand lines each may have 8 MiB."""
        entry = self._entry(row)
        if entry.kind == "control" or entry.body is None:
            return entry
        return entry._replace(body=entry.body[:_KEPT])

    def _entry(self, row: Row) -> Entry:
        return inspection.entry_of(row, self.chain, self.store.registry.writers)

    def _found_then(self, item: Mapping[str, Any]) -> Between:
        """Return a foreign entry as the verdict found it; what it is now may be something else."""
        place = item["origin"]
        body = item["body"].encode()
        row = self._row_at(item["seq"])
        if row is None and item["trust"] != "missing":
            place = f"{place}; gone since"
        elif row is not None and item["trust"] == "external":
            entry = self._entry(row)
            body = (entry.body or b"")[:_FACTS] if entry.kind == "control" else body
            if entry.trust in ("accepted", "rejected"):
                place = f"{place}; {entry.trust} since"
        elif row is not None and inspection.is_resolved(row, self.chain):
            place = f"{place}; {self.chain.resolved[item['seq']].verdict}ed since"
        return Between(
            item["seq"], item["epoch"], item.get("created_us", 0), item["claims_writer"],
            item["claims_role"], item["trust"], item.get("kind", "line"), item["claim"], place,
            body, None, item["instance"], f"it {item['reason']}",
        )  # fmt: skip

    def open_seqs(self) -> list[int]:
        """Return the foreign seqs that can still be resolved."""
        found = []
        for item in self.facts["foreign"]:
            row = self._row_at(item["seq"])
            if row is None or inspection.is_resolved(row, self.chain):
                continue
            if not self._entry(row).trusted:
                found.append(row.seq)
        return found

    def _row_at(self, seq: int) -> Row | None:
        if not MIN_SEQ <= seq <= MAX_SEQ:
            return None
        found = self._cursor.execute(sql.row_at(), (self.chain.session_id, seq)).fetchone()
        return None if found is None else Row._make(found)


def _not_told(left: int, first: int, last: int, causes: Iterable[int]) -> int:
    """Return how many entries of a range are left out, of whose middle the causes are told nevertheless."""
    half = LIMIT // 2
    return max(0, left - sum(first + half <= seq <= last - half for seq in causes))


def _is_layout(entry: Entry) -> bool:
    return entry.kind == "control" and decode(entry.body).get("control") == "layout"

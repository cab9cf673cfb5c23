"""Why: one takeover, refusal, parked write or supersession, explained from what the journal knows.

The verdict's own row tells what only its moment could: who held the session, and
whether that process lived. All else is read from sealed entries, which do not change.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from journal import explanation as told
from journal import inspection, parking, verdicts
from journal import statements as sql
from journal.chain import rows_of
from journal.errors import EntryError, NotFoundError
from journal.explanation import Act, Between, Explanation, counted, process_words, when
from journal.model import Row
from journal.parking import Parked
from journal.tables import fences, instances
from journal.verdict import BETWEEN_FENCES, TAKEOVER, origin, rule_of, what_happened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.journal import Journal
    from journal.model import Entry
    from journal.store import Store
    from journal.verdicts import VerdictRow

LIMIT: Final = 1000
_DAY_US: Final = 24 * 3600 * 1_000_000
_WEEK_US: Final = 7 * _DAY_US
_CLAIMS: Final = "while a claim stands, writers of the role run write only through its turn"
_NEWER: Final = "once a newer claim is made, the older turn writes nothing more; what it tries is parked"


def why(journal: Journal, wanted: str) -> Explanation:
    """Explain one verdict (v…), parked write (p…) or fence (f…): rule, evidence, what to do next.

    Raises:
        NotFoundError: nothing of this id was kept.
        EntryError: it is no such id.
        RefusedError: what was kept was changed since.

    """
    store = journal.store
    with store.snapshot() as cursor:
        return _Case(store, cursor, wanted).explained()


class _Case:
    """One verdict under explanation, in one state of the database."""

    def __init__(self, store: Store, cursor: Cursor, wanted: str) -> None:
        self._store, self._cursor, self._wanted = store, cursor, wanted
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

    # -- finding ----------------------------------------------------------------------

    def _find(self) -> VerdictRow:
        store, cursor, wanted = self._store, self._cursor, self._wanted
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
        found = verdicts.of_fence(self._cursor, self._store, self._wanted)
        if found is not None:
            return found
        where = "SELECT 1 FROM fences WHERE id = ?"
        is_there = self._cursor.execute(where, (self._wanted,)).fetchone() is not None
        what = "was never judged to be taken over" if is_there else "is not there"
        hint = f"journal fence check {self._wanted}" if is_there else "journal status"
        raise NotFoundError(f"fence {self._wanted!r} {what}", hint=hint, code="no-verdict")

    def _parked_by(self) -> Parked | None:
        rows = parking.of_session(self._cursor, self.row.session_id, settled=True)
        mine = (row for row in rows if row.verdict_id == self.row.id and row.holds(self._store))
        found = next(mine, None)
        return None if found is None else parking.parked_of(found, self._store)

    # -- telling ----------------------------------------------------------------------

    def explained(self) -> Explanation:
        """Return the whole explanation."""
        is_check = self.row.outcome in (TAKEOVER, BETWEEN_FENCES)
        between, left_out = self._checked() if is_check else self._claimed()
        return Explanation(
            self._wanted,
            self.chain.key,
            classes(self.row.outcome, self.facts),
            self._what(),
            rule_of(self.row.policy) if is_check else _rule(self.row.outcome),
            self._expected(),
            {"words": "the head at", **self.facts["head"], **self._claim_found()},
            self.row.judged_us,
            self.facts.get("holder"),
            between,
            left_out,
            self._lately(),
            {} if self.parked is None else _parked_facts(self.parked),
            tuple(self._acts()),
        )

    def _expected(self) -> dict[str, Any]:
        if "fence" in self.facts:
            return {"words": "only declared writers after", **self.facts["fence"]}
        claim = self.facts["expected"]["claim"]
        if self.row.outcome == "supersession":
            return {"words": "held until then:", "claim": claim}
        if claim is None:
            return {"words": "a write without a turn, so:", "claim": None}
        return {"words": "the writer's own turn to stand:", "claim": claim, "epoch": claim}

    def _claim_found(self) -> dict[str, Any]:
        if "found" in self.facts:
            return {"claim": self.facts["found"]["claim"]}
        return {"claim": self.facts.get("claim")}

    def _what(self) -> tuple[str, ...]:
        asker = self._asker()
        if self.row.outcome in (TAKEOVER, BETWEEN_FENCES):
            foreign = [(item["seq"], item["trust"]) for item in self.facts["foreign"]]
            said = what_happened(self.row.outcome, foreign, self.facts["arrived_count"], asker)
        else:
            said = self._refused(asker)
        more = self.facts.get("foreign_count", 0) - len(self.facts["foreign"])
        rest = () if more <= 0 else (f"The first {len(self.facts['foreign'])} are told below.",)
        return (*said, *rest, *self._kept_words())

    def _refused(self, asker: str) -> tuple[str, ...]:
        holder, expected = self.facts.get("holder"), self.facts["expected"]["claim"]
        who = "somebody" if holder is None else f"{holder['writer']} ({holder['role']})"
        if self.row.outcome == "supersession":
            gone = ", whose process was gone," if _is_dead(holder) else ""
            reason = self.facts.get("reason")
            return (
                f"{asker} claimed the session and so ended claim {expected} of {who}{gone} "
                f"giving as reason: {reason}.",
                f"Whatever the turn with claim {expected} tried to write from then on was refused and parked.",
            )
        if self.row.outcome == "released":
            return (f"{asker} tried to write through turn {expected}, which had been released.",)
        if self.row.outcome == "superseded":
            reason = (holder or {}).get("reason") or "no reason given"
            at = when((holder or {}).get("claimed_us", 0))
            return (
                f"{asker} tried to write through turn {expected}, but {who} had superseded that turn "
                f"at {at}, giving as reason: {reason}.",
            )
        gone = " Its process was gone: the claim is stranded." if _is_dead(holder) else ""
        return (f"{asker} tried to write without a turn while {who} held the session.{gone}",)

    def _kept_words(self) -> tuple[str, ...]:
        if self.parked is None:
            return ()
        if self.parked.settled == "applied":
            return ("The refused write was kept, and applied later.",)
        if self.parked.settled == "discarded":
            return ("The refused write was kept, and discarded later: it is not in the session.",)
        return ("The write was refused: nothing of it is in the session, all of it is parked.",)

    def _asker(self) -> str:
        writer = self._store.registry.writers.get(self.row.writer_id or 0)
        name = "somebody who only reads" if writer is None else f"{writer.name} ({writer.role}"
        process = self._process(self.row.instance_id)
        if writer is None:
            return name
        return f"{name})" if process is None else f"{name}; {process})"

    def _process(self, instance_id: int | None) -> str | None:
        """Say which process an instance is, if its row is as a key holder stored it."""
        where = f"{sql.all_of(instances)} WHERE id = ?"
        row = self._cursor.execute(where, (instance_id,)).fetchone()
        if row is None or row[-1] != self._store.mac("instance", *row[:-1]):
            return None
        names = [column.name for column in instances.c]
        found = dict(zip(names, row, strict=True))
        words = {name: _text(found[name]) for name in ("pid", "host", "program")}
        return process_words(words)

    # -- the entries between ------------------------------------------------------------

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
        last = self.facts["head"]["seq"] + (self.row.outcome == "supersession")
        rows = [row for row in self._rows_from(since, last)]
        by = self.facts.get("holder") if self.row.outcome != "supersession" else None
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
        entry = inspection.entry_of(row, self.chain, self._store.registry.writers)
        is_true = entry.trust in told.TRUE
        return Between(
            entry.seq, entry.epoch, entry.created_us, entry.writer, entry.role, entry.trust,
            entry.kind, entry.claim, self._origin(entry, row), (entry.body or b"")[:_KEPT],
            self._process(entry.instance_id) if is_true else None, entry.instance_id, cause,
        )  # fmt: skip

    def _found_then(self, item: Mapping[str, Any]) -> Between:
        """Return a foreign entry as the verdict found it; what it is now may be something else."""
        place = item["origin"]
        row = None
        if -(2**63) <= item["seq"] < 2**63:
            row = self._cursor.execute(
                sql.row_at(), (self.chain.session_id, item["seq"])
            ).fetchone()
        if row is None and item["trust"] != "missing":
            place = f"{place}; gone since"
        elif row is not None and item["trust"] == "external":
            found = Row._make(row)
            entry = inspection.entry_of(found, self.chain, self._store.registry.writers)
            place = self._origin(entry, found)
            if entry.trust in ("accepted", "rejected"):
                place = f"{place}; {entry.trust} since"
        elif row is not None and inspection.is_resolved(Row._make(row), self.chain):
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
        mirror = self._store.registry.mirrors.get(self.chain.session_id)
        name = "a file" if mirror is None else mirror.path
        if entry.kind == "control" or not self.chain.layout.is_plain:
            return f"{name}, as database row {entry.row_id}"
        offset = row.cum_bytes - len(entry.data)
        return f"{name} at byte {offset}, as database row {entry.row_id}"

    # -- how often, and what next -------------------------------------------------------

    def _lately(self) -> dict[str, Any]:
        now, mine = self._store.clock(), self._signature(self.row)
        same = [
            row.judged_us
            for row in verdicts.since(self._cursor, self._store, now - _WEEK_US)
            if self._signature(row) == mine
        ]
        day = sum(1 for at_us in same if at_us >= now - _DAY_US)
        return {"signature": mine, "day": day, "week": len(same)}

    def _signature(self, row: VerdictRow) -> str:
        """Return what makes two verdicts the same trouble: its class, and whom it concerns."""
        facts = row.facts
        names = ", ".join(classes(row.outcome, facts))
        if facts["foreign"]:
            whom = sorted({item["claims_writer"] for item in facts["foreign"]})[:3]
            return f"{names}, in the name of {' and '.join(whom)}"
        writer = self._store.registry.writers.get(row.writer_id or 0)
        return f"{names}, of {writer.name if writer else 'nobody'}"

    def _acts(self) -> Iterable[Act]:
        key, who = quote(self.chain.key), _operator(self._store)
        open_seqs = self._open_seqs()
        if open_seqs:
            seqs = " ".join(map(str, open_seqs[:20]))
            each = f"journal resolve {key} {seqs} --reason 'not ours' {who}"
            yield Act("they go out of the session's file, and stay on record", f"{each} --reject")
            known = each.replace("'not ours'", "'known and wanted'")
            yield Act("or they stay, marked as accepted", f"{known} --accept")
        if self.parked is not None and self.parked.settled is None:
            yield Act("shows what was refused", f"journal parked show {self.parked.id}")
            yield Act("writes it now", f"journal parked apply {self.parked.id} {who}")
            yield Act("drops it", f"journal parked discard {self.parked.id}")
        if _is_dead(self.facts.get("holder")) and self._is_stranded_still():
            take = f"journal claim take {key} {who} --supersede 'its holder is gone'"
            yield Act("ends the stranded claim", take)
        if self.row.outcome not in (TAKEOVER, BETWEEN_FENCES):
            yield Act("shows who holds the session now", f"journal claim show {key}")
        elif "missing" in {item["trust"] for item in self.facts["foreign"]}:
            yield Act("tells what else is gone or damaged", f"journal audit {key}")
        yield Act("shows who wrote what", f"journal who {key}")

    def _is_stranded_still(self) -> bool:
        return self.chain.head.claim == self.facts["holder"]["token"]

    def _open_seqs(self) -> list[int]:
        """Return the foreign seqs that can still be resolved."""
        found = []
        for item in self.facts["foreign"]:
            row = None
            if -(2**63) <= item["seq"] < 2**63:
                row = self._cursor.execute(
                    sql.row_at(), (self.chain.session_id, item["seq"])
                ).fetchone()
            if row is None:
                continue
            entry = inspection.entry_of(Row._make(row), self.chain, self._store.registry.writers)
            is_foreign = not entry.trusted and entry.trust not in ("accepted", "rejected")
            if is_foreign and not inspection.is_resolved(Row._make(row), self.chain):
                found.append(entry.seq)
        return found


_KEPT: Final = 400


def classes(outcome: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class of a kept verdict, from its evidence alone."""
    if outcome in (TAKEOVER, BETWEEN_FENCES):
        return told.classes_of([item["trust"] for item in facts["foreign"]])
    dead = _is_dead(facts.get("holder"))
    if outcome == "supersession":
        return (told.SUPERSESSION, told.STRANDED) if dead else (told.SUPERSESSION,)
    if outcome == "claimed":
        return (told.STRANDED,) if dead else (told.CLAIMED,)
    return (told.RELEASED,) if outcome == "released" else (told.SUPERSEDED,)


def _rule(outcome: str) -> str:
    return _CLAIMS if outcome == "claimed" else _NEWER


def _is_dead(holder: Mapping[str, Any] | None) -> bool:
    return holder is not None and holder["liveness"] == "dead"


def _cause_of(item: Mapping[str, Any] | None) -> str | None:
    return None if item is None else f"it {item['reason']}"


def _claim_cause(row: Row, token: int | None, expected: int | None) -> str | None:
    if row.epoch == token and row.kind == b"control" and b'"control":"claim"' in (row.body or b""):
        return "the claim in the way" if expected is None else "the claim that ended the turn"
    return None


def _operator(store: Store) -> str:
    """Return the options that name an operator: one there is, or one that may be declared."""
    for writer in store.registry.by_name.values():
        if writer.role == "operator" and writer.revoked_us is None and ":" not in writer.name:
            return f"-w {quote(writer.name)}"
    name = "operator"
    while name in store.registry.by_name:
        name += "-2"
    return f"-w {name} --role operator"


def _parked_facts(parked: Parked) -> dict[str, Any]:
    return {
        "id": parked.id,
        "writer": parked.writer,
        "reason": parked.reason,
        "lines": len(parked.lines),
        "bytes": sum(map(len, parked.lines)),
        "times": parked.times,
        "settled": parked.settled,
        "parked_us": parked.parked_us,
    }


def _text(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value

"""Audits one session: its rows, and the rows of other tables that are about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import tables
from journal.audit import claims, named, projections, proofs, redactions, requests
from journal.audit.evidence import described
from journal.audit.findings import EVIDENCE_LIMIT
from journal.audit.judging import Linked, Sealed
from journal.audit.layouts import Layouts
from journal.audit.migrated import Receipts
from journal.audit.proofs import Witness
from journal.audit.source import text
from journal.audit.spans import common, minus
from journal.audit.walk import Walk
from journal.audit.witnesses import Hearing
from journal.controls import CONTROL
from journal.eras import EraDigest
from journal.fields import UNFIT
from journal.model import REGISTRY_ID
from journal.redacted import standing
from journal.seal import holds
from journal.strays import Ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal.audit.ahead import Ahead
    from journal.audit.declarations import Declarations
    from journal.audit.findings import Findings
    from journal.audit.keyring import Keyring
    from journal.audit.source import Source
    from journal.audit.tally import Tally
    from journal.model import Row
    from journal.redacted import Intent, Piece
    from journal.seal import Mac

KNOWN_FACTS: Final = frozenset(
    {
        "stray",
        "claim",
        "release",
        "resolution",
        "layout",
        "edit",
        "damage",
        "index",
        "redacting",
        "redaction",
        "unredacted",
    }
)
# What the last of them says of the mirror's file; any other edit says nothing of it.
_MIRROR_STATES: Final = {"gone": "gone", "refused": "refused", "back": None, "made": None, "resumed": None}  # fmt: skip
_TOLD_EVERY: Final = 512


class Head(NamedTuple):
    """Where a session's chain ends, and how much is in it."""

    session: str
    seq: int
    epoch: int
    seal: str
    entries: int
    bytes: int


class SessionAudit:
    """The audit of one session.

    Attributes:
        tally: what was looked at.
        layouts: the session's file order.
        unknown: control entries of a kind this version does not know, by kind.

    """

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        keyring: Keyring,
        known: Declarations,
        found: Findings,
        session_id: int,
        key: str,
    ) -> None:
        self.key = key
        self.session_id = session_id
        self.layouts = Layouts()
        self.mirror_state: str | None = None
        self._intent: Intent | None = None
        self.unknown: dict[str, int] = {}
        self.counts: dict[str, int] = {}
        self._source = source
        self._keyring = keyring
        self._known = known
        self._found = found
        self._sealer = keyring.sealer(session_id, key)
        self._redactions = redactions.read(source, session_id, self._sealer)
        self.redacted = redactions.sizes(self._redactions)
        if self._sealer is not None:
            self._sealer.redacted = self.redacted
        judge = Linked(self.redacted) if self._sealer is None else Sealed(self._sealer)
        self._walk = Walk(key, judge, known, found, on_entry=self._take)
        self._claims = claims.Claims(known, self._note)
        self._names: list[named.Named] = []
        self._moves: list[tuple[Row, Any]] = []
        self._resolved: dict[int, str | None] = {}
        self._receipts = Receipts(source.table(tables.migrated_files, session_id))
        self._row = projections.row_of(source, session_id)
        self._witnesses: list[Witness] = []
        self._proven = 0

    @property
    def tally(self) -> Tally:
        """What was looked at."""
        return self._walk.tally

    @property
    def head(self) -> Head:
        """Where the chain ends."""
        last, tally = self._walk.last, self.tally
        if last is None:
            return Head(self.key, 0, 0, "", 0, 0)
        return Head(self.key, last.seq, last.epoch, last.seal[:8].hex(), tally.entries, tally.bytes)

    def run(
        self,
        told: Callable[[int], None] | None = None,
        *,
        is_quick: bool = False,
        ahead: Ahead | None = None,
    ) -> None:
        """Look at everything; quickly, at all but the lines' bytes.

        Args:
            told: called now and then with how many bytes of lines were looked at since.
            is_quick: believe the lines' bytes.
            ahead: who may have judged some of it already.

        """
        if is_quick and self._sealer is not None:
            self._receipts = Receipts()  # they are sums over the lines
        self._walk.tells_each = bool(self._receipts)
        if is_quick and self._sealer is not None:
            rows, whole_row = self._source.rows(self.session_id, lines=False), self._source.row
            self._walk.feed_all(rows if told is None else _telling(rows, told), whole_row)
        elif ahead is not None and ahead.has(self.session_id):
            self._walk_towards(ahead, told)
        else:
            rows = self._source.rows(self.session_id)
            self._walk.feed_all(rows if told is None else _telling(rows, told))
        self._walk.finish()
        self._check_eras()
        self._claims.close()
        if self._keyring.mac is None:
            self._count_unproved()
        else:
            self._check_proofs(self._keyring.mac)
        self._check_requests()
        self._settle()
        self._check_tables()

    def _walk_towards(self, ahead: Ahead, told: Callable[[int], None] | None) -> None:
        """Walk a session stretch by stretch, and take over those that somebody found plain."""
        walk, claims_of = self._walk, self._claims
        for at, first, last in ahead.stretches(self.session_id):
            said, plain = walk.tally.bytes, ahead.answer(at)
            if plain and walk.follows(plain.before) and claims_of.agrees(plain.writes):
                for row in plain.writes:
                    claims_of.feed(row, None, links=True)
                walk.skip(plain)
            else:
                walk.feed_all(self._source.rows_between(self.session_id, first, last))
            if told is not None:
                told(walk.tally.bytes - said)

    def overwritten(self, mirror: int) -> tuple[Piece, ...]:
        """Return what a redaction that has not ended was about to overwrite in a mirror's file."""
        intent_ = self._intent
        return () if intent_ is None or intent_.mirror != mirror else intent_.pieces

    # -- while walking ----------------------------------------------------------------

    def _take(self, row: Row, facts: dict[str, Any] | None, links: bool) -> None:  # noqa: FBT001 - a callback
        if not links or (facts is None and row.kind == CONTROL):
            self.layouts.lose()  # what is gone or damaged may have been a layout
        try:
            self._claims.feed(row, facts, links=links)
            if facts is not None:
                self._learn(row, facts)
        except (KeyError, *UNFIT):
            self._note("J112", "a fact that lacks what such a fact says", row)
        if self._receipts and row.kind != CONTROL:
            self._receipts.feed(row, is_redacted=row.seq in self.redacted)

    def _learn(self, row: Row, facts: dict[str, Any]) -> None:
        what = str(facts.get("control"))
        self._intent = standing(self._intent, facts)
        if what == "layout":
            fault = self.layouts.learn(facts)
            if fault is not None:
                self._note("J209", fault, row)
        elif what == "edit":
            self.mirror_state = _MIRROR_STATES.get(facts["what"], self.mirror_state)
        elif what == "resolution":
            digests = facts.get("digests", {})
            self._resolved |= {int(seq): digests.get(str(seq)) for seq in facts["seqs"]}
        elif what == "stray":
            self._names += named.read(row, facts)
            if facts.get("projection") is not None:
                self._moves.append((row, facts))
        elif self.session_id == REGISTRY_ID:
            if not self._known.learn(row, facts):
                self.unknown[what] = self.unknown.get(what, 0) + 1
        elif what not in KNOWN_FACTS:
            self.unknown[what] = self.unknown.get(what, 0) + 1

    def _note(self, check: str, cause: str, row: Row) -> None:
        evidence = described(row, self._known)
        self._found.add(check, cause, session=self.key, seq=row.seq, evidence=evidence)

    def _check_eras(self) -> None:
        """J113: hold what was sealed in earlier key eras against what began the next."""
        for key_id, bound in self._keyring.bounds(self.session_id):
            digest = EraDigest()
            for row in self._source.rows_between(self.session_id, 1, bound.seq):
                if self._is_true(row):
                    digest.feed(row)
            if digest.bound() != bound:
                told = {"era": key_id, "until": bound.seq, "digest": bound.digest}
                cause = f"the entries up to the end of era {key_id} have another digest"
                self._found.add("J113", cause, session=self.key, evidence=told)

    # -- other tables -----------------------------------------------------------------

    def _count_unproved(self) -> None:
        for _, table, _ in proofs.PROVED:
            rows = sum(1 for _ in self._source.table(table, self.session_id))
            if rows:
                self.counts[table.name] = rows

    def _check_proofs(self, mac: Mac) -> None:
        for check, table, faults in proofs.PROVED:
            for answer in faults(self._source.table(table, self.session_id), mac):
                self.counts[table.name] = self.counts.get(table.name, 0) + 1
                if isinstance(answer, Witness):
                    self._witnesses.append(answer)
                elif answer is not None:
                    evidence = {"id": answer}
                    cause = "the proof does not hold"
                    self._found.add(check, cause, session=self.key, evidence=evidence)
        # A redaction takes equal lines out of parked writes, too.
        open_ones = () if self.redacted else self._source.table(tables.parked, self.session_id)
        for parked_id in proofs.emptied(open_ones):
            cause = "its lines are gone, and no redaction of the session can have taken them"
            self._found.add("J411", cause, session=self.key, evidence={"id": parked_id})
        for request, cause in requests.misstated(self._source, self.session_id, self._sealer):
            self._found.add("J412", cause, session=self.key, evidence={"request": request})

    def _check_tables(self) -> None:
        faults = projections.session_faults(
            self._row,
            self._known.sessions[self.session_id],
            self._walk,
            proven=self._proven,
            layout_no=None if self.layouts.extents is None else self.layouts.no,
            was_restored=bool(self._moves),
        )
        for cause, evidence in faults:
            self._found.add("J401", cause, session=self.key, evidence=evidence)
        rows = self._source.table(tables.claims, self.session_id)
        for cause, told in claims.table_faults(rows, self._claims.records):
            self._found.add("J407", cause, session=self.key, evidence=told)
        rows = self._source.table(tables.layouts, self.session_id)
        for cause, told in self.layouts.table_faults(rows):
            self._found.add("J414", cause, session=self.key, evidence=told)
        rows = self._source.table(tables.redactions, self.session_id)
        for cause, told in redactions.table_faults(rows, self._redactions):
            self._found.add("J417", cause, session=self.key, evidence=told)
        for seq in redactions.undone(self._source, self.session_id, self.redacted):
            self._found.add("J310", "its bytes are there", session=self.key, seq=seq)
        for cause, told in self._receipts.faults():
            self._found.add("J601", cause, session=self.key, evidence=told)

    def _check_requests(self) -> None:
        for row in requests.twice(self._source, self.session_id, self._counts):
            told = {"seq": row.seq, "epoch": row.epoch, "request_id": text(row.request_id)}
            cause = "two writes carry one request id"
            self._found.add("J206", cause, session=self.key, seq=row.seq, evidence=told)

    def _counts(self, row: Row) -> bool:
        """Whether a row is an entry that was not erased on record."""
        return row.seq not in self.redacted and self._is_true(row)

    def _is_true(self, row: Row) -> bool:
        return self._sealer is None or holds(self._sealer, row)

    # -- what it comes to -------------------------------------------------------------

    def _settle(self) -> None:
        walk, names = self._walk, named.seqs(self._names)
        if self._sealer is not None:
            proved, cause = projections.examined(self._row, self._sealer)
            if cause is not None:
                self._found.add("J404", cause, session=self.key)
            # First, for it tells most: it moves along with each write.
            self._witnesses.insert(0, Witness("the examined position", proved))
        hearing = Hearing(self._source, self.session_id, self._walk, self._sealer, self._names)
        for witness in self._witnesses:
            for check, cause, seqs, evidence in hearing.hear(witness):
                self._found.add(check, cause, session=self.key, seqs=seqs, evidence=evidence)
        self._proven = hearing.proven
        self._tell_named()
        for seq, change in walk.changed.items():
            evidence = change.evidence(seq)
            self._found.add("J304", change.words(), session=self.key, seq=seq, evidence=evidence)
        self._tell("J306", "the chain does not link across them", minus(walk.missing, names))
        self._tell(
            "J306", "rows that nobody sealed stand in the place of one or more", walk.replaced
        )
        self._tell("J306", "an honest writer found them missing", self._found_missing())
        self._tell(
            "J205", "nothing stood there that had to be stepped over", minus(walk.skipped, names)
        )
        self._tell("J110", "by an external writer", minus(walk.external, self._settled()))
        for row, facts in self._moves:
            if not facts["rows"]:
                self._note("J403", "a sealed entry records it", row)
        if self._is_bare():
            cause = "no entry, fence, verdict, parked write or receipt of it is there"
            self._found.add("J309", cause, session=self.key)

    def _is_bare(self) -> bool:
        left = self.tally.rows or self.counts or self._receipts
        has_mirror = self.session_id in self._known.mirrored
        return not (left or has_mirror or self._found.has(self.key))

    def _tell_named(self) -> None:
        """Tell strays that were named, and are what was named, from the others."""
        held, edited = Ranges(), Ranges()
        for name in self._names:
            cause = named.fault(self._source, self.session_id, name)
            if cause is not None:
                evidence = {"named_by": name.by_seq, "named_as": name.oddity.sort}
                ranges = name.oddity.ranges
                self._found.add("J307", cause, session=self.key, seqs=ranges, evidence=evidence)
            elif name.oddity.sort in ("altered", "erased"):
                edited.update(name.oddity.ranges)
            else:
                held.update(name.oddity.ranges)
        strays, lines = self._walk.strays, common(self._walk.strays, edited)
        self._tell("J304", "an honest writer had seen them whole, and named them", lines)
        self._tell(
            "J302",
            "a sealed entry names them, and they are the same rows",
            minus(common(strays, held), self._settled()),
        )
        fresh = minus(minus(strays, held), edited)
        if self._sealer is None:
            self._tell("J201", "without the key nobody can tell which neighbour is honest", fresh)
        else:
            self._tell("J301", "no seal of the journal's key holds on them", fresh)

    def _settled(self) -> Ranges:
        """Return what somebody accepted or rejected; of rows nobody sealed, those that are still the same."""
        found = Ranges()
        for seq, digest in self._resolved.items():
            if digest is None or named.row_digest_of(self._source, self.session_id, seq) == digest:
                found.add(seq)
        return found

    def _tell(self, check: str, cause: str, seqs: Ranges) -> None:
        if not seqs:
            return
        samples = [described(row, self._known) for row in self._walk.samples if row.seq in seqs]
        self._found.add(check, cause, session=self.key, seqs=seqs)
        for evidence in samples[:EVIDENCE_LIMIT]:
            self._found.explain(check, cause, self.key, evidence)

    def _found_missing(self) -> Ranges:
        return minus(named.seqs(self._names, "missing"), self._walk.missing)


def _telling(rows: Iterator[Row], told: Callable[[int], None]) -> Iterator[Row]:
    """Yield rows, and say now and then how many bytes the session has grown by."""
    said = 0
    for count, row in enumerate(rows):
        yield row
        if not count % _TOLD_EVERY and isinstance(row.cum_bytes, int) and row.cum_bytes > said:
            told(row.cum_bytes - said)
            said = row.cum_bytes

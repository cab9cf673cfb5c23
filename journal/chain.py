"""What this process knows of one session's sealed chain, and how it learns it.

The head is the newest row that verifies. The row in ``sessions`` is only the
key of the compare-and-set: whatever a thief writes there is found, recorded and
put right by the next honest write.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import statements as sql
from journal.controls import CONTROL, decode
from journal.errors import CorruptError
from journal.layout import PLAIN, Layout
from journal.model import Row
from journal.openend import is_open_behind_controls
from journal.pages import MAX_SEQ, MIN_SEQ, PAGE
from journal.redacted import standing
from journal.strays import Oddities, Oddity, Ranges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from journal.engine import Cursor
    from journal.redacted import Intent
    from journal.seal import Sealer

_MIRROR_STATES: Final = {
    "gone": "gone", "refused": "refused", "back": None, "made": None, "resumed": None,
}  # fmt: skip


class Resolution(NamedTuple):
    """What was said of one foreign entry; of a row nobody sealed only as long as it is this very row."""

    verdict: str
    digest: str | None


def resolutions(facts: dict[str, Any]) -> dict[int, Resolution]:
    """Return what a sealed ``resolution`` entry says, by seq."""
    digests = facts.get("digests", {})
    return {seq: Resolution(facts["verdict"], digests.get(str(seq))) for seq in facts["seqs"]}


def redactions(facts: dict[str, Any]) -> dict[int, int]:
    """Return the sizes of the lines that a sealed ``redaction`` entry names, by seq."""
    return {int(seq): int(size) for seq, size in facts["rows"].items()}


class Head(NamedTuple):
    """The newest sealed row: what the next one links to."""

    seq: int
    epoch: int
    seal: bytes
    cum_bytes: int
    claim: int | None


class Place(NamedTuple):
    """What one plain line moves in a chain, and a rolled-back transaction must put back."""

    head: Head
    examined: int


@dataclass(slots=True, eq=False)
class Chain:
    """One session's chain as this process last saw it.

    Attributes:
        head: the newest row that verifies.
        created_us: when the session was registered.
        found_seq: ``sessions.head_seq`` as it stands, believed or not; None when
            the row is gone.
        highest: the highest seq this process ever knew as sealed.
        examined: every row up to here was judged one by one.
        occupied: rows above the head, or below 1, that do not verify.
        layout: the order of the lines in the file; ``layout_seq`` is its entry's.
        earlier: the layouts before it, by number.
        rewritten_no: the newest layout that was not read off the mirror's file.
        layout_size: how much of the layout the mirror's file had when it gave it; else 0.
        mirror_state: "gone" or "refused", or None while the mirror is served.
        resolved: what was said of foreign entries, by seq: accepted or rejected, and of which row.
        redacted: the sizes of lines that were erased on record, by seq.
        redacting: what a redaction that has not ended was about to overwrite in the file.
        named: seqs that sealed entries name as strays, altered, erased or missing.
        odd: what was seen and no sealed entry names yet.
        is_odd: whether there is anything in ``odd``; ``is_crowded``: in ``occupied``.
        replaced: seqs at which this process knew another sealed row than stands there now.
        reported: odd seqs that a verdict of this process has told of already.
        open_tail: the last line has no line end, so the next must end it first.
        facts_head: the seal of the head up to which all facts are known.
        generation: the database state this knowledge belongs to.
        waiting: rows of other tables to store with the next write.
        unwritten: sealed rows of the present transaction that are written at its end.

    """

    key: str
    session_id: int
    sealer: Sealer
    head: Head
    created_us: int = 0
    found_seq: int | None = 0
    highest: int = 0
    examined: int = 0
    open_tail: bool = False
    occupied: Ranges = field(default_factory=Ranges)
    named: Ranges = field(default_factory=Ranges)
    resolved: Mapping[int, Resolution] = field(default_factory=dict)
    redacted: Mapping[int, int] = field(default_factory=dict)
    redacting: Intent | None = None
    layout: Layout = PLAIN
    rewritten_no: int = 0
    layout_size: int = 0
    mirror_state: str | None = None
    layout_seq: int = 0
    earlier: tuple[Layout, ...] = ()
    facts_up_to: int = 0
    facts_head: bytes = b""
    odd: Oddities = field(default_factory=Oddities)
    is_odd: bool = False
    is_crowded: bool = False
    replaced: Ranges = field(default_factory=Ranges)
    reported: Ranges = field(default_factory=Ranges)
    generation: int = -1
    waiting: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    unwritten: list[tuple[object, ...]] = field(default_factory=list)

    @classmethod
    def new(cls, key: str, session_id: int, sealer: Sealer) -> Chain:
        """Return the chain of a session of which nothing is known yet."""
        genesis = sealer.genesis.ljust(
            32, b"\0"
        )  # as long as a seal, though only its first 16 bytes are linked to
        return cls(key, session_id, sealer, Head(0, 0, genesis, 0, None))

    def next_seqs(self, count: int) -> Sequence[int]:
        """Return the seqs that the next write takes: the first free ones after the head."""
        seq = self.head.seq
        if not self.is_crowded:
            return range(seq + 1, seq + 1 + count)
        seqs = []
        for _ in range(count):
            seq = self.occupied.next_free(seq + 1)
            seqs.append(seq)
        return seqs

    def forget_passed(self) -> None:
        """Let go of the occupied seqs that the head has moved past."""
        self.occupied = Ranges(
            (first, last) for first, last in self.occupied if first > self.head.seq or last < 1
        )
        self.is_crowded = bool(self.occupied)

    def refresh(self, cursor: Cursor) -> None:
        """Learn the chain's present state from the database, believing only seals."""
        if self._stands(cursor):
            return
        before = self.head
        # Until all is known: or what an interrupt leaves by half would be taken to stand the next time.
        self.is_odd = True
        # What the present key's era began after was there: a write below it would be in the wrong era.
        self.highest = max(self.highest, before.seq, self.sealer.until)
        found = cursor.execute(sql.projection_of(), (self.session_id,)).fetchone()
        self.occupied.clear()
        # Found anew below: what another process has named or written meanwhile is odd no more.
        self.odd.stray.clear()
        self.odd.altered.clear()
        self.odd.missing.clear()
        newest = self._find_head(cursor)
        self._note_replaced(cursor, before)
        self._note_lost(cursor)
        self._note_low_rows(cursor)
        self._note_projection(found)
        if found is not None:
            self._note_examined(*found[4:6])
        self.examined = min(self.examined, self.head.seq)
        if newest is not None and newest.kind != CONTROL:
            self.open_tail = newest.terminator == b""  # what was appended last stands last
        else:
            self.open_tail = newest is not None and is_open_behind_controls(cursor, self)
        self.is_odd, self.is_crowded = bool(self.odd), bool(self.occupied)

    def _stands(self, cursor: Cursor) -> bool:
        """Whether nothing was added to this session since the last look, though somebody wrote to others.

        A head known as sealed, still under the same seal and with nothing above it,
        is the head. What else was done to its row shows where rows are judged.
        """
        head = self.head
        if not self.is_plain:
            return False
        number = self.session_id
        values = (number, head.seq, number, head.seq, number, number)
        found = cursor.execute(sql.standing(), values).fetchone()
        expected = (head.seal, None, None, self.key.encode(), head.seq, head.epoch, head.cum_bytes)
        if found is None or found[:-2] != expected or self.found_seq != head.seq:
            return False
        self._note_examined(*found[-2:])  # or the next write would take back what another has told
        return True

    @property
    def is_plain(self) -> bool:
        """Whether nothing is known of it but sealed rows, up to the head."""
        return not self.is_odd and not self.is_crowded and self.highest <= self.head.seq

    def _find_head(self, cursor: Cursor) -> Row | None:
        """Set the head to the newest row that verifies, and note those above it that do not."""
        up_to, limit = MAX_SEQ, 1
        while up_to >= 1:
            rows = cursor.execute(sql.newest_rows(), (self.session_id, up_to, limit)).fetchall()
            for row in map(Row._make, rows):
                if row.seq < 1:
                    rows = []  # below the first seq stand at most strays
                    break
                if self.sealer.seal_holds(row):
                    self.head = Head(row.seq, row.epoch, row.seal, row.cum_bytes, row.claim)
                    return row
                up_to = self._step_over(cursor, row.seq) - 1
                if up_to < row.seq - 1:
                    break  # a whole named range was stepped over at once
            if not rows:
                break
            limit = PAGE
        self.head = self.new(self.key, self.session_id, self.sealer).head
        return None

    def _step_over(self, cursor: Cursor, seq: int) -> int:
        """Note a row that does not verify; return the first seq of the range it belongs to."""
        if not self.occupied:
            self.load_facts(cursor)
        span = self.named.span(seq)
        if span is None:
            # What stood here when this process last looked was sealed: it was changed.
            (self.odd.altered if 0 < seq <= self.highest else self.odd.stray).add(seq)
            span = (seq, seq)
        self.occupied.add(*span)
        return span[0]

    @property
    def knows_facts(self) -> bool:
        """Whether all that sealed control entries say up to the head was read."""
        return self.facts_head == self.head.seal

    def know_facts(self, cursor: Cursor) -> None:
        """Read what sealed control entries say, unless the chain has ended here since that was done."""
        if not self.knows_facts:
            self.load_facts(cursor)
            self.facts_head = self.head.seal

    def load_facts(self, cursor: Cursor) -> None:
        """Read what sealed control entries say, as far as not read before."""
        rows = cursor.execute(sql.controls_after(), (self.session_id, self.facts_up_to)).fetchall()
        known = (
            self.named, self.layout, self.layout_seq, self.earlier, self.rewritten_no, self.layout_size,
            self.mirror_state, self.resolved, self.redacted, self.redacting, self.facts_up_to,
        )  # fmt: skip
        try:
            for row in map(Row._make, rows):
                if self.sealer.status(row) == "sealed":
                    self._learn_from(row)
                    self.facts_up_to = row.seq
        except BaseException:
            # An interrupt: what was learned by half would be learned again, and a layout follows no
            # layout twice. No call between these lines: a second one can part them no more.
            (
                self.named, self.layout, self.layout_seq, self.earlier, self.rewritten_no, self.layout_size,
                self.mirror_state, self.resolved, self.redacted, self.redacting, self.facts_up_to,
            ) = known  # fmt: skip
            self.sealer.redacted = self.redacted
            raise

    def _learn_from(self, row: Row) -> None:
        try:
            self.learn(decode(row.body), row.seq)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Whoever sealed it had the key, and nothing of ours: where it leads nobody can tell.
            raise CorruptError(
                f"entry {row.seq} of {self.key!r} is sealed, and says what the format does not know",
                hint="journal audit  # tells in what",
                code="fact",
            ) from error

    def learn(self, facts: dict[str, Any], seq: int) -> None:
        """Take one sealed control entry for known."""
        if facts.get("control") == "stray":
            named = self.named.copy()  # a new object, for a rollback puts the old one back
            for oddity in facts["rows"]:
                named.update(Oddity.from_json(oddity).ranges)
            self.named = named
        elif facts.get("control") == "layout":
            self.earlier = (*self.earlier, self.layout)
            self.layout, self.layout_seq = self.layout.after(facts), seq
            self.layout_size = facts.get("size", 0) if facts.get("from_file") else 0
            if not facts.get("from_file"):
                self.rewritten_no = self.layout.no
        elif facts.get("control") == "edit" and facts["what"] in _MIRROR_STATES:
            self.mirror_state = _MIRROR_STATES[facts["what"]]
            if facts["what"] == "made":
                self.layout_size = 0
        elif facts.get("control") == "resolution":
            # A new object, for a rollback puts the old one back.
            self.resolved = {**self.resolved, **resolutions(facts)}
        elif facts.get("control") == "redaction":
            self.redacted = {**self.redacted, **redactions(facts)}
            self.sealer.redacted = self.redacted
        self.redacting = standing(self.redacting, facts)

    def state(self) -> tuple[Any, ...]:
        """Return what a rolled-back transaction must put back."""
        return (
            self.head, self.examined, self.open_tail, self.named, self.odd, self.layout,
            self.layout_seq, self.earlier, self.rewritten_no, self.facts_up_to, self.waiting,
            self.layout_size, self.mirror_state, self.resolved, self.redacted, self.redacting,
            self.found_seq,
        )  # fmt: skip

    def put_back(self, state: tuple[Any, ...]) -> None:
        """Return to an earlier :meth:`state` or :class:`Place`, and take nothing for fresh."""
        self.generation = -1
        self.unwritten = []
        self.facts_head = b""  # what was learned of them is put back too
        if isinstance(state, Place):
            (self.head, self.examined), self.found_seq = state, state.head.seq  # it was plain
            return
        (
            self.head, self.examined, self.open_tail, self.named, self.odd, self.layout,
            self.layout_seq, self.earlier, self.rewritten_no, self.facts_up_to, self.waiting,
            self.layout_size, self.mirror_state, self.resolved, self.redacted, self.redacting,
            self.found_seq,
        ) = state  # fmt: skip
        self.sealer.redacted = self.redacted

    def _note_replaced(self, cursor: Cursor, before: Head) -> None:
        """Note the row that was the head when another sealed row stands in its place.

        A fresh process cannot see that a tail was cut off, and writes on where it
        was; this process knows what stood there.
        """
        if not 0 < before.seq <= self.head.seq:
            return
        stands = cursor.execute(sql.seal_at(), (self.session_id, before.seq)).fetchone()
        if stands is None or stands[0] == before.seal:
            return
        found = cursor.execute(sql.newest_rows(), (self.session_id, before.seq, 1)).fetchone()
        # Where it does not hold the row was changed: that is noted elsewhere, as one that is gone.
        if self.sealer.seal_holds(Row._make(found)):
            self.replaced = Ranges([*self.replaced, (before.seq, before.seq)])

    def _note_lost(self, cursor: Cursor) -> None:
        """Note rows that this process knew as sealed and that are gone."""
        seq = self.head.seq + 1
        if self.highest < seq:
            return
        self.load_facts(cursor)
        while (seq := self._next_unaccounted(seq)) <= self.highest:
            self.odd.missing.add(seq)
            self.occupied.add(seq)

    def _next_unaccounted(self, seq: int) -> int:
        while (free := self.named.next_free(self.occupied.next_free(seq))) != seq:
            seq = free
        return seq

    def _note_low_rows(self, cursor: Cursor) -> None:
        if cursor.execute(sql.any_up_to(), (self.session_id, 0)).fetchone() is None:
            return
        up_to: int | None = 0
        while up_to is not None:
            low = cursor.execute(sql.newest_rows(), (self.session_id, up_to, PAGE)).fetchall()
            for row in map(Row._make, low):
                self._step_over(cursor, row.seq)
            last = low[-1][2] if len(low) == PAGE else MIN_SEQ
            up_to = last - 1 if last > MIN_SEQ else None

    def _note_projection(self, found: tuple[Any, ...] | None) -> None:
        self.found_seq = None if found is None else found[1]
        self.odd.projection = None
        if found is None:
            self.odd.projection = {"row": "missing"}
        elif found[0] != self.key.encode() or found[1:4] != (
            self.head.seq,
            self.head.epoch,
            self.head.cum_bytes,
        ):
            self.odd.projection = {
                "head_seq": found[1],
                "head_epoch": found[2],
                "cum_bytes": found[3],
                "key": found[0].decode("utf-8", "replace")[:200],
            }

    def _note_examined(self, seq: int, proof: bytes) -> None:
        if seq > self.examined and proof == self.sealer.examined_mac(seq):
            self.examined = min(seq, self.head.seq)

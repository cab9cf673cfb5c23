"""Walks one session's rows in order and sorts out what is in the chain and what is not.

A row whose seal does not hold is put aside until the next entry that holds. That
entry's ``prev`` then tells what stood before it: one of the rows aside, edited
since, or something that is gone. The entry itself is never blamed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal.audit.aside import KEPT, Aside
from journal.audit.evidence import described
from journal.audit.judging import ORIGINS, Change, Sealed, changed_column, true_seal
from journal.audit.rules import (
    TERMINATORS,
    derived_fault,
    derived_of,
    epoch_fault,
    format_fault,
    number_fault,
    revoked_fault,
    sum_fault,
    who_faults,
    write_fault,
)
from journal.audit.spans import without
from journal.audit.tally import Tally
from journal.controls import CONTROL, decode
from journal.fields import PREV_SIZE
from journal.seal import holds
from journal.strays import Ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from journal.audit.ahead import Plain
    from journal.audit.declarations import Declarations
    from journal.audit.findings import Findings
    from journal.audit.judging import Judge
    from journal.model import Row
    from journal.seal import Sealer, Status

_PLAIN_KINDS: Final = frozenset({b"line", b"raw"})
_ATTEMPTS: Final = 1000  # to tell edited entries from strays: half a millisecond each
UNKNOWN: Final = Change(None)


class Walk:
    """One walk over one session.

    Attributes:
        last: the newest entry that holds, or None.
        strays: rows that are in no chain, by seq.
        changed: entries of which a column was changed, by seq, with what is known of it.
        moved: the seqs at which entries stood whose seq was changed.
        missing: seqs at which an entry stood and no row does.
        replaced: seqs at one of which an entry stood, and strays do.
        skipped: seqs that the chain links across although nothing stands there.
        external: entries that came from outside.
        trusted_whos: writer, process, recorder and trust of entries, where they are as declared.
        number: the row number of the entry before the last.
        tells_each: whether each plain line is told of, or only the first of each write.

    """

    def __init__(
        self,
        key: str,
        judge: Judge,
        known: Declarations,
        found: Findings,
        *,
        on_entry: Callable[[Row, dict[str, Any] | None, bool], None],
    ) -> None:
        self.key = key
        self.judge = judge
        self.tally = Tally()
        self.last: Row | None = None
        self.strays = Ranges()
        self.samples: list[Row] = []
        self.changed: dict[int, Change] = {}
        self.moved = Ranges()
        self.missing = Ranges()
        self.skipped = Ranges()
        self.external = Ranges()
        self.replaced = Ranges()
        self.aside = Aside()
        self._attempts = 0
        self._known = known
        self._found = found
        self._on_entry = on_entry
        self.tells_each = True
        self.trusted_whos: set[tuple[int, int, int, int]] = set()
        self._link = b""
        self.number = 0

    # -- what others looked at --------------------------------------------------------

    @property
    def is_plain(self) -> bool:
        """Whether nothing was odd so far that would not be a finding already."""
        odd = (self.strays, self.changed, self.moved, self.missing, self.skipped, self.external)
        tally = self.tally
        return not (any(odd) or self.replaced or self.aside.seqs or tally.altered or tally.erased)

    def resume(self, before: Row) -> None:
        """Go on behind an entry that holds, and that this walk has not looked at."""
        self.last, self._link = before, before.seal[:PREV_SIZE]

    def follows(self, before: tuple[int, int, bytes]) -> bool:
        """Whether the newest entry is the one of this row number, seq and seal, with nothing behind it."""
        last = self.last
        return last is not None and not self.aside.seqs and (last.id, last.seq, last.seal) == before

    def skip(self, plain: Plain) -> None:
        """Take over what somebody else found a plain stretch to come to."""
        self.tally.add(plain.tally)
        self.trusted_whos |= plain.whos
        self.number = plain.number
        self.resume(plain.last)

    # -- one row ----------------------------------------------------------------------

    def feed_all(self, rows: Iterable[Row], whole_row: Callable[[Row], Row] | None = None) -> None:
        """Take a session's rows, in the order of seq.

        Where they come without the bodies of lines, ``whole_row`` returns
        one of them whole: what is odd is judged whole.
        """
        for row, status in self.judge.ahead(rows, lines=whole_row is None):
            if status == "sealed" and self._is_plain(row):
                continue
            if whole_row is None:
                self.feed(row, status)
            else:
                self.feed(row if row.salt is None or row.body is not None else whole_row(row))

    def _is_plain(self, row: Row) -> bool:
        """Take a line in which nothing is odd, as nearly all are; False, and nothing done, for any other.

        What is asked here is what the rules ask, in one place and in as few calls as
        can be: a test holds the two together.
        """
        before, known = self.last, self._known
        if before is None or self.aside.seqs or known.revoked:
            return False
        (
            number, _, seq, epoch, writer, instance, recorder, claim, kind, trusted, origin, _,
            _, _, _, cum_bytes, end, salt, _, key_id, prev, seal, line_type, line_id, parent_id, body,
        ) = row  # fmt: skip
        size = cum_bytes - before.cum_bytes
        if (
            kind not in _PLAIN_KINDS
            or salt is None
            or not trusted
            or seq != before.seq + 1
            or prev != self._link
            or number <= before.id
            or (size < 0 if body is None else size != len(body) + len(end))
            or key_id != known.key_id
            or end not in TERMINATORS
            or origin not in ORIGINS
            or (writer, instance, recorder, trusted) not in self.trusted_whos
        ):
            return False
        goes_on = epoch == before.epoch
        if goes_on:
            if (
                writer != before.writer_id
                or instance != before.instance_id
                or recorder != before.recorder_id
                or claim != before.claim
            ):
                return False
        elif epoch != before.epoch + 1:
            return False
        if body is not None and derived_of(body, end) != (line_type, line_id, parent_id):
            return False
        tally = self.tally
        tally.rows += 1
        tally.entries += 1
        tally.lines += 1
        tally.raw_lines += kind == b"raw"
        tally.bytes += size
        self.number = before.id
        if not goes_on or self.tells_each:
            self._on_entry(row, None, True)  # noqa: FBT003 - it links
        self.last, self._link = row, seal[:PREV_SIZE]
        return True

    def feed(self, row: Row, status: Status | None = None) -> None:
        """Take the next row, in the order of seq; ``status`` where it is known."""
        self.tally.rows += 1
        if status is None:
            status = self.judge.status(row, self._link)
        if status == "stray" or (self.last is not None and row.seq == self.last.seq):
            self.aside.put(row)
            return
        row = self.judge.whole(row)
        before = self.last
        links = self._links(row)
        if not links or self.aside.seqs or row.seq != (1 if before is None else before.seq + 1):
            self._settle(row)
        self._judge(row, before, status, links=links)
        self.last, self._link = row, row.seal[:PREV_SIZE]

    def _links(self, row: Row) -> bool:
        return self.judge.starts(row) if self.last is None else row.prev == self._link

    def _judge(self, row: Row, before: Row | None, status: str, *, links: bool) -> None:
        facts = None
        if status == "sealed":
            self.tally.entries += 1
            self._note("J308", derived_fault(row), row)
            self._note("J112", format_fault(row, self._known), row)
            facts = self._judge_content(row)
        else:
            self._note_damage(row, status)
        if links:
            # After a gap there is nothing to compare with.
            self._note("J202", epoch_fault(row, before), row)
            self._note("J203", write_fault(row, before), row)
            if status == "sealed":
                self._note("J204", sum_fault(row, before), row)
        self._judge_number(row, before)
        self._judge_who(row)
        self._on_entry(row, facts, links)
        if row.trusted == 0 and row.body and row.kind != CONTROL:
            self._judge_external(row)

    def _judge_content(self, row: Row) -> dict[str, Any] | None:
        tally = self.tally
        if row.kind == CONTROL:
            tally.controls += 1
            return decode(row.body)
        tally.lines += 1
        tally.raw_lines += row.kind == b"raw"
        tally.bytes += len(row.body or b"") + len(row.terminator)
        return None

    def _judge_who(self, row: Row) -> None:
        who = (row.writer_id, row.instance_id, row.recorder_id, row.trusted)
        if who not in self.trusted_whos:
            faults = who_faults(row, self._known)
            for check, fault in faults:
                self._note(check, fault, row)
            if not faults:
                self.trusted_whos.add(who)
        if self._known.revoked:
            self._note("J109", revoked_fault(row, self._known), row)

    def _judge_external(self, row: Row) -> None:
        if row.writer_id not in self._known.permitted:
            self.external.add(row.seq)

    def _judge_number(self, row: Row, before: Row | None) -> None:
        fault = number_fault(row.id, 0 if before is None else before.id)
        if fault is not None:
            # The one before is the odd one, if this one follows what stood before it.
            odd = row if before is None or row.id <= max(self.number, 0) else before
            self._note("J207", fault, odd)
        self.number = 0 if before is None else before.id

    def _note_damage(self, row: Row, status: str) -> None:
        if status == "erased":
            self.tally.erased += 1
            cause = "body and salt are gone, and no sealed redaction says so"
            self._note("J305", cause, row)
        else:
            self.tally.altered += 1
            self._note("J303", "the line does not fit what was sealed of it", row)

    def _note(self, check: str, fault: str | None, row: Row) -> None:
        if fault is not None:
            evidence = described(row, self._known)
            self._found.add(check, fault, session=self.key, seq=row.seq, evidence=evidence)

    # -- what stands between two entries ----------------------------------------------

    def _settle(self, row: Row) -> None:
        """Sort out what stands, and what does not, before an entry."""
        first = 1 if self.last is None else self.last.seq + 1
        aside, gap = self.aside, Ranges()
        expected = first
        for start, stop in aside.seqs:
            if start > expected:
                gap.add(expected, min(start, row.seq) - 1)
            expected = max(expected, stop + 1)
        if expected < row.seq:
            gap.add(expected, row.seq - 1)
        linked = self._explain(row)
        if linked:
            self.skipped.update(gap)
        else:
            self._note_gone(row, gap)
        self._put_away()

    def _explain(self, row: Row | None) -> bool:
        """Tell edited entries from strays among the rows aside; return whether the chain is whole.

        Goes backwards from the entry after them: what it links to is the seal of an
        entry that was here, whatever its columns say now.
        """
        if not isinstance(self.judge, Sealed):
            return row is not None and self._links(row)
        sealer = self.judge.sealer
        start = sealer.genesis_at(1) if self.last is None else self._link
        wanted = None if row is None else row.prev
        for other in reversed(self.aside.rows()):
            change = self._change(sealer, other, start, wanted)
            if change is not None:
                self._note_change(other, change)
                # Behind an entry that was stepped over the chain goes on without it.
                if wanted != start:
                    wanted = start if change.column == "prev" else other.prev
        return wanted == start

    def _change(
        self, sealer: Sealer, row: Row, start: bytes, wanted: bytes | None
    ) -> Change | None:
        """Return how an entry was edited that a key holder once sealed; None for a stray."""
        self._attempts += 1
        if self._attempts <= _ATTEMPTS and (
            change := changed_column(sealer, row, self.last, start)
        ):
            return change
        if wanted is None or wanted == start:
            return None
        if true_seal(sealer, row)[:PREV_SIZE] == wanted:
            return Change("seal")
        return UNKNOWN if row.seal[:PREV_SIZE] == wanted else None

    def _note_change(self, row: Row, change: Change) -> None:
        self.changed[row.seq] = change
        if change.column == "seq" and isinstance(change.was, int):
            self.moved.add(change.was)

    def _note_gone(self, row: Row, gap: Ranges) -> None:
        here = [(max(first, 1), last) for first, last in self.aside.seqs if last > 0]
        self.missing.update(gap)
        if not gap and here:
            # Something stands at every seq: what was sealed there was replaced.
            self.replaced.update(here)
        elif not gap:
            cause = "both hold, and the later one follows another entry"
            self._found.add("J201", cause, session=self.key, seq=row.seq)

    def _put_away(self) -> None:
        """Count the rows aside as strays, but those that turned out to be edited entries."""
        aside, self.aside = self.aside, Aside()
        self.strays.update(aside.seqs)
        for row in aside.rows():
            if row.seq in self.changed:
                self.strays = without(self.strays, row.seq)
            elif len(self.samples) < KEPT:
                self.samples.append(row)

    def finish(self) -> None:
        """Sort out what stands after the newest entry, and entries that were moved."""
        if self.aside.seqs:
            self._explain(None)
            self._put_away()
        if isinstance(self.judge, Sealed):
            self._find_moved(self.judge.sealer)

    def _find_moved(self, sealer: Sealer) -> None:
        """Find entries whose seq was changed: strays that would be sealed where one is missing."""
        gone = [*self.missing, *self.skipped]
        wanted = [seq for first, last in gone for seq in range(first, min(last, first + KEPT) + 1)]
        for row in self.samples:
            for seq in wanted[:KEPT]:
                if holds(sealer, row._replace(seq=seq)):
                    self._note_change(row, Change("seq", seq))
                    self.strays, self.missing = (
                        without(self.strays, row.seq),
                        without(self.missing, seq),
                    )

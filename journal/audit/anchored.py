"""Holds anchors against the journal: what was signed once must be there still.

A keyed chain cannot show that its newest entries were cut off, or that an older
copy of the whole journal was put back. A statement of heads that was kept
elsewhere can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journal.escape import escape
from journal.model import REGISTRY_ID
from journal.note import Verifier, parsed_note, parsed_statement
from journal.signing import Signer, derived_seed, is_signed, signer_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from journal.audit.keyring import Keyring
    from journal.audit.sessions import Head
    from journal.audit.source import Source
    from journal.note import Anchored, Statement


class AnchorFile(NamedTuple):
    """An anchor as it was read: a name for people, and its bytes."""

    name: str
    data: bytes


class Fault(NamedTuple):
    """One thing that an anchor shows: the check it belongs to, why, and the evidence."""

    check: str
    cause: str
    session: str | None
    seqs: tuple[tuple[int, int], ...]
    evidence: dict[str, Any]


class Anchors:
    """The anchors of one audit: which can be relied on, and what they show."""

    def __init__(
        self, keyring: Keyring, files: Iterable[AnchorFile], verifiers: Iterable[Verifier]
    ) -> None:
        self._keyring = keyring
        self._verifiers = list(verifiers)
        self.relied: list[tuple[AnchorFile, Statement]] = []
        self._newest_key: list[Statement] = []
        self.faults: list[Fault] = []
        for file in files:
            self._take(file)

    def _take(self, file: AnchorFile) -> None:
        note = parsed_note(file.data)
        statement = parsed_statement(note.text)
        evidence = {"anchor": escape(file.name), "journal": escape(statement.journal_id)}
        if statement.journal_id != self._keyring.journal_id:
            self._tell("J804", "it is an anchor of another journal", evidence)
        elif any(is_signed(note, known) for known in self._known(statement.journal_id)):
            self.relied.append((file, statement))
            self._newest_key.append(statement)
        elif any(is_signed(note, known) for known in self._earlier(statement.journal_id)):
            self.relied.append((file, statement))
        else:
            signers = [escape(each.name) for each in note.signatures]
            cause = "no signature in it is of a key that is known here"
            self._tell("J804", cause, {**evidence, "signers": signers})

    @property
    def is_anchored(self) -> bool:
        """Whether one of them says where the journal stood, by somebody who may say it today.

        One that an earlier era's key signed shows what is gone since; who has that key
        by now can have signed it yesterday.
        """
        return bool(self._newest_key)

    def _tell(self, check: str, cause: str, evidence: dict[str, Any]) -> None:
        self.faults.append(Fault(check, cause, None, (), evidence))

    def _known(self, journal_id: str) -> Iterator[Verifier]:
        yield from self._verifiers
        # Where an older copy lies there the newest key proves nothing in it, and it is that which shows.
        present = self._keyring.unproved if self._keyring.key is None else [self._keyring.key]
        for key in present:
            yield Signer(signer_name(journal_id), derived_seed(key)).verifier

    def _earlier(self, journal_id: str) -> Iterator[Verifier]:
        for key in self._keyring.all()[1:]:
            yield Signer(signer_name(journal_id), derived_seed(key)).verifier

    def check(
        self, source: Source, numbers: Mapping[str, int], heads: Iterable[Head], old: Container[str]
    ) -> None:
        """Look for every row that a relied-on anchor names, in sessions that were audited, or passed by as old."""
        present = {head.session: head for head in heads}
        for file, statement in self.relied:
            at = {"anchor": escape(file.name), "taken_us": statement.at_us}
            for head in statement.heads:
                is_asked = head.session in present or head.session in old
                if head.seq and (is_asked or head.session not in numbers):
                    number = numbers.get(head.session)
                    self.faults += _faults(source, number, head, present.get(head.session), at)

    def newer(self, heads: Iterable[Head]) -> tuple[int, int]:
        """Return how many entries in how many sessions came after the newest anchor, where there is one."""
        newest = max(self._newest_key, key=lambda statement: statement.at_us)
        anchored = {head.session: head.seq for head in newest.heads}
        counts = [head.seq - anchored.get(head.session, 0) for head in heads]
        return sum(count for count in counts if count > 0), sum(count > 0 for count in counts)


def _faults(
    source: Source, number: int | None, head: Anchored, now: Head | None, at: dict[str, Any]
) -> Iterator[Fault]:
    evidence = {**at, "anchored": {"seq": head.seq, "epoch": head.epoch, "seal": head.seal[:16]}}
    if number is None:
        yield Fault("J803", "no entry registers it now", head.session, (), evidence)
        return
    found = [row.seal for row in source.rows_between(number, head.seq, head.seq)]
    if head.seal in [seal.hex() for seal in found if isinstance(seal, bytes)]:
        return
    seen = _last(source, number) if now is None else now.seq
    evidence["now"] = {"seq": seen}
    if found:
        cause = "the row at the anchored place has another seal"
        yield Fault("J802", cause, head.session, ((head.seq, head.seq),), evidence)
    else:
        cause = "the session ends before the anchored place"
        if seen >= head.seq:
            cause = "the anchored row is gone"
        first = min(seen + 1, head.seq)
        yield Fault("J801", cause, head.session, ((first, head.seq),), evidence)


def _last(source: Source, number: int) -> int:
    """Return the last seq that a row of a session claims."""
    (last,) = source.query("SELECT max(seq) FROM entries WHERE session_id = ?", number).fetchone()
    return last or 0


def numbers_of(session_ids: Mapping[str, int], registry: str) -> dict[str, int]:
    """Return each session's number, the registry's among them."""
    return {**session_ids, registry: REGISTRY_ID}

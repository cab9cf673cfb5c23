"""What came of a copy, as values; and how two audits of one state may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.explanation import counted
from journal.model import REGISTRY_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.audit import Report
    from journal.audit.findings import Finding

# Of the file, the schema and the disk; a copy has its own.
_OF_THE_PLACE: Final = frozenset({"J501", "J502", "J503", "J504", "J505", "J506", "J507"})


class Unserved(NamedTuple):
    """A mirror of the journal that its copy does not serve."""

    session: str
    host: str
    path: str


class Later(NamedTuple):
    """What came to the journal while it was copied, and is not in the copy."""

    entries: int
    sessions: int


class Copied(NamedTuple):
    """A copy that was made, and what an audit says of both.

    Attributes:
        source: where the journal is, without a password.
        target: where its copy is.
        journal_id: the id of both.
        entries: how many rows of entries there are.
        bytes: the lines' bytes, line ends included.
        was_begun: whether an earlier run had begun it.
        was_there: whether it was finished before, and was only compared.
        mended: entries that an earlier run had copied and that were changed since.
        escaped: what the other engine cannot hold as it stands, in words; the first of it.
        escaped_count: how many rows that are.
        mirrors: the mirrors that it does not serve.
        later: what came to the journal meanwhile; None if it could not be looked at again.
        before: the audit of the state that was copied.
        after: the audit of the copy.

    """

    source: str
    target: str
    journal_id: str | None
    entries: int
    bytes: int
    was_begun: bool
    was_there: bool
    mended: int
    escaped: tuple[str, ...]
    escaped_count: int
    mirrors: tuple[Unserved, ...]
    later: Later | None
    before: Report
    after: Report

    @property
    def differences(self) -> list[str]:
        """In what the audits differ, in words, but for what belongs to the place of each."""
        return list(differences(self.before, self.after))

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found in the copy, and nothing differs."""
        return not (self.after.findings or self.differences or self.escaped_count)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "source": self.source,
            "target": self.target,
            "journal_id": self.journal_id,
            "entries": self.entries,
            "bytes": self.bytes,
            "was_begun": self.was_begun,
            "was_there": self.was_there,
            "mended": self.mended,
            "escaped": list(self.escaped),
            "escaped_count": self.escaped_count,
            "mirrors": [each._asdict() for each in self.mirrors],
            "later": None if self.later is None else self.later._asdict(),
            "verdict_before": self.before.verdict,
            "verdict": self.after.verdict,
            "differences": self.differences,
            "findings": [finding.as_json() for finding in self.after.findings],
        }


def differences(before: Report, after: Report) -> Iterator[str]:
    """Yield in what two audits of one state differ: it should be in nothing.

    What a copy seals of its own, that it serves no mirrors, is at the end of the registry.
    """
    heads = {head.session: head for head in before.heads}
    for head in after.heads:
        known = heads.pop(head.session, None)
        if head.session != REGISTRY_KEY and known != head:
            yield f"the head of {head.session!r}: {_end(known)} was copied, {_end(head)} is there"
    yield from (f"the session {name!r} is not there" for name in heads)
    old, new = (
        {_named(each): each for each in report.findings if each.id not in _OF_THE_PLACE}
        for report in (before, after)
    )
    for name in sorted(old.keys() ^ new.keys(), key=str):
        side = "the journal" if name in old else "the copy"
        finding = (old | new)[name]
        yield f"only {side} has {finding.id}: {finding.title}: {finding.cause}"


def _named(finding: Finding) -> tuple[Any, ...]:
    return finding.id, finding.session, finding.cause, tuple(finding.ranges), finding.count


def _end(head: Any) -> str:  # noqa: ANN401 - a head, or None
    return (
        "nothing"
        if head is None
        else f"seq {head.seq}, {counted(head.entries, 'entry', 'entries')}"
    )

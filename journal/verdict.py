"""The verdict of a fence: a pure answer computed from what stands after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from journal.commands import command_on
from journal.controls import decode
from journal.explanation import (
    BETWEEN,
    Act,
    Between,
    Explanation,
    classes_of,
    counted,
    what_came,
    what_it_proves,
)
from journal.fileedit import EDIT, edit_words, sort_of
from journal.policy import lets_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from journal.model import Entry

ACCEPTED = "accepted"
TAKEOVER = "takeover"
BETWEEN_FENCES = "between fences"
# Why a write is refused that went out from an older state of its session.
CHANGED_SINCE = "changed-since"
REWRITTEN_SINCE = "rewritten-since"

REASONS = {
    "stray": "is not in the sealed chain: it was put there by plain SQL",
    "altered": "was changed after it was sealed",
    "erased": "was erased without a sealed redaction",
    "missing": "was there and is gone",
    "external": "came from outside the journal",
    EDIT: "records that the session's file was edited from outside",
}
RESOLVED = ("permitted", "accepted", "rejected")
REFUSED = "is not accepted by the policy"
EVIDENCE_LIMIT = 100
_FIRST = 10  # more than an explanation names
_EXCERPT = 200


class Mark(NamedTuple):
    """Where a fence stands: a sealed row, and the strays that lay beyond it already."""

    seq: int
    epoch: int
    seal: bytes
    beyond: tuple[tuple[int, int], ...] = ()
    beyond_digest: str = ""


class Place(NamedTuple):
    """Where in a session's file an entry stands; only the file is known where lines are gone."""

    file: str
    offset: int | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = "" if self.offset is None else f", line {self.line}, byte {self.offset}"
        return f"{self.file}{where}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found, with its evidence.

    ``arrived`` are the lines other instances wrote since the fence; ``foreign``
    the entries that make it a takeover, each with its reason in ``reasons``, and
    those that came by a file with their ``places`` in it, by seq;
    ``unresolved`` older foreign entries nobody has resolved yet; ``asker`` whose
    fence it is, as "gateway (run)". ``id`` is the number under which it was kept
    (accepted verdicts are not kept).
    """

    outcome: str
    session: str
    fence: Mark
    policy: str
    arrived: tuple[Entry, ...] = ()
    foreign: tuple[Entry, ...] = ()
    reasons: tuple[str, ...] = ()
    unresolved: tuple[Entry, ...] = ()
    id: str | None = None
    head_seq: int = 0
    head_epoch: int = 0
    fence_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[int, Place] = field(default_factory=dict)
    asker: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether only those wrote who may."""
        return self.outcome == ACCEPTED

    @property
    def origins(self) -> tuple[str, ...]:
        """Where each foreign entry came from: a file, the line and the byte in it; or a database row."""
        return tuple(origin(entry, self.places.get(entry.seq)) for entry in self.foreign)

    def summary(self) -> str:
        """Say the verdict in one sentence."""
        if self.accepted:
            return f"{self.session}: accepted, {len(self.arrived)} arrived since the fence"
        first = f"seq {self.foreign[0].seq} {self.reasons[0]}" if self.foreign else "no evidence"
        more = len(self.foreign) - 1
        rest = f" (and {more} more)" if more > 0 else ""
        return f"{self.outcome} of {self.session!r}: {first}{rest}"

    def explain(self) -> str:
        """Say what happened, the rule, what was expected and found, row by row, and what to do next.

        ``journal why ID`` adds what the journal knows beside: who wrote each row,
        how often lately, and what was parked.
        """
        return self.explanation().as_text()

    def explanation(self) -> Explanation:
        """Return what :meth:`explain` says, as a value."""
        foreign = [(entry.seq, sort_of(entry.trust, entry.kind)) for entry in self.foreign]
        pairs = zip(self.foreign, self.reasons, strict=True)
        rows = [
            *(_between(entry, reason, self.places.get(entry.seq)) for entry, reason in pairs),
            *(_between(entry, None) for entry in self.arrived),
        ]
        return Explanation(
            self.id,
            self.session,
            classes(self.outcome, [sort for _, sort in foreign]),
            what_happened(self.outcome, foreign, len(self.arrived), self.asker, self._edits()),
            rule_of(self.policy, self.outcome),
            {
                "words": "only declared writers after",
                "seq": self.fence.seq,
                "epoch": self.fence.epoch,
            },
            {"words": "the head at", "seq": self.head_seq, "epoch": self.head_epoch},
            holder=self.extra.get("holder"),
            between=tuple(sorted(rows, key=lambda row: row.seq)),
            acts=(Act("shows more", self.next_command()),),
        )

    def _edits(self) -> tuple[str, ...]:
        told = (edit_words(decode(entry.body)) for entry in _edits_in(self.foreign))
        return tuple(words for words in told if words)

    def next_command(self) -> str:
        """Return the command that shows more."""
        return f"journal why {self.id}" if self.id else command_on(self.session, "audit")


def _edits_in(foreign: Iterable[Entry]) -> list[Entry]:
    return [entry for entry in foreign if sort_of(entry.trust, entry.kind) == EDIT]


def classes(outcome: str, sorts: Sequence[str]) -> tuple[str, ...]:
    """Return the class of what a fence found, the gravest first."""
    found = classes_of(sorts) or (outcome,)
    return (*found, BETWEEN) if outcome == BETWEEN_FENCES else found


def rule_of(policy: str, outcome: str) -> str:
    """Say the rule by which a fence judges."""
    if outcome == BETWEEN_FENCES:
        return (
            "what no declared writer sealed is foreign; found while no fence was up it is told "
            "once, and makes no later run's verdict"
        )
    lets_pass = {
        "cotenant": "lets pass whatever they write",
        "strict": "lets pass only what cannot change what the model is told",
    }
    return (
        "an entry after the fence that no declared writer sealed is a takeover; of what declared "
        f"writers sealed, the policy {policy} {lets_pass.get(policy, 'decides')}"
    )


def what_happened(
    outcome: str,
    foreign: Sequence[tuple[int, str]],
    arrived: int,
    asker: str | None,
    edits: Sequence[str] = (),
) -> tuple[str, ...]:
    """Say what a check found, sentence by sentence.

    ``foreign`` are the foreign entries, each with its sort; ``edits`` what those of
    them say that record an edit of the file.
    """
    who, sorts = asker or "the run", [sort for _, sort in foreign]
    if outcome == ACCEPTED:
        return (f"{who} was away, and only those wrote who may.",)
    if outcome == BETWEEN_FENCES:
        first = f"When {who} raised a fence, it found what no fence had seen: {what_came(foreign)}."
        then = "The fence was raised behind that: it stops nobody, and stays listed until it is resolved."
        return first, *edits, *what_it_proves(sorts), then
    is_policy = set(sorts) == {"asserted"}
    what = (
        "something came that it may not go on over" if is_policy else "its session was taken over"
    )
    came = f"While {who} was away, {what}: {what_came(foreign)}."
    sentences = [came, *edits, *what_it_proves(sorts)]
    if arrived:
        honest = counted(arrived, "other entry", "other entries")
        sentences.append(
            f"Declared writers wrote {honest} meanwhile; that is allowed, and no part of it."
        )
    return tuple(sentences)


def _between(entry: Entry, cause: str | None, place: Place | None = None) -> Between:
    return Between(
        entry.seq, entry.epoch, entry.created_us, entry.writer, entry.role, entry.trust, entry.kind,
        entry.claim, origin(entry, place), entry.body or b"", None, entry.instance_id, cause,
    )  # fmt: skip


def origin(entry: Entry, place: Place | None = None) -> str:
    """Say where an entry came from: a database row, or a file and where in it."""
    if entry.trust == "missing":
        return "no row"
    row = "database row" if entry.row_id is None else f"database row {entry.row_id}"
    if place is not None:
        return f"{place}, as {row}"
    return f"a file, as {row}" if entry.origin in ("mirror", "file") else row


def judge(
    found: Iterable[Entry], own_instance: int | None, policy: Callable[[Entry], bool]
) -> tuple[list[Entry], list[Entry], list[str]]:
    """Sort what stands after a fence into what arrived and what is foreign, with reasons.

    Every entry is judged by itself: nothing a trusted writer did before or after
    it makes a foreign entry good, and a foreign one never taints a neighbour.
    """
    arrived: list[Entry] = []
    foreign: list[Entry] = []
    reasons: list[str] = []
    for entry in found:
        reason = reason_of(entry, own_instance, policy)
        if reason is not None:
            foreign.append(entry)
            reasons.append(reason)
        elif entry.instance_id != own_instance and entry.kind != "control":
            arrived.append(entry)
    return arrived, foreign, reasons


def reason_of(
    entry: Entry, own_instance: int | None, policy: Callable[[Entry], bool]
) -> str | None:
    """Say why an entry after a fence is foreign to it, or return None."""
    if entry.is_line_end or entry.trust in RESOLVED:
        return None
    if not entry.trusted:
        return REASONS[sort_of(entry.trust, entry.kind)]
    if entry.instance_id == own_instance or entry.kind == "control" or lets_pass(policy, entry):
        return None
    return REFUSED


def evidence_of(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it is stored: bounded, with what would be needed to explain it."""
    pairs = list(zip(verdict.foreign, verdict.reasons, strict=True))[:EVIDENCE_LIMIT]
    return {
        "fence": {"seq": verdict.fence.seq, "epoch": verdict.fence.epoch},
        "head": {"seq": verdict.head_seq, "epoch": verdict.head_epoch},
        "foreign": [_evidence(entry, why, verdict.places.get(entry.seq)) for entry, why in pairs],
        "foreign_count": len(verdict.foreign),
        "sorts": _sorts(verdict.foreign),
        "arrived": [
            [entry.seq, entry.writer, entry.role] for entry in verdict.arrived[:EVIDENCE_LIMIT]
        ],
        "arrived_count": len(verdict.arrived),
    }


def _sorts(foreign: Iterable[Entry]) -> dict[str, tuple[int, list[int]]]:
    """Return how many foreign entries there are of each sort, and the first few of them: the evidence may leave out some."""
    found: dict[str, tuple[int, list[int]]] = {}
    for entry in foreign:
        sort = sort_of(entry.trust, entry.kind)
        count, first = found.get(sort, (0, []))
        found[sort] = (count + 1, [*first, entry.seq][:_FIRST])
    return found


def _evidence(entry: Entry, reason: str, place: Place | None) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "epoch": entry.epoch,
        "trust": entry.trust,
        "reason": reason,
        "claims_writer": entry.writer,
        "claims_role": entry.role,
        "instance": entry.instance_id,
        "claim": entry.claim,
        "origin": origin(entry, place),
        "place": None if place is None else place._asdict(),
        "kind": entry.kind,
        "created_us": entry.created_us,
        "body": (entry.body or b"")[:_EXCERPT].decode("utf-8", "backslashreplace"),
    }

"""The verdict of a fence: a pure answer computed from what stands after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from journal.model import Entry

ACCEPTED = "accepted"
TAKEOVER = "takeover"
BETWEEN_FENCES = "between fences"

REASONS = {
    "stray": "is not in the sealed chain: it was put there by plain SQL",
    "altered": "was changed after it was sealed",
    "erased": "was erased without a sealed redaction",
    "missing": "was there and is gone",
    "external": "came from outside the journal",
}
REFUSED = "is not accepted by the policy"
EVIDENCE_LIMIT = 100
_EXCERPT = 200


class Mark(NamedTuple):
    """Where a fence stands: a sealed row, and the strays that lay beyond it already."""

    seq: int
    epoch: int
    seal: bytes
    beyond: tuple[tuple[int, int], ...] = ()
    beyond_digest: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found, with its evidence.

    ``arrived`` are the lines other instances wrote since the fence; ``foreign``
    the entries that make it a takeover, each with its reason in ``reasons``;
    ``unresolved`` older foreign entries nobody has resolved yet. ``id`` is the
    number under which it was kept (accepted verdicts are not kept).
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

    @property
    def accepted(self) -> bool:
        """Whether only those wrote who may."""
        return self.outcome == ACCEPTED

    @property
    def origins(self) -> tuple[str, ...]:
        """Where each foreign entry came from."""
        return tuple(map(origin, self.foreign))

    def summary(self) -> str:
        """Say the verdict in one sentence."""
        if self.accepted:
            return f"{self.session}: accepted, {len(self.arrived)} arrived since the fence"
        first = f"seq {self.foreign[0].seq} {self.reasons[0]}" if self.foreign else "no evidence"
        more = len(self.foreign) - 1
        rest = f" (and {more} more)" if more > 0 else ""
        return f"{self.outcome} of {self.session!r}: {first}{rest}"

    def explain(self) -> str:
        """Say the rule, what was expected, what was found, row by row, and what to do next."""
        lines = [
            self.summary(),
            f"rule: an untrusted entry after the fence is a takeover (policy {self.policy})",
            f"fence: seq {self.fence.seq}, epoch {self.fence.epoch}",
            f"head:  seq {self.head_seq}, epoch {self.head_epoch}",
        ]
        for entry, reason in zip(self.foreign, self.reasons, strict=True):
            lines.append(
                f"  seq {entry.seq}: {reason}; claims writer {entry.writer!r}; {origin(entry)}"
            )
        lines += [
            f"  seq {entry.seq}: by {entry.writer} ({entry.role}), accepted"
            for entry in self.arrived
        ]
        lines.append(f"Try: {self.next_command()}")
        return "\n".join(lines)

    def next_command(self) -> str:
        """Return the command that shows more."""
        return f"journal audit {_quoted(self.session)}"


def _quoted(word: str) -> str:
    plain = (
        word.replace(":", "").replace("-", "").replace("_", "").replace("/", "").replace(".", "")
    )
    return word if plain.isalnum() and plain.isascii() else "'" + word.replace("'", "'\"'\"'") + "'"


def origin(entry: Entry) -> str:
    """Say where an entry came from: a database row, or a file."""
    if entry.trust == "missing":
        return "no row"
    row = "database row" if entry.row_id is None else f"database row {entry.row_id}"
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
        reason = _reason(entry, own_instance, policy)
        if reason is not None:
            foreign.append(entry)
            reasons.append(reason)
        elif entry.instance_id != own_instance and entry.kind != "control":
            arrived.append(entry)
    return arrived, foreign, reasons


def _reason(entry: Entry, own_instance: int | None, policy: Callable[[Entry], bool]) -> str | None:
    if entry.is_line_end or entry.trust in ("permitted", "accepted"):
        return None
    if not entry.trusted:
        return REASONS[entry.trust]
    if entry.instance_id == own_instance or entry.kind == "control" or policy(entry):
        return None
    return REFUSED


def evidence_of(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as it is stored: bounded, with what would be needed to explain it."""
    pairs = list(zip(verdict.foreign, verdict.reasons, strict=True))[:EVIDENCE_LIMIT]
    return {
        "fence": {"seq": verdict.fence.seq, "epoch": verdict.fence.epoch},
        "head": {"seq": verdict.head_seq, "epoch": verdict.head_epoch},
        "foreign": [_evidence(entry, reason) for entry, reason in pairs],
        "foreign_count": len(verdict.foreign),
        "arrived": [
            [entry.seq, entry.writer, entry.role] for entry in verdict.arrived[:EVIDENCE_LIMIT]
        ],
        "arrived_count": len(verdict.arrived),
    }


def _evidence(entry: Entry, reason: str) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "epoch": entry.epoch,
        "trust": entry.trust,
        "reason": reason,
        "claims_writer": entry.writer,
        "claims_role": entry.role,
        "instance": entry.instance_id,
        "claim": entry.claim,
        "origin": origin(entry),
        "body": (entry.body or b"")[:_EXCERPT].decode("utf-8", "backslashreplace"),
    }

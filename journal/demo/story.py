"""What the demo tells: numbered steps, each with the claims it makes and whether they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Stage(NamedTuple):
    """Where it is played: a copied store, and a journal and its key beside it."""

    store: Path
    database: str
    key_file: str


class Claim(NamedTuple):
    """One thing the demo says of the journal, and whether it was so."""

    text: str
    holds: bool


class Share(NamedTuple):
    """One line of the attribution table: a writer's part of the session."""

    writer: str
    role: str
    trust: str
    lines: int
    seqs: str
    standing: str


@dataclass(frozen=True)
class Step:
    """One step of the story."""

    number: int
    title: str
    words: tuple[str, ...]
    claims: tuple[Claim, ...]


@dataclass
class Story:
    """The story so far; ``tell`` is called with each step as it happens.

    ``facts`` are its outcomes for a program: which rows, which verdict.
    """

    tell: Callable[[Step], None]
    session: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    shares: list[Share] = field(default_factory=list)

    def add(self, title: str, *words: str, claims: list[Claim] | None = None) -> None:
        """Tell the next step."""
        step = Step(len(self.steps) + 1, title, words, tuple(claims or ()))
        self.steps.append(step)
        self.tell(step)

    @property
    def claims(self) -> list[Claim]:
        """Every claim made so far."""
        return [claim for step in self.steps for claim in step.claims]

    @property
    def holds(self) -> bool:
        """Whether the story went as told."""
        return all(claim.holds for claim in self.claims)


def spans(seqs: list[int]) -> str:
    """Return numbers in a few words: ``1-15, 17``."""
    runs: list[list[int]] = []
    for seq in sorted(seqs):
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)

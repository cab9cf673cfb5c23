"""Runs contenders in turn and tells their rates as ratios with spread."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class AbsentError(Exception):
    """A contender that is not at hand; the message says why."""


@dataclass
class Contender:
    """One way to keep a line; ``run`` keeps that many, one at a time.

    Attributes:
        name: how the figures call it.
        title: how the table calls it.
        against: the name of the contender whose rate is 1.00.
        run: keeps so many lines, each by itself.
        close: lets its files go.
        rates: lines a second, one figure for each round.

    """

    name: str
    title: str
    against: str
    run: Callable[[int], object]
    close: Callable[[], object]
    rates: list[float] = field(default_factory=list)


class Spread(NamedTuple):
    """A median with the least and the greatest."""

    median: float
    low: float
    high: float


def spread(figures: Sequence[float]) -> Spread:
    """Return the median of some figures, with the least and the greatest."""
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(rates: Sequence[float], others: Sequence[float]) -> Spread:
    """Return the spread of one contender's rates over another's, round by round."""
    return spread([rate / other for rate, other in zip(rates, others, strict=True)])


class Plan(NamedTuple):
    """How much is run: rounds, blocks in a round, lines in a block."""

    rounds: int
    blocks: int
    block: int


def measure(contenders: Sequence[Contender], plan: Plan, tell: Callable[[str], object]) -> None:
    """Fill in each contender's rates.

    Within a round all take turns block by block, in an order drawn anew for each
    block: so what one leaves behind (an unsynced file, say) falls on every other.
    A round's rate is its median block's. The first round warms up and does not count.
    """
    draw = Random(0)  # noqa: S311 - to be repeated, not to be secret
    for number in range(plan.rounds + 1):
        tell(f"round {number} of {plan.rounds}" if number else "warm-up")
        times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for _ in range(plan.blocks):
            for contender in draw.sample(contenders, len(contenders)):
                began = perf_counter()
                contender.run(plan.block)
                times[contender.name].append(perf_counter() - began)
        if number:
            for contender in contenders:
                contender.rates.append(plan.block / statistics.median(times[contender.name]))


def median_us(call: Callable[[], object], count: int) -> float:
    """Return the median time of one call in microseconds."""
    times = []
    for _ in range(count):
        began = perf_counter()
        call()
        times.append(perf_counter() - began)
    return statistics.median(times) * 1e6

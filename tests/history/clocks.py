"""Clocks that are wrong by hours, and jump: in a process of their own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

HOUR_NS: Final = 3_600_000_000_000
_JUMPS: Final = 0.02  # of all looks at the clock
_MOST_H: Final = 12.0


def set_off(hours: float) -> None:
    """Set this process's clock ahead, or back."""
    _run(lambda: int(hours * HOUR_NS))


def go_wrong(chance: Random) -> None:
    """Set this process's clock at random, now and again, ahead or back."""
    off_h = chance.uniform(-_MOST_H, _MOST_H)

    def off_ns() -> int:
        nonlocal off_h
        if chance.random() < _JUMPS:
            off_h = chance.uniform(-_MOST_H, _MOST_H)
        return int(off_h * HOUR_NS)

    _run(off_ns)


_true_ns = time.time_ns


def _run(off_ns: Callable[[], int]) -> None:
    time.time_ns = lambda: _true_ns() + off_ns()
    time.time = lambda: time.time_ns() / 1e9

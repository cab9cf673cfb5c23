"""Who gets how much of the time, so that all rings reach what they should at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.proof.rings import Told

_SHORT_S: Final = 600  # in less the rings get the same
_FIRST: Final = 0.05  # of the time, for the rings to show how quick they are
_SLICES: Final = 3
_WITHOUT_AIM: Final = 0.01  # for each ring that should do as much as it can


def slices(seconds: float) -> Iterator[float]:
    """Yield how long each part of a run may take; what one took too long the others have less."""
    until = time.monotonic() + seconds
    if seconds < _SHORT_S:
        yield seconds
        return
    yield seconds * _FIRST
    for left in range(_SLICES - 1, 0, -1):
        yield max(0.0, until - time.monotonic()) / left


def shares(rings: Sequence[Told], seconds: float) -> list[float]:
    """Return each ring's part of so many seconds.

    Before anything was tried it is the same for all. Then a ring with an aim gets what it
    needs for the rest of it, by its own rate, all of them in proportion; where each has
    reached its own they share alike.
    """
    if not any(told.took_s for told in rings):
        return [seconds / len(rings)] * len(rings)
    needs = [_need(told) for told in rings]
    if not sum(needs):
        needs = [float(told.aim is not None) for told in rings]
    without = sum(told.aim is None for told in rings)
    for_aims = seconds * (1 - _WITHOUT_AIM * without) / (sum(needs) or 1.0)
    return [
        seconds * _WITHOUT_AIM if told.aim is None else need * for_aims
        for told, need in zip(rings, needs, strict=True)
    ]


def _need(told: Told) -> float:
    """Return how many seconds a ring still needs."""
    if told.aim is None or told.skipped is not None:
        return 0.0
    # What has not come to one yet would come to it in as long again, as far as anybody knows.
    return max(0, told.aim - told.count) * told.took_s / max(1, told.count)

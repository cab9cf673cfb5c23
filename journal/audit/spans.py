"""What one set of seqs has and another has not."""

from __future__ import annotations

from journal.strays import Ranges


def minus(these: Ranges, others: Ranges) -> Ranges:
    """Return the seqs of the first set that are not in the second."""
    left: list[tuple[int, int]] = []
    cuts = iter(others)
    cut = next(cuts, None)
    for first, last in these:
        start = first
        while cut is not None and cut[1] < start:
            cut = next(cuts, None)
        while cut is not None and cut[0] <= last:
            if cut[0] > start:
                left.append((start, cut[0] - 1))
            start = cut[1] + 1
            if cut[1] >= last:
                break  # it may reach into the next range too
            cut = next(cuts, None)
        if start <= last:
            left.append((start, last))
    return Ranges(left)


def common(these: Ranges, others: Ranges) -> Ranges:
    """Return the seqs that are in both sets."""
    return minus(these, minus(these, others))


def without(these: Ranges, seq: int) -> Ranges:
    """Return the set without one seq."""
    return minus(these, Ranges([(seq, seq)])) if seq in these else these

"""Two streams of rows in one order, held against each other; nothing of it grows with their length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journal.copying.target import Values

_END: Final = None


class Difference(NamedTuple):
    """A place where two streams differ: what each has there, or None."""

    expected: Values | None
    found: Values | None


def differences(
    expected: Iterable[Values], found: Iterable[Values], key: Callable[[Values], Any]
) -> Iterator[Difference]:
    """Yield where two streams differ that are in the order of a key, each key once."""
    ours, theirs = iter(expected), iter(found)
    one, other = next(ours, _END), next(theirs, _END)
    while one is not None or other is not None:
        if one is not None and one == other:
            one, other = next(ours, _END), next(theirs, _END)
        elif other is None or (one is not None and key(one) < key(other)):
            yield Difference(one, None)
            one = next(ours, _END)
        elif one is None or key(other) < key(one):
            yield Difference(None, other)
            other = next(theirs, _END)
        else:
            yield Difference(one, other)
            one, other = next(ours, _END), next(theirs, _END)

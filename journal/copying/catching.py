"""Brings a copy that was finished before up to what its journal is now, if nobody has written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal import tables
from journal.copying.transfer import SMALL, entry_differences, mend_all, others
from journal.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journal.copying.comparing import Difference
    from journal.copying.fitting import Fitting
    from journal.copying.target import Target, Values

# Rebuilt from entries, and honest writers take rows out of them.
PROJECTIONS: Final = ("sessions", "layouts", "mirrors", "meta")
_ERASED: Final = ("body", "salt", "line_type", "line_id", "parent_id")
_KEPT: Final = tuple(at for at, column in enumerate(tables.entries.c) if column.name not in _ERASED)
_GONE: Final = tuple(at for at, column in enumerate(tables.entries.c) if column.name in _ERASED)


def catch_up_with(target: Target, fitting: Fitting, told: Callable[[int], None]) -> int:
    """Do it in one transaction; return how many entries were missing or redacted since.

    Raises:
        StorageError: somebody has written to the copy; it is as it was.

    """
    with target.locked():
        _check_untouched(target, fitting)
        found = _checked(target, entry_differences(target, fitting, told))
        count = mend_all(target, found)
        target.replace((table, fitting.rows(table)) for table in SMALL)
    _check_equal(target, fitting)
    return count


def _check_untouched(target: Target, fitting: Fitting) -> None:
    # Whoever writes anything leaves a row of himself, and another of what he wrote.
    for table, expected, _ in others(fitting, target.ordered):
        if expected is None and table not in PROJECTIONS:
            raise _own(target, f"a row of {table}")


def _checked(target: Target, found: Iterable[Difference]) -> Iterator[Difference]:
    for each in found:
        there, expected = each.found, each.expected
        if there is not None and not (expected is not None and is_erased(expected, there)):
            raise _own(target, f"the entry {there[0]}, seq {there[2]} of the session {there[1]}")
        yield each


def is_erased(now: Values, before: Values) -> bool:
    """Whether all that happened to an entry is that it was redacted."""
    return all(now[at] == before[at] for at in _KEPT) and all(now[at] is None for at in _GONE)


def _own(target: Target, what: str) -> StorageError:
    return StorageError(
        f"{target.shown} has what the journal has not ({what}): somebody has written to it; it was left as it is",
        hint="name another DST",
        code="copy-was-written",
    )


def _check_equal(target: Target, fitting: Fitting) -> None:
    is_odd = any(True for _ in entry_differences(target, fitting, lambda _: None))
    if is_odd or any(True for _ in others(fitting, target.ordered)):
        raise StorageError(
            f"{target.shown}: what was read back is not what was written",
            hint="somebody may have written to it meanwhile: journal copy SRC DST compares",
            code="copy-differs",
        )

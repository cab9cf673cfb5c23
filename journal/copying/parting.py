"""In what a journal and a finished copy of it differ, and what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journal import tables
from journal.copying.catching import PROJECTIONS, is_erased
from journal.copying.comparing import differences
from journal.copying.outcome import Later
from journal.copying.transfer import number_of, others
from journal.model import REGISTRY_ID

if TYPE_CHECKING:
    from journal.audit.source import Source
    from journal.copying.comparing import Difference
    from journal.copying.fitting import Fitting
    from journal.copying.target import Values

# What a copy in a file seals in the moment it becomes a journal, and where that shows.
_UNMIRROR: Final = b'{"control":"unmirror"'
_OWN: Final = ("sessions", "mirrors", "instances")


class Parted(NamedTuple):
    """A difference.

    Attributes:
        newer: how much is only in the journal.
        own: how much is only in the copy, but for what it sealed of itself.
        has_sealed: it sealed that it serves none of the journal's mirrors.
        is_written: somebody has written to it, be it no entry.

    """

    newer: Later
    own: Later
    has_sealed: bool
    is_written: bool


class _Count:
    def __init__(self) -> None:
        self.entries, self.sessions = 0, set[int]()

    def add(self, row: Values) -> None:
        self.entries += 1
        self.sessions.add(row[1])

    def told(self) -> Later:
        return Later(self.entries, len(self.sessions))


def parted(source: Source, fitting: Fitting, there: Source) -> Parted | None:
    """Return in what a copy is not what the journal is now; None where it is. Both are read whole."""
    has_sealed = seals_away(source, there)
    newer, own, is_odd = _Count(), _Count(), False
    rows = differences(fitting.rows(tables.entries), there.ordered(tables.entries), number_of)
    for each in rows:
        if has_sealed and each.expected is None and is_own(each.found):
            continue
        is_odd = True
        _count(each, newer, own, has_sealed=has_sealed)
    is_written = False
    for table, expected, _ in others(fitting, there.ordered):
        is_its_own = has_sealed and table in _OWN
        is_odd |= not is_its_own
        is_written |= expected is None and table not in PROJECTIONS and not is_its_own
    if not is_odd:
        return None
    return Parted(newer.told(), own.told(), has_sealed, is_written or own.entries > 0)


def _count(each: Difference, newer: _Count, own: _Count, *, has_sealed: bool) -> None:
    expected, found = each
    if expected is not None and found is not None and is_erased(expected, found):
        return  # redacted since
    if expected is not None:
        newer.add(expected)
    if found is not None and not (has_sealed and is_own(found)):
        own.add(found)


def is_own(row: Values | None) -> bool:
    """Whether an entry may be what a copy in a file sealed of itself: that it serves no mirror."""
    return row is not None and row[1] == REGISTRY_ID and bytes(row[-1] or b"").startswith(_UNMIRROR)


def seals_away(source: Source, there: Source) -> bool:
    """Whether a copy has sealed that it serves none of the journal's mirrors."""
    known = {bytes(row.seal) for row in source.controls_beginning(REGISTRY_ID, _UNMIRROR)}
    found = there.controls_beginning(REGISTRY_ID, _UNMIRROR)
    return any(bytes(row.seal) not in known for row in found)

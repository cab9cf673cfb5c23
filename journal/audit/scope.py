"""What an audit is asked to look at: which sessions, and how closely."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.aliases import ambiguous
from journal.audit.source import MAX_INT
from journal.engine import driver
from journal.errors import no_session
from journal.explanation import counted
from journal.model import REGISTRY_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from journal.audit.declarations import Declarations
    from journal.audit.source import Source

_QUICK: Final = (
    "whether the lines' bytes fit what was sealed, and what is derived from them (--quick)",
    "SQLite's own integrity check, mirrors' files, and the sums of migrated files (--quick)",
)


class Scope(NamedTuple):
    """What to look at.

    Attributes:
        sessions: only these, by key or by what else they are called; empty for all.
        since_us: only those with an entry this new; None for all.
        is_quick: leave out what reads every byte of every line.

    """

    sessions: tuple[str, ...] = ()
    since_us: int | None = None
    is_quick: bool = False

    def asked(self, known: Declarations) -> set[int]:
        """Return the numbers of the sessions that were asked for, however old.

        Raises:
            NotFoundError: as for :meth:`chosen`.

        """
        every = known.sessions.keys() - {REGISTRY_ID}
        if not self.sessions:
            return set(every)
        return every & {known.session_ids[_key_of(known, name)] for name in self.sessions}

    def chosen(self, source: Source, known: Declarations) -> tuple[set[int], list[str]]:
        """Return the numbers of the sessions to look at, and in words what is left out.

        Raises:
            NotFoundError: a session that was asked for is not there, or several are called so.

        """
        every = known.sessions.keys() - {REGISTRY_ID}
        chosen, left = self.asked(known), list(_QUICK if self.is_quick else ())
        if self.sessions:
            left.append(f"{counted(len(every - chosen), 'other session')}, not asked for")
        if self.since_us is not None:
            old = {number for number in chosen if _newest_us(source, number) < self.since_us}
            chosen -= old
            at = datetime.fromtimestamp(self.since_us / 1e6, UTC).isoformat(timespec="seconds")
            left.append(
                f"{counted(len(old), 'session')} in which no entry is newer than {at}: whether older ones were touched"
            )
        return chosen, left

    def telling(
        self,
        source: Source,
        chosen: Iterable[int],
        progress: Callable[[int, int], None] | None,
    ) -> Callable[[int], None] | None:
        """Return what is to be called with the bytes just looked at, if anybody wants to know."""
        if progress is None:
            return None
        try:
            sizes = dict(source.query("SELECT id, cum_bytes FROM sessions").fetchall())
        except driver().Error:
            sizes = {}  # the bar is all that wants it; the damage is told where the table is checked
        total = sum(size for number in chosen if isinstance(size := sizes.get(number), int))
        return lambda size: progress(size, total)


def _key_of(known: Declarations, name: str) -> str:
    found = known.called(name)
    if len(found) > 1:
        raise ambiguous(name, found)
    if not found:
        raise no_session(name)
    return found[0]


def _newest_us(source: Source, number: int) -> int:
    """Return the time of a session's newest entries; of one that cannot be read, that it is new."""
    try:
        found = source.query(
            "SELECT max(created_us) FROM (SELECT created_us FROM entries WHERE session_id = ? "
            "ORDER BY seq DESC LIMIT 100) AS newest",
            number,
        ).fetchone()
    except driver().Error:
        return MAX_INT
    return found[0] if isinstance(found[0], int) else 0

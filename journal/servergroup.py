"""Group commit on a server where others write at the same time."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from journal.dialects import postgres
from journal.errors import BusyError, StorageError
from journal.group import Group, Ride

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.engine import Cursor
    from journal.group import T
    from journal.serverstore import ServerStore

# After so many losses in a row a write waits for the heads instead of racing for one.
PATIENCE: Final = 4
UNKNOWN: Final = "outcome-unknown"
_LONGEST_PAUSE_S: Final = 0.5
# Where others write to the same sessions, a flush is lost: so many writes look first, at most.
_MOST_CAUTION: Final = 32


class PatientGroup(Group):
    """The writes of one journal in this process: sent at once; what that does not do is run again.

    A flush tells nothing but that it was written. Whatever else comes of it, an error of
    the work's too, was only so for what was known here: the work is run again in a
    transaction, which sees what is there, and what lost a race is run once more.
    """

    _transactions: ServerStore

    def __init__(self, transactions: ServerStore) -> None:
        super().__init__(transactions)
        self._caution, self._looks = 0, 0

    def _share(self, work: Callable[[Cursor], T]) -> tuple[T, list[Callable[[], None]], Ride]:
        store, tries, flushes = self._transactions, 0, self._is_bold()
        deadline = time.monotonic() + store.busy_timeout_s
        while True:
            ride = Ride()
            store.takes_heads, store.flushes = tries >= PATIENCE, flushes
            try:
                done = self._attempt(work, ride)
            except Exception as error:
                if getattr(error, "code", None) == UNKNOWN:
                    self._tell(error, ride.writes)  # type: ignore[arg-type] # by its code it is ours
                    raise
                if flushes:
                    flushes = False
                    continue
                if postgres.is_transient(error):
                    tries += 1
                    if time.monotonic() < deadline:
                        pause(tries)
                        continue
                elif ride.writes:
                    continue
                if isinstance(error, StorageError) and (
                    isinstance(error, BusyError) or postgres.is_transient(error)
                ):
                    self._refuse_the_patient(error)
                raise
            finally:
                store.takes_heads = store.flushes = False
            if flushes:
                self._caution = 0
            return done

    def _is_bold(self) -> bool:
        """Whether to flush, as far as the last flushes were not lost to others."""
        if self._looks:
            self._looks -= 1
            return False
        return True

    def lost(self) -> None:
        """Be told that a flush was sent in vain."""
        self._caution = min(2 * self._caution + 1, _MOST_CAUTION)
        self._looks = self._caution

    def _undo(self, error: BaseException, ride: Ride) -> None:
        if ride.unknown is not None or getattr(error, "code", None) == UNKNOWN:
            self._transactions.roll_back(error, ride)
            if ride.unknown is not None:
                self._tell(ride.unknown, ride.writes)
            ride.is_undone = True
        elif isinstance(error, Exception) and (
            self._transactions.flushes or postgres.is_transient(error)
        ):
            self._transactions.roll_back(error, ride)
            self._queue_again(ride.writes)  # nobody's fault: together again
            ride.is_undone = True
        else:
            super()._undo(error, ride)


def pause(tries: int) -> None:
    """Wait a moment, longer each time and never as long as others do."""
    longest = min(0.002 * 2**tries, _LONGEST_PAUSE_S)
    time.sleep(random.uniform(0, longest))  # noqa: S311 - only to come apart


def patiently(work: Callable[[], T], wait_s: float, is_worth: Callable[[BaseException], bool]) -> T:
    """Do something, and again after an error that is worth it, for so many seconds; raise the last one."""
    deadline, tries = time.monotonic() + wait_s, 0
    while True:
        try:
            return work()
        except Exception as error:
            tries += 1
            if not is_worth(error) or time.monotonic() > deadline:
                raise
            pause(tries)

"""Group commit on a server where others write at the same time."""

from __future__ import annotations

import random
import time
from enum import Enum
from typing import TYPE_CHECKING, Final

from journal.dialects import postgres
from journal.errors import BusyError, StorageError
from journal.group import Group
from journal.rides import Ride

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.engine import Cursor
    from journal.rides import T
    from journal.serverstore import ServerStore

# After so many losses in a row a write waits for the heads instead of racing for one.
PATIENCE: Final = 4
UNKNOWN: Final = "outcome-unknown"
_LONGEST_PAUSE_S: Final = 0.5
# Where flushes are lost all the same, so many writes look first, at most.
_MOST_CAUTION: Final = 32
# Who met others at a head stands in its queue until it has met nobody for so many writes.
_TURNS: Final = 8
# Whose turn did not come, for somebody before it was stopped, stands in no queue for so long.
_ASIDE_S: Final = 30.0


class Way(Enum):
    """How a write is sent: at once, once its turn has come, or in a transaction that looks first."""

    AT_ONCE = 0
    IN_TURN = 1
    LOOKING = 2


class PatientGroup(Group):
    """The writes of one journal in this process: sent at once; what that does not do is run again.

    A flush tells nothing but that it was written. Whatever else comes of it, an error of
    the work's too, was only so for what was known here: the work is run again in a
    transaction, which sees what is there, and what lost a race is run once more.
    """

    _transactions: ServerStore

    def __init__(self, transactions: ServerStore) -> None:
        super().__init__(transactions)
        self._caution, self._looks, self._turns = 0, 0, 0
        self._aside_until = 0.0

    def _share(self, work: Callable[[Cursor], T]) -> tuple[T, list[Callable[[], None]], Ride]:
        store, tries, way = self._transactions, 0, self._way()
        deadline = time.monotonic() + store.busy_timeout_s
        while True:
            ride = Ride()
            store.takes_heads, store.flushes = tries >= PATIENCE, way is not Way.LOOKING
            store.queue.want(way is Way.IN_TURN)
            try:
                done = self._attempt(work, ride)
            except Exception as error:
                if getattr(error, "code", None) == UNKNOWN:
                    self._tell(error, ride.writes)  # type: ignore[arg-type] # by its code it is ours
                    raise
                if (
                    isinstance(error, BusyError)
                    and not ride.writes
                    and time.monotonic() >= deadline
                ):
                    pass  # it has waited for as long as it may, whichever way it was sent
                elif way is not Way.LOOKING:
                    way = self._way_after(way, error)
                    continue
                elif postgres.is_transient(error):
                    tries += 1
                    if time.monotonic() < deadline:
                        way = self._way_once_seen(tries)
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
            self._remember(way)
            return done

    def _way(self) -> Way:
        """Return how to send a write first, by what became of the last ones."""
        if self._looks:
            self._looks -= 1
            return Way.LOOKING
        return Way.IN_TURN if self._turns else Way.AT_ONCE

    def _way_after(self, way: Way, error: Exception) -> Way:
        """Return how to send a write that was in vain: in turn, if it only came too late."""
        if way is Way.IN_TURN and isinstance(error, BusyError):
            self._turns, self._aside_until = 0, time.monotonic() + _ASIDE_S
        return Way.IN_TURN if way is Way.AT_ONCE and self._turns else Way.LOOKING

    def _way_once_seen(self, tries: int) -> Way:
        """Return how to send a write that lost a race after a look: in turn, or after a pause."""
        if self._turns and tries < PATIENCE:
            return Way.IN_TURN
        pause(tries)
        return Way.LOOKING

    def _remember(self, way: Way) -> None:
        """Note that a write was done in this way."""
        if way is not Way.LOOKING:
            self._caution = 0
        if way is Way.IN_TURN:
            self._turns = _TURNS if self._transactions.queue.met_others else self._turns - 1

    def lost(self) -> None:
        """Be told that a flush was sent in vain."""
        if not self._transactions.queue.is_wanted and time.monotonic() >= self._aside_until:
            self._turns = _TURNS
            return
        self._caution = min(2 * self._caution + 1, _MOST_CAUTION)
        self._looks = self._caution - 1

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
    longest = min(0.002 * 2 ** min(tries, 8), _LONGEST_PAUSE_S)  # no float is as large as 2**1024
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

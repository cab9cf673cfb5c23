"""What shares a commit: the writes that wait, the transaction they ride along in, and who wakes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.engine import Cursor
    from journal.errors import StorageError

T = TypeVar("T")


class Transactions(Protocol):
    """What is shared: one connection's transactions, one at a time."""

    busy_timeout_s: float

    def begin(self, *, at_once: bool) -> Cursor:
        """Take the write lock; return the cursor. With ``at_once`` raise NotYet if others are before it."""

    def in_turn(self, call: Callable[[], T]) -> T:
        """Make a call that begins and commits, in the turn that has to be waited for; return what it returns."""

    def commit(self, ride: Ride) -> list[Callable[[], None]]:
        """Make it durable, tell the ride, let the lock go; return what is to be done now that it is."""

    def make_durable(self, number: int) -> None:
        """Return once the commit of this number survives power loss."""

    def roll_back(self, error: BaseException, ride: Ride) -> None:
        """Undo what stands, let the lock go; tell the ride if it was committed before the error came."""

    def told(self, error: BaseException) -> BaseException:
        """Return the error as callers are to see it."""

    def settle(self) -> None:
        """Write what works have put off until now."""

    def refuse_nested(self) -> None:
        """Raise if the calling thread is inside a transaction or a snapshot."""


class Wake(Protocol):
    """How whoever waits for a write is told that it is done, or to lead."""

    def put(self, told: None, /) -> Callable[[], None] | None:
        """Let it go on and look; from any thread.

        What is returned is still to be called, once for all that return the same.
        """


class Ride:
    """One transaction, as those who ride along in it see it."""

    __slots__ = ("is_committed", "is_durable", "is_undone", "number", "unknown", "writes")

    def __init__(self) -> None:
        self.writes: list[Queued] = []
        self.number = 0
        self.is_committed = self.is_durable = self.is_undone = False
        # The error of those who rode along where nobody can tell whether it was committed.
        self.unknown: StorageError | None = None

    def wake(self) -> None:
        """Let all go on who rode along."""
        wake(*self.writes)


def wake(*writes: Queued) -> None:
    """Let whoever waits for these writes go on; each event loop is rung once."""
    rings = {queued.wake.put(None) for queued in writes}
    rings.discard(None)
    for ring in rings:
        ring()  # type: ignore[misc] # None was taken out


class Queued:
    """A write that came while another was under way."""

    has_thread = True  # in which it is waited for, and which can lead

    __slots__ = (
        "error", "has_run", "is_alone", "is_dropped", "is_led", "is_withdrawn", "outcome", "ride", "since",
        "wake", "work",
    )  # fmt: skip

    def __init__(self, work: Callable[[Cursor], Any], wake: Wake) -> None:
        self.work = work
        self.outcome: Any = None
        self.error: BaseException | None = None
        self.ride: Ride | None = None
        self.has_run = self.is_alone = self.is_led = False
        self.is_withdrawn = self.is_dropped = False  # wanted no more; never to be done
        self.since = time.monotonic()
        self.wake = wake

    @property
    def is_done(self) -> bool:
        """Whether it is committed, or never will be."""
        if self.is_led or self.is_dropped or self.error is not None:
            return True
        return self.ride is not None and self.ride.is_committed

    def answer(self, transactions: Transactions) -> Any:  # noqa: ANN401 - whatever the work returned
        """Return what became of it, durable."""
        if self.error is not None:
            raise self.error
        ride = self.ride
        if not self.is_led and ride is not None and not ride.is_durable:
            transactions.make_durable(ride.number)
        return self.outcome

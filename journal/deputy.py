"""A thread that waits for its process's turn, and does in it what it was asked for.

``flock`` knows no time-out, so a thread waits for it that can be left waiting. Were it only to
say that the turn has come, two would be woken one after the other while everybody else waits:
a fifth of what eight processes can write. So it does the work itself, and says when it is done.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from journal.filelocks import OVER, WAIT, turn
from journal.process import begin

if TYPE_CHECKING:
    from collections.abc import Callable


# Nobody trusts a wake-up that an interrupt may have swallowed: it looks for itself.
LOOK_S: Final = 0.5


class Door(Protocol):
    """The turn among the threads of one process, which have one at a time."""

    def await_free(self) -> None:
        """Return when none of them is at it."""

    def enter(self, descriptor: int) -> bool:
        """Take it for the lock that was got on a descriptor; False if another thread of ours was quicker."""

    def leave(self) -> None:
        """Let go of whatever is still held."""


class _Errand:
    """What a deputy is to do, until it has begun or nobody wants it any more; then what came of it."""

    __slots__ = (
        "_guard", "_has_begun", "_told", "call", "error", "is_over", "is_wanted", "outcome",
    )  # fmt: skip

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call, self.is_wanted, self.is_over = call, True, False
        self.outcome: Any = None
        self.error: BaseException | None = None
        self._told: SimpleQueue[None] = SimpleQueue()
        self._guard, self._has_begun = threading.Lock(), False

    def run(self) -> None:
        """Do it, if it is wanted still."""
        with self._guard:
            self._has_begun = self.is_wanted
        if self._has_begun:
            try:
                self.outcome = self.call()
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
                self.error = error

    def tell(self) -> None:
        """Let whoever asked go on."""
        self.is_over = True
        self._told.put(None)

    def wait(self, wait_s: float | None) -> bool:
        """Wait until it is over; return False if it was not in time, and is given up."""
        with suppress(Empty):
            self._told.get(timeout=wait_s)
        if self.is_over:
            return True
        with self._guard:
            self.is_wanted = self._has_begun
        return self.is_wanted and self.wait(None)

    def abort(self) -> None:
        """Want it no more; once it has begun wait for its end, whatever interrupts come: that is near."""
        with self._guard:
            self.is_wanted = False
        while self._has_begun and not self.is_over:
            with suppress(BaseException):
                self._told.get(timeout=LOOK_S)


class Deputy:
    """One thread, begun when it is first asked; its descriptor is closed when it ends."""

    def __init__(self, descriptor: int, door: Door) -> None:
        self.descriptor, self._door = descriptor, door
        self._asked: SimpleQueue[_Errand | None] = SimpleQueue()
        self._current: _Errand | None = None
        self._guard, self._is_over = threading.Lock(), False
        self._thread = threading.Thread(target=self._serve, name="journal-deputy", daemon=True)
        begin(self._thread)

    def do(self, call: Callable[[], Any], wait_s: float) -> tuple[Any, BaseException | None] | None:
        """Have a call made in the turn; return its outcome or its error, or None if the turn did not come in time.

        None as well, and at once, if it was stopped: nobody would make the call.
        """
        errand = _Errand(call)
        try:
            with self._guard:
                if self._is_over:
                    return None
                self._asked.put(errand)
            came = errand.wait(wait_s)
        except BaseException:
            errand.abort()
            raise
        return (errand.outcome, errand.error) if came else None

    def is_aborted(self) -> bool:
        """Whether this thread is the deputy, and does what nobody wants any more."""
        current = self._current
        is_mine = threading.get_ident() == self._thread.ident
        return is_mine and current is not None and not current.is_wanted

    def stop(self) -> None:
        """End the thread, once it has what it waits for; it is not waited for."""
        with self._guard:
            self._is_over = True
            self._asked.put(None)

    def _serve(self) -> None:
        while (errand := self._asked.get()) is not None:
            self._current = errand
            while errand.is_wanted and not self._did(errand):
                pass
            errand = self._current = None  # or its lines would be kept until the next one
        os.close(self.descriptor)

    def _did(self, errand: _Errand) -> bool:
        self._door.await_free()
        turn(self.descriptor, WAIT)
        if not self._door.enter(self.descriptor):
            # That thread may wait for the lock with the door held: let it go first.
            turn(self.descriptor, OVER)
            return False
        try:
            errand.run()
        finally:
            self._door.leave()
        errand.tell()
        return True

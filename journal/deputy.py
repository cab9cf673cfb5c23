"""A thread that waits for its process's turn, and does in it what it was asked for.

``flock`` knows no time-out, so a thread waits for it that can be left waiting. Were it only to
say that the turn has come, two would be woken one after the other while everybody else waits:
a fifth of what eight processes can write. So it does the work itself, and says when it is done.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from journal.process import begin

if TYPE_CHECKING:
    from collections.abc import Callable


class Door(Protocol):
    """The turn among the threads of one process, which have one at a time."""

    def enter(self, descriptor: int) -> bool:
        """Take it for the lock that was got on a descriptor; False if another thread of ours waits for that."""

    def leave(self) -> None:
        """Let go of whatever is still held."""


class _Errand:
    """What a deputy is to do, until it has begun or nobody wants it any more."""

    __slots__ = ("_guard", "_has_begun", "answer", "call", "is_wanted")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call, self.is_wanted = call, True
        self.answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._guard, self._has_begun = threading.Lock(), False

    def begin(self) -> bool:
        """Begin it, if it is wanted still."""
        with self._guard:
            self._has_begun = self.is_wanted
            return self._has_begun

    def give_up(self) -> bool:
        """Want it no more; return False if it has begun."""
        with self._guard:
            self.is_wanted = self._has_begun
            return not self._has_begun

    def settle(self) -> None:
        """Wait until it is done, whatever interrupts come: it has begun, and ends by itself."""
        while True:
            with suppress(BaseException):
                self.answer.get()
                return


class Deputy:
    """One thread, begun when it is first asked; its descriptor is closed when it ends."""

    def __init__(self, descriptor: int, door: Door) -> None:
        self.descriptor, self._door = descriptor, door
        self._asked: SimpleQueue[_Errand | None] = SimpleQueue()
        begin(threading.Thread(target=self._serve, name="journal-deputy", daemon=True))

    def do(self, call: Callable[[], Any], wait_s: float) -> tuple[Any, BaseException | None] | None:
        """Have a call made in the turn; return its outcome or its error, or None if the turn did not come in time."""
        errand = _Errand(call)
        try:
            self._asked.put(errand)
            with suppress(Empty):
                return errand.answer.get(timeout=wait_s)
            return None if errand.give_up() else errand.answer.get()
        except BaseException:
            if not errand.give_up():
                errand.settle()
            raise

    def stop(self) -> None:
        """End the thread, once it has what it waits for; it is not waited for."""
        self._asked.put(None)

    def _serve(self) -> None:
        while (errand := self._asked.get()) is not None:
            while errand.is_wanted and not self._did(errand):
                pass
        os.close(self.descriptor)

    def _did(self, errand: _Errand) -> bool:
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        if not self._door.enter(self.descriptor):
            # A thread of ours that waits for the lock with the door held: let it go first.
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            return False
        try:
            answer = _made(errand.call) if errand.begin() else None
        finally:
            self._door.leave()
        if answer is not None:
            errand.answer.put(answer)
        return True


def _made(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
        return None, error

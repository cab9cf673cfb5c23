"""What a thread settles and a task waits for, of asyncio or trio; a cancellation waits for it too."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import anyio
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Bell:
    """Tells an asyncio loop what threads have settled: once for all that comes together.

    To wake a loop is a system call, and sixty-four tasks share one commit. What is put into
    ``told`` is answered in the loop's thread, after the bell was rung by a call.
    """

    __slots__ = ("_is_rung", "loop", "told")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = ref(loop)
        self.told: deque[_Told] = deque()
        self._is_rung = False

    def __call__(self) -> None:
        """Have the loop answer all that was noted; from any thread."""
        if self._is_rung:
            return
        self._is_rung = True
        try:
            loop = self.loop()
            with suppress(RuntimeError):  # the loop is gone, and with it who waited
                if loop is not None:
                    loop.call_soon_threadsafe(self._answer)
        except BaseException:  # an interrupt: who rings again must be heard
            self._is_rung = False
            raise

    def _answer(self) -> None:
        self._is_rung = False  # first: what is noted from here on rings again
        told = self.told
        while told:
            told.popleft().answer()


class Settled:
    """Something a thread will finish, and a task waits for."""

    __slots__ = ()

    @staticmethod
    def here() -> Settled:
        """Return one for the task that runs, of asyncio or trio."""
        loop = _asyncio_loop()
        return _Heard() if loop is None else _Told(loop)

    def tell(self) -> None:
        """Let the task go on; from any thread, any number of times."""
        ring = self.note()
        if ring is not None:
            ring()

    def note(self) -> Callable[[], None] | None:
        """As :meth:`tell`, but for the call that is returned: one for all tasks of a loop."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is settled, or until nobody wants to know any more."""
        raise NotImplementedError

    def is_told(self) -> bool:
        """Whether it is settled; for the task."""
        raise NotImplementedError

    async def wait(self, give_up: Callable[[], object] | None = None) -> None:
        """Wait until it is settled; a cancellation gives up what is not begun, and waits for the rest."""
        try:
            await self
        except BaseException:
            if give_up is not None:
                give_up()
            await self.outlast()
            raise

    async def outlast(self) -> None:
        """Wait until it is settled, however often the task is cancelled meanwhile."""
        with anyio.CancelScope(shield=True):
            while not self.is_told():
                try:
                    await self
                except anyio.get_cancelled_exc_class():
                    continue  # asyncio's own cancel() knows no shield, and may come again


class _Told(Settled):
    """By asyncio's own future, the quickest there is: every append waits for one."""

    __slots__ = ("_bell", "_future", "_is_told", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._bell = loop, _bell_of(loop)
        self._future: asyncio.Future[None] = loop.create_future()
        self._is_told = False

    def note(self) -> Bell:
        bell = self._bell
        bell.told.append(self)
        return bell

    def answer(self) -> None:
        """Let the task go on; in its loop's thread."""
        self._is_told = True
        if not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        if self._future.cancelled():  # with the task that waited for it; it may wait again
            self._future = self._loop.create_future()
        return self._future.__await__()

    def is_told(self) -> bool:
        return self._is_told


class _Heard(Settled):
    """By trio's event."""

    __slots__ = ("_event", "_notify")

    def __init__(self) -> None:
        self._event = anyio.Event()
        token: Any = current_token().native_token
        self._notify: Callable[[Callable[[], None]], object] = token.run_sync_soon

    def note(self) -> None:
        with suppress(RuntimeError):  # trio.RunFinishedError is one: nobody waits any more
            self._notify(self._event.set)

    def __await__(self) -> Generator[Any, None, None]:
        return self._event.wait().__await__()

    def is_told(self) -> bool:
        return self._event.is_set()


_bells: WeakKeyDictionary[asyncio.AbstractEventLoop, Bell] = WeakKeyDictionary()
_making = threading.Lock()
_last: list[Bell] = []  # mostly there is one loop only


def _bell_of(loop: asyncio.AbstractEventLoop) -> Bell:
    last = _last[:1]  # read once: another loop's thread may put its own there
    if last and last[0].loop() is loop:
        return last[0]
    found = _bells.get(loop)
    if found is None:
        with _making:
            found = _bells[loop] = Bell(loop)
    _last[:] = [found]
    return found


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop of the task that runs; None where it is trio's, which may run as asyncio's guest."""
    if "trio" in sys.modules:
        token = current_token().native_token
        return None if hasattr(token, "run_sync_soon") else token  # type: ignore[return-value]
    return asyncio.get_running_loop()


def in_loop() -> bool:
    """Whether an event loop runs in this thread, and would stand still while it waits."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - no task: a callback, a signal's too
        return True
    try:
        current_token()
    except RuntimeError:
        return False
    return True

"""Ways into a journal, all with the synchronous names: so one suite asks all of them for the same promises.

``sync`` is the journal itself. ``asyncio`` and ``trio`` are the asynchronous one,
each call awaited in an event loop that runs in a thread. ``process`` is a journal
in a process of its own, which is sent every call; so are two of them, each
handle in the other process than the one before.
"""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import traceback
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from anyio.from_thread import start_blocking_portal

from journal import AsyncJournal, Journal
from journal.aio import AsyncSession
from journal.awaited import AsyncBatch, AsyncFence
from journal.batch import Batch
from journal.fence import Fence
from journal.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

WAYS = ("sync", "asyncio", "trio", "process", "processes")
_HANDLES = (Journal, Session, Fence, Batch, AsyncJournal, AsyncSession, AsyncFence, AsyncBatch)


@contextmanager
def opened(way: str, path: Path, **options: Any) -> Iterator[Any]:
    """Open a journal by one of the ways."""
    if way == "sync":
        with Journal(path, **options) as journal:
            yield journal
    elif way in ("asyncio", "trio"):
        with (
            start_blocking_portal(way) as portal,
            Awaited(portal, AsyncJournal(path, **options)) as journal,
        ):
            yield journal
    else:
        with ExitStack() as stack:
            count = 1 if way == "process" else 2
            yield Spread([stack.enter_context(_served(path, options)) for _ in range(count)])


# -- an event loop in a thread ----------------------------------------------------------


class Awaited:
    """A handle whose every call is awaited in another thread's loop."""

    def __init__(self, portal: Any, handle: Any) -> None:
        self._portal, self._handle = portal, handle

    def __getattr__(self, name: str) -> Any:
        async def get() -> Any:
            found = getattr(self._handle, name)
            return await found if inspect.isawaitable(found) else found

        found = self._portal.call(get)
        return self._called(found) if callable(found) else self._wrapped(found)

    def _called(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            async def run() -> Any:
                answer = method(*map(_bare, args), **options)
                return await answer if inspect.isawaitable(answer) else answer

            return self._wrapped(self._portal.call(run))

        return call

    def _wrapped(self, value: Any) -> Any:
        return Awaited(self._portal, value) if isinstance(value, _HANDLES) else value

    def __enter__(self) -> Self:
        self._portal.call(self._handle.__aenter__)
        return self

    def __exit__(self, *error: object) -> None:
        self._portal.call(self._handle.__aexit__, *error)


def _bare(value: Any) -> Any:
    return object.__getattribute__(value, "_handle") if isinstance(value, Awaited) else value


# -- a process of its own ---------------------------------------------------------------


@contextmanager
def _served(path: Path, options: dict[str, Any]) -> Iterator[Remote]:
    # Spawned: a forked child may not use what its parent has open.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, str(path), options), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Remote(ours, 0)
    finally:
        ours.close()
        process.join(60)


def _serve(pipe: Connection, path: str, options: dict[str, Any]) -> None:
    with Journal(path, **options) as journal:
        handles: list[Any] = [journal]
        while True:
            try:
                number, name, args, named = pipe.recv()
            except EOFError:
                return
            pipe.send(_answered(handles, number, name, args, named))


def _answered(
    handles: list[Any], number: int, name: str, args: tuple[Any, ...], named: dict[str, Any]
) -> tuple[str, Any]:
    try:
        found = getattr(handles[number], name)
        args = tuple(handles[arg.number] if isinstance(arg, Number) else arg for arg in args)
        answer = found(*args, **named) if callable(found) else found
    except BaseException as error:  # noqa: BLE001 - it is raised on the other side
        return "error", (error, traceback.format_exc())
    if isinstance(answer, _HANDLES):
        handles.append(answer)
        return "handle", len(handles) - 1
    try:
        pickle.dumps(answer)
    except Exception:  # noqa: BLE001 - a receipt of a batch does not travel
        return "value", None
    return "value", answer


class Number:
    """A handle's number, on its way into the other process."""

    def __init__(self, number: int) -> None:
        self.number = number


class Remote:
    """A handle that lives in another process."""

    def __init__(self, pipe: Connection, number: int) -> None:
        self._pipe, self._number = pipe, number

    def __getattr__(self, name: str) -> Any:
        if name in _PLAIN:
            return self._ask(name)
        return lambda *args, **named: self._ask(name, *args, **named)

    def _ask(self, name: str, *args: Any, **named: Any) -> Any:
        sent = tuple(Number(arg._number) if isinstance(arg, Remote) else arg for arg in args)
        self._pipe.send((self._number, name, sent, named))
        sort, value = self._pipe.recv()
        if sort == "error":
            raise value[0]
        return Remote(self._pipe, value) if sort == "handle" else value

    def __enter__(self) -> Self:
        self._ask("__enter__")
        return self

    def __exit__(self, kind: object, error: object, _: object) -> None:
        self._ask("__exit__", kind, error, None)


class Spread:
    """Several processes with the same journal: each handle is in the next of them."""

    def __init__(self, journals: list[Remote]) -> None:
        self._journals, self._next = journals, 0
        self.is_several = len(journals) > 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._turn(), name)

    def _turn(self) -> Remote:
        self._next += 1
        return self._journals[self._next % len(self._journals)]


_PLAIN = {
    name
    for kind in (Journal, Session, Fence, Batch)
    for name in dir(kind)
    if isinstance(inspect.getattr_static(kind, name), property)
} | {"key", "arrived", "verdict", "token", "stands", "outcome"}

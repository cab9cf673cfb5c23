"""The journal for asyncio and trio: the same names, awaited.

>>> async with AsyncJournal("agent.db") as journal:  # doctest: +SKIP
...     gateway = await journal.session("agent:main:main", writer="gateway", role="run")
...     async with await gateway.fence() as fence:
...         await fence.append({"type": "message"})

Nothing here blocks the event loop: appends queue up for the journal's group
commit, so that hundreds of tasks share one sync; all else runs in threads. One
journal may be used from several event loops at once.

A cancelled call settles before the cancellation passes: when it does, the write
is durable or was never made.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from journal.awaited import AsyncBatch, AsyncFence
from journal.journal import Journal
from journal.parts import encode_line, encode_lines
from journal.settled import Settled
from journal.threads import Threads, closed
from journal.turn import Turn

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType
    from typing import Self

    from journal.changes import Changes
    from journal.erasing import Receipt as Erased
    from journal.inputs import Input, Taken
    from journal.model import Entry, SessionInfo, Writer
    from journal.parking import Parked
    from journal.policy import Policy
    from journal.reading import Reading
    from journal.session import Position, Session
    from journal.verdict import Verdict

P = ParamSpec("P")
T = TypeVar("T")

_PAGE: Final = 256


class _Following:
    """What waits, in a task, for the next commit."""

    def __init__(self, changes: Changes, threads: Threads) -> None:
        self._changes, self._threads = changes, threads
        self._settled = Settled.here()
        self._call = self._tell  # one object: it is looked for again to be removed

    def _tell(self) -> None:
        self._settled.tell()

    def begin(self) -> None:
        """From here on a commit ends the next wait."""
        self._settled = Settled.here()

    async def wait(self) -> None:
        """Return after the next commit, or when the journal is closed."""
        await self._settled

    async def __aenter__(self) -> Self:
        await self._threads.borrow(lambda _: self._stop(), self._changes.add, self._call)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._changes.remove(self._call)


class AsyncSession:
    """One session, seen and written by one writer: :class:`journal.Session`, awaited."""

    def __init__(self, session: Session, threads: Threads) -> None:
        self.sync = session
        self._threads = threads

    @property
    def key(self) -> str:
        """The session's key."""
        return self.sync.key

    async def append(self, line: object, *, request_id: str | None = None) -> Entry:
        """Write one line; as :meth:`journal.Session.append`."""
        return (await self._threads.write(self.sync, encode_line(line), request_id))[-1]

    async def extend(
        self, lines: Iterable[object], *, request_id: str | None = None
    ) -> list[Entry]:
        """Write several lines at once; as :meth:`journal.Session.extend`."""
        encoded = encode_lines(lines)
        return await self._threads.write(self.sync, encoded, request_id) if encoded else []

    async def rewrite(self, items: Iterable[object], *, base: int, reason: str) -> list[Entry]:
        """Give the session's file a new order; as :meth:`journal.Session.rewrite`."""
        return await self._threads.run(self.sync.rewrite, [*items], base=base, reason=reason)

    async def cut(self, count: int, *, base: int, reason: str) -> None:
        """Drop the file's last lines; as :meth:`journal.Session.cut`."""
        await self._threads.run(self.sync.cut, count, base=base, reason=reason)

    async def read(
        self,
        after: int = 0,
        limit: int | None = None,
        *,
        newest: bool = False,
        trusted: bool | None = None,
    ) -> Reading:
        """Return the session's lines in file order; as :meth:`journal.Session.read`."""
        return await self._threads.run(self.sync.read, after, limit, newest=newest, trusted=trusted)

    async def __aiter__(self) -> AsyncIterator[Entry]:
        """Yield the session's lines, read a page at a time."""
        pages = iter(self.sync)
        while page := await self._threads.run(_page, pages):
            for entry in page:
                yield entry

    async def tail(self, after: int | None = None) -> AsyncIterator[Entry]:
        """Follow the session; as :meth:`journal.Session.tail`. Begins when it is first awaited."""
        tail = await self._threads.run(self.sync.tail, after)
        async with _Following(self.sync.store.changes, self._threads) as following:
            while True:
                following.begin()
                while page := await self._threads.run(tail.new):
                    for entry in page:
                        yield entry
                await following.wait()

    @property
    def head(self) -> Awaitable[Position]:
        """Where the session's chain ends now; to be awaited."""
        return self._threads.run(lambda: self.sync.head)

    @property
    def exists(self) -> Awaitable[bool]:
        """Whether anybody has ever written to this session; to be awaited."""
        return self._threads.run(lambda: self.sync.exists)

    @property
    def revision(self) -> Awaitable[int]:
        """How often lines that were there were moved, left out or erased; to be awaited."""
        return self._threads.run(lambda: self.sync.revision)

    async def parked(self, *, settled: bool = False) -> list[Parked]:
        """Return the writes refused and kept; as :meth:`journal.Session.parked`."""
        return await self._threads.run(self.sync.parked, settled=settled)

    async def fence(self, *, policy: str | Policy | None = None) -> AsyncFence:
        """Raise a fence; as :meth:`journal.Session.fence`."""
        return AsyncFence(await self._threads.run(self.sync.fence, policy=policy), self._threads)

    async def claim(self, supersede: str | None = None, *, base: int | None = None) -> AsyncTurn:
        """Claim the session for a run; as :meth:`journal.Session.claim`.

        A call that is cancelled leaves no claim behind: one that it came to is released.
        """
        claim, release = self.sync.claim, Turn.release
        turn = await self._threads.borrow(release, claim, supersede, base=base)
        return AsyncTurn(turn, self._threads)

    async def end_claim(self, token: int) -> bool:
        """Release a claim whose process is gone; as :meth:`journal.Session.end_claim`."""
        return await self._threads.run(self.sync.end_claim, token)

    async def submit(self, line: object, *, request_id: str | None = None) -> Input:
        """Say something while a run has the turn; as :meth:`journal.Session.submit`."""
        return await self._threads.run(self.sync.submit, line, request_id=request_id)

    async def inputs(self, *, taken: bool = False) -> list[Input]:
        """Return what was submitted; as :meth:`journal.Session.inputs`."""
        return await self._threads.run(self.sync.inputs, taken=taken)

    async def redact(self, seqs: Iterable[int], *, reason: str) -> list[Erased]:
        """Erase lines for good; as :meth:`journal.Session.redact`."""
        return await self._threads.run(self.sync.redact, [*seqs], reason=reason)

    async def forget(self, *, reason: str) -> list[Erased]:
        """Redact every line of the session; as :meth:`journal.Session.forget`."""
        return await self._threads.run(self.sync.forget, reason=reason)

    async def resolve(self, seqs: Iterable[int], *, accept: bool, reason: str) -> list[Entry]:
        """Accept or reject foreign entries; as :meth:`journal.Session.resolve`."""
        return await self._threads.run(self.sync.resolve, [*seqs], accept=accept, reason=reason)


class AsyncTurn(AsyncSession):
    """A claimed session: :class:`journal.Turn`, awaited."""

    sync: Turn

    def __init__(self, turn: Turn, threads: Threads) -> None:
        super().__init__(turn, threads)
        self.sync = turn

    @property
    def token(self) -> int:
        """The claim's number."""
        return self.sync.token

    @property
    def why(self) -> str | None:
        """The id that ``journal why`` explains, where this claim superseded another; else None."""
        return self.sync.why

    @property
    def stands(self) -> Awaitable[bool]:
        """Whether the claim stands still; to be awaited."""
        return self._threads.run(lambda: self.sync.stands)

    @property
    def outcome(self) -> Awaitable[Any]:
        """How the turn ended; to be awaited."""
        return self._threads.run(lambda: self.sync.outcome)

    async def check(self, *, raise_: bool = True) -> Verdict:
        """Say what came meanwhile; as :meth:`journal.Turn.check`."""
        return await self._threads.run(self.sync.check, raise_=raise_)

    async def take_inputs(self, limit: int | None = None) -> Taken:
        """Make entries of what was submitted; as :meth:`journal.Turn.take_inputs`."""
        return await self._threads.run(self.sync.take_inputs, limit)

    async def release(self) -> bool:
        """Let the session go; as :meth:`journal.Turn.release`."""
        return await self._threads.run(self.sync.release)

    async def __aenter__(self) -> Self:
        return self  # nothing to wait for: a cancellation here would leave the claim behind

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._threads.run_anyhow(self.sync.__exit__, kind, error, trace)


class AsyncJournal:
    """A journal, opened by ``async with``; the arguments are those of :class:`journal.Journal`.

    It may be shared by tasks, by threads that each run an event loop, and with
    code that uses ``sync``, the journal underneath.
    """

    def __init__(  # noqa: PLR0913 - those of the synchronous one
        self,
        path_or_url: str | os.PathLike[str],
        *,
        key_file: str | os.PathLike[str] | None = None,
        durability: str = "full",
        busy_timeout: float = 30.0,
        on_takeover: Callable[[Verdict], None] | None = None,
        create: bool = True,
        strict: bool = False,
    ) -> None:
        self._open = partial(
            Journal, path_or_url, key_file=key_file, durability=durability,
            busy_timeout=busy_timeout, on_takeover=on_takeover, create=create, strict=strict,
        )  # fmt: skip
        self._opened: Journal | None = None
        self._is_closed = False
        self._threads = Threads()

    @property
    def sync(self) -> Journal:
        """The journal underneath, for code that may block."""
        if self._opened is None or self._is_closed:
            raise closed()
        return self._opened

    @property
    def id(self) -> str:
        """The journal's id."""
        return self.sync.id

    async def session(  # noqa: PLR0913 - those of the synchronous one
        self,
        key: str,
        *,
        writer: str | None = None,
        role: str | None = None,
        on_behalf_of: str | None = None,
        run_id: str | None = None,
        mirror: str | os.PathLike[str] | None = None,
        declare: bool = True,
        policy: str | Policy = "cotenant",
    ) -> AsyncSession:
        """Return a handle for one writer; as :meth:`journal.Journal.session`."""
        session = await self._threads.run(
            self.sync.session, key, writer=writer, role=role, on_behalf_of=on_behalf_of,
            run_id=run_id, mirror=mirror, declare=declare, policy=policy,
        )  # fmt: skip
        return AsyncSession(session, self._threads)

    def batch(self) -> AsyncBatch:
        """Put writes on several sessions into one transaction; as :meth:`journal.Journal.batch`."""
        return AsyncBatch(self.sync.batch(), self._threads)

    async def fence(self, fence_id: str, *, policy: str | Policy = "cotenant") -> AsyncFence:
        """Return a fence that was stored; as :meth:`journal.Journal.fence`."""
        fence = await self._threads.run(self.sync.fence, fence_id, policy=policy)
        return AsyncFence(fence, self._threads)

    async def parked(self, parked_id: str) -> Parked:
        """Return one refused write; as :meth:`journal.Journal.parked`."""
        return await self._threads.run(self.sync.parked, parked_id)

    async def sessions(self, prefix: str = "") -> list[SessionInfo]:
        """Return every session; as :meth:`journal.Journal.sessions`."""
        return await self._threads.run(self.sync.sessions, prefix)

    async def writers(self) -> list[Writer]:
        """Return every writer; as :meth:`journal.Journal.writers`."""
        return await self._threads.run(self.sync.writers)

    async def declare(self, name: str, role: str) -> Writer:
        """Declare a writer; as :meth:`journal.Journal.declare`."""
        return await self._threads.run(self.sync.declare, name, role)

    async def revoke(
        self, name: str, reason: str, *, by: str | None = None, role: str = "operator"
    ) -> Writer:
        """Revoke a writer; as :meth:`journal.Journal.revoke`."""
        return await self._threads.run(self.sync.revoke, name, reason, by=by, role=role)

    async def close(self) -> None:
        """Settle what is under way and close; other tasks go on meanwhile.

        Appends that are queued are written; what comes later is refused. A cancelled
        task waits for it as well: when the cancellation passes, the journal is closed.
        """
        self._is_closed = True
        await self._threads.end(lambda: None if self._opened is None else self._opened.close())

    async def __aenter__(self) -> Self:
        self._opened = await self._threads.borrow(Journal.close, self._open)
        if self._is_closed:  # by another task, while it was being opened
            await self.close()
            raise closed()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _page(entries: Any) -> list[Entry]:  # noqa: ANN401 - an iterator
    return [*islice(entries, _PAGE)]  # zip() would take one more, and drop it

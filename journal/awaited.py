"""Fences and batches, awaited: what a session and a journal hand out beside handles."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from types import TracebackType
    from typing import Self

    from journal.aio import AsyncSession
    from journal.batch import Batch, Receipt
    from journal.fence import Fence
    from journal.model import Entry
    from journal.threads import Threads
    from journal.verdict import Mark, Verdict


class AsyncFence:
    """A mark to be checked after the model has thought: :class:`journal.Fence`, awaited."""

    def __init__(self, fence: Fence, threads: Threads) -> None:
        self.sync = fence
        self._threads = threads

    @property
    def id(self) -> str:
        """Under which it is stored, once it is."""
        return self.sync.id

    @property
    def mark(self) -> Mark:
        """Where it stands; an accepted check moves it on."""
        return self.sync.mark

    @property
    def arrived(self) -> list[Entry]:
        """What co-tenants wrote meanwhile, as far as it was checked."""
        return self.sync.arrived

    @property
    def verdict(self) -> Verdict | None:
        """What the last check said."""
        return self.sync.verdict

    async def check(self, *, raise_: bool = True) -> Verdict:
        """Judge what came since; as :meth:`journal.Fence.check`."""
        return await self._threads.run(self.sync.check, raise_=raise_)

    async def append(self, line: object, *, request_id: str | None = None) -> Entry:
        """Judge and write in one transaction; as :meth:`journal.Fence.append`."""
        return await self._threads.run(self.sync.append, line, request_id=request_id)

    async def extend(
        self, lines: Iterable[object], *, request_id: str | None = None
    ) -> list[Entry]:
        """Judge once and write several lines; as :meth:`journal.Fence.extend`."""
        return await self._threads.run(self.sync.extend, [*lines], request_id=request_id)

    @property
    def unresolved(self) -> Awaitable[list[Entry]]:
        """The session's foreign entries that nobody has resolved; to be awaited."""
        return self._threads.run(lambda: self.sync.unresolved)

    async def stored(self) -> str:
        """Store the fence for another process; as :meth:`journal.Fence.stored`."""
        return await self._threads.run(self.sync.stored)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._threads.run_anyhow(self.sync.__exit__, kind, error, trace)


class AsyncBatch:
    """Writes on several sessions in one transaction: a batch, written on leaving the block."""

    def __init__(self, batch: Batch, threads: Threads) -> None:
        self._batch = batch
        self._threads = threads

    async def append(  # noqa: PLR0913 - those of the synchronous one
        self,
        session: AsyncSession,
        line: object,
        *,
        request_id: str | None = None,
        base: int | None = None,
        first_wins: bool = False,
        only_with: Receipt | None = None,
    ) -> Receipt:
        """Add one line for a session; as :meth:`extend`."""
        return await self.extend(
            session,
            [line],
            request_id=request_id,
            base=base,
            first_wins=first_wins,
            only_with=only_with,
        )

    async def extend(  # noqa: PLR0913 - those of the synchronous one
        self,
        session: AsyncSession,
        lines: Iterable[object],
        *,
        request_id: str | None = None,
        base: int | None = None,
        first_wins: bool = False,
        only_with: Receipt | None = None,
    ) -> Receipt:
        """Add several lines for a session, one write; as :meth:`journal.batch.Batch.extend`."""
        return self._batch.extend(
            session.sync,
            lines,
            request_id=request_id,
            base=base,
            first_wins=first_wins,
            only_with=only_with,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._threads.run(self._batch.__exit__, kind, error, trace)

"""One transaction of a store, as a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal.rides import Ride

if TYPE_CHECKING:
    from types import TracebackType

    from journal.engine import Cursor
    from journal.store import Store


class Transaction:
    """A block inside BEGIN IMMEDIATE and COMMIT, once; its value is the store's cursor."""

    __slots__ = ("_block", "_is_durable", "_ride", "_store")

    def __init__(self, store: Store, *, is_durable: bool) -> None:
        self._store = store
        self._is_durable = is_durable
        self._block: object = None
        self._ride = Ride()

    @property
    def is_committed(self) -> bool:
        """Whether it was committed, though an interrupt came before the block was left."""
        return self._ride.is_committed

    def __enter__(self) -> Cursor:
        block = object()  # before it begins: a signal between would leave a block that nobody knows
        cursor = self._begin()
        self._block = self._store.block = block
        return cursor

    def _begin(self) -> Cursor:
        return self._store.begin()

    def __del__(self) -> None:
        """Undo what an interrupt on the very step out of the block left open, and free the lock."""
        # Its own only: another may have been begun since, while a traceback kept this one.
        if self._block is not None and self._store.block is self._block:
            self._store.roll_back(KeyboardInterrupt(), Ride())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        store = self._store
        if error is not None:
            self._fail(error, Ride())
            return
        ride = self._ride
        try:
            done = store.commit(ride)
        except BaseException as failure:
            self._fail(failure, ride)
            raise
        self._block = None
        # Outside the lock: a mirror's lock is taken before the write lock, never within it.
        if self._is_durable or done:
            store.make_durable(ride.number)
        for call in done:
            call()

    def _fail(self, error: BaseException, ride: Ride) -> None:
        self._store.roll_back(error, ride)
        self._block = None
        told = self._store.told(error)
        if told is not error:
            raise told from error

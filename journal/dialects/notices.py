"""LISTEN and NOTIFY: who follows a journal on a server is woken; where nobody does, nobody is told.

A notification sent within a transaction makes all commits that notify wait for each
other, their syncs with them. So a writer sends its own after the commit, in a
transaction that waits for no disk, and only where somebody follows: a follower holds a
lock, and each write tries for a share of it, which costs next to nothing and keeps the
follower from looking before the write is done.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from journal.dialects.postgres import Cursor, connect, driver

if TYPE_CHECKING:
    from journal.dialects.address import Address

LEFT: Final = "left"  # said by a follower that lets the lock go
_BRIEFLY_MS: Final = 200
_AT_MOST_S: Final = 5.0
# By whom it is held: by writers, for as long as each one's write takes, or by a follower.
_HAS_FOLLOWER: Final = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND mode = 'ExclusiveLock' AND (classid::bigint << 32) | objid::bigint = %s "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)
_TELL: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(?, ?)"


def lock_of(schema: str) -> int:
    """Return the number of the lock that a follower of a schema's journal holds."""
    return int.from_bytes(blake2b(schema.encode(), digest_size=8, person=b"followed").digest()) >> 1


def _channel(schema: str) -> str:
    return f"journal_{lock_of(schema):016x}"


def tell(cursor: Any, schema: str, what: str = "") -> None:  # noqa: ANN401 - the driver's, as ours wraps it
    """Wake all who follow a schema's journal, without waiting for anything."""
    cursor.execute(_TELL, (_channel(schema), what))


class Listener:
    """A connection that is told of commits."""

    def __init__(self, address: Address) -> None:
        self._schema, self._said = address.schema, list[str]()
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)  # noqa: FBT003 - the library's own way
        self._ready = selectors.DefaultSelector()
        self._connection: Any = None
        self.is_flagged = False
        try:
            self._connection = connect(address)
            self._connection.add_notify_handler(lambda note: self._said.append(note.payload))
            self._connection.execute(f"LISTEN {_channel(self._schema)}")
            self.flag()
        except BaseException:
            self.close()
            raise
        self._ready.register(self._connection.fileno(), selectors.EVENT_READ)
        self._ready.register(self._inner, selectors.EVENT_READ)

    def flag(self) -> bool:
        """Have writers tell of their commits from now on; return whether this changed anything.

        It waits for the writes that are under way, which will tell nobody. Where another
        follower has the lock it is left to him: he is told, and so are we.
        """
        end = time.monotonic() + _AT_MOST_S
        while not self.is_flagged and time.monotonic() < end and not self._is_left_to_another():
            try:
                self._connection.execute(f"SET lock_timeout = {_BRIEFLY_MS}")
                self._connection.execute("SELECT pg_advisory_lock(%s)", (lock_of(self._schema),))
            except driver().errors.LockNotAvailable:
                continue
            self.is_flagged = True
            return True
        return False

    def _is_left_to_another(self) -> bool:
        found = self._connection.execute(_HAS_FOLLOWER, (lock_of(self._schema),)).fetchone()
        return bool(found[0])

    def version(self) -> str:
        """Return what changes whenever a transaction that wrote anything ends."""
        found = self._connection.execute("SELECT pg_current_snapshot()::text").fetchone()
        return str(found[0])

    def wait(self, timeout_s: float) -> list[str]:
        """Return what was said, as soon as anything is; nothing after the time, or when woken.

        Raises:
            Exception: the driver's: the connection was lost.

        """
        if not self._said:
            self._ready.select(timeout_s)
        with suppress(BlockingIOError):  # it was not that which ended the wait
            self._inner.recv(4096)
        pgconn = self._connection.pgconn
        pgconn.consume_input()
        while (note := pgconn.notifies()) is not None:
            self._said.append(note.extra.decode())
        said, self._said = self._said, []
        return said

    def wake(self) -> None:
        """End another thread's wait."""
        with suppress(OSError):  # closed
            self._outer.send(b"x")

    def close(self) -> None:
        """Follow no longer; whoever follows on is told that nobody holds the lock now."""
        with suppress(driver().Error):  # the server lets the lock go with the connection
            if self.is_flagged and not self._connection.closed:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", (lock_of(self._schema),))
                tell(Cursor(self._connection), self._schema, LEFT)
        if self._connection is not None:
            self._connection.close()
        self._ready.close()
        self._inner.close()
        self._outer.close()

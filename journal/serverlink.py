"""One connection of a journal to its server: made as a journal needs it, and made again where it is lost."""

from __future__ import annotations

import logging
import select
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from journal.dialects import catalog, ghosts, postgres, standbys
from journal.dialects.wire import Wire
from journal.errors import StorageError
from journal.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.dialects.address import Address

_IDLE: Final = 0  # as libpq counts
# What is sent outside of a transaction's words is one all the same, and sees one state too.
_ALWAYS_ONE_STATE: Final = "SET default_transaction_isolation = 'repeatable read'"

log = logging.getLogger("journal")


def _hearing(fd: int) -> Callable[[], object]:
    """Return what tells, without waiting, whether anything was said; a selector takes ten times as long."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([fd], [], [], 0)[0]
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return partial(poll.poll, 0)


class Link:
    """The connection, and what hangs on it; a new one has all of it anew.

    Attributes:
        raw: the driver's connection; None before the first, and once closed.
        cursor: takes statements.
        wire: for what is sent as it is.
        commits: how commits are waited for.
        mark: what tells on the server whether this connection is gone.

    """

    commits: standbys.Commits

    def __init__(self, address: Address, *, durability: str, wait_s: float) -> None:
        self._address = address
        self._durability = durability
        self._wait_s = wait_s
        self.raw: Any = None
        self.cursor: Any = None
        self.wire: Any = None
        self.mark: Any = None
        self._hears: Callable[[], object] = bool

    def connect(self) -> None:
        """Connect, and refuse a server that cannot keep what a journal promises."""
        address, asked, where = self._address, self._durability, self._address.shown
        raw = postgres.connect(address, busy_timeout_s=self._wait_s)
        try:
            postgres.check_server(raw, where, durability=asked)
            count = standbys.check(raw, where, address.standbys, durability=asked)
            if asked == "normal":
                raw.execute("SET synchronous_commit = off")
            raw.execute(_ALWAYS_ONE_STATE)
            cursor = postgres.Cursor(raw)
            mark = ghosts.marked(cursor)
            commits = standbys.Commits(raw, count)
        except BaseException:
            raw.close()
            raise
        self.raw, self.cursor, self.mark, self.commits = raw, cursor, mark, commits
        self._hears = _hearing(raw.fileno())
        self.wire = Wire(raw)

    def connect_again(self) -> None:
        """Let the connection go and make another, to a schema that is still ours.

        The server may take the old one's client for alive for hours, and it may hold the heads.
        """
        log.info("%s: connecting again", self._address.shown)
        ghost = self.mark
        with suppress(Exception):
            self.raw.close()
        try:
            self.connect()
        except StorageError as error:
            if error.code != "credentials":
                raise
            # They were good a moment ago: it has no room for us now, or is not itself yet.
            raise StorageError(*error.args, hint=error.hint, code=postgres.GONE) from error
        try:
            ghosts.end(self.cursor, ghost)
            catalog.check(self.cursor, self._address, SCHEMA_VERSION)
        except BaseException:
            self.raw.close()  # or who comes next would take it for one that was looked at
            raise

    @property
    def has_ended(self) -> bool:
        """Whether the server has ended the connection, as far as was heard; asks nobody."""
        return bool(self.raw.closed or self._hears())

    @property
    def is_inside(self) -> bool:
        """Whether the server holds a transaction of this connection open."""
        return bool(self.raw.pgconn.transaction_status != _IDLE)

    def start(self, words: str) -> Any:  # noqa: ANN401 - a row
        """Begin a transaction, on a new connection where the old one has gone; return the last answer."""
        if self.raw.closed:
            self.connect_again()
        else:
            self.roll_back_what_stands()
        try:
            return self.cursor.answer(words)
        except Exception as error:
            if not postgres.is_lost(error):
                raise
            self.connect_again()
            return self.cursor.answer(words)

    def roll_back_what_stands(self) -> None:
        """Roll back what an earlier transaction left open, if it did."""
        if self.is_inside:
            self.roll_back()

    def roll_back(self) -> None:
        """Have the server undo the transaction; where it does not answer it does so by itself."""
        try:
            if not self.raw.closed and self.is_inside:
                self.cursor.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - the first error is the one to tell
            log.debug("%s: the rollback failed too: %s", self._address.shown, error)
            self.raw.close()  # the server rolls it back

    def close(self) -> None:
        """Close the connection; doing it again is harmless."""
        raw, self.raw = self.raw, None
        if raw is not None:
            raw.close()

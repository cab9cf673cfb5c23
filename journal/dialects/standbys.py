"""Standbys: whether a commit waits for them, and that one is not taken for kept where it did not.

PostgreSQL ends such a wait when it is told to, with a warning: the transaction is committed,
on the primary alone, and the answer is the same as ever. After a crash the primary shows what
no standby may have. So a commit that was warned about is one whose answer was lost, and what
is found instead is answered only once a commit behind it has been waited for.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from journal.dialects.postgres import GONE
from journal.errors import StorageError
from journal.process import begin

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS: Final = (
    "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit')"
)
_COUNT: Final = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", re.IGNORECASE)
_WAITING: Final = ("on", "remote_apply")  # the others do not wait for a standby's disk


def waited_for(names: str) -> int:
    """Return how many standbys a commit waits for under a ``synchronous_standby_names``."""
    if not names.strip():
        return 0
    found = _COUNT.match(names)
    return int(found[1]) if found else 1


def count_of(names: str, synchronous: str) -> int:
    """Return how many standbys' disks a commit waits for under these settings."""
    return waited_for(names) if synchronous in _WAITING else 0


def shortfall(names: str, synchronous: str, claimed: int) -> tuple[str, str] | None:
    """Say why a commit waits for fewer standbys than are claimed, and what to do; None if it does not."""
    if count_of(names, synchronous) >= claimed:
        return None
    if synchronous not in _WAITING:
        return (
            f"synchronous_commit is {synchronous}: no standby's disk is waited for",
            "ALTER SYSTEM SET synchronous_commit = 'on'; SELECT pg_reload_conf()",
        )
    return (
        f"the server waits for {waited_for(names)} (synchronous_standby_names is {names!r})",
        f"ALTER SYSTEM SET synchronous_standby_names = 'ANY {claimed} (*)'; SELECT pg_reload_conf()",
    )


def check(connection: Any, where: str, claimed: int, *, durability: str) -> int:  # noqa: ANN401 - the driver's
    """Return how many standbys a commit waits for; refuse a server where it is fewer than claimed.

    Raises:
        StorageError: ``no-standby``.

    """
    names, synchronous = connection.execute(_SETTINGS).fetchone()
    asked = f"{where}: the URL says standbys={claimed}, and"
    if durability != "full":
        if not claimed:
            return 0
        raise StorageError(
            f"{asked} durability={durability!r} waits for none",
            hint="durability='full', or a URL without standbys=",
            code="no-standby",
        )
    lacks = shortfall(names, synchronous, claimed)
    if lacks is not None:
        raise StorageError(f"{asked} {lacks[0]}", hint=lacks[1], code="no-standby")
    return count_of(names, synchronous)


class Commits:
    """The commits of one connection: each is done where it should be, or its answer is lost.

    Attributes:
        is_replicated: whether the server waits for standbys, as it was when connected.

    """

    def __init__(self, connection: Any, count: int) -> None:  # noqa: ANN401
        self.is_replicated = count > 0
        self._connection = connection
        self._is_in_doubt = False
        self._guard = threading.Lock()  # a wait that is ended late may not meet the next statement
        connection.add_notice_handler(self._hear)

    @property
    def is_in_doubt(self) -> bool:
        """Whether no standby confirmed what was committed last."""
        return self._is_in_doubt

    def _hear(self, notice: Any) -> None:  # noqa: ANN401
        if notice.severity_nonlocalized == "WARNING":
            self._is_in_doubt = True

    @contextmanager
    def confirmed(self, wait_s: float) -> Iterator[None]:
        """Run a commit within, which waits for standbys no longer than so many seconds.

        Raises:
            StorageError: ``server-gone``, where no standby confirmed it; ``no-thread``, where nobody
                could end the wait: then nothing is run.

        """
        self._is_in_doubt = False
        timer = self._started(wait_s) if self.is_replicated else None
        try:
            yield
        finally:
            if timer is not None:
                with self._guard:
                    timer.cancel()
        if self._is_in_doubt:
            raise StorageError("no standby confirmed a commit", code=GONE)

    def _started(self, wait_s: float) -> threading.Timer:
        timer = threading.Timer(max(wait_s, 0), lambda: self._end_wait(timer))
        timer.daemon = True
        begin(timer)
        return timer

    def _end_wait(self, timer: threading.Timer) -> None:
        with self._guard:
            if timer.finished.is_set():
                return
            # Before the server is told: the answer may come meanwhile.
            self._is_in_doubt = True
            with suppress(Exception):  # the connection is gone: whoever waits for it sees that
                self._connection.cancel_safe()

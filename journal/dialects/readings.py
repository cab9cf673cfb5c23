"""What ends a reading on a server: some rows that cannot be read, or the reading itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from journal import errors
from journal.dialects.grants import DENIED
from journal.dialects.postgres import CONTENDED_STATES, driver, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

# A damaged page or file, a value that cannot be turned, a table that is not as it was.
_UNREADABLE: Final = ("XX", "58", "22", "42")


@contextmanager
def apart(connection: Any, where: str) -> Iterator[None]:  # noqa: ANN401 - the driver's
    """Give a block within a transaction that only reads: where rows cannot be read, others can be all the same.

    Raises:
        Exception: the driver's: some rows cannot be read.
        JournalError: the reading has ended.

    """
    try:
        with connection.transaction():  # within the one that stands, which one error would end
            yield
    except driver().Error as error:
        state = getattr(error, "sqlstate", None) or ""
        if state.startswith(_UNREADABLE) and state != DENIED:
            raise
        raise ended(error, where) from error


def ended(error: BaseException, where: str) -> errors.JournalError:
    """Return the journal's own error for one that a transaction that only reads ended with."""
    if getattr(error, "sqlstate", None) not in CONTENDED_STATES:
        return translated(error, where)
    # Who only reads meets nobody: a standby took away what was read, to keep up with its primary.
    return errors.StorageError(
        f"{where}: the standby ended the reading, to keep up with its primary",
        hint="try again; hot_standby_feedback = on there, or a longer max_standby_streaming_delay, lets it end",
        code="standby-conflict",
    )

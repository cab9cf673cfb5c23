"""Where a copy is made: a file or a schema on a server, as the copying sees either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from journal.copying.intofile import FileTarget
from journal.dialects.address import is_url, parsed
from journal.dialects.bulk import ServerTarget
from journal.journal import path_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from sqlalchemy import Connection, Table

    from journal.copymark import CopyMark

Values = tuple[Any, ...]


class Target(Protocol):
    """A copy in the making; killed at any moment it is as far as its last transaction."""

    shown: str
    is_server: bool

    def begin(self, mark: CopyMark, migrate: Callable[[Connection], None]) -> None:
        """Make the place, or go on with one that a copy was begun in."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold a finished copy so that nobody writes to it, in one transaction with the block."""

    def highest(self) -> int | None:
        """Return the highest number of an entry that is there."""

    def add(self, rows: list[Values]) -> None:
        """Add entries."""

    def mend(self, gone: list[tuple[int, ...]], rows: list[Values]) -> None:
        """Take entries out by number, session and seq, and add others."""

    def replace(self, streams: Iterable[tuple[Table, Iterable[Values]]]) -> None:
        """Put other rows in the place of all that tables hold."""

    def ordered(self, table: Table) -> Iterator[Values]:
        """Yield a table's rows by primary key."""

    def finish(self, unmirrored: list[int], key_file: str | os.PathLike[str] | None) -> None:
        """Make it a journal."""

    def close(self) -> None:
        """Let it go, as far as it came."""


def target_at(place: str | Path) -> Target:
    """Return where a copy is to be made; nothing is made yet."""
    return ServerTarget(parsed(str(place))) if is_url(place) else FileTarget(path_of(place))

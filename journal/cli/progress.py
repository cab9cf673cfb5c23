"""Progress: a bar at a terminal; elsewhere a line now and then, or nothing."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from journal.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

# Where no bar can be shown a line is said as often as this.
_SAY_EVERY_S: Final = 5.0


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[str, int], None]]:
    """Show a bar with rate and time left at a terminal, and a line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _Lines(total, what).advance
        return
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda _, size: bar.advance(task, size)


def _bar() -> Progress:
    from rich.console import Console  # noqa: PLC0415 - only at a terminal
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, no_color=output.is_plain())
    return Progress(*columns, console=console, transient=True)


class _Lines:
    """Says how far it has come, every few seconds."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what, self._done = total, what, 0
        self._began = self._said = time.monotonic()

    def advance(self, path: str, size: int) -> None:
        """Count bytes of a file."""
        del path
        self._done += size
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_S or not self._total or not self._done:
            return  # rows that were redacted have no bytes: no rate can be told by them
        self._said, took = now, now - self._began
        left = took / self._done * max(self._total - self._done, 0)
        done, total = output.size(self._done), output.size(self._total)
        rate = output.size(int(self._done / took))
        output.say(f"{self._what}: {done} of {total}, {rate}/s, {left:.0f} s left")


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar whose total comes with each step, at a terminal; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda size, total: bar.update(task, advance=size, total=total)

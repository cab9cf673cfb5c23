"""``journal watch``."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import opened_or_made
from journal.cli.options import Settings, json_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal.watching import Seen, Watch


@make_command(
    "watch",
    "journal watch --once ~/.openclaw/agents/main/sessions",
    "journal audit",
)
@click.argument(
    "directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path)
)
@click.option(
    "--permit", metavar="REASON", help="The program is known: what it writes is no takeover."
)
@click.option(
    "--once",
    is_flag=True,
    help="Take in what is there now, and end; exit 3 if a file was set aside.",
)
@json_option
@click.pass_obj
def command(
    settings: Settings, directories: tuple[Path, ...], permit: str | None, *, once: bool
) -> int:
    """Take in what a program writes to its session files, as it happens.

    Adopts each session file below DIR, in place and without touching a byte of it, and
    follows appends, new files, renames, removals and rewriting. What the program writes
    becomes entries by a writer nobody trusts, or with --permit a permitted one. Started
    again, it catches up. Ctrl-C or SIGTERM ends it; with --json one document a line.
    """
    from journal.watching import Watch  # noqa: PLC0415 - with the rest of the library

    with opened_or_made(settings) as journal, _telling(settings) as tell:
        watch = Watch(journal, directories, permit=permit)
        if once:
            return _catch_up(watch, tell)
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        watch.run(stop, tell)
    return 0


def _catch_up(watch: Watch, tell: Callable[[Seen], None]) -> int:
    """Take in what is there now; return the exit code."""
    code = 0
    for seen in watch.catch_up():
        tell(seen)
        if seen.what == "set aside":
            code = EXIT_FOUND
    return code


@contextmanager
def _telling(settings: Settings) -> Iterator[Any]:
    """Tell each thing as a line; at a terminal with a line below that sums up."""
    counts: Counter[str] = Counter()

    def tell(seen: Seen) -> None:
        counts[seen.what] += 1
        counts["entries"] += seen.entries
        if settings.json:
            output.line(output.dumps({"schema": "journal.watch.seen/1", **seen._asdict()}))
        else:
            output.line(seen.what, seen.key or "-", seen.entries, seen.path, seen.detail)
        output.finish()

    if settings.json or not sys.stderr.isatty():
        yield tell
        return
    from rich.console import Console  # noqa: PLC0415 - only at a terminal

    console = Console(stderr=True, no_color=output.is_plain())
    with console.status("Watching…") as status:

        def tell_and_sum_up(seen: Seen) -> None:
            status.stop()  # while it stands rich takes what goes to stdout, and writes it to stderr
            tell(seen)
            said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
            status.update(f"Watching: {said}")
            status.start()

        yield tell_and_sum_up

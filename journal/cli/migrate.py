"""``journal migrate``."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import file_of, opened
from journal.cli.options import Settings, json_option
from journal.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from journal.migration import Plan, Result, SetAside


@make_command(
    "migrate",
    "journal migrate ~/.openclaw/agents",
    "journal migrate ~/.openclaw/agents --apply",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only shown.")
@click.option(
    "--format",
    "format_",
    type=click.Choice([each.NAME for each in FORMATS]),
    help="Take every file for this format instead of looking.",
)
@json_option
@click.pass_obj
def command(
    settings: Settings, paths: tuple[str, ...], *, is_applied: bool, format_: str | None
) -> int:
    """Bring flat session files into the journal.

    Finds the sessions below each PATH and shows what would become of them. --apply does
    it: each line becomes an entry, byte for byte, and the files stay as they are. What is
    there already adds nothing, so it can be run again. Exits 3 if a file was set aside.
    """
    from journal.migration import plan  # noqa: PLC0415 - with the rest of the library

    found = plan(paths, format=format_, avoid=[file_of(settings)])
    if is_applied:
        result = _apply(settings, found)
        _tell_result(settings, result)
        aside = result.set_aside
    else:
        _tell_plan(settings, found)
        if found.files and not settings.json:
            output.say(with_db(f"Nothing was changed. Try: {_applied(paths, format_)}", settings))
        aside = found.set_aside
    _say_set_aside(aside)
    return EXIT_FOUND if aside else 0


def _applied(paths: tuple[str, ...], format_: str | None) -> str:
    options = ["--apply"] if format_ is None else ["--format", format_, "--apply"]
    return shlex.join(["journal", "migrate", *options, "--", *paths])


def _apply(settings: Settings, found: Plan) -> Result:
    from journal.migration import apply  # noqa: PLC0415

    with opened(settings, create=True) as journal, _progress(found.bytes) as progress:
        return apply(journal, found, progress=progress)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int], None] | None]:
    """Show a bar at a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only at a terminal
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True, no_color=output.is_plain()), transient=True) as bar:
        task = bar.add_task("Migrating", total=total)
        yield lambda _, size: bar.advance(task, size)


def _tell_plan(settings: Settings, found: Plan) -> None:
    if settings.json:
        output.document("migrate", applied=False, **found.as_json())
        return
    rows = [
        (each.key, each.format, each.file_class, each.lines, each.raw_lines, each.bytes, each.path)
        for each in found.files
    ]
    output.table(("session", "format", "class", "lines", "raw", "bytes", "file"), rows)
    for missing in found.absent:
        output.say(
            f"Note: {missing.path} names {missing.key!r}, whose file {missing.name} is not there."
        )
    files = output.counted(len(found.files), "file")
    sessions = output.counted(found.sessions, "session")
    output.say(
        f"{files}, {found.lines} lines, {output.size(found.bytes)}, would become {sessions}."
    )


def _tell_result(settings: Settings, result: Result) -> None:
    if settings.json:
        output.document("migrate", applied=True, **result.as_json())
        return
    rows = [(each.key, each.what, each.new_entries, each.lines, each.path) for each in result.files]
    output.table(("session", "what", "new", "lines", "file"), rows)
    counts = (
        ", ".join(f"{count} {what}" for what, count in sorted(result.counts.items())) or "no file"
    )
    output.say(f"{counts}; {output.counted(result.new_entries, 'new entry', 'new entries')}.")


def _say_set_aside(aside: Iterable[SetAside]) -> None:
    for each in aside:
        output.say(f"Set aside: {each.path}: {each.reason}")

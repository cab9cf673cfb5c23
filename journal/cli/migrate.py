"""``journal migrate``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from journal.cli import migrated, output
from journal.cli.failing import EXIT_FAILED, EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import exists, file_of, opened, opened_or_made, shown
from journal.cli.options import Settings, json_option
from journal.cli.progress import progress as progress_to
from journal.dialects.address import is_url
from journal.errors import NotFoundError, StorageError
from journal.formats import FORMATS

if TYPE_CHECKING:
    from journal.migration import Brought, Plan, Result, Run


@make_command(
    "migrate",
    "journal migrate ~/.openclaw/agents",
    "journal migrate ~/.openclaw/agents --apply",
    "journal migrate ~/.openclaw/agents --verify",
    "journal migrate list",
    "journal migrate show 1",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only shown.")
@click.option(
    "--format",
    "format_",
    type=click.Choice([each.NAME for each in FORMATS]),
    help="Take every file for this format instead of looking.",
)
@click.option(
    "--verify",
    "is_verified",
    is_flag=True,
    help="Read the files again and compare each byte with the journal; after --apply, if both are given.",
)
@click.option(
    "--mirror",
    "is_mirrored",
    is_flag=True,
    help="With --apply: keep each file of a live session alive where it stands, as its mirror.",
)
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    paths: tuple[str, ...],
    *,
    is_applied: bool,
    is_verified: bool,
    is_mirrored: bool,
    format_: str | None,
) -> int:
    """Bring flat session files into the journal.

    Finds the sessions below each PATH and shows what would become of them. --apply does
    it, in a new journal where there is none: each line becomes an entry, byte for byte, and
    the files stay as they are. What is there already adds nothing, so it can be run again; of a file that was changed since,
    both versions are kept. Exits 3 if a file was set aside, 1 if no other was there.

    journal migrate list shows the runs there were, journal migrate show RUN the files of one.
    """
    asked = _history(settings, paths)
    if asked is not None:
        return asked
    from journal.migration import plan  # noqa: PLC0415 - with the rest of the library

    if is_mirrored and not is_applied:
        raise click.UsageError("--mirror goes with --apply", click.get_current_context())
    avoid = [] if is_url(settings.db) else [file_of(settings)]
    found = plan(paths, format=format_, avoid=avoid)
    _check_there(paths, found)
    result: Result | None = None
    if is_applied:
        result = _apply(settings, found, mirror=is_mirrored)
        if not settings.json:
            migrated.result(result)
            migrated.left(found)
        elif not is_verified:
            output.document("migrate", applied=True, **result.as_json())
        aside, handled = result.set_aside, len(result.files)
    elif not is_verified:
        _tell_plan(settings, found)
        if found.files and not settings.json:
            output.say(with_db(f"Nothing was changed. Try: {_applied(paths, format_)}", settings))
        aside, handled = found.set_aside, len(found.files)
    if is_verified:
        return _verify(settings, found, result, _applied(paths, format_))
    migrated.set_aside(aside)
    if not aside:
        return 0
    return EXIT_FOUND if handled else EXIT_FAILED


def _check_there(paths: tuple[str, ...], found: Plan) -> None:
    """Refuse paths of which none is there: a plan of nothing, or a new journal, would hide a slip."""
    from journal.migration.discovery import absolute  # noqa: PLC0415 - with the rest of the library

    gone = {each.path for each in found.set_aside if each.code == "gone"}
    if gone == set(map(absolute, paths)):
        raise StorageError(
            f"there is nothing at {', '.join(each.path for each in found.set_aside)}",
            hint="name a file or a directory that is there",
            code="no-path",
        )


def _history(settings: Settings, paths: tuple[str, ...]) -> int | None:
    """Show runs, if that is what was asked for; a file called ``list`` is named ``./list``."""
    if paths == ("list",):
        from journal.migration import runs  # noqa: PLC0415

        with opened(settings) as journal:
            _tell_runs(settings, runs(journal))
        return 0
    if len(paths) == 2 and paths[0] == "show" and paths[1].isdecimal():  # noqa: PLR2004 - show RUN
        from journal.migration import run  # noqa: PLC0415

        with opened(settings) as journal:
            _tell_run(settings, *run(journal, int(paths[1])))
        return 0
    return None


def _tell_runs(settings: Settings, found: list[Run]) -> None:
    if settings.json:
        output.document("migrate.list", runs=[each.as_json() for each in found])
        return
    headers = ("run", "time", "state", "files", "lines", "bytes", "of")
    rows = [
        (run.number, output.when(run.started_us), run.state, run.files, run.lines, run.bytes, ", ".join(run.sources))
        for run in found
    ]  # fmt: skip
    output.table(headers, rows)


def _tell_run(settings: Settings, run: Run, files: list[Brought]) -> None:
    if settings.json:
        output.document("migrate.show", run=run.as_json(), files=[each.as_json() for each in files])
        return
    headers = ("session", "state", "class", "lines", "raw", "bytes", "sha256", "file")
    rows = [
        (each.session, kept.state, kept.file_class, kept.lines, kept.raw_lines, kept.bytes, kept.sha256, kept.path)
        for each in files
        for kept in [each.receipt]
    ]  # fmt: skip
    output.table(headers, rows)
    output.say(f"Run {run.number}: {run.state}, {output.counted(len(files), 'file')}.")


def _verify(settings: Settings, found: Plan, done: Result | None, applied: str) -> int:
    """Compare the files with the journal and tell, with what the run before it came to, if there was one."""
    from journal.migration import verify  # noqa: PLC0415
    from journal.migration.planned import aside_json  # noqa: PLC0415

    if not exists(settings):
        message = f"there is no journal at {shown(settings)} to compare with"
        raise NotFoundError(message, hint=applied, code="no-journal")
    with opened(settings) as journal:
        result = verify(journal, found)
    # What the run set aside may hold all the same, such as a file that could be no mirror.
    aside = tuple(dict.fromkeys((*(done.set_aside if done else ()), *result.set_aside)))
    if settings.json:
        output.document(
            "migrate.verify",
            holds=result.holds,
            files=[each.as_json() for each in result.files],
            set_aside=[aside_json(each) for each in aside],
            applied=done and done.as_json(),
        )
    else:
        rows = [
            (each.key or "-", each.found, each.bytes, each.sha256, each.path)
            for each in result.files
        ]
        output.table(("session", "found", "bytes", "sha256", "file"), rows)
        for each in result.files:
            if each.differs_at is not None:
                output.say(f"Differs: {each.path}: first at byte {each.differs_at}")
        said = (
            "Every file is in the journal, byte for byte."
            if result.holds
            else "Not every file is in the journal."
        )
        output.say(said)
        if not result.holds:
            output.say(with_db(f"Try: {applied}", settings))
    migrated.set_aside(aside)
    if result.holds and not aside:
        return 0
    return EXIT_FOUND if result.files else EXIT_FAILED


def _applied(paths: tuple[str, ...], format_: str | None) -> str:
    options = ["--apply"] if format_ is None else ["--format", format_, "--apply"]
    return shlex.join(["journal", "migrate", *options, "--", *paths])


def _apply(settings: Settings, found: Plan, *, mirror: bool) -> Result:
    from journal.migration import apply  # noqa: PLC0415

    with (
        opened_or_made(settings) as journal,
        progress_to(found.bytes, "Migrating") as progress,
    ):
        return apply(journal, found, progress=progress, mirror=mirror)


def _tell_plan(settings: Settings, found: Plan) -> None:
    from journal.migration import room  # noqa: PLC0415

    # What is free on a server's disk nobody can ask it.
    disk = None if is_url(settings.db) else room(found, file_of(settings))
    if settings.json:
        asked = None if disk is None else disk._asdict()
        output.document("migrate", applied=False, **found.as_json(), disk=asked)
    else:
        migrated.plan(found, disk)

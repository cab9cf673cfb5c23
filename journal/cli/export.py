"""``journal export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import known_key, named_place, opened, place_of
from journal.cli.options import Settings, json_option
from journal.files import refuse_journals_own, write_new

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal.bundle import Bundle
    from journal.export import Export, SteppedOver
    from journal.rebuilding import Rebuilt


@make_command(
    "export",
    "journal export agent:main:main > session.jsonl",
    "journal export agent:main:main -o copy.jsonl",
    "journal export --all rebuilt",
    "journal export --all bare --unverified",
    "journal export --bundle evidence.zip",
)
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@click.option("-o", "--output", "file", metavar="FILE", help="Write a new file instead of stdout.")
@click.option(
    "--all",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write every session to a new directory, under the names the files had.",
)
@click.option(
    "--bundle",
    metavar="FILE.zip",
    type=click.Path(path_type=Path),
    help="Write sessions (all without SESSION) with seals and anchors, to be checked anywhere.",
)
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Put what journal anchor wrote into the bundle.",
)
@click.option(
    "--unverified",
    is_flag=True,
    help="Give the bytes as they stand, held against nothing: several times as fast. journal audit verifies.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@click.pass_context
def command(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    sessions: tuple[str, ...],
    file: str | None,
    directory: Path | None,
    bundle: Path | None,
    anchors: tuple[Path, ...],
    *,
    unverified: bool,
    force: bool,
) -> int:
    """Give sessions back as the files they are, byte for byte.

    A file that was migrated comes back with equal bytes, and what was written since after
    them. FILE appears whole or not at all. Rows that are not in the sealed chain are left
    out and said; then the exit code is 3. (With --unverified nobody looks whether they are.) A bundle holds every row with its seal, and a
    verify.py that checks it with nothing but Python.
    """
    settings: Settings = ctx.obj
    _check_usage(ctx, sessions, file, directory, bundle, anchors)
    if force and file is None and bundle is None:
        raise click.UsageError("--force replaces a FILE: name one with -o or --bundle", ctx)
    if unverified and bundle is not None:
        raise click.UsageError("a --bundle is for verifying: leave --unverified out", ctx)
    if directory is not None:
        return _rebuild(settings, directory.absolute(), verified=not unverified)
    if bundle is not None:
        return _bundle(settings, bundle.absolute(), sessions, anchors, force=force)
    return _export(settings, sessions[0], file, force=force, verified=not unverified)


def _check_usage(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    sessions: tuple[str, ...],
    file: str | None,
    directory: Path | None,
    bundle: Path | None,
    anchors: tuple[Path, ...],
) -> None:
    wrong = None
    if sum(each is not None for each in (file, directory, bundle)) > 1:
        wrong = "-o, --all and --bundle are three ways to write: name one"
    elif anchors and bundle is None:
        wrong = "--anchor goes into a --bundle"
    elif directory is not None and sessions:
        wrong = "--all writes every session: name none"
    elif directory is None and bundle is None and len(sessions) != 1:
        wrong = "name one SESSION, or --all DIR, or --bundle FILE.zip"
    elif directory is None and bundle is None and file is None and ctx.obj.json:
        wrong = "--json tells of a FILE: name one with -o"
    if wrong is not None:
        raise click.UsageError(wrong, ctx)


def _export(
    settings: Settings, session: str, file: str | None, *, force: bool, verified: bool
) -> int:
    from journal.export import export  # noqa: PLC0415 - with the rest of the library

    with opened(settings) as journal:
        key = known_key(journal, session)
        content = export(journal, key, verified=verified)
        if file is None:
            output.raw(content)
        else:
            target = Path(file).absolute()
            refuse_journals_own(target, journal.path, force=force)
            digest = write_new(target, content, force=force)
            _tell(settings, target, content, digest, verified=verified)
    _say_verified(verified=verified)
    return _say_left_out(content.stepped_over)


def _tell(
    settings: Settings, target: Path, content: Export, digest: str, *, verified: bool
) -> None:
    if settings.json:
        told = {"bytes": content.bytes, "lines": content.lines, "sha256": digest}
        left_out = [rows._asdict() for rows in content.stepped_over]
        output.document(
            "export",
            session=content.key,
            file=str(target),
            **told,
            verified=verified,
            stepped_over=left_out,
        )
    else:
        output.say(
            f"Wrote {output.counted(content.lines, 'line')}, {content.bytes} bytes, to {target}."
        )


def _rebuild(settings: Settings, directory: Path, *, verified: bool) -> int:
    from journal.rebuilding import rebuild  # noqa: PLC0415

    with opened(settings) as journal:
        files = rebuild(journal, directory, verified=verified)
    if settings.json:
        told = [each.as_json() for each in files]
        output.document("export.all", directory=str(directory), verified=verified, files=told)
    else:
        _tell_rebuilt(directory, files)
    _say_verified(verified=verified)
    left_out = [_say_left_out(each.stepped_over, f"{each.session}: ") for each in files]
    return max(left_out, default=0)


def _tell_rebuilt(directory: Path, files: list[Rebuilt]) -> None:
    rows = [(each.session, each.lines, each.bytes, each.file) for each in files]
    output.table(("session", "lines", "bytes", "file"), rows)
    size = output.size(sum(each.bytes for each in files))
    for each in files:
        if each.instead_of is not None:
            output.say(
                f"Note: {each.instead_of} is another file's place, or too long: wrote {each.file}."
            )
    output.say(f"Wrote {output.counted(len(files), 'file')}, {size}, to {directory}.")


def _bundle(
    settings: Settings,
    target: Path,
    sessions: tuple[str, ...],
    anchors: tuple[Path, ...],
    *,
    force: bool,
) -> int:
    from journal.audit import AnchorFile  # noqa: PLC0415
    from journal.bundle import write_bundle  # noqa: PLC0415

    path = place_of(settings)
    refuse_journals_own(target, named_place(settings), force=force)
    held = [AnchorFile(str(each), each.read_bytes()) for each in anchors]
    written = write_bundle(path, target, sessions=sessions, anchors=held, force=force)
    _tell_bundle(settings, written)
    return EXIT_FOUND if written.report.findings else 0


def _tell_bundle(settings: Settings, written: Bundle) -> None:
    if settings.json:
        told = {"bytes": written.bytes, "sessions": written.sessions, "entries": written.entries}
        output.document(
            "export.bundle",
            file=str(written.path),
            **told,
            strays=written.strays,
            verdict=written.report.verdict,
        )
        return
    output.say(
        f"Wrote {output.counted(written.entries, 'entry', 'entries')} of {output.counted(written.sessions, 'chain')}, "
        f"{output.size(written.bytes)}, to {written.path}. Audit: {written.report.verdict}."
    )
    output.say(
        "Everything that was said is in it. To check it: unpack it, and run python verify.py"
    )


def _say_verified(*, verified: bool) -> None:
    if not verified:
        output.say("Note: nothing was verified; journal audit does.")


def _say_left_out(stepped_over: Iterable[SteppedOver], where: str = "") -> int:
    ranges = list(stepped_over)
    for rows in ranges[:10]:
        seqs = f"seq {rows.first_seq}" + (
            "" if rows.last_seq == rows.first_seq else f" to {rows.last_seq}"
        )
        if rows.settled:
            output.say(f"Note: {where}left out {seqs}: {rows.status}, and settled")
        else:
            output.say(f"Warning: {where}left out {seqs}: {rows.status}")
    if len(ranges) > 10:  # noqa: PLR2004 - as many as were said
        output.say(
            f"Warning: {where}left out {len(ranges) - 10} more ranges: journal audit names them"
        )
    return EXIT_FOUND if any(not rows.settled for rows in ranges) else 0

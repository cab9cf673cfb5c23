"""``journal restore``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import file_of, hinting, obey_strict, shown
from journal.cli.options import Settings, json_option
from journal.dialects.address import is_url
from journal.errors import EntryError
from journal.model import REGISTRY_KEY

if TYPE_CHECKING:
    from journal.backup import Restoring

_SHOWN = 10
_REGISTRY = "the registry (writers, revocations, mirrors)"


@make_command(
    "restore",
    "journal backup copy.db",
    "journal -d other.db restore copy.db --apply",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only shown.")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Say what an anchor has and FILE has not.",
)
@json_option
@click.pass_obj
def command(settings: Settings, file: Path, anchors: tuple[Path, ...], *, is_applied: bool) -> int:
    """Put a backup in the journal's place.

    Shows the audit of FILE, and what the journal that is there has and FILE has not; --apply
    does it. A journal that a process has open is never written over. The one that is there
    is renamed, with its log, and stays whole. Exits 3 if the audit of FILE found something.
    """
    from journal.audit import AnchorFile  # noqa: PLC0415 - with the rest of the library
    from journal.backup import plan_restore, restore  # noqa: PLC0415

    if is_url(settings.db):
        raise _copy_instead(str(file), shown(settings))
    if is_applied:
        obey_strict(settings)
    files = [AnchorFile(str(path), path.read_bytes()) for path in anchors]
    with hinting(file.absolute(), "FILE"):
        plan = plan_restore(file.absolute(), file_of(settings), anchors=files)
    kept = restore(plan) if is_applied else None
    again = ["journal", "restore", str(plan.source), "--apply"]
    again += [word for path in anchors for word in ("--anchor", str(path))]
    _tell(settings, plan, kept, None if is_applied else shlex.join(again))
    return EXIT_FOUND if plan.report.findings else 0


def _copy_instead(file: str, url: str) -> EntryError:
    return EntryError(
        "a server's journal is not written over: a backup is copied to a schema of its own, or the server's "
        "own backup restored (pg_restore)",
        hint=f"{shlex.join(['journal', 'copy', file, url])}  # with another ?schema= in the URL where that one is used",
        code="not-on-a-server",
    )


def _tell(settings: Settings, plan: Restoring, kept: Path | None, again: str | None) -> None:
    if settings.json:
        output.document(
            "restore",
            applied=again is None,
            file=str(plan.source),
            target=str(plan.target),
            verdict=plan.report.verdict,
            findings=[finding.as_json() for finding in plan.report.findings],
            replaces=plan.replaces,
            another_journal=plan.is_another,
            lost=[lost._asdict() for lost in plan.lost],
            compared=plan.is_compared,
            mirrors=plan.mirrors,
            kept=None if kept is None else str(kept),
        )
        return
    output.say(f"Audit of {plan.source}: {plan.report.verdict}.")
    for finding in plan.report.findings:
        output.say(f"  {finding.id} {finding.severity}: {finding.title}: {finding.cause}")
    _tell_lost(plan)
    _tell_mirrors(settings, plan)
    if again is not None:
        output.say(with_db(f"Nothing was changed. Try: {again}", settings))
        return
    output.say(f"Restored {plan.target}.")
    if kept is not None:
        output.say(f"What was there is now {kept}.")
    output.say("Mirror files may hold lines that the backup has not: see journal mirror status.")


def _tell_mirrors(settings: Settings, plan: Restoring) -> None:
    if plan.mirrors:
        of = "1 mirror file" if plan.mirrors == 1 else f"{plan.mirrors} mirror files"
        output.say(
            f"It serves {of}. If the journal that it is a copy of lives on, two serve the same, and each takes the "
            f"other's lines for foreign: then {with_db('journal mirror remove SESSION', settings)}"
        )


def _tell_lost(plan: Restoring) -> None:
    if not plan.replaces:
        return
    if not plan.is_compared:
        output.say(f"{plan.target} is damaged: what it has and the backup has not cannot be told.")
        return
    if plan.is_another:
        output.say(f"{plan.target} is another journal than the backup's.")
    for lost in plan.lost[:_SHOWN]:
        is_one = lost.first_seq == lost.last_seq
        seqs = f"{lost.first_seq} is" if is_one else f"{lost.first_seq} to {lost.last_seq} are"
        what = _REGISTRY if lost.session == REGISTRY_KEY else lost.session
        output.say(f"  {what}: seq {seqs} not in the backup")
    if len(plan.lost) > _SHOWN:
        output.say(f"  and {output.counted(len(plan.lost) - _SHOWN, 'more session')}")
    if not plan.lost:
        output.say("The backup has every session as far as the journal that is there.")

"""``journal copy``."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import obey_strict
from journal.cli.options import Settings, json_option
from journal.cli.progress import bar, progress
from journal.dialects.address import is_url

if TYPE_CHECKING:
    from journal.copying import Copied

_SHOWN: Final = 10


@make_command(
    "copy",
    "journal copy journal.db copy.db",
    "journal copy journal.db copy.db --catch-up",
)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--catch-up",
    "catch_up",
    is_flag=True,
    help="Bring what came to SRC since DST was finished, if nobody has written to DST.",
)
@json_option
@click.pass_obj
def command(settings: Settings, source: str, target: str, *, catch_up: bool) -> int:
    """Copy the whole journal between a file and a server, either way, and audit the copy.

    SRC and DST are each a file, or postgresql+psycopg://USER@HOST/DATABASE. Others may write to SRC meanwhile: one state of it
    is copied, row by row and under the same seals, compared, and audited on both sides. DST
    is no journal until all of it is there; ended in the middle, the same command goes on.
    Of a DST that is finished it says whether it is still equal.
    Exits 3 if the audit of the copy found something, 1 if there is a copy that is not equal to SRC.
    """
    if settings.db_is_named:
        raise click.UsageError(
            "copy names its journals as SRC and DST: leave --db out", click.get_current_context()
        )
    from journal.copying import copy  # noqa: PLC0415 - with the rest of the library

    if not is_url(target):
        obey_strict(settings)
    copied = copy(source, target, catch_up=catch_up, progress=progress, auditing=bar)
    if settings.json:
        output.document("copy", **copied.as_json())
    else:
        _tell(copied)
    return 0 if copied.is_clean else EXIT_FOUND


def _tell(copied: Copied) -> None:
    entries = output.counted(copied.entries, "entry", "entries")
    done = "Was copied before, and is equal" if copied.was_there else "Copied"
    if copied.was_there and copied.mended:
        done = f"Caught up by {output.counted(copied.mended, 'entry', 'entries')}"
    what = f"{entries}, the journal's own among them, {output.size(copied.bytes)} of lines"
    output.say(f"{done}: {what}, from {copied.source} to {copied.target}.")
    if copied.was_begun:
        mended = output.counted(copied.mended, "entry was", "entries were")
        output.say(f"An earlier run had begun it; {mended} changed in {copied.source} since.")
    _tell_audits(copied)
    _tell_mirrors(copied)
    _tell_later(copied)
    output.say(
        "Both are one journal by their id: write to one of them from now on. What is written to both "
        "cannot be brought together, and each looks whole by itself (docs/copy.md)."
    )
    output.say("The key is in neither: bring it where the copy is used (journal key export).")


def _tell_audits(copied: Copied) -> None:
    before, after = copied.before.verdict, copied.after.verdict
    output.say(f"Audit of {copied.source}: {before}. Audit of the copy: {after}.")
    for finding in copied.after.findings:
        output.say(f"  {finding.id} {finding.severity}: {finding.title}: {finding.cause}")
    if copied.after.findings:
        output.say(f"Try: journal -d {quote(copied.target)} audit")
    _list("Not equal", copied.differences, len(copied.differences))
    _list("Put otherwise than it stands", copied.escaped, copied.escaped_count)


def _list(what: str, told: list[str] | tuple[str, ...], count: int) -> None:
    for each in told[:_SHOWN]:
        output.say(f"{what}: {each}")
    if count > _SHOWN:
        output.say(f"  and {count - _SHOWN} more")


def _tell_mirrors(copied: Copied) -> None:
    mirrors = [f"{each.session}: {each.path} on {each.host}" for each in copied.mirrors]
    _list(f"Mirror, served from {copied.source} and not from the copy", mirrors, len(mirrors))


def _tell_later(copied: Copied) -> None:
    later = copied.later
    if later is None:
        output.say(f"Whether anything came to {copied.source} meanwhile could not be seen.")
    elif later.entries:
        entries = output.counted(later.entries, "entry", "entries")
        sessions = output.counted(later.sessions, "session")
        output.say(f"Not in the copy: {entries} in {sessions}, written to {copied.source} since.")

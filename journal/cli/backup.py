"""``journal backup``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import hinting, obey_strict, path_of, shown
from journal.cli.options import Settings, json_option
from journal.dialects.address import is_url
from journal.errors import EntryError

if TYPE_CHECKING:
    from journal.backup import Copied


@make_command("backup", "journal backup agent-backup.db")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def command(settings: Settings, file: Path) -> int:
    """Copy the journal to a new file, while others write to it, and audit the copy.

    A plain cp lacks what is still in the log. FILE must not be there yet; it holds no key,
    so keep the key as well. A journal on a server is backed up with journal copy. Exits 3 if the audit of the copy found something.
    """
    from journal.backup import back_up  # noqa: PLC0415 - with the rest of the library

    if is_url(settings.db):
        raise _copy_instead(shown(settings), str(file))
    obey_strict(settings)
    with hinting(file.absolute(), "FILE"):
        copied = back_up(path_of(settings), file.absolute())
    _tell(settings, copied)
    return EXIT_FOUND if copied.report.findings else 0


def _copy_instead(url: str, file: str) -> EntryError:
    return EntryError(
        "a journal on a server is backed up by copying it to a file, or by the server's own means (pg_dump)",
        hint=shlex.join(["journal", "copy", url, file]),
        code="not-on-a-server",
    )


def _tell(settings: Settings, copied: Copied) -> None:
    report = copied.report
    if settings.json:
        told = {"file": str(copied.path), "bytes": copied.bytes, "verdict": report.verdict}
        findings = [finding.as_json() for finding in report.findings]
        output.document("backup", **told, findings=findings)
        return
    output.say(f"Copied {output.size(copied.bytes)} to {copied.path}. Audit: {report.verdict}.")
    for finding in report.findings:
        output.say(f"  {finding.id} {finding.severity}: {finding.title}")
    if report.findings:
        output.say(f"Try: journal -d {shlex.quote(str(copied.path))} audit")
    output.say("The key is not in it: keep a copy of the key, too (journal key export).")

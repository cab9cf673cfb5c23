"""``journal audit``."""

from __future__ import annotations

from pathlib import Path

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import path_of
from journal.cli.options import Settings, json_option


@make_command("audit", "journal audit", "journal audit agent:main:main --json")
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Hold the journal against what journal anchor wrote; may be given more than once.",
)
@click.option(
    "--verifier",
    "verifiers",
    multiple=True,
    metavar="KEY",
    help="A public key that anchors may be signed with, NAME+HASH+KEY.",
)
@click.option("--strict", is_flag=True, help="Exit 3 unless the verdict is ok: anchored, too.")
@json_option
@click.pass_obj
def command(
    settings: Settings,
    sessions: tuple[str, ...],
    anchors: tuple[Path, ...],
    verifiers: tuple[str, ...],
    *,
    strict: bool,
) -> int:
    """Check every rule and name what broke it; change nothing.

    Reads the whole journal, or the sessions named, through a read-only connection, and
    says what it found and what it did not check. Exits 3 if it found something.
    """
    from journal.audit import AnchorFile, audit  # noqa: PLC0415 - with the rest of the library
    from journal.note import parsed_verifier  # noqa: PLC0415

    report = audit(
        str(path_of(settings)),
        sessions=sessions,
        anchors=[AnchorFile(str(path), path.read_bytes()) for path in anchors],
        verifiers=list(map(parsed_verifier, verifiers)),
    )
    if settings.json:
        output.document("audit", **report.as_json())
    else:
        output.text(report.as_text())
    return EXIT_FOUND if strict and report.verdict != "ok" else report.exit_code

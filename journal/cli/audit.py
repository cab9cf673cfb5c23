"""``journal audit``."""

from __future__ import annotations

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import path_of
from journal.cli.options import Settings, json_option


@make_command("audit", "journal audit", "journal audit agent:main:main --json")
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@json_option
@click.pass_obj
def command(settings: Settings, sessions: tuple[str, ...]) -> int:
    """Check every rule and name what broke it; change nothing.

    Reads the whole journal, or the sessions named, through a read-only connection, and
    says what it found and what it did not check. Exits 3 if something is broken.
    """
    from journal.audit import audit  # noqa: PLC0415 - with the rest of the library

    report = audit(str(path_of(settings)), sessions=sessions)
    if settings.json:
        output.document("audit", **report.as_json())
    else:
        output.text(report.as_text())
    return report.exit_code

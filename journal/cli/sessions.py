"""``journal sessions``."""

from __future__ import annotations

from dataclasses import asdict

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import opened
from journal.cli.options import Settings, json_option


@make_command("sessions", "journal sessions", "journal sessions --json")
@json_option
@click.pass_obj
def command(settings: Settings) -> None:
    """List the sessions.

    Each with the number of its entries (the journal's own notes among them), of its
    writes, its bytes as a file, and by what else a migration found it to be called:
    every command takes such a name for the session.
    """
    with opened(settings) as journal:
        found = journal.sessions()
        where = journal.where
    if settings.json:
        output.document("sessions", sessions=[asdict(session) for session in found])
        return
    rows = [
        (
            item.key,
            item.entries,
            item.epochs,
            item.bytes,
            output.when(item.created_us),
            ", ".join(item.aliases) or "-",
        )
        for item in found
    ]
    output.table(("session", "entries", "writes", "bytes", "since", "also called"), rows)
    if not found:
        output.say(f"There is no session in {where} yet.")

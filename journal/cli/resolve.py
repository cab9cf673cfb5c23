"""``journal resolve``."""

from __future__ import annotations

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import deciding, known_key, opened
from journal.cli.options import (
    NO_REASON,
    Settings,
    json_option,
    operator_options,
    session_argument,
)


@make_command(
    "resolve",
    "seqs=$(journal who agent:main:main | awk -F '\\t' '/takeover:/ {print $1}')",
    '[ -z "$seqs" ] || journal resolve agent:main:main $seqs --reject --reason alien',
)
@session_argument
@click.argument("seqs", nargs=-1, required=True, type=int, metavar="SEQ...")
@click.option(
    "--accept/--reject",
    default=None,
    help="Accepted they stay, marked so; rejected they leave the session's file.",
)
@click.option(
    "--reason", default=NO_REASON, show_default=True, metavar="TEXT", help="Why; it is recorded."
)
@operator_options
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    session: str,
    seqs: tuple[int, ...],
    writer: str,
    role: str | None,
    reason: str,
    *,
    accept: bool | None,
) -> None:
    """Accept or reject entries that came from outside.

    The decision is recorded with who made it and why. Nobody's name is put on a foreign
    entry by it: an accepted one stays external, marked accepted. What plain SQL put into
    the database is never read; accepted, its bytes become a new external entry. Prints
    the seqs of such new entries.
    """
    if accept is None:
        raise click.UsageError("Say --accept or --reject.", click.get_current_context())
    with opened(settings) as journal:
        key = known_key(journal, session)
        role = deciding(journal, writer, role)
        handle = journal.session(key, writer=writer, role=role)
        made = [entry.seq for entry in handle.resolve(seqs, accept=accept, reason=reason)]
    verdict = "accept" if accept else "reject"
    if settings.json:
        output.document(
            "resolve", session=key, seqs=sorted(set(seqs)), verdict=verdict, actor=writer, new=made
        )
        return
    for seq in made:
        output.line(seq)
    output.say(f"{verdict.capitalize()}ed: {output.counted(len(set(seqs)), 'entry', 'entries')}.")

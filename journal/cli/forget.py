"""``journal forget``."""

from __future__ import annotations

import click

from journal.cli import output
from journal.cli.failing import with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import deciding, known_key, opened
from journal.cli.options import (
    NO_REASON,
    Settings,
    json_option,
    operator_options,
    session_argument,
)
from journal.cli.redact import applying, tell


@make_command(
    "forget",
    "journal forget agent:main:main --reason 'asked to be forgotten' -w alice --role operator",
    "journal forget agent:main:main --reason 'asked to be forgotten' -w alice --role operator --apply",
)
@session_argument
@click.option(
    "--reason", default=NO_REASON, show_default=True, metavar="TEXT", help="Why; it is recorded."
)
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only shown.")
@operator_options
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    session: str,
    writer: str,
    role: str | None,
    reason: str,
    *,
    is_applied: bool,
) -> int:
    """Erase every line of a session for good; that it was there stays on record.

    As journal redact for each of its lines; its file is emptied. Who wrote when, and how
    much, still shows, and the rest of the journal is as it was.
    """
    from journal.redaction import check_why, to_forget  # noqa: PLC0415 - with the rest of the library

    check_why(reason)
    with opened(settings) as journal:
        key = known_key(journal, session)
        role = deciding(journal, writer, role)
        handle = journal.session(key, writer=writer, role=role)
        if is_applied:
            return tell(settings, "forget", key, handle.forget(reason=reason))
        lines = to_forget(handle)
    if settings.json:
        output.document("forget", applied=False, session=key, lines=lines, receipts=[])
    else:
        output.say(
            with_db(
                f"{key}: {output.counted(lines, 'line')} would be erased. Nothing was changed. "
                f"Try: {applying('forget', key, (), reason, writer, role)}",
                settings,
            )
        )
    return 0

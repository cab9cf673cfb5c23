"""``journal submit``."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import check_writer, key_to_write, known_key, no_line, opened, say_new
from journal.cli.options import STDIN, Settings, json_option, role_option, session_argument

if TYPE_CHECKING:
    from journal.inputs import Input


@make_command(
    "submit",
    'journal submit agent:main:main -w telegram --role channel --request-id tg:1 \'{"text":"hello"}\'',
    "journal submit agent:main:main --list",
)
@session_argument
@click.argument("line", required=False, metavar="[LINE]")
@click.option("--writer", "-w", metavar="NAME", help="Who says it.")
@role_option("Needed at the writer's first use", required=False)
@click.option("--request-id", metavar="ID", help="Submit once: the same id keeps nothing more.")
@click.option("--on-behalf-of", metavar="NAME", help="For whom it is said.")
@click.option("--list", "listed", is_flag=True, help="List what is pending, and submit nothing.")
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    session: str,
    line: str | None,
    writer: str | None,
    role: str | None,
    request_id: str | None,
    on_behalf_of: str | None,
    *,
    listed: bool,
) -> None:
    """Say something to a session while a run has the turn.

    LINE, or one line of the standard input (no LINE, or -), is kept for whoever has the turn; taking it
    makes it an entry of its writer. A claim never blocks it. Prints the input's number.
    """
    ctx = click.get_current_context()
    if listed:
        _list(settings, session)
        return
    if writer is None:
        raise click.UsageError("Missing option '--writer' / '-w'.", ctx)
    with opened(settings) as journal:
        check_writer(journal, writer, role)
        key = key_to_write(journal, session)
        handle = journal.session(key, writer=writer, role=role, on_behalf_of=on_behalf_of)
        existed = handle.exists
        kept = handle.submit(_data(line), request_id=request_id)
    if not existed:
        say_new(key)
    if settings.json:
        output.document("submit", session=key, input=_as_json(kept))
    else:
        output.line(kept.id if kept.taken_seq is None else f"taken as seq {kept.taken_seq}")


def _data(line: str | None) -> bytes:
    if line is not None and line != STDIN:
        return os.fsencode(line)
    if sys.stdin.isatty():
        output.say("Reading one line from the terminal; Ctrl-D ends.")
    data = sys.stdin.buffer.read()
    if not data:
        raise no_line("submit")
    return data


def _list(settings: Settings, session: str) -> None:
    with opened(settings) as journal:
        key = known_key(journal, session)
        found = journal.session(key).inputs()
    if settings.json:
        output.document("submit.list", session=key, inputs=[_as_json(each) for each in found])
        return
    headers = ("input", "time", "writer", "on behalf of", "state", "line")
    output.table(headers, map(_cells, found), is_last_cut=True)
    if not found:
        output.say("Nothing is pending.")


def _cells(each: Input) -> tuple[object, ...]:
    text = each.data[:640].decode("utf-8", "backslashreplace").rstrip("\r\n")
    when = output.when(each.submitted_us)
    return each.id, when, each.writer, each.on_behalf_of or "-", each.state, text[:160]


def _as_json(each: Input) -> dict[str, Any]:
    told = asdict(each)
    told["data"] = each.data.decode("utf-8", "backslashreplace")
    return told

"""``journal doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import file_of, shown
from journal.cli.options import Settings, json_option
from journal.dialects.address import is_url
from journal.escape import escape

if TYPE_CHECKING:
    from journal.doctor import Fact


@make_command("doctor", "journal doctor", "journal doctor --json")
@json_option
@click.pass_obj
def command(settings: Settings) -> int:
    """Tell the facts of this machine and journal, each with what to do next.

    Reads only, and may be run beside processes at work. Exits 3 if a fact is a problem;
    a warning is none. Of a journal on a server it tells what the server says. Whether the entries are as they were written, journal audit says.
    """
    from journal.doctor import PROBLEM, examine, worst  # noqa: PLC0415 - with the rest of the library

    if is_url(settings.db):
        from journal.serverdoctor import examine_server  # noqa: PLC0415 - nobody else pays for it

        path, facts = shown(settings), examine_server(settings.db)
    else:
        path = str(file_of(settings))
        facts = examine(Path(path), strict=settings.strict)
    state = worst(facts)
    if settings.json:
        told = [_as_json(settings, fact) for fact in facts]
        output.document("doctor", path=path, state=state, facts=told)
    else:
        _print(settings, facts)
    return EXIT_FOUND if state == PROBLEM else 0


def _as_json(settings: Settings, fact: Fact) -> dict[str, object]:
    step = fact.next_step and with_db(fact.next_step, settings)
    return {**fact._asdict(), "next_step": step, "details": dict(fact.details)}


def _print(settings: Settings, facts: list[Fact]) -> None:
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        output.text(f"{fact.state:<7}  {fact.name:<{width}}  {escape(fact.words)}")
        if fact.next_step is not None:
            step = with_db(escape(fact.next_step), settings)
            output.text(f"{'':<7}  {'':<{width}}  Try: {step}")

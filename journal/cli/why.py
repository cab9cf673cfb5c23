"""``journal why``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import named
from journal.cli.frame import command as make_command
from journal.cli.opening import opened
from journal.cli.options import Settings, json_option

if TYPE_CHECKING:
    from journal.why import Noticed


@make_command(
    "why",
    "journal why",
    "for id in $(journal parked list | cut -f1); do journal why $id; done",
    "for id in $(journal parked list | cut -f1); do journal why $id --json; done",
)
@click.argument("wanted", required=False, metavar="[ID]")
@json_option
@click.pass_obj
def command(settings: Settings, wanted: str | None) -> None:
    """Explain a takeover, a refusal, a parked write or a supersession.

    ID is what an error or a listing named: a verdict (v…), a parked write (p…) or a fence
    (f…). Tells the rule, what was expected and found, every entry between with who wrote
    it, who held the session then, how often lately, and what to do next.

    Without an ID it lists the newest of them: id, time, session, class, who was judged,
    and the parked write.
    """
    from journal.why import why  # noqa: PLC0415 - with the rest of the library

    if wanted is None:
        _list(settings)
        return
    with opened(settings) as journal:
        found = named(why(journal, wanted), settings)
    if settings.json:
        output.document("why", **found.as_json())
    else:
        output.text(found.as_text())


def _list(settings: Settings) -> None:
    from journal.why import newest  # noqa: PLC0415 - with the rest of the library

    with opened(settings) as journal:
        found = newest(journal)
    if settings.json:
        output.document("why.list", newest=[each._asdict() for each in found])
        return
    rows = (
        (each.id, output.when(each.at_us), each.session, each.verdict_class, *_named(each))
        for each in found
    )
    output.table(("id", "time", "session", "class", "writer", "parked"), rows)
    if not found:
        output.say("Nothing was taken over, refused or superseded.")


def _named(each: Noticed) -> tuple[str, str]:
    return each.writer or "-", each.parked or "-"

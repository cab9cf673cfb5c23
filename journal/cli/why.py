"""``journal why``."""

from __future__ import annotations

import click

from journal.cli import output
from journal.cli.failing import with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import opened
from journal.cli.options import Settings, json_option


@make_command(
    "why",
    "for id in $(journal parked list | cut -f1); do journal why $id; done",
    "for id in $(journal parked list | cut -f1); do journal why $id --json; done",
)
@click.argument("wanted", metavar="ID")
@json_option
@click.pass_obj
def command(settings: Settings, wanted: str) -> None:
    """Explain a takeover, a refusal, a parked write or a supersession.

    ID is what an error or a listing named: a verdict (v…), a parked write (p…) or a fence
    (f…). Tells the rule, what was expected and found, every entry between with who wrote
    it, who held the session then, how often lately, and what to do next.
    """
    from journal.why import why  # noqa: PLC0415 - with the rest of the library

    with opened(settings) as journal:
        found = why(journal, wanted)
    if settings.json:
        output.document("why", **found.as_json())
    else:
        output.text(with_db(found.as_text(), settings))

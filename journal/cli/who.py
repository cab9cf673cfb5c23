"""``journal who``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from journal.cli import entries, output
from journal.cli.frame import command as make_command
from journal.cli.opening import key_to_look_at, opened
from journal.cli.options import Settings, json_option, session_argument
from journal.policy import POLICIES

if TYPE_CHECKING:
    from journal.who import Attribution

HEADERS: Final = (
    *("seq", "time", "writer", "role", "trust", "epoch", "run", "on behalf of", "kind"),
    "judged",
)
# The least important first: what says who wrote what, and how it is judged, stays.
SPARE: Final = ("run", "on behalf of", "epoch", "kind", "role", "trust", "time")


@make_command("who", "journal who agent:main:main", "journal who agent:main:main --policy strict")
@session_argument
@click.option(
    "--after", type=click.IntRange(min=0), metavar="SEQ", help="Only rows after this seq."
)
@click.option(
    "--policy",
    type=click.Choice(list(POLICIES)),
    default="cotenant",
    show_default=True,
    help="By which policy each row is judged, as if it arrived now.",
)
@json_option
@click.pass_obj
def command(settings: Settings, session: str, after: int | None, policy: str) -> None:
    """Show who wrote what in a session, for whom, and whether it is allowed.

    One line for each row, also those that a reader never gets: control entries, rows
    that nobody sealed, and seqs at which something is gone. The time and the recorder of
    a row that nobody sealed are what it says of itself. A line that was cut or rewritten
    out of the session's file is marked (left out).

    In a pipe a line has ten columns, set apart by tabs: seq, time, writer (with its recorder),
    role, trust, epoch, run, on behalf of, kind, judged. A narrow terminal leaves some out.
    """
    from journal.who import who  # noqa: PLC0415 - with the rest of the library

    with opened(settings) as journal:
        key = key_to_look_at(journal, session)
        found = who(journal, key, policy=policy, after=after)
        if settings.json:
            output.streamed(
                "who", "rows", map(_as_json, found), session=lambda: key, policy=lambda: policy
            )
        else:
            output.table(HEADERS, map(_cells, found), spare=SPARE)


def _cells(found: Attribution) -> tuple[object, ...]:
    entry = found.entry
    value = entries.parsed(entry) if entry.kind == "control" else None
    kind = entry.kind if value is None else f"control {entries.type_of(entry, value)}"
    marks = [
        name
        for name, is_so in (("redacted", entry.redacted), ("left out", found.left_out))
        if is_so
    ]
    kind += f" ({', '.join(marks)})" if marks else ""
    when = output.when(entry.created_us) if entry.created_us else "-"
    recorder = f" (recorded by {entry.recorder})" if entry.recorder else ""
    return (
        entry.seq, when, f"{entry.writer}{recorder}", entry.role, entry.trust, entry.epoch or "-",
        entry.run_id or "-", entry.on_behalf_of or "-", kind,
        found.judged if found.accepted else f"takeover: {found.judged}",
    )  # fmt: skip


def _as_json(found: Attribution) -> dict[str, Any]:
    told = entries.as_json(found.entry)
    for name in ("body", "body_base64", "end"):
        told.pop(name, None)
    return {**told, "accepted": found.accepted, "judged": found.judged, "left_out": found.left_out}

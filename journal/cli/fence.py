"""``journal fence``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.entries import brief
from journal.cli.failing import EXIT_FOUND, named, with_db
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import check_writer, key_to_write, known_key, opened
from journal.cli.options import Settings, json_option, session_argument, writer_options
from journal.errors import NotFoundError
from journal.policy import POLICIES

if TYPE_CHECKING:
    from journal import Journal, Verdict


@make_group(
    "fence",
    "fence=$(journal fence raise agent:main:main -w gateway --role run)",
    "journal fence check $fence && echo 'go on'",
)
def command() -> None:
    """Raise a fence in a session, or check one.

    A run raises a fence when it lets go of a session, and checks it when it comes back:
    did only those write who may, or has someone taken the session over?
    """


@make_command("raise", "journal fence raise agent:main:main -w gateway --role run")
@session_argument
@writer_options
@json_option
@click.pass_obj
def raise_(settings: Settings, session: str, writer: str, role: str | None) -> None:
    """Raise a fence and print its id.

    Whatever is foreign in the session already is said now, and is no takeover later.
    A SESSION that nobody wrote to is made, and that is said: a misspelt one guards nothing.
    """
    with opened(settings, on_takeover=_say_between) as journal:
        check_writer(journal, writer, role)
        slip = _may_be_a_slip(journal, session)
        key = key_to_write(journal, session)
        fence = journal.session(key, writer=writer, role=role).fence()
        fence_id = fence.stored()
        unresolved = fence.unresolved
    if slip is not None:
        output.say(with_db(slip, settings))
    if settings.json:
        mark = {"seq": fence.mark.seq, "epoch": fence.mark.epoch}
        open_rows = [brief(entry) for entry in unresolved]
        output.document("fence.raise", fence=fence_id, session=key, **mark, unresolved=open_rows)
        return
    output.line(fence_id)
    if unresolved:
        output.say(
            f"Unresolved before this fence: {output.counted(len(unresolved), 'foreign row')}."
        )


def _may_be_a_slip(journal: Journal, session: str) -> str | None:
    """Return what to say of the name of a session that is not there; None if it is."""
    try:
        known_key(journal, session)
    except NotFoundError as error:
        if error.code == "no-session":
            return f"{session!r} is a new session. If it is misspelt: {error.hint}"
    return None


def _say_between(verdict: Verdict) -> None:
    output.say(f"Warning: {verdict.summary()}")


@make_command(
    "check",
    "journal fence check $(journal fence raise agent:main:main -w gateway --role run)",
)
@click.argument("fence_id", metavar="ID")
@click.option(
    "--policy",
    type=click.Choice(list(POLICIES)),
    default="cotenant",
    show_default=True,
    help="cotenant: any trusted writer may write; strict: only what cannot change the model's context.",
)
@json_option
@click.pass_obj
def check(settings: Settings, fence_id: str, policy: str) -> int:
    """Judge every row after a fence; exit 0 if accepted, 3 on a takeover.

    Prints the verdict; the explanation goes to stderr.
    """
    with opened(settings) as journal:
        verdict = journal.fence(fence_id, policy=policy).check(raise_=False)
    if settings.json:
        output.document("fence.check", **_as_json(verdict))
    else:
        output.line(verdict.outcome)
        _explain(verdict, settings)
    return 0 if verdict.accepted else EXIT_FOUND


def _explain(verdict: Verdict, settings: Settings) -> None:
    if not verdict.accepted:
        output.say_lines(named(verdict.explanation(), settings).as_text().splitlines())
        return
    output.say(
        f"{output.counted(len(verdict.arrived), 'entry', 'entries')} arrived since the fence."
    )
    for entry in verdict.arrived:
        output.say(f"  seq {entry.seq}: by {entry.writer} ({entry.role})")


def _as_json(verdict: Verdict) -> dict[str, Any]:
    pairs = zip(verdict.foreign, verdict.reasons, verdict.origins, strict=True)
    return {
        "fence": verdict.fence_id,
        "session": verdict.session,
        "outcome": verdict.outcome,
        "accepted": verdict.accepted,
        "policy": verdict.policy,
        "verdict": verdict.id,
        "fence_at": {"seq": verdict.fence.seq, "epoch": verdict.fence.epoch},
        "head": {"seq": verdict.head_seq, "epoch": verdict.head_epoch},
        "arrived": [brief(entry) for entry in verdict.arrived],
        "foreign": [
            {**brief(entry, reason), "origin": origin, "place": _place(verdict, entry.seq)}
            for entry, reason, origin in pairs
        ],
        "summary": verdict.summary(),
    }


def _place(verdict: Verdict, seq: int) -> dict[str, Any] | None:
    """Return the file, the byte and the line at which an entry stands, if it came by a file."""
    place = verdict.places.get(seq)
    return None if place is None else place._asdict()


for _command in (raise_, check):
    command.add_command(_command)

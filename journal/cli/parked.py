"""``journal parked``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.failing import with_db
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import check_writer, deciding, known_key, opened, turn_of
from journal.cli.options import (
    Settings,
    check_pid,
    claim_option,
    json_option,
    operator_options,
    pid_option,
    role_option,
)

if TYPE_CHECKING:
    from journal.parking import Parked


@make_group("parked", "journal parked list", "journal parked list agent:main:main --all")
def command() -> None:
    """List, show, apply and discard writes that were refused.

    What was refused is never dropped: it is kept whole beside its session until somebody
    applies or discards it.
    """


@make_command("list", "journal parked list", "journal parked list agent:main:main --all --json")
@click.argument("session", required=False, metavar="[SESSION]")
@click.option("--all", "settled", is_flag=True, help="The applied and discarded ones too.")
@json_option
@click.pass_obj
def list_(settings: Settings, session: str | None, *, settled: bool) -> None:
    """List the parked writes of a session, or of all, oldest first."""
    with opened(settings) as journal:
        keys = (
            [known_key(journal, session)]
            if session is not None
            else [info.key for info in journal.sessions()]
        )
        found = [each for key in keys for each in journal.session(key).parked(settled=settled)]
    if settings.json:
        output.document("parked.list", parked=[_as_json(each) for each in found])
        return
    headers = ("id", "time", "session", "writer", "reason", "refused", "lines", "bytes", "state")
    output.table(headers, map(_cells, found))
    if not found:
        output.say("Nothing is parked.")


@make_command(
    "show",
    "for id in $(journal parked list | cut -f1); do journal parked show $id; done",
    "for id in $(journal parked list | cut -f1); do journal parked show $id --raw; done",
)
@click.argument("parked_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the lines' exact bytes to stdout, nothing else.")
@json_option
@click.pass_obj
def show(settings: Settings, parked_id: str, *, raw: bool) -> None:
    """Show one parked write: why it was refused, and its lines."""
    if raw and settings.json:
        raise click.UsageError(
            "--raw gives bytes, --json a document: choose one", click.get_current_context()
        )
    with opened(settings) as journal:
        found = journal.parked(parked_id)
        settled = _settlement(found)
    if raw:
        output.raw(found.lines)
    elif settings.json:
        lines = [line.decode("utf-8", "backslashreplace") for line in found.lines]
        output.document("parked.show", parked={**_as_json(found), **settled, "content": lines})
    else:
        seqs = ", ".join(map(str, settled.pop("settled_as", ()))) or None
        facts = {**_told(found, settings), **settled, "settled_as": seqs}
        output.facts([(name, value) for name, value in facts.items() if value is not None])
        output.line()
        for line in found.lines:
            output.line(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))


@make_command(
    "apply",
    "for id in $(journal parked list | cut -f1); do journal parked apply $id -w alice --role operator; done",
)
@click.argument("parked_id", metavar="ID")
@operator_options
@claim_option
@pid_option
@json_option
@click.pass_obj
def apply(  # noqa: PLR0913 - one for each option
    settings: Settings,
    parked_id: str,
    writer: str,
    role: str | None,
    claim: int | None,
    pid: int | None,
) -> None:
    """Write a parked write's lines now; prints the seq of each.

    They are written as their original writer's, recorded by who applies them, at the end
    of the session. Once. While a turn stands, a run may do it in that turn alone.
    """
    check_pid(claim, pid)
    with opened(settings) as journal:
        role = deciding(journal, writer, role)
        journal.session("-", writer=writer, role=role)  # refuses a role that is not the writer's
        found = journal.parked(parked_id)
        role = role or _role_of(journal.writers(), writer)
        if claim is not None:  # a token alone opens nothing
            turn_of(journal.session(found.session, writer=writer, role=role), claim, pid)
        entries = found.apply(writer=writer, role=role, claim=claim)
    told = [{"seq": entry.seq, "epoch": entry.epoch} for entry in entries]
    if settings.json:
        output.document("parked.apply", id=parked_id, session=found.session, entries=told)
        return
    for entry in entries:
        output.line(entry.seq)


@make_command(
    "discard",
    "for id in $(journal parked list | cut -f1); do journal parked discard $id -w alice --role operator; done",
)
@click.argument("parked_id", metavar="ID")
@click.option("--writer", "-w", metavar="NAME", help="Who gives it up; recorded.")
@role_option("Needed at the writer's first use", required=False)
@click.option("--reason", metavar="TEXT", help="Why; recorded.")
@json_option
@click.pass_obj
def discard(
    settings: Settings, parked_id: str, writer: str | None, role: str | None, reason: str | None
) -> None:
    """Settle a parked write without writing it; its lines stay on record."""
    with opened(settings) as journal:
        if writer is not None:
            check_writer(journal, writer, role)
            role = role or _role_of(journal.writers(), writer)
        found = journal.parked(parked_id)
        found.discard(writer=writer, role=role or "operator", reason=reason)
    if settings.json:
        output.document("parked.discard", id=parked_id, session=found.session)
    else:
        told = f"Discarded {parked_id}; journal parked show {parked_id} still has its lines."
        output.say(with_db(told, settings))


for _command in (list_, show, apply, discard):
    command.add_command(_command)


def _role_of(known: list[Any], name: str) -> str:
    return next(str(writer.role) for writer in known if writer.name == name)


def _settlement(found: Parked) -> dict[str, Any]:
    """Return how it ended: by whom, why, and as which entries."""
    how = found.settlement()
    if how is None:
        return {}
    return {"settled_by": how.by, "settled_as": list(how.seqs), "settled_reason": how.reason}


def _size(each: Parked) -> int:
    return sum(map(len, each.lines))


def _cells(each: Parked) -> tuple[object, ...]:
    state = each.settled or "parked"
    state += "" if each.lines else ", erased"
    return (
        each.id, output.when(each.parked_us), each.session, each.writer, each.reason,
        f"{each.times}x", len(each.lines), _size(each), state,
    )  # fmt: skip


def _told(each: Parked, settings: Settings) -> dict[str, Any]:
    told = _as_json(each)
    told["time"] = output.when(told.pop("parked_us"))
    if each.settled_us is not None:
        told["settled"] = f"{each.settled} {output.when(each.settled_us)}"
    del told["settled_us"]
    # Nothing is parked without a line: of what has none they were redacted or forgotten.
    told["erased"] = None if each.lines else "yes: its lines were redacted or forgotten"
    told["why"] = each.verdict_id and with_db(f"journal why {each.id}", settings)
    return told


def _as_json(each: Parked) -> dict[str, Any]:
    return {
        "id": each.id,
        "session": each.session,
        "writer": each.writer,
        "reason": each.reason,
        "verdict": each.verdict_id,
        "parked_us": each.parked_us,
        "times": each.times,
        "settled": each.settled,
        "settled_us": each.settled_us,
        "claim_expected": each.claim_expected,
        "claim_found": each.claim_found,
        "epoch_expected": each.epoch_expected,
        "epoch_found": each.epoch_found,
        "lines": len(each.lines),
        "bytes": _size(each),
    }

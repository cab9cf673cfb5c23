"""``journal claim``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.failing import with_db
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import (
    calling_process,
    check_writer,
    key_to_write,
    known_key,
    opened,
    say_new,
    turn_of,
)
from journal.cli.options import (
    Settings,
    check_pid,
    claim_option,
    json_option,
    pid_option,
    session_argument,
    writer_options,
)

if TYPE_CHECKING:
    from journal import Journal
    from journal.holder import Ending, Holder

_LISTED = 20


@make_group(
    "claim",
    "token=$(journal claim take agent:main:main -w gateway --role run)",
    'journal append agent:main:main -w gateway --claim $token \'{"type":"message"}\'',
    "journal claim release agent:main:main $token -w gateway",
)
def command() -> None:
    """Show who holds a session, take it, take its inputs, or let it go.

    A claim is a run's right to act for a session. A newer one supersedes it: from then on
    the older turn's writes are refused and parked. It goes with the process that called,
    a shell: the commands that this one calls write in its turn with --claim TOKEN.
    """


@make_command("show", "journal claim show agent:main:main")
@session_argument
@json_option
@click.pass_obj
def show(settings: Settings, session: str) -> None:
    """Show who holds a session now, and its newest claims before that."""
    with opened(settings) as journal:
        key = known_key(journal, session)
        found = _claims(journal, key)
    if settings.json:
        claims = [_as_json(made, end) for made, end in found]
        standing = next((each for each in claims if each["outcome"] == "standing"), None)
        output.document("claim.show", session=key, standing=standing, claims=claims)
        return
    headers = ("claim", "time", "writer", "role", "process", "alive", "state", "ended")
    output.table(headers, (_cells(made, end) for made, end in found))
    if not any(end.outcome == "standing" for _, end in found):
        output.say("Nobody holds it now.")


@make_command(
    "take",
    "journal claim take agent:main:main -w alice --role operator --supersede 'stuck for an hour'",
)
@session_argument
@writer_options
@click.option("--supersede", metavar="REASON", help="End the claim that stands, and say why.")
@click.option("--run-id", metavar="ID", help="The run it is for.")
@pid_option
@json_option
@click.pass_obj
def take(  # noqa: PLR0913 - one for each option
    settings: Settings,
    session: str,
    writer: str,
    role: str | None,
    supersede: str | None,
    run_id: str | None,
    pid: int | None,
) -> None:
    """Claim a session and print the claim's token.

    Other runs' writes are refused and parked until it is released or another claim ends it.
    That one needs --supersede; not so once the process is gone that the claim goes with: it
    stands until then all the same. A SESSION that nobody wrote to is made, and that is said.
    """
    from journal.claim import claim  # noqa: PLC0415 - with the rest of the library

    process = calling_process(pid)
    with opened(settings) as journal:
        check_writer(journal, writer, role)
        key = key_to_write(journal, session)
        handle = journal.session(key, writer=writer, role=role, run_id=run_id)
        existed = handle.exists
        turn = claim(handle, supersede, process=process)
    if not existed:
        say_new(key)
    if settings.json:
        output.document(
            "claim.take", session=key, token=turn.token, writer=writer, pid=process.pid,
            verdict=turn.why,
        )  # fmt: skip
        return
    output.line(turn.token)
    if turn.why is not None:
        told = f"It ended the claim that stood: journal why {turn.why} tells whose."
        output.say(with_db(told, settings))


@make_command(
    "release",
    "token=$(journal claim take agent:main:main -w alice --role operator)",
    "journal claim release agent:main:main $token -w alice",
)
@session_argument
@click.argument("token", type=int)
@writer_options
@pid_option
@json_option
@click.pass_obj
def release(  # noqa: PLR0913 - one for each option
    settings: Settings, session: str, token: int, writer: str, role: str | None, pid: int | None
) -> None:
    """Let a session go that this writer claimed, from the process that the claim goes with.

    Where that process is gone, any process of the writer may. Releasing what was
    superseded or released already changes nothing, and says so.
    """
    from journal.claim import end_claim  # noqa: PLC0415 - with the rest of the library

    process = calling_process(pid)
    with opened(settings) as journal:
        key = known_key(journal, session)
        check_writer(journal, writer, role)
        stood = end_claim(journal.session(key, writer=writer, role=role), token, process=process)
    if settings.json:
        output.document("claim.release", session=key, token=token, stood=stood)
    else:
        output.say("Released." if stood else f"Claim {token} did not stand any more.")


@make_command("inputs", "journal claim inputs agent:main:main -w gateway --role run")
@session_argument
@writer_options
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")
@claim_option
@pid_option
@json_option
@click.pass_obj
def inputs(  # noqa: PLR0913 - one for each option
    settings: Settings,
    session: str,
    writer: str,
    role: str | None,
    limit: int | None,
    claim: int | None,
    pid: int | None,
) -> None:
    """Take what was submitted to a session: claim it, make entries of the inputs, let it go.

    With --claim it is done in a turn that is held already, and the turn goes on. Each becomes
    an entry of who submitted it, once, in order. Prints the seq of each.
    """
    from journal.inputs import Taken  # noqa: PLC0415 - with the rest of the library

    check_pid(claim, pid)
    with opened(settings) as journal:
        key = known_key(journal, session)
        check_writer(journal, writer, role)
        handle = journal.session(key, writer=writer, role=role)
        if claim is not None:
            taken = turn_of(handle, claim, pid).take_inputs(limit)
        elif not handle.inputs():
            taken = Taken()  # a claim for nothing would be written down all the same
        else:
            with handle.claim() as turn:
                taken = turn.take_inputs(limit)
    if settings.json:
        told = [{"seq": entry.seq, "writer": entry.writer} for entry in taken]
        left = [{"input": each.id, "state": each.state} for each in taken.left]
        output.document("claim.inputs", session=key, entries=told, left=left)
        return
    for entry in taken:
        output.line(entry.seq)


for _command in (show, take, release, inputs):
    command.add_command(_command)


def _claims(journal: Journal, key: str) -> list[tuple[Holder, Ending]]:
    from journal.holder import claims, ending  # noqa: PLC0415 - with the rest of the library

    store = journal.store
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key)
        if chain is None:
            return []
        store.fresh(chain)
        found = claims(cursor, store, chain, _LISTED)
        return [(made, ending(cursor, store, chain, made.token)) for made in found]


def _cells(made: Holder, end: Ending) -> tuple[object, ...]:
    process = made.process
    where = "-" if process is None else f"pid {process.pid} on {process.host} ({process.program})"
    by = "" if end.by is None else f" by {end.by.writer}, claim {end.by.token}"
    # The reason is why it ended another; behind how it ended itself it would read as that.
    ended = "-" if made.supersedes is None else f"claim {made.supersedes}"
    ended += f": {made.reason}" if made.reason else ""
    return (
        made.token, output.when(made.at_us), made.writer, made.role, where, made.liveness,
        f"{end.outcome}{by}", ended,
    )  # fmt: skip


def _as_json(made: Holder, end: Ending) -> dict[str, Any]:
    return {
        "token": made.token,
        "writer": made.writer,
        "role": made.role,
        "run_id": made.run_id,
        "claimed_us": made.at_us,
        "reason": made.reason,
        "supersedes": made.supersedes,
        "liveness": made.liveness,
        "process": None if made.process is None else asdict(made.process),
        "outcome": end.outcome,
        "ended_us": end.at_us,
        "superseded_by": None if end.by is None else end.by.token,
    }

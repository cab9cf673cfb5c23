"""``journal redact``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import click

from journal.cli import entries, output
from journal.cli.failing import EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import deciding, known_key, opened
from journal.cli.options import Settings, json_option, operator_options, session_argument
from journal.commands import command_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from journal import Session
    from journal.erasing import Receipt


# What lists what is said to a session, and is for somebody to decide about before it can go.
_SETTLED_BY: Final = {
    "parked write": "parked list",
    "pending input": "submit --list",
    "row": "audit",
}


@make_command(
    "redact",
    "journal redact agent:main:main 2 --reason 'a password was pasted' -w alice --role operator",
    "journal redact agent:main:main 2 --reason 'a password was pasted' -w alice --role operator --apply",
)
@session_argument
@click.argument("seqs", nargs=-1, required=True, type=int, metavar="SEQ...")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded.")
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only shown.")
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
    is_applied: bool,
) -> int:
    """Erase lines for good, and record that it was done.

    Shows the lines; --apply erases their bytes in the session, in parked writes, taken
    inputs and verdicts, overwrites them in the session's file, and empties the write-ahead
    log. Everything still verifies. Prints a receipt for each copy: done, pending (a reader
    holds it; exit 3, run it again), kept, or out of reach.
    """
    from journal.redaction import check_why  # noqa: PLC0415 - with the rest of the library

    check_why(reason)
    with opened(settings) as journal:
        key = known_key(journal, session)
        role = deciding(journal, writer, role)
        handle = journal.session(key, writer=writer, role=role)
        if not is_applied:
            told = applying("redact", key, sorted(set(seqs)), reason, writer, role)
            _show(settings, handle, seqs, told)
            return 0
        receipts = handle.redact(seqs, reason=reason)
    return tell(settings, "redact", key, receipts)


def _show(settings: Settings, session: Session, seqs: Sequence[int], command: str) -> None:
    from journal.redaction import planned  # noqa: PLC0415 - with the rest of the library

    found = planned(session, seqs)
    before = sorted(set(seqs) - {entry.seq for entry in found})
    if settings.json:
        output.document(
            "redact", applied=False, session=session.key,
            entries=[entries.brief(entry) for entry in found], erased_before=before, receipts=[],
        )  # fmt: skip
        return
    output.table(entries.HEADERS, map(entries.cells, found), is_last_cut=True, spare=entries.SPARE)
    if before:
        output.say(f"Erased before: {', '.join(map(str, before))}")
    output.say(with_db(f"Nothing was changed. Try: {command}", settings))


def applying(  # noqa: PLR0913 - what a command is made of
    words: str, key: str, seqs: Sequence[int], reason: str, writer: str, role: str | None
) -> str:
    """Return the command that does what was only shown."""
    who = ["-w", writer, *(["--role", role] if role else [])]
    options = shlex.join(["--reason", reason, *who, "--apply"])
    return command_on(key, words, *seqs, options=options)


def tell(settings: Settings, what: str, key: str, receipts: list[Receipt]) -> int:
    """Print the receipts; return the exit code."""
    if settings.json:
        told = [receipt._asdict() for receipt in receipts]
        output.document(what, applied=True, session=key, receipts=told)
    else:
        output.table(("copy", "state", "detail"), receipts)
    waits = {receipt.copy for receipt in receipts if receipt.state == "kept"} & _SETTLED_BY.keys()
    for copy in sorted(waits):
        why = "Kept until it is settled"
        if copy == "row":
            why = "Nothing is erased where a row is not as it was sealed"
        output.say(with_db(f"{why}. Try: {command_on(key, _SETTLED_BY[copy])}", settings))
    return EXIT_FOUND if waits or any(receipt.state == "pending" for receipt in receipts) else 0

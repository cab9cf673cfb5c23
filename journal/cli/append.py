"""``journal append``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import check_writer, key_to_write, no_line, opened, say_new, turn_of
from journal.cli.options import (
    STDIN,
    Settings,
    check_pid,
    claim_option,
    json_option,
    pid_option,
    session_argument,
    writer_options,
)
from journal.errors import EntryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK: Final = 1024 * 1024


@make_command(
    "append",
    'journal append agent:main:main -w gateway --role run \'{"type":"message"}\'',
    'printf \'{"type":"custom"}\\n\' | journal append agent:main:main -w heartbeat --role heartbeat',
)
@session_argument
@click.argument("lines", nargs=-1, metavar="[LINE]...")
@writer_options
@click.option(
    "--request-id",
    metavar="ID",
    help="Write once: the same id with the same lines writes nothing again.",
)
@click.option("--run-id", metavar="ID", help="The run it is written in.")
@click.option("--on-behalf-of", metavar="NAME", help="For whom it is written.")
@click.option("--mirror", metavar="PATH", help="Keep this file equal to the session from now on.")
@claim_option
@pid_option
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - one for each option
    settings: Settings,
    session: str,
    lines: tuple[str, ...],
    writer: str,
    role: str | None,
    request_id: str | None,
    run_id: str | None,
    on_behalf_of: str | None,
    mirror: str | None,
    claim: int | None,
    pid: int | None,
) -> None:
    """Write lines to a session.

    Each LINE, or each line of the standard input (no LINE, or -), becomes an entry, its bytes kept
    exactly; together they are one write. Prints the seq of each once it is on disk. A
    SESSION that nobody wrote to is made, and that is said.
    """
    check_pid(claim, pid)
    with opened(settings) as journal:
        check_writer(journal, writer, role)
        key = key_to_write(journal, session)
        existed = journal.session(key).exists  # before a mirror makes it
        to = journal.session(
            key, writer=writer, role=role, run_id=run_id, on_behalf_of=on_behalf_of,
            mirror=mirror,
        )  # fmt: skip
        if claim is not None:
            to = turn_of(to, claim, pid)
        content = _input() if lines in ((), (STDIN,)) else [_argument(line) for line in lines]
        found = to.extend(content, request_id=request_id)
    if not existed:
        say_new(key)
    if settings.json:
        told = [{"seq": entry.seq, "epoch": entry.epoch} for entry in found]
        output.document("append", session=key, writer=writer, entries=told)
        return
    for entry in found:
        output.line(entry.seq)


def _argument(line: str) -> bytes:
    data = os.fsencode(line)
    # An argument is one line, so what stands at its end is no line end of a file.
    if b"\n" in data:
        raise EntryError(
            "a LINE has a line end inside",
            hint="give several LINEs, or pipe them in",
            code="line-end-inside",
        )
    return data


def _input() -> list[bytes]:
    if sys.stdin.isatty():
        output.say("Reading lines from the terminal; Ctrl-D ends.")
    found = list(_numbered(iter(lambda: sys.stdin.buffer.read(_CHUNK), b"")))
    if not found:
        raise no_line("append")
    return found


def _numbered(chunks: Iterable[bytes]) -> Iterator[bytes]:
    from journal.parts import joined, split  # noqa: PLC0415 - with the rest of the library

    lines = joined((line.body, line.terminator) for line in split(chunks))
    for number, line in enumerate(lines, start=1):
        if not line.strip(b"\r\n"):
            raise EntryError(
                f"line {number} is empty; nothing was written",
                hint="append lines with content",
                code="empty-line",
            )
        yield line

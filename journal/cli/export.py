"""``journal export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import known_key, opened
from journal.cli.options import Settings, json_option, session_argument
from journal.files import refuse_journals_own, write_new

if TYPE_CHECKING:
    from journal.export import Export


@make_command(
    "export",
    "journal export agent:main:main > session.jsonl",
    "journal export agent:main:main -o copy.jsonl",
)
@session_argument
@click.option("-o", "--output", "file", metavar="FILE", help="Write a new file instead of stdout.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@click.pass_obj
def command(settings: Settings, session: str, file: str | None, *, force: bool) -> int:
    """Give a session back as the file it is, byte for byte.

    A file that was migrated comes back with equal bytes, and what was written since after
    them. FILE appears whole or not at all. Rows that are not in the sealed chain are left
    out and said; then the exit code is 3.
    """
    if settings.json and file is None:
        raise click.UsageError(
            "--json tells of a FILE: name one with -o", click.get_current_context()
        )
    from journal.export import export  # noqa: PLC0415 - with the rest of the library

    with opened(settings) as journal:
        key = known_key(journal, session)
        content = export(journal, key)
        if file is None:
            output.raw(content)
        else:
            target = Path(file).absolute()
            refuse_journals_own(target, journal.path, force=force)
            digest = write_new(target, content, force=force)
    if file is not None:
        _tell(settings, target, content, digest)
    return _say_left_out(content)


def _tell(settings: Settings, target: Path, content: Export, digest: str) -> None:
    if settings.json:
        told = {"bytes": content.bytes, "lines": content.lines, "sha256": digest}
        left_out = [rows._asdict() for rows in content.stepped_over]
        output.document(
            "export", session=content.key, file=str(target), **told, stepped_over=left_out
        )
    else:
        output.say(
            f"Wrote {output.counted(content.lines, 'line')}, {content.bytes} bytes, to {target}."
        )


def _say_left_out(content: Export) -> int:
    for rows in content.stepped_over[:10]:
        seqs = f"seq {rows.first_seq}" + (
            "" if rows.last_seq == rows.first_seq else f" to {rows.last_seq}"
        )
        output.say(f"Warning: left out {seqs}: {rows.status}")
    if len(content.stepped_over) > 10:  # noqa: PLR2004 - as many as were said
        output.say(
            f"Warning: left out {len(content.stepped_over) - 10} more ranges: journal audit names them"
        )
    return 0 if content.is_complete else EXIT_FOUND

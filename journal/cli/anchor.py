"""``journal anchor``."""

from __future__ import annotations

from pathlib import Path

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import opened
from journal.cli.options import Settings, json_option
from journal.files import refuse_journals_own, write_new


@make_command(
    "anchor",
    "journal anchor -o heads.anchor",
    "journal audit --anchor heads.anchor",
)
@click.option("-o", "--output", "file", metavar="FILE", help="Write a new file instead of stdout.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--signing-key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Sign with this Ed25519 key, made if it is not there; else one that is derived from the journal's.",
)
@json_option
@click.pass_obj
def command(settings: Settings, file: str | None, signing_key: Path | None, *, force: bool) -> None:
    """Sign a statement of where every session ends now.

    Keep it where nobody who can write the journal can write: it alone shows, by journal
    audit --anchor FILE, that entries were cut off or an older copy of the journal was put
    back. The note holds keys of sessions, numbers and seals, and no text.
    """
    from journal.anchor import take  # noqa: PLC0415 - with the rest of the library

    if force and file is None:
        raise click.UsageError(
            "--force replaces FILE: name it with -o", click.get_current_context()
        )
    with opened(settings) as journal:
        target = None if file is None else Path(file).absolute()
        if target is not None:
            refuse_journals_own(target, journal.path, force=force)
        taken = take(journal, signing_key)
    if target is not None:
        write_new(target, [taken.text.encode()], force=force)
    statement = taken.statement
    if settings.json:
        output.document(
            "anchor",
            file=None if target is None else str(target),
            journal=statement.journal_id,
            taken_us=statement.at_us,
            verifier=str(taken.verifier),
            heads=[head._asdict() for head in statement.heads],
            note=taken.text,
        )
        return
    if target is None:
        output.raw([taken.text.encode()])
    output.say(
        f"Anchored {output.counted(len(statement.heads), 'chain')}; public key: {taken.verifier}"
    )

"""``journal key``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import path_of
from journal.cli.options import Settings, json_option
from journal.files import refuse_journals_own

if TYPE_CHECKING:
    from journal.custody import Custody


@make_group(
    "key",
    "journal key",
    "journal key export agent.key",
    invoke_without_command=True,
)
@json_option
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show where the journal's key is, and move it to another machine.

    Without a command it shows the key's file and its fingerprint, never the key.
    """
    if ctx.invoked_subcommand is None:
        from journal.custody import custody  # noqa: PLC0415 - with the rest of the library

        _tell(ctx.obj, "key", custody(path_of(ctx.obj)))


@make_command("export", "journal key export agent.key")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@click.pass_obj
def export(settings: Settings, file: Path, *, force: bool) -> None:
    """Write the key to a file that only you can read.

    Whoever has it can seal rows as any writer: keep it apart from the journal and its
    backups.
    """
    from journal.custody import export_key  # noqa: PLC0415

    path, target = path_of(settings), file.absolute()
    refuse_journals_own(target, path, force=force)
    known = export_key(path, target, force=force)
    _tell(settings, "key.export", known, file=target)
    if known.is_shared:
        output.say(
            f"Note: {known.path} may serve other journals too; whoever has the copy has theirs."
        )


@make_command("import", "journal key export agent.key", "journal key import agent.key")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def import_(settings: Settings, file: Path) -> None:
    """Put a key where this machine looks for it, if it is this journal's.

    Another key that is there already is never replaced.
    """
    from journal.custody import import_key  # noqa: PLC0415

    _tell(settings, "key.import", import_key(path_of(settings), file.absolute()))


def _tell(settings: Settings, what: str, known: Custody, *, file: Path | None = None) -> None:
    told = {"journal": known.journal_id, "key": str(known.path), "fingerprint": known.fingerprint}
    if file is not None:
        told["file"] = str(file)
    if settings.json:
        output.document(what, **told, shared=known.is_shared)
    else:
        output.facts(told.items())


command.add_command(export)
command.add_command(import_)

"""``journal key``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.failing import with_db
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import named_place, obey_strict, place_of
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
    """Show where the journal's key is, move it to another machine, or begin a new one.

    Without a command it shows the key's file and its fingerprint, never the key.
    """
    if ctx.invoked_subcommand is None:
        from journal.custody import custody  # noqa: PLC0415 - with the rest of the library

        _tell(ctx.obj, "key", custody(place_of(ctx.obj)))


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

    place, target = place_of(settings), file.absolute()
    refuse_journals_own(target, named_place(settings), force=force)
    known = export_key(place, target, force=force)
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

    known = import_key(place_of(settings), file.absolute())
    _tell(settings, "key.import", known, added=known.added)
    if known.added:
        secrets = output.counted(known.added, "secret")
        output.say(f"{known.path} has {secrets} that it had not.")
    else:
        output.say(f"Nothing to do: {known.path} had all that {file} has.")


@make_command("adopt", "journal key adopt", 'journal key adopt --reason "the old laptop was sold"')
@click.option("--reason", default="", help="Why, for the record.")
@click.option(
    "--without-key",
    is_flag=True,
    help="The old key is lost: adopt the journal as it stands.",
)
@json_option
@click.pass_obj
def adopt(settings: Settings, reason: str, *, without_key: bool) -> None:
    """Begin a new key era: from now on a new secret seals what is written.

    With the key at hand this is a rotation, for when somebody had it who should not any
    more: nothing new can be sealed with the old one. It stays in the key file, for it
    proves what was sealed with it.

    Where the key is lost, --without-key adopts the journal as it stands, if nothing in it
    looks wrong. Who wrote what is in it then can be proved no more; that it is not changed
    from now on, can.

    Whoever has the journal open must open it again. Export the new key afterwards: older
    copies of the key file open the journal no more.
    """
    from journal.adopting import adopt_key  # noqa: PLC0415 - with the rest of the library

    obey_strict(settings)
    known = adopt_key(place_of(settings), reason=reason, without_key=without_key)
    _tell(settings, "key.adopt", known)
    if without_key and known.era - 1 not in known.lost:
        output.say(
            "The old key was at hand, so this was a rotation: what was sealed with it can still be proved."
        )
    output.say(with_db("Keep a copy of the new key: journal key export FILE", settings))


def _tell(
    settings: Settings,
    what: str,
    known: Custody,
    *,
    file: Path | None = None,
    added: int | None = None,
) -> None:
    told: dict[str, Any] = {
        "journal": known.journal_id,
        "key": str(known.path),
        "fingerprint": known.fingerprint,
    }
    told["era"] = str(known.era)
    if known.lost:
        told["keys not at hand"] = "era " + ", ".join(map(str, known.lost))
    if file is not None:
        told["file"] = str(file)
    if settings.json:
        told.pop("keys not at hand", None)
        told |= {"era": known.era, "lost": list(known.lost), "shared": known.is_shared}
        told |= {} if added is None else {"added": added}
        output.document(what, **told)
    else:
        output.facts(told.items())


command.add_command(export)
command.add_command(import_)
command.add_command(adopt)

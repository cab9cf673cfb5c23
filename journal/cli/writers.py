"""``journal writers``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import opened
from journal.cli.options import Settings, json_option, role_option

if TYPE_CHECKING:
    from journal import Writer


@make_group(
    "writers",
    "journal writers",
    "journal writers add gateway --role run",
    invoke_without_command=True,
)
@json_option
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, add and revoke writers.

    Without a command it lists them.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.obj)


@make_command("list", "journal writers list")
@json_option
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the writers, the revoked ones too."""
    _list(settings)


@make_command("add", "journal writers add gateway --role run")
@click.argument("name")
@role_option("Fixed from now on", required=True)
@json_option
@click.pass_obj
def add(settings: Settings, name: str, role: str) -> None:
    """Declare a writer; doing it again changes nothing."""
    with opened(settings) as journal:
        writer = journal.declare(name, role)
    _told(settings, "add", writer)


@make_command("revoke", "journal writers revoke gateway --reason 'its host was lost'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
@click.pass_obj
def revoke(settings: Settings, name: str, reason: str) -> None:
    """Take a writer's right to write from now on; what it wrote stays as it is."""
    with opened(settings) as journal:
        writer = journal.revoke(name, reason)
    _told(settings, "revoke", writer)


for _command in (list_, add, revoke):
    command.add_command(_command)


def _list(settings: Settings) -> None:
    with opened(settings) as journal:
        known = journal.writers()
    if settings.json:
        output.document("writers", writers=[asdict(writer) for writer in known])
        return
    output.table(("writer", "role", "declared", "standing"), map(_cells, known))
    if not known:
        output.say("No writer has been declared yet.")


def _told(settings: Settings, what: str, writer: Writer) -> None:
    if settings.json:
        output.document(f"writers.{what}", writer=asdict(writer))
    else:
        output.table(("writer", "role", "declared", "standing"), [_cells(writer)])


def _cells(writer: Writer) -> tuple[str, ...]:
    standing = "may write"
    if writer.revoked_us is not None:
        standing = f"revoked {output.when(writer.revoked_us)}: {writer.reason or 'no reason given'}"
    return writer.name, writer.role, output.when(writer.declared_us), standing

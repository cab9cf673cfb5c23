"""``journal writers``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import check_writer, opened
from journal.cli.options import Settings, json_option, role_option

if TYPE_CHECKING:
    from journal import Journal, Writer


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
        process = _processes(journal, [writer])
    _told(settings, "add", writer, process)


@make_command("revoke", "journal writers revoke gateway --reason 'its host was lost'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--writer", "-w", "by", metavar="NAME", help="Who revokes it; it is recorded.")
@role_option("Needed at the revoking writer's first use", required=False)
@json_option
@click.pass_obj
def revoke(settings: Settings, name: str, reason: str, by: str | None, role: str | None) -> None:
    """Take a writer's right to write from now on; what it wrote stays as it is.

    What it tries to write later is refused, and not kept.
    """
    with opened(settings) as journal:
        if by is not None:
            check_writer(journal, by, role)
            known = {writer.name: writer.role for writer in journal.writers()}
            role = role or known[by]
        writer = journal.revoke(name, reason, by=by, role=role or "operator")
        process = _processes(journal, [writer])
    _told(settings, "revoke", writer, process)


for _command in (list_, add, revoke):
    command.add_command(_command)


def _list(settings: Settings) -> None:
    with opened(settings) as journal:
        known = journal.writers()
        processes = _processes(journal, known)
    if settings.json:
        output.document("writers", writers=[_as_json(writer, processes) for writer in known])
        return
    output.table(
        ("writer", "role", "declared", "standing"), (_cells(writer, processes) for writer in known)
    )
    if not known:
        output.say("No writer has been declared yet.")


def _processes(journal: Journal, known: list[Writer]) -> dict[int, str | None]:
    """Return which processes revoked these writers, by instance."""
    from journal.instance import process_of  # noqa: PLC0415 - with the rest of the library

    instances = {writer.revoked_instance for writer in known} - {None}
    with journal.store.snapshot() as cursor:
        return {each: process_of(cursor, journal.store.mac, each) for each in instances if each}


def _told(settings: Settings, what: str, writer: Writer, processes: dict[int, str | None]) -> None:
    if settings.json:
        output.document(f"writers.{what}", writer=_as_json(writer, processes))
    else:
        output.table(("writer", "role", "declared", "standing"), [_cells(writer, processes)])


def _as_json(writer: Writer, processes: dict[int, str | None]) -> dict[str, Any]:
    return asdict(writer) | {"revoked_process": processes.get(writer.revoked_instance or 0)}


def _cells(writer: Writer, processes: dict[int, str | None]) -> tuple[str, ...]:
    standing = "may write"
    if writer.revoked_us is not None:
        by = [writer.revoked_by, processes.get(writer.revoked_instance or 0)]
        who = f" by {', '.join(filter(None, by))}" if any(by) else ""
        reason = writer.reason or "no reason given"
        standing = f"revoked {output.when(writer.revoked_us)}{who}: {reason}"
    return writer.name, writer.role, output.when(writer.declared_us), standing

"""``journal mirror``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from journal.cli import output
from journal.cli.failing import EXIT_FAILED, EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.frame import group as make_group
from journal.cli.opening import mirrored_key, opened
from journal.cli.options import Settings, json_option, session_argument
from journal.commands import command_on
from journal.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal import Journal
    from journal.cli.edits import Change
    from journal.cli.mirrored import Report
    from journal.registry import MirrorFact

REFUSED: Final = "refused"
_ADD: Final = "journal mirror add agent:main:main main.jsonl"
_reason = click.option("--reason", required=True, metavar="TEXT", help="Why; it is recorded.")


@make_group("mirror", _ADD, "journal mirror status")
def command() -> None:
    """Keep a session's file alive, and see what reaches it from outside.

    A mirror is the flat file that other programs read, kept equal to the session byte
    for byte, on one inode. What such a program writes there becomes entries that nobody
    trusts: a fence names the file, the line and the byte. Nothing in it is ever lost.
    """


@make_command("add", _ADD, "journal append agent:main:main -w gateway '{}' && cat main.jsonl")
@session_argument
@click.argument("path")
@click.option(
    "--on-edit",
    type=click.Choice(["keep", "refuse"]),
    help="keep: the file stands as it is edited; refuse: stop writing to it until it is resumed. "
    "Without it a new mirror keeps, and one that is there stays as it was.",
)
@json_option
@click.pass_obj
def add(settings: Settings, session: str, path: str, on_edit: str | None) -> int:
    """Make a file the session's mirror, from now on.

    A file that is there already is compared, never written over: what it holds that
    the session does not becomes external entries. To bring a file in whose lines are
    to be trusted, migrate it first. Exits 3 if there were foreign lines.
    """
    with opened(settings) as journal:
        key = mirrored_key(journal, session)
        journal.mirrors.add(key, path, on_edit=on_edit)
        return _tell_reports(settings, "mirror.add", journal, frozenset([key]))


@make_command("list", _ADD, "journal mirror list")
@json_option
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the mirrors, without a look at their files."""
    from journal.cli.mirrored import key_of  # noqa: PLC0415 - with the library

    with opened(settings) as journal:
        writers = {writer.id: writer for writer in journal.writers()}
        found: list[dict[str, Any]] = [
            {
                "session": key_of(journal, fact),
                "path": fact.path,
                "host": fact.host,
                "on_edit": fact.on_edit,
                "writer": writers[fact.writer_id].name,
                "permitted": writers[fact.writer_id].permitted,
            }
            for fact in journal.mirrors.facts()
        ]
    if settings.json:
        output.document("mirror.list", mirrors=found)
        return
    headers = ("session", "file", "host", "on edit", "writer", "its entries")
    rows = [(*list(each.values())[:-1], _standing(each["permitted"])) for each in found]
    output.table(headers, rows)
    if not found:
        output.say("No session has a mirror.")


def _standing(permitted: bool) -> str:  # noqa: FBT001 - a cell's value
    return "permitted" if permitted else "foreign"


@make_command("status", _ADD, "journal mirror status")
@click.argument("session", required=False, metavar="[SESSION]")
@json_option
@click.pass_obj
def status(settings: Settings, session: str | None) -> int:
    """Read the files beside their sessions and say how each is doing; change nothing.

    In step, behind, foreign lines at the end, edited, shorter than it was, gone, refused,
    failing, or elsewhere (on another host, or by another user). Exits 3 if a file was changed from outside,
    or entries that came by one are not resolved.
    """
    with opened(settings) as journal:
        keys = None if session is None else frozenset([_with_mirror(journal, session)])
        return _tell_reports(settings, "mirror.status", journal, keys)


@make_command("sync", _ADD, "journal mirror sync")
@click.argument("session", required=False, metavar="[SESSION]")
@click.option("--recreate", is_flag=True, help="Make a file again that is gone.")
@json_option
@click.pass_obj
def sync(settings: Settings, session: str | None, *, recreate: bool) -> int:
    """Write what the files lack, and have it survive a power cut.

    Foreign lines become entries first, as before any write. Exits 1 if a file cannot be
    written, 3 if there is something to settle.
    """
    with opened(settings) as journal:
        keys = _keys(journal) if session is None else [_with_mirror(journal, session)]
        failed = [error for key in keys for error in _synced(journal, key, recreate=recreate)]
        code = _tell_reports(settings, "mirror.sync", journal, frozenset(keys))
    for error in failed:
        output.say(f"Error: {error}")
        if error.hint is not None:
            output.say(f"Try: {with_db(error.hint, settings)}")
    return EXIT_FAILED if failed else code


def _keys(journal: Journal) -> list[str]:
    from journal.cli.mirrored import key_of  # noqa: PLC0415 - with the library

    return [key_of(journal, fact) for fact in journal.mirrors.facts()]


def _synced(journal: Journal, key: str, *, recreate: bool) -> Iterable[JournalError]:
    """Bring one file up to its session; yield what went wrong, so that the others are tried too."""
    from journal.reconcile import GONE  # noqa: PLC0415 - with the library

    try:
        found = journal.mirrors.reconcile(journal.mirrors.of(key).session_id)
        if found is not None and found.what == GONE and recreate:
            journal.mirrors.recreate(key)
    except JournalError as error:
        yield error


@make_command(
    "reconcile",
    _ADD,
    "journal mirror reconcile agent:main:main",
    "journal mirror reconcile agent:main:main --apply",
)
@session_argument
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without this it is only shown.")
@json_option
@click.pass_obj
def reconcile(settings: Settings, session: str, *, is_applied: bool) -> int:
    """Show what was done to a session's file from outside; --apply takes it into the journal.

    A line the file has and the session has not is shown with +, one that the file has no
    more with -. Applied, the first become entries that nobody trusts, the second leave
    the session's file order; both stay in the journal. Exits 3 if there is any.
    """
    from journal.cli.edits import applied, as_json, changes, in_words, spans  # noqa: PLC0415
    from journal.cli.mirrored import here  # noqa: PLC0415

    with opened(settings) as journal:
        key = _with_mirror(journal, session)
        mirror = here(journal, key)
        plan = mirror.preview()
        found = changes(journal, mirror, plan)
        new = applied(journal, key) if is_applied else []
        (stopped,) = journal.mirrors.status([key])
    path, is_quiet = mirror.fact.path, plan.what in ("in step", "behind")
    if settings.json:
        output.document(
            "mirror.reconcile", **as_json(key, path, plan, found), applied=is_applied, new=new,
            is_refused=stopped.state == REFUSED,
        )  # fmt: skip
    else:
        _print(path, found)
        output.say(f"{path}: {in_words(plan)}")
        if is_applied and new:
            entries = output.counted(len(new), "new entry", "new entries")
            output.say(
                f"{entries} by nobody trusted: seq {spans(new)}. journal resolve settles them."
            )
        elif not is_quiet and not is_applied:
            again = command_on(key, "mirror reconcile", options="--apply")
            if plan.what == "gone":
                again = command_on(key, "mirror sync", options="--recreate")
            output.say(with_db(f"Nothing was changed. Try: {again}", settings))
        if stopped.state == REFUSED:
            output.say(with_db(f"It is not written to: {stopped.detail}.", settings))
    return 0 if is_quiet and stopped.state != REFUSED else EXIT_FOUND


def _print(path: str, found: list[Change]) -> None:
    from journal.cli.edits import HEADERS  # noqa: PLC0415

    if found:
        output.table(HEADERS, [change.cells(path) for change in found], is_last_cut=True)


@make_command(
    "permit", _ADD, "journal mirror permit agent:main:main --reason 'pi writes here, and may'"
)
@session_argument
@_reason
@click.option("--revoke", is_flag=True, help="Take the permission back, for old entries too.")
@json_option
@click.pass_obj
def permit(settings: Settings, session: str, reason: str, *, revoke: bool) -> None:
    """Say that the program at a session's file is known: its entries make no takeover.

    They are shown as permitted, never as trusted: anybody who can write to the file can
    write such entries.
    """
    with opened(settings) as journal:
        key = _with_mirror(journal, session)
        journal.mirrors.permit(key, permitted=not revoke, reason=reason)
    if settings.json:
        output.document("mirror.permit", session=key, permitted=not revoke, reason=reason)
    else:
        output.say(f"What came and comes by the file of {key} is {_standing(not revoke)}.")


@make_command("resume", f"{_ADD} --on-edit refuse", "journal mirror resume --help")
@session_argument
@_reason
@json_option
@click.pass_obj
def resume(settings: Settings, session: str, reason: str) -> int:
    """Write to a file again that was left alone because somebody edited it."""
    with opened(settings) as journal:
        key = _with_mirror(journal, session)
        journal.mirrors.resume(key, reason)
        journal.mirrors.reconcile(journal.mirrors.of(key).session_id)  # has it synced, too
        return _tell_reports(settings, "mirror.resume", journal, frozenset([key]))


@make_command("remove", _ADD, "journal mirror remove agent:main:main")
@session_argument
@json_option
@click.pass_obj
def remove(settings: Settings, session: str) -> None:
    """Stop keeping a session's file; the file stays as it is, where there is one."""
    with opened(settings) as journal:
        key = _with_mirror(journal, session)
        fact = journal.mirrors.remove(key)
        is_ours = journal.store.serves(fact)
    if settings.json:
        output.document("mirror.remove", session=key, path=fact.path)
    else:
        output.say(_let_go(fact, is_ours=is_ours))


for _command in (add, list_, status, sync, reconcile, permit, resume, remove):
    command.add_command(_command)


def _let_go(fact: MirrorFact, *, is_ours: bool) -> str:
    """Say what became of a file that is a mirror no more."""
    if not is_ours:
        return f"{fact.path} on {fact.host} is no mirror any more."
    if not os.path.lexists(fact.path):
        return f"{fact.path} is no mirror any more, and no file: it was gone already."
    return f"{fact.path} is a file like any other now."


def _with_mirror(journal: Journal, session: str) -> str:
    """Return the key of a session that has a mirror."""
    key = mirrored_key(journal, session)
    journal.mirrors.of(key)
    return key


def _tell_reports(
    settings: Settings, what: str, journal: Journal, keys: frozenset[str] | None
) -> int:
    """Tell how mirrors are doing; return the exit code that says whether there is anything to settle."""
    from journal.cli.mirrored import HEADERS, reports  # noqa: PLC0415 - with the library

    found = reports(journal, keys)
    if settings.json:
        output.document(what, mirrors=[each.as_json(settings) for each in found])
    else:
        output.table(HEADERS, [each.cells(settings) for each in found])
        if not found:
            output.say("No session has a mirror.")
        _say_unresolved(settings, found)
    return 0 if all(each.is_quiet for each in found) else EXIT_FOUND


def _say_unresolved(settings: Settings, found: Iterable[Report]) -> None:
    for each in found:
        if each.unresolved:
            entries = output.counted(each.unresolved, "unresolved entry", "unresolved entries")
            who = command_on(each.session, "who")
            output.say(with_db(f"{each.session}: {entries} by {each.writer}. Try: {who}", settings))

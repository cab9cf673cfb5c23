"""Turns whatever a command ends with into words, a next step and an exit code."""

from __future__ import annotations

import errno
import os
import re
import shlex
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from journal.cli import output
from journal.dialects.address import is_url, parsed
from journal.errors import JournalError, RefusedError, SessionTakeover

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.cli.options import Settings
    from journal.explanation import Explanation

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_FOUND: Final = 3
EXIT_INTERRUPTED: Final = 130


def guarded(call: Callable[[], object], settings: Settings) -> int:
    """Call it; return the exit code. No error comes out of here."""
    try:
        with output.warnings_as_words():
            output.check_stdout()
            result = call()
        output.finish()
    except Exception as error:  # noqa: BLE001 - nobody should meet a traceback
        code = _told(error, settings)
    except KeyboardInterrupt:
        code = _interrupted()
    else:
        code = result if isinstance(result, int) else 0
    return code


def _told(error: Exception, settings: Settings) -> int:
    if settings.debug:
        output.say_lines("".join(traceback.format_exception(error)).rstrip().splitlines())
    if isinstance(error, click.Abort):
        return _interrupted()
    try:
        code = _tell(error, settings)
        output.finish()
    except KeyboardInterrupt:
        code = _interrupted()
    except OSError:
        return EXIT_FAILED  # nor can a document be
    return code


def _interrupted() -> int:
    output.say("Interrupted.")
    return EXIT_INTERRUPTED


def _tell(error: Exception, settings: Settings) -> int:
    if isinstance(error, JournalError):
        return _tell_journal_error(error, settings)
    if isinstance(error, click.UsageError):
        return _tell_usage(error, settings)
    if isinstance(error, click.ClickException):
        return _say(settings, error.format_message(), None, "failed", error.exit_code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        hint = None
        with suppress(OSError):  # it may be lacking, but never keep the error from being said
            hint = _way_on(error)
        return _say(settings, message, hint, "system", EXIT_FAILED)
    message = f"this is a bug in session-journal: {type(error).__name__}: {error}"
    hint = "run it again with --debug, and report what it prints"
    return _say(settings, message, hint, "bug", EXIT_FAILED)


def _way_on(error: OSError) -> str | None:
    """Say what may help where the system would not have a file."""
    if not isinstance(error.filename, str):
        return None
    there = Path(error.filename).absolute().parent
    while not os.path.isdir(there):  # noqa: PTH112 - Path's raises below a directory that is closed
        there = there.parent
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"name a file in a directory that is there; {there} is the nearest"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"name a file elsewhere, or see who may write: ls -ld {shlex.quote(str(there))}"
    return None


def _tell_journal_error(error: JournalError, settings: Settings) -> int:
    ids = _ids(error)
    code = _say(settings, str(error), error.hint, error.code, error.exit_code, **ids)
    if "parked" in ids:
        output.say(f"Nothing is lost: it was parked as {ids['parked']}.")
    return code


def _ids(error: JournalError) -> dict[str, str]:
    """Return what a refusal was kept as: ``parked``, the write, and ``why``, the evidence."""
    if not isinstance(error, RefusedError | SessionTakeover):
        return {}
    parked = error.parked if isinstance(error.parked, str | None) else error.parked.id
    ids = {"parked": parked, "why": error.why}
    return {name: each for name, each in ids.items() if each is not None}


def _tell_usage(error: click.UsageError, settings: Settings) -> int:
    if error.ctx is not None:
        output.say_lines(error.ctx.get_usage().splitlines())
    hint = None if error.ctx is None else f"{error.ctx.command_path} --help"
    # click lists choices one a line
    message = " ".join(error.format_message().split())
    return _say(settings, message, hint, "usage", EXIT_USAGE)


def _say(
    settings: Settings, message: str, hint: str | None, code: str, exit_code: int, **ids: str
) -> int:
    hint = None if hint is None else with_db(hint, settings)
    output.say(f"Error: {message}")
    if hint is not None:
        output.say(f"Try: {hint}")
    if settings.json:
        output.document("error", code=code, message=message, hint=hint, exit_code=exit_code, **ids)
    return exit_code


def db_shown(db: str) -> str:
    """Return how a journal was named, without a password: it is printed."""
    if "://" not in db.removeprefix("sqlite:///"):
        return db
    try:
        return parsed(db).shown if is_url(db) else "URL"
    except JournalError:
        return "URL"


def with_db(hint: str, settings: Settings, *, commands: int = 0) -> str:
    """Return the hint with the journal's name in its commands, where a copied one would miss it.

    With ``commands`` in the first so many alone: a session may be called as a command is.
    """
    if not settings.db_is_named:
        return hint
    name = f"-d {shlex.quote(db_shown(settings.db))} "
    return _COMMAND.sub(lambda at: at[0] if at["word"] else f"{at[0]}{name}", hint, count=commands)


def named(found: Explanation, settings: Settings) -> Explanation:
    """Return an explanation with the journal's name in its commands; its evidence stays as it is."""
    acts = (act._replace(command=with_db(act.command, settings, commands=1)) for act in found.acts)
    return replace(found, acts=tuple(acts))


# A quoted word is passed by: a file or session may be called as a command is.
_COMMAND: Final = re.compile(
    r"""(?P<word>(?<!\S)'[^']*'(?:"'"'[^']*')*(?!\S))|"""
    r"\bjournal (?=(?:anchor|append|audit|backup|claim|doctor|export|fence|forget|init|key|log|migrate|mirror|parked|redact|resolve|restore|sessions"
    r"|show|status|submit|upgrade|watch|who|why|writers)\b(?! --help))"
)

"""The options every command knows, and all that is read from the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from journal.model import ROLES

if TYPE_CHECKING:
    from collections.abc import Callable

DB_VARIABLE: Final = "JOURNAL_DB"
DB_DEFAULT: Final = "journal.db"
OPERATOR: Final = "operator"  # who decides at a keyboard, where nobody says a name
NO_REASON: Final = "no reason given"
STDIN: Final = "-"  # where a line is named: the standard input, as elsewhere
F = TypeVar("F", bound="Callable[..., Any]")


@dataclass
class Settings:
    """What was asked for on the way to a command."""

    db: str = DB_DEFAULT
    db_is_named: bool = False  # on the command line, so that a hint must name it again
    json: bool = False
    debug: bool = False
    strict: bool = False


def settings_of(ctx: click.Context) -> Settings:
    """Return the settings of this run."""
    return ctx.find_root().ensure_object(Settings)


def colour_is_wanted() -> bool:
    """Whether nobody asked for plain output (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def db_option(*, outermost: bool) -> click.Option:
    """Return ``-d``; the outermost one alone reads the variable, or it would win over a given one."""
    return click.Option(
        ["-d", "--db"],
        metavar="PATH|URL",
        envvar=DB_VARIABLE if outermost else None,
        default=DB_DEFAULT if outermost else None,
        expose_value=False,
        is_eager=True,
        callback=_take_db,
        help=f"The journal: a file, or sqlite:///PATH; else ${DB_VARIABLE}, else {DB_DEFAULT}.",
    )


def _take_db(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        source = ctx.get_parameter_source(param.name or "")
        name_db(ctx, value, named=source is click.core.ParameterSource.COMMANDLINE)


def name_db(ctx: click.Context, path: str, *, named: bool = True) -> None:
    """Make this the journal of the run."""
    settings = settings_of(ctx)
    settings.db, settings.db_is_named = path, named


def debug_option() -> click.Option:
    """Return ``--debug``, which shows where an error came from."""
    return click.Option(
        ["--debug"], is_flag=True, hidden=True, expose_value=False, callback=_take_debug
    )


def _take_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    settings_of(ctx).debug |= value


def strict_option() -> click.Option:
    """Return ``--strict``, which takes no second-best SQLite."""
    return click.Option(
        ["--strict"],
        is_flag=True,
        expose_value=False,
        callback=_take_strict,
        help="Write nothing by a SQLite library with the WAL-reset bug.",
    )


def _take_strict(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    settings_of(ctx).strict |= value


def json_option(command: F) -> F:
    """Add ``--json``; the command finds it in its settings."""
    return click.option(
        "--json",
        is_flag=True,
        is_eager=True,  # so that it is known when another option is refused
        expose_value=False,
        callback=_take_json,
        help="Print one JSON document.",
    )(command)


def _take_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    settings_of(ctx).json |= value


def writer_options(command: F) -> F:
    """Add ``--writer`` and ``--role``."""
    writer = click.option("--writer", "-w", required=True, metavar="NAME", help="Who writes.")
    return writer(role_option("Needed at the writer's first use", required=False)(command))


def operator_options(command: F) -> F:
    """Add ``--writer`` and ``--role`` to what people decide; without them it is an operator called so."""
    writer = click.option(
        "--writer", "-w", default=OPERATOR, show_default=True, metavar="NAME", help="Who decides."
    )
    return writer(role_option("Needed at the first use of another name", required=False)(command))


def claim_option(command: F) -> F:
    """Add ``--claim``."""
    return click.option(
        "--claim",
        type=click.IntRange(min=1),
        metavar="TOKEN",
        help="Write in the turn that 'journal claim take' gave this token for.",
    )(command)


def check_pid(claim: int | None, pid: int | None) -> None:
    """Refuse a process that nothing is asked of: a claim goes with one, a write beside it does not.

    Raises:
        click.UsageError: ``--pid`` without ``--claim``.

    """
    if pid is not None and claim is None:
        raise click.UsageError("--pid goes with --claim", click.get_current_context())


def pid_option(command: F) -> F:
    """Add ``--pid``."""
    return click.option(
        "--pid",
        type=click.IntRange(min=1),
        metavar="PID",
        help="The process that the claim goes with; else the one that called this.",
    )(command)


def role_option(why: str, *, required: bool) -> Callable[[F], F]:
    """Return what adds ``--role``."""
    return click.option(
        "--role",
        required=required,
        type=click.Choice(ROLES),
        metavar="ROLE",
        help=f"{why}: {', '.join(ROLES)}.",
    )


session_argument = click.argument("session", metavar="SESSION")

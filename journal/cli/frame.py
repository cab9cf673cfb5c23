"""How commands are found, described and ended."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from journal import __version__
from journal.cli import failing, output
from journal.cli.options import Settings, db_option, debug_option, settings_of, strict_option

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class _Named(click.Group):
    """A command of several; of one that is not there no option is read, so this looks for ``--json``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; where there is none, the words about it are a document if asked for."""
        if self.get_command(ctx, args[0]) is None:
            settings_of(ctx).json |= "--json" in args
        return super().resolve_command(ctx, args)


class _WithExample(click.Command):
    """A command whose help ends with an example, and that takes the shared options."""

    def __init__(self, *args: Any, example: Sequence[str], **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self.example = tuple(example)
        self.params += [db_option(outermost=False), debug_option()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; where one is none no other is taken, so this looks for ``--json``."""
        options = args[: args.index("--")] if "--" in args else [*args]
        try:
            return super().parse_args(ctx, args)
        except click.UsageError:
            takes_it = isinstance(self, click.Group) or any("--json" in p.opts for p in self.params)
            settings_of(ctx).json |= takes_it and "--json" in options
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        _write_example(formatter, self.example)


_HELP: Final = {"help_option_names": ["-h", "--help"]}
_WHOLE: Final = 1000  # longer than any sentence


class Command(_WithExample):
    """One command."""


class Group(_WithExample, _Named):
    """A command that has commands of its own."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list with the whole of each first sentence, wrapped and never cut off."""
        names = self.list_commands(ctx)
        known = [(name, self.get_command(ctx, name)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, each.get_short_help_str(_WHOLE))
                    for name, each in known
                    if each is not None
                ]
            )


def _write_example(formatter: click.HelpFormatter, example: Sequence[str]) -> None:
    # Not the formatter's own text: it would wrap a line that is to be copied.
    formatter.write_paragraph()
    formatter.write("Example:\n")
    for line in example:
        formatter.write(f"  $ {line}\n")


def command(name: str, *example: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:  # noqa: ANN401
    """Make a function a command; its help ends with the example."""
    return click.command(name, cls=Command, example=example, **kwargs)


def group(name: str, *example: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Group]:  # noqa: ANN401
    """Make a function a command with commands of its own; without one of them it is wrong usage."""
    # Some versions of click call the whole help an error then, others end well with it.
    kwargs = {"no_args_is_help": False, **kwargs}
    return click.group(name, cls=Group, example=example, **kwargs)


class Commands(_Named):
    """All commands, each imported when it is asked for."""

    def __init__(self, name: str, summaries: Mapping[str, str]) -> None:
        super().__init__(
            name,
            invoke_without_command=True,
            callback=_bare,
            context_settings=_HELP,
            help="Keep AI-agent sessions in a journal: who wrote what, and may the run go on?",
            params=[
                db_option(outermost=True),
                strict_option(),
                debug_option(),
                _version_option(),
            ],
        )
        self.summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of use."""
        return list(self.summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, imported now."""
        if cmd_name not in self.summaries:
            return None
        found = import_module(f"journal.cli.{cmd_name}").command
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list without importing what is listed."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the example."""
        _write_example(formatter, ("journal demo",))

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401
        """Run a command; turn whatever it ends with into words and an exit code."""
        settings = Settings()
        extra |= {"standalone_mode": False, "obj": settings}
        output.prepare()
        code = failing.guarded(lambda: super(Commands, self).main(*args, **extra), settings)
        sys.exit(code)


def _bare(**_: Any) -> None:  # noqa: ANN401
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Show the version and leave.",
    )


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value and not ctx.resilient_parsing:
        click.echo(f"session-journal {__version__}")
        ctx.exit()

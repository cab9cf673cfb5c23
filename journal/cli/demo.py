"""``journal demo``."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.failing import EXIT_FAILED
from journal.cli.frame import command as make_command
from journal.cli.options import Settings, json_option
from journal.errors import JournalError, NotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.demo import Step, Story


@make_command("demo", "journal demo", "journal demo --keep played")
@click.argument("framework", required=False, type=click.Choice(["openai", "adk"]))
@click.option("--store", metavar="PATH", help="Play on a copy of this store; it is only read.")
@click.option("--keep", metavar="DIR", help="Leave journal, key and store in this new directory.")
@json_option
@click.pass_obj
def command(settings: Settings, framework: str | None, store: str | None, keep: str | None) -> int:
    """Play a takeover from beginning to end, in a directory of its own.

    A real store is copied and migrated. A gateway, a heartbeat and a cron job write from
    processes of their own, a thief inserts a row by plain SQL, and the journal says who
    wrote what. Each claim is checked; exits 1 if one does not hold.

    With the name of a framework that is installed, openai or adk: its own session store
    and ours, each put through what two processes do to each other on one session.
    """
    if settings.db_is_named:
        raise click.UsageError(
            "the demo has a journal of its own: leave --db out", click.get_current_context()
        )
    if framework is not None:
        return _compare(settings, framework, is_plain=store is None and keep is None)
    with _place(keep) as directory:
        story = _play(settings, directory, None if store is None else Path(store).absolute())
    if settings.json:
        output.document("demo", **_as_json(story), kept=keep and str(directory))
    else:
        _conclude(story)
    if keep is not None:
        _say_what_was_kept(directory, story)
    return 0 if story.holds else EXIT_FAILED


def _compare(settings: Settings, framework: str, *, is_plain: bool) -> int:
    from journal.demo.frameworks import FRAMEWORKS, compare  # noqa: PLC0415 - it is tests, in a way
    from journal.testing.two_writers.scoring import table  # noqa: PLC0415

    if not is_plain:
        raise click.UsageError("--store and --keep are of the demo without a framework")
    theirs, ours = compare(framework)
    if settings.json:
        scores = [score.as_json() for score in (theirs, ours)]
        output.document("demo-framework", framework=framework, holds=ours.is_full, scores=scores)
        return 0 if ours.is_full else EXIT_FAILED
    output.line(f"Two processes write to one session of {FRAMEWORKS[framework].title}.")
    output.line()
    for words in table((theirs, ours)):
        output.line(words)
    return 0 if ours.is_full else EXIT_FAILED


@contextmanager
def _place(keep: str | None) -> Iterator[Path]:
    """Give an empty directory that only its owner may enter."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="journal-demo-") as name:
            yield Path(name).resolve()
        return
    directory = Path(keep).absolute()
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        message = f"{directory} is there already; it was left as it is"
        raise StorageError(message, hint="name a new directory", code="file-exists") from None
    yield directory.resolve()


def _play(settings: Settings, directory: Path, store: Path | None) -> Story:
    from journal.demo import play  # noqa: PLC0415 - with the rest of the library

    try:
        return play(directory, store, _nothing if settings.json else _tell)
    except NotFoundError:
        raise
    except JournalError as error:
        # Whatever its own exit code means elsewhere, here the story did not go as told.
        raise JournalError(f"the demo stopped: {error}", hint=error.hint, code="demo") from error


def _nothing(_: Step) -> None:
    pass


def _tell(step: Step) -> None:
    output.line(f"{step.number}. {step.title}")
    for words in step.words:
        output.line(f"   {words}")
    for claim in step.claims:
        output.line(f"   {'ok' if claim.holds else 'NOT SO'}: {claim.text}")
    output.line()
    output.finish()


def _conclude(story: Story) -> None:
    broken = [claim.text for claim in story.claims if not claim.holds]
    if broken:
        output.say(f"{len(broken)} of {len(story.claims)} claims do not hold: {'; '.join(broken)}")
    else:
        output.line(f"All {len(story.claims)} claims hold.")


def _say_what_was_kept(directory: Path, story: Story) -> None:
    database, key_file = directory / "journal.db", directory / "key" / "journal.key"
    output.say("Kept. Look around:")
    command = (
        f"JOURNAL_KEY_FILE={shlex.quote(str(key_file))} journal -d {shlex.quote(str(database))}"
    )
    for words in (f"log {shlex.quote(story.session)}", "status", "audit"):
        output.say(f"  {command} {words}")


def _as_json(story: Story) -> dict[str, Any]:
    steps = [
        {
            "number": step.number,
            "title": step.title,
            "words": list(step.words),
            "claims": [claim._asdict() for claim in step.claims],
        }
        for step in story.steps
    ]
    return {
        "session": story.session,
        "holds": story.holds,
        "facts": story.facts,
        "attribution": [share._asdict() for share in story.shares],
        "steps": steps,
    }

"""``journal init``."""

from __future__ import annotations

import click

from journal.cli import output
from journal.cli.failing import named
from journal.cli.frame import command as make_command
from journal.cli.opening import KEEP_ITS_KEY, exists, key_of, opened
from journal.cli.options import Settings, json_option, name_db, settings_of


@make_command("init", "journal init", "journal init archive.db")
@click.argument("path", required=False)
@json_option
@click.pass_context
def command(ctx: click.Context, path: str | None) -> None:
    """Make a new journal and its key.

    The key is a file of its own outside the journal: $JOURNAL_KEY_FILE, else one in your
    data directory. Without it nothing can be written or verified, so keep a copy of it.
    A journal that is there already is left as it is.
    """
    if path is not None:
        _check_one(settings_of(ctx), path)
        name_db(ctx, path)
    _init(settings_of(ctx))


def _check_one(settings: Settings, path: str) -> None:
    """Refuse two names for one journal: whichever was made, the other would be missed."""
    if settings.db_is_named and settings.db != path:
        raise click.UsageError(f"-d names {named(settings.db)}, and PATH {named(path)}: name one")


def _init(settings: Settings) -> None:
    existed = exists(settings)
    with opened(settings, create=True) as journal:
        told = {"path": journal.where, "id": journal.id, "key": key_of(journal)}
    if settings.json:
        output.document("init", created=not existed, **told)
        return
    output.facts([("journal", told["path"]), ("id", told["id"]), ("key", told["key"])])
    if existed:
        output.say("It was there already and was left as it is.")
    else:
        output.say(f"Made a new journal. {KEEP_ITS_KEY}")

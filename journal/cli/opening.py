"""Opens the journal a command works on, and finds in it what was named."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from journal.dialects.address import is_url, parsed
from journal.errors import NotFoundError, NotTrusted
from journal.model import check_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Verdict
    from journal.cli.options import Settings


def opened(
    settings: Settings,
    *,
    create: bool = False,
    on_takeover: Callable[[Verdict], None] | None = None,
) -> Journal:
    """Return the journal of this run, for a ``with`` block.

    Raises:
        NotFoundError: there is none, and it is not to be made.

    """
    # Imported when a command has something to do: SQLAlchemy costs 200 ms.
    from journal.journal import Journal as Opened  # noqa: PLC0415

    return Opened(settings.db, create=create, on_takeover=on_takeover, strict=settings.strict)


def file_of(settings: Settings) -> Path:
    """Return the journal's file, whether there is one or not."""
    from journal.journal import path_of as named  # noqa: PLC0415

    return named(settings.db)


def path_of(settings: Settings) -> Path:
    """Return the journal's file without opening it.

    Raises:
        NotFoundError: there is no journal.
        SchemaError: it is another program's database, or of a newer version.
        StorageError: it is no database.

    """
    from journal.schema import version_of  # noqa: PLC0415

    path = file_of(settings)
    if version_of(str(path)) is None:
        raise NotFoundError(
            f"there is no journal at {path}", hint="journal init", code="no-journal"
        )
    return path


def place_of(settings: Settings) -> str:
    """Return the journal's file, or its URL, without opening it.

    Raises:
        NotFoundError: there is no journal.
        SchemaError: it is another program's, or of a newer version.

    """
    if not is_url(settings.db):
        return str(path_of(settings))
    if not exists(settings):
        raise NotFoundError(
            f"there is no journal at {shown(settings)}", hint="journal init", code="no-journal"
        )
    return settings.db


def exists(settings: Settings) -> bool:
    """Whether there is a journal."""
    from journal.schema import version_of, version_on_server  # noqa: PLC0415

    if is_url(settings.db):
        return version_on_server(parsed(settings.db)) is not None
    return version_of(str(file_of(settings))) is not None


def shown(settings: Settings) -> str:
    """Return how the journal was named, without a password."""
    return parsed(settings.db).shown if is_url(settings.db) else settings.db


def known_key(journal: Journal, text: str) -> str:
    """Return the key of the session that is called so: by its key, or by an alias.

    Raises:
        EntryError: no session can have such a key.
        NotFoundError: no session is called so.

    """
    if journal.session(text).exists:
        return text
    from journal.migration import resolve_key  # noqa: PLC0415 - needed for aliases alone

    return resolve_key(journal, text)


def mirrored_key(journal: Journal, text: str) -> str:
    """Return the key of the session that is called so, and leave its file alone.

    Any other way to open a session first brings its mirror up to the journal.

    Raises:
        NotFoundError: no session is called so.

    """
    from journal.migration import resolve_key  # noqa: PLC0415 - with the rest of the library

    return resolve_key(journal, text)


def check_writer(journal: Journal, writer: str, role: str | None) -> None:
    """Refuse a name that nobody declared and that no role makes a writer now.

    Raises:
        NotTrusted: unknown, and no role was given.

    """
    check_name(writer)
    if role is None and writer not in {known.name for known in journal.writers()}:
        raise NotTrusted(
            f"nobody declared the writer {writer!r}",
            hint=f"journal writers add {shlex.quote(writer)} --role ROLE, or give its --role here",
            code="unknown-writer",
        )

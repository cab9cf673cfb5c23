"""Opens the journal a command works on, and finds in it what was named."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from journal.errors import NotFoundError, NotTrusted
from journal.model import ROLES, check_key, check_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Session, Verdict
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

    return Opened(settings.db, create=create, on_takeover=on_takeover)


def path_of(settings: Settings) -> Path:
    """Return the journal's file without opening it.

    Raises:
        NotFoundError: there is no journal.
        SchemaError: it is another program's database, or of a newer version.
        StorageError: it is no database.

    """
    from journal.journal import path_of as file_of  # noqa: PLC0415
    from journal.schema import version_of  # noqa: PLC0415

    path = file_of(settings.db)
    if version_of(str(path)) is None:
        raise NotFoundError(f"there is no journal at {path}", hint="journal init", code="no-journal")
    return path


def known_key(journal: Journal, text: str) -> str:
    """Return the key of the session that was named by its key or an alias.

    Raises:
        EntryError: no session can have such a key.
        NotFoundError: no session is named so.

    """
    from journal.migration import resolve_key  # noqa: PLC0415

    try:
        return resolve_key(journal, check_key(text))
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no session {text!r} in {journal.path}",
            hint="journal sessions",
            code="no-session",
        ) from error


def handle(journal: Journal, key: str, writer: str, role: str | None, **identity: str | None) -> Session:
    """Return a writer's handle; a role makes a new name a writer, without one it must be known.

    Raises:
        NotTrusted: unknown, revoked, or declared with another role.

    """
    check_name(writer)
    known = {item.name: item for item in journal.writers()}.get(writer)
    if known is None and role is None:
        raise NotTrusted(
            f"nobody declared the writer {writer!r}",
            hint=f"journal writers add {shlex.quote(writer)} --role ROLE, "
            f"or give its role here: {', '.join(ROLES)}",
            code="unknown-writer",
        )
    return journal.session(key, writer=writer, role=role, **identity)

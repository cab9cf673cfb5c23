"""Opens the journal a command works on, and finds in it what was named."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journal.cli import output
from journal.cli.options import OPERATOR
from journal.commands import command_on
from journal.dialects.address import is_url, parsed
from journal.errors import EntryError, JournalError, NotFoundError, NotTrusted
from journal.model import REGISTRY_KEY, check_key, check_name

KEEP_ITS_KEY: Final = "Keep a copy of its key: without it nothing can be written or verified."

_PIPED: Final = {"append": "lines", "submit": "one"}

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal import Journal, Session, Turn, Verdict
    from journal.cli.options import Settings
    from journal.model import Process


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


def exists(settings: Settings) -> bool:
    """Whether there is a journal, of whatever version.

    Raises:
        SchemaError: it is another program's database, or of a newer version.
        StorageError: it is no database.

    """
    from journal.schema import version_of, version_on_server  # noqa: PLC0415

    if is_url(settings.db):
        return version_on_server(parsed(settings.db)) is not None
    return version_of(str(file_of(settings))) is not None


def opened_or_made(settings: Settings) -> Journal:
    """Return the journal of this run, made where there is none, which is said with where its key is."""
    existed = exists(settings)
    journal = opened(settings, create=True)
    if not existed:
        output.say(f"Made a new journal, {journal.where}; its key is {key_of(journal)}.")
        output.say(KEEP_ITS_KEY)
    return journal


def key_of(journal: Journal) -> str:
    """Return where the journal's key is."""
    from journal import keys  # noqa: PLC0415 - with the rest of the library

    return str(keys.key_path(journal.id))


def file_of(settings: Settings) -> Path:
    """Return the journal's file, whether there is one or not."""
    from journal.journal import path_of as named  # noqa: PLC0415

    return named(settings.db)


def named_place(settings: Settings) -> Path:
    """Return the path that tells which files are the journal's own, however it was named."""
    return Path(shown(settings)).absolute() if is_url(settings.db) else file_of(settings)


def obey_strict(settings: Settings) -> None:
    """Refuse to write by a library that --strict rules out; opening a journal does so by itself.

    Raises:
        UnsafeSQLite: it has the WAL-reset bug.

    """
    from journal.engine import check_strictly  # noqa: PLC0415 - with the rest of the library

    if settings.strict:
        check_strictly()


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


def shown(settings: Settings) -> str:
    """Return how the journal was named, without a password."""
    return parsed(settings.db).shown if is_url(settings.db) else settings.db


def known_key(journal: Journal, text: str) -> str:
    """Return the key of the session that is called so: by its key, or by an alias.

    Raises:
        EntryError: no session can have such a key.
        NotFoundError: no session is called so.

    """
    handle = journal.session(text)
    if handle.exists:
        return handle.key
    from journal.migration import resolve_key  # noqa: PLC0415 - needed for aliases alone

    return resolve_key(journal, text)


def key_to_look_at(journal: Journal, text: str) -> str:
    """Return what :func:`known_key` does, and the registry's own key, whose rows are only looked at.

    Raises:
        As for :func:`known_key`.

    """
    return text if text == REGISTRY_KEY else known_key(journal, text)


def key_to_write(journal: Journal, text: str) -> str:
    """Return the key of the session that a write to this name goes to; the name itself if it is new.

    Says which session it is, where that has another key.

    Raises:
        EntryError: no session can have such a key.
        NotFoundError: more than one session is called so, or only an unsealed record calls one so.

    """
    named = journal.session(text)
    if named.key != text:
        output.say(f"{text!r} is a name of the session {named.key!r}.")
    elif not named.exists:
        from journal.migration import check_sealed  # noqa: PLC0415 - needed for new names alone

        check_sealed(journal, text)  # no new session hides what a record calls so
    return named.key


def say_new(key: str) -> None:
    """Say that nobody wrote to a session before: its name may be misspelt."""
    output.say(f"{key!r} is a new session.")


@contextmanager
def hinting(path: Path, word: str) -> Iterator[None]:
    """Have the hint of an error about this file name the argument that it came by, and not ``--db``."""
    try:
        yield
    except JournalError as error:
        if error.hint is not None and str(error).startswith(str(path)):
            hint = error.hint.replace("name another file with --db", f"name another {word}")
            error.hint = f"name a {word} in it" if path.is_dir() else hint
        raise


def no_line(verb: str) -> EntryError:
    """Return what a command raises that was given no line and an empty standard input."""
    return EntryError(
        f"there is no line to {verb}",
        hint=f"name a LINE, or pipe {_PIPED[verb]} in",
        code="no-lines",
    )


def calling_process(pid: int | None) -> Process:
    """Return the process that called this command, or the one of this number.

    Raises:
        EntryError: it is not running.

    """
    from journal.process import other_process  # noqa: PLC0415 - with the rest of the library

    found = other_process(pid or os.getppid())
    if found is None:
        raise EntryError(
            f"there is no process {pid or os.getppid()}",
            hint="name a running one with --pid",
            code="no-process",
        )
    return found


def turn_of(handle: Session, token: int, pid: int | None) -> Turn:
    """Return the turn that the calling process holds by this token.

    Raises:
        RefusedError: the claim is another writer's, or goes with another process.
        NotFoundError: there is no such claim.
        EntryError: there is no such process.

    """
    from journal.claim import resume  # noqa: PLC0415 - with the rest of the library

    return resume(handle, token, process=calling_process(pid))


def mirrored_key(journal: Journal, text: str) -> str:
    """Return the key of the session that is called so, and leave its file alone.

    Any other way to open a session first brings its mirror up to the journal.

    Raises:
        EntryError: no session can have such a key.
        NotFoundError: no session is called so.

    """
    from journal.migration import resolve_key  # noqa: PLC0415 - with the rest of the library

    return resolve_key(journal, check_key(text))


def deciding(journal: Journal, writer: str, role: str | None) -> str | None:
    """Return the role of whoever decides: that of a writer who is known, or as it was given.

    Raises:
        NotTrusted: as for :func:`check_writer`; but the one that the option stands for is made an operator.

    """
    if role is None and writer == OPERATOR and not _is_known(journal, writer):
        return OPERATOR
    check_writer(journal, writer, role)
    return role


def _is_known(journal: Journal, writer: str) -> bool:
    return writer in {known.name for known in journal.writers()}


def check_writer(journal: Journal, writer: str, role: str | None) -> None:
    """Refuse a name that nobody declared and that no role makes a writer now.

    Raises:
        NotTrusted: unknown, and no role was given.

    """
    check_name(writer)
    if role is None and not _is_known(journal, writer):
        raise NotTrusted(
            f"nobody declared the writer {writer!r}",
            hint=f"{command_on(writer, 'writers add', options='--role ROLE')}, or give its --role here",
            code="unknown-writer",
        )

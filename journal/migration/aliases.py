"""Find a session by what people call it: its key, an index's key, a file's name or path."""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import LargeBinary, cast, select

from journal.aliases import SUFFIX, ambiguous, listed
from journal.errors import NotFoundError
from journal.migration.receipts import path_text
from journal.statements import compiled
from journal.tables import migrated_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.journal import Journal
    from journal.store import Store

_CLOSE: Final = 3
# Comparing with each of a hundred thousand names would take minutes.
_COMPARED: Final = 5000

# What a text may be, the closest first; each level gives (session_id, what it was called).
Called = tuple[int, str]


def resolve_key(journal: Journal, text: str) -> str:
    """Return the key of the session that is called so.

    A session's own key wins; then the key by which an index named its file
    (``agent:main:main``), the file's path, its name, and its name without the
    ending. Aliases are a convenience kept with the migrations' records: what
    they name is shown under its own key.

    Raises:
        NotFoundError: nothing is called so, or more than one session is; the
            hint lists what is meant, or close to it.

    """
    store = journal.store
    with store.snapshot() as cursor:
        if store.registry.chain_of(text) is not None or store.find_chain(cursor, text) is not None:
            return text
    rows = list(_known(store)) if text else []
    for level in _levels(text, rows):
        keys = sorted(set(level))
        if len(keys) == 1:
            return keys[0]
        if keys:
            raise ambiguous(text, keys)
    raise _unknown(text, store, rows)


class _Names(tuple[str, str, str, str]):
    """A session's key, and the alias, path and name of a file that became it."""

    __slots__ = ()


def _known(store: Store) -> Iterator[_Names]:
    with store.snapshot() as cursor:
        rows = cursor.execute(_select()).fetchall()
        keys = dict(store.registry.session_keys)
    for session_id, *texts in rows:
        if session_id in keys:
            yield _Names((keys[session_id], *map(_text, texts)))


@cache
def _select() -> str:
    columns = (migrated_files.c.alias, migrated_files.c.path, migrated_files.c.name)
    return compiled(
        select(migrated_files.c.session_id, *(cast(each, LargeBinary) for each in columns))
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "backslashreplace")


def _levels(text: str, rows: list[_Names]) -> Iterator[list[str]]:
    whole = path_text(os.path.realpath(text)) if "\0" not in text else text
    yield [key for key, alias, _, _ in rows if alias == text]
    yield [key for key, _, path, _ in rows if path in (text, whole)]
    yield [key for key, _, _, name in rows if name == text]
    yield [key for key, _, _, name in rows if name.partition(SUFFIX)[0] == text]


def _unknown(text: str, store: Store, rows: list[_Names]) -> NotFoundError:
    known = dict.fromkeys(store.registry.session_ids)
    known.update(
        dict.fromkeys(name for _, alias, _, name in rows for name in (alias, name) if name)
    )
    close = _close_to(text, known)
    hint = f"is it one of these: {listed(close)}" if close else "journal sessions"
    return NotFoundError(f"there is no session {text!r}", hint=hint, code="no-session")


def _close_to(text: str, known: Iterable[str]) -> list[str]:
    some = list(known)
    begun = [each for each in some if text and each.startswith(text)]
    return begun or get_close_matches(text, some[:_COMPARED], n=_CLOSE, cutoff=0.6)

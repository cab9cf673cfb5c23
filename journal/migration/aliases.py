"""Find a session by what people call it: its key, an index's key, a file's name or path."""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import cache
from shlex import quote
from typing import TYPE_CHECKING, Final

from sqlalchemy import LargeBinary, cast, select

from journal.aliases import SUFFIX, ambiguous, listed
from journal.errors import NotFoundError, no_session
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
    ending, as the registry has them sealed. What they name is shown under its own key.

    Raises:
        NotFoundError: nothing is called so, or more than one session is, or only a record
            that nobody sealed calls one so; the hint lists what is meant, or close to it.

    """
    store = journal.store
    with store.snapshot() as cursor:
        if store.registry.chain_of(text) is not None or store.find_chain(cursor, text) is not None:
            return text
        keys = store.registry.called(text, _whole(text)) if text else []
    if len(keys) > 1:
        raise ambiguous(text, keys)
    if not keys:
        check_sealed(journal, text)
        raise _unknown(text, store)
    return keys[0]


def check_sealed(journal: Journal, text: str) -> None:
    """Refuse a name by which only a record that nobody sealed calls a session.

    A journal of an earlier version has such, and plain SQL can put them there.

    Raises:
        NotFoundError: ``unsealed-name``, or ``ambiguous``; the hint says what is meant.

    """
    rows = list(_known(journal.store)) if text else []
    keys = next((found for level in _levels(text, rows) if (found := sorted(set(level)))), [])
    if len(keys) > 1:
        raise ambiguous(text, keys)
    if keys:
        raise NotFoundError(
            f"there is no session {text!r}, and a record that nobody sealed calls {keys[0]!r} so",
            hint=f"name {quote(keys[0])} itself, or migrate its file again: that seals its names",
            code="unsealed-name",
        )


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


def _whole(text: str) -> str:
    return path_text(os.path.realpath(text)) if "\0" not in text else text


def _levels(text: str, rows: list[_Names]) -> Iterator[list[str]]:
    whole = _whole(text)
    yield [key for key, alias, _, _ in rows if alias == text]
    yield [key for key, _, path, _ in rows if path in (text, whole)]
    yield [key for key, _, _, name in rows if name == text]
    yield [key for key, _, _, name in rows if name.partition(SUFFIX)[0] == text]


def _unknown(text: str, store: Store) -> NotFoundError:
    with store.snapshot():
        known = [*store.registry.session_ids, *store.registry.aliases.words()]
    close = _close_to(text, dict.fromkeys(known))
    hint = f"is it one of these: {listed(close)}" if close else "journal sessions"
    return no_session(text, hint=hint)


def _close_to(text: str, known: Iterable[str]) -> list[str]:
    some = list(known)
    begun = [each for each in some if text and each.startswith(text)]
    return begun or get_close_matches(text, some[:_COMPARED], n=_CLOSE, cutoff=0.6)

"""Bring one file in that is about to become its session's mirror: lines first, so that none is foreign.

The file goes on where it is and is only read. Unlike a migration of a store, one
file is one session here: a copy with the same bytes, or the same header, gets a
session of its own, for both files will go on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from journal.errors import JournalError, MirrorError
from journal.formats import by_name
from journal.migration import naming, receipts
from journal.migration.choosing import Choice, choose_only
from journal.migration.holding import NOTHING
from journal.migration.packed import is_packed
from journal.migration.planned import PlannedFile
from journal.migration.reading import JoinedError, Reading
from journal.migration.receipts import path_text
from journal.migration.source import Source, UnfitError
from journal.migration.survey import count_raw, databases, head_of
from journal.migration.transfer import Attempts, Job, MovedError, Transfer
from journal.migration.versions import bring_in

if TYPE_CHECKING:
    from journal.journal import Journal
    from journal.migration.outcome import FileResult
    from journal.store import Store

ATTEMPTS: Final = 8
# The file is the session's beginning, or the other way round.
_SAME: Final = ("equal", "beginning", "more")


def adopt(journal: Journal, path: str, *, key: str | None = None) -> str:
    """Make each line of a file an entry of its session; return the session's key.

    A file that is not there, or empty, adds nothing; then the key is only chosen.
    Of a file that is a session's mirror the session is returned. What is in the
    session already is found by its bytes, so it can be done again, and by several
    processes at once.

    Args:
        journal: where to.
        path: the file.
        key: the session; without one it is named by the file's header, else by
            its name.

    Raises:
        MirrorError: it is no file of lines, or the session holds something else.

    """
    store = journal.store
    if is_packed(path):
        raise _unfit(path, "it is compressed; journal migrate reads it")
    if not os.path.lexists(path):
        return _free_key(store, path, key)
    attempts = Attempts(ATTEMPTS)
    while attempts.left:
        try:
            with Source(path, databases([store.path])) as source:
                return _adopted(store, path, source, key)
        except MovedError as error:  # its program, or another process of ours, wrote meanwhile
            attempts.failed(error)
        except UnfitError as error:
            raise _unfit(path, str(error)) from error
    raise _unfit(path, "it changes while it is read: try again when its program rests")


def _adopted(store: Store, path: str, source: Source, key: str | None) -> str:
    with store.snapshot():
        served = _key_of_mirror(store, path)
    if served is not None or not source.size:
        return _free_key(store, path, key)
    each = _described(path, source)
    keys = (key,) if key else naming.candidates(each.base, each.name, path_text(path))
    choice = _chosen(store, each, keys, source)
    choice.check_erased()
    if choice.holding.is_done and not choice.was_cut(source.size):
        return choice.key
    number = receipts.begin_run(store, [path])
    job = Job(number, lambda _: None)
    try:
        _bring_in(store, job, each, source, choice)
    except BaseException:
        with suppress(JournalError):  # the first error is the one to tell
            receipts.end_run(store, number, "interrupted", 0, job.entries, job.bytes)
        raise
    return choice.key


def _bring_in(store: Store, job: Job, each: PlannedFile, source: Source, choice: Choice) -> None:
    result: FileResult | None = None
    if not choice.was_cut(source.size):
        # Its program may have ended the line that it had left open; then nothing was written yet.
        with suppress(JoinedError):
            result = Transfer(store, job, each, Reading(source), choice).copy()
    if result is None:
        result = bring_in(store, job, each, source, choice.key)
    receipts.end_run(store, job.run, "done", 1, result.new_entries, result.new_bytes)


def _described(path: str, source: Source) -> PlannedFile:
    try:
        head = head_of(source, None, named=True)
    except UnfitError:
        head = None  # of no known program: lines like any others
    head = head or head_of(source, by_name("plain"), named=True)
    if head is None:  # pragma: no cover - a named file of lines is of the plain format at least
        raise UnfitError("unsupported", "it is no file of lines")
    source.rewind()
    raw_lines = count_raw(source)
    size, lines, digest = source.facts
    return PlannedFile(
        path,
        head.format,
        head.file_class,
        size,
        lines,
        raw_lines,
        digest,
        head.header_id,
        head.stem,
    )


def _chosen(store: Store, each: PlannedFile, keys: tuple[str, ...], source: Source) -> Choice:
    """Return the first of these sessions that nobody has, or that holds the file's own lines."""
    for key in keys:
        with store.snapshot() as cursor:
            chain = store.find_chain(cursor, key)
            mirror = None if chain is None else store.registry.mirrors.get(chain.session_id)
            served = _key_of_mirror(store, each.path)
        if served is not None:
            raise MovedError  # another process has adopted it meanwhile
        if chain is None:
            return Choice(key, NOTHING)
        choice = choose_only(store, each, key, source)
        if choice.holding.relation in _SAME and mirror is None:
            return choice
    raise UnfitError("key-taken", f"{', '.join(keys)}: other lines, or another file, are there")


def _free_key(store: Store, path: str, key: str | None) -> str:
    """Return the key that was asked for; else that of the mirror at a path, or one that nobody has."""
    if key is not None:
        return key
    name = os.path.basename(path)  # noqa: PTH119 - text in, text out
    stem = name.rpartition(".")[0] or name
    *others, last = naming.candidates(stem, name, path_text(path))
    # In one state of the database: another process may adopt the path at any moment.
    with store.snapshot() as cursor:
        served = _key_of_mirror(store, path)
        free = (each for each in others if store.find_chain(cursor, each) is None)
        return next(free, last) if served is None else served


def _key_of_mirror(store: Store, path: str) -> str | None:
    """Return the session whose mirror this file is on this host, whoever serves it."""
    for fact in store.registry.mirrors.values():
        if fact.path == path and store.has_file(fact):
            return store.registry.session_keys[fact.session_id]
    return None


def _unfit(path: str, why: str) -> MirrorError:
    return MirrorError(
        f"{path} cannot become a session's file: {why}",
        hint="name another file, or the session with key=",
        code="mirror-unfit",
    )

"""Copies a whole journal, between files and servers.

The copy is a journal at the very end. Until then it is marked as what it is: nobody
takes it for a journal, and whoever copies again goes on with it.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from journal import schema
from journal.audit import audit, keyring
from journal.audit.auditor import sighted
from journal.audit.source import opened, path_of
from journal.copying.catching import catch_up_with
from journal.copying.fitting import Fitting
from journal.copying.outcome import Copied, Unserved
from journal.copying.parting import seals_away
from journal.copying.standing import check_apart, check_equal, heads, is_whole, later, shown
from journal.copying.target import target_at
from journal.copying.transfer import fill, settle
from journal.copymark import CopyMark
from journal.dialects.address import is_url
from journal.engine import connect
from journal.errors import JournalError, KeyMissing, StorageError
from journal.explanation import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from journal.audit.sighting import Sighting
    from journal.copying.outcome import Later
    from journal.copying.target import Target

    Progress = Callable[[int, str], AbstractContextManager[Callable[[str, int], None]]]
    Auditing = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]


@contextmanager
def _silent(total: int, what: str) -> Iterator[Callable[[str, int], None]]:
    del total, what
    yield lambda _name, _size: None


@contextmanager
def _unseen(what: str) -> Iterator[None]:
    del what
    yield None


class _Asked(NamedTuple):
    """What is to be copied where, and how it is told."""

    source: str
    target: str
    key_file: str | os.PathLike[str] | None
    catches_up: bool
    progress: Progress
    auditing: Auditing


def copy(  # noqa: PLR0913 - how it is told, and what with
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    key_file: str | os.PathLike[str] | None = None,
    catch_up: bool = False,
    progress: Progress = _silent,
    auditing: Auditing = _unseen,
) -> Copied:
    """Copy one state of a journal, row by row, while others write to it; compare and audit the copy.

    Killed at any moment and run again, it goes on with what was begun. Run again
    after the end, it compares; with ``catch_up`` it brings what came since. A copy
    that anybody has written to is left as it is, and every other journal.

    Args:
        source: the journal: a file, or the URL of a server.
        target: where its copy is to be; nothing may be there but a copy that was begun.
        key_file: the file with the secret; else as for opening a journal. Without the
            key every row is copied and compared, and no seal is verified.
        catch_up: bring a copy that was finished before up to what the journal is
            now, in one transaction, if nothing was written to it.
        progress: called with a number of bytes and a word; a block that gives what is
            called with a name and the bytes that were done.
        auditing: the same for an audit: called with a word; its block gives what an
            audit's ``progress`` is.

    Raises:
        NotFoundError: there is no journal.
        SchemaError: another program's data is there, or it is another version's.
        StorageError: another journal is there; or it could not be read or written.
            What was copied stays, and is gone on with.
        KeyMissing: the copy is a file, the journal has mirrors, and without its key
            it cannot be sealed that the copy has none.

    """
    asked = _Asked(path_of(str(source)), _place(target), key_file, catch_up, progress, auditing)
    with _hinting("DST"):
        made = target_at(asked.target)
    check_apart(asked.source, asked.target)
    with _hinting("SRC"), opened(asked.source) as first:
        journal_id, running = keyring.find(first, key_file).journal_id, first.running()
    with _hinting("DST"):
        is_made = is_whole(asked.target, journal_id, key_file, running)
    if is_made and not asked.catches_up:
        check_equal(asked.source, asked.target)
    return _told(asked, made, journal_id, is_made=is_made)


@contextmanager
def _hinting(word: str) -> Iterator[None]:
    """Have a hint name what is to be named here: there is no ``--db``, and no journal to be made."""
    try:
        yield
    except JournalError as error:
        hint = str(error.hint or "").replace("name another file with --db", f"name another {word}")
        hint = hint.replace("--db ", "")
        error.hint = f"name another {word}" if error.code == "no-journal" else hint or None
        raise


def _place(target: str | os.PathLike[str]) -> str:
    from journal.journal import path_of as file_of  # noqa: PLC0415

    return str(target) if is_url(target) else str(file_of(target))


def _told(asked: _Asked, made: Target, journal_id: str | None, *, is_made: bool) -> Copied:
    """Audit, copy if it is not made, and audit the copy."""
    was_begun, mended = False, 0
    with ExitStack() as stack:
        stack.enter_context(closing(made))
        with asked.auditing("Auditing") as bar:
            look = sighted(asked.source, key_file=asked.key_file, mirrors=False, progress=bar)
            seen = stack.enter_context(look)  # and its snapshot stays
        fitting = Fitting(seen.source, into_server=made.is_server)
        ends = heads(seen.source)
        unmirrored = _unmirrored(seen, made)
        if is_made and asked.catches_up:
            mended = _caught_up(asked, made, seen, fitting, unmirrored)
        elif not is_made:
            made.begin(CopyMark(shown(asked.source), journal_id), schema.run_migrations)
            was_begun, mended = _transferred(asked, made, seen, fitting)
            made.finish(unmirrored, asked.key_file)
    with asked.auditing("Auditing the copy") as bar:
        after = audit(asked.target, key_file=asked.key_file, mirrors=False, progress=bar)
    if not made.is_server:
        connect(asked.target).close()  # takes the side files away that reading has made
    before = seen.report
    return Copied(
        shown(asked.source),
        made.shown,
        journal_id,
        before.completeness["rows"],
        sum(head.bytes for head in before.heads),
        was_begun,
        is_made,
        mended,
        tuple(fitting.told.values()),
        fitting.count,
        tuple(_mirrors(seen)),
        _meanwhile(asked.source, ends),
        before,
        after,
    )


def _caught_up(
    asked: _Asked, made: Target, seen: Sighting, fitting: Fitting, unmirrored: list[int]
) -> int:
    with opened(asked.target) as there:
        has_sealed = seals_away(seen.source, there)
    if unmirrored or has_sealed:
        raise StorageError(
            f"{made.shown} seals that it serves none of the journal's mirrors, and so is not what the journal was",
            hint="take it away, and copy anew",
            code="cannot-catch-up",
        )
    total = sum(head.bytes for head in seen.report.heads)
    with asked.progress(total, "Catching up") as told:
        return catch_up_with(made, fitting, lambda size: told("", size))


def _transferred(asked: _Asked, made: Target, seen: Sighting, fitting: Fitting) -> tuple[bool, int]:
    total = sum(head.bytes for head in seen.report.heads)
    with asked.progress(total, "Copying") as told:
        was_begun = fill(made, fitting, lambda size: told("", size))
    with asked.progress(total, "Comparing") as told:
        mended = settle(made, fitting, lambda size: told("", size))
    return was_begun, mended


def _mirrors(seen: Sighting) -> Iterator[Unserved]:
    for number, mirror in sorted(seen.known.mirrors.items()):
        if number not in seen.known.removed:
            session = seen.known.sessions.get(mirror.session_id)
            key = f"session {mirror.session_id}" if session is None else session.key
            yield Unserved(key, mirror.host, mirror.path)


def _unmirrored(seen: Sighting, made: Target) -> list[int]:
    """Return the sessions of which a copy has to seal that it serves no mirror."""
    if made.is_server:
        return []
    known = seen.known
    # One that was registered on a server says itself where it is served.
    found = {
        each.session_id
        for at, each in known.mirrors.items()
        if at not in known.removed and not known.places.get(at)
    }
    if found and seen.keyring.key is None:
        raise KeyMissing(
            f"{made.shown} would write to the files that mirror {counted(len(found), 'session')} of the journal: "
            "without its key it cannot be sealed that the copy does not",
            hint="bring the key (JOURNAL_KEY_FILE), then do the same again",
            code="key-missing",
        )
    return sorted(found)


def _meanwhile(source: str, ends: dict[int, int]) -> Later | None:
    try:
        with opened(source) as now:
            return later(ends, heads(now))
    except JournalError:
        return None  # it was copied all the same

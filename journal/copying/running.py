"""Copies a whole journal, between files and servers.

The copy is a journal at the very end. Until then it is marked as what it is: nobody
takes it for a journal, and whoever copies again goes on with it.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from journal import schema, tables
from journal.audit import audit, keyring
from journal.audit.auditor import sighted
from journal.audit.source import opened, path_of
from journal.copying.comparing import differences
from journal.copying.fitting import Fitting
from journal.copying.outcome import Copied, Later, Unserved
from journal.copying.target import target_at
from journal.copying.transfer import fill, number_of, others, settle
from journal.copymark import CopyMark
from journal.dialects.address import is_url, parsed
from journal.engine import connect
from journal.errors import JournalError, KeyMissing, StorageError
from journal.model import REGISTRY_ID

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from journal.audit.sighting import Sighting
    from journal.audit.source import Source
    from journal.copying.target import Target, Values

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
    progress: Progress
    auditing: Auditing


def copy(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    key_file: str | os.PathLike[str] | None = None,
    progress: Progress = _silent,
    auditing: Auditing = _unseen,
) -> Copied:
    """Copy one state of a journal, row by row, while others write to it; compare and audit the copy.

    Killed at any moment and run again, it goes on with what was begun. Run again
    after the end, it compares. A journal that is there is never written to.

    Args:
        source: the journal: a file, or the URL of a server.
        target: where its copy is to be; nothing may be there but a copy that was begun.
        key_file: the file with the secret; else as for opening a journal. Without the
            key every row is copied and compared, and no seal is verified.
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
    asked = _Asked(path_of(str(source)), _place(target), key_file, progress, auditing)
    made = target_at(asked.target)
    _check_apart(asked.source, asked.target)
    with opened(asked.source) as first:
        journal_id = keyring.find(first, key_file).journal_id
    if _is_there(asked, journal_id):
        _check_equal(asked)
        return _told(asked, made, journal_id, is_made=True)
    return _told(asked, made, journal_id, is_made=False)


def _place(target: str | os.PathLike[str]) -> str:
    from journal.journal import path_of as file_of  # noqa: PLC0415

    return str(target) if is_url(target) else str(file_of(target))


def _shown(place: str) -> str:
    return parsed(place).shown if is_url(place) else place


def _check_apart(source: str, target: str) -> None:
    is_same = source == target
    if not is_url(source) and not is_url(target):
        is_same |= Path(source).resolve() == Path(target).resolve()
    elif is_url(source) and is_url(target):
        is_same |= parsed(source) == parsed(target)
    if is_same:
        raise StorageError(
            f"{_shown(source)} is the journal itself", hint="name another DST", code="own-file"
        )


def _is_there(asked: _Asked, journal_id: str | None) -> bool:
    """Whether the whole copy is there; False if it was begun, or nothing is there.

    Raises:
        StorageError: another journal is there, or a copy of one.
        SchemaError: another program's data is there.

    """
    where = _shown(asked.target)
    if is_url(asked.target):
        mark = schema.unfinished_on_server(parsed(asked.target))
    else:
        mark = schema.unfinished_at(asked.target)
    if mark is not None:
        if mark.journal_id != journal_id:
            raise _another(where, f"a copy of another journal ({mark.source}) was begun")
        return False
    if is_url(asked.target):
        version = schema.version_on_server(parsed(asked.target))
    else:
        version = schema.version_of(asked.target)
    if version is None:
        return False
    with opened(asked.target) as there:
        found = keyring.find(there, asked.key_file).journal_id
    if found != journal_id:
        raise _another(where, "another journal is there")
    return True


def _another(where: str, what: str) -> StorageError:
    return StorageError(
        f"{where}: {what}; it was left as it is", hint="name another DST", code="another-journal"
    )


def _check_equal(asked: _Asked) -> None:
    """Refuse a finished copy that is not what the journal is now.

    Raises:
        StorageError: it is not, and in what.

    """
    with opened(asked.source) as source, opened(asked.target) as there:
        fitting = Fitting(source, into_server=is_url(asked.target))
        rows = differences(fitting.rows(tables.entries), there.ordered(tables.entries), number_of)
        is_odd = any(not _is_own(each.found) for each in rows)
        if not is_odd:
            beside = others(fitting, there.ordered)
            is_odd = any(table not in _OWN for table, _, _ in beside)
        if not is_odd:
            return
    raise StorageError(
        f"{_shown(asked.target)} is this journal already, and not as it is in {_shown(asked.source)} now: "
        f"{_apart(asked)}; it was left as it is",
        hint="name another DST, or take that one away if it is not needed",
        code="copy-is-there",
    )


# What a copy in a file writes of itself, in the moment it becomes a journal.
_OWN = ("sessions", "mirrors", "instances")
_UNMIRROR = b'{"control":"unmirror"'


def _is_own(row: Values | None) -> bool:
    return row is not None and row[1] == REGISTRY_ID and bytes(row[-1] or b"").startswith(_UNMIRROR)


def _heads(source: Source) -> dict[int, int]:
    return {row[0]: row[2] for row in source.ordered(tables.sessions)}


def _apart(asked: _Asked) -> str:
    with opened(asked.source) as source, opened(asked.target) as there:
        ours, theirs = _heads(source), _heads(there)
    newer = _later(theirs, ours)
    own = _later(ours, theirs)
    told = [
        f"{count.entries} entries in {count.sessions} sessions are only in {where}"
        for count, where in ((newer, _shown(asked.source)), (own, _shown(asked.target)))
        if count.entries
    ]
    return " and ".join(told) or "the rows differ"


def _later(old: dict[int, int], new: dict[int, int]) -> Later:
    grown = [head - old.get(number, 0) for number, head in new.items()]
    return Later(sum(count for count in grown if count > 0), sum(count > 0 for count in grown))


def _told(asked: _Asked, made: Target, journal_id: str | None, *, is_made: bool) -> Copied:
    """Audit, copy if it is not made, and audit the copy."""
    was_begun, mended = False, 0
    with ExitStack() as stack:
        stack.enter_context(closing(made))
        with asked.auditing("Auditing") as bar:
            look = sighted(asked.source, key_file=asked.key_file, mirrors=False, progress=bar)
            seen = stack.enter_context(look)  # and its snapshot stays
        fitting = Fitting(seen.source, into_server=made.is_server)
        heads = _heads(seen.source)
        if not is_made:
            unmirrored = _unmirrored(seen, made)
            made.begin(CopyMark(_shown(asked.source), journal_id), schema.run_migrations)
            was_begun, mended = _transferred(asked, made, seen, fitting)
            made.finish(unmirrored, asked.key_file)
    with asked.auditing("Auditing the copy") as bar:
        after = audit(asked.target, key_file=asked.key_file, mirrors=False, progress=bar)
    if not made.is_server:
        connect(asked.target).close()  # takes the side files away that reading has made
    before = seen.report
    return Copied(
        _shown(asked.source),
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
        _meanwhile(asked.source, heads),
        before,
        after,
    )


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
    found = {each.session_id for at, each in known.mirrors.items() if at not in known.removed}
    if found and seen.keyring.key is None:
        raise KeyMissing(
            f"{made.shown} would write to the files that mirror {len(found)} sessions of the journal: "
            "without its key it cannot be sealed that the copy does not",
            hint="bring the key (JOURNAL_KEY_FILE), then do the same again",
            code="key-missing",
        )
    return sorted(found)


def _meanwhile(source: str, heads: dict[int, int]) -> Later | None:
    try:
        with opened(source) as now:
            return _later(heads, _heads(now))
    except JournalError:
        return None  # it was copied all the same

"""What stands where a copy is to be: nothing, one that was begun, a whole one, or something else."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from journal import schema, tables
from journal.audit import keyring
from journal.audit.source import opened
from journal.copying.comparing import differences
from journal.copying.fitting import Fitting
from journal.copying.outcome import Later
from journal.copying.transfer import number_of, others
from journal.dialects.address import is_url, parsed
from journal.errors import StorageError
from journal.explanation import counted
from journal.model import REGISTRY_ID

if TYPE_CHECKING:
    import os

    from journal.audit.source import Source
    from journal.copying.comparing import Difference

# What a copy in a file seals in the moment it becomes a journal, and where that shows.
_UNMIRROR: Final = b'{"control":"unmirror"'
_OWN: Final = ("sessions", "mirrors", "instances")


def shown(place: str) -> str:
    """Return how a place is called, without a password."""
    return parsed(place).shown if is_url(place) else place


def check_apart(source: str, target: str) -> None:
    """Refuse to copy a journal onto itself.

    Raises:
        StorageError: both are one place.

    """
    is_same = source == target
    if not is_url(source) and not is_url(target):
        is_same |= Path(source).resolve() == Path(target).resolve()
    elif is_url(source) and is_url(target):
        is_same |= parsed(source) == parsed(target)
    if is_same:
        raise StorageError(
            f"{shown(source)} is the journal itself", hint="name another DST", code="own-file"
        )


def is_whole(target: str, journal_id: str | None, key_file: str | os.PathLike[str] | None) -> bool:
    """Whether the whole copy is there; False if it was begun, or nothing is there.

    Raises:
        StorageError: another journal is there, or a copy of one.
        SchemaError: another program's data is there.

    """
    address = parsed(target) if is_url(target) else None
    mark = schema.unfinished_on_server(address) if address else schema.unfinished_at(target)
    if mark is not None:
        if mark.journal_id != journal_id:
            raise _another(target, f"a copy of another journal ({mark.source}) was begun")
        return False
    version = schema.version_on_server(address) if address else schema.version_of(target)
    if version is None:
        return False
    with opened(target) as there:
        if keyring.find(there, key_file).journal_id != journal_id:
            raise _another(target, "another journal is there")
    return True


def _another(target: str, what: str) -> StorageError:
    return StorageError(
        f"{shown(target)}: {what}; it was left as it is",
        hint="name another DST",
        code="another-journal",
    )


def check_equal(source: str, target: str) -> None:
    """Refuse a finished copy that is not what the journal is now.

    Raises:
        StorageError: it is not, and in what.

    """
    with opened(source) as one, opened(target) as other:
        if _are_equal(Fitting(one, into_server=is_url(target)), other):
            return
        newer, own = apart(one, other)
    told = [
        f"{counted(count.entries, 'entry', 'entries')} in {counted(count.sessions, 'session')} only in {shown(where)}"
        for count, where in ((newer, source), (own, target))
        if count.entries
    ]
    hint = "name another DST, or take that one away if it is not needed"
    if not own.entries:
        hint = f"journal copy {quote(shown(source))} {quote(shown(target))} --catch-up"
    raise StorageError(
        f"{shown(target)} is this journal already, and not as it is in {shown(source)} now: "
        f"{' and '.join(told) or 'the rows differ'}; it was left as it is",
        hint=hint,
        code="copy-is-there",
    )


def _are_equal(fitting: Fitting, there: Source) -> bool:
    has_own = False
    rows = differences(fitting.rows(tables.entries), there.ordered(tables.entries), number_of)
    for each in rows:
        if not is_own(each):
            return False
        has_own = True
    beside = others(fitting, there.ordered)
    return not any(not has_own or table not in _OWN for table, _, _ in beside)


def is_own(each: Difference) -> bool:
    """Whether an entry is what a copy in a file sealed of itself: that it serves no mirror."""
    row = each.found
    if each.expected is not None or row is None or row[1] != REGISTRY_ID:
        return False
    return bytes(row[-1] or b"").startswith(_UNMIRROR)


def heads(source: Source) -> dict[int, int]:
    """Return where each session ends, as its table says."""
    return {row[0]: row[2] for row in source.ordered(tables.sessions)}


def apart(one: Source, other: Source) -> tuple[Later, Later]:
    """Return how much is only in the one, and how much only in the other."""
    ours, theirs = heads(one), heads(other)
    return later(theirs, ours), later(ours, theirs)


def later(old: dict[int, int], new: dict[int, int]) -> Later:
    """Return by how much sessions grew."""
    grown = [head - old.get(number, 0) for number, head in new.items()]
    return Later(sum(count for count in grown if count > 0), sum(count > 0 for count in grown))

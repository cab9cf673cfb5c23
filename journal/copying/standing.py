"""What stands where a copy is to be: nothing, one that was begun, a whole one, or something else."""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING

from journal import copymark, schema, tables
from journal.audit import keyring
from journal.audit.source import opened
from journal.copying.fitting import Fitting
from journal.copying.outcome import Later
from journal.copying.parting import parted
from journal.dialects.address import is_url, parsed
from journal.errors import StorageError
from journal.explanation import counted

if TYPE_CHECKING:
    from journal.audit.source import Source
    from journal.copying.parting import Parted


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
        is_same |= os.path.realpath(source) == os.path.realpath(target)
    elif is_url(source) and is_url(target):
        is_same |= parsed(source) == parsed(target)
    if is_same:
        raise _itself(source)


def _itself(place: str) -> StorageError:
    return StorageError(
        f"{shown(place)} is the journal itself", hint="name another DST", code="own-file"
    )


def is_whole(
    target: str,
    journal_id: str | None,
    key_file: str | os.PathLike[str] | None,
    source: tuple[object, ...] | None,
) -> bool:
    """Whether the whole copy is there; False if it was begun, or nothing is there.

    ``source`` is what tells the journal from all others on servers, if it is on one.

    Raises:
        StorageError: another journal is there, or a copy of one; or it is the journal itself.
        SchemaError: another program's data is there.

    """
    address = parsed(target) if is_url(target) else None
    mark = schema.unfinished_on_server(address) if address else schema.unfinished_at(target)
    if mark is not None:
        if mark.journal_id != journal_id:
            raise copymark.another(shown(target), mark)
        return False
    version = schema.version_on_server(address) if address else schema.version_of(target)
    if version is None:
        return False
    with opened(target) as there:
        if keyring.find(there, key_file).journal_id != journal_id:
            raise StorageError(
                f"{shown(target)}: another journal is there; it was left as it is",
                hint="name another DST",
                code="another-journal",
            )
        if source is not None and there.running() == source:
            raise _itself(target)  # by another name of its host, say
    return True


def check_equal(source: str, target: str) -> None:
    """Refuse a finished copy that is not what the journal is now.

    Raises:
        StorageError: it is not, and in what.

    """
    with opened(source) as one, opened(target) as other:
        found = parted(one, Fitting(one, into_server=is_url(target)), other)
    if found is None:
        return
    told = [
        f"{counted(count.entries, 'entry', 'entries')} in {counted(count.sessions, 'session')} only in {shown(where)}"
        for count, where in ((found.newer, source), (found.own, target))
        if count.entries
    ]
    raise StorageError(
        f"{shown(target)} is this journal already, and not as it is in {shown(source)} now: "
        f"{' and '.join(told) or 'the rows differ'}; it was left as it is",
        hint=_way_on(found, source, target),
        code="copy-is-there",
    )


def _way_on(found: Parted, source: str, target: str) -> str:
    """Say what can be done about it: what catching up would refuse is not offered."""
    again = f"journal copy {quote(shown(source))} {quote(shown(target))}"
    if found.is_written:
        return "name another DST, or take that one away if it is not needed"
    if found.has_sealed:
        return (
            f"it seals that it serves no mirrors, and cannot catch up: take it away, then {again}"
        )
    return f"{again} --catch-up"


def heads(source: Source) -> dict[int, int]:
    """Return where each session ends, as its table says."""
    return {row[0]: row[2] for row in source.ordered(tables.sessions)}


def later(old: dict[int, int], new: dict[int, int]) -> Later:
    """Return by how much sessions grew."""
    grown = [head - old.get(number, 0) for number, head in new.items()]
    return Later(sum(count for count in grown if count > 0), sum(count > 0 for count in grown))

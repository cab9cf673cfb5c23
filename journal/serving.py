"""How a journal's mirrors are doing, told without serving any of them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from journal.audit.mirrored import Slot
from journal.dialects import postgres
from journal.dialects.address import is_url, parsed
from journal.engine import connect, translated
from journal.errors import MirrorError
from journal.keyfinding import find_keys
from journal.mirrorfile import is_file
from journal.mirrorstatus import lacks
from journal.process import this_process
from journal.registry import Registry
from journal.serverplace import OURS, UNTOLD, mirrors_path, place_of, whose

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from journal.engine import Cursor
    from journal.registry import MirrorFact


class Served(NamedTuple):
    """One mirror; ``state`` is "on", "behind", "gone", "refused" or "elsewhere".

    It is "failing" where nobody can tell whether the file is there; and where the server does not
    tell this user whether it is the one that the mirror belongs to: then nobody serves it for him.
    """

    key: str
    path: str
    state: str


def served(place: str | Path, key_file: str | os.PathLike[str] | None = None) -> list[Served]:
    """Return how each mirror does, read in one state of the database; nothing is written.

    A file may be "behind" for the moment in which another process writes to it.

    Raises:
        KeyMissing: the key is not at hand.
        StorageError: the database cannot be read.

    """
    address = parsed(str(place)) if is_url(place) else None
    where = str(place) if address is None else address.shown
    try:
        if address is not None:
            with closing(postgres.connect(address)) as connection:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return _looked(postgres.Cursor(connection), where, key_file, address.schema)
        with closing(connect(where, mode="ro")) as connection:
            connection.execute("BEGIN")
            return _looked(connection.cursor(), where, key_file, None)
    except Exception as error:
        raise translated(error, where) from error


def _looked(
    cursor: Cursor, where: str, key_file: str | os.PathLike[str] | None, schema: str | None
) -> list[Served]:
    journal_id, known = find_keys(cursor, where, key_file)
    registry = Registry(known)
    registry.refresh(cursor)
    own = "" if schema is None else place_of(cursor, schema)
    found = []
    for fact in sorted(registry.mirrors.values()):
        key = registry.session_keys[fact.session_id]
        found_whose = whose(fact.place, own)
        if fact.host != this_process().host or found_whose not in (OURS, UNTOLD):
            found.append(Served(key, fact.path, "elsewhere"))
        elif found_whose == UNTOLD:
            found.append(Served(key, fact.path, "failing"))
        else:
            side = (
                f"{where}-mirrors" if schema is None else mirrors_path(journal_id, own, fact.path)
            )
            found.append(_served(cursor, Slot(side, fact.number, known.mac), registry, fact))
    return found


def _served(cursor: Cursor, slot: Slot, registry: Registry, fact: MirrorFact) -> Served:
    key = registry.session_keys[fact.session_id]
    chain = registry.chain_of(key)
    assert chain is not None  # noqa: S101 - the registry knows it
    chain.refresh(cursor)
    chain.load_facts(cursor)
    if chain.mirror_state is not None:
        return Served(key, fact.path, chain.mirror_state)
    try:
        is_here = is_file(fact.path)
    except MirrorError:
        return Served(key, fact.path, "failing")
    if not is_here:
        return Served(key, fact.path, "gone")
    found = slot.served()
    is_behind = found is None or lacks(cursor, chain, found.exported_seq, found.layout_no)
    return Served(key, fact.path, "behind" if is_behind else "on")

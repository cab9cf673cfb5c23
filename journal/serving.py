"""How a journal's mirrors are doing, told without serving any of them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from journal.audit.mirrored import Slot
from journal.engine import connect, translated
from journal.keyfinding import find_keys
from journal.mirrorfile import is_file
from journal.process import this_process
from journal.registry import Registry

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from journal.engine import Cursor
    from journal.eras import Keys
    from journal.registry import MirrorFact


class Served(NamedTuple):
    """One mirror; ``state`` is "on", "behind", "gone", "refused" or "elsewhere"."""

    key: str
    path: str
    state: str


def served(path: Path, key_file: str | os.PathLike[str] | None = None) -> list[Served]:
    """Return how each mirror does, read in one state of the database; nothing is written.

    A file may be "behind" for the moment in which another process writes to it.

    Raises:
        KeyMissing: the key is not at hand.
        StorageError: the database cannot be read.

    """
    where = str(path)
    try:
        with closing(connect(where, mode="ro")) as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN")
            _, known = find_keys(cursor, where, key_file)
            registry = Registry(known)
            registry.refresh(cursor)
            mirrors = sorted(registry.mirrors.values())
            return [_served(cursor, where, known, registry, fact) for fact in mirrors]
    except Exception as error:
        raise translated(error, where) from error


def _served(
    cursor: Cursor, where: str, known: Keys, registry: Registry, fact: MirrorFact
) -> Served:
    key = registry.session_keys[fact.session_id]
    if fact.host != this_process().host or fact.place:
        return Served(key, fact.path, "elsewhere")
    chain = registry.chain_of(key)
    assert chain is not None  # noqa: S101 - the registry knows it
    chain.refresh(cursor)
    chain.load_facts(cursor)
    if chain.mirror_state is not None or not is_file(fact.path):
        return Served(key, fact.path, chain.mirror_state or "gone")
    found = Slot(f"{where}-mirrors", fact.number, known.mac).served()
    is_whole = found is not None and found.exported_seq == chain.head.seq
    return Served(key, fact.path, "on" if is_whole else "behind")

"""How much disk a migration needs, and whether that much is free; asked before anything is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.errors import StorageError
from journal.migration import receipts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal.migration.planned import Plan, PlannedFile
    from journal.store import Store

# Measured from 20 B to 100 KB a line: never more than so much, and mostly less.
_PER_LINE: Final = 400
_PER_BYTE: Final = 1.1
# The write-ahead log, which is folded into the database in between.
_LOG: Final = 64 * 1024 * 1024


class Room(NamedTuple):
    """The disk that is needed and the disk that is free, in bytes, where the journal is or would be."""

    needed: int
    free: int
    place: str

    @property
    def is_enough(self) -> bool:
        """Whether it can be done."""
        return self.needed <= self.free


def room(plan: Plan, database: str | os.PathLike[str]) -> Room:
    """Return what carrying out a plan needs at most, and what is free for a database."""
    return _room(plan.files, database)


def _room(files: Iterable[PlannedFile], database: str | os.PathLike[str]) -> Room:
    needed = sum(round(each.bytes * _PER_BYTE) + each.lines * _PER_LINE for each in files)
    place = Path(database).absolute().parent
    while not os.path.isdir(place):  # noqa: PTH112 - Path's raises below a directory that is closed
        place = place.parent
    return Room(needed + min(needed, _LOG), shutil.disk_usage(place).free, str(place))


def check_room(store: Store, plan: Plan) -> None:
    """Refuse a plan for which there is too little disk; what is in the journal already counts for nothing.

    Of a server's disk nothing is known here: it says itself when that is full.

    Raises:
        StorageError: too little; nothing was written.

    """
    if not store.keeps_files or room(plan, store.path).is_enough:
        return  # what is there already is asked for only where it matters: a watch applies each file by itself
    with store.snapshot() as cursor:
        there = receipts.hashes(cursor)
    found = _room((each for each in plan.files if each.sha256 not in there), store.path)
    if not found.is_enough:
        raise StorageError(
            f"too little disk: about {found.needed} bytes are needed and {found.free} are free in {found.place}; "
            "nothing was written",
            hint="make room, or put the journal on another disk: journal --db FILE migrate ... --apply",
            code="too-little-disk",
        )

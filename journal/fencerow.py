"""A fence as it is stored: a row with its proof, to be checked by whatever process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from journal import statements as sql
from journal.errors import NotFoundError
from journal.model import check_label
from journal.tables import fences
from journal.verdict import Mark

if TYPE_CHECKING:
    from typing import Self

    from journal.engine import Cursor
    from journal.store import Store


class FenceRow(NamedTuple):
    """One row of ``fences``, in the table's order."""

    id: str
    session_id: int
    writer_id: int
    instance_id: int
    seq: int
    epoch: int
    seal: bytes
    beyond: str
    beyond_digest: str
    mirror_position: int | None
    raised_us: int
    mac: bytes

    @classmethod
    def proved(
        cls, store: Store, who: tuple[str, int, int, int], mark: Mark, floor: int | None
    ) -> Self:
        """Return the row of a fence, with its proof.

        ``who`` are the fence's id, its session's, its writer's and its process's;
        ``floor`` is the size that the mirror's file had at the mark.
        """
        where = (mark.seq, mark.epoch, mark.seal, json.dumps(mark.beyond), mark.beyond_digest)
        facts = (*who, *where, floor, store.clock())
        return cls(*facts, store.mac("fence", *facts))

    @property
    def mark(self) -> Mark:
        """Where the fence stands."""
        beyond = tuple((first, last) for first, last in json.loads(self.beyond))
        return Mark(self.seq, self.epoch, self.seal, beyond, self.beyond_digest)


def find(cursor: Cursor, store: Store, fence_id: str) -> FenceRow:
    """Return a stored fence.

    Raises:
        NotFoundError: none of this id, or its row is not what was stored.

    """
    check_label(fence_id, "fence id")
    found = cursor.execute(f"{sql.all_of(fences)} WHERE id = ?", (fence_id,)).fetchone()
    if found is None or found[-1] != store.mac("fence", *found[:-1]):
        why = "is not there" if found is None else "was changed after it was stored"
        raise NotFoundError(
            f"fence {fence_id!r} {why}", hint="journal fence raise SESSION --writer W"
        )
    row = FenceRow(*found)  # its texts are bytes yet, and UTF-8, for the proof holds
    beyond, digest = found[7].decode(), found[8].decode()
    return row._replace(id=fence_id, beyond=beyond, beyond_digest=digest)

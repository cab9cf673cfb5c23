"""Who holds a session's claim, and the refusals that name the holder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from journal import statements as sql
from journal.controls import decode
from journal.errors import ClaimedError, RefusedError, Superseded
from journal.model import Process, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.store import Store
    from journal.writing import Author

_PAGE: Final = 64


class Holder(NamedTuple):
    """Who holds a claim, as its sealed entry tells."""

    token: int
    writer: str
    instance_id: int
    process: Process | None
    at_us: int
    reason: str | None

    def described(self) -> str:
        """Say who it is in a few words."""
        if self.process is None:
            return f"claim {self.token} (its entry is not to be read)"
        where = f"pid {self.process.pid} on {self.process.host} ({self.process.program})"
        return f"{self.writer!r}, {where}, claim {self.token}"


def holder(cursor: Cursor, store: Store, chain: Chain) -> Holder:
    """Return who holds the standing claim, from its sealed entry."""
    token = chain.head.claim or 0
    for row in _controls(cursor, chain):
        facts = decode(row.body)
        if (
            row.epoch == token
            and facts.get("control") == "claim"
            and chain.sealer.status(row) == "sealed"
        ):
            writer = store.registry.writers.get(row.writer_id)
            name = f"writer {row.writer_id}" if writer is None else writer.name
            process = Process(**facts["process"])
            return Holder(
                token, name, row.instance_id, process, row.created_us, facts.get("reason")
            )
    return Holder(token, "nobody known", 0, None, 0, None)


def _controls(cursor: Cursor, chain: Chain) -> Iterator[Row]:
    """Yield a session's control rows, newest first; strays among them are for the caller to tell."""
    up_to = chain.head.seq
    while True:
        page = cursor.execute(sql.controls_before(), (chain.session_id, up_to, _PAGE)).fetchall()
        yield from map(Row._make, page)
        if len(page) < _PAGE:
            return
        up_to = page[-1][2] - 1


def claimed(store: Store, chain: Chain, author: Author) -> RefusedError:
    """Return the refusal of a run that writes beside a standing turn."""
    now = holder(store.cursor, store, chain)
    mine = now.instance_id == author.instance_id
    return ClaimedError(
        f"the session is held by {now.described()}",
        hint="you hold this turn: use it"
        if mine
        else "wait for its release, or claim(supersede='reason')",
    )


def superseded(store: Store, chain: Chain, author: Author) -> RefusedError:
    """Return the refusal of a turn that no longer stands: who superseded it, when and why."""
    if chain.head.claim is None:
        message = f"turn {author.claim} on {chain.key!r} is over: it was released"
        return Superseded(message, hint="claim the session again", code="released")
    now = holder(store.cursor, store, chain)
    why = f": {now.reason}" if now.reason else ""
    return Superseded(
        f"turn {author.claim} on {chain.key!r} was superseded by {now.described()} at {now.at_us}{why}",
        hint="do not retry; journal parked list shows what was kept",
    )

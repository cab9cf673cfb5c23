"""A turn: a session as the run that holds it sees it.

What it writes carries its claim's token; what ends it, and how, is told here. Claims are
made in :mod:`journal.claim`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from journal import holder as holders
from journal import inputs
from journal.controls import fact
from journal.errors import RefusedError
from journal.holder import ending, superseded
from journal.session import Session
from journal.store import log
from journal.writing import write

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.fence import Fence
    from journal.inputs import Taken
    from journal.policy import Policy
    from journal.store import Store
    from journal.verdict import Verdict
    from journal.writing import Author


class Turn(Session):
    """A session held by a run: everything it writes carries the claim's token.

    Leaving the ``with`` block releases it. Once a newer claim has superseded it,
    every write fails with :class:`~journal.errors.Superseded`, and is parked.

    Attributes:
        why: the id that ``journal why`` explains, where this claim superseded
            another; else None.

    """

    why: str | None = None
    _own_fence: Fence

    @property
    def token(self) -> int:
        """The claim's token: the epoch at which it was made."""
        if (
            self.identity is None or self.identity.claim is None
        ):  # pragma: no cover - made by claim()
            raise RefusedError("this is no turn")
        return self.identity.claim

    @property
    def stands(self) -> bool:
        """Whether the claim still stands."""
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            return chain is not None and self.store.fresh(chain).head.claim == self.token

    @property
    def outcome(self) -> str:
        """What became of the turn: "standing", "released" or "superseded".

        What happened first counts, for ever: a superseded turn stays superseded
        when its successor lets go.
        """
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is None:  # pragma: no cover - a claim is an entry
                return holders.RELEASED
            return ending(cursor, self.store, self.store.fresh(chain), self.token).outcome

    def fence(self, *, policy: str | Policy | None = None) -> Fence:
        """Raise a fence, as :meth:`Session.fence`; a turn that is over raises none.

        Raises:
            Superseded: the turn was superseded or released.

        """
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is not None and self.store.fresh(chain).head.claim != self.token:
                raise superseded(self.store, chain, self.author(cursor))
        return super().fence(policy=policy)

    def check(self, *, raise_: bool = True) -> Verdict:
        """Judge all that came since the claim, or since the last accepted check.

        A turn that was superseded or released may still ask.

        Raises:
            SessionTakeover: as for :meth:`Fence.check`.

        """
        return self._own_fence.check(raise_=raise_)

    def take_inputs(self, limit: int | None = None) -> Taken:
        """Turn what was submitted to the session into entries: once each, in order.

        Each is verified, and written as its submitter's own, recorded by this
        turn; all of it in one transaction. What cannot be taken is in the
        answer's ``left``, and said in the log.

        Args:
            limit: at most so many.

        Raises:
            Superseded: the turn is over; every input is still pending.

        """
        return inputs.take(self, limit)

    def release(self) -> bool:
        """Let the session go; return whether it was still held by this turn.

        Releasing a turn that is over is harmless: it changes nothing, and where
        it was superseded the log says by whom.
        """
        with self.store.transaction() as cursor:
            chain = self.store.open_chain(cursor, self.key)
            end = ending(cursor, self.store, chain, self.token)
            if end.outcome == holders.STANDING:
                let_go(cursor, self.store, chain, self.author(cursor), self.token)
        if end.by is not None:
            message = "turn %d on %s was superseded by %s before it was released"
            log.warning(message, self.token, self.key, end.by.described())
        return end.outcome == holders.STANDING

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.release()
            return
        try:
            was_held = self.release()
        except Exception as second:  # noqa: BLE001 - never hide the block's own error
            error.add_note(f"the turn on {self.key!r} could not be released: {second}")
            return
        if not was_held:
            error.add_note(
                f"the turn on {self.key!r} had been superseded or released before it ended"
            )


def turn_of(session: Session, token: int, why: str | None) -> Turn:
    """Return the turn of a claim, its own fence raised; ``why`` explains whom it superseded."""
    if session.identity is None:  # pragma: no cover - author() has refused it
        raise RefusedError("only a writer can claim")
    turn = Turn(
        session.store,
        session.key,
        replace(session.identity, claim=token),
        default_policy=session.policy,
        on_takeover=session.on_takeover,
    )
    turn.why = why
    # Not turn.fence(): whoever was superseded within this very moment still has its turn,
    # and learns of it by its first write.
    turn._own_fence = Session.fence(turn)  # noqa: SLF001 - it is made here
    return turn


def let_go(cursor: Cursor, store: Store, chain: Chain, author: Author, token: int) -> None:
    """Seal that a claim was let go, and close its row."""
    at_us = store.clock()
    write(cursor, chain, author, at_us, facts=[fact("release", token=token)], claim=None)
    close_claim(cursor, chain, token, at_us, holders.RELEASED, None)


def close_claim(  # noqa: PLR0913 - the columns of its row
    cursor: Cursor,
    chain: Chain,
    token: int,
    at_us: int,
    outcome: str,
    reason: str | None,
    superseded_by: int | None = None,
) -> None:
    """Close a claim's row: how it ended, why, and by whose token."""
    cursor.execute(
        "UPDATE claims SET ended_us = ?, outcome = ?, reason = ?, superseded_by = ? "
        "WHERE session_id = ? AND token = ?",
        (at_us, outcome, reason, superseded_by, chain.session_id, token),
    )

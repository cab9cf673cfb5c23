"""Claims: a run's right to act for a session, and the turn that holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from journal.controls import fact
from journal.errors import ClaimedError, RefusedError
from journal.holder import Holder, holder
from journal.model import Process, check_label
from journal.process import is_dead, this_process
from journal.session import Session
from journal.writing import write

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.store import Store
    from journal.writing import Author


class Turn(Session):
    """A session held by a run: everything it writes carries the claim's token.

    Leaving the ``with`` block releases it. Once a newer claim has superseded it,
    every write fails with :class:`~journal.errors.Superseded`, and is parked.
    """

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

    def release(self) -> bool:
        """Let the session go; return whether it was still held by this turn."""
        with self.store.transaction() as cursor:
            chain = self.store.open_chain(cursor, self.key)
            if chain.head.claim != self.token:
                return False
            released = fact("release", token=self.token)
            write(
                cursor, chain, self.author(cursor), self.store.clock(), facts=[released], claim=None
            )
            _end(cursor, self.store, chain, self.token, "released", None)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.release() and error is not None:
            error.add_note(
                f"the turn on {self.key!r} had been superseded or released before it ended"
            )


def claim(session: Session, supersede: str | None) -> Turn:
    """Claim a session by compare-and-set, in one transaction."""
    check_label(supersede, "reason")
    store = session.store
    with store.transaction() as cursor:
        author = session.author(cursor)
        chain = store.open_chain(cursor, session.key)
        before = holder(cursor, store, chain) if chain.head.claim is not None else None
        reason = _reason(before, supersede, author)
        token = chain.head.epoch + 1
        made = fact(
            "claim",
            token=token,
            writer=author.writer.name,
            instance=author.instance_id,
            process=_facts(this_process()),
            run_id=author.run_id,
            supersedes=None if before is None else before.token,
            reason=reason,
        )
        write(cursor, chain, author, store.clock(), facts=[made], claim=token)
        if before is not None:
            _end(cursor, store, chain, before.token, "superseded", reason, token)
        _begin(cursor, store, chain, author, token)
    if session.identity is None:  # pragma: no cover - author() has refused it
        raise RefusedError("only a writer can claim")
    identity = replace(session.identity, claim=token)
    return Turn(
        store, session.key, identity, default_policy=session.policy, on_takeover=session.on_takeover
    )


def _facts(process: Process) -> dict[str, Any]:
    return {name: getattr(process, name) for name in Process.__dataclass_fields__}


def _reason(before: Holder | None, supersede: str | None, author: Author) -> str | None:
    if before is None:
        return None
    if before.process is not None and is_dead(before.process):
        return supersede or "its holder is dead"
    if supersede is None:
        mine = before.instance_id == author.instance_id
        raise ClaimedError(
            f"the session is held by {before.described()}",
            hint="you hold this turn: use it"
            if mine
            else "claim(supersede='reason') ends that turn",
        )
    return supersede


def _begin(cursor: Cursor, store: Store, chain: Chain, author: Author, token: int) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO claims(session_id, token, writer_id, instance_id, run_id, claimed_us) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            chain.session_id,
            token,
            author.writer.id,
            author.instance_id,
            author.run_id,
            store.clock(),
        ),
    )


def _end(  # noqa: PLR0913
    cursor: Cursor,
    store: Store,
    chain: Chain,
    token: int,
    outcome: str,
    reason: str | None,
    superseded_by: int | None = None,
) -> None:
    cursor.execute(
        "UPDATE claims SET ended_us = ?, outcome = ?, reason = ?, superseded_by = ? "
        "WHERE session_id = ? AND token = ?",
        (store.clock(), outcome, reason, superseded_by, chain.session_id, token),
    )

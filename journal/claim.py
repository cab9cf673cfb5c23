"""Claims: a run's right to act for a session, and the turn that holds it.

A claim is made by compare-and-set inside the write transaction: its sealed entry
is the claim, its epoch the token. The successor's claim commits first; from then
on the other turn's writes fail inside their own transactions.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from journal import holder as holders
from journal import inputs, verdicts
from journal.admission import changed_since
from journal.commands import command_on
from journal.controls import fact
from journal.errors import ClaimedError, EntryError, RefusedError
from journal.holder import (
    SUPERSEDED,
    Holder,
    claim_of,
    ending,
    held,
    holder,
    superseded,
    superseding,
)
from journal.model import Process, check_label
from journal.parking import new_id
from journal.process import is_dead, is_same, this_process
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

STRANDED: Final = "its holder is dead"


class Turn(Session):
    """A session held by a run: everything it writes carries the claim's token.

    Leaving the ``with`` block releases it. Once a newer claim has superseded it,
    every write fails with :class:`~journal.errors.Superseded`, and is parked.

    Attributes:
        why: the id that ``journal why`` explains, where this claim superseded
            another; else None.

    """

    why: str | None = None
    _own_fence: Fence | None = None

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
        if self._own_fence is None:  # pragma: no cover - made by claim()
            self._own_fence = Session.fence(self)
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
                _release(cursor, self.store, chain, self.author(cursor), self.token)
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


def claim(
    session: Session,
    supersede: str | None,
    *,
    base: int | None = None,
    process: Process | None = None,
) -> Turn:
    """Claim a session by compare-and-set, in one transaction.

    Args:
        session: the handle of who claims.
        supersede: a reason; then a standing claim ends, whoever holds it.
        base: ``head.seq`` as it was read: refused if anything came since.
        process: whose life the claim goes with; this process's if None.

    """
    _check_reason(supersede)
    _check_fork(session)
    store = session.store
    with store.transaction() as cursor:
        author = session.author(cursor)
        chain = store.open_chain(cursor, session.key)
        stale = changed_since(chain, base)
        if stale is not None:
            raise stale
        before = holder(cursor, store, chain) if chain.head.claim is not None else None
        reason = _reason(chain, before, supersede, author)
        token = chain.head.epoch + 1
        at_us = store.clock()
        made = fact(
            "claim",
            token=token,
            writer=author.writer.name,
            instance=author.instance_id,
            process=asdict(process or this_process()),
            run_id=author.run_id,
            supersedes=None if before is None else before.token,
            reason=reason,
        )
        why = None
        if before is not None:
            why = _keep_verdict(cursor, store, chain, author, before, token, reason)
        write(cursor, chain, author, at_us, facts=[made], claim=token)
        if before is not None:
            _end(cursor, chain, before.token, at_us, SUPERSEDED, reason, token)
        _begin(cursor, chain, author, token, at_us)
    return _turn(session, token, why)


def resume(session: Session, token: int, *, process: Process) -> Turn:
    """Return the turn of a claim that goes with another process, for a command that this one started.

    That it still stands is for each write to find out, in its own transaction.

    Raises:
        ClaimedError: the claim goes with another process, or its process is gone.
        RefusedError: it is another writer's.
        EntryError: there is no such claim.

    """
    _check_fork(session)
    store = session.store
    with store.transaction() as cursor:
        author = session.author(cursor)
        chain = store.find_chain(cursor, session.key)
        known = None if chain is None else claim_of(cursor, store, store.fresh(chain), token)
        if chain is None or known is None:
            raise _no_claim(session, token)
        _check_writer(chain, known, author)
        if not is_same(known.process, process):
            raise _elsewhere(chain, known, author, process)
    return _turn(session, token, None)


def end_claim(session: Session, token: int, *, process: Process | None = None) -> bool:
    """Release a claim of this writer; return whether it still stood.

    Its process must be gone, or be this one, or the one that ``process`` names.

    Raises:
        RefusedError: it is another writer's, or a live process of this writer holds it.
        EntryError: there is no such claim.

    """
    if type(token) is not int:
        raise EntryError(
            f"{token!r} is no claim's token",
            hint=command_on(session.key, "claim show"),
            code="token",
        )
    _check_fork(session)
    store = session.store
    with store.transaction() as cursor:
        author = session.author(cursor)
        chain = store.open_chain(cursor, session.key)
        known = claim_of(cursor, store, chain, token)
        if known is None:
            raise _no_claim(session, token)
        _check_own(chain, known, author, process)
        stood = chain.head.claim == token
        if stood:
            _release(cursor, store, chain, author, token)
    return stood


def _elsewhere(chain: Chain, known: Holder, author: Author, process: Process) -> ClaimedError:
    is_gone = known.liveness == "dead"
    error = ClaimedError(
        f"claim {known.token} on {chain.key!r} goes with another process than {process.pid}: "
        f"{known.described()}{'; it is gone' if is_gone else ''}",
        hint=f"{command_on(chain.key, 'claim take', options=f'-w {quote(author.writer.name)}')}  # takes it anew"
        if is_gone or known.process is None
        else f"--pid {known.process.pid}, where this is done for that process",
    )
    error.holder = known
    return error


def _no_claim(session: Session, token: int) -> EntryError:
    return EntryError(
        f"{session.key!r} has no claim {token}",
        hint=command_on(session.key, "claim show"),
        code="no-claim",
    )


def _turn(session: Session, token: int, why: str | None) -> Turn:
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


def _check_reason(supersede: str | None) -> None:
    check_label(supersede, "reason")
    if supersede is not None and not supersede.strip():
        raise EntryError(
            "the reason is empty",
            hint="say why, for whoever is superseded: claim(supersede='a new message')",
            code="reason",
        )


def _check_fork(session: Session) -> None:
    if session.store.forked:
        raise RefusedError(
            "a forked child claims nothing through its parent's journal",
            hint="fork before the journal is opened, or start the child as a new program",
            code="forked",
        )


def _check_writer(chain: Chain, known: Holder, author: Author) -> None:
    if known.writer != author.writer.name:
        raise RefusedError(
            f"claim {known.token} on {chain.key!r} is not {author.writer.name!r}'s: "
            f"it is held by {known.described()}",
            hint=f"{superseding(chain, author)}  # ends it",
            code="not-your-claim",
        )


def _check_own(chain: Chain, known: Holder, author: Author, process: Process | None = None) -> None:
    _check_writer(chain, known, author)
    is_own = known.instance_id == author.instance_id or any(
        is_same(known.process, each) for each in (process, this_process())
    )
    if chain.head.claim == known.token and known.liveness != "dead" and not is_own:
        raise held(chain, known, author)


def _reason(
    chain: Chain, before: Holder | None, supersede: str | None, author: Author
) -> str | None:
    if before is None:
        return None
    if before.process is not None and is_dead(before.process):
        return supersede or STRANDED
    if supersede is None:
        raise held(chain, before, author)
    return supersede


def _release(cursor: Cursor, store: Store, chain: Chain, author: Author, token: int) -> None:
    at_us = store.clock()
    write(cursor, chain, author, at_us, facts=[fact("release", token=token)], claim=None)
    _end(cursor, chain, token, at_us, holders.RELEASED, None)


def _keep_verdict(  # noqa: PLR0913 - both sides of a supersession
    cursor: Cursor,
    store: Store,
    chain: Chain,
    author: Author,
    before: Holder,
    token: int,
    reason: str | None,
) -> str:
    """Keep what is known of a superseded holder now: later its process may be gone."""
    row = verdicts.VerdictRow(
        new_id("v"), chain.session_id, None, author.writer.id, author.instance_id,
        "supersession", "claim",
    )  # fmt: skip
    evidence: dict[str, Any] = {
        "head": {"seq": chain.head.seq, "epoch": chain.head.epoch},
        "expected": {"claim": before.token},
        "found": {"claim": token},
        "reason": reason,
        "holder": before.evidence(),
        "foreign": [],
    }
    verdicts.keep(cursor, store, row, evidence)
    return row.id


def _begin(cursor: Cursor, chain: Chain, author: Author, token: int, at_us: int) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO claims(session_id, token, writer_id, instance_id, run_id, claimed_us) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (chain.session_id, token, author.writer.id, author.instance_id, author.run_id, at_us),
    )


def _end(  # noqa: PLR0913
    cursor: Cursor,
    chain: Chain,
    token: int,
    at_us: int,
    outcome: str,
    reason: str | None,
    superseded_by: int | None = None,
) -> None:
    cursor.execute(
        "UPDATE claims SET ended_us = ?, outcome = ?, reason = ?, superseded_by = ? "
        "WHERE session_id = ? AND token = ?",
        (at_us, outcome, reason, superseded_by, chain.session_id, token),
    )

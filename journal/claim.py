"""Claims: a run's right to act for a session; :mod:`journal.turn` is what comes of one.

A claim is made by compare-and-set inside the write transaction: its sealed entry
is the claim, its epoch the token. The successor's claim commits first; from then
on the other turn's writes fail inside their own transactions.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from journal import verdicts
from journal.admission import changed_since
from journal.commands import command_on
from journal.controls import fact
from journal.errors import ClaimedError, EntryError, JournalError, NotFoundError, RefusedError
from journal.holder import (
    SUPERSEDED,
    Holder,
    claim_of,
    held,
    holder,
    superseding,
)
from journal.model import Process, check_reason
from journal.parking import new_id
from journal.process import is_dead, is_same, this_process
from journal.turn import close_claim, let_go, turn_of
from journal.writing import write

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.session import Session
    from journal.store import Store
    from journal.turn import Turn
    from journal.writing import Author

STRANDED: Final = "its holder is dead"


def claim(
    session: Session,
    supersede: str | None,
    *,
    base: int | None = None,
    process: Process | None = None,
) -> Turn:
    """Claim a session by compare-and-set, in one transaction; let go where its turn cannot be handed out.

    Args:
        session: the handle of who claims.
        supersede: a reason; then a standing claim ends, whoever holds it.
        base: ``head.seq`` as it was read: refused if anything came since.
        process: whose life the claim goes with; this process's if None.

    """
    if supersede is not None:
        check_reason(
            supersede, "say why, for whoever is superseded: claim(supersede='a new message')"
        )
    _check_fork(session)
    block = session.store.transaction()
    try:
        with block as cursor:
            token, why = _claimed(cursor, session, supersede, base, process or this_process())
        return turn_of(session, token, why)
    except BaseException:
        # Nobody was given the turn, and nobody else in this process could end it. An interrupt
        # comes most likely while the disk is waited for.
        if block.is_committed:
            with suppress(JournalError):
                end_claim(session, token, process=process)
        raise


def _claimed(
    cursor: Cursor, session: Session, supersede: str | None, base: int | None, process: Process
) -> tuple[int, str | None]:
    """Claim a session in the caller's transaction; return the token, and what explains whom it superseded."""
    store, author = session.store, session.author(cursor)
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
        process=asdict(process),
        run_id=author.run_id,
        supersedes=None if before is None else before.token,
        reason=reason,
    )
    why = None
    if before is not None:
        why = _keep_verdict(cursor, store, chain, author, before, token, reason)
    write(cursor, chain, author, at_us, facts=[made], claim=token)
    if before is not None:
        close_claim(cursor, chain, before.token, at_us, SUPERSEDED, reason, token)
    _begin(cursor, chain, author, token, at_us)
    return token, why


def resume(session: Session, token: int, *, process: Process) -> Turn:
    """Return the turn of a claim that goes with another process, for a command that this one started.

    That it still stands is for each write to find out, in its own transaction.

    Raises:
        ClaimedError: the claim goes with another process, or its process is gone.
        RefusedError: it is another writer's.
        NotFoundError: there is no such claim.

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
    return turn_of(session, token, None)


def end_claim(session: Session, token: int, *, process: Process | None = None) -> bool:
    """Release a claim of this writer; return whether it still stood.

    Its process must be gone, or be this one, or the one that ``process`` names.

    Raises:
        RefusedError: it is another writer's, or a live process of this writer holds it.
        NotFoundError: there is no such claim.
        EntryError: this is no claim's token.

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
            let_go(cursor, store, chain, author, token)
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


def _no_claim(session: Session, token: int) -> NotFoundError:
    return NotFoundError(
        f"{session.key!r} has no claim {token}",
        hint=command_on(session.key, "claim show"),
        code="no-claim",
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
        raise held(chain, before, author, is_claim=True)
    return supersede


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

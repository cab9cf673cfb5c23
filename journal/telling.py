"""What a fence tells of: verdicts stored with their evidence, said to whoever asked to hear, and raised."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from journal import parking, verdicts
from journal.errors import SessionTakeover, StorageError
from journal.holder import holder
from journal.marks import persist_examined
from journal.store import log
from journal.verdict import BETWEEN_FENCES, Verdict, evidence_of

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.parking import Parked
    from journal.session import Session


def teller(session: Session) -> tuple[int | None, int | None]:
    """Return a handle's writer and instance, as far as there are any yet."""
    identity = session.identity
    if identity is None:
        return None, None
    writer = session.store.registry.by_name.get(identity.writer)
    return (None if writer is None else writer.id), session.store.instance_of(identity.writer)


class Telling:
    """What one fence has told.

    Attributes:
        error: what was raised last, or None.

    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.error: SessionTakeover | None = None
        self._verdict: Verdict | None = None

    def stored(self, verdict: Verdict) -> Verdict:
        """Store a verdict, unless it is what was told last; it counts even if it cannot be stored."""
        if self._verdict is not None and _tells_the_same(self._verdict, verdict):
            return replace(verdict, id=self._verdict.id)
        store, key = self._session.store, self._session.key
        try:
            with store.transaction() as cursor:
                return self.insert(cursor, store.open_chain(cursor, key), verdict)
        except StorageError as error:
            log.warning("the verdict on %s could not be stored: %s", key, error)
            return verdict

    def insert(
        self, cursor: Cursor, chain: Chain, verdict: Verdict, kept: Parked | None = None
    ) -> Verdict:
        """Store a verdict with its evidence; what it told of is judged from now on."""
        store, extra = self._session.store, self._context(cursor, chain)
        if kept is not None:
            extra["parked"] = kept.id
        verdict_id = verdict.id or parking.new_id("v")
        verdict = replace(verdict, id=verdict_id, extra=extra)
        row = verdicts.VerdictRow(
            verdict_id, chain.session_id, verdict.fence_id, *teller(self._session), verdict.outcome,
            verdict.policy,
        )  # fmt: skip
        verdicts.keep(cursor, store, row, {**evidence_of(verdict), **extra})
        # Not before it is stored: who looks at what was not told yet would tell of it never again.
        store.after_commit(lambda: self._has_told(chain, verdict))
        if chain.examined >= verdict.fence.seq or verdict.outcome == BETWEEN_FENCES:
            chain.examined = max(chain.examined, min(verdict.head_seq, chain.head.seq))
            persist_examined(cursor, chain)
        return verdict

    def _has_told(self, chain: Chain, verdict: Verdict) -> None:
        for entry in verdict.foreign:
            chain.reported.add(entry.seq)
        self._verdict = verdict

    def _context(self, cursor: Cursor, chain: Chain) -> dict[str, Any]:
        """Return what only this moment can tell: who holds the session, and whether it lives."""
        claim = chain.head.claim
        now = None if claim is None else holder(cursor, self._session.store, chain).evidence()
        return {"claim": claim, "holder": now}

    def report(self, verdict: Verdict) -> None:
        """Say a verdict to whoever asked to hear; what goes wrong there is logged."""
        if self._session.on_takeover is None:
            return
        try:
            self._session.on_takeover(verdict)
        except Exception:  # noqa: BLE001 - and it is told
            # What the caller is to learn is the verdict, whatever its callback makes of it.
            log.exception("on_takeover failed on the verdict %s", verdict.id)

    def takeover(
        self, verdict: Verdict, parked: Parked | None = None, *, was_parked: bool = True
    ) -> SessionTakeover:
        """Return the error to raise for a verdict."""
        self.error = SessionTakeover(verdict, parked)
        if not was_parked:
            told = f"{self.error.args[0]}; the write was not parked: the quota is full"
            self.error.args = (told,)
        return self.error


def _tells_the_same(one: Verdict, other: Verdict) -> bool:
    return [(e.seq, e.trust, e.body) for e in one.foreign] == [
        (e.seq, e.trust, e.body) for e in other.foreign
    ]

"""Fences: the mark a run leaves when it lets go, and the check when it is back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from journal import admission, fencerow, parking, policy
from journal import session as sessions
from journal import statements as sql
from journal.errors import NotFoundError
from journal.fencerow import FenceRow
from journal.inspection import foreign_so_far, found_after, found_at, found_since
from journal.marks import (
    chain_of,
    floor_at,
    is_mirrored,
    mark_at_head,
    persist_examined,
    take_in,
    taken_in,
)
from journal.model import check_label
from journal.parts import encode_lines
from journal.places import places_of
from journal.telling import Telling, teller
from journal.verdict import ACCEPTED, BETWEEN_FENCES, TAKEOVER, Mark, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.model import Entry
    from journal.parking import Parked
    from journal.policy import Policy
    from journal.session import Session
    from journal.store import Store


_WAITING: Final = 64


class Fence:
    """A mark in a session, to be checked after the model has thought.

    Attributes:
        id: under which it is stored, once it is.
        mark: where it stands; an accepted check moves it on.
        arrived: the lines that other instances wrote since it was raised.
        verdict: the newest one, or None before the first check.

    """

    def __init__(
        self, session: Session, mark: Mark, chosen: str | Policy, fence_id: str | None = None
    ) -> None:
        self.session = session
        self.policy = chosen
        self.mark = mark
        self.id = fence_id or parking.new_id("f")
        self.arrived: list[Entry] = []
        self.verdict: Verdict | None = None
        self._floor: int | None = None
        self._generation = -1
        self._telling = Telling(session)

    @property
    def store(self) -> Store:
        """The journal's store."""
        return self.session.store

    @classmethod
    def raised(cls, session: Session, chosen: str | Policy) -> Self:
        """Examine the session up to its head and mark it there."""
        store = session.store
        position = take_in(session)
        with store.snapshot() as cursor:
            chain = chain_of(cursor, session)
            fence = cls(session, mark_at_head(cursor, chain, store), chosen)
            fence._floor = floor_at(cursor, chain, position)
            fence._generation = store.generation
            between = None if chain is None else fence._examine(cursor, chain)
            if chain is not None:
                fence._store_with_next_write(chain)
        if between is not None:
            between = fence._keep(fence._telling.stored(between))
            fence._telling.report(between)
        return fence

    @classmethod
    def load(cls, store: Store, fence_id: str, chosen: str | Policy = "cotenant") -> Self:
        """Return a stored fence, of whatever process.

        Raises:
            NotFoundError: no fence of this id, or its row is not to be believed.
            EntryError: no such policy.

        """
        policy.resolve(chosen)
        with store.snapshot() as cursor:
            row = fencerow.find(cursor, store, fence_id)
            key = store.registry.session_keys.get(row.session_id)
            writer = store.registry.writers.get(row.writer_id)
            if key is None or writer is None:
                raise NotFoundError(
                    f"the session or the writer of fence {fence_id!r} is not registered any more",
                    hint="journal audit",
                )
        identity = sessions.Identity(writer.name, writer.role)
        fence = cls(sessions.Session(store, key, identity), row.mark, chosen, fence_id)
        fence._floor = row.mirror_position
        return fence

    # -- checking ---------------------------------------------------------------------

    def check(self, *, raise_: bool = True) -> Verdict:
        """Judge every row after the fence, one by one, and return the verdict.

        An accepted verdict writes nothing and moves the fence to what was seen.
        A takeover is stored, told through ``on_takeover``, and raised; the next
        check computes it anew.

        Raises:
            SessionTakeover: an untrusted entry stands after the fence; with
                ``raise_=False`` the verdict is returned instead.
            BusyError: contention is never a takeover.

        """
        store = self.store
        with store.snapshot() as cursor:
            chain = chain_of(cursor, self.session)
            verdict = None if is_mirrored(store, chain) else self._judge(cursor, chain, None)
        if verdict is None:
            position = taken_in(store, chain, self._floor, self.mark.seq)
            with store.snapshot() as cursor:
                verdict = self._judge(cursor, chain_of(cursor, self.session), position)
        if verdict.accepted:
            return verdict
        verdict = self._keep(self._telling.stored(verdict))
        self._telling.report(verdict)
        if raise_:
            raise self._telling.takeover(verdict)
        return verdict

    def append(self, line: object, *, request_id: str | None = None) -> Entry:
        """Judge and write in one transaction: nothing can come between.

        Raises:
            SessionTakeover: the line was parked instead; ``error.parked`` goes on from it.
            RefusedError: as for :meth:`Session.append`.

        """
        return self.extend([line], request_id=request_id)[-1]

    def extend(self, lines: Iterable[object], *, request_id: str | None = None) -> list[Entry]:
        """Judge once and write several lines at once; as :meth:`append` otherwise."""
        check_label(request_id, "request id")
        encoded = encode_lines(lines)
        if not encoded:
            self.check()
            return []
        position = take_in(self.session, self._floor, self.mark.seq)
        with self.store.transaction() as cursor:
            outcome, verdict, parked = self._judge_and_write(cursor, encoded, request_id, position)
        if not verdict.accepted:
            self._telling.report(verdict)
            is_kept = parked is not None or outcome.entries != []
            raise self._telling.takeover(verdict, parked, was_parked=is_kept)
        if outcome.error is not None:
            raise outcome.error
        return outcome.entries

    def _judge_and_write(
        self,
        cursor: Cursor,
        lines: Sequence[Line],
        request_id: str | None,
        position: tuple[int, int] | None,
    ) -> tuple[admission.Outcome, Verdict, Parked | None]:
        store, session = self.store, self.session
        author = session.author(cursor)
        chain = store.open_chain(cursor, session.key)
        done = admission.earlier(cursor, session, chain, lines, request_id)
        refused = None if done is not None else admission.refusal(store, chain, author)
        verdict = self._judge(cursor, chain, position)
        if not verdict.accepted:
            verdict_id = parking.new_id("v")
            why = parking.Refusal(
                "takeover", verdict_id, author.claim, chain.head.claim, self.mark.epoch
            )
            kept = (
                None if done else parking.park(cursor, store, chain, author, lines, request_id, why)
            )
            # Equal lines are parked once: each verdict says itself which write it refused.
            verdict = replace(verdict, id=verdict_id)
            verdict = self._keep(self._telling.insert(cursor, chain, verdict, kept))
            return admission.Outcome(done or []), verdict, kept
        if done is not None:
            return admission.Outcome(done), verdict, None
        if refused is not None:
            error = admission.keep(cursor, store, chain, author, lines, request_id, refused)
            return admission.Outcome([], error), verdict, None
        entries = admission.store_lines(cursor, store, chain, author, lines, request_id)
        mark = mark_at_head(cursor, chain, store)
        store.after_commit(lambda: self._move(mark))
        return admission.Outcome(entries), verdict, None

    def _judge(
        self, cursor: Cursor, chain: Chain | None, position: tuple[int, int] | None
    ) -> Verdict:
        store, mark = self.store, self.mark
        name = policy.name_of(self.policy)
        if chain is None:
            return self._keep(Verdict(ACCEPTED, self.session.key, mark, name))
        head = store.fresh(chain).head
        writers = store.registry.writers
        found: Iterable[Entry]
        # Nobody but this connection has committed since, and it not to this session.
        is_still = self._generation == store.generation and head.seq == mark.seq
        is_at_mark = (head.seq, head.seal) == (mark.seq, mark.seal) and not (
            chain.occupied or chain.is_odd or mark.beyond
        )
        if is_still:
            found = ()
        elif is_at_mark:
            found = found_at(cursor, chain, mark, writers)
        else:
            found = found_since(cursor, chain, mark, writers)
        own = (
            None
            if self.session.identity is None
            else store.instance_of(self.session.identity.writer)
        )
        arrived, foreign, reasons = judge(found, own, policy.resolve(self.policy))
        verdict = Verdict(
            TAKEOVER if foreign else ACCEPTED,
            chain.key,
            mark,
            name,
            tuple(arrived),
            tuple(foreign),
            tuple(reasons),
            head_seq=head.seq,
            head_epoch=head.epoch,
            fence_id=self.id,
            places=places_of(cursor, store, chain, foreign) if foreign else {},
            asker=self._asker(),
        )
        if verdict.accepted:
            # With each move of the mark: a size that was measured before a rewrite, and
            # believed behind it, would make lines that the file lacks yet lines that were cut off.
            self._floor = floor_at(cursor, chain, position)
            if not is_still:
                if (
                    not is_at_mark
                ):  # else it would be the very same: no policy accepts a changed row
                    self._move(mark_at_head(cursor, chain, store))
                self._generation = store.generation
                self.arrived += arrived
        return self._keep(verdict)

    def _keep(self, verdict: Verdict) -> Verdict:
        self.verdict = verdict
        return verdict

    def _move(self, mark: Mark) -> None:
        self.mark = mark

    # -- what is open -----------------------------------------------------------------

    @property
    def unresolved(self) -> list[Entry]:
        """The session's foreign entries up to the fence that nobody has resolved."""
        with self.store.snapshot() as cursor:
            chain = chain_of(cursor, self.session)
            if chain is None:
                return []
            return foreign_so_far(cursor, chain, self.store.registry.writers)

    def _examine(self, cursor: Cursor, chain: Chain) -> Verdict | None:
        """Look at every row nobody has examined; return a verdict on what is foreign and new."""
        head = chain.head
        if chain.examined == head.seq and not self.mark.beyond:
            return None
        writers = self.store.registry.writers
        found = [
            *found_after(cursor, chain, chain.examined, writers, chain.reported),
            *found_at(cursor, chain, self.mark, writers),
        ]
        unknown = (entry for entry in found if entry.seq not in chain.reported)
        _, foreign, reasons = judge(unknown, None, policy.cotenant)
        if not foreign:
            chain.examined = head.seq
            return None
        return Verdict(
            BETWEEN_FENCES, chain.key, self.mark, "cotenant", (), tuple(foreign), tuple(reasons),
            head_seq=head.seq, head_epoch=head.epoch, fence_id=self.id,
            places=places_of(cursor, self.store, chain, foreign), asker=self._asker(),
        )  # fmt: skip

    # -- storing ----------------------------------------------------------------------

    def _store_with_next_write(self, chain: Chain) -> None:
        writer_id, instance_id = teller(self.session)
        if writer_id is not None and instance_id is not None:
            chain.waiting.append((sql.INSERT_FENCE, self._row(chain, writer_id, instance_id)))
            del chain.waiting[:-_WAITING]  # fences that nobody wrote under are not missed

    def _asker(self) -> str | None:
        identity = self.session.identity
        return None if identity is None else f"{identity.writer} ({identity.role})"

    def stored(self) -> str:
        """Store the fence now, so that another process can check it; return its id."""
        with self.store.transaction() as cursor:
            author = self.session.author(cursor)
            chain = self.store.open_chain(cursor, self.session.key)
            # A new list, for a rollback puts the old one back.
            chain.waiting = [item for item in chain.waiting if item[1][0] != self.id]
            if cursor.execute("SELECT 1 FROM fences WHERE id = ?", (self.id,)).fetchone() is None:
                cursor.execute(
                    sql.INSERT_FENCE, self._row(chain, author.writer.id, author.instance_id)
                )
            if chain.examined >= self.mark.seq:
                persist_examined(cursor, chain)
        return self.id

    def _row(self, chain: Chain, writer_id: int, instance_id: int) -> FenceRow:
        who = (self.id, chain.session_id, writer_id, instance_id)
        return FenceRow.proved(self.store, who, self.mark, self._floor)

    # -- as a block -------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.check()
        elif error is not self._telling.error and isinstance(error, Exception):
            # The block's own error is what the caller must see; the verdict rides along.
            error.add_note(self._verdict_note())

    def _verdict_note(self) -> str:
        try:
            return f"fence {self.id}: {self.check(raise_=False).summary()}"
        except Exception as error:  # noqa: BLE001 - never hide the block's own error
            return f"fence {self.id}: not checked: {error}"

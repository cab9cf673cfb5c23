"""Batches: writes on several sessions in one transaction, each its own write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from journal.admission import changed_since, earlier, first_written, keep, refusal, store_lines
from journal.errors import EntryError
from journal.model import check_label
from journal.parts import encode_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.errors import RefusedError
    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session
    from journal.store import Store


@dataclass(slots=True)
class Receipt:
    """One write of a batch; ``entries`` is filled once the batch is durable.

    ``written`` says whether this batch wrote them, and did not find them done.
    """

    session: Session
    lines: list[Line]
    request_id: str | None
    base: int | None = None
    first_wins: bool = False
    only_with: Receipt | None = None
    entries: list[Entry] = field(default_factory=list)
    written: bool = False


class Batch:
    """Collects writes and commits them together when its block ends without an error.

    All or none: if one is refused, nothing is written, and what the batch had for
    that session is parked: as one write, which has a request id only if it was one. So
    let nobody send again, by their ids, the several writes that somebody has applied.
    No lock is held while the block runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._receipts: list[Receipt] = []

    def append(  # noqa: PLR0913 - what a write may be bound to
        self,
        session: Session,
        line: object,
        *,
        request_id: str | None = None,
        base: int | None = None,
        first_wins: bool = False,
        only_with: Receipt | None = None,
    ) -> Receipt:
        """Add one line for a session; as :meth:`extend`."""
        return self.extend(
            session,
            [line],
            request_id=request_id,
            base=base,
            first_wins=first_wins,
            only_with=only_with,
        )

    def extend(  # noqa: PLR0913 - what a write may be bound to
        self,
        session: Session,
        lines: Iterable[object],
        *,
        request_id: str | None = None,
        base: int | None = None,
        first_wins: bool = False,
        only_with: Receipt | None = None,
    ) -> Receipt:
        """Add several lines for a session, one write.

        Args:
            session: whose.
            lines: as for :meth:`journal.Session.extend`.
            request_id: writes once; the same id with other lines is an error.
            base: ``head.seq`` as the session was read: refused, and parked, if
                anything came since. What the request wrote before is no reason. A session
                that nobody has written to is begun by such a refusal, for what is parked
                is kept with it.
            first_wins: what the request id wrote before stays, and the lines given
                now are neither compared nor written. What was forgotten does not count.
            only_with: an earlier write of this batch: written only if that one is
                written now, and not where it is found done.

        Raises:
            EntryError: a line or request id that cannot be kept, or the session is of
                another journal, which knows its writers by other numbers.

        """
        check_label(request_id, "request id")
        if session.store is not self._store:
            raise EntryError(
                f"{session!r} is of another journal than the batch",
                hint="take both from one Journal, opened once",
                code="another-journal",
            )
        receipt = Receipt(session, encode_lines(lines), request_id, base, first_wins, only_with)
        self._receipts.append(receipt)
        return receipt

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wanted = [receipt for receipt in self._receipts if receipt.lines]
        self._receipts = []  # a second block is another batch
        if error is not None or not wanted:
            return
        try:
            refused = self._written(wanted)
        except BaseException:
            for receipt in wanted:  # what was filled in before the error was not kept
                receipt.entries, receipt.written = [], False
            raise
        if refused is not None:
            raise refused

    def _written(self, wanted: list[Receipt]) -> RefusedError | None:
        """Write all of it, or return the error of what may not be written."""
        with self._store.transaction() as cursor:
            refused = next(
                filter(None, (self._refused(cursor, receipt, wanted) for receipt in wanted)), None
            )
            if refused is None:
                for receipt in wanted:
                    self._write(cursor, receipt)
        return refused

    def _refused(
        self, cursor: Cursor, receipt: Receipt, wanted: list[Receipt]
    ) -> RefusedError | None:
        author = receipt.session.author(cursor)
        key = receipt.session.key
        # Not opened before it is known that something is written: a session is not begun by a
        # refusal, but by one for its base, which parks what would be lost otherwise.
        if self._store.find_chain(cursor, key) is None and not receipt.base:
            return None
        chain = self._store.open_chain(cursor, key)
        error = refusal(self._store, chain, author) or changed_since(chain, receipt.base)
        if error is None or self._done(cursor, chain, receipt):
            return None
        kept = [
            each
            for each in wanted
            if each.session is receipt.session and not self._done(cursor, chain, each)
        ]
        lines = [line for each in kept for line in each.lines]
        request_id = receipt.request_id if len(kept) == 1 else None
        return keep(cursor, self._store, chain, author, lines, request_id, error)

    def _write(self, cursor: Cursor, receipt: Receipt) -> None:
        if receipt.only_with is not None and not receipt.only_with.written:
            return
        author = receipt.session.author(cursor)
        chain = self._store.open_chain(cursor, receipt.session.key)
        done = self._done(cursor, chain, receipt)
        receipt.written = not done
        receipt.entries = done or store_lines(
            cursor, self._store, chain, author, receipt.lines, receipt.request_id
        )

    @staticmethod
    def _done(cursor: Cursor, chain: Chain, receipt: Receipt) -> list[Entry] | None:
        """Return what the write's request wrote before, as far as that counts; or None."""
        if receipt.first_wins and receipt.request_id is not None:
            return first_written(cursor, receipt.session, chain, receipt.request_id) or None
        return earlier(cursor, receipt.session, chain, receipt.lines, receipt.request_id)

"""Batches: writes on several sessions in one transaction, each its own write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from journal.admission import earlier, keep, refusal, store_lines
from journal.model import check_label
from journal.parts import encode_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from journal.engine import Cursor
    from journal.errors import RefusedError
    from journal.lines import Line
    from journal.model import Entry
    from journal.session import Session
    from journal.store import Store


@dataclass(slots=True)
class Receipt:
    """One write of a batch; ``entries`` is filled once the batch is durable."""

    session: Session
    lines: list[Line]
    request_id: str | None
    entries: list[Entry] = field(default_factory=list)


class Batch:
    """Collects writes and commits them together when its block ends without an error.

    All or none: if one is refused, that one is parked and nothing is written.
    No lock is held while the block runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._receipts: list[Receipt] = []

    def append(self, session: Session, line: object, *, request_id: str | None = None) -> Receipt:
        """Add one line for a session."""
        return self.extend(session, [line], request_id=request_id)

    def extend(
        self, session: Session, lines: Iterable[object], *, request_id: str | None = None
    ) -> Receipt:
        """Add several lines for a session, one write."""
        check_label(request_id, "request id")
        receipt = Receipt(session, encode_lines(lines), request_id)
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
        with self._store.transaction() as cursor:
            refused = next(
                filter(None, (self._refused(cursor, receipt) for receipt in wanted)), None
            )
            if refused is None:
                for receipt in wanted:
                    self._write(cursor, receipt)
        if refused is not None:
            raise refused

    def _refused(self, cursor: Cursor, receipt: Receipt) -> RefusedError | None:
        author = receipt.session.author(cursor)
        chain = self._store.open_chain(cursor, receipt.session.key)
        error = refusal(self._store, chain, author)
        if error is None or earlier(
            cursor, receipt.session, chain, receipt.lines, receipt.request_id
        ):
            return None
        return keep(cursor, self._store, chain, author, receipt.lines, receipt.request_id, error)

    def _write(self, cursor: Cursor, receipt: Receipt) -> None:
        session = receipt.session
        author = session.author(cursor)
        chain = self._store.open_chain(cursor, session.key)
        done = earlier(cursor, session, chain, receipt.lines, receipt.request_id)
        receipt.entries = done or store_lines(
            cursor, self._store, chain, author, receipt.lines, receipt.request_id
        )

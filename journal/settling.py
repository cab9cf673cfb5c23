"""What becomes of a parked write: applied as a new one, or discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal import parking
from journal.admission import store_lines, was_written
from journal.errors import NotFoundError, RefusedError
from journal.model import check_name
from journal.registry import check_role, check_standing
from journal.writing import Author

if TYPE_CHECKING:
    from journal.model import Entry
    from journal.store import Store


def apply(store: Store, parked_id: str, writer: str | None, role: str) -> list[Entry]:
    """Write a parked write's lines: writer the original, recorder whoever applies."""
    if writer is not None:
        check_name(writer)
        check_role(role)
    with store.transaction() as cursor:
        row = parking.unsettled(cursor, store, parked_id)
        key = store.registry.session_keys.get(row.session_id)
        original = store.registry.writers.get(row.writer_id)
        if key is None or original is None:
            raise NotFoundError(
                f"the session or the writer of {parked_id} is not registered any more",
                hint="journal audit",
            )
        chain = store.open_chain(cursor, key)
        check_standing(original)  # it may have been revoked since
        recorder = store.author(cursor, writer, role, declare=True) if writer else None
        if row.content is None:
            raise RefusedError(
                f"the content of {parked_id} was erased", hint="journal parked list", code="erased"
            )
        author = Author(
            original,
            recorder.instance_id if recorder else store.instance(cursor, original),
            None,
            row.run_id,
            row.on_behalf_of,
            recorder.writer.id if recorder else None,
        )
        # The parked row is not in the chain, so its state could be put back; what it
        # became is: a second time finds the first one's entries.
        request_id = row.request_id or f"parked:{row.id}"
        if was_written(cursor, chain, request_id):
            raise RefusedError(
                f"the lines of {parked_id} are in the session already, as request {request_id!r}",
                hint=f"journal parked discard {parked_id} closes it; nothing is lost by that",
                code="settled",
            )
        lines = parking.unpack(row.content)
        entries = store_lines(cursor, store, chain, author, lines, request_id, "parked")
        parking.settle(cursor, store, row, "applied")
    return entries

"""What becomes of a parked write: applied as a new one, or discarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journal import parking, verdicts
from journal.admission import of_request, store_lines, was_written, written_as
from journal.errors import NotFoundError, RefusedError
from journal.holder import check_beside
from journal.inspection import entry_of
from journal.model import check_label, check_name
from journal.parking import Settlement
from journal.registry import check_role, check_standing
from journal.writing import Author

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.lines import Line
    from journal.model import Entry
    from journal.parking import ParkedRow
    from journal.store import Store


def apply(
    store: Store, parked_id: str, writer: str | None, role: str, claim: int | None = None
) -> list[Entry]:
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
        check_beside(cursor, store, chain, recorder or author, claim)
        lines = parking.unpack(row.content)
        request_id = _free_name(cursor, chain, row, lines)
        entries = store_lines(cursor, store, chain, author, lines, request_id, "parked")
        parking.settle(cursor, store, row, "applied")
    return entries


def discard(
    store: Store, parked_id: str, writer: str | None, role: str, reason: str | None
) -> None:
    """Give a parked write up; keep who did it, by which process, and why."""
    check_label(reason, "reason")
    if writer is not None:
        check_name(writer)
        check_role(role)
    with store.transaction() as cursor:
        row = parking.unsettled(cursor, store, parked_id)
        author = (
            store.author(cursor, writer, role, declare=True) if writer else store.keeper(cursor)
        )
        kept = verdicts.VerdictRow(
            parking.new_id("v"), row.session_id, None, author.writer.id, author.instance_id,
            verdicts.DISCARDED, "claim",
        )  # fmt: skip
        facts: dict[str, Any] = {"parked": row.id, "actor": writer, "reason": reason, "foreign": []}
        verdicts.keep(cursor, store, kept, facts)
        parking.settle(cursor, store, row, "discarded")


def settlement(cursor: Cursor, store: Store, row: ParkedRow) -> Settlement | None:
    """Return how a parked write ended; None while it is open."""
    if row.settled is None:
        return None
    if row.settled == "applied":
        return _applied(cursor, store, row)
    kept = verdicts.discarding(cursor, store, row.session_id, row.id)
    found = Settlement(row.settled, row.settled_us or 0)
    if kept is None:
        return found
    facts = kept.facts
    return found._replace(by=facts["actor"], instance_id=kept.instance_id, reason=facts["reason"])


def _applied(cursor: Cursor, store: Store, row: ParkedRow) -> Settlement:
    """Return what a parked write became, from the entries that its request made."""
    found = Settlement("applied", row.settled_us or 0)
    chain = store.find_chain(cursor, store.registry.session_keys.get(row.session_id, ""))
    if chain is None:
        return found
    # Under its own name, if others had been written under its request's.
    rows = next(filter(None, (of_request(cursor, chain, name) for name in _names(row)[::-1])), None)
    if rows is None:
        return found
    entries = [entry_of(each, chain, store.registry.writers) for each in rows]
    first = entries[0]
    return found._replace(
        by=first.recorder or first.writer,
        instance_id=first.instance_id,
        seqs=tuple(entry.seq for entry in entries),
    )


def _free_name(cursor: Cursor, chain: Chain, row: ParkedRow, lines: list[Line]) -> str:
    """Return the request id by which a parked write is applied: once, for that is in the chain.

    The parked row is not, so its state could be put back: a second time finds the first one's
    entries. Where other lines were written under its own request id it is not lost for that.

    Raises:
        RefusedError: its lines are in the session already.

    """
    for name in _names(row):
        written = written_as(
            cursor, chain, lines, name, row.parked_us - 1
        )  # in the same moment: perhaps
        if written is not None and written.is_sure:
            raise RefusedError(
                f"the lines of {row.id} are in the session already, as request {name!r}",
                hint=f"journal parked discard {row.id}  # closes it; nothing is lost by that",
                code="settled",
            )
        if written is not None:
            raise RefusedError(
                f"seq {written.seq} was written since as request {name!r}, and erased: nobody can tell whether "
                f"it was the lines of {row.id}",
                hint=f"journal parked show {row.id}  # append them anew if they are not to be lost",
                code="settled",
            )
    for name in _names(row):
        if not was_written(cursor, chain, name):
            return name
    raise RefusedError(
        f"other lines were written under each name that {row.id} could have",
        hint=f"journal parked show {row.id}  # then append its lines",
        code="request-reused",
    )


def _names(row: ParkedRow) -> list[str]:
    """Return the request ids that a parked write may be applied by: its own, then one that only it has."""
    return [name for name in (row.request_id, f"parked:{row.id}") if name is not None]

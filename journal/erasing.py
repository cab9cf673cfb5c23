"""Erasing lines from the database: the rows, and whatever else keeps their bytes."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import parking
from journal import statements as sql
from journal.admission import refusal
from journal.controls import fact
from journal.errors import CorruptError, no_session
from journal.holder import beside_turns
from journal.inputs import InputRow
from journal.tables import parked, pending_inputs, verdicts
from journal.verdicts import VerdictRow
from journal.writing import write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.model import Row
    from journal.session import Session
    from journal.store import Store
    from journal.writing import Author

DONE: Final = "done"
PENDING: Final = "pending"
OUT_OF_REACH: Final = "out of reach"
KEPT: Final = "kept"
EQUAL: Final = "equal line"
_LOOKED_FOR: Final = 500
_TOLD: Final = 20
_ERASE: Final = (
    "UPDATE entries SET body = NULL, salt = NULL, line_type = NULL, line_id = NULL, parent_id = NULL "
    "WHERE session_id = ? AND seq = ?"
)


class Receipt(NamedTuple):
    """What became of one copy of redacted lines.

    Attributes:
        copy: where it was: "entry", "parked write", "taken input", "evidence", "mirror",
            "write-ahead log", "equal line", "elsewhere".
        state: "done"; "pending": run it again once the reader has gone; "kept": it was
            not asked for; or "out of reach".
        detail: which one, or what to do.

    """

    copy: str
    state: str
    detail: str


def chain_of(session: Session, cursor: Cursor) -> Chain:
    """Return a session's chain as it stands, with what its sealed control entries say.

    Raises:
        NotFoundError: there is no such session.

    """
    chain = session.store.find_chain(cursor, session.key)
    if chain is None:
        raise no_session(session.key)
    session.store.fresh(chain).load_facts(cursor)
    return chain


def opened(session: Session, cursor: Cursor) -> tuple[Chain, Author]:
    """Return the chain to write to, and who writes, if this writer may."""
    store, author = session.store, session.author(cursor)
    chain = store.open_chain(cursor, session.key)
    refused = refusal(store, chain, author)
    if refused is not None:
        raise beside_turns(refused)
    chain.load_facts(cursor)
    return chain, author


def erase(session: Session, rows: list[Row], reason: str) -> list[Receipt]:
    """Erase lines and what else the database keeps of them, in one transaction, and seal that it was done.

    What is on record as erased already, by somebody else a moment ago or before its bytes were
    put back, is erased all the same and not recorded again.

    Raises:
        RefusedError: this writer may not.
        CorruptError: a row is not there any more, or cannot be changed.

    """
    store = session.store
    if not rows:
        return []
    with store.transaction() as cursor:
        chain, author = opened(session, cursor)
        bodies = {row.body or b"" for row in rows}
        _record(cursor, store, chain, author, unrecorded(chain, rows), reason)
        for row in rows:
            cursor.execute(_ERASE, (chain.session_id, row.seq))
            if cursor.rowcount != 1:
                raise CorruptError(
                    f"{store.path}: entry {row.seq} could not be erased", hint="journal audit"
                )
        receipts = [Receipt("entry", DONE, f"{session.key}, seq {row.seq}") for row in rows]
        receipts += _erase_parked(cursor, store, chain, bodies)
        receipts += _erase_inputs(cursor, store, chain, bodies)
        receipts += _erase_evidence(cursor, store, chain, {row.seq for row in rows}, bodies)
        receipts += _equal(cursor, session.key, chain, bodies)
    return receipts


def unrecorded(chain: Chain, rows: Iterable[Row]) -> list[Row]:
    """Return those of some lines of which no sealed redaction says that they were erased."""
    return [row for row in rows if row.seq not in chain.redacted]


def _record(  # noqa: PLR0913 - what a redaction says
    cursor: Cursor, store: Store, chain: Chain, author: Author, rows: list[Row], reason: str
) -> None:
    """Seal that lines are erased, and by whom and why; nothing where there are none."""
    if not rows:
        return
    sizes = {str(row.seq): len(row.body or b"") for row in rows}
    redaction = fact("redaction", rows=sizes, reason=reason)
    (control,) = [
        entry
        for entry in write(cursor, chain, author, store.clock(), facts=[redaction])
        if entry.body == redaction.body
    ]
    for row in rows:
        cursor.execute(
            "INSERT INTO redactions(session_id, seq, control_seq, writer_id, reason, redacted_us) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (chain.session_id, row.seq, control.seq, author.writer.id, reason, store.clock()),
        )


def _erase_parked(
    cursor: Cursor, store: Store, chain: Chain, bodies: set[bytes]
) -> Iterator[Receipt]:
    for row in parking.of_session(cursor, chain.session_id, settled=True):
        lines = parking.unpack(row.content or b"") if row.holds(store) else []
        if any(line.body in bodies for line in lines):
            _blank(cursor, row.id)
            yield Receipt("parked write", DONE, row.id)


def _blank(cursor: Cursor, parked_id: str) -> None:
    statement = f"UPDATE {parked.name} SET content = NULL WHERE id = ?"  # noqa: S608 - our own table's name
    cursor.execute(statement, (parked_id,))


def erase_settled(session: Session) -> list[Receipt]:
    """Erase what is kept of a session's refused writes that were applied or discarded, whatever they said."""
    store = session.store
    with store.transaction() as cursor:
        chain, _ = opened(session, cursor)
        rows = parking.of_session(cursor, chain.session_id, settled=True)
        ended = [row for row in rows if row.settled is not None and row.content is not None]
        for row in ended:
            _blank(cursor, row.id)
    return [Receipt("parked write", DONE, row.id) for row in ended]


def _erase_inputs(
    cursor: Cursor, store: Store, chain: Chain, bodies: set[bytes]
) -> Iterator[Receipt]:
    for row in _inputs_of(cursor, chain, bodies):
        if not row.holds(store):
            continue
        if row.taken_seq is None:
            yield Receipt(
                "pending input", KEPT, f"input {row.id}: equal bytes, said but not taken yet"
            )
            continue
        erased = row._replace(body=None)
        cursor.execute(
            "UPDATE pending_inputs SET body = NULL, mac = ? WHERE id = ?",
            (erased.proof(store), row.id),
        )
        yield Receipt("taken input", DONE, f"input {row.id}")


def _inputs_of(cursor: Cursor, chain: Chain, bodies: set[bytes]) -> list[InputRow]:
    """Return what was said to a session in just these words; of all else that was said nothing is held."""
    select = f"{sql.all_of(pending_inputs)} WHERE session_id = ? AND body IN"
    return [
        InputRow.read(row)
        for some, marks in _some(bodies)
        for row in cursor.execute(f"{select} ({marks})", (chain.session_id, *some)).fetchall()
    ]


def _some(bodies: set[bytes]) -> Iterator[tuple[list[bytes], str]]:
    """Yield lines' bytes, many at a time, and as many marks: no index has them, so each question is a walk."""
    wanted = sorted(bodies)
    for at in range(0, len(wanted), _LOOKED_FOR):
        some = wanted[at : at + _LOOKED_FOR]
        yield some, ", ".join("?" * len(some))


def _erase_evidence(
    cursor: Cursor, store: Store, chain: Chain, seqs: set[int], bodies: set[bytes]
) -> Iterator[Receipt]:
    """Blank the excerpts that verdicts keep of foreign lines."""
    beginnings = {body.decode("utf-8", "backslashreplace") for body in bodies}
    found = cursor.execute(
        f"{sql.all_of(verdicts)} WHERE session_id = ?", (chain.session_id,)
    ).fetchall()
    for row in map(VerdictRow.read, found):
        if not row.holds(store):
            continue
        facts, is_changed = row.facts, False
        for item in facts.get("foreign", ()):
            said = item.get("body") or ""
            if said and (item.get("seq") in seqs or any(b.startswith(said) for b in beginnings)):
                item["body"], is_changed = "", True
        if is_changed:
            blank = row._replace(evidence=json.dumps(facts))
            mac = store.mac("verdict", *blank[:-1])
            cursor.execute(
                "UPDATE verdicts SET evidence = ?, mac = ? WHERE id = ?",
                (blank.evidence, mac, row.id),
            )
            yield Receipt("evidence", DONE, f"verdict {row.id}")


def _equal(cursor: Cursor, key: str, chain: Chain, bodies: set[bytes]) -> Iterator[Receipt]:
    """Yield the lines that say the same and were not named, of each body the first few."""
    told = Counter[bytes]()
    for some, marks in _some(bodies):
        cursor.execute(
            f"SELECT seq, body FROM entries WHERE session_id = ? AND body IN ({marks}) ORDER BY seq",  # noqa: S608 - marks
            (chain.session_id, *some),
        )
        for seq, body in iter(cursor.fetchone, None):
            told[body] += 1
            if told[body] <= _TOLD:
                yield Receipt(EQUAL, KEPT, f"{key}, seq {seq}: redact it, too")

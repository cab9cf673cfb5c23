"""A second opinion on a journal: walks every chain with nothing but the seals.

It shares no code with the write path or the audit but ``journal.seal``, opens the
database read-only, and tells rows apart from rows alone. What it finds is a list
of (session key, seq, what).
"""

from __future__ import annotations

import json
from contextlib import closing
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from journal import keys
from journal.engine import connect
from journal.model import REGISTRY_ID, REGISTRY_KEY, Row
from journal.seal import Sealer, body_holds, derive_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Oddness(NamedTuple):
    """One thing that a healthy journal does not have."""

    session: str
    seq: int
    what: str


class Chains(NamedTuple):
    """What stands in a journal: the rows of its chains by session, and what is odd."""

    rows: dict[str, list[Row]]
    odd: list[Oddness]


def walk(path: Path | str, key_file: Path | str) -> Chains:
    """Read a journal and judge each row by its own seal, each link, each count."""
    with closing(connect(str(path), mode="ro")) as connection:
        connection.execute("BEGIN")
        everything = _rows(connection)
        projections = {
            row[0]: row[1:]
            for row in connection.execute(
                "SELECT id, key, head_seq, head_epoch, cum_bytes FROM sessions"
            )
        }
        (journal_id,) = connection.execute(
            "SELECT value FROM meta WHERE name = 'journal_id'"
        ).fetchone()
        connection.execute("COMMIT")
    key = derive_key(keys.read_secret(keys.key_path(journal_id, key_file)), journal_id)
    return _judged(key, everything, projections)


def _rows(connection: Any) -> list[Row]:
    columns = [
        f"CAST({name} AS BLOB)" if declared == "TEXT" else name
        for _, name, declared, *_ in connection.execute("PRAGMA table_info(entries)")
    ]
    found = connection.execute(f"SELECT {', '.join(columns)} FROM entries ORDER BY session_id, seq")
    return [Row._make(row) for row in found]


def _judged(key: bytes, everything: list[Row], projections: dict[int, tuple[Any, ...]]) -> Chains:
    by_session = {
        number: list(rows) for number, rows in groupby(everything, lambda row: row.session_id)
    }
    names = {REGISTRY_ID: REGISTRY_KEY}
    for row in by_session.get(REGISTRY_ID, ()):
        if _sealer(key, row, REGISTRY_KEY).status(row) == "sealed":
            fact = json.loads(row.body or b"{}")
            if fact["control"] == "session":
                names[fact["id"]] = fact["key"]
    rows, odd = {}, []
    for number, name in names.items():
        found = by_session.pop(number, [])
        # An altered line still holds its place in the chain: the seal covers its commitment.
        rows[name] = [row for row in found if _sealer(key, row, name).seal_holds(row)]
        judged = ((row.seq, _sealer(key, row, name).status(row)) for row in found)
        odd += [Oddness(name, seq, status) for seq, status in judged if status != "sealed"]
        odd += _unlinked(key, name, number, rows[name])
        odd += _misplaced(name, rows[name], projections.get(number))
    odd += [Oddness(f"session {number}", 0, "unknown session") for number in by_session]
    return Chains(rows, odd)


def _sealer(key: bytes, row: Row, name: str) -> Sealer:
    return _made_sealer(key, row.key_id, row.session_id, name)


_made_sealer = lru_cache(maxsize=64)(Sealer)


def _unlinked(key: bytes, name: str, number: int, rows: list[Row]) -> Iterator[Oddness]:
    prev, seq, epoch, total = Sealer(key, 1, number, name).genesis, 0, 0, 0
    named = _named(rows)
    last_author: tuple[int, int] | None = None
    for row in rows:
        seq += 1
        while seq in named:
            seq += 1
        if row.seq != seq:
            yield Oddness(name, row.seq, f"seq {seq} was due")
            seq = row.seq
        author = (row.writer_id, row.instance_id)
        if row.epoch != epoch + 1 and (row.epoch != epoch or author != last_author):
            yield Oddness(name, row.seq, f"epoch {row.epoch} after {epoch}")
        if row.prev != prev:
            yield Oddness(name, row.seq, "the link is broken")
        total += len(row.body or b"") + len(row.terminator) if row.kind != b"control" else 0
        if row.cum_bytes != total and body_holds(row):
            yield Oddness(name, row.seq, f"cum_bytes {row.cum_bytes}, {total} was due")
        total = row.cum_bytes
        prev, epoch, last_author = row.seal[:16], row.epoch, author


def _named(rows: list[Row]) -> set[int]:
    """Return the seqs that sealed entries say were stepped over."""
    facts = [
        json.loads(row.body or b"{}") for row in rows if row.kind == b"control" and body_holds(row)
    ]
    oddities = [odd for fact in facts if fact["control"] == "stray" for odd in fact["rows"]]
    ranges = [pair for odd in oddities for pair in odd["ranges"]]
    # A far seq may be named alone; no test here names more than a few.
    return {seq for first, last in ranges for seq in range(first, last + 1)}


def _misplaced(name: str, rows: list[Row], projection: tuple[Any, ...] | None) -> Iterator[Oddness]:
    head = (rows[-1].seq, rows[-1].epoch, rows[-1].cum_bytes) if rows else (0, 0, 0)
    if projection != (name, *head):
        yield Oddness(name, head[0], f"the projection says {projection}, not {(name, *head)}")

"""The tables that could be rebuilt from sealed entries: sessions, writers, meta."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journal import tables
from journal.audit.source import text
from journal.controls import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.audit.declarations import Declarations, Registered
    from journal.audit.source import Source
    from journal.audit.walk import Walk
    from journal.seal import Sealer


class SessionRow(NamedTuple):
    """One row of ``sessions`` as it stands."""

    id: int
    key: bytes
    head_seq: int
    head_epoch: int
    cum_bytes: int
    examined_seq: int
    examined_mac: bytes
    layout_no: int
    created_us: int


def row_of(source: Source, session_id: int) -> SessionRow | None:
    """Return a session's row, or None."""
    names = ", ".join(f'"{column.name}"' for column in tables.sessions.c)
    found = source.query(f"SELECT {names} FROM sessions WHERE id = ?", session_id).fetchone()  # noqa: S608
    return None if found is None else SessionRow(*found)


def session_faults(  # noqa: PLR0913 - all that such a row is held against
    row: SessionRow | None,
    registered: Registered,
    walk: Walk,
    *,
    proven: int,
    layout_no: int | None,
    was_restored: bool,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """J401: yield in what a session's row differs from what its entries say.

    ``proven`` is the latest seq that a proof names: where the newest entries are
    gone, a row that still says so is right.
    """
    if row is None:
        yield "it is not there", {}
        return
    if row.key != registered.key.encode():
        yield "its key is another", {"expected": registered.key, "found": text(row.key)}
    yield from _head_faults(row, walk, proven)
    if layout_no not in (None, row.layout_no):
        evidence = {"expected": layout_no, "found": row.layout_no}
        yield "its layout is not the newest that a sealed entry made", evidence
    # Put back by an honest write after it was deleted, it has lost its time.
    restored = row.created_us == 0 and was_restored
    if registered.at_us not in (None, row.created_us) and not restored:
        yield "its time is another", {"expected": registered.at_us, "found": row.created_us}


def _head_faults(row: SessionRow, walk: Walk, proven: int) -> Iterator[tuple[str, dict[str, Any]]]:
    last = walk.last
    head = (0, 0, 0) if last is None else (last.seq, last.epoch, last.cum_bytes)
    found = (row.head_seq, row.head_epoch, row.cum_bytes)
    if found == head or (row.head_seq > head[0] and row.head_seq in {proven, *walk.changed}):
        return
    names = ("seq", "epoch", "cum_bytes")
    evidence = {
        "expected": dict(zip(names, head, strict=True)),
        "found": dict(zip(names, found, strict=True)),
    }
    if row.head_seq > head[0]:
        yield "it says more than there is: it was moved, or the newest entries are gone", evidence
    else:
        yield "its head is not the newest entry", evidence


def examined(row: SessionRow | None, sealer: Sealer) -> tuple[int | None, str | None]:
    """J404: return the seq up to which a key holder examined, and why the row is not believed."""
    if row is None:
        return None, None
    if row.examined_mac == sealer.examined_mac(row.examined_seq):
        return row.examined_seq, None
    if (row.head_seq, row.examined_seq, row.examined_mac) == (0, 0, b""):
        return None, None  # registered, and not written to yet
    return None, "its proof does not hold"


def unregistered(source: Source, known: Declarations) -> Iterator[dict[str, Any]]:
    """J402: yield the rows of ``sessions`` that no sealed entry registers."""
    for number, key in source.query('SELECT id, "key" FROM sessions ORDER BY id'):
        if number not in known.sessions:
            yield {"session": number, "key": text(key)}


def writer_faults(source: Source, known: Declarations) -> Iterator[tuple[str, dict[str, Any]]]:
    """J405: yield in what the table of writers differs from what was declared."""
    seen = set()
    for number, name, role, declared_us, revoked_us, reason in source.table(tables.writers):
        seen.add(number)
        writer, revoked = known.writers.get(number), known.revoked.get(number)
        if writer is None:
            yield "no sealed entry declares it", {"writer": number, "name": text(name)}
            continue
        at_us = declared_us if writer.at_us is None else writer.at_us
        expected = (
            writer.name,
            writer.role,
            at_us,
            revoked and revoked.at_us,
            revoked and revoked.reason,
        )
        found = (
            text(name),
            text(role),
            declared_us,
            revoked_us,
            None if reason is None else text(reason),
        )
        if found != expected:
            names = ("name", "role", "declared_us", "revoked_us", "reason")
            yield (
                "a row was edited",
                {
                    "writer": number,
                    "expected": dict(zip(names, expected, strict=True)),
                    "found": dict(zip(names, found, strict=True)),
                },
            )
    for number in known.writers.keys() - seen:
        yield "a row is gone", {"writer": number, "name": known.name_of(number)}


def mirror_faults(source: Source, known: Declarations) -> Iterator[tuple[str, dict[str, Any]]]:
    """J415: yield in what the table of mirrors differs from what was registered."""
    names = [column.name for column in tables.mirrors.c]
    seen = set()
    for row in source.table(tables.mirrors):
        values = dict(zip(names, row, strict=True))
        number = values["id"]
        seen.add(number)
        mirror = known.mirrors.get(number)
        if mirror is None:
            yield "no sealed entry registers it", {"mirror": number, "path": text(values["path"])}
            continue
        found = [values[name] for name in mirror._fields]
        found = [text(value) if isinstance(value, bytes) else value for value in found]
        is_removed = values["state"] == b"removed"
        if found != list(mirror) or is_removed != (number in known.removed):
            told = dict(zip(mirror._fields, found, strict=True))
            yield (
                "a row was edited",
                {"mirror": number, "expected": mirror._asdict(), "found": told},
            )
    for number in known.mirrors.keys() - seen:
        yield "a row is gone", {"mirror": number, "path": known.mirrors[number].path}


def meta_faults(
    source: Source, known: Declarations, journal_id: str | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """J406: yield in what ``meta`` differs from the registry's first entry."""
    facts = known.journal
    expected = {
        "journal_id": facts.get("id", journal_id),
        "format": str(facts.get("format", FORMAT)),
        "key_fingerprint": known.eras.get(known.key_id, facts).get("fingerprint"),
    }
    found = {text(name): text(value) for name, value in source.table(tables.meta)}
    if not facts:
        yield "the registry's first entry is gone, so only the table tells", {"found": found}
        del expected["key_fingerprint"]
        found.pop("key_fingerprint", None)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            told = {"name": name, "expected": expected.get(name), "found": found.get(name)}
            yield "a row is gone, was added or edited", told

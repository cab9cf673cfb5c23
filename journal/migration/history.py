"""The runs of migrations, and what each of them did, as the journal has it on record."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import LargeBinary, Text, cast, select

from journal.errors import NotFoundError
from journal.migration import receipts
from journal.statements import compiled
from journal.tables import migrations

if TYPE_CHECKING:
    from journal.journal import Journal
    from journal.migration.receipts import Receipt


class Run(NamedTuple):
    """One run.

    Attributes:
        number: as ``journal migrate list`` shows it.
        sources: the paths it was given.
        state: "done", "set aside" (some file was), "interrupted" or "running".
        files, lines, bytes: what it added.
        started_us, finished_us: microseconds since 1970 UTC.

    """

    number: int
    sources: tuple[str, ...]
    state: str
    files: int
    lines: int
    bytes: int
    started_us: int
    finished_us: int | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**self._asdict(), "sources": list(self.sources)}


class Brought(NamedTuple):
    """One file that a run read, and the session it became."""

    session: str
    receipt: Receipt

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        kept = self.receipt._asdict()
        del kept["migration_id"], kept["session_id"]
        return {"session": self.session, **kept}


def runs(journal: Journal) -> list[Run]:
    """Return every run, oldest first."""
    with journal.store.snapshot() as cursor:
        rows = cursor.execute(_select()).fetchall()
    return [Run(row[0], _sources(_text(row[1])), _text(row[2]), *row[3:]) for row in rows]


@cache
def _select() -> str:
    # Text as bytes: a row put there by plain SQL need not be UTF-8, and the driver would not hand it out.
    columns = [
        cast(each, LargeBinary) if isinstance(each.type, Text) else each for each in migrations.c
    ]
    return compiled(select(*columns).order_by(migrations.c.id))


def _text(value: bytes) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")


def run(journal: Journal, number: int) -> tuple[Run, list[Brought]]:
    """Return one run and the files it read, in the order it read them.

    Raises:
        NotFoundError: there was no such run.

    """
    found = next((each for each in runs(journal) if each.number == number), None)
    if found is None:
        raise NotFoundError(
            f"there was no run {number}", hint="journal migrate list", code="no-run"
        )
    with journal.store.snapshot() as cursor:
        keys = journal.store.registry.session_keys
        kept = receipts.of_run(cursor, number)
    return found, [
        Brought(keys.get(each.receipt.session_id, ""), each.receipt) for each in reversed(kept)
    ]


def _sources(text: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        return (text,)  # a row that was edited by hand

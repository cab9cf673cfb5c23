"""One journal with a history of its own, one cell or row of it forged at a time: the audit must tell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from journal import Journal, tables
from journal.audit import audit
from journal.engine import driver
from journal.errors import JournalError
from tests.audit.healthy import STEPS, History
from tests.audit.test_tampering import (
    CELLS,
    KNOWN_TO_VANISH,
    KNOWN_UNDETECTABLE,
    change,
    forged,
    is_bytes,
    is_number,
    primary,
)
from tests.thieves import Thief

MOST: Final = 10_000  # journals of one process: the seeds of another begin there
_MUTATIONS: Final = 200  # of one journal; then another
_TOLD: Final = [cell for cell in CELLS if cell not in KNOWN_UNDETECTABLE]
_COUNTED: Final = [
    table.name for table in tables.metadata.sorted_tables if table.name not in KNOWN_TO_VANISH
]


def run(home: str, seed: int, seconds: float) -> dict[str, Any]:
    """Forge one journal after another for so long; return counts, and what an audit did not tell."""
    until, wrong, counts = time.monotonic() + seconds, list[str](), [0, 0, 0]
    for number in range(MOST):
        if number and time.monotonic() > until:
            break
        found = one_journal(Path(home), seed + number, until)
        counts = [a + b for a, b in zip(counts, (1, found.edits, found.removals), strict=True)]
        wrong += [f"seed {seed + number}: {each}" for each in found.wrong]
    names = ("journals", "edits", "removals")
    return {"wrong": wrong, **dict(zip(names, counts, strict=True))}


@dataclass
class Found:
    """How many forgeries there were, and which of them an audit did not tell."""

    edits: int = 0
    removals: int = 0
    wrong: list[str] = field(default_factory=list)


def one_journal(home: Path, seed: int, until: float) -> Found:
    """Write a journal at random, forge it in many ways, one after another, and audit each."""
    path, key = home / f"{seed}.db", home / "key"
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    with Journal(path, key_file=key, durability="normal") as journal:
        history = History(journal, chance)
        for _ in range(STEPS):
            history.step()
    forger = _Forger(path, key, chance)
    for number in range(_MUTATIONS):
        if number and time.monotonic() > until:
            break
        (forger.edit if chance.random() < 0.8 else forger.remove)()
    forger.end()
    for each in home.glob(f"{seed}.db*"):
        each.unlink()
    return forger.found


class _Forger:
    """A thief, and the audit that is asked after each of his forgeries."""

    def __init__(self, path: Path, key: Path, chance: Random) -> None:
        self._path, self._key, self._chance = path, key, chance
        self._thief = Thief(path)
        self.found = Found()
        self._before = self._told()
        if self._before:
            self.found.wrong.append(f"healthy, and the audit says {sorted(self._before)}"[:500])

    def edit(self) -> None:
        """Give a cell another value, look, and put the old one back."""
        table, column = self._chance.choice(_TOLD)
        rowid = self._row(table)
        if rowid is None:
            return
        value = self._thief.ask(f'SELECT "{column}" FROM {table} WHERE rowid = ?', rowid)
        other = _other(table, column, value)
        try:
            change(self._thief, table, column, rowid, other)
        except driver().Error:
            return  # the table takes no such value
        self.found.edits += 1
        if self._told() == self._before:
            self.found.wrong.append(f"{table}.{column} of row {rowid}: {value!r} to {other!r}")
        change(self._thief, table, column, other if column == primary(table) else rowid, value)

    def remove(self) -> None:
        """Take a row away, look, and put it back."""
        table = self._chance.choice(_COUNTED)
        rowid = self._row(table)
        if rowid is None:
            return
        thief = self._thief
        names = ", ".join(f'"{column.name}"' for column in tables.metadata.tables[table].c)
        values = thief.execute(f"SELECT {names} FROM {table} WHERE rowid = ?", rowid).fetchone()
        with thief.without_triggers():
            thief.execute(f"DELETE FROM {table} WHERE rowid = ?", rowid)
        self.found.removals += 1
        if self._told() == self._before:
            self.found.wrong.append(f"{table}, row {rowid} taken away: {values!r}"[:500])
        marks = ", ".join("?" * (len(values) + 1))
        with thief.without_triggers():
            thief.execute(f"INSERT INTO {table}(rowid, {names}) VALUES ({marks})", rowid, *values)

    def end(self) -> None:
        """Make sure that all is as it was, so that each forgery stood alone."""
        if self._told() != self._before:
            self.found.wrong.append("the journal is not what it was before the forgeries")
        self._thief.close()

    def _row(self, table: str) -> Any:
        rows = self._thief.execute(f"SELECT rowid FROM {table}").fetchall()
        return self._chance.choice(rows)[0] if rows else None

    def _told(self) -> set[str]:
        try:
            report = audit(self._path, key_file=self._key, mirrors=False)
        except JournalError as error:
            return {f"{error.code}: {error}"}
        return {str(finding.as_json()) for finding in report.findings}


def _other(table: str, column: str, value: Any) -> Any:
    if value is not None:
        return forged(value)
    if is_number(table, column):
        return 1
    return b"forged" if is_bytes(table, column) else "forged"

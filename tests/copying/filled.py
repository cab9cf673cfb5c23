"""A journal with a row of every kind, and two journals held against each other row by row."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from journal import Journal, SessionTakeover, Superseded, tables
from journal.adopting import adopt_key
from journal.audit.source import opened
from journal.export import export
from journal.migration import apply, plan
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    import os

STORE: Final = Path(__file__).parents[2] / "journal" / "demo_store" / "agents"


def fill(path: Path, *, lines: int = 100, large: int = 1000) -> None:
    """Make a journal: entries, layouts, turns, inputs, parked writes, verdicts, a redaction, a stray, a second key."""
    with Journal(path) as journal:
        _write(journal, lines, large)
        apply(journal, plan([str(STORE)]))
    adopt_key(path, reason="the laptop was sold")
    with Journal(path) as journal:
        run = journal.session(KEY, writer="gateway", role="run")
        run.append({"of": "the second era"}, request_id="request-2")
        journal.revoke("cron", "too chatty", by="you")
        with run.fence() as fence:
            fence.append({"fenced": True})
        thief = Thief(path)
        try:
            _steal(run, thief)
        finally:
            thief.close()


def _write(journal: Journal, lines: int, large: int) -> None:
    run = journal.session(KEY, writer="gateway", role="run", run_id="run-1", on_behalf_of="ann")
    for first in range(0, lines, 50):
        run.extend({"n": n, "text": "ä" * (n % 90)} for n in range(first, first + 50))
    run.append(b"x" * large)
    run.append(b"no JSON \xff\0", request_id="request-1")
    run.cut(1, base=run.head.seq, reason="typo")
    run.redact([4], reason="pasted")
    journal.session("other", writer="cron", role="cron").append(b"ends with\r\n")
    turn = run.claim()
    journal.session(KEY, writer="you", role="operator").submit({"said": 1}, request_id="in-1")
    turn.take_inputs()
    journal.session(KEY, writer="you", role="operator").submit({"said": 2})
    second = run.claim(supersede="newer")
    with pytest.raises(Superseded):
        turn.append({"late": True})
    second.release()


def _steal(run: Any, thief: Thief) -> None:
    fence = run.fence()
    fence.__enter__()
    stray = thief.insert_copy(body=b"stolen")
    with pytest.raises(SessionTakeover):
        fence.append({"refused": True})
    run.append({"after": "the stray"})
    run.resolve([stray], accept=False, reason="stolen")


def rows(place: str | os.PathLike[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table, by plain statements."""
    with opened(str(place)) as source:
        return {
            table.name: sorted(source.table(table), key=repr)
            for table in tables.metadata.sorted_tables
        }


def exports(place: str | os.PathLike[str]) -> dict[str, str]:
    """Return a digest of each session's bytes."""
    found = {}
    with Journal(place, create=False) as journal:
        for info in journal.sessions():
            digest = hashlib.sha256()
            for chunk in export(journal, info.key):
                digest.update(chunk)
            found[info.key] = digest.hexdigest()
    return found

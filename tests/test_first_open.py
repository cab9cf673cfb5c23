"""Many processes open a journal that is not there yet, all at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal
from tests.chains import walk
from tests.crash.parties import apart, start

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES = 8
TIMES = 20


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_eight_processes_open_a_new_journal_at_once(tmp_path):
    """One of them makes it, with one key; all of them write; none meets an error."""
    times = apart("tests.test_first_open:open_at_once", home=str(tmp_path), times=TIMES)
    assert len(times) == TIMES
    for time in times:
        assert time["errors"] == []
        assert len(set(time["ids"])) == 1
        assert len(time["ids"]) == PROCESSES
        assert time["geneses"] == 1
        assert time["seqs"] == list(range(1, PROCESSES + 1))
        assert time["writers"] == PROCESSES
        assert time["odd"] == []


def open_at_once(home: str, times: int) -> list[dict[str, Any]]:
    """Let eight forked processes go at the same moment, so many times."""
    return [_once(Path(home) / str(number)) for number in range(times)]


def _once(home: Path) -> dict[str, Any]:
    home.mkdir()
    path, key = home / "new.db", home / "keys" / "key"
    parties = [start(_open, path, key, number) for number in range(PROCESSES)]
    for party in parties:
        party.hear()
    for party in parties:
        party.tell("go")
    said = [fact for party in parties for fact in party.end()]
    chains = walk(path, key)
    facts = [row.line_type for row in chains.rows["journal:"]]
    return {
        "errors": [rest for what, *rest in said if what == "error"],
        "ids": [rest[0] for what, *rest in said if what == "wrote"],
        "seqs": sorted(rest[1] for what, *rest in said if what == "wrote"),
        "geneses": facts.count(b"journal"),
        "writers": facts.count(b"writer") - 1,  # the journal's own
        "odd": [list(oddness) for oddness in chains.odd],
    }


def _open(
    say: Callable[..., None], listen: Callable[[], str], path: Path, key: Path, number: int
) -> None:
    say("ready")
    listen()
    with Journal(path, key_file=key) as journal:
        session = journal.session("agent:main:main", writer=f"writer {number}", role="cron")
        entry = session.append({"number": number})
        say("wrote", journal.id, entry.seq)

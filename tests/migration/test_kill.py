"""Killed at any moment, a migration is finished by running it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from journal import Journal
from journal.export import export
from journal.migration import apply, plan
from tests.migration.conftest import session_file

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from journal import Journal
from journal.migration import apply, chunks, plan
chunks.CHUNK_LINES = 7
left = iter(range(int(sys.argv[3]) - 1))
def tell(path, size):
    print(size, flush=True)
    if next(left, None) is None:
        sys.stdin.read()  # to be killed here, however slow the killer is
with Journal(sys.argv[1]) as journal:
    apply(journal, plan([sys.argv[2]]), progress=tell)
"""


@pytest.mark.crash
@pytest.mark.scenario("H17")
def test_kill_9_and_run_again(store, journal_path):
    """Each run is killed a few chunks further on; the last one ends clean, equal and without repeats."""
    files = [
        session_file(store / f"{n}.jsonl", *lines_of(n), session_id=f"s-{n}") for n in range(4)
    ]
    with Journal(journal_path):
        pass

    committed = [kill_after(chunks, journal_path, store) for chunks in (1, 3, 2, 5, 4, 6)]

    with Journal(journal_path) as journal:
        before = sum(info.entries for info in journal.sessions())
        result = apply(journal, plan([store]))
        again = apply(journal, plan([store]))
        held = [b"".join(export(journal, f"s-{n}")) for n in range(4)]
        (runs,) = journal.store.cursor.execute(
            "SELECT count(*) FROM migrations WHERE state = 'interrupted'"
        ).fetchone()
    assert all(committed)
    assert 0 < before < before + result.new_entries == 4 * 61
    assert result.set_aside == ()
    assert again.counts == {"already": 4}
    assert held == [path.read_bytes() for path in files]
    assert runs == len(committed)


def lines_of(number):
    return [{"file": number, "line": n, "text": "x" * 50} for n in range(59)] + [b'{"torn']


def kill_after(chunks, journal_path, store):
    """Start a migration and kill it once it has told of so many chunks."""
    command = [sys.executable, "-c", SCRIPT, str(journal_path), str(store), str(chunks)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(chunks)]
        process.kill()
    return all(told)

"""The two-writer suite: it names each fault, and ours has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from journal import EntryError
from journal.testing.two_writers import TRIALS, score
from journal.testing.two_writers.hands import Hand

if TYPE_CHECKING:
    from pathlib import Path

    from journal.testing.two_writers import Score

OURS = ("Journaled", "openai_ours", "claude_ours", "adk_ours")


def scored(store: str, *names: str) -> Score:
    trials = [trial for trial in TRIALS if not names or trial.name in names]
    return score(store, trials)


@pytest.mark.parametrize(
    "store, names",
    [
        ("FlatFile", ("stale writer", "clock")),
        ("Overwrites", ("interleaving", "lost update", "stale writer")),
        ("Doubles", ("interleaving", "lost update", "crash", "fork")),
        ("Reverses", ("interleaving", "clock")),
        ("Pops", ("another's item",)),
        ("ByClock", ("clock",)),
        ("RefusesAll", ("interleaving", "first open", "lost update", "stale writer", "crash")),
        ("Torn", ("interleaving", "lost update", "crash")),
    ],
)
def test_a_fault_is_named(store: str, names: tuple[str, ...]) -> None:
    module = "journal.testing.stores" if store == "FlatFile" else "tests.two_writers.bad_stores"
    found = scored(f"{module}:{store}", *names)
    assert {name: result.passed for name, result in found.results.items()} == dict.fromkeys(
        found.results, False
    )
    assert len(found.results) == len(names)
    assert all(result.told for result in found.results.values())
    assert not found.is_full


def test_what_a_store_does_not_offer_is_not_counted() -> None:
    found = scored("journal.testing.stores:FlatFile", "another's item", "lost update")
    assert (found.points, found.of, found.is_full) == (1, 1, True)


def test_a_store_of_which_nothing_was_tried_has_passed_nothing() -> None:
    found = scored("journal.testing.stores:FlatFile", "another's item")
    assert (found.points, found.of, found.is_full) == (0, 0, False)


def test_a_process_that_ended_by_itself_is_an_answer_and_no_error_of_the_suites(
    tmp_path: Path,
) -> None:
    """It can be told nothing any more; the next time it is started anew."""
    hand = Hand("journal.testing.stores:FlatFile")
    process = hand.start()
    assert "error" not in hand.ask("open", place=str(tmp_path))
    process.kill()
    process.wait()
    assert hand.ask("add", text="1") == {"error": "the process ended"}
    assert "error" not in hand.ask("open", place=str(tmp_path))
    hand.kill()


@pytest.mark.parametrize(
    "store", ["none", "no.such:store", "journal.testing.stores:None", "json:", ".x:y"]
)
def test_a_factory_that_is_none_is_an_error_of_ours(store: str) -> None:
    with pytest.raises(EntryError):
        score(store)


@pytest.mark.parametrize("store", OURS)
def test_ours_has_full_marks_where_frameworks_own_fail(store: str) -> None:
    """The rest of what they fail is in the demo's tests, and all of it in the slow one."""
    found = scored(f"journal.testing.stores:{store}", "lost update", "fork")
    assert found.is_full, found


@pytest.mark.slow
@pytest.mark.parametrize("store", OURS)
def test_ours_has_full_marks_on_all(store: str) -> None:
    found = score(f"journal.testing.stores:{store}")
    assert found.is_full, found


def test_the_command_prints_a_table_and_a_document(tmp_path: Path) -> None:
    names = ["--trial", "lost update", "--trial", "stale writer"]
    stores = ["journal.testing.stores:FlatFile", "journal.testing.stores:Journaled"]
    command = [sys.executable, "-m", "journal.testing.two_writers", *names]
    done = subprocess.run([*command, *stores], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "stale writer  0 of 40" in done.stdout
    done = subprocess.run(
        [*command, "--json", stores[1]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    (only,) = json.loads(done.stdout)["scores"]
    assert (only["points"], only["of"]) == (2, 2)
    done = subprocess.run([*command, "no:store"], capture_output=True, text=True, check=False)
    assert (done.returncode, "Try: " in done.stderr) == (2, True)


def test_what_a_store_prints_is_no_answer_and_in_no_document(tmp_path: Path) -> None:
    """When it is imported, when it is used, and past Python: none of it makes a store fail."""
    (tmp_path / "prints.py").write_text(
        "import os\n"
        "from journal.testing.stores import FlatFile\n"
        "print('{}')\n"
        "class Prints(FlatFile):\n"
        "    def add(self, text):\n"
        "        print('[')\n"
        "        os.write(1, b'not JSON\\n')\n"
        "        super().add(text)\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "journal.testing.two_writers", "--trial", "lost update"),
            *("--json", "prints:Prints"),
        ],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
    )
    (only,) = json.loads(done.stdout)["scores"]
    assert (done.returncode, only["points"], only["of"]) == (0, 1, 1)

"""Tables at a narrow terminal: what decides is there, whole; what is long stands beneath."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from journal.cli.tabular import placed
from tests.terminal import at_a_terminal

KEY = "0123abcd-4567-89ef-0123-456789abcdef"
REASON = "stuck for an hour and more"


def at_width(width, *args):
    """Return what a command shows, line by line."""
    return at_a_terminal([*args], COLUMNS=str(width), NO_COLOR="1").replace("\r", "").splitlines()


@pytest.fixture
def migrated(run, home):
    """Migrate a session with a long name from a deep directory, its file kept alive; return the file."""
    path = home / "some" / "long" / "directory" / "agents" / "main" / "sessions" / f"{KEY}.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(
        f'{{"type":"session","version":3,"id":"{KEY}","cwd":"/"}}\n'
        '{"type":"message","message":{"role":"user","content":"Mend the gate, and say what was amiss."}}\n'
    )
    assert run("migrate", "some", "--apply", "--mirror").exit_code == 0
    return path


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_listings_after_a_migration_show_all_of_what_decides(run, migrated, width):
    for command, *wanted in (
        (("mirror", "status"), "state", "in step", "unresolved", str(migrated)),
        (("sessions",), "entries", "writes", f"{KEY}.jsonl"),
        (("mirror", "list"), "on edit", "keep", "its entries", "foreign", str(migrated)),
        (("migrate", "show", "1"), "state", "done", "primary", str(migrated)),
        (("migrate", "some"), "openclaw", "primary", str(migrated)),
        (("migrate", "some", "--verify"), "equal", str(migrated)),
    ):
        shown = at_width(width, *command)
        assert any(line.startswith(KEY) for line in shown), command
        assert len(shown[0]) <= width, command
        for each in wanted:
            assert any(each in line for line in shown), (command, each, shown)


def test_a_column_in_which_nothing_stands_takes_no_room_of_others(run, migrated):
    """Where all fits it is there; and where something stands in it."""
    wide, narrow = (at_width(width, "mirror", "status")[0].split() for width in (400, 80))
    assert (wide[-1], "detail" in narrow) == ("detail", False)

    migrated.unlink()

    shown = at_width(80, "mirror", "status")
    assert any("the file was removed" in line and "detail" in line for line in shown)


@pytest.mark.parametrize("width", [40, 80])
def test_a_claim_is_shown_with_its_token_and_who_holds_it(run, session, width):
    for writer, role, more in (
        ("gateway", "run", ()),
        ("alice", "operator", ("--supersede", REASON)),
    ):
        assert run("claim", "take", session, "-w", writer, "--role", role, *more).exit_code == 0

    shown = at_width(width, "claim", "show", session)

    assert max(map(len, shown)) <= width
    newest, older = (
        next(line for line in shown if line.startswith(f"{token} ")) for token in (5, 4)
    )
    assert newest.split().count("alice") == 1
    assert "operator" in newest.split()
    assert "gateway" in older.split()
    assert any(line.endswith("standing") for line in shown)
    assert any("superseded by alice, claim 5" in line for line in shown)


@pytest.mark.parametrize("width", [30, 40, 80])
def test_a_log_keeps_seq_writer_and_trust(run, session, width):
    long = "a-writer-with-a-rather-long-name"
    assert run("append", session, "-w", long, "--role", "cron", "{}").exit_code == 0

    shown = at_width(width, "log", session)

    assert shown[0].startswith("seq")
    assert all(len(line) <= max(width, len(long) + 5) for line in shown[:6])
    row = next(line for line in shown if line.startswith("4 "))
    told = " ".join(shown[shown.index(row) :]).split()
    assert {"4", long, "asserted"} <= set(told)


def test_a_pipe_gets_the_lines_as_ever(migrated):
    """What a narrow terminal needs is of no concern to a program."""
    done = subprocess.run(
        [sys.executable, "-m", "journal", "mirror", "status"],
        env={**os.environ, "COLUMNS": "40", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
        text=True,
    )
    size = str(migrated.stat().st_size)
    assert done.stdout == "\t".join([KEY, "in step", size, size, "0", str(migrated), ""]) + "\n"


def test_what_is_long_goes_beneath_and_what_is_short_stays():
    """The widest first; the first column never."""
    assert placed([36, 7, 5, 60], 24, 80) == ([0, 1, 2, 3], [])  # the last is folded
    assert placed([36, 7, 5, 60], 60, 80) == ([0, 1, 2], [3])
    assert placed([36, 20, 5, 60], 60, 46) == ([0, 2], [1, 3])
    assert placed([36, 7, 5, 60], 60, 20) == ([0], [1, 2, 3])

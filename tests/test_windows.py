"""Where there are no locks of an open file, as on Windows: it is said, by an error of ours with a way on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# What Python has not on Windows, as far as the journal asks for it.
WITHOUT = """
import importlib.abc, os, runpy, sys
MODULES = {"fcntl", "grp", "pwd", "resource", "termios"}
class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}")
for name in MODULES:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Lacking())
for name in ("O_CLOEXEC", "O_DIRECTORY", "O_NOCTTY", "O_NOFOLLOW", "O_NONBLOCK", "fdatasync", "fork",
             "getuid", "mkfifo", "pread", "pwrite", "register_at_fork", "statvfs", "sched_getaffinity"):
    delattr(os, name)
# It was imported with what is gone now, and would have no answer.
import shutil, types
shutil.disk_usage = lambda _: types.SimpleNamespace(free=10**12)
"""
LIBRARY = """
import journal
for where in ("agent.db", "sqlite:///agent.db", "postgresql+psycopg://u@localhost/d"):
    try:
        journal.Journal(where)
    except journal.StorageError as error:
        assert error.code == "no-locks", error
        assert "WSL" in error.hint, error.hint
        continue
    raise SystemExit(f"{where} was opened")
assert os.listdir() == []
"""
COMMAND = """
sys.argv[0] = "journal"
runpy.run_module("journal", run_name="__main__")
"""


@pytest.fixture
def there(tmp_path: Path):
    """Run a script in an empty directory, in a Python that has not what Windows has not."""
    home = tmp_path / "home"
    home.mkdir()

    def there(script: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", WITHOUT + script, *words],
            cwd=home,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    return there


def test_a_journal_is_refused_and_nothing_is_made(there):
    done = there(LIBRARY)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_line_helps(there):
    done = there(COMMAND, "--help")
    assert done.returncode == 0
    assert "\n  doctor " in done.stdout


@pytest.mark.parametrize(
    "words",
    [("init",), ("append", "s", "-w", "w", "--role", "run", "{}"), ("sessions",), ("watch", ".")],
)
def test_a_command_says_that_no_journal_can_be_opened_yet(there, words):
    done = there(COMMAND, *words)
    assert done.returncode == 1
    assert "Error: no journal can be opened on this system" in done.stderr
    assert "Try: open it on Linux or macOS; on Windows in WSL" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_calls_it_a_problem(there):
    done = there(COMMAND, "doctor", "--json")
    assert done.returncode == 3
    facts = {each["name"]: each for each in json.loads(done.stdout)["facts"]}
    assert facts["system"]["state"] == "problem"
    assert "WSL" in facts["system"]["next_step"]
    assert facts["disk"]["state"] == "ok"

"""A directory to work in, the command line in this process, and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from journal.cli import cli
from tests.thieves import KEY as SESSION
from tests.thieves import Thief


@pytest.fixture(autouse=True)
def home(tmp_path, key_file, monkeypatch):
    """Stand in an empty directory, with nothing of the caller's in the way."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    for name in ("JOURNAL_DB", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return work


@pytest.fixture
def run():
    """Run a command in this process."""
    runner = CliRunner()

    def run(*args, input=None):  # noqa: A002 - click's word
        return runner.invoke(cli, [str(arg) for arg in args], input=input, prog_name="journal")

    return run


@pytest.fixture
def start():
    """Start a command in a process of its own; the pipes are bytes."""

    def start(*args, **kwargs):
        return subprocess.Popen(
            [sys.executable, "-m", "journal", *map(str, args)],
            stdin=kwargs.pop("stdin", subprocess.PIPE),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            **kwargs,
        )

    return start


@pytest.fixture
def session(run):
    """Make a journal with one session of three lines by two writers."""
    assert run("init").exit_code == 0
    for writer, role, line in (
        (
            "gateway",
            "run",
            '{"type":"message","message":{"role":"user","content":"Mend the gate."}}',
        ),
        ("heartbeat", "heartbeat", '{"type":"custom","customType":"heartbeat"}'),
        ("gateway", "run", '{"type":"message","message":{"role":"assistant","content":"Done."}}'),
    ):
        assert run("append", SESSION, "-w", writer, "--role", role, line).exit_code == 0
    return SESSION


@pytest.fixture
def steal():
    """Insert a row by plain SQL: a copy of the newest one with another body, the head moved along."""

    def steal(body=b'{"type":"message","stolen":true}', **columns):
        thief = Thief("journal.db", SESSION)
        try:
            return thief.insert_copy(body=body, **columns)
        finally:
            thief.close()

    return steal

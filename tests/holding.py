"""Another process that holds something of a journal, until it is told to let go or killed."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THE_TURN = """
import sys
from journal.ticket import Ticket
ticket = Ticket(sys.argv[1], 5.0)
ticket.take()
print("held", flush=True)
sys.stdin.readline()
ticket.give_back()
print("given back", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held(path: str | Path, script: str = THE_TURN) -> Iterator[subprocess.Popen[str]]:
    """Give a process that has said that it holds it; it is killed when the block ends."""
    command = [sys.executable, "-c", script, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()

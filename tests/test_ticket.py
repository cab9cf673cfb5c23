"""The ticket: a fair and bounded wait among processes, which survives its holder's death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from journal import BusyError, Journal
from journal.ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
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


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "agent.db")


@pytest.fixture
def holder(path: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the ticket."""
    command = [sys.executable, "-c", HOLD, path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def free(path: str) -> bool:
    ticket = Ticket(path, 0.05)
    try:
        ticket.take()
    except BusyError:
        return False
    else:
        ticket.give_back()
        return True
    finally:
        ticket.close()


def test_it_is_one_process_at_a_time(path, holder):
    assert not free(path)
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "given back\n"
    assert free(path)


def test_who_waits_too_long_is_told_for_whom(path, holder):
    ticket = Ticket(path, 0.05)
    with pytest.raises(BusyError) as caught:
        ticket.take()

    assert f"process {holder.pid} (" in str(caught.value)
    assert "has been writing since" in str(caught.value)
    assert str(holder.pid) in (caught.value.hint or "")
    ticket.close()


def test_a_stopped_holder_is_named(path, holder):
    holder.send_signal(signal.SIGSTOP)
    assert not free(path)


def test_it_is_free_once_its_holder_is_killed(path, holder):
    holder.kill()
    holder.wait()
    assert free(path)


def test_who_waits_gets_it_when_its_holder_dies(path, holder):
    ticket = Ticket(path, 20.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ticket.take)
        assert not waiting.done()
        holder.kill()
        waiting.result(20.0)
        assert not free(path)
        pool.submit(ticket.give_back).result()  # by the thread that has it
        assert free(path)
    ticket.close()


def test_a_wait_that_was_given_up_takes_nothing(path, holder):
    """What comes after the time-out is given back at once, and wanted anew it is taken."""
    ticket = Ticket(path, 0.05)
    with pytest.raises(BusyError):
        ticket.take()
    holder.kill()
    holder.wait()

    patient = Ticket(path, 20.0)
    patient.take()
    patient.give_back()
    ticket.take()
    assert not free(path)
    ticket.give_back()
    assert free(path)
    ticket.close()
    patient.close()


def test_a_forked_child_keeps_nobody_waiting(journal_path, journal):
    """The child holds what its parent held only until it has begun."""
    session = journal.session("s", writer="w", role="run")
    reading, writing = os.pipe()
    with journal.store.transaction():
        pid = os.fork()
        if not pid:
            os.read(reading, 1)
            os._exit(0)
    try:
        with Journal(journal_path, busy_timeout=5.0) as other:
            other.session("s", writer="v", role="tool").append({"type": "custom"})
        session.append({"type": "custom"})
    finally:
        os.write(writing, b"x")
        os.waitpid(pid, 0)


def test_a_closed_ticket_leaves_its_number_alone(path, holder):
    """A thread that waits on still must never let go of a file that got its number later."""
    ticket = Ticket(path, 0.05)
    with pytest.raises(BusyError):
        ticket.take()
    number = ticket._waiters
    ticket.close()
    assert os.fstat(number)


def test_the_last_one_removes_the_file(path):
    """Nobody's file is removed while another has it open, or is about to."""
    first, second = Ticket(path, 1.0), Ticket(path, 1.0)
    first.close()
    assert Path(f"{path}-ticket").exists()
    third = Ticket(path, 1.0)
    second.close()
    third.take()
    assert not free(path)
    third.give_back()
    third.close()
    assert not Path(f"{path}-ticket").exists()

"""Processes: told apart across pids used again, namespaces, hosts and reboots."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from journal import process
from journal.process import is_dead, start_time, this_process

TOLD = pytest.mark.skipif(sys.platform == "win32", reason="no such process is told of")


@pytest.fixture
def child():
    """Give a process that lives until its stdin is closed."""
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield running
    if running.stdin is not None and not running.stdin.closed:
        running.stdin.close()
    running.wait()


def described(child):
    return dataclasses.replace(this_process(), pid=child.pid, started_us=start_time(child.pid) or 0)


def test_this_process_is_alive_and_always_the_same():
    here = this_process()

    assert here == this_process()
    assert here.pid == os.getpid()
    assert here.host
    assert not is_dead(here)


@TOLD
def test_a_process_is_alive_until_it_ends(child):
    other = described(child)
    assert not is_dead(other)

    child.stdin.close()
    child.wait()

    assert is_dead(other)


@TOLD
def test_a_process_that_ended_and_was_not_waited_for_is_dead(child):
    """A zombie writes nothing any more."""
    other = described(child)
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert is_dead(other)


@TOLD
def test_a_later_process_with_the_same_pid_is_another():
    assert is_dead(dataclasses.replace(this_process(), started_us=1))


@TOLD
def test_before_a_reboot_is_dead():
    assert is_dead(dataclasses.replace(this_process(), boot_id="another boot"))


@pytest.mark.parametrize(
    "change", [{"host": "elsewhere"}, {"pid_ns": "pid:[1]"}], ids=["host", "namespace"]
)
def test_what_cannot_be_known_counts_as_alive(change):
    """On another host, or in another container, even with a pid that nobody has here."""
    far = dataclasses.replace(this_process(), pid=2**22 + 1, started_us=1, boot_id="x", **change)

    assert not is_dead(far)


def test_a_system_without_boot_ids_knows_nothing(monkeypatch):
    here = dataclasses.replace(this_process(), boot_id="")
    monkeypatch.setattr(process, "this_process", lambda: here)

    assert not is_dead(dataclasses.replace(here, pid=2**22 + 1))


@TOLD
def test_a_start_time_is_read_past_any_name(tmp_path):
    """A program's name may hold brackets and spaces."""
    program = tmp_path / "a) R (b"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE) as running:
        assert start_time(running.pid) is not None


def test_nobody_has_no_start_time():
    assert start_time(2**22 + 1) is None


@TOLD
def test_a_fork_is_another_process():
    """What is remembered of the parent is not said of the child."""
    here = this_process()
    script = (
        "import os, warnings\nwarnings.simplefilter('ignore')\n"
        "from journal.process import this_process\n"
        "parent = this_process()\n"
        "pid = os.fork()\n"
        "if pid == 0: os._exit(int(this_process() == parent or this_process().pid != os.getpid()))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert this_process() == here


def test_a_process_hidden_by_proc_counts_as_alive(child, monkeypatch):
    """hidepid: /proc shows nothing of another user's process, but it takes no signal from us either."""
    hidden = described(child)
    monkeypatch.setattr("journal.process._read", lambda _: "")

    def refuse(pid: int, number: int) -> None:
        assert (pid, number) == (child.pid, 0)
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert not is_dead(dataclasses.replace(hidden, boot_id=this_process().boot_id))

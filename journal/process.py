"""Who this process is: host, pid namespace, boot, pid and start time."""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from journal import darwin
from journal.darwin import IS_DARWIN
from journal.errors import StorageError
from journal.escape import escape
from journal.model import Process

if TYPE_CHECKING:
    from threading import Thread

_START_FIELD = 19  # proc(5): starttime is field 22, counted here from the state, field 3
_STARTED_US = time.time_ns() // 1000


@cache
def _described(pid: int) -> Process:
    started_us = start_time(pid)
    return Process(
        host=socket.gethostname(),
        pid_ns=pid_namespace(),
        # Who cannot say when it was started must not be called dead by those who can.
        boot_id="" if started_us is None else boot_id(),
        pid=pid,
        started_us=started_us or _STARTED_US,
        program=Path(sys.argv[0] or sys.executable).name[:100].encode("ascii", "replace").decode(),
    )


def this_process() -> Process:
    """Return what tells this process from every other, now and after a reboot."""
    return _described(os.getpid())


def boot_id() -> str:
    """Return the number of this boot, or "" where the system has none."""
    if IS_DARWIN:
        return darwin.boot_session()
    return _read("/proc/sys/kernel/random/boot_id").strip()


def pid_namespace() -> str:
    """Return the name of the pid namespace, or "" where there are none."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def start_time(pid: int) -> int | None:
    """Return a process's start in microseconds, on Linux after boot; None if it is not running.

    Compared for equality only: with the pid it tells a process from a later one
    that was given the same number.
    """
    if IS_DARWIN:
        found = _running(pid)
        return None if found is None else found.started_us
    text = _read(f"/proc/{pid}/stat")
    # The program's name may hold spaces and brackets: count from the last one.
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _START_FIELD or fields[0] == "Z":
        return None
    return int(fields[_START_FIELD]) * 1_000_000 // os.sysconf("SC_CLK_TCK")


def is_same(one: Process | None, other: Process | None) -> bool:
    """Whether both are known, and one process; it may have become another program since."""
    if one is None or other is None:
        return False
    return replace(one, program="") == replace(other, program="")


def is_dead(process: Process) -> bool:
    """Whether a process is known to be gone. What cannot be known counts as alive."""
    here = this_process()
    if (process.host, process.pid_ns) != (here.host, here.pid_ns):
        return False
    if not here.boot_id or not process.boot_id:
        return False
    if process.boot_id != here.boot_id:
        return True
    started_us = start_time(process.pid)
    if started_us is None:
        return not _is_hidden(process.pid)
    return started_us != process.started_us


def _is_hidden(pid: int) -> bool:
    """Whether a process may run of which nothing is shown: by ``hidepid``, or in a sandbox."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not _is_shown(pid)
    except OSError:
        return False
    return IS_DARWIN and not _is_shown(pid)  # else it has ended, and waits for its parent


def _is_shown(pid: int) -> bool:
    if not IS_DARWIN:
        return bool(_read(f"/proc/{pid}/stat"))
    try:
        darwin.running(pid)
    except OSError:
        return False
    return True


def _running(pid: int) -> darwin.Running | None:
    try:
        return darwin.running(pid)
    except OSError:
        return None


def liveness(process: Process) -> str:
    """Say whether a process is "alive", "dead" or "unknown", as far as that can be told from here."""
    if is_dead(process):
        return "dead"
    here = this_process()
    is_near = (process.host, process.pid_ns) == (here.host, here.pid_ns)
    return "alive" if is_near and here.boot_id else "unknown"


def other_process(pid: int) -> Process | None:
    """Return what tells another process of this host from every other; None if it is not running."""
    started_us = start_time(pid)
    if started_us is None:
        return None
    program = _program(pid)[:100].encode("ascii", "replace").decode()
    return replace(this_process(), pid=pid, started_us=started_us, program=program)


def described(pid: int) -> str:
    """Return a process for a person to recognise: its number, and its program if it can be seen."""
    words = _program(pid) if IS_DARWIN else _read(f"/proc/{pid}/cmdline").replace("\0", " ")
    program = escape(words.strip()[:100])
    return f"process {pid} ({program})" if program else f"process {pid}"


def _program(pid: int) -> str:
    if not IS_DARWIN:
        return _read(f"/proc/{pid}/comm").strip()
    found = _running(pid)
    return "" if found is None else found.program


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", "replace")
    except OSError:
        return ""


def begin(thread: Thread, without: str = "the write was not made") -> None:
    """Start a thread.

    Raises:
        StorageError: the system gives none now; ``without`` it, so much is so.

    """
    try:
        thread.start()
    except RuntimeError as error:
        raise StorageError(f"{error}: {without}", hint="try again", code="no-thread") from error

"""A command at a pseudo-terminal of a given width."""

from __future__ import annotations

import os
import pty
import select
import sys


def at_a_terminal(args, **environment):
    """Run a command at a pseudo-terminal and give what it shows."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": "200", **environment})
        os.execv(sys.executable, [sys.executable, "-m", "journal", *args])  # noqa: S606
    shown = b""
    while select.select([terminal], [], [], 60)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown.decode()

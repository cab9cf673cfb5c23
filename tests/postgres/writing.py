"""What the tests let run in processes of their own."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

from journal import Journal
from tests.thieves import KEY

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

Process = multiprocessing.process.BaseProcess


def started(work: Any, *arguments: Any) -> tuple[Process, Any]:
    """Start ``work`` in a new process; return it, and the end of a pipe to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def append_many(pipe: Connection, url: str, name: str, count: int) -> None:
    """Append numbered lines to the one session, when told to; answer with their seqs and epochs."""
    with Journal(url) as journal:
        session = journal.session(KEY, writer=name, role="channel")
        pipe.send("ready")
        pipe.recv()
        made = [session.append({"by": name, "n": n}) for n in range(count)]
        pipe.send([(entry.seq, entry.epoch) for entry in made])


def append_until_killed(pipe: Connection, url: str, name: str) -> None:
    """Append for ever, and say each seq once it is acknowledged."""
    with Journal(url) as journal:
        session = journal.session(KEY, writer=name, role="channel")
        n = 0
        while True:
            entry = session.append({"by": name, "n": n}, request_id=f"{name}:{n}")
            pipe.send((n, entry.seq))
            n += 1

"""The others in the demo, each in a process of its own: honest co-tenants, and a thief."""

from __future__ import annotations

import json
import multiprocessing
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import Journal
from journal.errors import JournalError
from journal.engine import connect
from journal.tables import entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

PATIENCE_S: Final = 60.0


class Written(NamedTuple):
    """What another process did: its pid, and where its row stands."""

    pid: int
    seq: int
    epoch: int


def write_elsewhere(database: str, key_file: str, session: str, writer: str, line: dict[str, Any]) -> Written:
    """Let a process of its own append a line; the writer's name is its role."""
    return _elsewhere(_write, database, key_file, session, writer, line)


def steal_elsewhere(database: str, session: str, writer: str, line: dict[str, Any]) -> Written:
    """Let a process without the key insert a row by plain SQL under another's writer id."""
    return _elsewhere(_steal, database, session, writer, line)


def _write(database: str, key_file: str, session: str, writer: str, line: dict[str, Any]) -> Written:
    with Journal(database, key_file=key_file, create=False) as journal:
        entry = journal.session(session, writer=writer, role=writer).append(line)
    return Written(os.getpid(), entry.seq, entry.epoch)


def _steal(database: str, session: str, writer: str, line: dict[str, Any]) -> Written:
    """Do what a thief without the key can do best.

    The row is a copy of one the writer really wrote, seal and all, at the head's next
    seq and epoch, and the head moves along: to plain SQL it looks like any other.
    """
    with closing(connect(database)) as connection:
        execute = connection.execute
        execute("BEGIN IMMEDIATE")
        execute(
            "UPDATE sessions SET head_seq = head_seq + 1, head_epoch = head_epoch + 1 WHERE key = ?", (session,)
        )
        execute(_COPY, {"session": session, "writer": writer, "body": json.dumps(line).encode()})
        seq, epoch = execute("SELECT head_seq, head_epoch FROM sessions WHERE key = ?", (session,)).fetchone()
        execute("COMMIT")
    return Written(os.getpid(), seq, epoch)


_CHANGED: Final = {"seq": "s.head_seq", "epoch": "s.head_epoch", "body": ":body"}
_COLUMNS: Final = [column.name for column in entries.c if column.name != "id"]
_COPY: Final = (
    f"INSERT INTO entries({', '.join(_COLUMNS)}) "  # noqa: S608 - names of our own
    f"SELECT {', '.join(_CHANGED.get(name, f'e.{name}') for name in _COLUMNS)} "
    "FROM entries e JOIN sessions s ON s.id = e.session_id JOIN writers w ON w.id = e.writer_id "
    "WHERE s.key = :session AND w.name = :writer ORDER BY e.seq DESC LIMIT 1"
)


def _elsewhere(action: Callable[..., Written], *args: object) -> Written:
    """Run it in a new process, started afresh: a fork would inherit what it must not have."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, action, args), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_S):
            raise JournalError(f"process {process.pid} gave no answer in {PATIENCE_S:.0f} s", code="demo")
        answer = ours.recv()
    except EOFError:
        raise JournalError(f"process {process.pid} ended without an answer", code="demo") from None
    finally:
        ours.close()
        process.join(PATIENCE_S)
    if isinstance(answer, Exception):
        raise answer
    return Written(*answer)


def _answer(pipe: Connection, action: Callable[..., Written], args: tuple[object, ...]) -> None:
    try:
        pipe.send(action(*args))
    except JournalError as error:
        pipe.send(error)
    finally:
        pipe.close()

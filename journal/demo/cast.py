"""The others in the demo, each in a process of its own: honest co-tenants, and a thief."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from contextlib import closing
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import Journal
from journal.engine import connect
from journal.errors import JournalError
from journal.tables import entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from journal.demo.story import Stage

PATIENCE_S: Final = 60.0


class Written(NamedTuple):
    """What another process did: its pid, and where its row stands, or its line in the file."""

    who: str
    pid: int
    seq: int = 0
    epoch: int = 0
    offset: int = 0


_AWAY: Final[set[Away]] = set()


class Away:
    """A process that has been started and will tell what it wrote."""

    def __init__(self, action: Callable[..., Written], *args: object) -> None:
        # Started afresh: a fork would inherit an open journal, which no child may use.
        context = multiprocessing.get_context("spawn")
        self._answer, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_act, args=(theirs, action, args), daemon=True)
        # A Ctrl-C at a terminal is for all of its processes, and is told once: by whoever started them.
        resource_tracker.ensure_running()  # else the start does it, and lets signals in again
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process.start()
            _AWAY.add(self)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def back(self) -> Written:
        """Wait for it to end and return what it did."""
        try:
            answer = self._awaited()
        except EOFError:
            raise self._lost("ended without an answer") from None
        except BaseException:
            self.end()  # before its pipe is closed
            raise
        finally:
            self._answer.close()
            self._process.join(PATIENCE_S)
            _AWAY.discard(self)
        if isinstance(answer, JournalError):
            raise answer
        return Written(*answer)

    def _awaited(self) -> Any:  # noqa: ANN401 - whatever came through the pipe
        if not self._answer.poll(PATIENCE_S):
            raise self._lost(f"gave no answer in {PATIENCE_S:.0f} seconds")
        return self._answer.recv()

    def _lost(self, why: str) -> JournalError:
        return JournalError(f"process {self._process.pid} {why}", hint="journal demo", code="demo")

    def end(self) -> None:
        """End it, wherever it is."""
        self._process.kill()
        self._process.join()
        _AWAY.discard(self)


def end_all() -> None:
    """End whoever is still away: what they work on is about to be removed."""
    for each in list(_AWAY):
        each.end()


def writes(stage: Stage, session: str, who: str) -> Away:
    """Let a co-tenant append a line from a process of its own."""
    line = {"type": "custom", "customType": who, "data": {"note": f"written by the {who}"}}
    return Away(_write, stage.database, stage.key_file, session, who, line)


def steals(stage: Stage, session: str, writer: str, line: dict[str, Any]) -> Away:
    """Let a process without the key insert a row by plain SQL under another's writer id."""
    return Away(_steal, stage.database, session, writer, line)


def slips_in(path: str, line: bytes) -> Away:
    """Let a process that knows nothing of any journal append a line to the session's file."""
    return Away(_slip_in, path, line)


def _slip_in(path: str, line: bytes) -> Written:
    with Path(path).open("ab") as file:
        offset = file.tell()
        file.write(line)
    return Written("thief", os.getpid(), offset=offset)


def _write(
    database: str, key_file: str, session: str, writer: str, line: dict[str, Any]
) -> Written:
    with Journal(database, key_file=key_file, create=False) as journal:
        entry = journal.session(session, writer=writer, role=writer).append(line)
    return Written(writer, os.getpid(), entry.seq, entry.epoch)


def _steal(database: str, session: str, writer: str, line: dict[str, Any]) -> Written:
    """Do what a thief without the key can do best.

    The row is a copy of one the writer really wrote, seal and all, at the head's next
    seq and epoch, and the head moves along: to plain SQL it looks like any other.
    """
    with closing(connect(database)) as connection:
        execute = connection.execute
        execute("BEGIN IMMEDIATE")
        execute(
            "UPDATE sessions SET head_seq = head_seq + 1, head_epoch = head_epoch + 1 WHERE key = ?",
            (session,),
        )
        execute(_COPY, {"session": session, "writer": writer, "body": json.dumps(line).encode()})
        seq, epoch = execute(
            "SELECT head_seq, head_epoch FROM sessions WHERE key = ?", (session,)
        ).fetchone()
        execute("COMMIT")
    return Written("thief", os.getpid(), seq, epoch)


_CHANGED: Final = {"seq": "s.head_seq", "epoch": "s.head_epoch", "body": ":body"}
_COLUMNS: Final = [column.name for column in entries.c if column.name != "id"]
_COPY: Final = (
    f"INSERT INTO entries({', '.join(_COLUMNS)}) "  # noqa: S608 - names of our own
    f"SELECT {', '.join(_CHANGED.get(name, f'e.{name}') for name in _COLUMNS)} "
    "FROM entries e JOIN sessions s ON s.id = e.session_id JOIN writers w ON w.id = e.writer_id "
    "WHERE s.key = :session AND w.name = :writer ORDER BY e.seq DESC LIMIT 1"
)


def _act(pipe: Connection, action: Callable[..., Written], args: tuple[object, ...]) -> None:
    try:
        pipe.send(tuple(action(*args)))
    except JournalError as error:
        pipe.send(error)
    finally:
        pipe.close()

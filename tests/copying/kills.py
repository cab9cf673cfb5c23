"""Copies that are killed with -9 at a chosen step, and gone on with until they are done.

    python -m tests.copying.kills 200            file to file, each at another step
    python -m tests.copying.kills 200 server     to a server and back

A step is a statement of SQLite's on the copy, or a row or statement sent to a server.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest

from journal import Journal, NotFoundError, SchemaError, engine
from journal.copying import copy, intofile, transfer
from journal.dialects import bulk
from journal.dialects.address import is_url
from tests.copying.filled import fill, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NEVER: Final = 1 << 60
LAST: Final = 40


class Steps:
    """Counts steps; ends the process without a word at a chosen one."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def step(self, *_: object) -> None:
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(source: str, target: str, last: int, *, catch_up: bool = False) -> int | None:
    """Copy in a child that dies at a step; return how many there were, or None if it died."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _copy(source, target, last, writer, catch_up=catch_up)
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert status == 0, said
    return int(said)


def _copy(source: str, target: str, last: int, writer: int, *, catch_up: bool) -> None:
    """Do it, and never come back."""
    code = 1
    try:
        steps = Steps(last)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfer, "_CHUNK_ROWS", 20)
            (_count_server if is_url(target) else _count_file)(patch, steps, target)
            copied = copy(source, target, catch_up=catch_up)
        assert copied.differences == []
        os.write(writer, str(steps.count).encode())
        code = 0
    except BaseException as error:  # noqa: BLE001 - told to the parent
        os.write(writer, repr(error).encode())
    finally:
        os._exit(code)


def _count_file(patch: pytest.MonkeyPatch, steps: Steps, target: str) -> None:
    plain = engine.connect

    def connect(path: str, **options: Any) -> Any:
        connection = plain(path, **options)
        if path == target and options.get("mode") != "ro":
            connection.set_trace_callback(steps.step)
        return connection

    patch.setattr(engine, "connect", connect)
    patch.setattr(intofile, "connect", connect)


def _count_server(patch: pytest.MonkeyPatch, steps: Steps, _: str) -> None:
    load = bulk._load

    def counted(connection: Any, table: Any, rows: Iterable[Any]) -> None:
        def each() -> Iterator[Any]:
            for row in rows:
                steps.step()
                yield row

        steps.step()
        load(connection, table, each())
        steps.step()

    patch.setattr(bulk, "_load", counted)
    for name in ("begin", "_lock", "_check_mark", "_switch", "add", "mend", "replace", "finish"):
        patch.setattr(bulk.ServerTarget, name, _stepped(getattr(bulk.ServerTarget, name), steps))


def _stepped(plain: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        steps.step()
        done = plain(*given)
        steps.step()
        return done

    return call


def state(place: str) -> str:
    """Say what somebody finds who opens it: nothing, a journal, or why it is none."""
    try:
        Journal(place, create=False).close()
    except NotFoundError:
        return "nothing"
    except SchemaError as error:
        return error.code
    return "journal"


def steps_of(source: str, target: str) -> int:
    """Return in how many steps a journal is copied; it is copied for that."""
    steps = killed(source, target, NEVER)
    assert steps is not None
    return steps


def survive(source: str, target: str, seed: int, steps: int) -> list[str]:
    """Kill a copy at one step after the other until it is done; return what was found in between.

    What is gone on with takes fewer steps, so a second kill may come too late.
    """
    chosen = Random(seed)  # noqa: S311 - to be repeatable
    seen = []
    for _ in range(chosen.randrange(1, 4)):
        # Half of them among the last, where it becomes a journal.
        first = chosen.choice((1, max(1, steps - LAST)))
        if killed(source, target, chosen.randrange(first, steps + 1)) is not None:
            break
        seen.append(state(target))
    assert killed(source, target, NEVER) is not None
    return seen


def main(count: int, where: str) -> None:
    """Kill so many copies, and tell what was found."""
    found: Counter[str] = Counter()
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["JOURNAL_KEY_FILE"] = f"{home}/key"
        source = f"{home}/source.db"
        fill(Path(source))
        before = rows(source)
        server = _server(stack) if where == "server" else None
        here = steps_of(source, f"{home}/measured.db")
        there = 0 if server is None else steps_of(source, server.url("measured"))
        for seed in range(1, count + 1):
            target = f"{home}/copy{seed}.db" if server is None else server.url(f"copy{seed}")
            found.update(survive(source, target, seed, there or here))
            assert rows(target) == before, seed
            if server is not None:
                back = f"{home}/back{seed}.db"
                found.update(survive(target, back, seed, here))
                assert rows(back) == before, seed
    print(f"{count} copies, found after kills: {dict(found)}; every one ended equal")  # noqa: T201


def _server(stack: ExitStack) -> Any:
    from tests.postgres.server import Server

    server = Server()
    stack.callback(server.remove)
    return server


if __name__ == "__main__":
    main(int(sys.argv[1]), "file" if sys.argv[2:] == [] else sys.argv[2])

"""Real processes at work on one journal, started fast enough to kill a thousand.

A Python with SQLAlchemy takes 0.4 s to start. So an experiment runs in one process of
its own, which imports everything, opens no journal and has one thread; each party is a
fork of it that opens its own journal. The experiment answers its test in JSON.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 60.0


def apart(
    experiment: str, *, preload: Path | None = None, timeout_s: float = 240, **options: Any
) -> Any:
    """Run ``module:function`` in a process of its own; return its answer."""
    environment = os.environ | ({"LD_PRELOAD": str(preload)} if preload else {})
    command = [sys.executable, "-m", "tests.crash.parties", experiment, json.dumps(options)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class Party:
    """One forked process: killed, stopped and listened to."""

    def __init__(self, pid: int, hears: int, tells: int) -> None:
        self.pid = pid
        self._hears, self._tells = hears, tells
        self._pending = b""

    def tell(self, word: str) -> None:
        """Say one word to it."""
        os.write(self._tells, word.encode() + b"\n")

    def hear(self) -> list[Any]:
        """Wait for the next thing that it says."""
        while b"\n" not in self._pending:
            assert select.select([self._hears], [], [], PATIENCE_S)[0], f"{self.pid} says nothing"
            piece = os.read(self._hears, 65536)
            assert piece, f"{self.pid} has ended"
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        return list(json.loads(line))

    def heard(self) -> list[list[Any]]:
        """Return all that it has said so far and nobody heard yet, without waiting."""
        while select.select([self._hears], [], [], 0)[0]:
            piece = os.read(self._hears, 65536)
            if not piece:
                break
            self._pending += piece
        whole, _, self._pending = self._pending.rpartition(b"\n")
        return [list(json.loads(line)) for line in whole.splitlines()]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def end(self) -> list[list[Any]]:
        """Wait until it has ended; return all that it said and nobody heard yet."""
        while select.select([self._hears], [], [], PATIENCE_S)[0]:
            piece = os.read(self._hears, 65536)
            if not piece:
                break
            self._pending += piece
        os.waitpid(self.pid, 0)
        os.close(self._hears)
        os.close(self._tells)
        # What it was saying when it was killed is whole or not there: a pipe takes
        # a short write at once.
        return [list(json.loads(line)) for line in self._pending.splitlines()]

    def kill(self) -> list[list[Any]]:
        """Kill -9; return what it said before."""
        self.signal(signal.SIGKILL)
        return self.end()


def start(work: Callable[..., object], *given: Any) -> Party:
    """Fork a process that does ``work(say, hear, *given)`` and ends."""
    hears, says = os.pipe()
    listens, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hears)
        os.close(tells)
        _work(work, says, listens, given)
    os.close(says)
    os.close(listens)
    return Party(pid, hears, tells)


def _work(work: Callable[..., object], says: int, listens: int, given: tuple[Any, ...]) -> None:
    def say(*what: Any) -> None:
        os.write(says, json.dumps(what).encode() + b"\n")

    status = 1
    try:
        with os.fdopen(listens) as words:
            work(say, lambda: words.readline().strip(), *given)
        status = 0
    except BaseException:  # noqa: BLE001 - said, and the experiment fails on it
        say("error", traceback.format_exc()[-3000:])
    finally:
        os._exit(status)


def speaking(parties: Iterable[Party]) -> list[Party]:
    """Wait until one of them says something; return those that do."""
    ready = select.select([party._hears for party in parties], [], [], PATIENCE_S)[0]
    assert ready, "nobody says anything"
    return [party for party in parties if party._hears in ready]


def done(work: Callable[..., object], *given: Any) -> list[list[Any]]:
    """Do ``work`` in a process of its own and return what it said."""
    return start(work, *given).end()


def warm() -> None:
    """Pay once what each party would pay: imports, compiled statements, dialects.

    The journal that this opens is closed, and its files gone, before anything is forked.
    """
    from journal import Journal  # the driver, SQLAlchemy and Alembic come in here

    with (
        tempfile.TemporaryDirectory() as home,
        Journal(Path(home) / "warm.db", key_file=Path(home) / "key") as journal,
    ):
        session = journal.session("warm", writer="warm", role="run")
        with session.fence() as fence:
            fence.append({})
        fence.stored()
        session.read()


def main() -> None:
    """Run the experiment named on the command line."""
    module, _, function = sys.argv[1].partition(":")
    experiment = getattr(importlib.import_module(module), function)
    warm()
    gc.freeze()  # a child's first collection would copy every page of it
    print(json.dumps(experiment(**json.loads(sys.argv[2]))))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()

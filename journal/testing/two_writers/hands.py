"""The two processes, from the outside: told what to do, waited for, killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from journal.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

# A store that has not answered by then never will.
ANSWER_S: Final = 60
_HUNG: Final = "no answer"


class Hand:
    """One process with the store in it; started anew where it was killed."""

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._process: subprocess.Popen[str] | None = None
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def tell(self, do: str, **more: Any) -> None:  # noqa: ANN401 - JSON values
        """Say what to do, and do not wait for it."""
        stdin = self._running().stdin
        assert stdin is not None  # noqa: S101 - it was asked for as a pipe
        with suppress(BrokenPipeError):  # it has ended, as its answer says
            stdin.write(json.dumps({"do": do, **more}) + "\n")
            stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return what came of it; an answer with "error" where it did not go well."""
        try:
            answer = self._answers.get(timeout=ANSWER_S)
        except Empty:
            self.kill()
            return {"error": f"{_HUNG} within {ANSWER_S} s"}
        if answer is None:
            self.kill()
            return {"error": "the process ended"}
        return answer

    def ask(self, do: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values
        """Say what to do, and return what came of it."""
        self.tell(do, **more)
        return self.answer()

    def items(self) -> list[str]:
        """Return what the store gives to one who reads it anew.

        Raises:
            JournalError: it gives nothing, but an error.

        """
        answer = self.ask("read")
        if "error" in answer:
            raise JournalError(f"the store could not be read: {answer['error']}", code="read")
        items: list[str] = answer["items"]
        return items

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # what was never read is still in it
                        pipe.close()
        self._answers = SimpleQueue()

    def start(self, *, behind_s: int = 0) -> subprocess.Popen[str]:
        """Start it anew, perhaps with a clock that is behind."""
        self.kill()
        module = "journal.testing.two_writers.hand"
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our module
            [sys.executable, "-W", "ignore", "-m", module, self._factory, str(behind_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        told = (self._process, self._answers)
        threading.Thread(target=_listen, args=told, daemon=True).start()
        return self._process

    def _running(self) -> subprocess.Popen[str]:
        return self._process or self.start()


def _listen(process: subprocess.Popen[str], answers: SimpleQueue[dict[str, Any] | None]) -> None:
    try:
        for line in process.stdout or ():
            answers.put(json.loads(line))
    except ValueError:
        pass  # the pipe was closed, or a line was torn: it was killed
    answers.put(None)


class Hands:
    """Both processes, and an empty directory for each trial."""

    def __init__(self, factory: str, place: Path) -> None:
        self.a, self.b = Hand(factory), Hand(factory)
        self._place = place
        self._count = 0

    def fresh(self) -> str:
        """Return a new empty directory."""
        self._count += 1
        place = self._place / str(self._count)
        place.mkdir()
        return str(place)

    def opened(self) -> bool:
        """Open a new store in both, one after the other; return whether it can pop.

        Raises:
            JournalError: it could not be opened.

        """
        place = self.fresh()
        answers = [hand.ask("open", place=place) for hand in (self.a, self.b)]
        for answer in answers:
            if "error" in answer:
                raise JournalError(f"the store did not open: {answer['error']}", code="open")
        return bool(answers[0]["pops"])

    def both(self, do: str, a: dict[str, Any], b: dict[str, Any]) -> list[dict[str, Any]]:
        """Tell both at once, and return what came of it."""
        self.a.tell(do, **a)
        self.b.tell(do, **b)
        return [self.a.answer(), self.b.answer()]

    def close(self) -> None:
        """End both."""
        self.a.kill()
        self.b.kill()

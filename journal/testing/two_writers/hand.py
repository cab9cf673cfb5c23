"""One of the two processes: does to a store what it is told, a line of JSON at a time, and says what came of it.

Started as ``python -m journal.testing.two_writers.hand module:attribute``, and behind it by
how many seconds this process's clock is to be behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from journal.testing.two_writers.writer import factory_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal.testing.two_writers.writer import Factory, Writer

# So often a refused text is added again, from what is read anew.
TRIES: Final = 1000
FORK_S: Final = 10


class Hand:
    """A writer in this process, and what it can be told to do."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory
        self._writer: Writer | None = None

    @property
    def writer(self) -> Writer:
        """The store as it was opened last."""
        if self._writer is None:
            raise RuntimeError("nothing is open")
        return self._writer

    def do(self, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Do as told, and yield what came of it."""
        do: Callable[..., Any] = getattr(self, f"_{told.pop('do')}")
        try:
            answer = do(**told)
            if isinstance(answer, dict):
                yield answer
            else:
                yield from answer
        except Exception as error:  # noqa: BLE001 - whatever a store raises is its answer
            yield {"error": f"{type(error).__name__}: {error}"}

    def _open(self, place: str) -> dict[str, Any]:
        self._close()
        self._writer = self._factory(Path(place))
        return {"pops": callable(getattr(self._writer, "pop", None))}

    def _close(self) -> dict[str, Any]:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        return {}

    def _read(self) -> dict[str, Any]:
        return {"items": self.writer.read()}

    def _add(self, text: str) -> dict[str, Any]:
        self.writer.add(text)
        return {}

    def _begin(self, place: str, text: str) -> dict[str, Any]:
        """Open and add, as a process does that has just been started."""
        self._open(place)
        return self._persist(text)

    def _pop(self) -> dict[str, Any]:
        pop = getattr(self.writer, "pop")  # noqa: B009 - not every writer has it
        return {"item": pop()}

    def _persist(self, text: str) -> dict[str, Any]:
        """Add a text; where it is refused read anew and add it again."""
        for left in reversed(range(TRIES)):
            try:
                self.writer.add(text)
                break
            except Exception:
                if not left:
                    raise
                self.writer.read()
        return {}

    def _loop(self, name: str, times: int) -> Iterator[dict[str, Any]]:
        """Add many texts, and say of each that it is kept."""
        for number in range(times):
            self._persist(f"{name}-{number}")
            yield {"kept": f"{name}-{number}"}
        yield {}

    def _fork(self, text: str) -> dict[str, Any]:
        """Add a text in a child that has what this process has opened."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            signal.alarm(FORK_S)  # a child that waits for a thread it does not have waits for ever
            (answer,) = self.do({"do": "add", "text": text})
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            said = file.read()
        os.waitpid(child, 0)
        answer = json.loads(said) if said else {"error": f"no answer within {FORK_S} s"}
        return {"child": answer}


def _set_back(behind_s: int) -> None:
    """Have this process's clock be behind from now on."""
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - behind_s
    time.time_ns = lambda: now_ns() - behind_s * 1_000_000_000


def _answers() -> TextIO:
    """Return where answers go; whatever a store prints, itself or by a program it starts, goes elsewhere."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main() -> None:
    """Do what comes in at stdin until it ends."""
    if len(sys.argv) > 2:  # noqa: PLR2004 - the factory, and perhaps the seconds
        _set_back(int(sys.argv[2]))  # before a store is imported, for it may keep the clock
    answers = _answers()  # before a store is imported, for it may print then
    hand = Hand(factory_of(sys.argv[1]))
    for line in sys.stdin:
        for answer in hand.do(json.loads(line)):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()

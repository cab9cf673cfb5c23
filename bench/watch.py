"""Measure ``journal watch``: how soon a line is an entry, and what the watching costs.

    python bench/watch.py                       2,000 files, 50 appends a second, 30 seconds
    python bench/watch.py --files 200 --seconds 10

Each append goes to a file chosen at random, as a program that knows only files does
it; a line counts as an entry once the watcher has said so, which is after its commit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

LINE = b'{"type":"message","id":"%08x","text":"%s"}\n'


def made(place: Path, count: int) -> list[Path]:
    """Write session files of six lines."""
    paths = [place / f"{number:05}.jsonl" for number in range(count)]
    for number, path in enumerate(paths):
        header = b'{"type":"session","version":3,"id":"s-%d"}\n' % number
        path.write_bytes(header + b"".join(LINE % (n, b"x" * 80) for n in range(5)))
    return paths


class Listener(threading.Thread):
    """Reads what the watcher says, and notes how long each line took to be an entry."""

    def __init__(self, said: IO[str]) -> None:
        super().__init__(daemon=True)
        self._said = said
        self._waiting: dict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.took: list[float] = []

    def expect(self, path: Path) -> None:
        """Note that a line is about to be written."""
        with self._lock:
            self._waiting[str(path)].append(time.perf_counter())

    def run(self) -> None:
        """Listen until the watcher ends."""
        for line in self._said:
            seen = json.loads(line)
            if seen["what"] == "taken in":
                now = time.perf_counter()
                with self._lock:
                    waiting = self._waiting[seen["path"]]
                    self.took += [now - waiting.popleft() for _ in range(seen["entries"])]


def used(pid: int) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(home: Path, files: int, rate: float, seconds: float) -> None:
    """Watch, append, and tell what came of it."""
    store = home / "store"
    store.mkdir()
    paths = made(store, files)
    command = [
        sys.executable,
        "-m",
        "journal",
        "-d",
        str(home / "a.db"),
        "watch",
        "--json",
        str(store),
    ]
    environment = {**os.environ, "JOURNAL_KEY_FILE": str(home / "key")}
    began = time.perf_counter()
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - ourselves
    assert watcher.stdout is not None
    adopted = 0
    while adopted < files:
        adopted += json.loads(watcher.stdout.readline())["what"] == "adopted"
    print(f"{files} files adopted in {time.perf_counter() - began:.1f} s")
    listener = Listener(watcher.stdout)
    listener.start()
    draw = random.Random(1)  # noqa: S311 - to be repeated, not to be secret
    before, began, count = used(watcher.pid), time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        path = draw.choice(paths)
        listener.expect(path)
        with path.open("ab") as file:
            file.write(LINE % (count, b"y" * 80))
        count += 1
        time.sleep(max(0.0, began + count / rate - time.perf_counter()))
    time.sleep(2)
    share = (used(watcher.pid) - before) / (time.perf_counter() - began - 2)
    watcher.terminate()
    watcher.wait()
    took = sorted(listener.took)
    middle, most = took[len(took) // 2] * 1000, took[-1] * 1000
    print(
        f"{count} lines written, {len(took)} entries; {middle:.0f} ms in the middle, {most:.0f} ms at most; "
        f"{100 * share:.1f} % of a core"
    )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place).resolve(), arguments.files, arguments.rate, arguments.seconds)


if __name__ == "__main__":
    main()

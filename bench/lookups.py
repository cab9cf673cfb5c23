"""Figures of the parts that must not grow with the journal: fence checks, opening, size, start."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from contenders import encoded, value
from rounds import median_us, spread

from journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from typing import Self

WRITER: Final = {"writer": "gateway", "role": "run"}
_CHUNK: Final = 5000


def build(home: Path, sizes: Sequence[int], tell: Callable[[str], object]) -> Path:
    """Build a journal with one session of each size; return its path."""
    path = home / "sizes.db"
    with Journal(path, key_file=home / "key", durability="normal") as journal:
        for size in sizes:
            tell(f"building {size:,} entries")
            session = journal.session(f"size:{size}", **WRITER)  # type: ignore[arg-type]
            for first in range(0, size, _CHUNK):
                last = min(first + _CHUNK, size)
                session.extend(encoded(value(number)) for number in range(first + 1, last + 1))
    return path


def fence_checks(path: Path, key: Path, sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """Return what a check costs when nothing arrived, by the size of the session."""
    figures: dict[str, Any] = {}
    with Journal(path, key_file=key) as journal, Neighbour(path, key) as neighbour:
        fences = {size: _fence(journal, size) for size in sizes}
        warm: dict[int, list[float]] = {size: [] for size in sizes}
        after: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(rounds):
            for size, fence in fences.items():
                warm[size].append(median_us(fence.check, 1000))
                after[size].append(_after_commits(fence, neighbour))
        assert all(fence.check().accepted and not fence.arrived for fence in fences.values())
    for name, found in (("warm", warm), ("after a commit elsewhere", after)):
        figures[name] = {str(size): spread(times) for size, times in found.items()}
        pairs = zip(found[sizes[-1]], found[sizes[0]], strict=True)
        figures[f"{name}, greatest to least"] = spread([great / small for great, small in pairs])
    return figures


def _fence(journal: Journal, size: int) -> Any:  # noqa: ANN401 - no public name needed here
    fence = journal.session(f"size:{size}", **WRITER).fence()  # type: ignore[arg-type]
    for _ in range(100):
        fence.check()
    return fence


def _after_commits(fence: Any, neighbour: Neighbour) -> float:  # noqa: ANN401
    times = []
    for _ in range(100):
        neighbour.commit()
        began = perf_counter()
        fence.check()
        times.append(perf_counter() - began)
    return statistics.median(times) * 1e6


class Neighbour:
    """Another process that commits to another session of the same journal when it is told to."""

    def __init__(self, path: Path, key: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_commit_when_told, args=(path, key, theirs))

    def __enter__(self) -> Self:
        self._process.start()
        self.commit()
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.send(None)
        self._process.join()

    def commit(self) -> None:
        """Have one line committed."""
        self._ours.send("commit")
        self._ours.recv()


def _commit_when_told(path: Path, key: Path, told: Connection) -> None:
    with Journal(path, key_file=key, durability="normal") as journal:
        session = journal.session("elsewhere", writer="neighbour", role="cron")
        while told.recv() is not None:
            session.append(b'{"type":"custom"}')
            told.send("done")


def opening(path: Path, key: Path, size: int, times: int) -> dict[str, Any]:
    """Return what opening costs, and reading the newest 50 lines of a session."""
    opened, read = [], []
    for _ in range(times + 1):
        began = perf_counter()
        with Journal(path, key_file=key) as journal:
            opened.append((perf_counter() - began) * 1e3)
            entries = journal.session(f"size:{size}").read(newest=True, limit=50)
            read.append((perf_counter() - began) * 1e3)
            assert len(entries) == min(50, size)
    return {"entries": size, "open": spread(opened[1:]), "open and read 50": spread(read[1:])}


def sizes_on_disk(home: Path, lines: int) -> dict[str, Any]:
    """Return the database's size over the lines' own, for lines of 1 KB and of 500 B."""
    figures = {}
    for size in (1024, 500):
        path = home / f"lines-{size}.db"
        with Journal(path, key_file=home / "key", durability="normal") as journal:
            session = journal.session("lines", **WRITER)  # type: ignore[arg-type]
            for first in range(0, lines, _CHUNK):
                session.extend(
                    encoded(value(number, size))
                    for number in range(first, min(first + _CHUNK, lines))
                )
        figures[str(size)] = path.stat().st_size / (size * lines)
    return figures


_IMPORT: Final = (
    "import time; began = time.perf_counter(); import journal; print(time.perf_counter() - began)"
)
_FIRST_USE: Final = "import time; began = time.perf_counter(); import sqlalchemy, journal.store; print(time.perf_counter() - began)"


def start_up(times: int) -> dict[str, Any]:
    """Return what importing costs, in the process, and a whole run of ``journal --help``."""
    figures = {
        "python -c pass": spread([_run([sys.executable, "-c", "pass"]) for _ in range(times)]),
        "import journal": spread([_told(_IMPORT) for _ in range(times)]),
        "import at first open": spread([_told(_FIRST_USE) for _ in range(times)]),
    }
    command = _command()
    if command is not None:
        figures["journal --help"] = spread([_run([*command, "--help"]) for _ in range(times)])
    return figures


def _command() -> list[str] | None:
    script = Path(sys.executable).with_name("journal")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "journal"]
    done = subprocess.run([*command, "--help"], capture_output=True, check=False)  # noqa: S603
    return command if done.returncode == 0 else None


def _run(command: list[str]) -> float:
    began = perf_counter()
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own command
    return (perf_counter() - began) * 1e3


def _told(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)  # noqa: S603
    return float(json.loads(done.stdout)) * 1e3

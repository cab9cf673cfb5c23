"""Measure the processor time that each append takes, in turns: what is left to be told where others use the machine.

    python bench/processor.py                 about a minute, 300 MB of disk
    python bench/processor.py --dir DIR       on another disk

A disk that is busy makes rates worthless, and this hardly at all: what is told is the time
that a processor worked for one line, in Python, in SQLite and in the system, all threads of the
process together. It is not a comparison with anybody; that is ``bench/append.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

import contenders as limits
import many

if TYPE_CHECKING:
    from rounds import Contender

ROUNDS: Final = 20
LINES: Final = 320


def used(contender: Contender) -> float:
    """Return microseconds of processor time for each line of a block."""
    began = time.process_time()
    contender.run(LINES)
    return (time.process_time() - began) / LINES * 1e6


def main() -> None:
    """Measure, and print one line for each way to write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=Path())
    with tempfile.TemporaryDirectory(dir=parser.parse_args().dir, prefix="processor-") as directory:
        home = Path(directory)
        os.environ["JOURNAL_KEY_FILE"] = str(home / "key")
        running = [
            limits.plain(home, "full"),
            limits.ours(home, "full", as_bytes=True),
            limits.mirrored(home),
            limits.plain(home, "normal"),
            limits.ours(home, "normal", as_bytes=True),
            many.threads(home, many.THREADS, 1),
            many.tasks(home, many.TASKS, []),
        ]
        figures: dict[str, list[float]] = {contender.title: [] for contender in running}
        draw = Random(0)  # noqa: S311 - to be repeated, not to be secret
        for number in range(ROUNDS + 1):
            for contender in draw.sample(running, len(running)):
                taken = used(contender)
                if number:  # the first warms up
                    figures[contender.title].append(taken)
        for contender in running:
            contender.close()
    for title, times in figures.items():
        print(f"{median(times):6.1f} us, a quarter below {quantiles(times)[0]:6.1f}: {title}")


if __name__ == "__main__":
    main()

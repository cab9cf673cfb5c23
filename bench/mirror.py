"""Measure the mirror: what an append with it costs, what a fence costs, how fast a file is compared.

    python bench/mirror.py                 the whole: a few minutes, 3 GB of disk
    python bench/mirror.py --size 0.1      with a mirror of 0.1 GB
    python bench/mirror.py --dir PLACE     write below PLACE, not below the current directory

Appends are measured in turns with plain SQLite, as in ``bench/append.py``; only
the ratio of one run counts. The great file is one mirror of 1 KB lines: its first
comparison verifies every row, the later ones hash it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import contenders as limits
from rounds import Plan, measure, ratios

from journal import Journal

if TYPE_CHECKING:
    from journal import Session

LINE = b'{"type":"message","text":"%s"}' % (b"x" * 990)
KEY = "agent:main:main"


def appends(home: Path, *, rounds: int) -> None:
    """Tell the rate of appends with and without a mirror, over plain SQLite's."""
    plain, journal = limits.plain(home, "full"), limits.ours(home, "full", as_bytes=True)
    mirrored = limits.mirrored(home)
    running = [plain, journal, mirrored]
    try:
        measure(running, Plan(rounds, 4, 100), lambda _: None)
    finally:
        for contender in running:
            contender.close()
    for contender in (journal, mirrored):
        found = ratios(contender.rates, plain.rates)
        print(
            f"{contender.title}: {found.median:.2f} ({found.low:.2f}-{found.high:.2f}) of plain SQLite"
        )


def great_file(home: Path, size: int) -> None:
    """Tell how fast a great mirror is compared, and what a fence costs beside it."""
    path = home / "great.jsonl"
    with Journal(home / "great.db", key_file=home / "key") as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=path)
        began = time.perf_counter()
        while not path.exists() or path.stat().st_size < size:
            session.extend([LINE] * 8000)
        took = time.perf_counter() - began
        size = path.stat().st_size
        print(f"a mirror of {size / 1e9:.2f} GB, written at {size / took / 1e6:.0f} MB/s")
        compared(session, path, "row by row, each seal verified", is_first=True)
        compared(session, path, "touched, same bytes")
        with path.open("ab") as file:
            file.write(b'{"foreign":1}\n')
        compared(session, path, "with one foreign line at its end")
        fence(session)


def compared(session: Session, path: Path, what: str, *, is_first: bool = False) -> None:
    """Tell how fast one full comparison is, and how much memory it took."""
    if not is_first:
        os.utime(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    session.fence()
    took = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    rate = path.stat().st_size / took / 1e6
    print(f"comparison, {what}: {rate:.0f} MB/s ({took:.2f} s), {grown:.0f} MiB more memory")


def fence(session: Session) -> None:
    """Tell the time of a check when nothing changed."""
    time.sleep(0.05)
    raised = session.fence()
    raised.check()
    for what, n in (("warm-up", 200), ("unchanged mirror", 2000)):
        took = []
        for _ in range(n):
            began = time.perf_counter()
            raised.check()
            took.append(time.perf_counter() - began)
        if what != "warm-up":
            print(f"fence check, {what}: {statistics.median(took) * 1e6:.0f} us (median of {n})")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=Path())
    parser.add_argument("--size", type=float, default=1.0, help="of the great mirror, in GB")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir, prefix="bench-mirror-") as place:
        appends(Path(place), rounds=options.rounds)
        great_file(Path(place), int(options.size * 1e9))


if __name__ == "__main__":
    main()

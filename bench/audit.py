"""Measure an audit of a large healthy journal: its rate, and the memory it takes.

    python bench/audit.py                              a million lines of 600 bytes
    python bench/audit.py --entries 100000 --size 2600
    python bench/audit.py --keep DIR                   make it there once, and audit it again

Each audit is a process of its own, the journal made beforehand. Beside the whole audit it runs
the quick one, and what nobody who reads the bodies can be faster than: to fetch all rows from SQLite
and hash each body, with no rule checked.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from journal import Journal
from journal.audit import audit
from journal.audit.source import opened

AT_ONCE = 1000


def make(path: Path, entries: int, size: int) -> None:
    """Write a session of lines of a size."""
    text = b"x" * max(0, size - 53)
    with Journal(path, durability="normal") as journal:
        session = journal.session("agent:main:main", writer="gateway", role="run")
        for first in range(0, entries, AT_ONCE):
            session.extend(
                b'{"type":"message","id":"%08x","text":"%s"}' % (number, text)
                for number in range(first, min(first + AT_ONCE, entries))
            )


def limit(path: Path) -> int:
    """Fetch and hash every body; return how many bytes there were."""
    size = 0
    with opened(str(path)) as source:
        for row in source.rows(2):
            hashlib.sha256(row.body or b"").digest()
            size += len(row.body or b"")
    return size


def once(what: str, path: Path) -> None:
    """Measure one pass, in a process of its own."""
    start = perf_counter()
    if what == "limit":
        size, verdict = limit(path), "-"
    else:
        report = audit(path, quick=what == "quick")
        size, verdict = report.completeness["bytes"], report.verdict
    took = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {verdict}, {size / 1e6:.0f} MB in {took:.1f} s: {size / took / 1e6:.0f} MB/s, "
        f"peak {peak:.0f} MB",
        flush=True,
    )


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once is not None:
        once(given.once[0], Path(given.once[1]))
        return
    with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=Path.cwd()) as made:
        place = given.keep or Path(made)
        path = place / "audited.db"
        os.environ["JOURNAL_KEY_FILE"] = str(place / "audited.key")
        if not path.exists():
            place.mkdir(parents=True, exist_ok=True)
            make(path, given.entries, given.size)
        for _ in range(given.rounds):
            for what in ("limit", "quick", "whole"):
                subprocess.run([sys.executable, __file__, "--once", what, str(path)], check=True)  # noqa: S603 - this file


if __name__ == "__main__":
    main()

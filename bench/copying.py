"""Measure a whole journal's copy to a server and back: time, rate, memory; and whether it is the same.

    python bench/copying.py                                a million entries in a hundred sessions
    python bench/copying.py --entries 100000 --sessions 1
    python bench/copying.py --url postgresql+psycopg://u@host/db?schema=bench --keep DIR

Without --url it runs a server of its own, from the wheel that the tests use. Each copy is a
process of its own; what it takes includes the audits of both sides. At the end the export of every
session is held against the first journal's.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

from journal import Journal
from journal.copying import copy
from journal.export import export

AT_ONCE = 500


def make(path: Path, entries: int, sessions: int, size: int) -> None:
    """Write sessions of lines of a size."""
    text = b"x" * max(0, size - 53)
    each = entries // sessions
    with Journal(path, durability="normal") as journal:
        for name in range(sessions):
            session = journal.session(f"agent:main:{name}", writer="gateway", role="run")
            for first in range(0, each, AT_ONCE):
                session.extend(
                    b'{"type":"message","id":"%08x","text":"%s"}' % (number, text)
                    for number in range(first, min(first + AT_ONCE, each))
                )


def once(source: str, target: str) -> None:
    """Copy, in a process of its own, and tell."""
    start = perf_counter()
    stages: list[str] = []

    class Stage:
        def __init__(self, what: str) -> None:
            self.what = what

        def __enter__(self) -> None:
            self.start = perf_counter()

        def __exit__(self, *_: object) -> None:
            stages.append(f"{self.what.lower()} {perf_counter() - self.start:.1f} s")

    class Progress(Stage):
        def __init__(self, _: int, what: str) -> None:
            super().__init__(what)

        def __enter__(self):  # noqa: ANN204 - what is called with bytes
            super().__enter__()
            return lambda _name, _size: None

    copied = copy(source, target, progress=Progress, auditing=Stage)
    took = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{copied.entries} entries, {copied.bytes / 1e6:.0f} MB in {took:.1f} s: "
        f"{copied.bytes / took / 1e6:.1f} MB/s, peak {peak:.0f} MB; {', '.join(stages)}; "
        f"{copied.before.verdict} / {copied.after.verdict}, equal: {copied.is_clean}",
        flush=True,
    )


def digest(path: Path | str) -> str:
    """Return a digest over every session's bytes."""
    found = hashlib.sha256()
    with Journal(path, create=False) as journal:
        for info in journal.sessions():
            found.update(info.key.encode())
            for chunk in export(journal, info.key):
                found.update(chunk)
    return found.hexdigest()


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--size", type=int, default=600)
    parser.add_argument("--url")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        once(*given.once)
        return
    with ExitStack() as stack:
        place = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ.setdefault("JOURNAL_KEY_FILE", str(place / "key"))
        first, back = place / "first.db", place / "back.db"
        if not first.exists():
            make(first, given.entries, given.sessions, given.size)
        url = given.url or _served(stack)
        for what, one, other in (("to the server", first, url), ("back", url, back)):
            print(f"{what}: ", end="", flush=True)
            command = [sys.executable, __file__, "--once", str(one), str(other)]
            subprocess.run(command, check=True)  # noqa: S603 - this very file
        print(f"exports equal: {digest(first) == digest(back)}")


def _served(stack: ExitStack) -> str:
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from tests.postgres.server import Server  # noqa: PLC0415 - only without --url

    server = Server()
    stack.callback(server.remove)
    return server.url("bench")


if __name__ == "__main__":
    main()

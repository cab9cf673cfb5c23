"""Measure appends on a PostgreSQL server beside plain INSERT, as sessions and connections grow.

    python bench/postgres.py                      about five minutes; starts a server of its own
    python bench/postgres.py --url URL            on a server that is there, in a schema of its own
    python bench/postgres.py --quick              a look: good for no claim
    python bench/postgres.py --json FILE --svg FILE
    python bench/postgres.py --from FILE --svg FILE    draw kept figures again

Each connection is a process. A plain one inserts a line of 1 KB into a table of the same
columns, types and indexes as the journal's own, one statement a line, each committed at
once; a journal's appends the same line. Both are durable when the call returns, on the
same server. The processes of a cell are started once and take turns at being the one or
the other, in an order drawn anew for each round; a ratio is of one round, and what is
told is the median with the least and the greatest. The first round warms up.

Sessions are shared out among the connections; where there are fewer sessions than
connections, several processes write to one, and each must see what the other wrote
before it: that is told apart, for plain INSERT has nothing like it.

At eight connections it is also measured what it costs when somebody follows the journal,
and what a NOTIFY within plain INSERT's transaction would cost, which is why we do not.

The data directory of the server is below --dir (default: the directory for temporary
files): not memory, or the syncs cost nothing. Not part of the timed tests.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import contenders as limits
from chart import drawn
from rounds import ratios, spread

from journal import Journal
from journal.changes import Following
from journal.dialects import postgres
from journal.dialects.address import parsed
from tests.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA: Final = "journal.bench.postgres/1"
SESSIONS: Final = (1, 8, 64)
CONNECTIONS: Final = (1, 2, 4, 8, 16)
LINE: Final = limits.encoded(limits.value(1))
_COLUMNS: Final = (
    "session_id, seq, epoch, writer_id, instance_id, recorder_id, claim, kind, trusted, origin, "
    "request_id, run_id, on_behalf_of, created_us, cum_bytes, terminator, salt, commitment, key_id, "
    "prev, seal, line_type, line_id, parent_id, body"
)
_INSERT: Final = (
    f"INSERT INTO plain ({_COLUMNS}) VALUES ({', '.join(f'${n}' for n in range(1, 26))})"  # noqa: S608
)


# -- in each process ----------------------------------------------------------------------


def plain(url: str, number: int, *, notifies: bool = False) -> Callable[[], object]:
    """Return what inserts one line, as one would by hand."""
    connection = postgres.connect(parsed(url))
    cursor = postgres.driver().RawCursor(connection)
    mark, seal = os.urandom(16), os.urandom(32)
    session = 1_000_000 * (1 + notifies) + number
    seq = cursor.execute("SELECT max(seq) FROM plain WHERE session_id = $1", (session,))
    seq = seq.fetchone()[0] or 0

    def insert() -> None:
        nonlocal seq
        seq += 1
        cursor.execute(
            _INSERT,
            (
                session, seq, seq, 2, 3, 2, None, "line", 1, "api", None, None, None,
                time.time_ns() // 1000, seq * 1024, b"\n", mark, seal, 1, mark, seal,
                "message", "00000001", "00000000", LINE,
            ),
        )  # fmt: skip

    def insert_and_notify() -> None:
        cursor.execute("BEGIN")
        insert()
        cursor.execute("SELECT pg_notify('plain', '')")
        cursor.execute("COMMIT")

    return insert_and_notify if notifies else insert


def ours(url: str, number: int, sessions: int, connections: int) -> Callable[[], object]:
    """Return what appends one line to the next of this connection's sessions."""
    journal = Journal(url)
    own = range(number, sessions, connections) or [number % sessions]
    handles = [
        journal.session(f"{sessions}/{connections}/{each}", writer=f"w{number}", role="channel")
        for each in own
    ]
    at = 0

    def append() -> None:
        nonlocal at
        at = (at + 1) % len(handles)
        handles[at].append(LINE)

    for _ in handles:
        append()  # each session is there, and known
    return append


def connection(pipe: Any, url: str, number: int, sessions: int, connections: int) -> None:  # noqa: ANN401
    """Be one connection or the other, when told to; say how many lines it kept."""
    kinds = {
        "plain": plain(url, number),
        "notify": plain(url, number, notifies=True),
        "journal": ours(url, number, sessions, connections),
    }
    pipe.send("ready")
    for kind, seconds in iter(pipe.recv, None):
        keep, count, end = kinds[kind], 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            keep()
            count += 1
        pipe.send(count)


# -- in turns -----------------------------------------------------------------------------


def cell(url: str, sessions: int, connections: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one number of sessions at one number of connections."""
    kinds = ["plain", "journal"]
    if sessions == connections == options.followed:
        kinds += ["followed", "notify"]
    context, draw = multiprocessing.get_context("spawn"), Random(0)  # noqa: S311 - to be repeated
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    with ExitStack() as stack:
        pipes = []
        for number in range(connections):
            here, there = context.Pipe()
            values = (there, url, number, sessions, connections)
            process = context.Process(target=connection, args=values, daemon=True)
            process.start()
            stack.callback(process.join, 60)
            stack.callback(here.send, None)
            pipes.append(here)
        for pipe in pipes:
            pipe.recv()
        for count in range(options.rounds + 1):
            for kind in draw.sample(kinds, len(kinds)):
                rate = turn(url, pipes, kind, options.seconds)
                if count:
                    rates[kind].append(rate)
    return {
        "sessions": sessions,
        "connections": connections,
        "rates": {kind: spread(found)._asdict() for kind, found in rates.items()},
        "ratios": {
            kind: ratios(found, rates["plain"])._asdict()
            for kind, found in rates.items()
            if kind != "plain"
        },
        "load": os.getloadavg()[0],
    }


def turn(url: str, pipes: list[Any], kind: str, seconds: float) -> float:
    """Return how many lines a second all connections kept together."""
    with ExitStack() as stack:
        if kind == "followed":
            journal = stack.enter_context(Journal(url))
            stack.enter_context(Following(journal.store.changes))
        for pipe in pipes:
            pipe.send(("journal" if kind == "followed" else kind, seconds))
        return sum(pipe.recv() for pipe in pipes) / seconds


def cells(url: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all cells, and tell each as it comes."""
    Journal(url).close()
    made = postgres.connect(parsed(url))
    made.execute("CREATE TABLE plain (LIKE entries INCLUDING ALL)")
    try:
        for sessions in options.sessions:
            for connections in options.connections:
                found = cell(url, sessions, connections, options)
                told(found)
                yield found
    finally:
        made.execute("DROP TABLE plain")
        made.close()


def told(found: dict[str, Any]) -> None:
    """Print one cell."""
    plain_rate = found["rates"]["plain"]["median"]
    for kind, ratio in found["ratios"].items():
        rate = found["rates"][kind]["median"]
        print(
            f"{found['sessions']:4} sessions {found['connections']:3} connections  {kind:9}"
            f"{rate:8,.0f}/s of {plain_rate:8,.0f}/s  ratio {ratio['median']:.2f} "
            f"({ratio['low']:.2f} to {ratio['high']:.2f})  load {found['load']:.0f}",
            flush=True,
        )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure on a server of our own, or on the one that was named."""
    tempfile.tempdir = str(options.dir) if options.dir else None
    server = None if options.url else Server()
    url = options.url or server.url()  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("JOURNAL_KEY_FILE", str(Path(home) / "key"))
        try:
            asked = postgres.connect(parsed(url)).execute(
                "SELECT current_setting('server_version')"
            )
            machine = limits.machine(server.directory if server else Path(home))
            machine["server"] = asked.fetchone()[0]
            figures = list(cells(url, options))
        finally:
            if server is not None:
                server.remove()
    return {"schema": SCHEMA, "quick": options.quick, "machine": machine, "cells": figures}


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", help="a server that is there; default: one of our own")
    parser.add_argument("--quick", action="store_true", help="a look: good for no claim")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--sessions", type=_numbers, default=list(SESSIONS))
    parser.add_argument("--connections", type=_numbers, default=list(CONNECTIONS))
    parser.add_argument("--followed", type=int, default=8, help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help="where the server keeps its data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw them")
    parser.add_argument("--from", dest="kept", type=Path, metavar="FILE", help="use kept figures")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    return options


def main() -> None:
    """Measure, print, and keep what was asked for."""
    options = _options()
    figures = json.loads(options.kept.read_text("utf-8")) if options.kept else run(options)
    print(", ".join(f"{name} {fact}" for name, fact in figures["machine"].items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if options.svg:
        options.svg.write_text(drawn(figures["cells"]), "utf-8")


if __name__ == "__main__":
    main()

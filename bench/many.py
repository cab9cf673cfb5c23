"""Measure many writers at once: threads, asyncio tasks and processes, beside one plain thread.

    python bench/many.py                      about three minutes, 1 GB of disk
    python bench/many.py --quick              a look: good for no claim
    python bench/many.py --json FILE          also keep the figures
    python bench/many.py --report FILE        write docs/many-writers.md's table

All take turns in blocks, in an order drawn anew each time; a ratio is a
contender's rate over the plain thread's in the same round, and what is told is
the median of the rounds with the least and the greatest. Plain is one thread of
plain SQLite, FULL; sixteen plain threads, each with its own connection, are shown
for comparison, and so are eight plain processes. Everything of ours is FULL: an
append has returned when its line is durable.

Processes are measured by themselves after a common start: how many lines all of
them kept a second, the slowest one's share of the fastest one's, and the longest
that any append took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import contenders as limits
from rounds import Contender, Plan, measure, ratios, spread

from journal import AsyncJournal, Journal
from journal.engine import driver

if TYPE_CHECKING:
    from collections.abc import Callable

LINE: Final = limits.encoded(limits.value(1))
PROCESSES: Final = 8
THREADS: Final = 16
TASKS: Final = 64


def threads(home: Path, count: int, sessions: int) -> Contender:
    """Append from threads that share one journal."""
    journal = Journal(home / f"threads-{count}-{sessions}.db")
    handles = [
        journal.session(f"s{number % sessions}", writer="w", role="run") for number in range(count)
    ]
    for handle in handles:
        handle.append(LINE)

    def run(times: int) -> None:
        at_once([lambda h=handle: h.append(LINE) for handle in handles], times)  # type: ignore[misc]

    title = f"journal: {count} threads, {sessions} session{'s' if sessions > 1 else ''}"
    return Contender(f"threads {count}/{sessions}", title, "plain-full", run, journal.close)


def plain_threads(home: Path, count: int) -> Contender:
    """Insert from threads that have a connection each, with SQLite's own busy handler."""
    path = home / "plain-threads.db"
    made = driver().connect(path, isolation_level=None)
    made.execute("PRAGMA journal_mode=WAL")
    made.execute(limits.TABLE)
    connections = [
        driver().connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        for _ in range(count)
    ]

    def run(times: int) -> None:
        at_once([inserter(connection, at) for at, connection in enumerate(connections)], times)

    def close() -> None:
        for connection in (made, *connections):
            connection.close()

    return Contender(
        "plain threads", f"plain: {count} threads, a connection each", "plain-full", run, close
    )


def inserter(connection: Any, session_id: int) -> Callable[[], None]:  # noqa: ANN401
    connection.execute("PRAGMA synchronous=FULL")
    execute = connection.cursor().execute
    found = execute("SELECT max(seq) FROM rows WHERE session_id = ?", (session_id,)).fetchone()
    seqs = iter(range((found[0] or 0) + 1, 10**9))

    def insert() -> None:
        execute("BEGIN IMMEDIATE")
        execute(
            "INSERT INTO rows(session_id, seq, body) VALUES (?, ?, ?)",
            (session_id, next(seqs), LINE),
        )
        execute("COMMIT")

    return insert


def at_once(calls: list[Callable[[], object]], times: int) -> None:
    """Make each call in a thread of its own, as often as it takes for so many in all."""
    each = max(1, times // len(calls))
    start = threading.Barrier(len(calls))

    def work(call: Callable[[], object]) -> None:
        start.wait()
        for _ in range(each):
            call()

    running = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


class Pauses:
    """How long Python's own garbage collection stopped everything, each time."""

    def __init__(self) -> None:
        self.longest_s = self._began = 0.0
        gc.callbacks.append(self)

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.longest_s = max(self.longest_s, time.perf_counter() - self._began)


def tasks(home: Path, count: int, lags: list[float]) -> Contender:
    """Append from asyncio tasks; note how long the loop was ever kept from other work."""
    loop = asyncio.new_event_loop()
    journal = AsyncJournal(home / "tasks.db")
    loop.run_until_complete(journal.__aenter__())
    session = loop.run_until_complete(journal.session("s", writer="w", role="run"))
    loop.run_until_complete(session.append(LINE))

    async def one(times: int) -> None:
        for _ in range(times):
            await session.append(LINE)

    async def look() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            lags.append(time.perf_counter() - began)
            await asyncio.sleep(0.001)

    async def all_of(times: int) -> None:
        looking = asyncio.ensure_future(look())
        await asyncio.gather(*[one(max(1, times // count)) for _ in range(count)])
        looking.cancel()

    return Contender(
        "tasks", f"journal: {count} asyncio tasks", "plain-full",
        lambda times: loop.run_until_complete(all_of(times)),
        lambda: loop.run_until_complete(journal.close()),
    )  # fmt: skip


# -- processes ------------------------------------------------------------------------


def child(path: str, kind: str, number: int, seconds: float) -> None:
    """Write until the time is over; print how many lines it were and what the slowest took."""
    append: Callable[[], object]
    if kind == "plain":
        append = inserter(driver().connect(path, isolation_level=None, timeout=60), number)
    else:
        key = f"s{number}" if kind == "own" else "s"
        session = Journal(path).session(key, writer="w", role="run")
        append = lambda: session.append(LINE)  # noqa: E731 - as short as the other
    append()
    print("ready", flush=True)
    sys.stdin.readline()
    count, worst, end = 0, 0.0, time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        append()
        count, worst = count + 1, max(worst, time.perf_counter() - began)
    print(json.dumps([count, worst]), flush=True)
    os._exit(0)


def processes(home: Path, kind: str, count: int, seconds: float) -> tuple[float, float, float]:
    """Return lines a second of all, the slowest's share of the fastest's, and the longest wait."""
    path = home / f"{kind}-{count}-{time.monotonic_ns()}.db"
    if kind == "plain":
        made = driver().connect(path, isolation_level=None)
        made.execute("PRAGMA journal_mode=WAL")
        made.execute(limits.TABLE)
    else:
        Journal(path).close()
    command = [sys.executable, __file__, "--child", str(path), kind]
    running = [
        subprocess.Popen(  # noqa: S603 - ourselves
            [*command, str(number), str(seconds)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip
    told = [process.stdout for process in running if process.stdout]
    for line in told:
        line.readline()
    for process in running:
        if process.stdin:
            process.stdin.write("\n")
            process.stdin.flush()
    figures = [json.loads(line.readline()) for line in told]
    for process in running:
        process.wait()
    counts = [figure[0] for figure in figures]
    return sum(counts) / seconds, min(counts) / max(counts), max(figure[1] for figure in figures)


def compared(home: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Run one process and eight in turn, for each way to write."""
    found: dict[str, Any] = {}
    for kind in ("own", "one", "plain"):
        runs = [
            (processes(home, kind, 1, seconds), processes(home, kind, PROCESSES, seconds))
            for _ in range(rounds)
        ]
        found[kind] = {
            "ratio": spread([many[0] / one[0] for one, many in runs]),
            "share": min(many[1] for _, many in runs),
            "worst_ms": max(many[2] for _, many in runs) * 1e3,
            "rate": spread([many[0] for _, many in runs]).median,
        }
    return found


# -- the report -----------------------------------------------------------------------

KINDS: Final = {
    "own": f"journal: {PROCESSES} processes, a session each",
    "one": f"journal: {PROCESSES} processes, one session",
    "plain": f"plain: {PROCESSES} processes, SQLite's busy handler",
}


def table(
    running: list[Contender], found: dict[str, Any], lags: list[float], pauses: Pauses
) -> str:
    """Return the figures as Markdown."""
    plain = next(contender for contender in running if contender.name == "plain-full")
    rows = ["| what | lines/s | over one plain thread | least to most |", "|---|---|---|---|"]
    for contender in running:
        over = ratios(contender.rates, plain.rates)
        rate = spread(contender.rates).median
        rows.append(
            f"| {contender.title} | {rate:,.0f} | {over.median:.2f} | {over.low:.2f} to {over.high:.2f} |"
        )
    rows += [
        "",
        "| what | lines/s | over one such process | slowest over fastest | longest wait |",
        "|---|---|---|---|---|",
    ]
    for kind, told in found.items():
        ratio = told["ratio"]
        rows.append(
            f"| {KINDS[kind]} | {told['rate']:,.0f} | {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f}) "
            f"| {told['share']:.2f} | {told['worst_ms']:,.0f} ms |"
        )
    lags.sort()
    late, most = lags[int(len(lags) * 0.99)] * 1e3, lags[-1] * 1e3
    rows.append("")
    rows.append(
        f"The event loop of the {TASKS} tasks: another task waited {late:.1f} ms in 99 of 100 cases, {most:.1f} ms at most; "
        f"the longest that Python's own garbage collection stopped the process was {pauses.longest_s * 1e3:.1f} ms."
    )
    return "\n".join(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--dir", type=Path, default=Path())
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        path, kind, number, seconds = asked.child
        child(path, kind, int(number), float(seconds))
    lags: list[float] = []
    pauses = Pauses()
    with tempfile.TemporaryDirectory(dir=asked.dir, prefix="many-") as directory:
        home = Path(directory)
        os.environ["JOURNAL_KEY_FILE"] = str(home / "key")
        running = [
            limits.plain(home, "full"),
            plain_threads(home, THREADS),
            threads(home, 1, 1),
            threads(home, THREADS, 1),
            threads(home, THREADS, THREADS),
            threads(home, TASKS, 4),
            tasks(home, TASKS, lags),
        ]
        plan = Plan(1, 1, 640) if asked.quick else Plan(7, 3, 1280)
        measure(running, plan, lambda text: print(f"  {text}", file=sys.stderr))
        found = compared(home, *((1, 1.0) if asked.quick else (3, 3.0)))
        for contender in running:
            contender.close()
    told = table(running, found, lags, pauses)
    print(told)
    if asked.json:
        rates = {contender.name: contender.rates for contender in running}
        asked.json.write_text(json.dumps({"rates": rates, "processes": found}, indent=1))
    if asked.report:
        asked.report.write_text(told + "\n")


if __name__ == "__main__":
    main()

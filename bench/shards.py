"""Measure what one journal on a server comes to, and what many of them do as shards of one service.

    python bench/shards.py                    some minutes; two real servers from the wheel
    python bench/shards.py --quick            a look: good for no claim
    python bench/shards.py --json FILE        also keep the figures

A shard is a journal: a schema of its own. The router is a few lines: it takes the
SHA-256 of a session's key, and opens a shard's journal when it is first needed.
Each part is run with one journal and with all of them, by the same processes, one
after the other: compare figures of one run only. Server and clients share one
machine here, so no rate says what a server of one's own would do. CPU time and bytes
of each operation say more, on a busy machine too.

At the end each shard is audited, and what was acknowledged is held against what is
there. The servers refuse prepared transactions, so none can have spanned two shards.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from journal import Journal
from journal.audit import audit
from tests.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Session

PROCESSES: Final = 4
OWN: Final = 8  # sessions that each process goes on with
LINE: Final = {"type": "message", "text": "x" * 1400}  # about 1.5 KB, as in docs/scale.md
Kit = Any  # a barrier or queue of multiprocessing


class Router:
    """Finds a session's journal by its key alone; opens each once."""

    def __init__(self, urls: list[str], key_file: str) -> None:
        self._urls, self._key_file = urls, key_file
        self._open: dict[int, Journal] = {}

    def shard(self, key: str) -> int:
        """Return the number of the shard that a session is in, for ever."""
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % len(self._urls)

    def session(self, key: str) -> Session:
        """Return a session, wherever it is."""
        number = self.shard(key)
        if number not in self._open:
            self._open[number] = Journal(self._urls[number], key_file=self._key_file)
        return self._open[number].session(key, writer="gateway", role="channel")

    def close(self) -> None:
        for journal in self._open.values():
            journal.close()


def append(router: Router, mine: str, n: int) -> str:
    """Append to one of eight sessions of this process's own."""
    key = f"{mine}:{n % OWN}"
    router.session(key).append(LINE)
    return key


def append_fenced(router: Router, mine: str, n: int) -> str:
    key = f"{mine}:{n % OWN}"
    with router.session(key).fence() as fence:
        fence.append(LINE)
    return key


def take_turn(router: Router, mine: str, n: int) -> str:
    key = f"{mine}:{n % OWN}"
    with router.session(key).claim() as turn:
        turn.append(LINE)
    return key


def create(router: Router, mine: str, n: int) -> str:
    """Begin a new session with each line."""
    key = f"{mine}:new {n}"
    router.session(key).append(LINE)
    return key


WORKS: Final[dict[str, Callable[[Router, str, int], str]]] = {
    "append": append,
    "fence.append": append_fenced,
    "claim, append, release": take_turn,
    "new session": create,
}


def work(  # noqa: PLR0913 - all that a process is told
    urls: list[str], key_file: str, name: str, number: int, seconds: float, go: Kit, out: Kit
) -> None:
    """Do one thing for so long, after a common start; say how often each shard did it."""
    router, mine, counts, did = (
        Router(urls, key_file),
        f"{name} {number}",
        Counter[int](),
        WORKS[name],
    )
    for n in range(OWN):
        did(router, mine, n)
    out.put("ready")
    go.wait()
    end, n, used = time.monotonic() + seconds, OWN, time.process_time()
    while time.monotonic() < end:
        counts[router.shard(did(router, mine, n))] += 1
        n += 1
    used = time.process_time() - used
    router.close()
    out.put((dict(counts), n, used))


def measured(
    servers: list[Server], urls: list[str], key_file: str, name: str, seconds: float
) -> tuple[dict[str, Any], int]:
    """Let all processes do one thing; return what it came to, and how many lines were acknowledged."""
    fresh = multiprocessing.get_context("spawn")
    go, out = fresh.Barrier(PROCESSES + 1), fresh.Queue()
    running = [
        fresh.Process(target=work, args=(urls, key_file, name, number, seconds, go, out))
        for number in range(PROCESSES)
    ]
    for each in running:
        each.start()
    for _ in running:
        out.get()
    before, server_before = written(servers), server_cpu_s(servers)
    go.wait()
    found = [out.get() for _ in running]
    wal, server_used = written(servers) - before, server_cpu_s(servers) - server_before
    for each in running:
        each.join()
    counts = Counter[int]()
    for each_counts, _, _ in found:
        counts.update(each_counts)
    done = counts.total()
    told = {
        "done": done,
        "a_second": round(done / seconds, 1),
        "each_shard": [round(counts[n] / seconds, 1) for n in range(len(urls))],
        "wal_bytes_each": round(wal / done),
        "client_cpu_ms_each": round(sum(used for *_, used in found) * 1e3 / done, 2),
        "server_cpu_ms_each": round(server_used * 1e3 / done, 2),
    }
    return told, sum(n for _, n, _ in found)


def compared(
    servers: list[Server], key_file: str, shards: int, seconds: float, works: list[str]
) -> dict[str, Any]:
    """Do each thing in one journal, then in all shards; look whether all of it is there."""
    told: dict[str, Any] = {}
    for at, name in enumerate(works):
        for count in (1, shards):
            urls = [
                servers[number % len(servers)].url(f"w{at}_{count}_{number}")
                for number in range(count)
            ]
            for url in urls:
                Journal(url, key_file=key_file).close()
            found, acknowledged = measured(servers, urls, key_file, name, seconds)
            told[f"{name}, {count} shard{'s' * (count > 1)}"] = found
            check(urls, key_file, acknowledged)
            print(name, count, found, file=sys.stderr)
    return told


def check(urls: list[str], key_file: str, acknowledged: int) -> None:
    """Hold what was acknowledged against what is there, and audit each shard."""
    lines = 0
    for url in urls:
        assert audit(url, key_file=key_file).findings == ()
        with Journal(url, key_file=key_file) as journal:
            lines += sum(len(journal.session(each.key).read()) for each in journal.sessions())
    assert lines == acknowledged, (lines, acknowledged)


def written(servers: list[Server]) -> int:
    return sum(int(ask(each, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")) for each in servers)


def server_cpu_s(servers: list[Server]) -> float:
    """Return what all processes of the servers have used, those included that have ended."""
    ticks = 0
    firsts = {
        int((each.directory / "data" / "postmaster.pid").read_text().split()[0]) for each in servers
    }
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text("ascii", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(status.parent.name) in firsts:
            ticks += sum(map(int, words[11:15]))
        elif int(words[1]) in firsts:
            ticks += sum(map(int, words[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def ask(server: Server, statement: str) -> str:
    with server.connect() as connection:
        return str(connection.execute(statement).fetchone()[0])


def sizes(server: Server, key_file: str, rows: int) -> dict[str, int]:
    """Return what a row takes: its table with what is out of line, and the indexes."""
    with Journal(server.url("sized"), key_file=key_file) as journal:
        session = journal.session("s", writer="gateway", role="channel")
        for _ in range(rows // 100):
            session.extend([LINE] * 100)
    index = int(ask(server, "SELECT pg_indexes_size('sized.entries')"))
    table = int(ask(server, "SELECT pg_table_size('sized.entries')"))
    return {"table": round(table / rows), "indexes": round(index / rows)}


def first_append(url: str, key_file: str, out: Kit) -> None:
    """Say what it takes to open a journal and to write a first line: CPU time and memory."""
    kept = resident_kib()
    began = time.process_time()
    with Journal(url, key_file=key_file) as journal:
        session = journal.session("s 0", writer="gateway", role="channel")
        session.append(LINE)
        took = time.process_time() - began
        began = time.process_time()
        session.append(LINE)
        second = time.process_time() - began
        more = resident_kib() - kept
    out.put({"first_cpu_ms": round(took * 1e3), "next_cpu_ms": round(second * 1e3, 1), "kib": more})


def resident_kib() -> int:
    """Return how much memory this process has in use."""
    status = Path("/proc/self/status").read_text("ascii", "replace")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def grown(server: Server, key_file: str, counts: list[int]) -> dict[int, Any]:
    """Return what a journal with so many sessions costs each process that opens it."""
    fresh, told, made = multiprocessing.get_context("spawn"), {}, 0
    out = fresh.Queue()
    for count in counts:
        with Journal(server.url("grown"), key_file=key_file) as journal:
            while made < count:
                with journal.batch() as batch:
                    for number in range(made, min(made + 500, count)):
                        session = journal.session(f"s {number}", writer="gateway", role="channel")
                        batch.append(session, {"n": 0})
                made = min(made + 500, count)
        process = fresh.Process(target=first_append, args=(server.url("grown"), key_file, out))
        process.start()
        told[count] = out.get()
        process.join()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--work", action="append", choices=list(WORKS), help="only this one")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    seconds, counts = (3.0, [10, 500, 5000]) if given.quick else (10.0, [10, 1000, 10_000, 40_000])
    servers = [Server(), Server()]
    try:
        with tempfile.TemporaryDirectory() as home:
            key_file = f"{home}/key"
            told = {
                "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
                "prepared": [ask(each, "SHOW max_prepared_transactions") for each in servers],
                "row_bytes": sizes(servers[0], key_file, 1000 if given.quick else 20_000),
                "works": compared(
                    servers, key_file, given.shards, seconds, given.work or list(WORKS)
                ),
                "sessions": grown(servers[0], key_file, counts),
            }
            told["machine"]["load_at_the_end"] = round(os.getloadavg()[0], 1)
    finally:
        for each in servers:
            each.remove()
    text = json.dumps(told, indent=1)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()

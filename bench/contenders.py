"""The limits and ourselves: plain SQLite, C, files, and the journal."""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from itertools import count, cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rounds import AbsentError, Contender

from journal import Journal
from journal.engine import driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, "
    "seq INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE(session_id, seq))"
)
_POOL: Final = 256


def value(number: int, size: int = 1024) -> dict[str, Any]:
    """Return one message whose line has ``size`` bytes, line end included."""
    message = {
        "type": "message",
        "id": f"{number:08x}",
        "parentId": f"{number - 1 & 0xFFFFFFFF:08x}",
        "timestamp": "2026-05-18T11:30:22.038Z",
        "message": {"role": "assistant", "content": [{"type": "text", "text": ""}]},
    }
    room = size - 1 - len(encoded(message))
    message["message"]["content"][0]["text"] = ("Mend the gate. " * (room // 15 + 1))[:room]  # type: ignore[index]
    return message


def encoded(line: dict[str, Any]) -> bytes:
    """Return the line without its line end."""
    return json.dumps(line, separators=(",", ":")).encode()


def bodies() -> Iterator[bytes]:
    """Yield lines of 1 KB for ever, made beforehand."""
    return cycle([encoded(value(number)) for number in range(1, _POOL + 1)])


def values() -> Iterator[dict[str, Any]]:
    """Yield the same lines as objects."""
    return cycle([value(number) for number in range(1, _POOL + 1)])


def each(call: Callable[[Any], object], items: Iterator[Any]) -> Callable[[int], None]:
    """Return a run that hands one item at a time to ``call``."""

    def run(times: int) -> None:
        for _ in range(times):
            call(next(items))

    return run


def plain(home: Path, durability: str) -> Contender:
    """Plain SQLite, our own library: one row a transaction on a kept cursor."""
    against = f"plain-{durability}"
    title = f"plain sqlite3 {driver().sqlite_version}, indexed table, {durability.upper()}"
    return _plain(home, driver(), durability, against, title)


def stdlib(home: Path) -> Contender:
    """Do the same with the library that Python links, where that is another."""
    if driver() is sqlite3:
        raise AbsentError("it is the library in use")
    title = f"the same with Python's own SQLite {sqlite3.sqlite_version}, FULL"
    return _plain(home, sqlite3, "full", "stdlib-full", title)


def _plain(home: Path, module: ModuleType, durability: str, name: str, title: str) -> Contender:
    connection = module.connect(home / f"{name}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={durability}")
    connection.execute(TABLE)
    execute, seqs = connection.cursor().execute, count(1)

    def keep(body: bytes) -> None:
        execute("BEGIN IMMEDIATE")
        execute("INSERT INTO rows(session_id, seq, body) VALUES (1, ?, ?)", (next(seqs), body))
        execute("COMMIT")

    return Contender(name, title, f"plain-{durability}", each(keep, bodies()), connection.close)


def c_loop(home: Path, durability: str) -> Contender:
    """Loop in C over the same table and the same SQLite library."""
    loops = _loops(home)
    setup = f"PRAGMA journal_mode=WAL; PRAGMA synchronous={durability}; {TABLE}"
    path = str(home / f"c-{durability}.db").encode()
    loop = loops.loop_open(_library().encode(), path, setup.encode())
    if not loop:
        raise AbsentError("the driver does not let its SQLite library be called")
    body = next(bodies())

    def run(times: int) -> None:
        if loops.loop_run(loop, times, body, len(body)) != 0:
            raise RuntimeError("the C loop failed")

    title = f"C loop, one insert and commit, {durability.upper()}"
    return Contender(
        f"c-{durability}", title, f"plain-{durability}", run, lambda: loops.loop_close(loop)
    )


def _library() -> str:
    native = "_sqlite3" if driver() is sqlite3 else "pysqlite3._sqlite3"
    return str(importlib.import_module(native).__file__)


def _loops(home: Path) -> ctypes.CDLL:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise AbsentError("there is no C compiler")
    built = home / "loop.so"
    if not built.exists():
        source = Path(__file__).with_name("loop.c")
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-ldl"]
        subprocess.run(command, check=True)  # noqa: S603 - our own source, the user's compiler
    loops = ctypes.CDLL(str(built))
    loops.loop_open.restype = ctypes.c_void_p
    loops.loop_open.argtypes = [ctypes.c_char_p] * 3
    loops.loop_run.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    loops.loop_close.argtypes = [ctypes.c_void_p]
    return loops


def synced_file(home: Path) -> Contender:
    """One descriptor kept open: write and fdatasync."""
    descriptor = os.open(home / "synced.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def keep(body: bytes) -> None:
        os.write(descriptor, body + b"\n")
        os.fdatasync(descriptor)

    return Contender(
        "fdatasync",
        "write + fdatasync of one line, descriptor kept open",
        "plain-full",
        each(keep, bodies()),
        lambda: os.close(descriptor),
    )


def locked_file(home: Path) -> Contender:
    """Write JSONL with care: open, flock, append, fsync, close."""
    path = home / "locked.jsonl"

    def keep(body: bytes) -> None:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(body + b"\n")
            file.flush()
            os.fsync(file.fileno())

    title = "JSONL: open, flock, append, fsync, close"
    return Contender("jsonl", title, "plain-full", each(keep, bodies()), lambda: None)


def lock_file(home: Path) -> Contender:
    """OpenClaw's file era: a lock file, an append, a fingerprint. Nothing is synced."""
    path, lock = home / "openclaw.jsonl", home / "openclaw.jsonl.lock"
    holder = {"pid": os.getpid(), "createdAt": "2026-05-18T11:30:22.038Z", "starttime": 4711}

    def keep(body: bytes) -> None:
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, json.dumps(holder).encode())
        os.close(descriptor)
        with path.open("ab") as file:
            file.write(body + b"\n")
        path.stat()
        lock.unlink()

    title = "OpenClaw's pattern: lock file + append + fingerprint, not durable"
    return Contender("lock-file", title, "plain-full", each(keep, bodies()), lambda: None)


def ours(home: Path, durability: str, *, as_bytes: bool) -> Contender:
    """Append one line to a session of a journal."""
    kind = "bytes" if as_bytes else "dict"
    title = f"journal: append, {kind} line, {durability.upper()}"
    return _ours(home, durability, f"journal-{durability}-{kind}", title)


def mirrored(home: Path) -> Contender:
    """Append one line to a session that keeps a file alive beside the journal."""
    title = "journal: append, bytes line, FULL, with its mirror"
    return _ours(home, "full", "journal-mirror-bytes", title, home / "mirror.jsonl")


def _ours(
    home: Path, durability: str, name: str, title: str, mirror: Path | None = None
) -> Contender:
    journal = Journal(home / f"{name}.db", key_file=home / "key", durability=durability)
    session = journal.session("agent:main:main", writer="gateway", role="run", mirror=mirror)
    items: Iterator[Any] = bodies() if name.endswith("bytes") else values()
    return Contender(name, title, f"plain-{durability}", each(session.append, items), journal.close)


def machine(home: Path) -> dict[str, Any]:
    """Tell where the figures come from, without naming the machine."""
    import platform  # noqa: PLC0415

    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "sqlite": driver().sqlite_version,
        "sqlite of Python": sqlite3.sqlite_version,
        "file system": _file_system(home.resolve()),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _file_system(path: Path) -> str:
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return "unknown"
    under = [mount for mount in mounts if path.is_relative_to(mount[1])]
    return max(under, key=lambda mount: len(mount[1]))[2] if under else "unknown"

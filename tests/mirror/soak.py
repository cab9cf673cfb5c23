"""Processes serve one file, foreign hands write to it, and each may be killed at any moment.

    python -m tests.mirror.soak [SECONDS]          ten minutes, if nothing is said
    python -m tests.mirror.soak SECONDS server     the journal on a PostgreSQL server

At the end every acknowledged line is there once, no own line was called foreign,
every foreign line that was put in whole is an entry, nothing foreign is trusted,
and the file is what an export gives.

One thing is excused, and counted: a line written in the very moment in which a
rewrite cuts the file, after the last look at its size and before the cut is
done. There is no lock that its writer would heed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from journal import Journal, JournalError
from journal.audit import audit
from journal.export import export
from journal.mirrorfile import MirrorFile
from tests.postgres.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "agent:main:main"
WRITERS: Final = 3
ROOT: Final = Path(__file__).resolve().parents[2]


def opened(home: Path) -> Journal:
    """Open the journal of a soak: in its directory, or on the server that is named there."""
    return Journal(place_of(home), key_file=home / "keys" / "k")


def place_of(home: Path) -> str:
    url = home / "url"
    return url.read_text() if url.exists() else str(home / "a.db")


def write(home: Path, number: int) -> None:
    """Append, fence, rewrite and reconcile until killed; note each line that is acknowledged."""
    note_cuts((home / "cuts").open("ab", buffering=0))
    draw = random.Random(os.getpid())  # noqa: S311 - a test's dice
    with (
        (home / f"acked-{number}").open("ab", buffering=0) as acked,
        opened(home) as journal,
    ):
        session = journal.session(KEY, writer=f"w{number}", role="channel", mirror=home / "s.jsonl")
        for n in range(1_000_000):
            line = b'{"w":%d,"p":%d,"n":%d}' % (number, os.getpid(), n)
            session.append(line)
            acked.write(line + b"\n")
            dice = draw.random()
            try:
                if dice < 0.1:
                    session.fence().check(raise_=False)
                elif dice < 0.12:
                    kept = list(session.read())[-200:]
                    session.rewrite(kept, base=session.head.seq, reason="compacted")
            except JournalError:
                continue  # rewritten meanwhile, or another is at the mirror: its right


def note_cuts(notes: BinaryIO) -> None:
    """Have every cut noted: when the file's size was last looked at, and when the cut was done."""
    looked: list[int] = [0]
    size, cut = MirrorFile.size, MirrorFile.cut
    assert isinstance(size, property)
    assert size.fget

    def look(self: MirrorFile) -> int:
        looked[0] = time.monotonic_ns()
        return int(size.fget(self))

    def noted(self: MirrorFile, to: int) -> None:
        me, began = os.getpid(), looked[0]
        notes.write(b"%d %d\n" % (me, began))
        cut(self, to)
        notes.write(b"%d %d %d\n" % (me, began, time.monotonic_ns()))

    MirrorFile.size, MirrorFile.cut = property(look), noted


def cuts(home: Path) -> list[tuple[int, int]]:
    """Return when the file was being cut; a cut whose end nobody noted is given a second."""
    noted: dict[tuple[int, int], int] = {}
    for line in (home / "cuts").read_bytes().splitlines():
        process, began, *ended = map(int, line.split())
        noted[process, began] = ended[0] if ended else began + 10**9
    return [(began, ended) for (_, began), ended in noted.items()]


def meddle(home: Path) -> None:
    """Append whole lines, and torn ones in two pieces, as a program that knows only files."""
    draw = random.Random(os.getpid())  # noqa: S311 - a test's dice
    path = home / "s.jsonl"
    with (home / "put").open("ab", buffering=0) as put:
        for n in range(1_000_000):
            time.sleep(draw.random() * 0.05)
            line = b'{"foreign":%d,"n":%d}\n' % (os.getpid(), n)
            with path.open("ab", buffering=0) as file:
                if draw.random() < 0.2:
                    file.write(line[:5])
                    time.sleep(draw.random() * 0.02)
                    file.write(line[5:])
                else:
                    began = time.monotonic_ns()
                    file.write(line)
                    put.write(b"%d %d %s" % (began, time.monotonic_ns(), line))


def started(what: str, home: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.mirror.soak", what, str(home), str(number)]
    return subprocess.Popen(command, cwd=ROOT, stderr=(home / "errors").open("ab"))


def written(home: Path, number: int) -> int:
    return (home / f"acked-{number}").stat().st_size


def soak(home: Path, seconds: float) -> dict[str, int]:
    """Run it, killing at random; return what was counted. Raises AssertionError if anything is off."""
    draw = random.Random(1)  # noqa: S311 - a test's dice
    with opened(home) as journal:
        journal.mirrors.add(KEY, home / "s.jsonl")
    for name in ("cuts", "put", *(f"acked-{number}" for number in range(WRITERS))):
        (home / name).touch()  # a slow machine may kill one before it has begun
    running = [started("write", home, n) for n in range(WRITERS)]
    since = [0] * WRITERS
    hand = started("meddle", home, 0)
    kills = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        # Each is to come as far as to write: a server is longer at letting one in.
        time.sleep((0.1 + draw.random()) * (3 if (home / "url").exists() else 1))
        number = draw.randrange(WRITERS)
        assert running[number].poll() is None, (home / "errors").read_text()
        if written(home, number) == since[number]:
            continue  # a busy machine has not let it begin
        running[number].send_signal(signal.SIGKILL)
        running[number].wait()
        kills += 1
        since[number] = written(home, number)
        running[number] = started("write", home, number)
    for process in (*running, hand):
        process.kill()
        process.wait()
    return {"kills": kills} | judged(home)


def judged(home: Path) -> dict[str, int]:
    with opened(home) as journal:
        session = journal.session(KEY, writer="operator", role="operator", mirror=home / "s.jsonl")
        session.fence().check()
        path = home / "s.jsonl"
        assert path.read_bytes() == b"".join(export(journal, KEY))
        entries = list(rows(journal))
    report = audit(place_of(home), key_file=str(home / "keys" / "k"))
    assert {finding.id for finding in report.findings} <= {"J110"}, report.findings
    own = Counter(data for data, trusted in entries if trusted)
    foreign = Counter(data for data, trusted in entries if not trusted)
    acked = [
        line for each in sorted(home.glob("acked-*")) for line in each.read_bytes().splitlines()
    ]
    assert len(acked) == len(set(acked))
    for line in acked:
        assert own[line + b"\n"] == 1, line
    assert not any(b'"foreign"' in line for line in own)
    # Ours is whole there only as ours. A kill within a write leaves a piece of it,
    # and a hand that goes on behind it makes a foreign line of both.
    assert not [line for line in foreign if line.startswith(b'{"w"') and line in own]
    noted = [line.split(b" ", 2) for line in (home / "put").read_bytes().splitlines(keepends=True)]
    put = [line for _, _, line in noted]
    told = b"".join(foreign)
    missing = [note for note in noted if note[2] not in foreign and note[2] not in told]
    in_a_cut = cuts(home)
    unexcused = [
        (
            line,
            line[:-1] in told,
            began,
            ended,
            [cut for cut in in_a_cut if abs(cut[0] - int(began)) < 10**8],
        )
        for began, ended, line in missing
        if not any(first <= int(ended) and int(began) <= last for first, last in in_a_cut)
    ]
    assert not unexcused, (len(unexcused), len(missing), len(put), unexcused[:3])
    # Each whole line once: nothing is taken again because somebody died while it was taken.
    assert not [line for line in put if foreign[line] > 1]
    return {
        "acked": len(acked),
        "own": sum(own.values()),
        "foreign": sum(foreign.values()),
        "put": len(put),
        "cuts": len(in_a_cut),
        "lost in a cut": len(missing),
    }


def rows(journal: Journal) -> Iterator[tuple[bytes, bool]]:
    from journal.pages import rows_of

    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, KEY)
        assert chain is not None
        for row in rows_of(cursor, chain.session_id, 1):
            if row.kind != b"control" and row.body:
                yield row.body + row.terminator, row.trusted == 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["meddle"]:
        meddle(Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
            if sys.argv[2:] == ["server"]:
                server = Server()
                stack.callback(server.remove)
                (Path(place) / "url").write_text(server.url())
            print(soak(Path(place), float(sys.argv[1]) if sys.argv[1:] else 600))  # noqa: T201

"""Eight processes write to four mirrored sessions, one of them is killed every second, and the history is checked.

    python -m tests.history.soak [SECONDS]      ten minutes, if nothing is said

Checked at the end: every acknowledged line is there once, where it was
acknowledged; a line of which nobody knows is there at most once; seqs and epochs
have no gap; who had an answer before another asked has the smaller seq; each file
is what an export gives; and the audit finds nothing. Watched meanwhile: the
write-ahead log stays under 64 MB, and the one process that is never killed does
not grow.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from journal import Journal
from journal.audit import audit
from journal.export import export
from journal.who import who

PROCESSES: Final = 8
KEYS: Final = tuple(f"agent:main:{number}" for number in range(4))
WAL_LIMIT: Final = 64 * 1024 * 1024
ROOT: Final = Path(__file__).resolve().parents[2]


class Answer(NamedTuple):
    """An acknowledged write: the token of its first line, where it stands, and when it was asked and answered."""

    key: str
    token: str
    seq: int
    epoch: int
    began: float
    ended: float


def write(home: Path, number: int) -> None:
    """Write to sessions drawn at random until killed; note each answer."""
    draw = random.Random(os.getpid() * 1000 + number)  # noqa: S311 - a test's dice
    with (
        (home / f"answers-{number}").open("ab", buffering=0) as answers,
        Journal(home / "a.db", key_file=home / "k") as journal,
    ):
        sessions = {
            key: journal.session(
                key, writer=f"w{number}", role="channel", mirror=home / f"{key}.jsonl"
            )
            for key in KEYS
        }
        count = 0
        while True:
            key, count = draw.choice(KEYS), count + 1
            token = f"{number}-{os.getpid()}-{count}"
            lines = [{"token": token, "part": part} for part in range(draw.choice((1, 1, 1, 3)))]
            began = time.time()
            entries = sessions[key].extend(lines)
            answer = Answer(key, token, entries[0].seq, entries[0].epoch, began, time.time())
            answers.write(json.dumps(answer).encode() + b"\n")
            if draw.random() < 0.05:
                sessions[key].fence().check()


def start(home: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.history.soak", "--write", str(home), str(number)]
    return subprocess.Popen(command, cwd=ROOT, stderr=(home / "errors").open("ab"))


def run(home: Path, seconds: float) -> dict[str, Any]:
    """Let them write, kill one each second, and judge what came of it."""
    Journal(home / "a.db", key_file=home / "k").close()
    writers = {number: start(home, number) for number in range(PROCESSES)}
    draw, kills, log_bytes, memory = random.Random(7), 0, 0, []  # noqa: S311
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        number = draw.randrange(1, PROCESSES)  # the first is never killed
        writers[number].send_signal(signal.SIGKILL)
        writers[number].wait()
        kills += 1
        writers[number] = start(home, number)
        log = home / "a.db-wal"
        log_bytes = max(log_bytes, log.stat().st_size if log.exists() else 0)
        memory.append(resident_kib(writers[0].pid))
    for writer in writers.values():
        writer.kill()
        writer.wait()
    told = {
        "kills": kills,
        "log_mb": round(log_bytes / 1e6, 1),
        "memory_kib": [memory[len(memory) // 4], memory[-1]],
    }
    return told | judged(home)


def resident_kib(pid: int) -> int:
    """Return how much memory a process has in use."""
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def judged(home: Path) -> dict[str, Any]:
    """Hold the journal against what was acknowledged."""
    answers = [
        Answer(*json.loads(line))
        for path in sorted(home.glob("answers-*"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]
    wrong: list[str] = []
    entries = 0
    with Journal(home / "a.db", key_file=home / "k") as journal:
        for key in KEYS:
            journal.session(key)  # heals what a crash left between a commit and its file
            rows = [each.entry for each in who(journal, key)]
            entries += len(rows)
            wrong += history_faults(key, rows, [each for each in answers if each.key == key])
            content = b"".join(export(journal, key))
            if content != (home / f"{key}.jsonl").read_bytes():
                wrong.append(f"{key}: the file is not what an export gives")
    wrong += [
        f"audit: {found.id} {found.cause}"
        for found in audit(home / "a.db", key_file=home / "k").findings
    ]
    errors = (home / "errors").read_text("utf-8", "replace").splitlines()
    wrong += [f"said: {line}" for line in errors if "Error" in line][:5]
    return {"answers": len(answers), "entries": entries, "wrong": wrong[:20]}


def history_faults(key: str, rows: list[Any], answers: list[Answer]) -> list[str]:
    """Return what is wrong with one session's history."""
    wrong = []
    if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
        wrong.append(f"{key}: seqs have a gap")
    epochs = [row.epoch for row in rows]
    if any(after - before not in (0, 1) for before, after in pairwise(epochs)):
        wrong.append(f"{key}: epochs have a gap, or go back")
    lines = {row.seq: row.json() for row in rows if row.kind == "line"}
    counts = Counter((line["token"], line["part"]) for line in lines.values())
    wrong += [
        f"{key}: {token} is there {count} times" for token, count in counts.items() if count > 1
    ]
    for answer in answers:
        found = lines.get(answer.seq)
        if found is None or found["token"] != answer.token:
            wrong.append(f"{key}: seq {answer.seq} is not {answer.token}, which was acknowledged")
    latest = 0.0
    for answer in sorted(answers, key=lambda each: each.seq):
        if answer.ended < latest:
            wrong.append(
                f"{key}: seq {answer.seq} was answered before one with a smaller seq was asked"
            )
        latest = max(latest, answer.began)
    return wrong


def main() -> int:
    """Run, print what came of it, and say by the exit code whether it is right."""
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]))
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    with tempfile.TemporaryDirectory() as home:
        told = run(Path(home), seconds)
    print(json.dumps(told, indent=1))  # noqa: T201 - the figures
    first, last = told["memory_kib"]
    is_flat = last < first * 1.3 and told["log_mb"] * 1e6 < WAL_LIMIT
    return 0 if is_flat and not told["wrong"] else 1


if __name__ == "__main__":
    sys.exit(main())

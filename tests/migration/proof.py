"""Prove the migration on more files, bytes and deaths than a test run has time for.

python -m tests.migration.proof files 10000     every byte of so many files, there and back
python -m tests.migration.proof great 2 200     one file of 2 GB with a line of 200 MB, and the memory
python -m tests.migration.proof kills 500       killed so often, at random moments
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from journal import Journal
from journal.audit import audit
from journal.export import export
from journal.migration import apply, plan, verify
from journal.migration.packed import is_packed
from journal.rebuilding import rebuild
from tests.migration.hazards import Files, great_file

ROOT: Final = Path(__file__).parents[2]
MB: Final = 1_000_000
# The most memory comes from VmHWM: ru_maxrss is inherited from the parent.
_APPLY: Final = """
import sys
from journal import Journal
from journal.migration import apply, plan
with Journal(sys.argv[1], key_file=sys.argv[2]) as journal:
    result = apply(journal, plan([sys.argv[3]]))
    assert not result.set_aside, result.set_aside[:3]
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
_EXPORT: Final = """
import hashlib, sys
from journal import Journal
from journal.export import export
digest = hashlib.sha256()
with Journal(sys.argv[1], key_file=sys.argv[2]) as journal:
    for chunk in export(journal, sys.argv[3]):
        digest.update(chunk)
print(digest.hexdigest(), next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def files(home: Path, count: int, seed: int = 1) -> dict[str, Any]:
    """Bring generated files in and take them out again; raises AssertionError if a byte differs."""
    written = Files(home / "store", seed).write(count)
    began = time.perf_counter()
    with Journal(home / "a.db", key_file=home / "key") as journal:
        found = plan([home / "store"])
        result = apply(journal, found)
        took = time.perf_counter() - began
        assert result.set_aside == ()
        assert {each.path for each in result.files} == set(written)
        for each in result.files:
            assert each.sha256 == hashlib.sha256(written[each.path]).hexdigest()
            assert b"".join(export(journal, each.key)) == written[each.path], each.path
        assert set(apply(journal, plan([home / "store"])).counts) <= {"already", "duplicate"}
        assert verify(journal, plan([home / "store"])).holds
        back = rebuild(journal, home / "back")
    for one in back:
        if one.original is not None and not is_packed(one.original):
            assert (home / "back" / one.file).read_bytes() == written[one.original], one.original
    report = audit(str(home / "a.db"), key_file=str(home / "key"))
    assert report.findings == (), report.findings[:3]
    return {
        "files": len(written),
        "bytes": found.bytes,
        "lines": found.lines,
        "seconds": round(took, 1),
    }


def great(home: Path, size: int, line_size: int) -> dict[str, Any]:
    """Bring one great file in and take it out; return the most memory that took, in MB."""
    digest, path = hashlib.sha256(), home / "great.jsonl"
    for data in great_file(path, size, line_size):
        digest.update(data)
    db, key = str(home / "a.db"), str(home / "key")
    began = time.perf_counter()
    peak_in = int(_told(_APPLY, db, key, str(path)))
    took_in, began = time.perf_counter() - began, time.perf_counter()
    found, peak_out = _told(_EXPORT, db, key, "great").split()
    took_out = time.perf_counter() - began
    assert found == digest.hexdigest()
    return {
        "bytes": path.stat().st_size,
        "migrate_mb_s": round(path.stat().st_size / MB / took_in),
        "migrate_peak_mb": round(peak_in * 1024 / MB, 1),
        "export_mb_s": round(path.stat().st_size / MB / took_out),
        "export_peak_mb": round(int(peak_out) * 1024 / MB, 1),
        "database_ratio": round(os.path.getsize(db) / path.stat().st_size, 3),  # noqa: PTH202
    }


def _told(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def kills(home: Path, count: int, seed: int = 1) -> dict[str, Any]:
    """Kill a migration at random moments until it has been killed so often; each ends clean and equal."""
    draw = random.Random(seed)  # noqa: S311 - a test's dice
    done: dict[str, Any] = {"kills": 0, "stores": 0, "finished first": 0}
    while done["kills"] < count:
        place = home / str(done["stores"])
        written = Files(place / "store", draw.randrange(10**6)).write(40)
        done["stores"] += 1
        for _ in range(min(10, count - done["kills"])):
            if _killed(place, draw):
                done["kills"] += 1
            else:
                done["finished first"] += 1
        with Journal(place / "a.db", key_file=place / "key") as journal:
            result = apply(journal, plan([place / "store"]))
            assert result.set_aside == (), result.set_aside
            keys = {each.path: each.key for each in result.files}
            for path, content in written.items():
                assert b"".join(export(journal, keys[path])) == content, path
            again = apply(journal, plan([place / "store"]))
            assert again.new_entries == 0
        report = audit(str(place / "a.db"), key_file=str(place / "key"))
        assert report.findings == (), report.findings[:3]
    return done


def _killed(place: Path, draw: random.Random) -> bool:
    """Start a migration and kill it after a random while; return whether it was still at it."""
    command = [
        sys.executable,
        "-c",
        _APPLY,
        str(place / "a.db"),
        str(place / "key"),
        str(place / "store"),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(0.25 + draw.random() * 0.35)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait() < 0


def main(what: str, *figures: str) -> None:
    numbers = [float(figure) for figure in figures]
    with tempfile.TemporaryDirectory(dir=os.environ.get("PROOF_DIR")) as place:
        if what == "files":
            told = files(Path(place), int(numbers[0]))
        elif what == "great":
            told = great(Path(place), int(numbers[0] * 1000 * MB), int(numbers[1] * MB))
        else:
            told = kills(Path(place), int(numbers[0]))
    print(json.dumps({"what": what, **told}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

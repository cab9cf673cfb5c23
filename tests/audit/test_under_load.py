"""An audit beside writers at work sees one state of the journal, and never a wrong one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from journal import Journal
from journal.audit import audit

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from journal import Journal
path, number = sys.argv[1:]
with Journal(path, durability="normal") as journal:
    sessions = [journal.session(f"s{n}", writer=f"w{number}", role="cron") for n in range(3)]
    print("open", flush=True)
    for n in range(100_000):
        session = sessions[n % 3]
        if n % 5 == 0:
            session.extend([{"n": n}, {"n": n, "more": "x" * 500}], request_id=f"{number}:{n}")
        elif n % 7 == 0:
            with session.fence() as fence:
                fence.append({"n": n})
        else:
            session.append({"n": n})
"""


def test_an_audit_under_load_is_consistent(tmp_path: Path):
    """Eight processes write; each audit has no finding, and sees no less than the one before."""
    path = tmp_path / "busy.db"
    with Journal(path) as journal:
        journal.session("s0", writer="first", role="cron").append({"n": 0})
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)], stdout=subprocess.PIPE)
        for n in range(8)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"open\n"
        seen = audits = 0
        while audits < 8 or seen <= 10:  # what they have written by then is the machine's affair
            audits += 1
            told = audit(path)
            assert list(map(str, told.findings)) == []
            assert told.completeness["entries"] >= seen
            seen = told.completeness["entries"]
        assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert list(map(str, audit(path).findings)) == []

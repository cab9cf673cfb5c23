"""The result of a run as a page of docs/."""

from __future__ import annotations

import time
from typing import Any, Final

_HEAD: Final = """\
# Reliability: what was tried, and what came of it

`python -m tests.proof --minutes N` tries to break what the journal promises, prints its seed, and writes this page and a result in JSON.
With the same seed it makes the same choices again (`--seed S`); which process is quicker is the machine's choice, so a history is never quite the
same. A figure here is what one run counted, on a machine that may have had other work; no run proves that nothing is wrong.

| ring | what is tried | what must hold |
|---|---|---|
| crash points | each call that changes a file, in 15 acts (create, first append, append, batch, group commit, `fence.append`, claim, mirror, reconcile, rewrite, cut, migrate, redact, backup, key adopt): killed before it, after it, half-way; a short write; ENOSPC, EIO; ENOSPC from then on | nothing acknowledged is lost, nothing is there twice, nobody honest is accused, the audit finds nothing, the mirror is what an export gives |
| kill -9 | writers killed at any moment, alone and while others write | the same |
| histories | eight processes claim two sessions from each other, are stopped, let go and killed | no entry of a superseded turn after its successor's claim returned; seqs and epochs without a gap; real time respected |
| histories on PostgreSQL | the same by processes whose clocks are wrong by hours and jump, on a server that is killed and started again | the same, and no line twice |
| tampering | one cell forged, or one row taken away, of a journal written at random | the audit says so, but for the columns that [the threat model](threat-model.md) names |
| lock breaches | what `tests/test_guards.py` knows: raw opens, a second library, files moved and removed, forks | nothing is lost, and the process says why it stops |
| hostile input | bytes that nobody would write, drawn by hypothesis | bytes are kept; no parser ends with an error; a mirror's plan accounts for every line; nothing unsafe is shown |
"""

_TAIL: Final = """
"Known" are those that broke what is not promised: a redaction that is killed, or finds the disk full, between the file and the database
([redaction](redaction.md)) makes its placeholder a foreign line.

## What this does not try

* Power cuts: a kill loses no page that the system holds. `fsync` that fails is tried; an `fsync` that lies is not.
* Reads that fail, and memory that does.
* Failovers: `python -m tests.postgres.failovers 20` does them. Mirrors, redaction and kills in the midst of them on PostgreSQL.
* Fuzzing guided by coverage, mutation of the code itself.
* A write of one slot of the side file is never torn, for it lies within one sector. (Where one is lost together with a rewrite, lines that the
  rewrite left out look foreign: [mirror](mirror.md).)
"""


def written(told: dict[str, Any]) -> str:
    """Return the page."""
    machine = told["machine"]
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(told["began_us"] / 1e6))
    began = (
        f"Version {told['version']}, {day} UTC, seed {told['seed']}, {told['took_s'] / 60:.1f} minutes: "
        f"Python {machine['python']}, SQLite {machine['sqlite']}, {machine['system']}, "
        f"{machine['cores']} cores, load {machine['load']} at the end."
    )
    rows = "\n".join(_row(each) for each in told["rings"])
    return f"{_HEAD}\n## The latest run\n\n{began}\n\n| ring | tried | each second | known | wrong |\n|---|---|---|---|---|\n{rows}\n{_TAIL}"


def _row(each: dict[str, Any]) -> str:
    if each["skipped"]:
        return f"| {each['name']} | nothing: {each['skipped']} | | | |"
    rate = each["count"] / each["took_s"] if each["took_s"] else 0.0
    tried = f"{each['count']:,} {each['unit']}"
    return f"| {each['name']} | {tried} | {rate:.1f} | {each['known']} | {len(each['wrong'])} |"

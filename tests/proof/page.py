"""The result of a run as a page of docs/."""

from __future__ import annotations

import time
from typing import Any, Final

# From here on the page is written by hand, and stays as it is.
BY_HAND: Final = "\n## Mutation of the code\n"
_HEAD: Final = """\
# Reliability: what was tried, and what came of it

`python -m tests.proof --minutes N` tries to break what the journal promises, prints its seed, and writes this page and a result in JSON.
With the same seed it makes the same choices again (`--seed S`); which process is quicker is the machine's choice, so a history is never quite the
same. A figure here is what one run counted, on a machine that may have had other work; no run proves that nothing is wrong.

| ring | what is tried | what must hold |
|---|---|---|
| crash points | each call that changes a file, in 20 acts (create, first append, append, batch, group commit, `fence.append`, claim, mirror, reconcile, rewrite, cut, migrate, redact, forget, resolve, backup, restore, upgrade, export, key adopt): killed before it, after it, half-way; a short write; ENOSPC, EIO; ENOSPC from then on; [how](#how-a-crash-point-is-tried) | nothing acknowledged is lost, nothing is there twice, nobody honest is accused, the audit finds nothing, the mirror is what an export gives |
| power cuts | each of these acts, recorded, and cut off after any of its calls: of what was not synced any sectors are there, in any state they had, and any size, and of the changes of names any number of the last is missing | nothing acknowledged is lost, nobody honest is accused, the audit finds nothing, the mirror is what an export gives |
| power cuts, ext4 and xfs | a file system in a file (ext4: ordered, writeback, without delayed allocation; xfs: plain, `wsync`, small logs and allocations) is shut down by `EXT4_IOC_SHUTDOWN`, its log flushed one time in four, while two processes append, fence, rewrite and redact a session with a mirror, then mounted anew; it takes root and loop devices | the same |
| kill -9 | writers killed at any moment, alone and while others write | the same |
| histories | eight processes claim sessions from each other (two with clocks that are wrong and jump; five with longer turns), are stopped, let go and killed | no entry of a superseded turn after its successor's claim returned; seqs and epochs without a gap; real time respected |
| histories on PostgreSQL | the same by processes whose clocks are wrong by hours and jump, on a server that is killed and started again | the same, and no line twice |
| tampering | one cell forged, or one row taken away, of a journal written at random | the audit says so, but for the columns that [the threat model](threat-model.md) names |
| lock breaches | 22 ways, in a process at work beside another: files opened, copied and closed in Python and in C, in a transaction and outside, a second library, files removed, replaced, moved, linked and bound, a fork | refused, or noticed before more is acknowledged; nothing acknowledged is lost, but where the files themselves were taken away |
| hostile input | bytes that nobody would write, drawn by hypothesis | bytes are kept; no parser ends with an error; a mirror's plan accounts for every line; nothing unsafe is shown |
| hostile input, guided | the same, and what else takes bytes from anybody, drawn by atheris, led by the branches that they reach | the same |

A short run gives each ring the same time. One of ten minutes or more gives them the first twentieth so, and shares the rest by what each still lacks of its aim and by
its own rate, so that all get there at once. An operation of a history is a call that was answered: a line that was acknowledged, a claim, or a refusal.

## How a crash point is tried

A tenth of the kills, drawn at random, are kills: a fresh process does the act and sends itself SIGKILL at the call. For the others the act is done once and stops before,
within and after each of some calls, until all its files have been taken down (their bytes, modes, times, links, SQLite's shared memory) with what it had said by then; it dies at none of
them. Each of these is what a kill at that moment leaves, and is put back and looked at like the others; one that is the same as the one before it, to the byte (but for the shared memory) and to the word,
as before and after a sync, is looked at once. What differs from a kill: files that were put back have other inode numbers, so that a mirror is read anew where
its file's identity would have sufficed. A call that fails does so in a process that has done other acts before and lives on, with no journal open, while another one looks.
Where threads commit together the number of calls is not always the same: what never came to its call is looked at all the same, and told as `missed` in the result.
"""

_TAIL: Final = """
## What this does not try

* Disks that lie: an `fsync` that fails is tried, one that only says that it was done is not. Other file systems than ext4 and xfs are tried by the model alone.
* Reads that fail, and memory that does.
* Failovers: `python -m tests.postgres.failovers 20` does them. Mirrors, redaction and kills in the midst of them on PostgreSQL.
* A write of one slot of the side file is never torn, for it lies within one sector. (Where one is lost together with a rewrite, lines that the
  rewrite left out look foreign: [mirror](mirror.md).)
"""


def by_hand(page: str) -> str:
    """Return what a page holds that no run of the rings writes."""
    _, begins, rest = page.partition(BY_HAND)
    return begins + rest


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
    return f"{_HEAD}\n## The latest run\n\n{began}\n\n{_COLUMNS}\n{rows}\n{_TAIL}"


_COLUMNS: Final = """\
| ring | tried | each second | wrong | aim | a run of two hours |
|---|---|---|---|---|---|"""


def _row(each: dict[str, Any]) -> str:
    if each["skipped"]:
        return f"| {each['name']} | nothing: {each['skipped']} | | | | |"
    aim = (
        "" if each["aim"] is None else f"{each['aim']:,}: {'reached' if each['reached'] else 'no'}"
    )
    tried = f"{each['count']:,} {each['unit']}"
    return (
        f"| {each['name']} | {tried} | {each['per_second']:,.1f} | {len(each['wrong'])} "
        f"| {aim} | {each['in_two_hours']:,} |"
    )

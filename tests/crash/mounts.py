"""Power cuts of a real file system: an ext4 in a file, shut down while writers are at work.

    python -m tests.crash.mounts [SECONDS] [SEED]     60 seconds, if nothing is said

``EXT4_IOC_SHUTDOWN`` stops a file system where it is: nothing that it has not yet given to
its disk gets there any more, neither data nor its own log. Then it is mounted anew, which
plays its log back, and a process of another boot looks at what is left. It takes root, and
a system that lets a loop device be mounted; :func:`why_not` says what is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from journal import Journal, JournalError
from tests.crash.acts import KEY, made
from tests.crash.aftermath import Looker
from tests.crash.parties import apart, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SHUT_DOWN: Final = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NOTHING_MORE: Final = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
_SIZE: Final = 96 * 1024 * 1024
_OPTIONS: Final = ("data=ordered", "data=writeback", "nodelalloc", "noauto_da_alloc,commit=1")
_ACT: Final = "mirror append"  # whose journal has a mirror, and lines that must stay
_LONGEST_S: Final = 0.4
_WRITERS: Final = (("gateway", "run"), ("cron", "cron"))


def why_not() -> str | None:
    """Return why no file system can be cut off here; None if one can."""
    if not sys.platform.startswith("linux"):
        return "it takes Linux"
    if os.geteuid() != 0:
        return "it takes root"
    missing = [name for name in ("mkfs.ext4", "mount", "umount") if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]}"
    with tempfile.TemporaryDirectory() as home:
        try:
            with _mounted(_made_image(Path(home)), Path(home) / "mnt", _OPTIONS[0]):
                return None
        except subprocess.CalledProcessError as error:
            return f"no loop device can be mounted: {error.stderr.strip()[-200:]}"


def _made_image(home: Path) -> Path:
    image = home / "image"
    with image.open("wb") as file:
        file.truncate(_SIZE)
    _run("mkfs.ext4", "-q", "-F", "-J", "size=4", str(image))
    (home / "mnt").mkdir()
    return image


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


@contextmanager
def _mounted(image: Path, where: Path, options: str) -> Iterator[None]:
    _run("mount", "-o", f"loop,{options}", str(image), str(where))
    try:
        yield
    finally:
        _run("umount", str(where))


def work(say: Callable[..., None], _: object, place: Path, by: str, role: str, seed: int) -> None:
    """Write in all ways there are, until the disk is gone."""
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    with (
        suppress(JournalError, OSError),
        Journal(place / "a.db", key_file=place / "key") as journal,
    ):
        session = journal.session(KEY, writer=by, role=role)
        say("open")
        for number in range(100_000):
            _once(
                say, session, chance, {"by": by, "n": number, "text": "x" * chance.randrange(900)}
            )


def _once(say: Callable[..., None], session: Any, chance: Random, line: dict[str, Any]) -> None:
    how = chance.random()
    if how < 0.6:
        entries = [session.append(line)]
    elif how < 0.8:
        with session.fence() as fence:
            entries = [fence.append(line)]
    elif how < 0.9:
        head = session.head.seq
        with suppress(JournalError):  # the other one may have been quicker
            kept = [entry for entry in session.read() if chance.random() < 0.9]
            session.rewrite(kept, base=head, reason="compacted")
        return
    else:
        mine = [entry for entry in session.read() if entry.json().get("by") == line["by"]]
        if mine:
            seq = chance.choice(mine).seq
            say("redacting", seq)
            session.redact([seq], reason="asked for")
        return
    for entry in entries:
        say("acked", KEY, entry.seq, line["by"], line["n"], time.monotonic_ns())


def run(home: str, seed: int, seconds: float) -> dict[str, Any]:
    """Cut off the file system for so long; return counts, and what went wrong."""
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    image, where = _made_image(Path(home)), Path(home) / "mnt"
    looker = Looker(rebooted=True)
    told: dict[str, Any] = {"seed": seed, "tried": 0, "acks": 0, "wrong": []}
    until = time.monotonic() + seconds
    while told["tried"] == 0 or time.monotonic() < until:
        options, number = chance.choice(_OPTIONS), told["tried"]
        place = where / f"{number}"
        with _mounted(image, where, options):
            made(place, _ACT)
            _run("sync", "-f", str(place))
            said = _cut_off(place, chance)
        with _mounted(image, where, options):
            looker.begin(place, _ACT, _lasting(said))
            found = looker.wrong()
            told["wrong"] += [
                f"cut {number} ({options}), seed {seed}: {each[:400]}" for each in found
            ]
            shutil.rmtree(place)
        told["tried"] += 1
        told["acks"] += sum(what == "acked" for what, *_ in said)
    looker.leave()
    return told


def _lasting(said: list[list[Any]]) -> list[list[Any]]:
    """Return what was acknowledged, but for lines that were to be erased: they may be gone, or not."""
    erased = {rest[0] for what, *rest in said if what == "redacting"}
    return [each[:5] for each in said if each[0] == "acked" and each[2] not in erased]


def _cut_off(place: Path, chance: Random) -> list[list[Any]]:
    """Have writers at work, and shut their file system down at some moment; return what they said."""
    parties = [start(work, place, by, role, chance.randrange(10**6)) for by, role in _WRITERS]
    heard = [party.hear() for party in parties]  # both are at work
    time.sleep(chance.uniform(0, _LONGEST_S))
    descriptor = os.open(place, os.O_RDONLY)
    cut_at = time.monotonic_ns()
    try:
        fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", _NOTHING_MORE))
    finally:
        os.close(descriptor)
    for party in parties:
        party.signal(signal.SIGKILL)
    for party in parties:
        heard += party.end()
    # A sync that is under way while the file system's log is given up may return as if all
    # were well: what was acknowledged from then on proves nothing.
    return [each for each in heard if each[0] != "acked" or each[-1] < cut_at]


def cut(seed: int, seconds: float) -> dict[str, Any]:
    """Cut off a file system for so long, in a process of its own."""
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - its disk
    with tempfile.TemporaryDirectory(dir=where, prefix="journal-mounts-") as home:
        told: dict[str, Any] = apart(
            "tests.crash.mounts:run", timeout_s=seconds + 240, home=home, seed=seed, seconds=seconds
        )
    return told


def main(arguments: Sequence[str]) -> int:
    """Cut off a file system, print what came of it, and say by the exit code whether it is right."""
    reason = why_not()
    if reason is not None:
        print(f"nothing was tried: {reason}")  # noqa: T201 - the answer
        return 0
    seconds = float(arguments[0]) if arguments else 60.0
    seed = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    told = cut(seed, seconds)
    print(json.dumps(told, indent=1))  # noqa: T201 - the figures
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Power cuts of real file systems: an ext4 or an xfs in a file, shut down while writers are at work.

    python -m tests.crash.mounts [ext4|xfs [SECONDS [SEED]]]     ext4 for 60 seconds, if nothing is said

``EXT4_IOC_SHUTDOWN``, which is ``XFS_IOC_GOINGDOWN``, stops a file system where it is: nothing
that it has not yet given to its disk gets there any more, neither data nor, but for one time in
four, its own log. Then it is mounted anew, which
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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import Journal, JournalError
from tests.crash.acts import KEY, made
from tests.crash.aftermath import Looker
from tests.crash.parties import apart, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SHUT_DOWN: Final = 0x8004587D  # the same number and the same flags for both
_LOG_FLUSHED: Final = 1  # names and sizes get there, data does not
_NOTHING_MORE: Final = 2
_HOW: Final = (_NOTHING_MORE, _NOTHING_MORE, _NOTHING_MORE, _LOG_FLUSHED)


class Kind(NamedTuple):
    """A kind of file system.

    Attributes:
        size: of its image, in bytes; the least that it takes, for what is not written takes no room.
        make: the command that makes one, but for the image's name.
        options: ways to mount it, one of them at a time.

    """

    size: int
    make: tuple[str, ...]
    options: tuple[str, ...]


KINDS: Final = {
    "ext4": Kind(
        96 << 20,
        ("mkfs.ext4", "-q", "-F", "-J", "size=4"),
        ("data=ordered", "data=writeback", "nodelalloc", "noauto_da_alloc,commit=1"),
    ),
    "xfs": Kind(
        320 << 20, ("mkfs.xfs", "-q", "-f"), ("defaults", "logbsize=32k", "allocsize=64k", "wsync")
    ),
}
_ACT: Final = "mirror append"  # whose journal has a mirror, and lines that must stay
_LONGEST_S: Final = 0.4
_WHERE: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - their disk
_WRITERS: Final = (("gateway", "run"), ("cron", "cron"))


def why_not(kind: str) -> str | None:
    """Return why no file system of a kind can be cut off here; None if one can."""
    if not sys.platform.startswith("linux"):
        return "it takes Linux"
    if os.geteuid() != 0:
        return "it takes root"
    commands = (KINDS[kind].make[0], "mount", "umount")
    missing = [name for name in commands if shutil.which(name) is None]
    if missing:
        return f"there is no {missing[0]}"
    with tempfile.TemporaryDirectory(dir=_WHERE) as home:
        try:
            image = _made_image(Path(home), kind)
            with _mounted(image, Path(home) / "mnt", KINDS[kind].options[0]):
                return None
        except subprocess.CalledProcessError as error:
            return f"no {kind} can be mounted from a file: {error.stderr.strip()[-200:]}"


def _made_image(home: Path, kind: str) -> Path:
    image = home / "image"
    with image.open("wb") as file:
        file.truncate(KINDS[kind].size)
    _run(*KINDS[kind].make, str(image))
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


def run(home: str, kind: str, seed: int, seconds: float) -> dict[str, Any]:
    """Cut off a file system for so long; return counts, and what went wrong."""
    chance = Random(seed)  # noqa: S311 - to be repeated, not to be secret
    image, where = _made_image(Path(home), kind), Path(home) / "mnt"
    looker = Looker(rebooted=True)
    told: dict[str, Any] = {"seed": seed, "tried": 0, "acks": 0, "wrong": []}
    until = time.monotonic() + seconds
    while told["tried"] == 0 or time.monotonic() < until:
        options, number = chance.choice(KINDS[kind].options), told["tried"]
        place = where / f"{number}"
        with _mounted(image, where, options):
            made(place, _ACT)
            _run("sync", "-f", str(place))
            said = _cut_off(place, chance)
        with _mounted(image, where, options):
            looker.begin(place, _ACT, _lasting(said))
            found = looker.wrong()
            told["wrong"] += [
                f"{kind}, cut {number} ({options}), seed {seed}: {each[:400]}" for each in found
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
        fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", chance.choice(_HOW)))
    finally:
        os.close(descriptor)
    for party in parties:
        party.signal(signal.SIGKILL)
    for party in parties:
        heard += party.end()
    # A sync that is under way while the file system's log is given up may return as if all
    # were well: what was acknowledged from then on proves nothing.
    return [each for each in heard if each[0] != "acked" or each[-1] < cut_at]


def cut(kind: str, seed: int, seconds: float) -> dict[str, Any]:
    """Cut off a file system for so long, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=_WHERE, prefix="journal-mounts-") as home:
        told: dict[str, Any] = apart(
            "tests.crash.mounts:run",
            timeout_s=seconds + 240,
            home=home,
            kind=kind,
            seed=seed,
            seconds=seconds,
        )
    return told


def main(arguments: Sequence[str]) -> int:
    """Cut off a file system, print what came of it, and say by the exit code whether it is right."""
    kind = arguments[0] if arguments else "ext4"
    reason = why_not(kind)
    if reason is not None:
        print(f"nothing was tried: {reason}")  # noqa: T201 - the answer
        return 0
    seconds = float(arguments[1]) if len(arguments) > 1 else 60.0
    seed = int(arguments[2]) if len(arguments) > 2 else int(time.time())
    told = cut(kind, seed, seconds)
    print(json.dumps(told, indent=1))  # noqa: T201 - the figures
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

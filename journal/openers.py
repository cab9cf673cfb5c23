"""Who has files open, and which of their bytes are locked, as ``/proc`` tells it.

Nothing is opened but what stands in ``/proc``: whoever opened one of SQLite's files
here, and closed it again, would drop the locks that this process has on it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import place
from journal.guards import identity_of
from journal.process import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.guards import Identity

_PROC: Final = Path("/proc")
_GONE: Final = " (deleted)"


class Opener(NamedTuple):
    """One process that has files open.

    ``gone`` are names under which it still has a file that stands there no more.
    """

    pid: int
    uid: int
    program: str
    files: tuple[str, ...]
    gone: tuple[str, ...]


class Seen(NamedTuple):
    """What ``/proc`` showed; ``unseen`` processes are other users', and may have them open too."""

    openers: tuple[Opener, ...]
    unseen: int


class ByteLock(NamedTuple):
    """A POSIX lock on the bytes ``first`` to ``last`` of a file, and which process has it."""

    pid: int
    is_exclusive: bool
    first: int
    last: int


def look(paths: Iterable[str]) -> Seen | None:
    """Return which processes have any of the files open; None where the system does not say."""
    asked = tuple(paths)
    # The kernel tells a file's own place, whatever links lead to its directory.
    named = {str(place.real(Path(each))): each for each in asked}
    known = dict(_identities(asked))
    try:
        numbers = sorted(int(name) for name in os.listdir(_PROC) if name.isdigit())  # noqa: PTH208 - names
    except OSError:
        return None
    found, unseen = [], 0
    for pid in numbers:
        try:
            opener = _opener(pid, named, known)
        except PermissionError:
            unseen += 1
        except OSError:
            continue  # it has ended meanwhile
        else:
            found += [] if opener is None else [opener]
    return Seen(tuple(found), unseen)


def _identities(paths: Iterable[str]) -> Iterator[tuple[Identity, str]]:
    for path in paths:
        with suppress(OSError, ValueError):
            yield identity_of(os.stat(path)), path  # noqa: PTH116 - by path, never by opening it


def _opener(pid: int, named: Mapping[str, str], known: Mapping[Identity, str]) -> Opener | None:
    held = _PROC / str(pid) / "fd"
    files: set[str] = set()
    gone: set[str] = set()
    for number in os.listdir(held):  # noqa: PTH208
        with suppress(OSError):  # closed meanwhile
            link = os.readlink(held / number)  # noqa: PTH115 - text, as the kernel has it
            if not link.startswith("/"):
                continue  # a socket, a pipe
            if link.endswith(_GONE) and link.removesuffix(_GONE) in named:
                gone.add(named[link.removesuffix(_GONE)])
            elif path := known.get(identity_of(os.stat(held / number))):  # noqa: PTH116
                files.add(path)
    if not files and not gone:
        return None
    uid = os.stat(_PROC / str(pid)).st_uid  # noqa: PTH116
    return Opener(pid, uid, described(pid), tuple(sorted(files)), tuple(sorted(gone)))


def byte_locks(path: str) -> list[ByteLock] | None:
    """Return the POSIX locks on a file; None where the system does not say."""
    try:
        status = os.stat(path)  # noqa: PTH116
        lines = (_PROC / "locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return [lock for line in lines if (lock := _parsed(line, wanted)) is not None]


def _parsed(line: str, wanted: str) -> ByteLock | None:
    """Read a line of proc(5)'s ``/proc/locks``; one that only waits ("->") counts for none."""
    fields = line.split()
    if len(fields) != 8 or fields[1] != "POSIX" or fields[5] != wanted:  # noqa: PLR2004
        return None
    try:
        last = 2**63 - 1 if fields[7] == "EOF" else int(fields[7])
        return ByteLock(int(fields[4]), fields[3] == "WRITE", int(fields[6]), last)
    except ValueError:
        return None

"""Doctor: the facts of this machine and this journal, each with a state and what to do next.

It changes nothing, and is safe beside processes at work: the database is read by the
one driver, read-only and shortly; what else is told comes from paths and ``/proc``.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import time
import warnings
from contextlib import closing
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import openers, schema
from journal.commands import command_on
from journal.custody import custody
from journal.darwin import IS_DARWIN
from journal.engine import WAL_LIMIT_BYTES, connect, driver, is_compatible_mode, translated
from journal.errors import JournalError
from journal.explanation import counted
from journal.filelocks import check_system
from journal.pins import CAN_PIN
from journal.place import UNSAFE_FILE_SYSTEMS, check_file, mount_of, real
from journal.serving import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from journal.custody import Custody
    from journal.openers import Opener

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"
_STATES: Final = (OK, WARNING, PROBLEM)

_MIB: Final = 1024 * 1024
# Where what is written is gone with the machine, or with the container.
_FLEETING: Final = frozenset({"tmpfs", "ramfs"})
_LAYERED: Final = frozenset({"overlay", "aufs", "fuse-overlayfs"})
_SET_CLOCK: Final = "sudo sntp -sS time.apple.com" if IS_DARWIN else "timedatectl set-ntp true"
_PROVED: Final = {
    "linux": "Linux",
    "darwin": "macOS, tried under an emulation of its calls and not yet on a Mac",
}
_READ_BYTES: Final = range(123, 128)  # UNIX_SHM_BASE + 3: WAL_READ_LOCK(0) to (4)
_LOOKS: Final = 3
_BETWEEN_LOOKS_S: Final = 0.05
_DRIFT_S: Final = 0.02
_AHEAD_S: Final = 2.0  # file times are coarse, and a network's clock is another's
_SANE_S: Final = 1_704_067_200  # 2024: no journal is older than this program
_SHOWN: Final = 5


class Fact(NamedTuple):
    """One fact: what it is about, whether that is well, in words, and what to do next.

    ``next_step`` is None where nothing is to be done; ``details`` is for programs.
    """

    name: str
    state: str
    words: str
    next_step: str | None = None
    details: Mapping[str, Any] = {}


def worst(facts: list[Fact]) -> str:
    """Return the state of the whole: that of its worst fact."""
    return max((fact.state for fact in facts), key=_STATES.index, default=OK)


def examine(path: Path, *, strict: bool = False) -> list[Fact]:
    """Return the facts of this machine and of the journal at ``path``, whether there is one or not.

    ``strict`` makes a SQLite library with the WAL-reset bug a problem.
    What cannot be told is a fact as well; no error of the journal or the system is raised.
    """
    found = [told("SQLite", lambda: _sqlite(strict=strict)), _python(), told("system", _system)]
    found += [told("file system", lambda: _file_system(path)), told("disk", lambda: _disk(path))]
    found += [told("file", lambda: _file(path))]
    found += [told("clock", lambda: _clock(path))]
    return [*found, *_of_journal(path)] if os.path.isfile(path) else found  # noqa: PTH113 - never an error


def _of_journal(path: Path) -> Iterator[Fact]:
    """Yield the facts of a journal that is there, as far as each lets the next be told."""
    yield told("open in", lambda: _open_in(path))
    yield told("log", lambda: _log(path))
    fits = told("schema", lambda: _schema(path))
    yield fits
    if fits.state == PROBLEM and "version" not in fits.details:
        return
    key = told("key", lambda: _key(path))
    yield key
    if key.state != PROBLEM:
        yield told("mirrors", lambda: mirrors_fact(path))


def told(name: str, ask: Callable[[], Fact]) -> Fact:
    """Have what stands in the way of a fact be the fact."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a fact says it
            return ask()
    except JournalError as error:
        return Fact(name, PROBLEM, str(error), error.hint, {"code": error.code})
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or str(error)
        step = "see what is there, and whose it is: ls -ld on it, and on each directory above it"
        return Fact(name, PROBLEM, f"cannot be told: {words}", step, {"code": "system"})


# -- the machine ----------------------------------------------------------------------


def _sqlite(*, strict: bool) -> Fact:
    version, name = str(driver().sqlite_version), driver().__name__.partition(".")[0]
    is_affected = is_compatible_mode()
    details = {"version": version, "driver": name, "wal_reset_fixed": not is_affected}
    if not is_affected:
        return Fact("SQLite", OK, f"{version} ({name}), free of the WAL-reset bug", None, details)
    words = f"{version} ({name}) has the WAL-reset bug (fixed in 3.51.3): compatible mode, slower"
    step = "pip install 'pysqlite3>=0.6.1', or a Python that links a newer SQLite"
    return Fact("SQLite", PROBLEM if strict else WARNING, words, step, details)


def _python() -> Fact:
    version, name = platform.python_version(), platform.python_implementation()
    words = f"{version} ({name}, {sys.platform} {platform.machine()})"
    return Fact("Python", OK, words, None, {"version": version, "executable": sys.executable})


def _system() -> Fact:
    """Say how far this system is proved; README.md says the same."""
    check_system()
    details = {"platform": sys.platform, "machine": platform.machine(), "lock_pins": CAN_PIN}
    words = _PROVED.get(sys.platform, f"{sys.platform}: not tried")
    return Fact(
        "system", OK, f"{words}{'' if CAN_PIN else '; without the lock pins'}", None, details
    )


def _file_system(path: Path) -> Fact:
    mount = mount_of(real(path))
    if mount is None:
        return Fact("file system", OK, "this system does not say which it is")
    kind, details = mount.file_system, mount._asdict()
    local = "keep the journal on a local disk, and a mirror where others need the file"
    if kind in UNSAFE_FILE_SYSTEMS:
        return Fact("file system", PROBLEM, f"{kind}: locks do not hold there", local, details)
    if mount.point == str(path):
        words = "the file alone is a bind mount: its -wal would be elsewhere"
        return Fact("file system", PROBLEM, words, "mount the directory instead", details)
    if kind in _FLEETING:
        words = f"{kind}: what is written there is gone when the machine stops"
        return Fact("file system", WARNING, words, "keep the journal on a disk", details)
    if kind in _LAYERED:
        words = f"{kind}: what is written there goes with its container"
        return Fact("file system", WARNING, words, "keep the journal in a volume", details)
    return Fact("file system", OK, f"{kind} at {mount.point}", None, details)


def _disk(path: Path) -> Fact:
    place = next(each for each in path.parents if each.exists())
    free, is_out_of_files = _room(place)
    size = sum(map(_bytes_of, _files(path)))
    words = f"{free // _MIB} MiB free, the journal takes {size / _MIB:.1f}"
    details = {"free_bytes": free, "journal_bytes": size}
    step = f"free some space: du -xhd 1 {quote(str(place))}"
    if free < WAL_LIMIT_BYTES or is_out_of_files:
        words = f"{words}: too little for the write-ahead log, so writes will fail"
        return Fact("disk", PROBLEM, words, step, details)
    if free < WAL_LIMIT_BYTES + size:
        return Fact("disk", WARNING, f"{words}: a backup would not fit", step, details)
    return Fact("disk", OK, words, None, details)


def _room(place: Path) -> tuple[int, bool]:
    """Return how many bytes are free, and whether no further file can be made."""
    if not hasattr(os, "statvfs"):  # Windows
        return shutil.disk_usage(place).free, False
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize, bool(found.f_files and not found.f_favail)


def _clock(path: Path) -> Fact:
    """Hold the clock against itself, and against the times that others left."""
    now, steady = time.time(), time.monotonic()
    time.sleep(_BETWEEN_LOOKS_S)
    drift = abs((time.time() - now) - (time.monotonic() - steady))
    newest = max((one.stat().st_mtime for one in _files(path) if one.is_file()), default=0.0)
    details = {"now_us": int(now * 1e6), "drift_us": int(drift * 1e6)}
    step = f"set the clock, and keep it set: {_SET_CLOCK}"
    if now < _SANE_S:
        return Fact(
            "clock", PROBLEM, f"it says {_when(now)}, before this program was", step, details
        )
    if newest > now + _AHEAD_S:
        words = f"it says {_when(now)}, and the journal was written to at {_when(newest)}"
        return Fact("clock", WARNING, f"{words}; order does not depend on it", step, details)
    if drift > _DRIFT_S:
        words = f"it was set while this looked ({drift * 1000:.0f} ms); order does not depend on it"
        return Fact("clock", WARNING, words, step, details)
    return Fact("clock", OK, f"{_when(now)}, steady, after the journal's files", None, details)


def _when(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))
    except (ValueError, OverflowError):  # a file's time may be any number
        return f"{seconds:.0f} s after 1970"


# -- the journal's files --------------------------------------------------------------


def _files(path: Path) -> Iterator[Path]:
    return (path.with_name(path.name + end) for end in ("", "-wal", "-shm"))


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _file(path: Path) -> Fact:
    if not os.path.lexists(path):
        words = f"there is no journal at {path}"
        step = "journal init" if path.parent.is_dir() else f"mkdir -p {quote(str(path.parent))}"
        return Fact("file", PROBLEM, words, step, {"path": str(path)})
    status = path.lstat()
    check_file(path, status)
    mode = stat.S_IMODE(status.st_mode)
    words = f"{path}, mode {mode:04o}, one name"
    details = {"path": str(path), "mode": f"{mode:04o}", "uid": status.st_uid}
    for one in _files(path):
        if one.is_symlink():
            words = f"{one} is a symbolic link"
            return Fact(
                "file", PROBLEM, words, f"see who made it: ls -l {quote(str(one))}", details
            )
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        words = f"{path}: others may write to it, mode {mode:04o}"
        return Fact("file", WARNING, words, f"chmod go-w {quote(str(path))}", details)
    return Fact("file", OK, words, None, details)


def _open_in(path: Path) -> Fact:
    seen = openers.look(map(str, _files(path)))
    if seen is None:
        return Fact("open in", OK, "this system does not say who has it open")
    words = _openers(seen.openers)
    if seen.unseen:
        words += (
            f"; {counted(seen.unseen, 'process', 'processes')} of other users could not be seen"
        )
    found = [one._asdict() for one in seen.openers]
    details = {"processes": found, "unseen": seen.unseen}
    lost = [one for one in seen.openers if one.gone]
    if lost:
        words = f"{lost[0].program} still writes to a file that was removed or replaced; {words}"
        step = f"stop it, and see what it wrote: ls -l /proc/{lost[0].pid}/fd"
        return Fact("open in", PROBLEM, words, step, details)
    return Fact("open in", OK, words, None, details)


def _openers(found: tuple[Opener, ...]) -> str:
    if not found:
        return "no process that can be seen"
    shown = ", ".join(f"{one.program} of user {one.uid}" for one in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"{counted(len(found), 'process', 'processes')}: {shown}{more}"


def _log(path: Path) -> Fact:
    size = _bytes_of(path.with_name(f"{path.name}-wal"))
    readers = _steady_readers(f"{path}-shm")
    words = f"{size / _MIB:.1f} MiB of write-ahead log"
    details = {"bytes": size, "readers": sorted(readers)}
    if readers:
        pid = min(readers)
        words += f"; process {pid} has been reading all the while, and the log grows while it does"
        step = f"see what it does: ps -o pid,etime,stat,command -p {pid}"
        state = WARNING if size > WAL_LIMIT_BYTES // 4 else OK
        return Fact("log", state, words, step if state == WARNING else None, details)
    if size > WAL_LIMIT_BYTES:
        step = "end the processes that have it open: the last one folds it in"
        return Fact("log", WARNING, f"{words}, more than it should keep", step, details)
    return Fact("log", OK, f"{words}, no reader in its way", None, details)


def _steady_readers(shm: str) -> set[int]:
    """Return who held a read mark at each of a few looks: a short read is not there the next time."""
    steady: set[tuple[int, int]] | None = None
    for _ in range(_LOOKS):
        marks = {
            (lock.pid, lock.first)
            for lock in openers.byte_locks(shm) or ()
            if lock.first in _READ_BYTES and not lock.is_exclusive
        }
        steady = marks if steady is None else steady & marks
        if not steady:
            return set()
        time.sleep(_BETWEEN_LOOKS_S)
    return {pid for pid, _ in steady or ()}


# -- the journal ----------------------------------------------------------------------


def _schema(path: Path) -> Fact:
    version = schema.version_of(str(path))
    if version is None:
        return Fact("schema", PROBLEM, f"{path} is empty: no journal yet", "journal init")
    details = {"version": version, "newest": schema.SCHEMA_VERSION}
    try:
        with closing(connect(str(path), mode="ro")) as connection:
            schema.check(connection.cursor().execute, str(path))
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    except JournalError as error:
        return Fact("schema", PROBLEM, str(error), error.hint, details | {"code": error.code})
    except Exception as error:
        raise translated(error, str(path)) from error
    if mode != "wal":
        words = f"{version}, but somebody set the journal mode to {mode}"
        return Fact("schema", WARNING, words, "journal status", details)
    return Fact(
        "schema", OK, f"{version} of {schema.SCHEMA_VERSION}, as it should be", None, details
    )


def _key(path: Path) -> Fact:
    return key_fact(custody(path), path)


def key_fact(known: Custody, path: Path | None) -> Fact:
    """Return the fact of a key's file; ``path`` is the journal's, where it is a file."""
    where = known.path.absolute()
    mode = stat.S_IMODE(where.stat().st_mode)
    directory = where.parent.stat().st_mode
    words = f"{known.path}, mode {mode:04o}, era {known.era}, fingerprint {known.fingerprint}"
    if known.is_shared:
        words += ", in a file that may serve other journals too"
    details = {
        "path": str(known.path),
        "mode": f"{mode:04o}",
        "era": known.era,
        "fingerprint": known.fingerprint,
        "shared": known.is_shared,
        "lost": list(known.lost),
    }
    apart = "journal key export FILE  # elsewhere, and name that with JOURNAL_KEY_FILE"
    if known.lost:
        eras = ", ".join(map(str, known.lost))
        words += f"; the key of era {eras} is not at hand, so what it sealed cannot be proved"
        step = "journal key import FILE  # from where it is kept"
        if path is None:
            step = "name the key file that has it with JOURNAL_KEY_FILE"
        return Fact("key", WARNING, words, step, details)
    if path is not None and where.parent == path.parent:
        return Fact(
            "key",
            WARNING,
            f"{words}; beside the journal: who takes one has the other",
            apart,
            details,
        )
    if directory & (stat.S_IWGRP | stat.S_IWOTH) and not directory & stat.S_ISVTX:
        words += "; others may write to its directory, and replace it"
        return Fact("key", WARNING, words, f"chmod go-w {quote(str(where.parent))}", details)
    return Fact("key", OK, words, None, details)


_STEPS: Final = {
    "gone": ("mirror sync", "--recreate"),
    "refused": ("mirror resume", "--reason WHY"),
}


def mirrors_fact(place: str | Path) -> Fact:
    """Return how the mirrors of a journal do, in a file or on a server."""
    found = served(place)
    if not found:
        return Fact("mirrors", OK, "none", None, {"mirrors": []})
    off = [one for one in found if one.state in _STEPS or one.state == "failing"]
    count = sum(one.state == "on" for one in found)
    said = [f"{one.key} {one.state}" for one in found if one.state != "on"][:_SHOWN]
    words = ", ".join([f"{count} of {len(found)} on", *said])
    details = {"mirrors": [one._asdict() for one in found]}
    if not off:
        return Fact("mirrors", OK, words, None, details)
    command, options = _STEPS.get(off[0].state, ("mirror status", ""))
    step = command_on(off[0].key, command, options=options)
    return Fact("mirrors", WARNING, words, step, details)

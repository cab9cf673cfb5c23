"""macOS as the journal's calls see it, on Linux: its numbers, its structs, and what it has not.

Installed before the journal is imported (``tests/darwin/site`` does it in every Python that finds
it on its path). It is no Mac: what is translated is what fcntl(2), open(2), sysctl(3) and statfs(2)
say there, and how xnu's kern_lockf.c keeps ``flock`` and the locks on bytes in one list. The file
system is Linux's, and so is SQLite.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import errno
import fcntl
import importlib
import multiprocessing
import os
import platform
import select
import selectors
import shutil
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import types
import uuid
from pathlib import Path
from typing import Any, Final

# Whoever asks when it is imported for what Linux has was asked before.
BEFORE: Final = (
    *(asyncio, multiprocessing, platform, selectors, shutil, socket, subprocess, sysconfig),
    *(tempfile, uuid),
)
BOOT_SESSION: Final = "0E5B3A4C-8C5F-4E0F-9C62-7A0D4E1B2F33"

_open, _fcntl, _readlink, _cdll = os.open, fcntl.fcntl, os.readlink, ctypes.CDLL
_poll, _encoded, _decoded = select.poll, os.fsencode, os.fsdecode  # some test breaks each
_OFD: Final = {90: 37, 91: 38, 92: 36}
_KINDS: Final = {1: fcntl.F_RDLCK, 2: fcntl.F_UNLCK, 3: fcntl.F_WRLCK}
_THERE: Final = {here: there for there, here in _KINDS.items()}
_FLOCK_THERE: Final = struct.Struct("qqihh")
_FLOCK_HERE: Final = struct.Struct("hhqqi")
_NO_LINK_AT_ALL: Final = 0x20000000
_OPENAT2: Final = 437
_NO_SYMLINKS: Final = 4  # RESOLVE_NO_SYMLINKS
_LACKING: Final = (
    *("fdatasync", "sched_getaffinity", "memfd_create", "eventfd", "pidfd_open", "splice"),
    *("copy_file_range", "posix_fadvise", "posix_fallocate", "getrandom"),
)

_within = threading.local()


class _AsLinux:
    """Inside the block this thread may look at /proc."""

    def __enter__(self) -> None:
        _within.depth = getattr(_within, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _within.depth -= 1


def _refused(path: object) -> bool:
    if getattr(_within, "depth", 0) or not isinstance(path, str | bytes | os.PathLike):
        return False
    name = _decoded(path)
    return name == "/proc" or name.startswith("/proc/")


def _no_proc(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and _refused(arguments[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])


def readlink(path: Any, *more: Any, **named: Any) -> Any:
    if _refused(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return _readlink(path, *more, **named)


# -- fcntl ----------------------------------------------------------------------------


def translated(descriptor: Any, command: int, argument: Any = 0) -> Any:
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    if command in _OFD:
        return _locked(number, command, argument)
    if command == 51:  # F_FULLFSYNC
        os.fsync(number)
        return 0
    if command == 50:  # F_GETPATH
        with _AsLinux():
            path = _encoded(_readlink(f"/proc/self/fd/{number}"))
        return path.ljust(len(argument), b"\0")
    if command in (36, 37, 38):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return _fcntl(number, command, argument)


def _locked(number: int, command: int, argument: bytes) -> bytes:
    assert len(argument) == _FLOCK_THERE.size
    start, size, pid, kind, whence = _FLOCK_THERE.unpack(argument)
    asked = _FLOCK_HERE.pack(_KINDS[kind], whence, start, size, pid)
    kind, whence, start, size, pid = _FLOCK_HERE.unpack(_fcntl(number, _OFD[command], asked))
    return _FLOCK_THERE.pack(start, size, pid, _THERE[kind], whence)


def flock(descriptor: Any, operation: int) -> None:
    """Lock a whole file, in one list with the locks on its bytes, as its opening's."""
    number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
    kinds = {fcntl.LOCK_SH: 1, fcntl.LOCK_EX: 3, fcntl.LOCK_UN: 2}
    command = 90 if operation & fcntl.LOCK_NB else 91
    _locked(number, command, _FLOCK_THERE.pack(0, 0, 0, kinds[operation & ~fcntl.LOCK_NB], 0))


# -- open -----------------------------------------------------------------------------


def opened(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    if not flags & _NO_LINK_AT_ALL:
        return _open(path, flags, mode, dir_fd=dir_fd)
    if flags & os.O_NOFOLLOW:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    how = struct.pack("QQQ", (flags & ~_NO_LINK_AT_ALL) | os.O_CLOEXEC, 0, _NO_SYMLINKS)
    at = -100 if dir_fd is None else dir_fd  # AT_FDCWD
    library = _cdll(None, use_errno=True)
    found = library.syscall(_OPENAT2, at, _encoded(path), how, len(how))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return int(found)


# -- poll -----------------------------------------------------------------------------


class Poll:
    """A poll that hears only of what it was asked for something about."""

    def __init__(self) -> None:
        self._poll = _poll()
        self.unregister = self._poll.unregister

    def register(self, descriptor: Any, events: int = select.POLLIN | select.POLLOUT) -> None:
        if events:
            self._poll.register(descriptor, events)

    def poll(self, *wait: Any) -> Any:
        return self._poll.poll(*wait)


# -- the C library --------------------------------------------------------------------


class _Function:
    """A function of the C library, which takes arguments as ctypes would give them."""

    def __init__(self, call: Any) -> None:
        self._call, self.argtypes, self.restype = call, None, ctypes.c_int

    def __call__(self, *arguments: Any) -> int:
        assert self.argtypes is not None
        assert len(arguments) == len(self.argtypes)
        for kind, each in zip(self.argtypes, arguments, strict=True):
            kind.from_param(each)  # refuses what the real one would
        with _AsLinux():
            return int(self._call(*arguments))


def _sysctl(name: Any, count: int, found: Any, size: Any, *unused: object) -> int:
    assert (*name[:3], count) == (1, 14, 1, 4)
    assert size._obj.value == len(found) == 648
    size._obj.value = 0
    try:
        text = Path(f"/proc/{name[3]}/stat").read_text("utf-8")
    except OSError:
        return 0  # no such process is no error there
    begin, _, end = text.rpartition(")")
    fields = end.split()
    seconds, ticks = divmod(int(fields[19]), os.sysconf("SC_CLK_TCK"))
    record = struct.pack(
        "qi20xiBxxxi", seconds + 1, ticks, 0, 5 if fields[0] == "Z" else 2, name[3]
    )
    record = record.ljust(243, b"\0") + begin.partition("(")[2].encode()[:16]
    ctypes.memmove(found, record.ljust(648, b"\0"), 648)
    size._obj.value = 648
    return 0


def _sysctlbyname(name: bytes, found: Any, size: Any, *unused: object) -> int:
    assert name == b"kern.bootsessionuuid"
    assert size._obj.value == len(found)
    found.value = BOOT_SESSION.encode()
    size._obj.value = len(BOOT_SESSION) + 1
    return 0


def _statfs(path: bytes, found: Any) -> int:
    if not Path(_decoded(path)).exists():
        ctypes.set_errno(errno.ENOENT)
        return -1
    kind = os.environ.get("JOURNAL_TEST_FILE_SYSTEM", "apfs").encode()
    record = bytes(72) + kind.ljust(16, b"\0") + b"/".ljust(1024, b"\0") + b"/dev/disk3s5"
    ctypes.memmove(found, record.ljust(2168, b"\0"), 2168)
    return 0


class _Library:
    """The C library, with what macOS's has and Linux's has not."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.sysctl, self.sysctlbyname = _Function(_sysctl), _Function(_sysctlbyname)
        self.statfs = _Function(_statfs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def library(name: Any = None, *more: Any, **named: Any) -> Any:
    real = _cdll(name, *more, **named)
    return _Library(real) if name is None else real


def install() -> None:
    """Make this process one of macOS, as far as the journal can tell."""
    if sys.platform == "darwin":
        return
    importlib.import_module("encodings.idna")  # what is imported late, and asks for the system
    sysconfig.get_config_vars()  # kept once read: a Python of its own build has none by the other name
    sys.addaudithook(_no_proc)
    for name in _LACKING:
        if hasattr(os, name):
            delattr(os, name)
    for name in [each for each in dir(fcntl) if each.startswith("F_OFD_")]:
        delattr(fcntl, name)
    for name, kind in (("F_RDLCK", 1), ("F_UNLCK", 2), ("F_WRLCK", 3)):
        setattr(fcntl, name, kind)
    fcntl.fcntl, fcntl.flock = translated, flock
    os.readlink, os.open = readlink, opened
    os.O_NOFOLLOW_ANY = _NO_LINK_AT_ALL  # type: ignore[attr-defined]
    select.poll = Poll  # type: ignore[misc, assignment]
    ctypes.CDLL = library  # type: ignore[misc, assignment]
    proxies = types.ModuleType("_scproxy")  # urllib asks it there
    vars(proxies).update(_get_proxies=dict, _get_proxy_settings=dict)
    sys.modules["_scproxy"] = proxies
    sys.platform = "darwin"

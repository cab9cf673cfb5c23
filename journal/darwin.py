"""What macOS's kernel tells of processes, file systems and names, asked by its C library: it has no /proc.

The layouts are those of the 64 bit systems (bsd/sys/sysctl.h, proc.h and mount.h of xnu). Nothing
here is called on another system, and nothing of it opens a file.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from functools import cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import ctypes

IS_DARWIN: Final = sys.platform == "darwin"

_PROC_PID: Final = (1, 14, 1)  # CTL_KERN, KERN_PROC, KERN_PROC_PID
_KINFO_SIZE: Final = 648
# Of struct extern_proc, with which struct kinfo_proc begins.
_STARTED: Final = Struct("=qi")
_STATE_AT: Final = 36
_ZOMBIE: Final = 5  # SZOMB
_PROGRAM: Final = slice(243, 260)

_STATFS_SIZE: Final = 2168
_KIND: Final = slice(72, 88)
_POINT: Final = slice(88, 1112)
_DEVICE: Final = slice(1112, 2136)

_PATH_SIZE: Final = 1024  # MAXPATHLEN


class Running(NamedTuple):
    """A process that runs: when it was started, in microseconds since 1970, and its program's name."""

    started_us: int
    program: str


@cache
def _library() -> Any:  # noqa: ANN401 - a library has whatever functions it has
    import ctypes  # noqa: PLC0415 - not needed on Linux

    library = ctypes.CDLL(None, use_errno=True)
    size, text = ctypes.POINTER(ctypes.c_size_t), ctypes.c_char_p
    library.sysctl.argtypes = [
        ctypes.POINTER(ctypes.c_int), ctypes.c_uint, text, size, ctypes.c_void_p, ctypes.c_size_t
    ]  # fmt: skip
    library.sysctlbyname.argtypes = [text, text, size, ctypes.c_void_p, ctypes.c_size_t]
    # On Intel the plain name is an older layout's.
    with suppress(AttributeError):
        setattr(library, "statfs", getattr(library, "statfs$INODE64"))  # noqa: B010 - mypy knows no such name
    library.statfs.argtypes = [text, text]
    library.realpath.argtypes = [text, text]
    library.realpath.restype = ctypes.c_void_p
    return library


def _buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    import ctypes  # noqa: PLC0415

    return ctypes.create_string_buffer(size)


def boot_session() -> str:
    """Return the number of this boot, or "" where it is not told."""
    import ctypes  # noqa: PLC0415

    found = _buffer(64)
    size = ctypes.c_size_t(len(found))
    # Not kern.boottime: that moves when the clock is set.
    answer = _library().sysctlbyname(b"kern.bootsessionuuid", found, ctypes.byref(size), None, 0)
    return found.value.decode("ascii", "replace") if answer == 0 else ""


def running(pid: int) -> Running | None:
    """Return a process that runs; None if none does, or it has ended and waits for its parent.

    Raises:
        OSError: the system does not say, as in a sandbox.

    """
    found = _kinfo(pid)
    if len(found) <= _STATE_AT or found[_STATE_AT] == _ZOMBIE:
        return None
    seconds, micros = _STARTED.unpack_from(found)
    return Running(seconds * 1_000_000 + micros, _text(found[_PROGRAM]))


def _kinfo(pid: int) -> bytes:
    """Return a process's record; nothing where there is no such process."""
    import ctypes  # noqa: PLC0415

    found = _buffer(_KINFO_SIZE)
    size = ctypes.c_size_t(len(found))
    name = (ctypes.c_int * 4)(*_PROC_PID, pid)
    if _library().sysctl(name, 4, found, ctypes.byref(size), None, 0) != 0:
        number = ctypes.get_errno()
        with suppress(ProcessLookupError):
            raise OSError(number, os.strerror(number))
        return b""
    return found.raw[: size.value]


def mounted(path: str) -> tuple[str, str, str] | None:
    """Return the device, the mount point and the kind of the file system a path is on; None if it is not told."""
    found = _buffer(_STATFS_SIZE)
    if _library().statfs(os.fsencode(path), found) != 0:
        return None
    return _text(found.raw[_DEVICE]), _text(found.raw[_POINT]), _text(found.raw[_KIND])


def stored_path(path: str) -> str:
    """Return a file's path as its directories have it; its own name as it was given where there is no file.

    A file is found there by its name in any case, and in any of Unicode's forms: two spellings
    of one name must come out as one. No file is opened for that: it may be a live database.
    """
    with suppress(OSError):
        if stat.S_ISREG(os.lstat(path).st_mode):
            return _real(path)
    parent, name = os.path.split(path)
    return os.path.join(_real(parent), name)  # noqa: PTH118 - text, as it is asked for


def _real(path: str) -> str:
    """Return what realpath(3) there says, which tells names as they are stored."""
    found = _buffer(_PATH_SIZE)
    return os.fsdecode(found.value) if _library().realpath(os.fsencode(path), found) else path


def _text(field: bytes) -> str:
    return os.fsdecode(field.partition(b"\0")[0])

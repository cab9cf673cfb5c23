"""Locks on a file's bytes that belong to one opening of it.

Unlike POSIX locks those of an open file description survive another ``close``
of the same file in this process; the kernel takes them back from whoever dies.
"""

from __future__ import annotations

import fcntl
import os
from struct import Struct
from typing import Final

_FLOCK: Final = Struct("hhqqi")  # struct flock of Linux, 64 bit
_PID_FIELD: Final = slice(24, 28)
_OFD_GETLK: Final = 36
_OFD_SETLK: Final = 37


def lock_bytes(descriptor: int, kind: int, start: int = 0, size: int = 1) -> bool:
    """Lock bytes (``fcntl.F_RDLCK``, ``F_WRLCK``) or free them (``F_UNLCK``); return whether it could be done at once."""
    return ask(descriptor, request(kind, start, size))


def request(kind: int, start: int = 0, size: int = 1) -> bytes:
    """Return what :func:`ask` and :func:`has_byte` ask for, to be made once for many times."""
    return _FLOCK.pack(kind, os.SEEK_SET, start, size, 0)


def ask(descriptor: int, request: bytes) -> bool:
    """Lock bytes, or free them, as a request says; return whether it could be done at once."""
    try:
        fcntl.fcntl(descriptor, _OFD_SETLK, request)
    except (BlockingIOError, PermissionError):
        return False
    return True


def has_byte(descriptor: int, request: bytes, pid: bytes) -> bool:
    """Whether a process holds the POSIX lock that stands in the way of a request; ``pid`` is its field.

    Where nobody does the answer has the request's own 0 in that place, and -1 where it is
    a lock of an open file.
    """
    return fcntl.fcntl(descriptor, _OFD_GETLK, request)[_PID_FIELD] == pid


def pid_field(pid: int) -> bytes:
    """Return a process's number as it stands in an answer of the kernel."""
    return _FLOCK.pack(0, 0, 0, 0, pid)[_PID_FIELD]


def is_locked(descriptor: int, start: int, size: int) -> bool:
    """Whether anybody holds any lock on bytes that an exclusive one would have to wait for."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, size, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(descriptor, _OFD_GETLK, wanted))[0] != fcntl.F_UNLCK)

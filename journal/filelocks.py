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
    wanted = _FLOCK.pack(kind, os.SEEK_SET, start, size, 0)
    try:
        fcntl.fcntl(descriptor, _OFD_SETLK, wanted)
    except (BlockingIOError, PermissionError):
        return False
    return True


def question(start: int) -> bytes:
    """Return what :func:`has_byte` asks: who would stand in the way of a write lock on a byte."""
    return _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)


def has_byte(descriptor: int, question: bytes, pid: bytes) -> bool:
    """Whether a process holds a POSIX lock on a byte: as the kernel writes its number, ``pid_field``.

    Where nobody does the answer has the question's 0 in its place, and -1 where it is
    a lock of an open file.
    """
    return fcntl.fcntl(descriptor, _OFD_GETLK, question)[_PID_FIELD] == pid


def pid_field(pid: int) -> bytes:
    """Return a process's number as it stands in an answer of the kernel."""
    return _FLOCK.pack(0, 0, 0, 0, pid)[_PID_FIELD]


def is_locked(descriptor: int, start: int, size: int) -> bool:
    """Whether anybody holds any lock on bytes that an exclusive one would have to wait for."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, size, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(descriptor, _OFD_GETLK, wanted))[0] != fcntl.F_UNLCK)

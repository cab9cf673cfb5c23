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


def owner_of_byte(descriptor: int, start: int) -> int | None:
    """Return the process that holds a POSIX lock on a byte; None: nobody, or none of this namespace."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, _OFD_GETLK, wanted))
    return None if kind == fcntl.F_UNLCK or pid <= 0 else pid


def is_locked(descriptor: int, start: int, size: int) -> bool:
    """Whether anybody holds any lock on bytes that an exclusive one would have to wait for."""
    wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, size, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(descriptor, _OFD_GETLK, wanted))[0] != fcntl.F_UNLCK)

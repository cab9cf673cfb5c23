"""Locks on a file's bytes that belong to one opening of it.

Unlike POSIX locks those of an open file description survive another ``close``
of the same file in this process; the kernel takes them back from whoever dies.
Linux and macOS have them, under other numbers and in another order of fields
(fcntl(2); bsd/sys/fcntl.h of xnu); Windows has not.
"""

from __future__ import annotations

import os
import sys
from struct import Struct
from typing import TYPE_CHECKING, Final

from journal.darwin import IS_DARWIN
from journal.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    import fcntl
except ImportError:  # Windows: check_system() comes before anything here is called
    fcntl = None  # type: ignore[assignment]

# struct flock of 64 bit: here its kind comes first and the process last, there the other way round.
_FLOCK: Final = Struct("qqihh") if IS_DARWIN else Struct("hhqqi")
_PID_FIELD: Final = slice(16, 20) if IS_DARWIN else slice(24, 28)
_KIND: Final = 3 if IS_DARWIN else 0
_OFD_SETLK, _OFD_SETLKW, _OFD_GETLK = (90, 91, 92) if IS_DARWIN else (37, 38, 36)

RDLCK: Final[int] = getattr(fcntl, "F_RDLCK", 0)
WRLCK: Final[int] = getattr(fcntl, "F_WRLCK", 0)
UNLCK: Final[int] = getattr(fcntl, "F_UNLCK", 0)
# What turn() is asked for, in flock's own words.
WAIT: Final[int] = getattr(fcntl, "LOCK_EX", 0)
AT_ONCE: Final[int] = WAIT | getattr(fcntl, "LOCK_NB", 0)
OVER: Final[int] = getattr(fcntl, "LOCK_UN", 0)


def check_system() -> None:
    """Refuse to go on where there are no such locks.

    Raises:
        StorageError: there are none.

    """
    if fcntl is None:
        raise StorageError(
            f"no journal can be opened on this system ({sys.platform}) yet: "
            "it has no locks on a file's bytes that belong to one opening of it",
            hint="open it on Linux or macOS; on Windows in WSL, or in a container",
            code="no-locks",
        )


def lock_bytes(descriptor: int, kind: int, start: int = 0, size: int = 1) -> bool:
    """Lock bytes (``RDLCK``, ``WRLCK``) or free them (``UNLCK``); return whether it could be done at once."""
    return ask(descriptor, request(kind, start, size))


def request(kind: int, start: int = 0, size: int = 1) -> bytes:
    """Return what :func:`ask` and :func:`has_byte` ask for, to be made once for many times."""
    return _packed(kind, start, size)


def _packed(kind: int, start: int = 0, size: int = 0, pid: int = 0) -> bytes:
    if IS_DARWIN:
        return _FLOCK.pack(start, size, pid, kind, os.SEEK_SET)
    return _FLOCK.pack(kind, os.SEEK_SET, start, size, pid)


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
    return _packed(0, pid=pid)[_PID_FIELD]


def is_locked(descriptor: int, start: int, size: int) -> bool:
    """Whether anybody holds any lock on bytes that an exclusive one would have to wait for."""
    answer = fcntl.fcntl(descriptor, _OFD_GETLK, _packed(WRLCK, start, size))
    return bool(_FLOCK.unpack(answer)[_KIND] != UNLCK)


# -- a turn: one lock for whoever comes next ------------------------------------------

# Of a file whose first byte is locked as well: on macOS, as on every BSD, flock() and the locks
# on bytes are one kind. There flock() would wait for the byte that others hold, for ever, and its
# end would take ours. So there the turn is a byte too, another one.
_TURN_BYTE: Final = 2  # not the next one: those that touch are joined
_TURNS: Final = {
    WAIT: (_OFD_SETLKW, _packed(WRLCK, _TURN_BYTE, 1)),
    AT_ONCE: (_OFD_SETLK, _packed(WRLCK, _TURN_BYTE, 1)),
    OVER: (_OFD_SETLK, _packed(UNLCK, _TURN_BYTE, 1)),
}


def _turn_of_a_byte(descriptor: int, operation: int) -> None:
    fcntl.fcntl(descriptor, *_TURNS[operation])


# Each append comes by: on Linux it is the system's own call, with nothing around it.
turn: Callable[[int, int], object] = _turn_of_a_byte if IS_DARWIN or fcntl is None else fcntl.flock
"""Take a file's turn (``WAIT``; or ``AT_ONCE``, else it raises ``BlockingIOError``), or give it back (``OVER``)."""

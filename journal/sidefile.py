"""The side file: what the processes of one host know of their mirrors, and their locks.

``<database>-mirrors`` holds one slot for each mirror, each with a MAC. It is a
cache: a slot that is missing, torn or forged only makes the next comparison a
full one. The lock on a slot's bytes is held while its mirror is compared or
written.
"""

from __future__ import annotations

import fcntl
import os
import threading
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from journal.seal import Mac

SLOT_SIZE: Final = 256
_STATE: Final = Struct(">8q36s")
_FLOCK: Final = Struct("hhqqi")  # struct flock of Linux, 64 bit
_OFD_SETLKW: Final = 38


class Known(NamedTuple):
    """What was last known of a mirror's file.

    ``mtime_ns`` and ``ctime_ns`` are 0 after a write of ours that nobody looked
    at since; ``exported_seq`` is the last seq written, ``synced_to`` the size up
    to which the file is known to be on disk, in the boot ``boot_id``.
    """

    device: int = 0
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    exported_seq: int = 0
    layout_no: int = 0
    synced_to: int = 0
    boot_id: str = ""

    def packed(self) -> bytes:
        """Return the slot's bytes, but for their MAC."""
        return _STATE.pack(*self[:-1], self.boot_id.encode()[:36])


class SideFile:
    """The open side file of one journal in this process."""

    def __init__(self, path: str, mac: Mac) -> None:
        self._mac = mac
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o600)

    def read(self, number: int) -> Known | None:
        """Return what is known of a mirror; None if nothing is, or it is not to be believed."""
        data = os.pread(self._descriptor, SLOT_SIZE, (number - 1) * SLOT_SIZE)
        packed, mac = data[: _STATE.size], data[_STATE.size : _STATE.size + 16]
        if len(packed) < _STATE.size or mac != self._mac("mirror state", number, packed):
            return None
        *numbers, boot_id = _STATE.unpack(packed)
        return Known._make([*numbers, boot_id.rstrip(b"\0").decode("ascii", "replace")])

    def write(self, number: int, known: Known) -> None:
        """Share what is known of a mirror."""
        packed = known.packed()
        data = packed + self._mac("mirror state", number, packed)
        os.pwrite(self._descriptor, data.ljust(SLOT_SIZE, b"\0"), (number - 1) * SLOT_SIZE)

    def forget(self, number: int) -> None:
        """Make the next comparison a full one."""
        os.pwrite(self._descriptor, bytes(SLOT_SIZE), (number - 1) * SLOT_SIZE)

    def lock(self, number: int) -> None:
        """Take a mirror's lock, waiting for whichever process has it; its death frees it."""
        self._set(number, fcntl.F_WRLCK)

    def unlock(self, number: int) -> None:
        """Give a mirror's lock back."""
        self._set(number, fcntl.F_UNLCK)

    def _set(self, number: int, kind: int) -> None:
        # Locks of the open file description: unlike POSIX locks they survive
        # another close() of the same file in this process.
        start = (number - 1) * SLOT_SIZE
        wanted = _FLOCK.pack(kind, os.SEEK_SET, start, SLOT_SIZE, 0)
        fcntl.fcntl(self._descriptor, _OFD_SETLKW, wanted)

    def close(self) -> None:
        """Close the side file; every lock of this process on it goes."""
        os.close(self._descriptor)


class SlotLock:
    """A mirror's lock, for the threads of this process and for other processes."""

    def __init__(self, side: SideFile, number: int) -> None:
        self._side = side
        self._number = number
        self._threads = threading.RLock()
        self._depth = 0

    def __enter__(self) -> Self:
        self._threads.acquire()
        if self._depth == 0:
            try:
                self._side.lock(self._number)
            except BaseException:
                self._threads.release()
                raise
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._side.unlock(self._number)
        self._threads.release()

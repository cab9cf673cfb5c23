"""The side file: what the processes of one host know of their mirrors, and their locks.

``<database>-mirrors`` holds one slot for each mirror, each with a MAC; of a journal
on a server, a file in each directory of mirrors has their slots. It is a cache: a slot that is missing, torn or forged only makes the next comparison a
full one. The lock on a slot's bytes is held while its mirror is compared or
written.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.descriptors import CLOSE_ON_EXEC, NO_LINK, sync_data
from journal.errors import BusyError, StorageError
from journal.filelocks import UNLCK, WRLCK, ask, request

if TYPE_CHECKING:
    from hashlib import _Hash
    from typing import Self

    from journal.seal import Mac

SLOT_SIZE: Final = 256
_STATE: Final = Struct(">11q36s32s")
_MAC_SIZE: Final = 16
_WRAP: Final = 1 << 64
_HELD: Final = range(-(1 << 63), 1 << 63)  # of the numbers in a slot
# How long to wait for whoever serves the mirror: it may have been stopped in the middle.
LOCK_WAIT_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.0002
_LAST_PAUSE_S: Final = 0.01


class Known(NamedTuple):
    """What was last known of a mirror's file.

    Attributes:
        device, inode: which file it was.
        size: so much of the layout ``layout_no`` is in the file, and nothing else.
        mtime_ns, ctime_ns: its times, when all of it was last seen to be the
            layout's; 0 after a write of ours that nobody looked at since.
        exported_seq: every line up to this seq is in the file; 0 if something
            else is there that has yet to be settled.
        synced_to: the size up to which the file is known to be on disk, since it
            was written in the boot ``boot_id``.
        checked_size, checked_seq, digest: the file began with these bytes, and
            they were those of the lines up to that seq.
        cut_to: we are about to cut the file to this size, to give it a new
            layout; -1 if not.

    """

    device: int = 0
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    exported_seq: int = 0
    layout_no: int = 0
    synced_to: int = 0
    checked_size: int = 0
    checked_seq: int = 0
    cut_to: int = -1
    boot_id: str = ""
    digest: bytes = b""

    def is_ahead(self, head: int, layout_no: int) -> bool:
        """Whether it tells of entries that the session has not: an older database was put back."""
        return self.exported_seq > head or self.layout_no > layout_no

    def after(self, fresh: Fresh) -> Known:
        """Return what is known once a write's lines stand at the end of the file."""
        size, times = self.size + len(fresh.data), (0, 0) if fresh.data else self[3:5]
        return Known._make((*self[:2], size, *times, fresh.head, *self[6:]))

    def packed(self) -> bytes:
        """Return the slot's bytes, but for their MAC."""
        try:
            return _STATE.pack(*self[:-2], self.boot_id.encode()[:36], self.digest)
        except StructError:
            return self._fitting().packed()

    def _fitting(self) -> Known:
        """Return it with a file's number as the slot holds it, and without times that it cannot hold."""
        inode = self.inode if self.inode in _HELD else self.inode - _WRAP
        are_held = self.mtime_ns in _HELD and self.ctime_ns in _HELD
        mtime_ns, ctime_ns = self[3:5] if are_held else (0, 0)
        return self._replace(inode=inode, mtime_ns=mtime_ns, ctime_ns=ctime_ns)


class Fresh(NamedTuple):
    """What one write committed: its lines' bytes, and the head before it and after.

    So the file of a session need not be told from the database what it was told
    a moment ago. ``layout_no`` is the newest layout the writer knew.
    """

    data: bytes
    before: int
    head: int
    layout_no: int

    def joined(self, later: Fresh) -> Fresh | None:
        """Return both as one, or None if something came between."""
        if (later.before, later.layout_no) != (self.head, self.layout_no):
            return None
        return Fresh(self.data + later.data, self.before, later.head, self.layout_no)


class SideFile:
    """The open side file of one journal in this process."""

    def __init__(self, path: str, mac: Mac, *, create: bool = True) -> None:
        self._prove_with(mac)
        flags = os.O_RDWR | CLOSE_ON_EXEC | NO_LINK | (os.O_CREAT if create else 0)
        self._descriptor = os.open(path, flags, 0o600)

    def _prove_with(self, mac: Mac) -> None:
        self._mac = mac
        self._begun: dict[int, _Hash] = {}  # what a slot's MAC begins with
        # The bytes of each slot as they were last read or written, and what they say: as long
        # as the same stand there nothing is to be proved again.
        self._seen: dict[int, tuple[bytes, Known]] = {}

    def _mac_of(self, number: int, packed: bytes) -> bytes:
        begun = self._begun.get(number)
        if begun is None:
            begun = self._begun[number] = self._mac.begin("mirror state", number)
        return self._mac.finish(begun, packed)

    def _open(self) -> int:
        if self._descriptor < 0:  # another thread has closed the journal
            raise StorageError("this journal is closed", hint="open it again", code="closed")
        return self._descriptor

    def read(self, number: int) -> Known | None:
        """Return what is known of a mirror; None if nothing is, or it is not to be believed."""
        try:
            data = os.pread(self._open(), SLOT_SIZE, (number - 1) * SLOT_SIZE)
        except OSError:
            self._open()  # or it was closed in this very moment
            raise
        seen = self._seen.get(number)
        if seen is not None and seen[0] == data:
            return seen[1]
        packed, mac = data[: _STATE.size], data[_STATE.size : _STATE.size + _MAC_SIZE]
        if len(packed) < _STATE.size or mac != self._mac_of(number, packed):
            return None
        *numbers, boot_id, digest = _STATE.unpack(packed)
        numbers[1] %= _WRAP
        known = Known._make([*numbers, boot_id.rstrip(b"\0").decode("ascii", "replace"), digest])
        self._seen[number] = data, known
        return known

    def write(self, number: int, known: Known) -> None:
        """Share what is known of a mirror."""
        packed = known.packed()
        data = (packed + self._mac_of(number, packed)).ljust(SLOT_SIZE, b"\0")
        os.pwrite(self._open(), data, (number - 1) * SLOT_SIZE)
        self._seen[number] = data, known

    def forget(self, number: int) -> None:
        """Make the next comparison a full one."""
        os.pwrite(self._open(), bytes(SLOT_SIZE), (number - 1) * SLOT_SIZE)

    def prove_anew(self, mac: Mac) -> None:
        """Prove every slot with another key from now on, where it was proved with this one."""
        old = self._mac
        for number in self._numbers():
            if self.lock(number):
                self._prove_with(old)
                known = self.read(number)
                self._prove_with(mac)
                if known is not None:
                    self.write(number, known)
                self.unlock(number)
        self._prove_with(mac)

    def forget_unproved(self) -> None:
        """Forget every slot that this key does not prove, as nobody would believe it any more."""
        for number in self._numbers():
            if self.lock(number):
                if self.read(number) is None:
                    self.forget(number)
                self.unlock(number)

    def _numbers(self) -> range:
        return range(1, os.fstat(self._descriptor).st_size // SLOT_SIZE + 1)

    def sync(self) -> None:
        """Make what was shared survive a power cut."""
        sync_data(self._open())

    def lock(self, number: int, wait_s: float = LOCK_WAIT_S) -> bool:
        """Take a mirror's lock; return whether it was free within the time. Its holder's death frees it.

        Raises:
            StorageError: the journal is closed.

        """
        wanted = _slot(WRLCK, number)
        if ask(self._open(), wanted):
            return True
        until, pause_s = time.monotonic() + wait_s, _FIRST_PAUSE_S
        while time.monotonic() < until:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            if ask(self._open(), wanted):
                return True
        return False

    def unlock(self, number: int) -> None:
        """Give a mirror's lock back; it went with the file if that is closed."""
        if self._descriptor >= 0:
            ask(self._descriptor, _slot(UNLCK, number))

    def close(self) -> None:
        """Close the side file; every lock of this process on it goes."""
        # First: its number may be another file's at once, and a thread that serves yet would write there.
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)


@cache
def _slot(kind: int, number: int) -> bytes:
    return request(kind, (number - 1) * SLOT_SIZE, SLOT_SIZE)


class SlotLock:
    """A mirror's lock, for the threads of this process and for other processes."""

    def __init__(self, side: SideFile, number: int) -> None:
        self._side = side
        self._number = number
        self._threads = threading.RLock()
        self._depth = 0
        self.turn = 0  # how often it was taken by one who had it not

    def held(self) -> Hold:
        """Return a block that holds the lock; a thread may hold it within itself."""
        return Hold(self)

    def take(self) -> None:
        """Wait for the lock.

        Raises:
            BusyError: it did not come in time.

        """
        threads = self._threads
        if threads._is_owned() and self._depth > 0:  # type: ignore[attr-defined] # noqa: SLF001 - see is_held
            self._depth += 1
            return
        is_ours = False
        try:
            if threads.acquire(timeout=LOCK_WAIT_S):  # else they are another thread's, who has it
                is_ours = self._side.lock(self._number)
                self._depth = 1 if is_ours else 0  # no call, as below
                self.turn += 1
        finally:
            if not is_ours:
                self._free()
        if not is_ours:
            raise _busy()

    def take_at_once(self) -> bool:
        """Take the lock if nobody has it, this thread neither; return whether."""
        threads = self._threads
        if threads._is_owned():  # type: ignore[attr-defined] # noqa: SLF001 - see is_held
            return False
        is_ours = False
        try:
            if threads.acquire(blocking=False):
                is_ours = self._side.lock(self._number, 0)
                self._depth = 1 if is_ours else 0
                self.turn += 1
        finally:
            if not is_ours:
                self._free()
        return is_ours

    def is_held(self) -> bool:
        """Whether the calling thread holds it."""
        return self._threads._is_owned() and self._depth > 0  # type: ignore[attr-defined] # noqa: SLF001 - as threading.Condition asks it

    def give_back(self) -> None:
        """Let it go, once for each time it was taken."""
        if self._depth > 1:
            self._depth -= 1
        else:
            self._free()

    def _free(self) -> None:
        if self._threads._is_owned():  # type: ignore[attr-defined] # noqa: SLF001
            self._side.unlock(self._number)
            # No call between these two: no signal can part them.
            self._depth = 0
            self._threads.release()


class Hold:
    """One block inside a mirror's lock."""

    __slots__ = ("_lock", "_turn")

    def __init__(self, lock: SlotLock) -> None:
        self._lock = lock
        self._turn = 0

    def __enter__(self) -> Self:
        self._lock.take()
        self._turn = self._lock.turn
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __del__(self) -> None:
        """Let go what an interrupt on the very step out of the block left held."""
        self.end()

    def begin_at_once(self) -> bool:
        """Take the lock if nobody has it, this thread neither; return whether. It is for the caller to end it."""
        if not self._lock.take_at_once():
            return False
        self._turn = self._lock.turn
        return True

    def end(self) -> None:
        """Let the lock go, if it was taken."""
        # Its own turn only: another may have come since, while a traceback kept this one.
        if self._turn and self._lock.is_held() and self._turn == self._lock.turn:
            self._lock.give_back()
        self._turn = 0


def _busy() -> BusyError:
    return BusyError(
        f"another process has been at this mirror for {LOCK_WAIT_S:g} s",
        hint="try again; its file is brought up to the journal by whoever comes next",
        code="mirror-busy",
    )

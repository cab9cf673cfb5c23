"""Notices that SQLite's locks are gone, or its files, before anything is committed without them.

A pin is a shared lock of our own on the bytes by which SQLite tells that somebody
has a database open: while it stands, no other process takes itself for the last
one and deletes the log, or for the first one and clears the shared memory, even
if this process has lost its POSIX locks. Before each COMMIT the kernel is asked
whether the write lock is this process's still, and whether the three files are
still there (3 us, more after a sync). Sources: os_unix.c and wal.c of SQLite.
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from typing import ClassVar, Final, Protocol

from journal import guards
from journal.durability import copied
from journal.engine import connect, driver
from journal.errors import LockLost
from journal.filelocks import (
    RDLCK,
    UNLCK,
    WRLCK,
    has_byte,
    is_locked,
    lock_bytes,
    pid_field,
    request,
)
from journal.forks import forked

SHARED_FIRST: Final = 0x40000002  # PENDING_BYTE + 2
SHARED_SIZE: Final = 510
WRITE_BYTE: Final = 120  # UNIX_SHM_BASE: WAL_WRITE_LOCK
_WHO_WRITES: Final = request(WRLCK, WRITE_BYTE)
OPEN_BYTE: Final = 128  # UNIX_SHM_DMS, the "dead man's switch"
# What was moved, or the log removed, shows by its path alone: after so many commits.
LOOK_AFTER: Final = 16

CAN_PIN: Final = guards.CAN_LOOK


class Guard(Protocol):
    """What stands between a write and its COMMIT."""

    def hold(self) -> None:
        """Begin, for a connection that was just opened; whatever comes of it, :meth:`let_go` and :meth:`tidy` end it."""

    def check(self) -> None:
        """Raise if the write lock or the files are not ours any more."""

    def let_go(self) -> None:
        """Before the connection is closed: stand in nobody's way."""

    def tidy(self) -> None:
        """After the connection was closed: close what may be closed."""

    def abandon(self) -> None:
        """In a forked child: let go of what the parent holds."""


class NoPins:
    """Where the system has no such locks."""

    def check(self) -> None:
        """Do nothing."""

    hold = let_go = tidy = abandon = check


class NotOurs(NoPins):
    """In a forked child, whose parent has the locks."""

    def check(self) -> None:
        """Refuse to commit what the parent began."""
        raise forked("this transaction was begun before a fork; it is the parent's")


class Watched(NoPins):
    """Where there are no pins: Python code in this process is kept off the live files all the same."""

    _users: ClassVar[dict[guards.Identity, set[Watched]]] = {}

    def __init__(self, path: str) -> None:
        with guards.door:
            named = [(each, os.stat(each)) for each in (path, f"{path}-shm")]  # noqa: PTH116 - by path
            self._files = [guards.identity_of(status) for _, status in named]
            for (each, _), identity in zip(named, self._files, strict=True):
                self._users.setdefault(identity, set()).add(self)
                guards.guard(each, identity, driver().__name__)

    def tidy(self) -> None:
        """After the connection was closed: let its files be opened, if no other journal has them open here."""
        with guards.door:
            self.abandon()

    def abandon(self) -> None:
        """In a forked child, which has no locks to lose: the same, but who held the door is not there."""
        for identity in self._files:
            users = self._users.get(identity, set())
            users.discard(self)
            if not users:
                self._users.pop(identity, None)
                guards.unguard(identity)


class _Pin:
    """One file, opened once in this process for as long as SQLite has it open here."""

    __slots__ = ("_range", "descriptor", "identity", "users")

    def __init__(self, path: str, start: int) -> None:
        self.users = 0
        with guards.own_hand():
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.identity = guards.identity_of(os.fstat(self.descriptor))
        guards.know(self.identity, self.descriptor)
        self._range = start, SHARED_SIZE if start == SHARED_FIRST else 1

    def hold(self) -> bool:
        return lock_bytes(self.descriptor, RDLCK, *self._range)

    def free(self) -> None:
        lock_bytes(self.descriptor, UNLCK, *self._range)


_pins: dict[guards.Identity, _Pin] = {}


class Pins:
    """The pins and the checks of one open journal."""

    _database: _Pin
    _shared: _Pin

    def __init__(self, path: str) -> None:
        self._path, self._pid = path, pid_field(os.getpid())
        self._held: list[_Pin] = []
        self._log = -1
        self._until_look = LOOK_AFTER

    def hold(self) -> None:
        """Pin the files of a connection that was just opened, one by one.

        Raises:
            LockLost: another process has one for itself. What was pinned is let go of all the same.

        """
        with guards.door:
            for path, start in ((self._path, SHARED_FIRST), (f"{self._path}-shm", OPEN_BYTE)):
                pin = _pin_of(path, start)
                pin.users += 1
                self._held.append(pin)
                guards.guard(path, pin.identity, driver().__name__)
                if pin.users == 1 and not pin.hold():
                    raise LockLost(
                        f"{path}: another process has it for itself although it is open here",
                        hint="try again",
                        code="lock-lost",
                    )
        self._database, self._shared = self._held
        # The log carries no locks: copying and closing it takes none away.
        self._log = copied(f"{self._path}-wal")

    def _descriptors(self) -> tuple[int, int, int]:
        return self._database.descriptor, self._shared.descriptor, self._log

    def check(self) -> None:
        """Ask the kernel, inside a transaction, whether the write lock and the files are ours.

        Raises:
            LockLost: they are not. Nothing may be written, rolled back or closed by
                this process's connection any more.

        """
        database, shared = self._database.descriptor, self._shared.descriptor
        if not has_byte(shared, _WHO_WRITES, self._pid):
            raise LockLost(
                f"{self._path}: this process has lost SQLite's write lock; nothing of this write was kept",
                hint="start this process anew; something in it opened and closed the database file itself",
                code="lock-lost",
            )
        self._until_look -= 1
        if (
            os.fstat(database).st_nlink != 1
            or os.fstat(shared).st_nlink != 1
            or self._until_look <= 0
        ):
            self._look()

    def _look(self) -> None:
        """Look whether the three files are still what stands under their names."""
        self._until_look = LOOK_AFTER
        # The log's status last, and seldom: to read the times of a file that is being written
        # costs the next write a sixth.
        for suffix, number in zip(("", "-shm", "-wal"), self._descriptors(), strict=True):
            path = f"{self._path}{suffix}"
            with suppress(OSError):
                if os.path.samestat(os.stat(path), os.fstat(number)):  # noqa: PTH116
                    continue
            raise LockLost(
                f"{path} was removed or replaced while it was open; nothing of this write was kept",
                hint="put it back where it was, or restore a backup; then start this process anew",
                code="file-replaced",
            )

    def let_go(self) -> None:
        """Before the connection is closed: the last one to close must be able to fold the log in."""
        with guards.door:
            for pin in self._held:
                pin.users -= 1
                if not pin.users:
                    pin.free()
        self._close_log()

    def _close_log(self) -> None:
        if self._log >= 0:
            os.close(self._log)

    def tidy(self) -> None:
        """After the connection was closed: close the pins, if SQLite has no lock here to lose."""
        with guards.door:
            if not self._held:
                return
            database = self._held[0]
            if database.users or guards.descriptors_of(database.identity) - {database.descriptor}:
                return
            for pin in self._held:
                guards.unguard(pin.identity)
                if _pins.pop(pin.identity, None) is pin:
                    os.close(pin.descriptor)

    def abandon(self) -> None:
        """In a forked child: let go of what the parent holds; a child has no locks to lose."""
        for pin in self._held:
            if _pins.pop(pin.identity, None) is pin:
                os.close(pin.descriptor)
        self._close_log()


def _pin_of(path: str, start: int) -> _Pin:
    status = os.stat(path)  # noqa: PTH116 - by path: it is opened at most once
    pin = _pins.get(guards.identity_of(status))
    if pin is None:
        pin = _Pin(path, start)
        _pins[pin.identity] = pin
    return pin


def is_open(path: str) -> bool:
    """Whether any process of this host has a database open, this one too."""
    if not CAN_PIN:
        return _is_shared(path)
    with guards.door:
        if guards.descriptors_of(guards.identity_of(os.stat(path))):  # noqa: PTH116
            return True
        with guards.own_hand():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:  # nothing of this process has it open: it has no lock to lose
            return is_locked(descriptor, SHARED_FIRST, SHARED_SIZE)
        finally:
            os.close(descriptor)


def _is_shared(path: str) -> bool:
    """Ask SQLite: only who is alone with a database may take it out of WAL mode."""
    with closing(connect(path, busy_timeout_s=0)) as connection:
        try:
            mode = connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        except driver().OperationalError:
            return True
        connection.execute("PRAGMA journal_mode=WAL")
        return bool(mode != "delete")

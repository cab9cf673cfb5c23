"""One original file, opened so that reading it can neither hang nor change anything.

An original is never written, moved, locked or followed elsewhere. It may be
written by its program while it is read: the stamp taken at opening tells.
"""

from __future__ import annotations

import errno
import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import _Hash
    from typing import Self

READ_SIZE: Final = 128 * 1024
HEAD_LINES: Final = 12
HEAD_SIZE: Final = 1024 * 1024

# A FIFO put in a file's place between looking and opening must not hang us; a
# symlink there must not lead us elsewhere. Windows has neither flag, nor the need.
_FLAGS: Final = os.O_RDONLY | sum(
    getattr(os, name, 0)
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
)
_SORTS: Final = (
    (stat.S_ISLNK, "symlink", "a symlink: name what it points to"),
    (stat.S_ISFIFO, "not-a-file", "a FIFO, not a file"),
    (stat.S_ISSOCK, "not-a-file", "a socket, not a file"),
    (stat.S_ISCHR, "not-a-file", "a device, not a file"),
    (stat.S_ISBLK, "not-a-file", "a device, not a file"),
    (stat.S_ISDIR, "not-a-file", "a directory, not a file"),
)
_REASONS: Final = {
    errno.ELOOP: ("symlink", "a symlink: name what it points to"),
    errno.ENOENT: ("gone", "there is no such file"),
    errno.ENOTDIR: ("gone", "there is no such file"),
    errno.ENXIO: ("not-a-file", "a socket or device, not a file"),
}


class UnfitError(Exception):
    """A file that is set aside: ``code`` is a slug, the message a reason for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Facts(NamedTuple):
    """What a file holds: its size, its physical lines, and the digest of all its bytes."""

    bytes: int
    lines: int
    sha256: str


class _Stamp(NamedTuple):
    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class Source:
    """A regular file opened for reading, from one end to the other, any number of times.

    What was read since the last :meth:`rewind` is counted and hashed on the way.

    Args:
        path: the file; its last part is never followed if it is a symlink.
        avoid: (device, inode) pairs never to open, such as a live database's.

    Raises:
        UnfitError: no regular file, or not readable.

    """

    def __init__(self, path: str, avoid: frozenset[tuple[int, int]] = frozenset()) -> None:
        self.path = path
        self._fd = _opened(path, avoid)
        self._stamp = _stamp(os.fstat(self._fd))
        self.passes = 0  # how often it was begun
        self.mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
        self.rewind()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    @property
    def size(self) -> int:
        """The size the file had when it was opened."""
        return self._stamp.size

    def rewind(self) -> None:
        """Begin again at the first byte."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.passes += 1
        self._digest = sha256()
        self._bytes = self._ends = 0
        self._last = b"\n"

    def read(self, size: int = READ_SIZE) -> bytes:
        """Return the next bytes, at most ``size``; none at the end.

        Raises:
            UnfitError: the device could not give them.

        """
        data = self._take(size)
        if data:
            self._digest.update(data)
            self._bytes += len(data)
            # Six times as fast as to count them.
            self._ends += len(data) - len(data.replace(b"\n", b""))
            self._last = data[-1:]
        return data

    def _take(self, size: int) -> bytes:
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise unfit(error) from error

    def read_exactly(self, size: int) -> bytes:
        """Return the next ``size`` bytes; fewer only where the file ends."""
        data = self.read(size)
        while len(data) < size:
            more = self.read(size - len(data))
            if not more:
                break
            data += more
        return data

    def chunks(self) -> Iterator[bytes]:
        """Yield the rest of the file."""
        while data := self.read():
            yield data

    def first_lines(self) -> list[bytes]:
        """Return the first whole lines, as much as tells a format; the file is then rewound."""
        self.rewind()
        lines = self.read_exactly(min(HEAD_SIZE, 8192)).split(b"\n")
        # One header may be tens of kilobytes long, and half a line tells nothing.
        if len(lines) <= HEAD_LINES:
            self.rewind()
            lines = self.read_exactly(HEAD_SIZE).split(b"\n")
        if self._bytes < self.size:
            lines.pop()
        self.rewind()
        return lines[:HEAD_LINES]

    @property
    def facts(self) -> Facts:
        """What was read since the last rewind."""
        tail = 0 if self._last == b"\n" else 1
        return Facts(self._bytes, self._ends + tail, self._digest.hexdigest())

    def hashed(self) -> _Hash:
        """Return a hash of what was read since the last rewind, to be carried on."""
        return self._digest.copy()

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is as it was at opening, and still the one at its path."""
        try:
            return _stamp(os.fstat(self._fd)) == _stamp(os.lstat(self.path)) == self._stamp
        except OSError:
            return False


def unfit(error: OSError) -> UnfitError:
    """Return the reason to set a file aside that the system did not let us read."""
    found = _REASONS.get(error.errno or 0)
    return UnfitError(*(found or ("unreadable", f"cannot be read: {error.strerror or error}")))


def identity_of(path: str) -> tuple[int, int] | None:
    """Return the (device, inode) at a path, without opening it."""
    try:
        found = os.stat(path)  # noqa: PTH116 - one style with lstat and fstat here
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: str, avoid: frozenset[tuple[int, int]]) -> int:
    try:
        _check_sort(os.lstat(path), avoid)  # before opening: to open a device may do something
        fd = os.open(path, _FLAGS)
    except OSError as error:
        raise unfit(error) from error
    except ValueError as error:
        raise UnfitError("gone", "no path: it has a NUL inside") from error
    try:
        _check_sort(os.fstat(fd), avoid)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_sort(found: os.stat_result, avoid: frozenset[tuple[int, int]]) -> None:
    for holds, code, reason in _SORTS:
        if holds(found.st_mode):
            raise UnfitError(code, reason)
    if (found.st_dev, found.st_ino) in avoid:
        # Closing a file that SQLite has open in this process drops SQLite's locks.
        raise UnfitError("live-database", "a journal in use")


def _stamp(found: os.stat_result) -> _Stamp:
    return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

"""A mirror's file on disk: opened safely, appended to on one inode, never replaced."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Final

from journal import darwin
from journal.darwin import IS_DARWIN
from journal.descriptors import (
    CLOSE_ON_EXEC,
    DIRECTORY,
    NO_LINK,
    NO_LINK_AT_ALL,
    NO_WAIT,
    opened_again,
    sync_data,
)
from journal.errors import MirrorError
from journal.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CHUNK: Final = 1024 * 1024
_BEGIN: Final = 65  # bytes that tell
_FIRST_MODE: Final = 0o600
# How files begin to which a line appended is a wound.
_NO_LINES: Final = (
    (re.compile(rb"SQLite format 3\0"), "a SQLite database"),
    (re.compile(rb"[0-9a-f]{64}[ \n]"), "a journal's key"),
)
_FLAGS: Final = os.O_RDWR | os.O_APPEND | NO_LINK | CLOSE_ON_EXEC | NO_WAIT
_HAS_LINKS: Final = sys.platform == "linux"  # whether /proc tells what a descriptor has open


class MirrorFile:
    """One open mirror file.

    It is opened by its directory, so that no link swapped in on the way is
    followed, and kept open, so that lines always go to the inode that was
    checked.
    """

    def __init__(self, path: str, *, create: bool = False, mode: int = 0o600) -> None:
        self.path = path
        self.is_unsynced = False  # of what was written through this descriptor
        self.descriptor = _opened(path, mode if create else None)
        self._link = f"/proc/self/fd/{self.descriptor}"
        try:
            self.inode = self.check().st_ino
        except BaseException:
            self.close()
            raise

    def check(self) -> os.stat_result:
        """Return the file's status, once it is sure that it can be a mirror."""
        status = self.status()
        _check(self.path, status)
        return status

    def status(self) -> os.stat_result:
        """Return the open file's status: size and times as they are now."""
        return os.fstat(self.descriptor)

    @property
    def size(self) -> int:
        """The file's size, without a look at its times.

        Reading fresh timestamps makes the kernel write them at the next change:
        a sixth of the append rate.
        """
        return os.lseek(self.descriptor, 0, os.SEEK_END)

    def _is_here_by_status(self) -> bool:
        there = _lstat(self.path)
        return there is not None and os.path.samestat(there, self.status())

    def _is_here_by_link(self) -> bool:
        try:
            # Not by a Path: this is on the way of each append.
            return os.readlink(self._link) == self.path  # noqa: PTH115
        except OSError:
            return self._is_here_by_status()

    is_here = property(
        _is_here_by_link if _HAS_LINKS else _is_here_by_status,
        doc="Whether the path still names this very file.",
    )

    def extend(self, size: int, data: bytes) -> bool:
        """Append to a file of just this size; return whether it is as large then as it should be."""
        if os.lseek(self.descriptor, 0, os.SEEK_END) != size:
            return False
        self.append(data)
        return os.lseek(self.descriptor, 0, os.SEEK_END) == size + len(data)

    def append(self, data: bytes) -> None:
        """Write at the end of the file, whoever else writes there too."""
        self.is_unsynced |= bool(data)
        at = os.write(self.descriptor, data) if data else 0
        while at < len(data):
            at += os.write(self.descriptor, data[at:])

    def chunks(self, offset: int, up_to: int) -> Iterator[bytes]:
        """Yield the file's bytes between two offsets."""
        while offset < up_to:
            data = os.pread(self.descriptor, min(CHUNK, up_to - offset), offset)
            if not data:
                return
            yield data
            offset += len(data)

    def read(self, offset: int, size: int) -> bytes:
        """Return some of the file's bytes, fewer where it ends."""
        return b"".join(self.chunks(offset, offset + size))

    def overwrite(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        """Put bytes in their places in the file; for the repair of damage alone."""
        # pwrite() to a descriptor opened to append would append.
        descriptor = opened_again(self.descriptor, self.path, os.O_WRONLY)
        try:
            for offset, data in pieces:
                at = 0
                while at < len(data):
                    at += os.pwrite(descriptor, data[at:], offset + at)
        finally:
            os.close(descriptor)

    def cut(self, size: int) -> None:
        """Cut the file off at a size."""
        os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """Make the file's bytes survive a power cut."""
        sync_data(self.descriptor)
        self.is_unsynced = False

    def close(self) -> None:
        """Close the file."""
        # First: its number may be another file's at once, and a thread that serves yet would write there.
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)


def mode_of(path: str) -> int:
    """Return the mode of the file at a path, or the one that it is made with."""
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except FileNotFoundError:
        return _FIRST_MODE


def make_file(path: str, mode: int) -> None:
    """Make a mirror's file, empty, where there is none; its name survives a power cut from then on.

    Raises:
        MirrorError: it cannot be made, or what stands there cannot be used.

    """
    is_there = is_file(path)
    MirrorFile(path, create=True, mode=mode).close()
    if not is_there:
        sync_directory(Path(path).parent)


def _opened(path: str, mode: int | None) -> int:
    """Open a file in its own directory, following no link: neither to the one nor to the other."""
    parent, name = os.path.split(path)
    directory = -1
    try:
        directory = _opened_directory(path, parent)
        flags = _FLAGS | (0 if mode is None else os.O_CREAT)
        return os.open(name, flags, mode or 0, dir_fd=directory)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    finally:
        if directory >= 0:
            os.close(directory)


def _opened_directory(path: str, parent: str) -> int:
    try:
        found = os.open(parent, os.O_RDONLY | DIRECTORY | CLOSE_ON_EXEC | NO_LINK_AT_ALL)
    except OSError as error:
        if error.errno == errno.ELOOP and NO_LINK_AT_ALL:
            raise _linked(path) from error
        raise
    if NO_LINK_AT_ALL or _is_named(found, parent):
        return found
    os.close(found)
    raise _linked(path)


def _linked(path: str) -> MirrorError:
    return _unusable(path, "a link was put into its path")


def _is_named(descriptor: int, path: str) -> bool:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()) == path
    except OSError:
        return os.path.realpath(path) == path


def check_holds_lines(path: str) -> None:
    """Refuse a file that is there and known for none of lines: it would be written into.

    Raises:
        MirrorError: it is a database, or a journal's key.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_LINK | CLOSE_ON_EXEC | NO_WAIT)
    except OSError:
        return  # it is not there, or whoever opens it to write says what is wrong
    try:
        begin = os.pread(descriptor, _BEGIN, 0)
    except OSError:
        return  # a pipe, a directory: as above
    finally:
        os.close(descriptor)
    for pattern, what in _NO_LINES:
        if pattern.match(begin):
            raise MirrorError(
                f"{path} is {what}, no file of lines", hint="name another file", code="no-lines"
            )


def is_file(path: str) -> bool:
    """Whether a file, neither a link nor a directory nor a device, stands at a path.

    Raises:
        MirrorError: that cannot be told, as where its directory may not be searched.

    """
    status = _lstat(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def is_taken(path: str) -> bool:
    """Whether anything stands at a path; raises as :func:`is_file` does."""
    return _lstat(path) is not None


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # not looked at is not gone
        raise _unusable(path, error.strerror or str(error)) from error


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, "is not a regular file")
    if status.st_nlink > 1:
        raise _unusable(path, f"has {status.st_nlink} links")


def _unusable(path: str, why: str, hint: str = "journal mirror status") -> MirrorError:
    return MirrorError(
        f"the mirror {path} cannot be used: {why}",
        hint=hint,
        code="mirror-unusable",
    )


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the one name of a mirror: its directory resolved, its own name as given.

    Raises:
        MirrorError: no such directory, a link or a directory in the file's
            place, a name that is not UTF-8, or a home that would swallow the file.

    """
    given = Path(path).absolute()
    try:
        parent = given.parent.resolve(strict=True)
    except OSError as error:
        why = f"its directory is not there ({error.strerror})"
        raise _unusable(str(given), why, f"mkdir -p {quote(str(given.parent))}") from error
    if given.name in ("", "..", "."):
        raise _unusable(str(given), "it names no file", "name a file")
    found = parent / given.name
    if IS_DARWIN:
        found = Path(darwin.stored_path(str(found)))
    _check_text(str(found))
    status = _lstat(str(found))
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise _unusable(str(found), "a link, directory or device is in its place", "name a file")
    _check_home(found)
    return str(found)


def _check_text(path: str) -> None:
    # A mirror is known by its path, under a seal and in a table: there that is text.
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if shown != path:
        raise _unusable(shown, "its name is not UTF-8", "rename it; migrate takes it as it is")


def _check_home(path: Path) -> None:
    # OpenClaw since 2026.7.2 imports a session file that reappears in its home,
    # and moves it away (openclaw doctor).
    if (
        path.parent.name == "sessions"
        and (path.parent.parent / "agent" / "openclaw-agent.sqlite").exists()
    ):
        raise MirrorError(
            f"{path.parent} belongs to an OpenClaw that keeps its sessions in SQLite: it would swallow the file",
            hint="mirror to another directory",
            code="mirror-home",
        )

"""A mirror's file on disk: opened safely, appended to on one inode, never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journal.errors import MirrorError
from journal.reconcile import Found

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 1024 * 1024
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class MirrorFile:
    """One open mirror file.

    It is opened by its directory, so that no link swapped in on the way is
    followed, and kept open, so that lines always go to the inode that was
    checked.
    """

    def __init__(self, path: str, *, create: bool = False, mode: int = 0o600) -> None:
        self.path = path
        directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120
        try:
            flags = _FLAGS | (os.O_CREAT if create else 0)
            self.descriptor = os.open(os.path.basename(path), flags, mode, dir_fd=directory)  # noqa: PTH119
        except OSError as error:
            raise _unusable(path, error.strerror or str(error)) from error
        finally:
            os.close(directory)
        try:
            _check(path, self.status())
        except BaseException:
            self.close()
            raise

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

    @property
    def is_here(self) -> bool:
        """Whether the path still names this very file."""
        try:
            return str(Path(f"/proc/self/fd/{self.descriptor}").readlink()) == self.path
        except OSError:
            mine, there = self.status(), _lstat(self.path)
            return there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def append(self, data: bytes) -> None:
        """Write at the end of the file, whoever else writes there too."""
        at = 0
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

    def sync(self) -> None:
        """Make the file's bytes survive a power cut."""
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, "is not a regular file")
    if status.st_nlink > 1:
        raise _unusable(path, f"has {status.st_nlink} links")


def _unusable(path: str, why: str) -> MirrorError:
    return MirrorError(
        f"the mirror {path} cannot be used: {why}",
        hint="journal mirror status",
        code="mirror-unusable",
    )


def real_path(path: str | os.PathLike[str]) -> str:
    """Return the one name of a mirror: its directory resolved, its own name as given.

    Raises:
        MirrorError: no such directory, a link or a directory in the file's
            place, or a home that would swallow the file.

    """
    given = Path(path).absolute()
    try:
        parent = given.parent.resolve(strict=True)
    except OSError as error:
        raise _unusable(str(given), f"its directory is not there ({error.strerror})") from error
    if given.name in ("", "..", "."):
        raise _unusable(str(given), "it names no file")
    found = parent / given.name
    status = _lstat(str(found))
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise _unusable(str(found), "a link, directory or device is in its place")
    _check_home(found)
    return str(found)


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


def lines_of(chunks: Iterator[bytes], offset: int) -> Iterator[Found]:
    """Yield each line of a file's bytes with its offset; the last may lack its line end."""
    pending: list[bytes] = []
    size = 0
    for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        pending.append(first)
        size += len(first)
        for piece in rest:
            data = b"".join(pending)
            yield _ended(offset, data)
            offset += len(data) + 1
            pending, size = [piece], len(piece)
    if size:
        yield Found(offset, b"".join(pending), b"")


def _ended(offset: int, data: bytes) -> Found:
    if data.endswith(b"\r"):
        return Found(offset, data[:-1], b"\r\n")
    return Found(offset, data, b"\n")

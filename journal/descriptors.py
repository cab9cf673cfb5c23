"""What is done to open files by another call on each system: made durable, opened anew.

On macOS ``fsync`` gives the bytes to the drive, which may keep them in its cache and write them
in another order; only ``F_FULLFSYNC`` has them on the medium (fsync(2) there). It has no
``fdatasync``, and no ``/proc/self/fd``: what is opened anew is opened by its path, and compared.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from journal.darwin import IS_DARWIN

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_F_FULLFSYNC: Final = 51
# Where a file system knows no such sync it says so by one of these; what else it says is a failure.
_UNKNOWN: Final = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)

# Flags of open(2), 0 where a system has them not: Windows lacks most of them.
NO_LINK: Final[int] = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0)
CLOSE_ON_EXEC: Final[int] = getattr(os, "O_CLOEXEC", 0)
DIRECTORY: Final[int] = getattr(os, "O_DIRECTORY", 0)
# No link anywhere in a path, which only macOS can be told.
NO_LINK_AT_ALL: Final[int] = getattr(os, "O_NOFOLLOW_ANY", 0)


def _synced(descriptor: int) -> None:
    os.fsync(descriptor)


def _data_synced(descriptor: int) -> None:
    os.fdatasync(descriptor)


def _fully_synced(descriptor: int) -> None:
    try:
        fcntl.fcntl(descriptor, _F_FULLFSYNC)
    except OSError as error:
        # Never after a sync that failed: the next one may well say that all is kept.
        if error.errno not in _UNKNOWN:
            raise
        os.fsync(descriptor)


sync = _fully_synced if IS_DARWIN else _synced
"""Make a file, or the names in a directory, survive power loss."""
sync_data = _fully_synced if IS_DARWIN else _data_synced
"""Make a file's bytes survive power loss; its times may be lost."""


def opened_again(descriptor: int, path: str, flags: int) -> int:
    """Open anew, with other flags and a description of its own, the file that a descriptor has open.

    Raises:
        OSError: it cannot be opened; ``ESTALE`` where its path leads to another file by now.

    """
    if not IS_DARWIN:
        return os.open(f"/proc/self/fd/{descriptor}", flags | CLOSE_ON_EXEC)
    again = os.open(path, flags | NO_LINK | CLOSE_ON_EXEC)
    if os.path.samestat(os.fstat(again), os.fstat(descriptor)):
        return again
    os.close(again)
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

"""Whether a path is a safe place for a database, told without opening the file."""

from __future__ import annotations

import os
import stat
from errno import EACCES, EDQUOT, ELOOP, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS
from pathlib import Path
from shlex import quote
from typing import Final, NamedTuple

from journal import darwin
from journal.darwin import IS_DARWIN
from journal.errors import FullError, NotFoundError, ReadOnlyError, StorageError, UnsafeSQLite

# File systems on which SQLite's locks or its shared memory do not hold.
UNSAFE_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "fuse.sshfs", "drvfs", "afs", "ceph"}
    | {"afpfs", "webdav"}  # macOS: nfs and smbfs stand above
)
# What stands beside a journal's file: SQLite's log and its index, then ours.
SIDE_FILES: Final = ("-wal", "-shm", "-mirrors", "-ticket")
_LEAST_PAGE: Final = 512  # a database is whole pages, each a multiple of this
_LOCAL_HINT: Final = "keep the journal on a local disk, and a mirror where others need the file"


class Mount(NamedTuple):
    """One line of the mount table."""

    device: str
    point: str
    file_system: str


def files_of(path: str) -> tuple[str, ...]:
    """Return the names of all files that a journal, or another database of SQLite, may have."""
    return tuple(f"{path}{end}" for end in ("", *SIDE_FILES, "-journal"))


def check_place(path: Path) -> None:
    """Refuse a place where a journal would lose data.

    Raises:
        NotFoundError: its directory does not exist.
        StorageError: it is a directory, a device, a link or the like, or belongs to another
            database.
        UnsafeSQLite: a hard link, a bind-mounted file, or a network file system.

    """
    parent = status_of(path.parent)
    if parent is None or not stat.S_ISDIR(parent.st_mode):
        raise NotFoundError(
            f"{path.parent} is no directory", hint=f"mkdir -p {quote(str(path.parent))}"
        )
    status = status_of(path, is_followed=False)
    if status is not None:
        check_file(path, status)
    _check_name(path)
    _check_mount(path)


def real(path: Path) -> Path:
    """Return a path by its directory's own place, whatever links lead there; what stands there may be one."""
    # Not Path.resolve(): where links lead in a ring it makes a RuntimeError.
    return Path(os.path.realpath(path.parent), path.name)


def status_of(path: Path, *, is_followed: bool = True) -> os.stat_result | None:
    """Return what the system says of a path, or of the link that stands there; None where nothing does.

    Raises:
        StorageError: the system does not say: nobody may look there, or there can be no such name.

    """
    try:
        return path.stat(follow_symlinks=is_followed)
    except ValueError:  # of a name with a NUL in it
        return None
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR, ELOOP):
            return None
        raise StorageError(
            f"{path}: {error.strerror}", hint="name another file with --db"
        ) from error


def check_file(path: Path, status: os.stat_result) -> None:
    """Refuse what is no file with one name.

    Raises:
        StorageError: it is a directory, a device or the like.
        UnsafeSQLite: a symbolic link, or one of several hard links.

    """
    if stat.S_ISLNK(status.st_mode):
        raise UnsafeSQLite(
            f"{path} is a symbolic link: two names would mean two write-ahead logs",
            # Not Path.resolve(): of a link to itself it makes a RuntimeError.
            hint=f"name the file itself: {os.path.realpath(path)}",
        )
    if not stat.S_ISREG(status.st_mode):
        raise no_file(path)
    if status.st_nlink > 1:
        raise UnsafeSQLite(
            f"{path} has {status.st_nlink} hard links: two names would mean two write-ahead logs",
            hint="remove the other names, or copy it with VACUUM INTO",
        )


def no_file(path: Path) -> StorageError:
    """Return the refusal of what no database can be: a directory, a pipe, a device."""
    if path.is_dir():
        hint = f"name a file in it: --db {quote(str(path / 'journal.db'))}"
        return StorageError(f"{path} is a directory", hint=hint)
    return StorageError(f"{path} is not a regular file", hint="name another file with --db")


def unusable(path: str, error: OSError) -> StorageError:
    """Return the refusal of one of the journal's files that the system does not let be opened."""
    what = f"{path} cannot be opened ({error.strerror})"
    if error.errno in (EACCES, EPERM, EROFS):
        return ReadOnlyError(what, hint="check the owner and mode of the file and its directory")
    if error.errno in (ENOSPC, EDQUOT):
        return FullError(what, hint="free some space and try again")
    return StorageError(what, hint="journal doctor")


def _check_name(path: Path) -> None:
    """Refuse a name that another database's file has, or SQLite would take for one of its own."""
    for end in (*SIDE_FILES, "-journal"):
        if path.name.endswith(end) and path.name != end:
            whose = path.with_name(path.name.removesuffix(end))
            if _may_be_a_database(whose):
                raise StorageError(
                    f"{path} belongs to {whose}",
                    hint=f"name that one, or another: {whose}",
                    code="own-file",
                )


def _may_be_a_database(path: Path) -> bool:
    """Whether a file is as large as a database may be; it is never opened, which would end SQLite's locks on it."""
    status = status_of(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return False
    return status.st_size > 0 and status.st_size % _LEAST_PAGE == 0


def _check_mount(path: Path) -> None:
    # A link may lead to another file system, and ".." out of one.
    where = real(path)
    mount = mount_of(where)
    if mount is None:
        return
    if mount.file_system in UNSAFE_FILE_SYSTEMS:
        raise UnsafeSQLite(
            f"{path} is on {mount.file_system}, where locks do not hold", hint=_LOCAL_HINT
        )
    if mount.point == str(where):
        raise UnsafeSQLite(
            f"{path} is a bind mount of a single file: its -wal would be elsewhere",
            hint="mount the directory instead",
        )


def mount_of(path: Path) -> Mount | None:
    """Return the mount a path is on; None where the system does not say."""
    if IS_DARWIN:
        found = darwin.mounted(str(path.parent))
        return None if found is None else Mount(*found)
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    mounts = [mount for line in lines if (mount := _parsed(line)) is not None]
    around = [mount for mount in mounts if _is_below(str(path), mount.point)]
    # Of two mounts on one point the later covers the earlier.
    return max(reversed(around), key=lambda mount: len(mount.point), default=None)


def _parsed(line: str) -> Mount | None:
    before, _, after = line.partition(" - ")
    fields, kind = before.split(" "), after.split(" ")
    if len(fields) < 5 or not after:  # noqa: PLR2004 - proc(5): the mount point is the fifth
        return None
    return Mount(fields[2], _unescaped(fields[4]), kind[0])


def _unescaped(text: str) -> str:
    for octal, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, plain)
    return text


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")

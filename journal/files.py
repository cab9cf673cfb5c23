"""Writes new files: whole or not at all, and never over what is there."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from errno import ENOSYS, ENOTSUP, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING, BinaryIO, Final

from journal.descriptors import NO_LINK, sync
from journal.errors import StorageError
from journal.place import files_of, real

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


# Of a file system such as a memory stick's (FAT). The second is link(2)'s word for it on macOS, where
# the third is another number.
_NO_LINKS: Final = (EPERM, ENOTSUP, EOPNOTSUPP, ENOSYS)
_DRAFT_LIMIT: Final = 200  # bytes: a dot and a number are added, and 255 are the most there can be


def refuse_journals_own(target: Path, journal: Path, *, force: bool) -> None:
    """Refuse a file that is the journal's own, a directory, or there already.

    Raises:
        StorageError: it is.

    """
    if is_journals_own(target, journal):
        # Opening any of the journal's files from here would drop SQLite's locks.
        raise StorageError(
            f"{target} belongs to the journal", hint="name another FILE", code="own-file"
        )
    if target.is_dir():
        raise StorageError(f"{target} is a directory", hint="name a FILE", code="is-a-directory")
    if not force and os.path.lexists(target):
        raise is_there(target)


def is_journals_own(target: Path, journal: Path) -> bool:
    """Whether a file is one of a journal's, by its name or under any other; neither is opened."""
    place, name = str(real(journal)), str(real(target))
    own = (*files_of(place), *files_of(os.path.realpath(place)))
    return name in own or any(_is_one(name, each) for each in own)


def _is_one(one: str, other: str) -> bool:
    # A name in other letters is the same file on macOS.
    try:
        return os.path.samestat(os.stat(one), os.stat(other))  # noqa: PTH116 - as text, and by path
    except OSError:
        return False


def is_there(target: Path, hint: str = "--force to replace it, or another FILE") -> StorageError:
    """Return the error for a file that would have to be replaced."""
    return StorageError(
        f"{target} is there already; it was left as it is",
        hint=hint,
        code="file-exists",
    )


def write_new(target: Path, chunks: Iterable[bytes], *, force: bool) -> str:
    """Write a draft beside the target, then put it in place, whole; return its SHA-256."""
    digest = hashlib.sha256()
    with drafted(target, force=force) as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


@contextmanager
def drafted(target: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Give a draft beside the target to write to; put it in place, synced, when the block is left well.

    Raises:
        StorageError: the target was there, and is not to be replaced.

    """
    draft = target.with_name(f".{_draft_name(target.name)}.{secrets.token_hex(8)}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK
    try:
        descriptor = os.open(draft, flags, 0o600)
    except OSError as error:
        error.filename = os.fspath(target)  # nobody has heard of the draft
        raise
    try:
        with os.fdopen(descriptor, "w+b") as out:
            yield out
            out.flush()
            sync(out.fileno())
        put_in_place(draft, target, force=force)
    finally:
        draft.unlink(missing_ok=True)


def _draft_name(name: str) -> str:
    """Return what a draft is called: its file's name, or a digest of one so long that no more would fit."""
    octets = os.fsencode(name)
    return name if len(octets) <= _DRAFT_LIMIT else hashlib.sha256(octets).hexdigest()


def put_in_place(draft: Path, target: Path, *, force: bool) -> None:
    """Give a finished file its name; without ``force`` never that of a file that is there.

    Raises:
        StorageError: the name was taken meanwhile.

    """
    if force:
        draft.replace(target)
    else:
        try:
            _put_where_none_is(draft, target)
        except FileExistsError:
            raise is_there(target) from None
    sync_directory(target.parent)


def _put_where_none_is(draft: Path, target: Path) -> None:
    try:
        os.link(draft, target)  # unlike a rename, it never replaces what came in between
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # The name is taken first, by an empty file of ours, and that is what the rename replaces.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            draft.replace(target)
        except BaseException:
            target.unlink()
            raise


def forget_drafts(path: Path) -> None:
    """Take from a file the names of its drafts: whoever put it in place died before he could.

    A file of two names is refused wherever one name matters. Whoever is only just doing
    it does not miss the name.
    """
    with suppress(OSError):
        status = path.lstat()
        if status.st_nlink < 2 or not stat.S_ISREG(status.st_mode):  # noqa: PLR2004 - its own and another
            return
        name = re.escape(path.name)
        draft = re.escape(_draft_name(path.name))
        pattern = re.compile(rf"\.{draft}\.[0-9a-f]{{16}}|{name}\.before-restore-[0-9a-f]{{8}}")
        with os.scandir(path.parent) as found:
            drafts = [
                each.path
                for each in found
                if pattern.fullmatch(each.name) and each.inode() == status.st_ino
            ]
        for draft in drafts:
            os.unlink(draft)  # noqa: PTH108 - as the directory has it
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names in a directory survive power loss."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)

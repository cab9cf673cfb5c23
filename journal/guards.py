"""Keeps other hands in this process off a journal's live files.

POSIX drops *all* of a process's locks on a file as soon as *any* descriptor of
it is closed: a copy made with ``shutil``, a hash, a look at the header, a second
SQLite library. Nothing fails then; two processes write at once, and the database
is damaged minutes later (https://sqlite.org/howtocorrupt.html, section 2.2). So
opens of the live files by Python code are refused, and what had them open before
is seen at the door.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from journal.errors import UnsafeSQLite

if TYPE_CHECKING:
    from collections.abc import Iterator

CAN_LOOK: Final = sys.platform == "linux"
_FILE_URI: Final = "file:"

Identity = tuple[int, int]  # device and inode

# Held while a connection is opened, and while a descriptor of a live file is closed: one
# that was opened in between would lose its locks by that.
door = threading.RLock()
_known: dict[Identity, set[int]] = {}  # descriptors of ours and of our SQLite library
_live: dict[Identity, str] = {}
_own_hands: set[int] = set()  # threads that may


class _Hook:
    """Whether the audit hook is in place; it can never be taken out again."""

    is_set = False
    driver = ""


def identity_of(status: os.stat_result) -> Identity:
    """Return what a file is, whatever its name."""
    return status.st_dev, status.st_ino


def descriptors_of(identity: Identity) -> set[int]:
    """Return the numbers under which this process has a file open."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        with suppress(OSError):  # one that was closed meanwhile
            if identity_of(os.fstat(int(name))) == identity:
                found.add(int(name))
    return found


@contextmanager
def opening(path: str) -> Iterator[None]:
    """Open a database inside this block, by the one SQLite library of this process.

    Raises:
        UnsafeSQLite: something else in this process has it open already, and would
            drop our locks when it closes it.

    """
    with door:
        if CAN_LOOK:
            _refuse_strangers(path)
        try:
            yield
        finally:
            if CAN_LOOK:
                _note(path)


def _refuse_strangers(path: str) -> None:
    try:
        identity = identity_of(os.stat(path))  # noqa: PTH116 - by path, never by opening it
    except (OSError, ValueError):
        return
    strangers = descriptors_of(identity) - _known.get(identity, set())
    if strangers:
        raise UnsafeSQLite(
            f"something else in this process has {path} open: "
            "when it closes it, SQLite's locks on the journal are gone",
            hint="close it first, or open the journal in a process of its own",
            code="open-elsewhere",
        )


def _note(path: str) -> None:
    with suppress(OSError, ValueError):
        identity = identity_of(os.stat(path))  # noqa: PTH116
        _known[identity] = descriptors_of(identity)


def guard(path: str, identity: Identity, driver: str) -> None:
    """Refuse, from now on, that Python code in this process opens this file."""
    _live[identity] = path
    _Hook.driver = driver
    if not _Hook.is_set:
        _Hook.is_set = True
        sys.addaudithook(_refuse_opens)


def know(identity: Identity, descriptor: int) -> None:
    """Take a descriptor for one of ours."""
    _known.setdefault(identity, set()).add(descriptor)


def unguard(identity: Identity) -> None:
    """Let the file be opened again: SQLite has no locks on it any more."""
    _live.pop(identity, None)
    _known.pop(identity, None)


@contextmanager
def own_hand() -> Iterator[None]:
    """Open a live file inside this block, by one who never closes it while it is live."""
    _own_hands.add(threading.get_ident())
    try:
        yield
    finally:
        _own_hands.discard(threading.get_ident())


def forget_all() -> None:
    """In a forked child, which holds none of its parent's locks, though it has its descriptors."""
    global door  # noqa: PLW0603 - whoever is at it in the parent is no thread of the child, and never leaves
    door = threading.RLock()
    _live.clear()
    _own_hands.clear()


def _refuse_opens(event: str, arguments: tuple[object, ...]) -> None:
    """Be asked about every audited event of the process (PEP 578): be quick."""
    if event != "open" and event != "sqlite3.connect":  # noqa: PLR1714 - a third of the time of `in`
        return
    if not _live or threading.get_ident() in _own_hands:
        return
    path = arguments[0]
    if event == "sqlite3.connect":
        if _Hook.driver == "sqlite3":
            return  # the very library the journal uses
        path = _without_uri(path)
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    try:
        found = _live.get(identity_of(os.stat(path)))  # noqa: PTH116
    except (OSError, ValueError):
        return
    if found is not None:
        raise UnsafeSQLite(
            f"{found} is a live journal of this process: "
            "whoever opens it and closes it again drops SQLite's locks on it",
            hint="read it through the journal, or from another process",
            code="live-file",
        )


def _without_uri(path: object) -> object:
    if isinstance(path, str) and path.startswith(_FILE_URI):
        return path.removeprefix(_FILE_URI).partition("?")[0]
    return path

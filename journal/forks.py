"""What becomes of open journals when a process forks, and of connections that must never be closed."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, Final, Protocol

from journal.errors import LockLost
from journal.guards import Identity, forget_all, identity_of


class Inherited(Protocol):
    """Something open that a forked child may not use."""

    identity: Identity

    def abandon(self) -> None:
        """In the child: let go of it without touching it."""


open_here: Final[set[Inherited]] = set()
_never_closed: Final[list[object]] = []
_inherited: Final[set[Identity]] = set()  # files that were open when this process was forked


def keep(raw: Any, *more: object) -> None:  # noqa: ANN401 - SQLAlchemy's proxied connection
    """Never close a connection, not even when the interpreter ends: closing writes."""
    if raw is not None:
        import ctypes  # noqa: PLC0415 - needed where all else has failed

        _never_closed.append((raw, *more))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(raw.driver_connection))


def _abandon_all() -> None:
    forget_all()
    with ExitStack() as letting_go:  # of all of them, even if one of them cannot
        for each in list(open_here):
            _inherited.add(each.identity)
            letting_go.callback(each.abandon)
        open_here.clear()


def check_not_inherited(path: str) -> Identity:
    """Refuse a file that this process's parent had open when it forked.

    SQLite keeps one table of locks for each file and process; a child inherits
    the table, but not the locks. It would take none, and the parent's close
    would fold in and delete the log the child still writes to.
    """
    identity = identity_of(os.stat(path))  # noqa: PTH116 - by path, never by opening it
    if identity in _inherited:
        raise forked(f"{path} was open in the process that this one was forked from")
    return identity


def forked(said: str) -> LockLost:
    """Return the error of a child that uses what its parent has open."""
    hint = "fork before the journal is opened, or start the child as a new program"
    return LockLost(said, hint=hint, code="forked")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)

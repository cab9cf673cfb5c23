"""What a disk may hold after a power cut: a log of calls played again, with what was never synced left to chance.

A model, and a harsh one. Of a file's bytes only what was synced is sure: of the rest any
sectors may be there, in the old state or in any later one, and the file may have any size
it had. Names come and go in order, as a file system's own log has them, and any number of
the last may be missing that no sync of a directory covers; a file that was synced has the
name it was made with.
"""

from __future__ import annotations

import os
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

_NOTED: Final = Struct("=IIIIQQ")
_UNITS: Final = (512, 4096)
_OWN: Final = 0o600


class Call(NamedTuple):
    """One call as the shim notes it: w(rite), s(ync), t(runcate), u(nlink), n(ew name), l(ink)."""

    kind: str
    path: str
    other: str
    offset: int
    data: bytes


def calls_of(log: bytes) -> Iterator[Call]:
    """Yield the calls of a log."""
    at = 0
    while at < len(log):
        kind, first, second, _, offset, size = _NOTED.unpack_from(log, at)
        at += _NOTED.size
        path, at = log[at : at + first].decode(), at + first
        other, at = log[at : at + second].decode(), at + second
        data, at = log[at : at + size], at + size
        yield Call(chr(kind), path, other, offset, data)


class _File:
    """A file's bytes: what is sure, and each state since.

    Cuts are no states but steps between them, for they are the file system's own: done or
    not, and never in pieces.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.steps: list[list[bytes]] = [[content]]
        self.made_at = 0

    @property
    def content(self) -> bytes:
        return self.steps[-1][-1]

    def write(self, offset: int, data: bytes) -> None:
        old = self.content.ljust(offset, b"\0")
        self.steps[-1].append(old[:offset] + data + old[offset + len(data) :])

    def cut(self, size: int) -> None:
        self.steps.append([self.content[:size].ljust(size, b"\0")])

    def sync(self) -> None:
        self.steps = [[self.content]]

    def after_a_cut(self, chance: Random) -> bytes:
        """Return bytes that may be there."""
        done = self.steps[: chance.randint(1, len(self.steps))]
        how = chance.choice(("first", "last", "some", "pieces", "pieces"))
        if how == "first":
            return done[-1][0]
        if how == "last":
            return done[-1][-1]
        states = done[-1][: chance.randint(1, len(done[-1]))]
        if how == "some":
            return states[-1]
        size, unit = len(chance.choice(states)), chance.choice(_UNITS)
        # What was written before a cut may not be there either.
        before = [state[: len(states[0])] for step in done[:-1] for state in step]
        any_of = [*before, *states]
        pieces = (
            chance.choice(any_of)[at : at + unit].ljust(unit, b"\0") for at in range(0, size, unit)
        )
        return b"".join(pieces)[:size]


class Disk:
    """A directory's files as calls change them, and what of it a power cut may leave."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._modes: dict[str, int] = {}
        self._names: dict[str, _File] = {}
        # What changed the names, in order: so many of it is sure.
        self._changes: list[tuple[str | None, str | None, _File]] = []
        self._sure = 0
        for path in directory.rglob("*"):
            if path.is_file():
                name = str(path)
                self._modes[name] = path.stat().st_mode & 0o777
                self._names[name] = _File(path.read_bytes())
        self._first = dict(self._names)

    def do(self, call: Call) -> None:
        """Play one call."""
        if call.kind in "unl":
            self._rename(call)
        elif Path(call.path).is_dir():
            self._sure = len(self._changes)  # all names: of this directory, and those before
        elif not call.path.endswith((" (deleted)", "-shm")):
            self._change(call)

    def settle(self) -> None:
        """Have all that was done so far on the disk, as it is when nobody writes for a while."""
        for file in self._names.values():
            file.sync()
        self._sure = len(self._changes)

    def _change(self, call: Call) -> None:
        file = self._names.get(call.path) or self._make(call.path)
        if call.kind == "w":
            file.write(call.offset, call.data)
        elif call.kind == "t":
            file.cut(call.offset)
        else:
            file.sync()
            self._sure = max(self._sure, file.made_at)

    def _make(self, name: str) -> _File:
        file = _File()
        self._note(None, name, file)
        file.made_at = len(self._changes)
        return file

    def _rename(self, call: Call) -> None:
        file = self._names.get(call.path) or self._make(call.path)  # nobody may have written to it
        gone = None if call.kind == "l" else call.path
        self._note(gone, None if call.kind == "u" else call.other, file)

    def _note(self, gone: str | None, name: str | None, file: _File) -> None:
        change = (gone, name, file)
        _renamed(self._names, *change)
        self._changes.append(change)

    def after_a_cut(self, chance: Random) -> list[tuple[list[str], bytes]]:
        """Return files that may be there: the names and the bytes of each."""
        names = dict(self._first)
        for change in self._changes[: chance.randint(self._sure, len(self._changes))]:
            _renamed(names, *change)
        files: dict[int, tuple[list[str], bytes]] = {}
        for name, file in names.items():
            if id(file) not in files:
                files[id(file)] = ([], file.after_a_cut(chance))
            files[id(file)][0].append(name)
        return list(files.values())

    def put(self, files: list[tuple[list[str], bytes]]) -> None:
        """Have these files, and no others, in the directory."""
        for path in self._root.rglob("*"):
            if path.is_file():
                path.unlink()
        for names, content in files:
            first, *others = [Path(name) for name in names]
            first.parent.mkdir(parents=True, exist_ok=True)
            first.write_bytes(content)
            first.chmod(self._modes.get(str(first), _OWN))
            for other in others:
                os.link(first, other)


def _renamed(names: dict[str, _File], gone: str | None, name: str | None, file: _File) -> None:
    if gone is not None:
        names.pop(gone, None)
    if name is not None:
        names[name] = file

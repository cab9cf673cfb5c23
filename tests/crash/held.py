"""What a directory holds, taken down and put there again: bytes, modes, times, and names of one file."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple


class File(NamedTuple):
    """A file and all the names it has there."""

    names: tuple[str, ...]
    mode: int
    modified_ns: int
    data: bytes


class Held(NamedTuple):
    """A directory's files, and the directories in it."""

    files: tuple[File, ...]
    directories: tuple[str, ...]

    def lasting(self) -> Held:
        """Return it without SQLite's index of its log, which the next process makes anew."""
        kept = tuple(file for file in self.files if not file.names[0].endswith("-shm"))
        return self._replace(files=kept)


def held(place: Path) -> Held:
    """Take down what is there. Nobody may have a journal there open in this process."""
    names: dict[int, list[str]] = {}
    directories = []
    for where, below, files in os.walk(place):
        directories += [os.path.relpath(Path(where, name), place) for name in sorted(below)]
        for name in sorted(files):
            path = Path(where, name)
            names.setdefault(path.lstat().st_ino, []).append(os.path.relpath(path, place))
    return Held(tuple(_file(place, each) for each in names.values()), tuple(directories))


def _file(place: Path, names: list[str]) -> File:
    path = place / names[0]
    status = path.lstat()
    assert stat.S_ISREG(status.st_mode), path
    return File(tuple(names), status.st_mode & 0o7777, status.st_mtime_ns, path.read_bytes())


def put(place: Path, what: Held) -> None:
    """Have this there, and nothing else."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in what.directories:
        (place / name).mkdir()
    for names, mode, modified_ns, data in what.files:
        path = place / names[0]
        path.write_bytes(data)
        path.chmod(mode)
        os.utime(path, ns=(modified_ns, modified_ns))
        for other in names[1:]:
            (place / other).hardlink_to(path)

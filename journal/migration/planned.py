"""What a plan says: values only, nothing read and nothing decided."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from journal.formats.shape import base_name
from journal.migration import naming
from journal.migration.receipts import path_text

if TYPE_CHECKING:
    from journal.formats import FileClass
    from journal.migration.discovery import SetAside


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that would be migrated, and what is in it now.

    ``key`` is the session it would become in a journal that holds none of these
    files yet. ``header_id`` is the session id in its header, if it has one;
    ``aliases`` are the keys by which an index names the file, and ``indexed`` what it
    says of each, as JSON.
    """

    path: str
    format: str
    file_class: FileClass
    bytes: int
    lines: int
    raw_lines: int
    sha256: str
    header_id: str | None
    stem: str
    key: str = ""
    aliases: tuple[str, ...] = ()
    duplicate_of: str | None = None
    indexed: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The file's name, without its directory."""
        return base_name(self.path)

    @property
    def base(self) -> str:
        """The session's identity: the header's id, else the file's stem."""
        return self.header_id or self.stem or self.name

    @property
    def names_differ(self) -> bool:
        """Whether the file is named after another session than its header tells."""
        return self.header_id is not None and self.header_id != self.stem

    def as_json(self) -> dict[str, Any]:
        """Return the file as a JSON-able object."""
        return {
            "path": path_text(self.path),
            "session": self.key,
            "aliases": list(self.aliases),
            "format": self.format,
            "class": self.file_class,
            "bytes": self.bytes,
            "lines": self.lines,
            "raw_lines": self.raw_lines,
            "sha256": self.sha256,
            "duplicate_of": self.duplicate_of and path_text(self.duplicate_of),
        }


class Left(NamedTuple):
    """A file that belongs to a store and holds no session: an index, a lock, a diagnosis."""

    path: str
    file_class: FileClass


class Absent(NamedTuple):
    """An index's entry whose file is not there: the index, the key, and the file's name."""

    path: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What :func:`~journal.migration.apply` would do.

    Attributes:
        sources: the paths that were asked for.
        files: what would be migrated, in this order.
        left: files of the stores that hold no session; they stay where they are.
        ignored: how many files were of no interest, by name.
        set_aside: what could not be read or is not supported, with reasons.
        absent: index entries that name a file which is not there. The index is
            advisory, so nothing is lost by it.
        format: the format that was forced, or None.

    """

    sources: tuple[str, ...]
    files: tuple[PlannedFile, ...]
    left: tuple[Left, ...] = ()
    ignored: int = 0
    set_aside: tuple[SetAside, ...] = ()
    absent: tuple[Absent, ...] = ()
    format: str | None = None

    @property
    def bytes(self) -> int:
        """All bytes that would be read."""
        return sum(each.bytes for each in self.files)

    @property
    def lines(self) -> int:
        """All physical lines."""
        return sum(each.lines for each in self.files)

    @property
    def raw_lines(self) -> int:
        """The lines that are no JSON; they are kept like any other."""
        return sum(each.raw_lines for each in self.files)

    @property
    def sessions(self) -> int:
        """How many sessions the files become."""
        return len({each.key for each in self.files})

    @property
    def duplicates(self) -> tuple[PlannedFile, ...]:
        """Files whose bytes and header another file has too."""
        return tuple(each for each in self.files if each.duplicate_of is not None)

    @property
    def conflicts(self) -> tuple[PlannedFile, ...]:
        """Files that become sessions of their own, for another file with other bytes has their name."""
        return tuple(each for each in self.files if each.key != naming.clean(each.base))

    @property
    def classes(self) -> dict[str, int]:
        """How many files there are of each class."""
        seen = [each.file_class for each in self.files] + [each.file_class for each in self.left]
        return dict(Counter(seen) + Counter(ignored=self.ignored))

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a JSON-able object."""
        return {
            "sources": [path_text(each) for each in self.sources],
            "format": self.format,
            "counts": {
                "files": len(self.files),
                "sessions": self.sessions,
                "bytes": self.bytes,
                "lines": self.lines,
                "raw_lines": self.raw_lines,
                "duplicates": len(self.duplicates),
                "conflicts": len(self.conflicts),
                "set_aside": len(self.set_aside),
            },
            "classes": self.classes,
            "files": [each.as_json() for each in self.files],
            "left": [{"path": path_text(path), "class": found} for path, found in self.left],
            "set_aside": [aside_json(each) for each in self.set_aside],
            "absent": [
                {"index": path_text(each.path), "alias": each.key, "name": each.name}
                for each in self.absent
            ],
        }


def aside_json(each: SetAside) -> dict[str, str]:
    """Return a file set aside as a JSON-able object."""
    return {"path": path_text(each.path), "code": each.code, "reason": each.reason}

"""Find the files below some paths, follow nothing, and open only what may hold lines."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.formats import detect
from journal.formats.shape import base_name
from journal.migration.packed import inner
from journal.migration.source import UnfitError, unfit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.formats import FileClass, Format


class SetAside(NamedTuple):
    """A file that was not migrated, and why: a slug for programs, a reason for people."""

    path: str
    code: str
    reason: str


class Found(NamedTuple):
    """A file or other non-directory below a path; ``named`` if the caller named it itself."""

    path: str
    named: bool


# What other programs keep, by the place where they keep it: recognised, not supported.
_UNSUPPORTED: Final = (
    (r"/agents/[^/]+/agent/openclaw-agent\.sqlite$", "OpenClaw's SQLite store: not supported yet"),
    (r"/opencode/(storage/.+\.json|opencode\.db)$", "OpenCode's store: not supported"),
    (r"/chats/session-[^/]+\.json$", "one rewritten JSON document (Gemini CLI): not supported"),
    (r"\.(jsonl|ndjson)[^/]*\.gz$", "compressed (gzip): not supported; unpack it first"),
)
NO_TEXT: Final = "its name is not UTF-8"
_LINES: Final = re.compile(r"\.(?:jsonl|ndjson)(?:\.|$)", re.IGNORECASE)
_MAGIC: Final = (
    (b"SQLite format 3\0", "a SQLite database, no file of lines"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd): it is read where its name ends in .zst"),
    (b"\x1f\x8b", "compressed (gzip): not supported; unpack it first"),
)


def walk(
    paths: Iterable[str | os.PathLike[str]], *, named_by_text: bool = False
) -> Iterator[Found | SetAside]:
    """Yield what lies below the paths, each file once, in the order of its name.

    Nothing is opened. A symlink is yielded, never followed, so there are no
    loops; a directory that cannot be listed is set aside, and the rest goes on; so is,
    where ``named_by_text``, one whose name is not UTF-8.
    """
    seen: set[str] = set()
    for given in paths:
        for found in _below(absolute(given), named_by_text=named_by_text):
            if found.path not in seen:
                seen.add(found.path)
                yield found


def absolute(given: str | os.PathLike[str]) -> str:
    """Return the path with its directory resolved, so that one file has one path."""
    path = os.path.abspath(os.fspath(given))  # noqa: PTH100 - pathlib would drop a surrogate's bytes
    parent, name = os.path.split(path)
    return os.path.join(os.path.realpath(parent), name)  # noqa: PTH118 - as above


def _below(root: str, *, named_by_text: bool) -> Iterator[Found | SetAside]:
    if os.path.islink(root) or not os.path.isdir(root):  # noqa: PTH112, PTH114 - text in, text out
        yield Found(root, named=True)
        return
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        if named_by_text and not is_text_path(directory):
            yield SetAside(directory, "no-text", NO_TEXT)
            continue
        try:
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield set_aside(directory, unfit(error))
            continue
        yield from (Found(each.path, named=False) for each in entries if not _is_directory(each))
        waiting += [each.path for each in reversed(entries) if _is_directory(each)]


def is_text_path(path: str) -> bool:
    """Whether a path is text, as names of files need not be."""
    return os.fsencode(path).decode("utf-8", "backslashreplace") == path


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False  # it went away; opening it will say so


def set_aside(path: str, error: UnfitError) -> SetAside:
    """Return the record of a file set aside."""
    return SetAside(path, error.code, str(error))


def unsupported(path: str) -> str | None:
    """Return why a file of this path is known and still cannot be migrated, or None."""
    shown = path.replace("\\", "/")
    return next((why for pattern, why in _UNSUPPORTED if re.search(pattern, shown)), None)


def class_by_name(path: str, forced: Format | None) -> FileClass | None:
    """Return the class that a name alone decides; None if the content must be seen.

    Whatever cannot hold a session's lines is never opened: beside it may lie a
    live database, and to open and close one is enough to lose its locks.
    """
    name = inner(path)
    chosen = forced or detect(name, ())
    if chosen is not None and (found := chosen.classify(name)) not in ("primary", "archived"):
        return found
    return None if _LINES.search(base_name(path)) else "ignored"


def why_unknown(first_lines: list[bytes]) -> str:
    """Return a reason for setting aside a file of no known format."""
    start = b"\n".join(first_lines)
    for magic, reason in _MAGIC:
        if start.startswith(magic):
            return reason
    return "no session file of a known format: --format plain takes any file of lines"

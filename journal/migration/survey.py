"""Plan a migration: see every file, read it once, and change nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.errors import EntryError
from journal.formats import FORMATS, by_name, detect, openclaw
from journal.migration import naming
from journal.migration.discovery import (
    Found,
    SetAside,
    class_by_name,
    set_aside,
    unsupported,
    walk,
    why_unknown,
)
from journal.migration.packed import inner, is_packed, open_source
from journal.migration.planned import Absent, Left, Plan, PlannedFile
from journal.migration.receipts import path_text
from journal.migration.source import Source, UnfitError, identity_of
from journal.parts import regions
from journal.place import files_of
from journal.regions import raw_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.formats import FileClass, Format

# An index is a list of names; what is longer than this is none.
_INDEX_LIMIT: Final = 64 * 1024 * 1024


class Head(NamedTuple):
    """What a file's name and first lines tell."""

    format: str
    file_class: FileClass
    header_id: str | None
    stem: str


def plan(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word on the command line
    avoid: Iterable[str | os.PathLike[str]] = (),
    named: bool = True,
) -> Plan:
    """Find and read what could be migrated, and say what would become of it.

    Nothing is written anywhere. Originals are opened read-only, regular files
    only; symlinks are never followed. One bad file never stops the rest: it is
    in ``set_aside`` with its reason.

    Args:
        paths: files, or directories to look through.
        format: take every file for this format instead of looking.
        avoid: databases in use, never to be opened; nor the files beside them.
        named: a file among the paths was named by somebody, so that it is set aside if
            it is no session file; else it is passed over.

    Raises:
        EntryError: there is no such format.

    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    forced = _format(format)
    survey = _Survey(forced, databases(avoid))
    for found in walk(given):
        if isinstance(found, Found) and not named:
            survey.look(found._replace(named=False))
        else:
            survey.look(found)
    sources = tuple(os.fspath(each) for each in given)
    return survey.plan(sources)


def _format(name: str | None) -> Format | None:
    if name is None:
        return None
    found = by_name(name)
    if found is None:
        known = ", ".join(each.NAME for each in FORMATS)
        raise EntryError(f"{name!r} is no format", hint=f"one of: {known}", code="no-such-format")
    return found


def databases(paths: Iterable[str | os.PathLike[str]]) -> frozenset[tuple[int, int]]:
    """Return the identities of databases and of the files beside them."""
    found = (identity_of(name) for path in paths for name in files_of(os.fspath(path)))
    return frozenset(each for each in found if each is not None)


class _Survey:
    """What was seen so far."""

    def __init__(self, forced: Format | None, avoid: frozenset[tuple[int, int]]) -> None:
        self._forced = forced
        self._avoid = avoid
        self._files: list[PlannedFile] = []
        self._left: list[Left] = []
        self._ignored = 0
        self._aside: list[SetAside] = []
        self._indexes: dict[str, dict[str, str]] = {}
        self._names: dict[str, set[str]] = {}
        self._entries: dict[str, dict[str, str]] = {}  # of each index, what it says by key

    def look(self, found: Found | SetAside) -> None:
        if isinstance(found, SetAside):
            self._aside.append(found)
            return
        directory, name = os.path.split(found.path)
        self._names.setdefault(directory, set()).add(name)
        try:
            self._sort(found)
        except UnfitError as error:
            self._aside.append(set_aside(found.path, error))

    def _sort(self, found: Found) -> None:
        path = found.path
        why = None if self._forced else unsupported(path)
        if why is not None:
            raise UnfitError("unsupported", why)
        known = class_by_name(path, self._forced)
        if known == "ignored" and not found.named:
            self._ignore(path)
        elif known is None or (known in ("ignored", "diagnostic") and found.named):
            self._read(found)
        else:
            self._left.append(Left(path, known))
            if known == "index":
                self._indexes[path] = self._index(path)

    def _ignore(self, path: str) -> None:
        if os.path.islink(path):  # noqa: PTH114 - text in, text out
            raise UnfitError("symlink", "a symlink: name what it points to")
        self._ignored += 1

    def _read(self, found: Found) -> None:
        with open_source(found.path, self._avoid) as source:
            head = head_of(source, self._forced, named=found.named)
            if head is None:
                self._ignored += 1
                return
            raw_lines = count_raw(source)
            size, lines, digest = source.facts
        self._files.append(
            PlannedFile(
                found.path, head.format, head.file_class, size, lines, raw_lines, digest,
                head.header_id, head.stem,
            )
        )  # fmt: skip

    def _index(self, path: str) -> dict[str, str]:
        with Source(path, self._avoid) as source:
            data = source.read_exactly(_INDEX_LIMIT)
        self._entries[path] = openclaw.entries(data)
        return openclaw.index(data)

    def plan(self, sources: tuple[str, ...]) -> Plan:
        return Plan(
            sources,
            tuple(_keyed(self._aliased())),
            tuple(self._left),
            self._ignored,
            tuple(self._aside),
            tuple(self._absent()),
            self._forced.NAME if self._forced else None,
        )

    def _aliased(self) -> Iterator[PlannedFile]:
        said: dict[str, list[tuple[str, str]]] = {}
        for index, pairs in self._indexes.items():
            for key, name in pairs.items():
                place = os.path.join(os.path.dirname(index), name)  # noqa: PTH118, PTH120 - text
                said.setdefault(place, []).append((key, self._entries[index][key]))
        for each in self._files:
            indexed = tuple(said.get(each.path, ()))
            yield replace(each, aliases=tuple(key for key, _ in indexed), indexed=indexed)

    def _absent(self) -> Iterator[Absent]:
        for index, pairs in self._indexes.items():
            names = self._names[os.path.dirname(index)]  # noqa: PTH120 - text
            yield from (
                Absent(index, key, name) for key, name in pairs.items() if name not in names
            )


def head_of(source: Source, forced: Format | None, *, named: bool) -> Head | None:
    """Return what a file is, from its name and first lines; None if it is of no interest.

    Raises:
        UnfitError: the caller named it, and it is of no known format.

    """
    first_lines = source.first_lines()
    name = inner(source.path)
    chosen = forced or detect(name, first_lines)
    if chosen is None:
        if named:
            raise UnfitError("unsupported", why_unknown(first_lines))
        return None
    found = chosen.classify(name)
    if found == "ignored":
        if not named:
            return None
        found = "primary"
    if is_packed(source.path) and found == "primary":
        found = "archived"  # no program goes on with it
    return Head(chosen.NAME, found, chosen.header(first_lines).id, chosen.alias(name))


def count_raw(source: Source) -> int:
    """Read a source to its end and return how many of its lines are no JSON."""
    found = regions(source.chunks())
    return sum(raw_lines(each) if isinstance(each, bytes) else each.kind == "raw" for each in found)


def _keyed(files: Iterable[PlannedFile]) -> Iterator[PlannedFile]:
    """Yield the files in the order of migration, each with the session it becomes."""
    taken: dict[str, PlannedFile] = {}
    for each in sorted(files, key=_rank):
        yield _with_key(each, taken)


def _with_key(each: PlannedFile, taken: dict[str, PlannedFile]) -> PlannedFile:
    *others, last = naming.candidates(each.base, each.name, path_text(each.path))
    for key in others:
        first = taken.setdefault(key, each)
        if first is each:
            return replace(each, key=key)
        if first.sha256 == each.sha256:
            return replace(each, key=key, duplicate_of=first.path)
    taken.setdefault(last, each)
    return replace(each, key=last)


def _rank(each: PlannedFile) -> tuple[int, bool, str]:
    return naming.rank(each.file_class, each.base, each.name, each.path)

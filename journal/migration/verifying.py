"""Holds files against what the journal gives back for them; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journal.export import export
from journal.migration import receipts
from journal.migration.choosing import mirrored
from journal.migration.discovery import SetAside, set_aside
from journal.migration.packed import open_source
from journal.migration.receipts import path_text
from journal.migration.source import UnfitError
from journal.migration.survey import databases

if TYPE_CHECKING:
    from journal.journal import Journal
    from journal.migration.planned import Plan
    from journal.migration.source import Source


class Verified(NamedTuple):
    """What holding one file against its session showed.

    Attributes:
        path: the file.
        key: its session; empty if it has none.
        found: "equal"; "more": the session begins with every byte of the file and has gone on; "differs";
            or "not migrated".
        bytes: of the file.
        sha256: of the file.
        differs_at: the first byte that differs, counted from 0; None where none does.

    """

    path: str
    key: str
    found: str
    bytes: int
    sha256: str
    differs_at: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**self._asdict(), "path": path_text(self.path)}


class Verification(NamedTuple):
    """What a verification showed, file by file."""

    files: tuple[Verified, ...]
    set_aside: tuple[SetAside, ...]

    @property
    def holds(self) -> bool:
        """Whether every file is in the journal, byte for byte."""
        return not self.set_aside and all(each.found in ("equal", "more") for each in self.files)


def verify(journal: Journal, plan: Plan) -> Verification:
    """Read every file of a plan again and compare it, byte by byte, with what its session gives back."""
    avoid = databases([journal.store.path])
    done: list[Verified] = []
    aside = list(plan.set_aside)
    served = mirrored(journal.store, (each.path for each in plan.files))
    for each in plan.files:
        try:
            with open_source(each.path, avoid) as source:
                keys = _keys_of(journal, each.path, served.get(each.path))
                done.append(_verified(journal, keys, each.path, source))
        except UnfitError as error:
            aside.append(set_aside(each.path, error))
    return Verification(tuple(done), tuple(aside))


def _verified(journal: Journal, keys: list[str], path: str, source: Source) -> Verified:
    found = [_compared(journal, key, path, source) for key in keys]
    if not found:
        source.rewind()
        _read_on(source)
        return Verified(path, "", "not migrated", source.size, source.facts.sha256)
    return next((each for each in found if each.differs_at is None), found[0])


def _keys_of(journal: Journal, path: str, mirrored: str | None) -> list[str]:
    """Return the session whose mirror a path is, and those that it was read into, the newest first."""
    with journal.store.snapshot() as cursor:
        known = journal.store.registry.session_keys
        kept = receipts.of_path(cursor, path)
    keys = [mirrored, *(known.get(each.receipt.session_id) for each in kept)]
    return list(dict.fromkeys(key for key in keys if key is not None))


def _compared(journal: Journal, key: str, path: str, source: Source) -> Verified:
    source.rewind()
    found, differs_at, at = "equal", None, 0
    for chunk in export(journal, key):
        data = source.read_exactly(len(chunk))
        if data != chunk[: len(data)]:
            differs_at = at + _first_difference(data, chunk)
            break
        at += len(data)
        if len(data) < len(chunk):
            found = "more"
            break
    if _read_on(source) and differs_at is None:
        differs_at = at  # the file goes on where the session ends
    if not source.is_unchanged:
        raise UnfitError(
            "changing", "it changes while it is read: run again when its program rests"
        )
    if differs_at is not None:
        found = "differs"
    return Verified(path, key, found, source.size, source.facts.sha256, differs_at)


def _first_difference(data: bytes, chunk: bytes) -> int:
    return next(
        at for at, (one, other) in enumerate(zip(data, chunk, strict=False)) if one != other
    )


def _read_on(source: Source) -> bool:
    """Read the rest of a file, so that its hash is whole; return whether there was any."""
    return sum(len(chunk) for chunk in source.chunks()) > 0

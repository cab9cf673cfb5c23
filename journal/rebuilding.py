"""The way back: every session as the file it is, under the name and in the directory it came from."""

from __future__ import annotations

import json
import os
import posixpath
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unicodedata import normalize
from urllib.parse import quote

from sqlalchemy import LargeBinary, cast, select

from journal.errors import StorageError
from journal.export import export
from journal.files import drafted, write_new
from journal.migration import indexed, receipts
from journal.migration.packed import inner, is_here, is_packed, packed
from journal.statements import compiled
from journal.tables import migrations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal.engine import Cursor
    from journal.export import Export, SteppedOver
    from journal.journal import Journal
    from journal.migration.receipts import Kept, Receipt
    from journal.store import Store

INDEX: Final = "journal-export.json"
SCHEMA: Final = "journal.export.all/1"
_OWN: Final = "sessions"  # for sessions that came from no file
_NAME_LIMIT: Final = 200
_LONGEST: Final = 255  # bytes of a name
# A mode is a record that nobody sealed: never one by which others may write it, or anybody run it.
_MODES: Final = 0o644


class Rebuilt(NamedTuple):
    """One file that was written.

    Attributes:
        file: its path below the directory.
        session: the session's key.
        original: the path it was once read from; None if it was never a file.
        instead_of: the place it would have had, if another file has that, or it is too long; else None.
        bytes, lines, sha256: of the file as it was written.
        stepped_over: rows of the session that could not be believed, and are not in it.

    """

    file: str
    session: str
    original: str | None
    bytes: int
    lines: int
    sha256: str
    stepped_over: tuple[SteppedOver, ...]
    instead_of: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**self._asdict(), "stepped_over": [rows._asdict() for rows in self.stepped_over]}


def rebuild(
    journal: Journal,
    directory: Path,
    *,
    progress: Callable[[str], None] | None = None,
    verified: bool = True,
) -> list[Rebuilt]:
    """Write every session to a new directory, as the tree of files it once was.

    A file that was migrated comes back under its own name and mode, in the place it had below
    the directory that all migrations were given, or that all they were given have in common;
    its bytes are those that were read, then what was written since (compressed anew where
    they were compressed, so that the archive may be another). A session that never was a file
    stands in ``sessions/``. OpenClaw's ``sessions.json`` says what it said, and names the new files;
    ``journal-export.json`` lists everything. ``verified`` is as for :func:`~journal.export.export`.

    Raises:
        StorageError: the directory is there already and not empty, or cannot be written.

    """
    _make_empty(directory)
    done: list[Rebuilt] = []
    taken = _Taken()
    for key, receipt, place in _places(journal):
        if is_packed(place) and not is_here():
            place = inner(place)  # noqa: PLW2901 - what is in it, then, and as well to be read
        relative = taken.free(place)
        content = export(journal, key, verified=verified)
        made = _write(content, directory, relative, receipt)
        done.append(made._replace(instead_of=None if relative == place else place))
        if progress is not None:
            progress(key)
    _write_indexes(journal, directory, done)
    listed = {
        "schema": SCHEMA,
        "journal": journal.id,
        "verified": verified,
        "files": [each.as_json() for each in done],
    }
    write_new(directory / INDEX, [json.dumps(listed, indent=1).encode() + b"\n"], force=False)
    return done


def _make_empty(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise StorageError(
            f"{directory} is not empty; it was left as it is",
            hint="name a new directory",
            code="directory-not-empty",
        )


def _places(journal: Journal) -> Iterator[tuple[str, Receipt | None, str]]:
    """Yield each file there is to be: its session, its receipt, and its place."""
    store = journal.store
    with store.snapshot() as cursor:
        sources = _sources(cursor)
        found = [
            (key, _sealed(store, number, receipts.of_session(cursor, number)))
            for key, number in sorted(store.registry.session_ids.items())
        ]
    root = _root(sources, [each.path for _, kept in found for each in kept])
    for key, kept in found:
        newest = {each.path: each for each in reversed(kept)}
        for receipt in newest.values():
            yield key, receipt, str(PurePosixPath(receipt.path).relative_to(root))
        if not newest:
            name = quote(key, safe="@+=,() ")
            if len(name) > _NAME_LIMIT:
                name = f"{name[: _NAME_LIMIT - 17]}-{sha256(key.encode()).hexdigest()[:16]}"
            yield key, None, f"{_OWN}/{name}.jsonl"


def _sources(cursor: Cursor) -> set[PurePosixPath]:
    """Return what the migrations were given, as their records say; they only choose how much of a path is kept."""
    found: set[PurePosixPath] = set()
    for (text,) in cursor.execute(_select_sources()).fetchall():
        with suppress(ValueError, TypeError, RecursionError):
            found.update(map(PurePosixPath, json.loads(bytes(text))))
    return found


@cache
def _select_sources() -> str:
    # As bytes: a row put there by plain SQL need not be UTF-8, and the driver would not hand it out.
    return compiled(select(cast(migrations.c.source, LargeBinary)))


def _sealed(store: Store, number: int, kept: list[Kept]) -> list[Receipt]:
    """Return the receipts whose names the registry has under its seal for the session.

    A place comes from nowhere else: a receipt is a row that anybody could have put there, and
    what is written would be written wherever it says.
    """
    aliases = store.registry.aliases
    return [
        each
        for _, each in kept
        if aliases.knows(number, each.path, each.name, []) and _is_place(each.path)
    ]


def _is_place(path: str) -> bool:
    return path.startswith("/") and "\0" not in path and ".." not in PurePosixPath(path).parts


def _root(sources: set[PurePosixPath], paths: list[str]) -> PurePosixPath:
    """Return the directory above all files: what the migrations were given, or have in common.

    A file that was given by its own name counts with the directory it is in.
    """
    directories = {PurePosixPath(path).parent for path in paths}
    tops = {
        next((above for above in (*reversed(each.parents), each) if above in sources), each)
        for each in directories
    }
    return PurePosixPath(posixpath.commonpath(tops)) if tops else PurePosixPath("/")


class _Taken:
    """The places that files have, and the directories above them; on some systems two such names are one."""

    def __init__(self) -> None:
        self._files, self._directories = {INDEX}, set[str]()

    def free(self, place: str) -> str:
        """Take the place, or one beside it if another has it: a file, or a directory where this is to be a file."""
        path = PurePosixPath()
        *above, name = map(_fitting, PurePosixPath(place).parts)
        for part in above:
            path = self._beside(path / part, self._files)
        path = self._beside(path / name, self._files, self._directories)
        self._files.add(_folded(path))
        self._directories.update(map(_folded, path.parents))
        return str(path)

    @staticmethod
    def _beside(path: PurePosixPath, *taken: set[str]) -> PurePosixPath:
        found, number, name = path, 1, path.name
        if len(os.fsencode(name)) > _NAME_LIMIT:  # no number would fit before it
            name = _shortened(name)
        while any(_folded(found) in each for each in taken):
            number += 1
            found = path.with_name(f"{number}-{name}")
        return found


def _folded(path: PurePosixPath) -> str:
    """Return a path as macOS knows it: in any case, and in any of Unicode's forms."""
    return normalize("NFD", normalize("NFD", str(path)).casefold())


def _fitting(name: str) -> str:
    """Return a name that a directory can hold: one that was no text is longer as text."""
    return _shortened(name) if len(os.fsencode(name)) > _LONGEST else name


def _shortened(name: str) -> str:
    return f"{sha256(os.fsencode(name)).hexdigest()[:16]}{PurePosixPath(name).suffix[:_NAME_LIMIT]}"


def _write(content: Export, directory: Path, relative: str, receipt: Receipt | None) -> Rebuilt:
    target = directory / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = sha256(), 0
    with drafted(target, force=False) as out:
        for chunk in packed(content) if is_packed(relative) else content:
            digest.update(chunk)
            size += len(chunk)
            out.write(chunk)
        if receipt is not None and receipt.mode is not None:
            os.fchmod(out.fileno(), receipt.mode & _MODES)
    original = None if receipt is None else receipt.path
    return Rebuilt(
        relative, content.key, original, size, content.lines, digest.hexdigest(),
        tuple(content.stepped_over),
    )  # fmt: skip


def _write_indexes(journal: Journal, directory: Path, done: list[Rebuilt]) -> None:
    """Make OpenClaw's index of each directory anew: what it said, of the files as they are now."""
    indexes: dict[Path, dict[str, Any]] = {}
    for each in done:
        file = directory.absolute() / each.file
        said = _said(journal, each)
        for receipt in _indexed(journal, each):
            key = receipt.alias or ""
            # Where nothing was kept: before this version an index's words were not.
            bare = {"sessionId": each.session, "updatedAt": receipt.migrated_us // 1000}
            entry = said.get((receipt.path, key), bare)
            # Never the file that it came from: who is pointed here is to write here.
            indexes.setdefault(file.parent, {})[key] = {**entry, "sessionFile": str(file)}
    for parent, index in indexes.items():
        content = json.dumps(index, indent=2, ensure_ascii=False).encode(
            "utf-8", "backslashreplace"
        )
        write_new(parent / "sessions.json", [content + b"\n"], force=False)


def _said(journal: Journal, each: Rebuilt) -> indexed.Entries:
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, each.session)
        return {} if chain is None else indexed.known(cursor, chain)


def _indexed(journal: Journal, each: Rebuilt) -> list[Receipt]:
    """Return a file's receipts under each key by which OpenClaw's index had it, the oldest first."""
    if each.original is None:
        return []
    with journal.store.snapshot() as cursor:
        known = [kept.receipt for kept in reversed(receipts.of_path(cursor, each.original))]
        # Within: another thread's rollback may empty what is known of names until somebody looks.
        knows = journal.store.registry.aliases.knows
    return [
        receipt
        for receipt in known
        if receipt.format == "openclaw"
        and receipt.alias
        and knows(receipt.session_id, receipt.path, receipt.name, [receipt.alias])
    ]

"""How the demo begins: a copied store, migrated."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journal.demo.story import Claim, Stage
from journal.errors import NotFoundError
from journal.explanation import counted
from journal.export import export
from journal.migration import apply, plan
from journal.migration.packed import open_source

if TYPE_CHECKING:
    from journal import Journal
    from journal.demo.story import Story
    from journal.migration import Plan

PREFERRED: Final = "agent:main:main"


def set_stage(directory: Path, store: Path, story: Story) -> Stage:
    """Copy the store; nothing of the original is opened for writing."""
    if not store.exists():
        raise NotFoundError(
            f"there is no store at {store}", hint="name a directory or a file with --store"
        )
    copy = directory / "store"
    if store.is_dir():
        shutil.copytree(store, copy, symlinks=True, ignore=_only_plain_files)
    else:
        copy.mkdir()
        shutil.copy2(store, copy)
    keys = directory / "key"
    keys.mkdir(mode=0o700)
    files = [path for path in copy.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    story.add(
        "A store of session files is copied",
        f"{counted(len(files), 'file')}, {counted(size, 'byte')}, from {store}",
        f"to {copy}. Journal and key are made beside it; nothing else is touched.",
    )
    return Stage(copy, str(directory / "journal.db"), str(keys / "journal.key"))


def _only_plain_files(folder: str, names: list[str]) -> list[str]:
    """Name what is not copied: a pipe would wait for ever, a link could lead out."""
    return [name for name in names if not _is_plain(Path(folder, name))]


def _is_plain(path: Path) -> bool:
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def migrate(journal: Journal, stage: Stage, story: Story) -> str:
    """Bring the copy into the journal; return the session to play in."""
    found = plan([stage.store], avoid=[stage.database])
    result = apply(journal, found)
    if not result.files:
        raise NotFoundError(
            "there is no session file in the store", hint="journal demo, without --store"
        )
    equal = [each for each in result.files if _is_equal(journal, each.key, each.path)]
    key = _session_to_play_in(journal, found)
    lines = sum(each.lines for each in result.files)
    story.facts |= {"files": len(result.files), "lines": lines, "set_aside": len(result.set_aside)}
    story.add(
        "Every line becomes an entry",
        f"{counted(lines, 'line')}, of {counted(len(result.files), 'session file')}: now in the journal {stage.database}.",
        *(f"Set aside: {each.path}: {each.reason}" for each in result.set_aside),
        f"The story goes on in session {key}.",
        claims=[Claim("every file comes back byte for byte", len(equal) == len(result.files))],
    )
    return key


def _session_to_play_in(journal: Journal, found: Plan) -> str:
    """Return the main agent's session if there is one, else the largest."""
    called = next(
        (each.key for each in found.files if PREFERRED in (each.key, *each.aliases)), None
    )
    return called or max(journal.sessions(), key=lambda session: session.bytes).key


def _is_equal(journal: Journal, key: str, path: str) -> bool:
    with open_source(path) as source:  # of a compressed file what it holds
        return b"".join(export(journal, key)) == b"".join(source.chunks())

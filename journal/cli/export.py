"""``journal export``."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.frame import command as make_command
from journal.cli.opening import known_key, opened
from journal.cli.options import Settings, json_option, session_argument
from journal.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@make_command(
    "export",
    "journal export agent:main:main > session.jsonl",
    "journal export agent:main:main -o copy.jsonl",
)
@session_argument
@click.option("-o", "--output", "file", metavar="FILE", help="Write a new file instead of stdout.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@json_option
@click.pass_obj
def command(settings: Settings, session: str, file: str | None, *, force: bool) -> None:
    """Give a session back as the file it is, byte for byte.

    A file that was migrated comes back with equal bytes, and what was written since after
    them. FILE appears whole or not at all.
    """
    if settings.json and file is None:
        raise click.UsageError("--json tells of a FILE: name one with -o", click.get_current_context())
    from journal.export import export  # noqa: PLC0415 - with the rest of the library

    with opened(settings) as journal:
        key = known_key(journal, session)
        if file is None:
            output.raw(export(journal, key))
            return
        target = Path(file).absolute()
        _refuse(target, journal.path, force=force)
        told = _write(target, export(journal, key), force=force)
    if settings.json:
        output.document("export", session=key, file=str(target), **told)
    else:
        output.say(f"Wrote {told['bytes']} bytes to {target}.")


def _refuse(target: Path, journal: Path, *, force: bool) -> None:
    if target.name.startswith(journal.name) and target.parent.resolve() == journal.parent.resolve():
        # Opening any of the journal's files from here would drop SQLite's locks.
        raise StorageError(f"{target} belongs to the journal", hint="name another FILE", code="own-file")
    if target.is_dir():
        raise StorageError(f"{target} is a directory", hint="name a FILE", code="is-a-directory")
    if not force and os.path.lexists(target):
        raise _is_there(target)


def _is_there(target: Path) -> StorageError:
    return StorageError(
        f"{target} is there already; it was left as it is",
        hint="--force to replace it, or another FILE",
        code="file-exists",
    )


def _write(target: Path, chunks: Iterable[bytes], *, force: bool) -> dict[str, Any]:
    """Write a draft beside the target, then put it in place, whole."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    counted = _Counted(chunks)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.writelines(counted)
            out.flush()
            os.fsync(out.fileno())
        _put_in_place(draft, target, force=force)
    finally:
        draft.unlink(missing_ok=True)
    return {"bytes": counted.size, "sha256": counted.digest.hexdigest()}


def _put_in_place(draft: Path, target: Path, *, force: bool) -> None:
    if force:
        draft.replace(target)
        return
    try:
        os.link(draft, target)  # unlike a rename, it never replaces what came in between
    except FileExistsError:
        raise _is_there(target) from None


class _Counted:
    """Chunks on their way, counted and hashed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.size = 0
        self.digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self.digest.update(chunk)
            yield chunk

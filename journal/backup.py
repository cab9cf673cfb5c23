"""Backups: a copy of a journal that is at work, audited; and a copy put in a journal's place.

Copied by SQLite's own backup in one step, which is one state of the database
whatever others write meanwhile: a copy of the file alone would lack what is
still in the log. What is put in place is put there whole or not at all.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from journal.audit import audit
from journal.audit.source import opened
from journal.descriptors import CLOSE_ON_EXEC, sync
from journal.engine import connect, driver, is_driver_error, translated
from journal.errors import CorruptError, FullError, JournalError, NotFoundError, StorageError
from journal.files import is_there, put_in_place, sync_directory
from journal.pins import is_open
from journal.place import SIDE_FILES, check_place
from journal.schema import version_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from journal.audit import AnchorFile, Report
    from journal.audit.source import Source


class Copied(NamedTuple):
    """A copy that was made, and what an audit says of it."""

    path: Path
    bytes: int
    report: Report


class Lost(NamedTuple):
    """What a journal holds of a session, and the copy that would replace it does not, or other entries in its place."""

    session: str
    first_seq: int
    last_seq: int


class Restoring(NamedTuple):
    """What putting a copy in place would do.

    Attributes:
        source: the copy.
        target: where it would be put.
        report: what an audit says of the copy.
        replaces: whether a journal is there already.
        is_another: whether that one is another journal than the copy's.
        lost: what is newer in it than in the copy.
        mirrors: how many mirrors would be served by two journals, if the one that the copy was made
            of lives on somewhere else; none where it is put in that one's own place.
        is_compared: whether it could be told what is newer; of a damaged journal it cannot.

    """

    source: Path
    target: Path
    report: Report
    replaces: bool
    is_another: bool
    lost: tuple[Lost, ...]
    mirrors: int
    is_compared: bool = True


def back_up(
    path: Path, target: Path, *, key_file: str | None = None, anchors: Sequence[AnchorFile] = ()
) -> Copied:
    """Copy a journal to a new file while others write, and audit the copy.

    The copy holds no key. It is put in place even if the audit finds something:
    a copy of a damaged journal is better than none, and the report says it.

    Raises:
        NotFoundError: there is no journal.
        StorageError: the target is there already, or cannot be written; nothing is left of it.

    """
    _check_journal(path)
    check_place(target)
    # A log that was left there would be taken for the copy's, and written into it.
    for found in (target, *_logs(target)):
        if os.path.lexists(found):
            raise is_there(found, "name another FILE")
    draft = _draft(target)
    with _told(target), _removed(draft):
        _copy(path, draft)
        put_in_place(draft, target, force=False)
    report = audit(target, key_file=key_file, anchors=anchors, mirrors=False)
    connect(str(target)).close()  # takes the side files away that reading has made
    return Copied(target, target.stat().st_size, report)


def plan_restore(
    source: Path, target: Path, *, key_file: str | None = None, anchors: Sequence[AnchorFile] = ()
) -> Restoring:
    """Say what would come of putting a copy in a journal's place; nothing is changed.

    Raises:
        NotFoundError: there is no such copy.
        StorageError: a process has the target open, or it is no place for a journal.

    """
    _check_journal(source)
    check_place(target)
    if source.resolve() == target.resolve():
        raise StorageError(
            f"{source} is the journal itself", hint="name a copy of it", code="own-file"
        )
    replaces = target.exists()
    if replaces and is_open(str(target)):
        raise StorageError(
            f"{target} is open: a live journal is never written over",
            hint=f"end what has it open (fuser {quote(str(target))}), or restore to another file with -d",
            code="live",
        )
    report = audit(source, key_file=key_file, anchors=anchors, mirrors=False)
    replaces = replaces and version_of(str(target)) is not None  # an empty file is no journal
    compared = _compared(source, target) if replaces else (False, ())
    is_another, lost = compared or (False, ())
    mirrors = 0 if replaces and not is_another else _mirrors_of(source)
    return Restoring(
        source, target, report, replaces, is_another, lost, mirrors, compared is not None
    )


def restore(plan: Restoring) -> Path | None:
    """Do what was planned; return where the journal that was there is now, if one was.

    Nothing is deleted: the old database is renamed, with its log, and stays a
    journal that can be opened.

    Raises:
        StorageError: a process opened the target meanwhile; nothing was changed.

    """
    draft, target = _draft(plan.target), plan.target
    with _told(target), _removed(draft):
        _copy(plan.source, draft)
        _check_closed(target)
        kept = _kept(target) if target.exists() else None
        _check_closed(target, kept)
        is_whole = kept is not None and target.exists()
        for left in (*_logs(target), *(Path(f"{target}{end}") for end in SIDE_FILES)):
            left.unlink(missing_ok=True)
        put_in_place(draft, target, force=is_whole)
    return kept


def _check_closed(target: Path, kept: Path | None = None) -> None:
    """Refuse to go on if somebody opened a journal; who does takes its second name away."""
    is_taken = kept is not None and not kept.exists()
    if is_taken or (target.exists() and is_open(str(target))):
        raise StorageError(f"{target} was opened meanwhile", hint="try again", code="live")


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """Have what the system or the driver could not do be an error of ours, about this file."""
    try:
        yield
    except (OSError, driver().Error) as error:
        raise _unwritten(target, error) from error


def _unwritten(target: Path, error: Exception) -> JournalError:
    if is_driver_error(error):
        return translated(error, str(target))
    room = "free some space, or name a FILE elsewhere"
    if isinstance(error, OSError):
        kind = FullError if error.errno == errno.ENOSPC else StorageError
        return kind(f"{target} could not be written: {error.strerror}", hint=room)
    # A backup's own errors come without a name, which alone tells a full disk from damage.
    hint = f"{room}; if there is enough, see whether what is copied is whole: journal audit"
    return StorageError(f"{target} could not be written: {error}", hint=hint)


def _check_journal(path: Path) -> None:
    if version_of(str(path)) is None:
        raise NotFoundError(
            f"there is no journal at {path}", hint="name another file", code="no-journal"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy one state of a database; the new file is synced."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOSE_ON_EXEC, 0o600))
    with (
        closing(connect(str(source), mode="ro")) as old,
        closing(connect(str(target), mode="rw")) as new,
    ):
        old.backup(new, pages=-1)
        # What is left in the log is not in the copy: closing would fold it in too, but
        # says nothing where the disk is full.
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    descriptor = os.open(target, os.O_RDONLY | CLOSE_ON_EXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _mirrors_of(source: Path) -> int:
    try:
        with opened(str(source)) as copy:
            return int(copy.query(_MIRRORS).fetchone()[0])
    except Exception as error:
        raise translated(error, str(source)) from error


def _compared(source: Path, target: Path) -> tuple[bool, tuple[Lost, ...]] | None:
    """Return whether the target is another journal, and what of it the copy lacks; None if one is too damaged to tell."""
    try:
        with opened(str(source)) as old, opened(str(target)) as new:
            ids = [each.query(_ID).fetchone() for each in (old, new)]
            return ids[0] != ids[1], tuple(_lost(old, new))
    except Exception as error:
        told = translated(error, str(target))
        if isinstance(told, CorruptError):
            return None  # a damaged journal is what a backup is for
        raise told from error


def _lost(old: Source, new: Source) -> Iterator[Lost]:
    """Yield what each session of the one has, and the other has not: not there, or another entry."""
    there = {key: (number, seq) for key, number, seq in old.query(_HEADS)}
    for key, number, seq in sorted(new.query(_HEADS)):
        twin, up_to = there.get(key, (0, 0))
        last = _common(old, new, twin, number, min(seq, up_to))
        if seq > last:
            yield Lost(key.decode("utf-8", "backslashreplace"), last + 1, seq)


def _common(old: Source, new: Source, twin: int, number: int, up_to: int) -> int:
    """Return up to which seq two sessions are one: entries are linked, so that what two have in common ends once."""
    if _at(old, twin, up_to) == _at(new, number, up_to):
        return up_to
    last, first_other = 0, up_to
    while first_other - last > 1:
        middle = (last + first_other) // 2
        if _at(old, twin, middle) == _at(new, number, middle):
            last = middle
        else:
            first_other = middle
    return last


def _at(source: Source, number: int, seq: int) -> object:
    """Return what tells an entry from every other, the one at a seq or the last before it."""
    return source.query(_SEAL, number, seq).fetchone()


_ID = "SELECT value FROM meta WHERE name = 'journal_id'"
_MIRRORS = "SELECT count(*) FROM mirrors WHERE removed_us IS NULL"
# The registry's head, too: a revocation is there alone.
_HEADS = 'SELECT "key", id, head_seq FROM sessions'
_SEAL = "SELECT seq, seal FROM entries WHERE session_id = ? AND seq BETWEEN 1 AND ? ORDER BY seq DESC LIMIT 1"


def _kept(target: Path) -> Path:
    """Give a database a second name, under which it can be opened as it was.

    So there is a journal under the first at every moment: whoever is killed before the copy
    takes it leaves the old one. Its log cannot be put in place with it at one stroke, so it
    is folded in before. Where it cannot be, both are renamed, and then there is a moment
    without a journal.
    """
    kept = target.with_name(f"{target.name}.before-restore-{secrets.token_hex(4)}")
    with suppress(driver().Error, JournalError), closing(connect(str(target))) as old:
        old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if not any(log.exists() for log in _logs(target)):
        with suppress(OSError):  # a file system without links
            os.link(target, kept)
            sync_directory(target.parent)
            return kept
    # The log first: without its database it is nothing, a database without its log loses entries.
    for log, place in zip(_logs(target), _logs(kept), strict=True):
        with suppress(FileNotFoundError):
            log.rename(place)
    target.rename(kept)
    sync_directory(target.parent)
    return kept


def _logs(target: Path) -> tuple[Path, Path]:
    """Return the names of what SQLite reads into a database that stands beside it: its log, its rollback journal."""
    return Path(f"{target}-wal"), Path(f"{target}-journal")


def _draft(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}")


@contextmanager
def _removed(draft: Path) -> Iterator[None]:
    """Leave nothing of a draft behind, whatever becomes of it."""
    try:
        yield
    finally:
        for suffix in ("", *SIDE_FILES):
            Path(f"{draft}{suffix}").unlink(missing_ok=True)

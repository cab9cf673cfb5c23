"""Carry out a plan: file by file, and one bad file never stops the rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from journal.errors import BusyError, JournalError, MirrorError, NotFoundError
from journal.formats import by_name
from journal.migration import receipts
from journal.migration.choosing import choose, choose_only, erased, mirrored
from journal.migration.discovery import SetAside, absolute, set_aside
from journal.migration.holding import NOTHING, seems_erased
from journal.migration.outcome import FileResult, Result
from journal.migration.reading import Ahead, JoinedError, open_reading
from journal.migration.room import check_room
from journal.migration.source import UnfitError
from journal.migration.survey import databases
from journal.migration.transfer import Attempts, Job, MovedError, Transfer
from journal.migration.versions import bring_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.journal import Journal
    from journal.migration.choosing import Choice
    from journal.migration.planned import Plan, PlannedFile
    from journal.migration.reading import Reading
    from journal.migration.source import Source
    from journal.store import Store

ATTEMPTS: Final = 4
# An import writes every page once: folding the log in less often saves a sixth.
# It may then grow to 64 MiB, whatever the file.
_CHECKPOINT_PAGES: Final = 16 * 1024

Progress = Callable[[str, int], None]


def apply(
    journal: Journal,
    plan: Plan,
    *,
    progress: Progress | None = None,
    mirror: bool = False,
    is_live: bool = False,
) -> Result:
    """Bring the plan's files into the journal; each line is an entry.

    A file that is there already, by its bytes, adds nothing; one that has grown
    adds its new lines; of one that was changed otherwise the new lines become
    entries and its order a new layout, and what was before is kept. What came to a file that
    is a session's mirror is taken in as by any look at it: by its own writer, whom nobody
    trusts. One bad file never stops the rest. Originals are only read. Killed at any moment, a run is finished by
    running it again.

    Args:
        journal: where to.
        plan: what :func:`~journal.migration.plan` returned.
        progress: called with a path and how many more of its bytes are done.
        mirror: make each file of a live session its session's mirror, where it stands:
            no byte of it is touched, and from now on it is kept equal to the session.
        is_live: files of live sessions are about to become their mirrors. What such a file
            had when it was read before, and has lost since, leaves its session's file, or
            it would be written to it again; so it is with ``mirror``.

    Raises:
        NotTrusted: the writer "migrate" was revoked, or has another role.
        StorageError: too little disk, and nothing was written; or the journal cannot
            be written, and what was committed stays.

    """
    store = journal.store
    check_room(store, plan)
    run = _Run(journal, plan, progress or (lambda _path, _size: None), mirror=mirror)
    run.is_live = mirror or is_live
    with _rare_checkpoints(store):
        return run.through()


@contextmanager
def _rare_checkpoints(store: Store) -> Iterator[None]:
    if not store.keeps_files:
        yield  # its log is the server's own affair
        return
    with store.lock:
        usual = store.cursor.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
        if usual:  # zero: this library's checkpoints are taken by hand
            store.cursor.execute(f"PRAGMA wal_autocheckpoint={max(usual, _CHECKPOINT_PAGES)}")
    try:
        yield
    finally:
        with store.lock:
            store.cursor.execute(f"PRAGMA wal_autocheckpoint={int(usual)}")


class _Run:
    """One run over a plan's files."""

    def __init__(self, journal: Journal, plan: Plan, progress: Progress, *, mirror: bool) -> None:
        self._store = store = journal.store
        self._mirrors, self._is_to_mirror = journal.mirrors, mirror
        self.is_live = False
        self._mirrored = mirrored(store, (each.path for each in plan.files))
        self._plan = plan
        self._progress = progress
        forced = by_name(plan.format) if plan.format else None
        avoid = databases([store.path])
        self._ahead = Ahead(store, plan.files, lambda each: open_reading(each, avoid, forced))
        self._results: list[FileResult] = []
        self._aside: list[SetAside] = list(plan.set_aside)
        self._told: dict[str, int] = {}
        # Whole, for the way back: where this runs says nothing tomorrow.
        self._number = receipts.begin_run(store, map(absolute, plan.sources))

    def through(self) -> Result:
        try:
            with self._ahead:
                for each in self._plan.files:
                    self._take(each)
        except BaseException:
            with suppress(JournalError):  # the first error is the one to tell
                self._end("interrupted")
            raise
        self._end("set aside" if self._aside else "done")
        return Result(self._number, tuple(self._results), tuple(self._aside))

    def _end(self, state: str) -> None:
        changed = [each for each in self._results if each.new_entries or each.what == "migrated"]
        lines = sum(each.new_entries for each in changed)
        size = sum(each.new_bytes for each in changed)
        receipts.end_run(self._store, self._number, state, len(changed), lines, size)

    def _take(self, each: PlannedFile) -> None:
        try:
            self._results.append(self._migrate(each))
            if self._is_to_mirror and each.file_class == "primary":
                self._mirrors.add(self._results[-1].key, each.path)
        except UnfitError as error:
            self._aside.append(set_aside(each.path, error))
        except (MirrorError, BusyError) as error:  # its lines are in the journal all the same
            _check_is_of_mirror(error)
            self._aside.append(SetAside(each.path, "no-mirror", f"is no mirror: {error}"))

    def _migrate(self, each: PlannedFile) -> FileResult:
        job = Job(self._number, lambda position: self._tell(each.path, position))
        attempts = Attempts(ATTEMPTS)
        while attempts.left:
            try:
                with self._ahead.reading(each) as reading:
                    return self._attempt(job, each, reading)
            except MovedError as error:
                attempts.failed(error)
        raise UnfitError(
            "changing", "it changes while it is read: run again when its program rests"
        )

    def _attempt(self, job: Job, planned: PlannedFile, reading: Reading) -> FileResult:
        head, source = reading.head, reading.source
        if head is None:  # pragma: no cover - a named file is of some format, or unfit
            raise UnfitError("unsupported", "no session file of a known format")
        each = replace(planned, header_id=head.header_id, stem=head.stem, format=head.format)
        choice = self._chosen(each, source)
        _check(self._store, choice, source)
        is_new_mirror = self._is_new_mirror(each)
        if is_new_mirror:
            choice.check_erased()
        job.tell(choice.holding.bytes)
        was_cut = is_new_mirror and choice.was_cut(source.size)
        if choice.holding.relation == "other" or was_cut:
            return self._bring_in(job, each, source, choice)
        transfer = Transfer(self._store, job, each, reading, choice, self._ahead)
        if choice.holding.is_done:
            return transfer.acknowledge()
        try:
            return transfer.copy()
        except JoinedError:  # nothing was written yet
            return self._bring_in(job, each, source, choice)

    def _bring_in(self, job: Job, each: PlannedFile, source: Source, choice: Choice) -> FileResult:
        choice.check_erased()
        return bring_in(self._store, job, each, source, choice.key)

    def _is_new_mirror(self, each: PlannedFile) -> bool:
        """Whether a file is about to become its session's mirror.

        What it lost would be written to it again, what was erased come back with it.
        """
        return self.is_live and each.file_class == "primary" and each.path not in self._mirrored

    def _chosen(self, each: PlannedFile, source: Source) -> Choice:
        """Return the session for a file; to a mirror's nothing is left to add but what its program adds at this moment."""
        key = self._mirrored.get(each.path)
        if key is None:
            return choose(self._store, each, source)
        try:
            self._mirrors.reconcile(self._mirrors.of(key).session_id, is_final=True, is_lazy=True)
        except NotFoundError:  # it was one when the run began
            return choose(self._store, each, source)
        except (MirrorError, BusyError) as error:
            _check_is_of_mirror(error)
            raise UnfitError("mirror", str(error)) from error
        choice = choose_only(self._store, each, key, source)
        if not (choice.holding.is_done or choice.holding.relation == "unsound"):
            raise MovedError
        return choice

    def _tell(self, path: str, position: int) -> None:
        """Report how far a file has come; a second attempt at it reports nothing twice."""
        known = self._told.get(path, 0)
        if position > known:
            self._told[path] = position
            self._progress(path, position - known)


def _check_is_of_mirror(error: MirrorError | BusyError) -> None:
    """Raise where it is the journal that is busy: that is so for every file."""
    if error.code == BusyError.code:
        raise error


def _check(store: Store, choice: Choice, source: Source) -> None:
    held, key = choice.holding, choice.key
    if held.relation == "unsound":
        raise UnfitError("unsound", f"session {key} holds rows that do not verify: journal audit")
    is_all_new = held is not NOTHING and not (held.is_done or held.bytes)
    if (is_all_new or held.relation == "other") and seems_erased(store, key, source):
        raise erased(key)

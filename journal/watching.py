"""Watches directories of programs that know nothing of the journal: every change becomes entries as it happens.

Each session file that is found becomes a session with the file as its mirror, in
place; from then on what its program writes is reconciled, as an entry of a writer
nobody trusts. So a program is attributed without a byte of it changed.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.errors import BusyError, JournalError, MirrorError, NotFoundError, StorageError
from journal.migration import apply, plan
from journal.migration.choosing import choose
from journal.migration.discovery import (
    NO_TEXT,
    SetAside,
    absolute,
    class_by_name,
    is_text_path,
    walk,
)
from journal.migration.holding import compare
from journal.migration.naming import clean
from journal.migration.packed import open_source
from journal.migration.source import Source, UnfitError, identity_of
from journal.mirrorfile import MirrorFile, is_taken, real_path
from journal.permitting import permit_from_now
from journal.place import files_of
from journal.serverplace import SIDE_FILE
from journal.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from journal.journal import Journal
    from journal.migration import Plan, PlannedFile

# The event that ends one line's wait comes at most so much later than the last of a burst.
_DEBOUNCE_MS: Final = 400
_STEP_MS: Final = 50
_PAUSE_S: Final = 1.0  # before it is begun anew
_LOOK_MS: Final = 500  # how long the first look and the end may take
# What a session's file is to one that has all its lines.
_GOES_ON: Final = ("equal", "beginning")


class Seen(NamedTuple):
    """One thing that was seen and done.

    ``what`` is "adopted" (a new session), "taken in" (new entries), "gone", "moved"
    (its session has its mirror there now), or "set aside", with the reason in ``detail``.
    """

    what: str
    path: str
    key: str = ""
    entries: int = 0
    detail: str = ""


class Watch:
    """Adopts the session files below some directories and follows them.

    Args:
        journal: where to.
        directories: which ones, with all that is below them.
        permit: a reason; then what the program writes is "permitted", never trusted. Of a
            file that is followed already: what has not become an entry yet.

    Raises:
        NotFoundError: there is no such directory.

    """

    def __init__(
        self, journal: Journal, directories: Sequence[Path], *, permit: str | None = None
    ) -> None:
        for each in directories:
            if not each.is_dir():
                raise NotFoundError(
                    f"{each} is no directory", hint="name a directory", code="no-directory"
                )
        self._journal = journal
        self._directories = [os.path.realpath(each) for each in directories]
        self._permit = permit
        self._own = absolute(journal.path)
        self._own_files = frozenset(files_of(self._own))
        self._known_at, self._known = -1, dict[str, str]()
        self._stop = threading.Event()

    def catch_up(self) -> Iterator[Seen]:
        """Adopt what is new, and take in what came while nobody watched."""
        found = list(walk(self._directories, named_by_text=True))
        for each in found:
            if isinstance(each, SetAside):
                yield Seen("set aside", each.path, detail=each.reason)
        yield from self.take({each.path for each in found} | set(self._mirrors()))

    def run(self, stop: threading.Event, tell: Callable[[Seen], None]) -> None:
        """Follow the directories until ``stop`` is set; each thing done is told.

        Raises:
            StorageError: the library watchfiles is not installed, or the journal
                cannot be written.

        """
        aside, self._stop = set[Seen](), stop
        for paths in self._changes(stop):
            for seen in self.catch_up() if paths is None else self.take(paths):
                if paths is not None or seen not in aside:
                    tell(seen)
                if paths is None and seen.what == "set aside":
                    aside.add(seen)  # said once, however often all is looked at
        self._stop = threading.Event()  # what is asked of it next is to be done

    def _changes(self, stop: threading.Event) -> Iterator[set[str] | None]:
        """Yield the paths that changed; None where all is to be looked at.

        The library begins to watch when it is first asked: only then is nothing missed between
        what stands there and what comes. It gives up for good once a name that is not UTF-8 has
        changed, or such a directory is there, or one that nobody may look into, and sees nothing of
        another directory in the place of the one that it began with; then it is begun anew.
        """
        watch, internal_error = _library()
        while not stop.is_set():
            is_new, places = True, self._places()
            changes = watch(
                *self._directories, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS,
                rust_timeout=_LOOK_MS, yield_on_timeout=True, stop_event=stop, raise_interrupt=True,
            )  # fmt: skip
            try:
                for changed in changes:
                    if is_new:
                        yield None
                    is_new = False
                    yield {path for _, path in changed}
                    if self._places() != places:
                        break
            except (OSError, internal_error) as error:
                _check_passing(error)
                if is_new or isinstance(error, OSError):
                    yield None
                stop.wait(_PAUSE_S)

    def _places(self) -> list[tuple[int, int] | None]:
        """Return which directories stand at the paths now."""
        return [identity_of(each) for each in self._directories]

    def take(self, paths: Iterable[str]) -> Iterator[Seen]:
        """Look at files that may have changed, the ones with a session first."""
        mirrors = self._mirrors()
        wanted = sorted(each for each in _with_files(paths, mirrors) if not self._is_own(each))
        followed = [(path, mirrors[path]) for path in wanted if path in mirrors]
        if self._permit is not None:
            permit_from_now(self._journal.store, [key for _, key in followed], self._permit)
        yield from self._followed(followed)
        for path in wanted:
            if self._stop.is_set():
                return  # what was not looked at is caught up with the next time
            if path not in mirrors and not os.path.isdir(path):  # noqa: PTH112 - text in, text out
                yield from self._adopt(path)

    def _mirrors(self) -> dict[str, str]:
        """Return the session of each mirror on this host below the directories, by path; another user's too."""
        store = self._journal.store
        with store.snapshot():
            registry = store.registry
            seq = registry.read_up_to  # nothing is added or removed but by a fact there
            if seq != self._known_at:
                self._known_at, self._known = (
                    seq,
                    {
                        fact.path: registry.session_keys[fact.session_id]
                        for fact in registry.mirrors.values()
                        if store.has_file(fact) and self._is_below(fact.path)
                    },
                )
        return self._known

    def _is_own(self, path: str) -> bool:
        """Whether a file is one of the journal's, such as changes with each line of a mirror."""
        return path in self._own_files or os.path.basename(path).startswith(SIDE_FILE)  # noqa: PTH119 - text in

    def _is_below(self, path: str) -> bool:
        return any(path.startswith(f"{each.rstrip('/')}/") for each in self._directories)

    def _followed(self, files: Iterable[tuple[str, str]]) -> list[Seen]:
        """Take in what came to some files; with one sync for all, before anybody is told."""
        seen: list[Seen] = []
        for path, key in files:
            seen += self._follow(path, key)
        if seen:
            self._journal.store.make_durable()
        return seen

    def _follow(self, path: str, key: str) -> Iterator[Seen]:
        mirrors = self._journal.mirrors
        # Not by way of the journal, which would bring the file up before we look.
        session = Session(self._journal.store, key, None)
        is_here = os.path.lexists(path)
        before = 0 if is_here else session.head.seq
        try:
            found = mirrors.reconcile(mirrors.of(key).session_id, is_cheap=True, is_lazy=True)
        except NotFoundError:
            return  # somebody has taken the mirror away meanwhile
        except (MirrorError, BusyError) as error:
            yield _set_aside(path, key, error)
            return
        if not is_here and session.head.seq > before:
            yield Seen("gone", path, key)
        elif found is not None and (found.taken or found.is_edit):
            yield Seen("taken in", path, key, found.taken, found.what if found.is_edit else "")

    def _adopt(self, path: str) -> Iterator[Seen]:
        if not is_text_path(path):
            # Never opened: the library would see that, and could not tell of what.
            if class_by_name(path, None) is None:
                yield Seen("set aside", path, detail=NO_TEXT)
            return
        found = plan([path], avoid=[self._own], named=False)
        if not found.files:
            yield from (
                Seen("set aside", each.path, detail=each.reason)
                for each in found.set_aside
                if each.code != "gone"  # such as a draft, which has its name by now
            )
            return
        moved = self._moved(found.files[0])
        yield from self._bring_in(path, found) if moved is None else self._move(path, moved)

    def _bring_in(self, path: str, found: Plan) -> Iterator[Seen]:
        """Have a file's lines in its session, and follow it if it is a live one."""
        each, entries = found.files[0], 0
        is_live = each.file_class == "primary"
        try:
            if is_live:
                real_path(path)  # nothing is taken from a file that could not be followed
            key = self._held(each)
            if key is None:
                result = apply(self._journal, found, is_live=True)
                yield from (
                    Seen("set aside", aside.path, detail=aside.reason) for aside in result.set_aside
                )
                key, entries = next(
                    ((done.key, done.new_entries) for done in result.files), (None, 0)
                )
        except StorageError:
            raise
        except (JournalError, UnfitError) as error:
            yield Seen("set aside", path, detail=str(error))
            return
        if key is not None and is_live and os.path.lexists(path):
            yield from self._keep(path, key, entries)
        elif key is not None and entries:  # an archive, which nobody goes on with
            yield Seen("taken in", path, key, entries)

    def _held(self, each: PlannedFile) -> str | None:
        """Return the session that a file became before, if it has all of it: to bring it in again would leave a run on record.

        Raises:
            UnfitError: it has a line still that was erased.

        """
        try:
            with open_source(each.path) as source:
                found = choose(self._journal.store, each, source)
        except UnfitError:
            return None
        was_cut = False
        if each.file_class == "primary":
            found.check_erased()
            was_cut = found.was_cut(source.size)
        return found.key if found.of_file and found.holding.is_done and not was_cut else None

    def _moved(self, each: PlannedFile) -> str | None:
        """Return the session that a file's first line names, if its own file is gone and this one goes on from it.

        One that lacks some of its lines is a new file: they would be written to it.
        """
        if each.file_class != "primary" or each.header_id is None:
            return None
        key = clean(each.header_id)
        store = self._journal.store
        try:
            old = self._journal.mirrors.of(key)
            if not store.has_file(old) or is_taken(old.path):
                return None
        except (NotFoundError, MirrorError):  # none, or nobody can look for it
            return None
        try:
            with Source(each.path) as source:
                held = compare(store, key, source)
                return key if held.as_file in _GOES_ON and not held.has_erased else None
        except UnfitError:
            return None

    def _move(self, path: str, key: str) -> Iterator[Seen]:
        """Have a session's mirror where its file is now; what came to that meanwhile is its program's."""
        try:
            # Whether it can be one is looked at before the old one is let go.
            MirrorFile(real_path(path)).close()
        except MirrorError as error:
            yield Seen("set aside", path, key, detail=str(error))
            return
        session = Session(self._journal.store, key, None)
        news = session.tail(session.head.seq)
        for seen in self._keep(path, key, 0):
            yield seen._replace(entries=sum(map(len, iter(news.new, []))))

    def _keep(self, path: str, key: str, entries: int) -> Iterator[Seen]:
        """Make a file its session's mirror; if the old one is gone, the file was moved."""
        mirrors, what, is_barred = self._journal.mirrors, "adopted", False
        permit, kept = self._permit, dict[str, str]()
        try:
            old = mirrors.of(key)
        except NotFoundError:
            old = None
        try:
            if old is not None and old.path != path:
                if is_taken(old.path):
                    yield Seen("set aside", path, key, detail=f"a copy of {old.path}")
                    return
                with self._journal.store.snapshot():
                    registry = self._journal.store.registry
                    is_barred = old.writer_id in registry.taken_back
                    if permit is None and registry.writers[old.writer_id].permitted:
                        permit = "permitted before the file moved"
                kept = {"on_edit": old.on_edit}
                mirrors.remove(key)
                what = "moved"
            mirrors.add(key, path, **kept)
            if is_barred:
                mirrors.permit(key, permitted=False, reason="taken back before the file moved")
            elif permit is not None:
                mirrors.permit(key, permitted=True, reason=permit)
        except (MirrorError, BusyError) as error:
            yield _set_aside(path, key, error)
            return
        yield Seen(what, path, key, entries)


def _set_aside(path: str, key: str, error: MirrorError | BusyError) -> Seen:
    """Return that one file could not be served; raise where it is the journal that could not be written."""
    if error.code == BusyError.code:
        raise error
    return Seen("set aside", path, key, detail=str(error))


def _check_passing(error: Exception) -> None:
    """Return where the library may be begun anew and all is looked at meanwhile; raise otherwise."""
    if isinstance(error, OSError):
        # One of the directories is not there now, or may not be looked into: the library would
        # pass over others with it.
        is_passing = isinstance(error, (FileNotFoundError, PermissionError))
        hint = "sysctl fs.inotify.max_user_watches fs.inotify.max_user_instances"
    else:
        is_passing, hint = "decode" in str(error), None  # of a name that is no text
    if not is_passing:
        raise StorageError(f"the directories cannot be watched: {error}", hint=hint) from error


def _with_files(paths: Iterable[str], mirrors: Iterable[str]) -> set[str]:
    """Return some paths, and the files below those that are directories or were: nobody tells of each of them.

    What is put into a new directory before the library watches it, and what comes or goes
    with a directory that is moved, is told of by the directory's name alone.
    """
    found = {*paths}
    for path in [*found]:
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - text in, text out
            below = walk([path], named_by_text=True)
            found.update(each.path for each in below if not isinstance(each, SetAside))
        elif not os.path.lexists(path):
            found.update(each for each in mirrors if each.startswith(f"{path}/"))
    return found


def _library() -> tuple[Any, type[Exception]]:
    """Return the library's function, and the error by which it gives up."""
    try:
        from watchfiles import watch  # noqa: PLC0415 - an extra
        from watchfiles._rust_notify import WatchfilesRustInternalError  # noqa: PLC0415
    except ImportError:
        raise StorageError(
            "watching needs the library watchfiles",
            hint="pip install 'session-journal[watch]'",
            code="no-watchfiles",
        ) from None
    return watch, WatchfilesRustInternalError

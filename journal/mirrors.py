"""The mirrors of one journal: registered, served after each commit, reconciled at fences."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journal.commands import command_on
from journal.controls import fact
from journal.errors import JournalError, MirrorError, NotFoundError
from journal.files import is_journals_own
from journal.foreign import Recorder
from journal.mending import KEEP, REFUSE
from journal.mirror import Mirror
from journal.mirrorfile import check_holds_lines, is_file, make_file, mode_of, real_path
from journal.mirrorstatus import MirrorStatus, status_of
from journal.model import check_label
from journal.permitting import permit
from journal.process import this_process
from journal.registry import MirrorFact
from journal.serverplace import A_COPYS, UNTOLD, is_untold, whose
from journal.sidefiles import SideFiles, untold
from journal.store import log

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Iterator

    from journal.engine import Cursor
    from journal.reconcile import Plan
    from journal.sidefile import Fresh
    from journal.store import Store


# Of the files that a process has served lately; a shell gives it 1,024 descriptors for all it does.
MOST_OPEN: Final = 256


class Mirrors:
    """Every mirror this process serves; made with the journal, opened when first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sides = SideFiles(store)
        self._open: dict[int, Mirror] = {}
        # Whose files may be open, the one asked for last at the end.
        self._recent: dict[int, Mirror] = {}
        self._seen: set[int] = set()

    # -- what is registered -----------------------------------------------------------

    def facts(self) -> list[MirrorFact]:
        """Return every registered mirror."""
        with self._store.snapshot():
            return sorted(self._store.registry.mirrors.values())

    def add(
        self, key: str, path: str | os.PathLike[str], *, on_edit: str | None = None
    ) -> MirrorFact:
        """Register a session's mirror and bring file and journal together.

        A file that is there already is compared, never written over: what it
        holds that the session does not becomes external entries.

        Args:
            key: the session's.
            path: the file.
            on_edit: "keep" or "refuse"; None is as it was registered, and "keep" if it is new.

        Raises:
            MirrorError: the path cannot be used, another session has it, this
                session has another mirror, or it was registered otherwise.

        """
        if on_edit not in (None, KEEP, REFUSE):
            raise MirrorError(f"{on_edit!r} is no way to treat edits", hint="keep, or refuse")
        if is_untold(self._store.place):
            raise untold()
        found = real_path(path)
        self._refuse_own(found)
        check_holds_lines(found)
        self._sides.of(found, create=True)  # or nobody could serve it
        with self._store.transaction() as cursor:
            chain = self._store.open_chain(cursor, key)
            known = self._store.registry.mirrors.get(chain.session_id)
            if known is not None and self._whose(known) == A_COPYS:
                self._unregister(cursor, known)
                known = None
            if known is None or known.path != found or not self._store.serves(known):
                self._check_free(chain.session_id, found)
                known = None
            if known is not None and on_edit not in (None, known.on_edit):
                raise MirrorError(
                    f"{found} is the mirror of {key!r} already, on edit {known.on_edit}",
                    hint=f"{command_on(key, 'mirror remove')}  # then add it anew",
                    code="mirror-there",
                )
            made = known or self._register(cursor, chain.session_id, found, on_edit or KEEP)
            if known is None:
                Recorder(self._store, made).begin(cursor, chain)
                # Another had it, where an older database was put back.
                self._sides.of(found).forget(made.number)
                make_file(found, made.mode)  # or who writes before we come to it calls it gone
        self._begin(made, is_new=known is None)
        return made

    def _refuse_own(self, found: str) -> None:
        """Refuse the journal's own files: its lines would be written into the database."""
        if self._store.keeps_files and is_journals_own(Path(found), Path(self._store.path)):
            raise MirrorError(
                f"{found} belongs to the journal", hint="name another file", code="own-file"
            )

    def _whose(self, known: MirrorFact) -> str:
        return whose(known.place, self._store.place)

    def _begin(self, made: MirrorFact, *, is_new: bool) -> None:
        """Make a new mirror's file, and bring any mirror's up to the journal."""
        mirror = self.mirror(made.session_id)
        if mirror is None:
            return
        if is_new:
            with self._told(mirror):
                mirror.create()
        elif mirror.known() is None and not is_file(made.path):
            with self._told(mirror):  # whoever registered it came no further
                mirror.create()
        else:
            mirror.serve()

    def opened(self, key: str) -> None:
        """Heal what a crash left undone, when a session is first opened in this process."""
        with self._store.snapshot() as cursor:
            chain = self._store.find_chain(cursor, key) if self._store.registry.mirrors else None
        if chain is None or chain.session_id in self._seen:
            return
        self._seen.add(chain.session_id)
        self.serve(chain.session_id)

    def _check_free(self, session_id: int, path: str) -> None:
        registry = self._store.registry
        known = registry.mirrors.get(session_id)
        if known is not None:
            where = "" if self._store.serves(known) else f", {self._where(known)}"
            key = registry.session_keys[session_id]
            raise MirrorError(
                f"{key!r} has its mirror at {known.path}{where}",
                hint=f"{command_on(key, 'mirror remove')}  # then add the other",
                code="mirror-elsewhere",
            )
        for other in registry.mirrors.values():
            if other.path == path and self._store.has_file(other):
                raise MirrorError(
                    f"{path} is the mirror of {registry.session_keys[other.session_id]!r}",
                    hint="name another path",
                    code="mirror-taken",
                )

    def _register(self, cursor: Cursor, session_id: int, path: str, on_edit: str) -> MirrorFact:
        store = self._store
        number = store.registry.mirror_count + 1
        writer = store.declare(cursor, f"external:mirror-{number}", "external")
        made = MirrorFact(
            number, session_id, this_process().host, path, on_edit, writer.id, mode_of(path),
            store.place,
        )  # fmt: skip
        store.record(cursor, fact("mirror", **made.told()))
        cursor.execute(
            "INSERT OR REPLACE INTO mirrors(id, session_id, host, path, on_edit, state, writer_id, "
            "layout_no, synced_to, added_us, mac) VALUES (?, ?, ?, ?, ?, 'on', ?, 0, 0, ?, x'')",
            (number, session_id, made.host, path, on_edit, writer.id, store.clock()),
        )
        return made

    def remove(self, key: str) -> MirrorFact:
        """Stop mirroring a session; the file stays as it is, but for what a redaction left half done."""
        known = self.of(key)
        with suppress(JournalError, OSError):  # a file that cannot be used can be let go, too
            serving = self.mirror(known.session_id)
            if serving is not None:
                serving.undo()
        with self._store.transaction() as cursor:
            now = self._store.registry.mirrors.get(known.session_id)
            if now is not None and now.number == known.number:
                self._unregister(cursor, now)  # else somebody has, and may have added another since
        self._recent.pop(known.number, None)
        mirror = self._open.pop(known.number, None)
        if mirror is not None:
            mirror.close()
        return known

    def _unregister(self, cursor: Cursor, known: MirrorFact) -> None:
        self._store.record(cursor, fact("unmirror", session_id=known.session_id))
        cursor.execute(
            "UPDATE mirrors SET state = 'removed', removed_us = ? WHERE id = ?",
            (self._store.clock(), known.number),
        )

    def permit(self, key: str, *, permitted: bool, reason: str) -> None:
        """Say that a mirror's other program is known: its entries are "permitted", never trusted."""
        permit(self._store, self.of(key), permitted=permitted, reason=reason)

    def of(self, key: str) -> MirrorFact:
        """Return a session's mirror.

        Raises:
            NotFoundError: it has none.

        """
        store = self._store
        chain = store.registry.chain_of(key) if store.is_current() else None
        if chain is None:
            with store.snapshot() as cursor:
                chain = store.find_chain(cursor, key)
        found = None if chain is None else self._registered(chain.session_id)
        if found is None:
            raise NotFoundError(
                f"{key!r} has no mirror", hint="journal mirror add SESSION PATH", code="no-mirror"
            )
        return found

    # -- what is served ---------------------------------------------------------------

    def mirror(self, session_id: int) -> Mirror | None:
        """Return a session's mirror to work with; None if it has none that is served here.

        Raises:
            MirrorError: it may be served here, and cannot.

        """
        registered = self._registered(session_id)
        if registered is None or not self._store.serves(registered):
            if registered is not None and self._may_be_ours(registered):
                raise untold()
            return None
        found = self._open.get(registered.number)
        if found is None:
            made = Mirror(self._store, self._sides.of(registered.path), registered)
            # One for all threads, whichever came first: two would not wait for each other.
            found = self._open.setdefault(registered.number, made)
        found.become(registered)
        self._have_others_rest(found)
        return found

    def _registered(self, session_id: int) -> MirrorFact | None:
        """Return a session's mirror; where none is known here another thread may have rolled back all that was."""
        known = self._store.registry.mirrors.get(session_id)
        if known is None:
            with self._store.snapshot():
                known = self._store.registry.mirrors.get(session_id)
        return known

    def _have_others_rest(self, found: Mirror) -> None:
        """Keep few files open at once: a process may have many thousand sessions, and a thousand descriptors."""
        number = found.fact.number
        self._recent.pop(number, None)
        self._recent[number] = found
        if len(self._recent) > MOST_OPEN:
            # The next oldest where somebody is at the oldest; never the one that is asked for.
            longest_ago = [*self._recent.items()][: len(self._recent) // 2]
            at = next((at for at, other in longest_ago if other.rest()), None)
            self._recent.pop(at or 0, None)

    def elsewhere(self, session_id: int) -> tuple[str, str] | None:
        """Return the path of a session's mirror that is served elsewhere, and where; None if none is.

        One of the journal that this was copied from is none of ours; of one that may be served
        here :meth:`mirror` says why it is not.
        """
        known = self._registered(session_id)
        if known is None or self._store.serves(known) or self._whose(known) == A_COPYS:
            return None
        if self._may_be_ours(known):
            return None
        return known.path, self._where(known)

    def _may_be_ours(self, fact: MirrorFact) -> bool:
        return fact.host == this_process().host and self._whose(fact) == UNTOLD

    def serve(self, session_id: int, fresh: Fresh | None = None) -> None:
        """Bring a session's file up to the journal; never raises what an append must not fail by.

        ``fresh`` is what was committed a moment ago, if that is known.
        """
        try:
            mirror = self.mirror(session_id)
        except JournalError as error:
            log.warning("a mirror could not be served: %s", error)
            return
        if mirror is not None:
            mirror.serve(fresh)

    def reconcile(
        self,
        session_id: int,
        *,
        is_final: bool = False,
        is_cheap: bool = False,
        is_lazy: bool = False,
        floor: tuple[int, int] | None = None,
    ) -> Plan | None:
        """Turn what reached a session's file into entries; None if it has no mirror here.

        ``floor`` is a size that the file had, and the seq at which it had it. Where
        ``is_cheap``, the file is not synced: that is its program's affair until a fence
        or a close. The entries are durable all the same, but where ``is_lazy``: then whoever
        asks makes the journal durable before anybody is told of them.
        """
        mirror = self.mirror(session_id)
        if mirror is None:
            return None
        with self._told(mirror):
            return mirror.reconcile(
                is_final=is_final, is_cheap=is_cheap, is_lazy=is_lazy, floor=floor
            )

    @contextmanager
    def _told(self, mirror: Mirror) -> Iterator[None]:
        """Have what goes wrong both remembered and raised as ours."""
        try:
            yield
        except OSError as error:
            mirror.failed(error)
            raise MirrorError(
                f"the mirror {mirror.fact.path}: {error}", hint="journal mirror status"
            ) from error
        except JournalError as error:
            mirror.failed(error)
            raise
        mirror.error, mirror.failures = None, 0

    def position(self, session_id: int) -> tuple[int, int] | None:
        """Return how much of which layout is in a session's file, as far as this host knows."""
        mirror = self.mirror(session_id)
        known = None if mirror is None else mirror.known()
        return None if known is None else (known.size, known.layout_no)

    def resume(self, key: str, reason: str) -> None:
        """Serve a mirror again that stopped because somebody edited its file.

        Raises:
            NotFoundError: the session has no mirror here.
            MirrorError: it did not stop.

        """
        check_label(reason, "reason")
        mirror = self.here(key)
        if self._state(mirror) != "refused":
            message = f"the mirror of {key!r} was not stopped by an edit"
            raise MirrorError(message, hint="journal mirror status", code="mirror-not-stopped")
        mirror.resume(reason)
        mirror.serve()

    def recreate(self, key: str) -> None:
        """Make a mirror's file again from the journal, where it is gone."""
        mirror = self.here(key)
        with self._told(mirror):
            mirror.create()

    def status(self, keys: Container[str] | None = None) -> list[MirrorStatus]:
        """Return how the mirrors of these sessions, or all, are doing, without touching any file."""
        with self._store.snapshot():
            names = self._store.registry.session_keys
            found = [(known, names[known.session_id]) for known in self.facts()]
        return [self._status(known, key) for known, key in found if keys is None or key in keys]

    def here(self, key: str) -> Mirror:
        """Return a session's mirror, to look into its file or to serve it.

        Raises:
            NotFoundError: it has none, or it is served elsewhere.

        """
        known = self.of(key)
        mirror = self.mirror(known.session_id)
        if mirror is None:
            raise NotFoundError(
                f"the mirror of {key!r} is {self._where(known)}",
                hint="do this there",
                code="mirror-elsewhere",
            )
        return mirror

    def _where(self, fact: MirrorFact) -> str:
        """Say by whom a mirror is served that is not served here."""
        if self._whose(fact) == A_COPYS:
            return f"served on the host {fact.host} by the journal that this was copied from, if by any"
        if fact.host != this_process().host:
            return f"served on the host {fact.host}, not on this one"
        return f"served by the user {fact.place.rpartition('/')[2]} of this host"

    def _state(self, mirror: Mirror) -> str | None:
        with self._store.snapshot() as cursor:
            return mirror.chain(cursor).mirror_state

    def _status(self, fact: MirrorFact, key: str) -> MirrorStatus:
        try:
            mirror = self.mirror(fact.session_id)
            is_here = mirror is not None and is_file(fact.path)
        except MirrorError as error:
            return MirrorStatus(key, fact.path, fact.host, "failing", str(error))
        if mirror is None:
            return MirrorStatus(key, fact.path, fact.host, "elsewhere", self._where(fact))
        return status_of(mirror, fact, key, is_here=is_here)

    def sync(self) -> None:
        """Wait for whoever writes to a file, and make every file durable."""
        for mirror in list(self._open.values()):
            mirror.settle()

    def abandon(self) -> None:
        """Let go of every file and lock; in a forked child they are its parent's."""
        # A copy: another thread's last line may open one meanwhile.
        for mirror in list(self._open.values()):
            mirror.abandon()
        self._open.clear()
        self._recent.clear()
        self._sides.close()

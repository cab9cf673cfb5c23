"""The mirrors of one journal: registered, served after each commit, reconciled at fences."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from journal.controls import fact
from journal.errors import JournalError, MirrorError, NotFoundError
from journal.mirror import Mirror
from journal.mirrorfile import real_path
from journal.model import check_label
from journal.process import this_process
from journal.registry import MirrorFact
from journal.sidefile import SideFile

if TYPE_CHECKING:
    from journal.engine import Cursor
    from journal.reconcile import Plan
    from journal.store import Store

KEEP = "keep"
REFUSE = "refuse"
_FIRST_MODE = 0o600


class Mirrors:
    """Every mirror this process serves; made with the journal, opened when first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._side: SideFile | None = None
        self._open: dict[int, Mirror] = {}

    # -- what is registered -----------------------------------------------------------

    def facts(self) -> list[MirrorFact]:
        """Return every registered mirror."""
        with self._store.snapshot():
            return sorted(self._store.registry.mirrors.values())

    def add(self, key: str, path: str | os.PathLike[str], *, on_edit: str = KEEP) -> MirrorFact:
        """Register a session's mirror and bring file and journal together.

        A file that is there already is compared, never written over: what it
        holds that the session does not becomes external entries.

        Raises:
            MirrorError: the path cannot be used, another session has it, or this
                session has another mirror.

        """
        if on_edit not in (KEEP, REFUSE):
            raise MirrorError(f"{on_edit!r} is no way to treat edits", hint="keep, or refuse")
        found = real_path(path)
        with self._store.transaction() as cursor:
            chain = self._store.open_chain(cursor, key)
            known = self._store.registry.mirrors.get(chain.session_id)
            if known is not None and known.path == found:
                return known
            self._check_free(chain.session_id, found)
            made = self._register(cursor, chain.session_id, found, on_edit)
        self.reconcile(made.session_id)
        return made

    def _check_free(self, session_id: int, path: str) -> None:
        registry = self._store.registry
        known = registry.mirrors.get(session_id)
        if known is not None:
            raise MirrorError(
                f"{registry.session_keys[session_id]!r} has its mirror at {known.path}",
                hint="journal mirror remove SESSION, then add the other",
                code="mirror-elsewhere",
            )
        for other in registry.mirrors.values():
            if other.path == path and other.host == this_process().host:
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
            number, session_id, this_process().host, path, on_edit, writer.id, _mode(path)
        )
        store.record(cursor, fact("mirror", **made._asdict()))
        cursor.execute(
            "INSERT OR REPLACE INTO mirrors(id, session_id, host, path, on_edit, state, writer_id, "
            "layout_no, synced_to, added_us, mac) VALUES (?, ?, ?, ?, ?, 'on', ?, 0, 0, ?, x'')",
            (number, session_id, made.host, path, on_edit, writer.id, store.clock()),
        )
        return made

    def remove(self, key: str) -> MirrorFact:
        """Stop mirroring a session; the file stays as it is."""
        known = self.of(key)
        with self._store.transaction() as cursor:
            self._store.record(cursor, fact("unmirror", session_id=known.session_id))
            cursor.execute(
                "UPDATE mirrors SET state = 'removed', removed_us = ? WHERE id = ?",
                (self._store.clock(), known.number),
            )
        mirror = self._open.pop(known.number, None)
        if mirror is not None:
            mirror.close()
        return known

    def permit(self, key: str, *, permitted: bool, reason: str) -> None:
        """Say that a mirror's other program is known: its entries are "permitted", never trusted."""
        check_label(reason, "reason")
        known = self.of(key)
        with self._store.transaction() as cursor:
            permit = fact("permit", id=known.writer_id, permitted=permitted, reason=reason)
            self._store.record(cursor, permit)

    def of(self, key: str) -> MirrorFact:
        """Return a session's mirror.

        Raises:
            NotFoundError: it has none.

        """
        with self._store.snapshot() as cursor:
            chain = self._store.find_chain(cursor, key)
            found = None if chain is None else self._store.registry.mirrors.get(chain.session_id)
        if found is None:
            raise NotFoundError(
                f"{key!r} has no mirror", hint="journal mirror add SESSION PATH", code="no-mirror"
            )
        return found

    # -- what is served ---------------------------------------------------------------

    def mirror(self, session_id: int) -> Mirror | None:
        """Return a session's mirror to work with; None if it has none on this host."""
        registered = self._store.registry.mirrors.get(session_id)
        if registered is None or registered.host != this_process().host:
            return None
        found = self._open.get(registered.number)
        if found is None:
            found = self._open[registered.number] = Mirror(
                self._store, self._side_file(), registered
            )
        return found

    def _side_file(self) -> SideFile:
        if self._side is None:
            self._side = SideFile(f"{self._store.path}-mirrors", self._store.mac)
        return self._side

    def serve(self, session_id: int) -> None:
        """Bring a session's file up to the journal; never raises what an append must not fail by."""
        mirror = self.mirror(session_id)
        if mirror is not None:
            mirror.serve()

    def reconcile(self, session_id: int, *, is_final: bool = False) -> Plan | None:
        """Turn what reached a session's file into entries; None if it has no mirror here."""
        mirror = self.mirror(session_id)
        if mirror is None:
            return None
        try:
            found = mirror.reconcile(is_final=is_final)
            mirror.error = None
        except OSError as error:
            mirror.error = str(error)
            raise MirrorError(
                f"the mirror {mirror.fact.path}: {error}", hint="journal mirror status"
            ) from error
        except JournalError as error:
            mirror.error = str(error)
            raise
        return found

    def close(self) -> None:
        """Make every file durable and let them go."""
        for mirror in self._open.values():
            mirror.close()
        self._open.clear()
        if self._side is not None:
            self._side.close()
            self._side = None


def _mode(path: str) -> int:
    try:
        return stat.S_IMODE(os.lstat(path).st_mode)
    except FileNotFoundError:
        return _FIRST_MODE

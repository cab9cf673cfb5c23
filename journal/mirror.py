"""One session's mirror: its file kept equal to the layout, whatever else is done to it.

The file is written after the commit is durable, by whoever holds the mirror's
lock, and others' lines are carried along. What it holds that the journal did not
write becomes entries by the mirror's external writer before the file is written
to again. ``docs/mirror.md`` tells the whole.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from journal import mending, reconciling
from journal import reconcile as plans
from journal.comparison import Compared, rows_of
from journal.errors import JournalError, MirrorError
from journal.explanation import counted
from journal.foreign import Recorder
from journal.mirrorfile import MirrorFile, is_file, make_file
from journal.reconciling import Look
from journal.sidefile import Fresh, Hold, Known, SlotLock
from journal.store import log
from journal.undoing import undo_redaction

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.reconcile import Plan
    from journal.registry import MirrorFact
    from journal.sidefile import SideFile
    from journal.store import Store

_SYNC_EVERY_S: Final = 1.0
_MOST_AT_ONCE: Final = 16 * 1024 * 1024


class Mirror:
    """One session's mirror, as this process serves it.

    Attributes:
        error: what went wrong the last time, or None.
        failures: how many times in a row it could not be served.

    """

    def __init__(self, store: Store, side: SideFile, mirror: MirrorFact) -> None:
        self.store = store
        self.fact = mirror
        self._slot = SlotLock(side, mirror.number)
        self.error: str | None = None
        self.failures = 0
        self.side = side
        self._file: MirrorFile | None = None
        self.recorder = Recorder(store, mirror)
        self._synced_at = time.monotonic()

    @property
    def lock(self) -> Hold:
        """A block inside the mirror's lock; each time a new one."""
        return Hold(self._slot)

    def become(self, mirror: MirrorFact) -> None:
        """Go by what is registered now: another writer may have been given to the same mirror."""
        if mirror is not self.fact:
            self.fact, self.recorder = mirror, Recorder(self.store, mirror)

    # -- the file and what is known of it ---------------------------------------------

    def file(self) -> MirrorFile | None:
        """Return the file that stands at the path now; None if none does."""
        if self._file is not None and not self._file.is_here:
            self._file.close()
            self._file = None
        if self._file is None and is_file(self.fact.path):
            self._file = MirrorFile(self.fact.path)
        return self._file

    def known(self) -> Known | None:
        """Return what the processes of this host know of the file."""
        return self.side.read(self.fact.number)

    def know(self, known: Known) -> None:
        """Share what is known of the file."""
        self.side.write(self.fact.number, known)

    def create(self) -> None:
        """Make the file, empty, where there is none, and write the session to it."""
        with self.lock:
            if not is_file(self.fact.path):
                self.abandon()  # one that has its name no more
                self.side.forget(self.fact.number)
                make_file(self.fact.path, self.fact.mode)
                chain = self.now()
                if chain.mirror_state is not None or chain.layout_size:
                    self.recorder.note("edit", what="made", mirror=self.fact.number)
            self.reconcile()

    def resume(self, reason: str) -> None:
        """Record that the file may be written to again."""
        with self.lock:
            self.recorder.note("edit", what="resumed", mirror=self.fact.number, reason=reason)

    def undo(self) -> None:
        """Put back what an interrupted redaction overwrote, if anything."""
        with self.lock:
            file = self.file()
            if file is not None:
                undo_redaction(self, file)

    def settle(self) -> None:
        """Make what was written durable."""
        try:
            with self.lock:
                self.sync()
        except (JournalError, OSError) as error:
            log.warning("mirror %s was not synced: %s", self.fact.path, error)

    def close(self) -> None:
        """Make what was written durable, and close the file."""
        self.settle()
        self.abandon()

    def rest(self) -> bool:
        """Let the file go if nobody is at it just now; it is opened again when it is asked for. Return whether it is closed."""
        if self._file is None:
            return True
        hold = self.lock
        try:
            if not hold.begin_at_once():
                return False
        except (JournalError, OSError):
            return False  # the journal is being closed
        try:
            if self._file is not None and self._file.is_unsynced:
                self.sync()
        except (JournalError, OSError) as error:
            log.warning("mirror %s was not synced: %s", self.fact.path, error)
        finally:
            try:
                self.abandon()
            finally:  # whatever interrupt comes
                hold.end()
        return True

    def abandon(self) -> None:
        """Close the file and nothing else, as a forked child must."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def sync(self) -> None:
        """Make what was written survive a power cut, and remember up to where."""
        known = self.known()
        if self._file is None or known is None or known.synced_to == known.size:
            return
        self._file.sync()
        self.know(known._replace(synced_to=known.size))
        self.side.sync()
        self._synced_at = time.monotonic()

    def chain(self, cursor: Cursor) -> Chain:
        """Return the session's chain, fresh."""
        key = self.store.registry.session_keys[self.fact.session_id]
        chain = self.store.find_chain(cursor, key)
        if chain is None:
            message = f"the session of mirror {self.fact.path} is gone"
            raise MirrorError(message, hint="journal audit")
        self.store.fresh(chain)
        chain.know_facts(cursor)
        return chain

    def now(self) -> Chain:
        """Return the session's chain as it is now."""
        store = self.store
        if store.is_current():
            registry = store.registry
            chain = registry.chain_of(registry.session_keys.get(self.fact.session_id, ""))
            if chain is not None and chain.generation == store.generation and chain.knows_facts:
                return chain
        with store.snapshot() as cursor:
            return self.chain(cursor)

    # -- serving ----------------------------------------------------------------------

    def serve(self, fresh: Fresh | None = None) -> None:
        """Bring the file up to the journal; never fail the append that called for it."""
        try:
            with self.lock:
                if not self._append_new(fresh) and self.now().mirror_state != "refused":
                    self.reconcile(is_cheap=True)
                if time.monotonic() - self._synced_at > _SYNC_EVERY_S:
                    self.sync()
                    self._synced_at = time.monotonic()
            self.error, self.failures = None, 0
        except (JournalError, OSError) as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Remember that the file could not be served; it is tried again at the next write."""
        self.error = str(error)
        self.failures += 1
        if self.failures & (self.failures - 1) == 0:  # the first, second, fourth, …
            path, times = self.fact.path, counted(self.failures, "time")
            log.warning("mirror %s could not be served (%s): %s", path, times, error)

    def _append_new(self, fresh: Fresh | None) -> bool:
        """Append what the file lacks, if it looks as we left it; return whether all is done."""
        known, file = self.known(), self.file()
        if known is None or file is None or not known.exported_seq or known.cut_to >= 0:
            return False
        if known.inode != file.inode or known.boot_id != mending.this_boot():
            return False
        if (
            fresh is None
            or fresh.before != known.exported_seq
            or fresh.layout_no != known.layout_no
        ):
            fresh = self._lacking(known)
        if fresh is None or not file.extend(known.size, fresh.data):
            return False
        if fresh.head != known.exported_seq:
            self.know(known.after(fresh))
        return True

    def _lacking(self, known: Known) -> Fresh | None:
        """Return what was committed since the file was written; None if that is not its end."""
        with self.store.snapshot() as cursor:
            chain = self.chain(cursor)
            if chain.layout.no != known.layout_no or chain.mirror_state is not None:
                return None
            if chain.redacting is not None and chain.redacting.mirror == self.fact.number:
                return None
            head = chain.head.seq
            if known.is_ahead(head, chain.layout.no):
                return None
            parts: list[bytes] = []
            size = 0
            for row in rows_of(self.store, chain, [(known.exported_seq + 1, head)]):
                parts += (row.body or b"", row.terminator)
                size += len(row.body or b"")
                if size > _MOST_AT_ONCE:
                    return None  # what another host wrote, say: a comparison has it written piece by piece
        self.store.make_durable()  # others' lines: in the file they must not outlive the log
        return Fresh(b"".join(parts), known.exported_seq, head, known.layout_no)

    # -- reconciling ------------------------------------------------------------------

    def reconcile(
        self,
        *,
        is_final: bool = False,
        is_cheap: bool = False,
        is_lazy: bool = False,
        floor: tuple[int, int] | None = None,
    ) -> Plan:
        """Turn foreign edits into entries, then write what the file lacks; return what was found.

        Args:
            is_final: an unterminated foreign tail becomes an entry too, as at a fence.
            is_cheap: before a write of ours: neither sync nor vouch for the times.
            is_lazy: what was only appended need not be durable yet: whoever asks makes
                the journal durable before anybody is told.
            floor: a size that the file had, and the seq at which it had it:
                it must have it still, unless the session was rewritten since.

        A file whose size, inode and times are as known is not read.

        Raises:
            MirrorError: the file cannot be used, or changes faster than it is read.

        """
        look = Look(is_final, is_cheap, is_lazy, floor)
        with self.lock:
            return reconciling.reconcile(self, look)

    def preview(self) -> Plan:
        """Return what reconciling would do, and do nothing."""
        with self.lock:
            return reconciling.preview(self)

    def plan(
        self,
        compared: Compared,
        *,
        is_final: bool,
        floor: tuple[int, int] | None = None,
        exported: int | None = None,
    ) -> Plan:
        """Return what became of a file that was compared; ``exported`` if that is known better."""

        def bytes_of(seq: int) -> bytes:
            row = next(rows_of(self.store, compared.chain, [(seq, seq)]))
            return (row.body or b"") + row.terminator

        if exported is None:
            exported = self._exported(compared, floor)
        return plans.plan(
            compared.own,
            compared.found,
            bytes_of,
            position=compared.offset,
            exported=exported,
            is_final=is_final,
        )

    def _exported(self, compared: Compared, floor: tuple[int, int] | None) -> int | None:
        """Return how much of the layout is known to have been in the file; None if nothing is."""
        known, chain = self.known(), compared.chain
        sizes = []
        if known is not None and known.layout_no == compared.newest_no:
            sizes.append(known.size)
        if chain.layout_size and chain.layout.no == compared.newest_no:
            sizes.append(chain.layout_size)  # what the file had when it gave the layout
        if floor is not None and chain.layout_seq <= floor[1]:
            sizes.append(floor[0])
        return max(sizes, default=None)

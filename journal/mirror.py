"""One session's mirror: its file kept equal to the layout, whatever else is done to it.

The file is written after the commit is durable, by whoever holds the mirror's
lock, and others' lines are carried along. What it holds that the journal did not
write becomes entries by the mirror's external writer before the file is written
to again. ``docs/mirror.md`` tells the whole.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from journal import mending
from journal import reconcile as plans
from journal.comparison import BEGINNING, Compared, Start, compare, rows_of
from journal.errors import JournalError, MirrorError
from journal.foreign import CHUNK, Recorder, in_file
from journal.mending import (
    ChangedError,
    is_rewritten,
    mend_damage,
    read,
    rewrite,
)
from journal.mirrorfile import MirrorFile, is_file
from journal.reconcile import LINE_END, Plan
from journal.sidefile import Fresh, Known, SlotLock
from journal.store import log
from journal.undoing import Restored, undo_redaction

if TYPE_CHECKING:
    import os

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.registry import MirrorFact
    from journal.sidefile import Hold, SideFile
    from journal.store import Store

# Within one tick of a coarse clock a later change can leave the very same times.
TICK_NS: Final = 20_000_000
# From this size on reading it again takes longer than to wait a tick out.
_WORTH_A_TICK: Final = 16 * 1024 * 1024
_SYNC_EVERY_S: Final = 1.0
_TRIES: Final = 8
_LAZY_TRIES: Final = 2  # one to take lines in, one to see that this was all

KEEP: Final = "keep"
REFUSE: Final = "refuse"


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
        return self._slot.held()

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
                self.side.forget(self.fact.number)
                self._file = MirrorFile(self.fact.path, create=True, mode=self.fact.mode)
                if self.now().mirror_state == "gone":
                    self.recorder.note("edit", what="made", mirror=self.fact.number)
            self.reconcile()

    def resume(self, reason: str) -> None:
        """Record that the file may be written to again."""
        with self.lock:
            self.recorder.note("edit", what="resumed", mirror=self.fact.number, reason=reason)

    def close(self) -> None:
        """Make what was written durable, and close the file."""
        try:
            with self.lock:
                self.sync()
        except (JournalError, OSError) as error:
            log.warning("mirror %s was not synced: %s", self.fact.path, error)
        self.abandon()

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
        with self.store.snapshot() as cursor:
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
            path, times = self.fact.path, self.failures
            log.warning("mirror %s could not be served (%d times): %s", path, times, error)

    def _append_new(self, fresh: Fresh | None) -> bool:
        """Append what the file lacks, if it looks as we left it; return whether all is done."""
        known, file = self.known(), self.file()
        if known is None or file is None or not known.exported_seq or known.cut_to >= 0:
            return False
        if (
            known.inode != file.inode
            or file.size != known.size
            or known.boot_id != mending.this_boot()
        ):
            return False
        if fresh is None or (fresh.before, fresh.layout_no) != (
            known.exported_seq,
            known.layout_no,
        ):
            fresh = self._lacking(known)
        if fresh is None:
            return False
        if fresh.data:
            file.append(fresh.data)
        size = known.size + len(fresh.data)
        if file.size != size:
            return False
        if fresh.data:
            known = known._replace(size=size, mtime_ns=0, ctime_ns=0)
        if fresh.head != known.exported_seq:
            self.know(known._replace(exported_seq=fresh.head))
        return True

    def _lacking(self, known: Known) -> Fresh | None:
        """Return what was committed since the file was written; None if that is not its end."""
        with self.store.snapshot() as cursor:
            chain = self.chain(cursor)
            if chain.layout.no != known.layout_no or chain.mirror_state is not None:
                return None
            if chain.redacting is not None:
                return None
            head = max(chain.head.seq, known.exported_seq)
            rows = list(rows_of(self.store, chain, [(known.exported_seq + 1, head)]))
        self.store.make_durable()  # others' lines: in the file they must not outlive the log
        data = b"".join([part for row in rows for part in (row.body or b"", row.terminator)])
        return Fresh(data, known.exported_seq, head, known.layout_no)

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
        with self.lock:
            if not is_cheap and self._is_unchanged(floor):
                return Plan(plans.IN_STEP)
            first: Plan | None = None
            for tried in range(_TRIES):
                is_lazy = is_lazy and tried < _LAZY_TRIES
                file = self._present()
                if file is None:
                    return first or Plan(plans.GONE)
                mend_damage(self, file)
                try:
                    found, is_settled = self._pass(
                        file,
                        is_final=is_final,
                        is_cheap=is_cheap,
                        is_lazy=is_lazy,
                        floor=floor,
                    )
                except ChangedError:
                    continue
                first = found if first is None or first.what == plans.BEHIND else first
                if is_settled:
                    if not is_cheap:
                        self.sync()
                    return first
        raise MirrorError(
            f"the mirror {self.fact.path} changes faster than it can be compared", hint="try again"
        )

    def preview(self) -> Plan:
        """Return what reconciling would do, and do nothing."""
        with self.lock:
            file = self.file()
            if file is None:
                return Plan(plans.GONE)
            restored = Restored(self, file)  # what an interrupted redaction left is nobody's edit
            return self.plan(compare(self.store, self.now(), restored), is_final=True)

    def _present(self) -> MirrorFile | None:
        """Return the file, or record, once, that it is there no more; or that it is back."""
        file, chain = self.file(), self.now()
        if file is None:
            if chain.mirror_state != "gone":
                self.recorder.edit("gone", path=self.fact.path)
            return None
        file.check()
        if chain.mirror_state == "gone":
            self.recorder.note("edit", what="back", mirror=self.fact.number)
        if chain.redacting is not None:
            undo_redaction(self, file)
        return file

    def _is_unchanged(self, floor: tuple[int, int] | None) -> bool:
        known, file = self.known(), self.file()
        if known is None or file is None or not known.mtime_ns or known.cut_to >= 0:
            return False
        seen = _times(file.status())
        if seen != (known.device, known.inode, known.size, known.mtime_ns, known.ctime_ns):
            return False
        if floor is not None and known.size < floor[0]:
            return False
        chain = self.now()
        return chain.layout.no == known.layout_no and chain.head.seq == known.exported_seq

    def _pass(
        self,
        file: MirrorFile,
        *,
        is_final: bool,
        is_cheap: bool,
        is_lazy: bool,
        floor: tuple[int, int] | None,
    ) -> tuple[Plan, bool]:
        """Compare once, take what is foreign, write what lacks; return whether all is settled."""
        # One state of the database for a look that nobody else in this process waits for.
        with self.store.snapshot() if is_lazy else nullcontext():
            compared, before = None, None
            if not is_rewritten(self):
                before = self._settled_times(file)
                compared = self._compare(file)
        if compared is None:
            return rewrite(self, file), False
        if is_rewritten(self):
            raise ChangedError  # between the two looks: the file has the old order still
        found = self.plan(compared, is_final=is_final, floor=floor)
        if found.foreign or found.is_relaid:
            self._take(file, compared, found, is_lazy=is_lazy)
            return found, False
        if found.tail is not None or self.now().mirror_state == "refused":
            return found, True  # somebody is still writing that line, or we may not write
        written = self._write(file, compared, found)
        size = compared.size + written
        if file.size != size:
            return found, False
        self._remember(file, compared, size, None if written or is_cheap else before)
        return found, True

    def _settled_times(self, file: MirrorFile) -> tuple[int, ...] | None:
        """Return the file's times if any later change must change them; None if it need not."""
        status = file.status()
        age_ns = time.time_ns() - status.st_ctime_ns
        if abs(age_ns) < TICK_NS and status.st_size >= _WORTH_A_TICK:
            time.sleep(TICK_NS / 1e9)
            status = file.status()
            age_ns = time.time_ns() - status.st_ctime_ns
        return _times(status) if age_ns >= TICK_NS else None

    def _compare(self, file: MirrorFile) -> Compared:
        """Compare all of the file: by its digest as far as it was compared before, then by rows.

        There is no looking at its end alone: a line put in before it moves all
        others, and their pieces would be called foreign.
        """
        known, chain = self.known(), self.now()
        start, begun, exported = BEGINNING, None, None
        if known is not None and known.layout_no == chain.layout.no:
            exported = known.size
            if known.checked_size:
                start, begun = Start(known.checked_size, known.checked_seq), known.digest
        if start.offset > file.size:
            start, begun = BEGINNING, None
        return compare(self.store, chain, file, start=start, begun=begun, exported=exported)

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

    def _take(self, file: MirrorFile, compared: Compared, found: Plan, *, is_lazy: bool) -> None:
        """Have what is foreign made entries, and note that the layout now begins as the file does."""
        is_lazy = is_lazy and not found.is_relaid and sum(x.size for x in found.foreign) < CHUNK
        if not is_lazy:
            file.sync()  # a layout says what the file has: a power cut must not take that back
        if not self.recorder.take(compared, found, lambda x: read(file, x), is_lazy=is_lazy):
            return
        is_benign = not found.is_edit and all(x.size == len(x.terminator) for x in found.foreign)
        if self.fact.on_edit == REFUSE and not is_benign and self.now().mirror_state is None:
            self.recorder.edit("refused", path=self.fact.path)
        known, chain = self.known() or Known(), self.now()
        if chain.rewritten_no > compared.newest_no:
            return
        keeps_digest = (
            compared.offset >= known.checked_size and known.layout_no == compared.newest_no
        )
        known = known._replace(
            size=in_file(compared, found),
            exported_seq=0,
            mtime_ns=0,
            ctime_ns=0,
            boot_id=mending.this_boot(),
            inode=file.inode,
            layout_no=chain.layout.no,
        )
        if not keeps_digest:
            known = known._replace(checked_size=0, checked_seq=0, digest=b"")
        self.know(known)

    def _write(self, file: MirrorFile, compared: Compared, found: Plan) -> int:
        """Append the lines that the file lacks; return how many bytes that were."""
        if not found.pending:
            return 0
        self.store.make_durable()  # what the file is given must not outlive the log
        skip, written = found.mend, 0
        batch: list[bytes] = []
        size = 0
        for row in rows_of(self.store, compared.chain, _spans(found.pending)):
            data = (row.body or b"") + row.terminator
            there = min(skip, len(data))
            batch.append(data[there:])
            size += len(data) - there
            skip -= there
            if size > _WORTH_A_TICK:
                file.append(b"".join(batch))
                written, batch, size = written + size, [], 0
        if batch:
            file.append(b"".join(batch))
        return written + size

    def _remember(
        self,
        file: MirrorFile,
        compared: Compared,
        size: int,
        before: tuple[int, ...] | None,
    ) -> None:
        """Note that the file is in step; with its times if they can be relied on."""
        status = file.status()
        known = self.known() or Known()
        is_still = before is not None and before == _times(status)
        if compared.differs is None:
            known = known._replace(
                checked_size=compared.offset, checked_seq=compared.head, digest=compared.digest
            )
        self.know(
            known._replace(
                device=status.st_dev,
                inode=status.st_ino,
                size=size,
                mtime_ns=status.st_mtime_ns if is_still else 0,
                ctime_ns=status.st_ctime_ns if is_still else 0,
                exported_seq=compared.head,
                layout_no=compared.newest_no,
                synced_to=min(known.synced_to, size),
                boot_id=mending.this_boot(),
                cut_to=-1,
            )
        )


def _times(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def _spans(seqs: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return single seqs as stretches, neighbours as one."""
    spans: list[tuple[int, int]] = []
    for seq in seqs:
        if seq == LINE_END:
            continue
        if spans and spans[-1][1] + 1 == seq:
            spans[-1] = (spans[-1][0], seq)
        else:
            spans.append((seq, seq))
    return spans

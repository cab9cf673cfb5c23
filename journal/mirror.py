"""Mirrors: a session's file kept equal to its layout, and what reaches it from outside.

The file is written after the commit is durable, by whoever holds the mirror's
lock, and others' lines are carried along. What it holds that the journal did
not write becomes entries by the mirror's external writer before the file is
written to again.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import reconcile as plans
from journal import statements as sql
from journal.controls import CONTROL, fact
from journal.errors import JournalError, MirrorError
from journal.layout import Extent, extents_of
from journal.mirrorfile import MirrorFile, lines_of
from journal.model import Row
from journal.process import boot_id
from journal.reconcile import Found, Own, digest_of_line
from journal.rewriting import store_layout
from journal.sidefile import Known, SlotLock
from journal.store import log
from journal.writing import LINE_END, Author, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.layout import Layout
    from journal.lines import Line
    from journal.model import Writer
    from journal.registry import MirrorFact
    from journal.sidefile import SideFile
    from journal.store import Store

# Within one tick of a coarse clock a later change can leave the very same times.
TICK_NS: Final = 20_000_000
_PAGE: Final = 500
_TRIES: Final = 8


class Compared(NamedTuple):
    """A file beside its layout: the own lines that stand as they should, and the rest of both."""

    chain: Chain
    head: int
    newest_no: int
    matched: list[int]
    own: list[Own]
    found: list[Found]
    first_missing: bytes | None
    size: int
    offset: int


class Mirror:
    """One session's mirror, as this process serves it."""

    def __init__(self, store: Store, side: SideFile, mirror: MirrorFact) -> None:
        self.store = store
        self.fact = mirror
        self.lock = SlotLock(side, mirror.number)
        self.error: str | None = None
        self._side = side
        self._file: MirrorFile | None = None

    # -- the file and what is known of it ---------------------------------------------

    def file(self) -> MirrorFile | None:
        """Return the file the path names now; None if there is none."""
        if self._file is not None and not self._file.is_here:
            self._file.close()
            self._file = None
        if self._file is None and os.path.lexists(self.fact.path):
            self._file = MirrorFile(self.fact.path)
        return self._file

    def close(self) -> None:
        """Make what was written durable, and close the file."""
        with self.lock:
            if self._file is None:
                return
            self._sync(self._file)
            self._file.close()
            self._file = None

    def _sync(self, file: MirrorFile) -> None:
        known = self._side.read(self.fact.number)
        if known is not None and known.synced_to != known.size:
            file.sync()
            self._side.write(self.fact.number, known._replace(synced_to=known.size))

    def known(self) -> Known | None:
        """Return what the processes of this host know of the file."""
        return self._side.read(self.fact.number)

    # -- serving ----------------------------------------------------------------------

    def serve(self) -> None:
        """Bring the file up to the journal; never fail the append that called for it."""
        try:
            with self.lock:
                if not self._append_new():
                    self.reconcile()
            self.error = None
        except (JournalError, OSError) as error:
            self.error = str(error)
            log.warning("mirror %s of %s: %s", self.fact.path, self.fact.session_id, error)

    def _append_new(self) -> bool:
        """Append what the file lacks, if the file is what we left; return whether it was."""
        known, file = self.known(), self.file()
        if known is None or file is None or known.inode == 0 or file.size != known.size:
            return False
        with self.store.snapshot() as cursor:
            chain = self._chain(cursor)
            if chain.layout.no != known.layout_no:
                return False
            head = chain.head.seq
            rows = _lines(cursor, chain, known.exported_seq + 1, head)
            data = b"".join([part for row in rows for part in (row.body or b"", row.terminator)])
        if data:
            file.append(data)
        size = known.size + len(data)
        is_ours = file.size == size
        self._side.write(
            self.fact.number,
            known._replace(size=size, exported_seq=head, mtime_ns=0, ctime_ns=0) if data
            else known._replace(exported_seq=head),
        )  # fmt: skip
        return is_ours

    def _chain(self, cursor: Cursor) -> Chain:
        chain = self.store.find_chain(
            cursor, self.store.registry.session_keys[self.fact.session_id]
        )
        if chain is None:
            message = f"the session of mirror {self.fact.path} is gone"
            raise MirrorError(message, hint="journal audit")
        self.store.fresh(chain)
        chain.load_facts(cursor)
        return chain

    # -- reconciling ------------------------------------------------------------------

    def reconcile(self, *, is_final: bool = False) -> plans.Plan:
        """Turn foreign edits into entries, then write what the file lacks; return what was found.

        With ``is_final`` an unterminated foreign tail becomes an entry too, as
        at a fence. A file whose size, inode and times are as known is not read.

        Raises:
            MirrorError: the file cannot be used, or changes faster than it is read.

        """
        with self.lock:
            if self._is_unchanged():
                return plans.Plan(plans.IN_STEP)
            first: plans.Plan | None = None
            for _ in range(_TRIES):
                file = self.file() or self._absent()
                found, is_settled = self._pass(file, is_final=is_final)
                first = found if first is None or first.what == plans.BEHIND else first
                if is_settled:
                    return first
        raise MirrorError(
            f"the mirror {self.fact.path} changes faster than it can be compared", hint="try again"
        )

    def preview(self) -> plans.Plan:
        """Return what reconciling would do, and do nothing."""
        with self.lock:
            file = self.file()
            if file is None:
                return plans.Plan(plans.SHORTER)
            compared = self._compare(file)
            return self._plan(compared, is_final=True)

    def _absent(self) -> MirrorFile:
        """Return a new file in the place of one that is not there."""
        if self.known() is not None:
            raise MirrorError(
                f"the mirror {self.fact.path} is gone; it is not made again, for whoever removed it meant to",
                hint="journal mirror sync --recreate makes it again from the journal",
                code="mirror-gone",
            )
        return self.create()

    def create(self) -> MirrorFile:
        """Make the file, empty, where there is none."""
        self._side.forget(self.fact.number)
        self._file = MirrorFile(self.fact.path, create=True, mode=self.fact.mode)
        return self._file

    def _is_unchanged(self) -> bool:
        known = self.known()
        file = self.file()
        if known is None or file is None or not known.mtime_ns:
            return False
        status = file.status()
        seen = (
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        if seen != (known.device, known.inode, known.size, known.mtime_ns, known.ctime_ns):
            return False
        with self.store.snapshot() as cursor:
            chain = self._chain(cursor)
            return chain.layout.no == known.layout_no and chain.head.seq == known.exported_seq

    def _pass(self, file: MirrorFile, *, is_final: bool) -> tuple[plans.Plan, bool]:
        """Compare once, commit what is foreign, write what lacks; return whether all is settled."""
        before = self._rewritten_since()
        if before is not None:
            return self._rewrite(file, before), False
        compared = self._compare(file)
        found = self._plan(compared, is_final=is_final)
        if found.foreign or found.lost or found.is_relaid:
            self._commit(compared, found)
            return found, False
        if found.tail is not None and not found.to_write:
            return found, True  # somebody is still writing that line
        size = compared.size + self._write(file, compared, found)
        if file.size != size:
            return found, False
        self._remember(file, compared)
        return found, True

    def _rewritten_since(self) -> Layout | None:
        """Return the layout the file still has, if the session was rewritten since it was written."""
        known = self.known()
        with self.store.snapshot() as cursor:
            chain = self._chain(cursor)
        if known is None or not known.exported_seq or chain.rewritten_no <= known.layout_no:
            return None
        return (*chain.earlier, chain.layout)[known.layout_no]

    def _rewrite(self, file: MirrorFile, before: Layout) -> plans.Plan:
        """Keep what is foreign in a file of the old layout, then give it the new one.

        The same inode is cut back to what both have in common and written on
        from there. What a program appends between the comparison and the cut is
        lost: there is no lock that it would heed.
        """
        known = self.known() or Known()
        compared = self._compare(file, before, known.exported_seq)
        found = self._plan(compared, is_final=True)
        if found.foreign or found.lost:
            self._keep_foreign(found)
        self._side.write(
            self.fact.number,
            known._replace(layout_no=compared.newest_no, exported_seq=0, mtime_ns=0, ctime_ns=0),
        )
        common = self._compare(file).offset
        if file.size == compared.size and common < compared.size:
            os.ftruncate(file.descriptor, common)
        return found

    def _keep_foreign(self, found: plans.Plan) -> None:
        with self.store.transaction() as cursor:
            chain = self.store.touch(self._chain(cursor))
            author = Author(self._writer(), self.store.instance(cursor, self._writer()))
            facts = [fact("edit", lost=list(found.lost))] if found.lost else []
            lines = [item.line for item in found.foreign]
            write(
                cursor, chain, author, self.store.clock(), lines=lines, facts=facts, origin="mirror"
            )

    def _compare(
        self, file: MirrorFile, layout: Layout | None = None, up_to: int | None = None
    ) -> Compared:
        """Read the file beside a layout, line by line, up to the first difference."""
        size = file.size
        with self.store.snapshot() as cursor:
            chain = self._chain(cursor)
            head = chain.head.seq if up_to is None else up_to
            spans = list((layout or chain.layout).spans(head))
            newest_no = chain.layout.no
        rows = self._rows(chain, spans)
        matched: list[int] = []
        offset, differs = 0, None
        source = _Source(file, size)
        for row in rows:
            data = (row.body or b"") + row.terminator
            if source.take(len(data)) != data:
                differs = row
                break
            matched.append(row.seq)
            offset += len(data)
        rest = [] if differs is None else [differs, *rows]
        own = list(_physical(rest))
        found = list(lines_of(file.chunks(offset, size), offset))
        missing = None if differs is None else (differs.body or b"") + differs.terminator
        return Compared(chain, head, newest_no, matched, own, found, missing, size, offset)

    def _rows(self, chain: Chain, spans: list[tuple[int, int]]) -> Iterator[Row]:
        for start, last in spans:
            first = start
            while first <= last:
                with self.store.snapshot() as cursor:
                    page = cursor.execute(
                        sql.rows_between(), (chain.session_id, first, last, _PAGE)
                    ).fetchall()
                for row in map(Row._make, page):
                    if row.kind != CONTROL and chain.sealer.status(row) == "sealed":
                        yield row
                first = page[-1][2] + 1 if len(page) == _PAGE else last + 1

    def _plan(self, compared: Compared, *, is_final: bool) -> plans.Plan:
        known = self.known()
        exported = None if known is None else known.exported_seq
        found = plans.plan(
            compared.own,
            compared.found,
            exported_seq=exported,
            is_final=is_final,
            torn=compared.first_missing,
        )
        if found.tail is not None and found.to_write:
            # We are about to write behind it: the tail is a line now, and we end it.
            return plans.plan(
                compared.own,
                compared.found,
                exported_seq=exported,
                is_final=True,
                torn=compared.first_missing,
            )
        return found

    def _commit(self, compared: Compared, found: plans.Plan) -> None:
        """Make the foreign lines entries, and the file's order the session's layout."""
        items: list[int | Line] = []
        for at, item in enumerate(found.order):
            items.append(item if isinstance(item, int) else item.line)
            is_last = at == len(found.order) - 1
            if isinstance(item, Found) and not item.terminator and not is_last:
                items.append(LINE_END)
        lines = [item for item in items if not isinstance(item, int)]
        with self.store.transaction() as cursor:
            chain = self.store.touch(self._chain(cursor))
            if chain.layout.no != compared.newest_no:
                return  # rewritten meanwhile: compare again
            author = Author(self._writer(), self.store.instance(cursor, self._writer()))
            later = [row.seq for row in _lines(cursor, chain, compared.head + 1, chain.head.seq)]
            closing = None
            if found.is_relaid or later:
                closing = _Relaid(cursor, chain, [*compared.matched, *items, *later])
            if not lines and closing is None:
                return
            chain.open_tail = False  # the file decides where a line ends, and it is in the items
            write(
                cursor,
                chain,
                author,
                self.store.clock(),
                lines=lines,
                origin="mirror",
                closing=closing,
            )
            if closing is not None:
                store_layout(cursor, chain)
            chain.open_tail = chain.tail_is_open(cursor)
        self._forget_exported(compared, found)

    def _forget_exported(self, compared: Compared, found: plans.Plan) -> None:
        """From now on the layout says what the file has: the next pass compares anew."""
        known = self.known() or Known()
        pending = [*found.to_write]
        upto = min(pending) - 1 if pending else compared.head
        self._side.write(
            self.fact.number,
            known._replace(
                exported_seq=max(known.exported_seq, upto),
                layout_no=self._layout_no(),
                mtime_ns=0,
                ctime_ns=0,
            ),
        )

    def _layout_no(self) -> int:
        with self.store.snapshot() as cursor:
            return self._chain(cursor).layout.no

    def _writer(self) -> Writer:
        return self.store.registry.writers[self.fact.writer_id]

    def _write(self, file: MirrorFile, compared: Compared, found: plans.Plan) -> int:
        """Append the lines that the file lacks; return how many bytes that were."""
        if not found.to_write:
            return 0
        wanted = set(found.to_write)
        rows = self._rows(compared.chain, [(min(wanted), max(wanted))])
        by_seq = {row.seq: (row.body or b"") + row.terminator for row in rows if row.seq in wanted}
        data = b"".join(by_seq[seq] for seq in found.to_write)[found.mend :]
        file.append(data)
        return len(data)

    def _remember(self, file: MirrorFile, compared: Compared) -> None:
        before = self.known() or Known()
        status = file.status()
        is_racy = time.time_ns() - status.st_mtime_ns < TICK_NS
        self._side.write(
            self.fact.number,
            Known(
                device=status.st_dev,
                inode=status.st_ino,
                size=status.st_size,
                mtime_ns=0 if is_racy else status.st_mtime_ns,
                ctime_ns=0 if is_racy else status.st_ctime_ns,
                exported_seq=compared.head,
                layout_no=compared.newest_no,
                synced_to=min(before.synced_to, status.st_size),
                boot_id=boot_id(),
            ),
        )


class _Relaid:
    """Makes the layout fact for a file's order once the new lines have their seqs."""

    def __init__(self, cursor: Cursor, chain: Chain, order: Sequence[int | Line]) -> None:
        found = cursor.execute(sql.line_seqs(), (chain.session_id, chain.head.seq)).fetchall()
        self._lines = [seq for (seq,) in found]
        self._layout = chain.layout
        self._order = order

    def __call__(self, seqs: Sequence[int], own: int) -> Line:
        given = iter(seqs)
        order = [item if isinstance(item, int) else next(given) for item in self._order]
        extents = extents_of(order, [*self._lines, *seqs])
        return self._layout.then(
            [*extents, Extent(own + 1, None)],
            from_file=True,
            reason="the mirror's file has this order",
        )


class _Source:
    """A file's bytes, taken in pieces of any size, read a chunk at a time."""

    def __init__(self, file: MirrorFile, size: int) -> None:
        self._chunks = file.chunks(0, size)
        self._data = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        while len(self._data) - self._at < count:
            more = next(self._chunks, b"")
            if not more:
                break
            self._data, self._at = self._data[self._at :] + more, 0
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece


def _physical(rows: Iterable[Row]) -> Iterator[Own]:
    """Yield the lines that these entries make in a file, one or more entries each."""
    seqs: list[int] = []
    data: list[bytes] = []
    for row in rows:
        seqs.append(row.seq)
        data += [row.body or b"", row.terminator]
        if row.terminator:
            yield Own(tuple(seqs), digest_of_line(b"".join(data)))
            seqs, data = [], []
    if seqs:
        yield Own(tuple(seqs), digest_of_line(b"".join(data)))


def _lines(cursor: Cursor, chain: Chain, first: int, last: int) -> list[Row]:
    """Return a stretch of the session's sealed lines, in journal order."""
    rows: list[Row] = []
    while first <= last:
        page = cursor.execute(sql.rows_between(), (chain.session_id, first, last, _PAGE)).fetchall()
        found = map(Row._make, page)
        rows += [r for r in found if r.kind != CONTROL and chain.sealer.status(r) == "sealed"]
        first = page[-1][2] + 1 if len(page) == _PAGE else last + 1
    return rows

"""Takes what reached a mirror's file from outside into the journal, before the file is written to.

Lines become entries of the mirror's external writer. What no line tells of, that
lines are gone or were moved, or the whole file is, is a sealed fact by that same
writer: a fence judges it like any foreign entry. What is only put in order again
is recorded by the journal's own keeper and is nobody's fault.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from journal import statements as sql
from journal.comparison import rows_of
from journal.controls import fact
from journal.layout import Extent, extents_of
from journal.openend import tail_is_open
from journal.parts import split
from journal.reconcile import LINE_END, Found
from journal.rewriting import store_layout
from journal.strays import Ranges
from journal.writing import LINE_END as END_LINE
from journal.writing import Author, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.comparison import Compared
    from journal.engine import Cursor
    from journal.layout import Layout
    from journal.lines import Line
    from journal.reconcile import Plan
    from journal.registry import MirrorFact
    from journal.store import Store

# Gives a line's bytes, a piece after the other; raises at its end if they are others by now.
Read = Callable[["Found"], "Iterator[bytes]"]
_Write = list[tuple[Found, "Line"]]

CHUNK: Final = 4 * 1024 * 1024
_TOLD: Final = 100
_KEPT: Final = 1024 * 1024


class Recorder:
    """Writes down what became of one mirror's file."""

    def __init__(self, store: Store, mirror: MirrorFact) -> None:
        self._store = store
        self._mirror = mirror

    def external(self, cursor: Cursor) -> Author:
        """Return the mirror's external writer, whom nobody trusts."""
        writer = self._store.registry.writers[self._mirror.writer_id]
        return Author(writer, self._store.instance(cursor, writer))

    def chain(self, cursor: Cursor) -> Chain:
        """Return the session's chain, about to be written to."""
        store = self._store
        chain = store.open_chain(cursor, store.registry.session_keys[self._mirror.session_id])
        chain.know_facts(cursor)
        return chain

    # -- facts ------------------------------------------------------------------------

    def edit(self, what: str, **facts: object) -> None:
        """Record what was done to the file, as the external writer's doing."""
        with self._store.transaction() as cursor:
            chain = self.chain(cursor)
            told = fact("edit", what=what, mirror=self._mirror.number, **facts)
            write(cursor, chain, self.external(cursor), self._store.clock(), facts=[told])
            chain.load_facts(cursor)

    def begin(self, cursor: Cursor, chain: Chain) -> None:
        """Record that a new mirror's file is another, where the session knows of an earlier mirror's; in the caller's transaction.

        How much that file had, and that it was edited or is gone, would be taken for this one's.
        """
        chain.know_facts(cursor)
        if chain.layout_size or chain.mirror_state is not None:
            told = fact("edit", what="made", mirror=self._mirror.number)
            write(cursor, chain, self._store.keeper(cursor), self._store.clock(), facts=[told])
            chain.load_facts(cursor)

    def note(self, control: str, **facts: object) -> None:
        """Record a fact that is nobody's fault."""
        with self._store.transaction() as cursor:
            chain = self.chain(cursor)
            keeper, told = self._store.keeper(cursor), fact(control, **facts)
            write(cursor, chain, keeper, self._store.clock(), facts=[told])
            chain.load_facts(cursor)

    def damage(self, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Keep the bytes that a power cut left in the place of ours."""
        for part in _bounded(pieces):
            found = [[offset, b64encode(data).decode()] for offset, data in part]
            self.note("damage", mirror=self._mirror.number, found=found)

    # -- lines ------------------------------------------------------------------------

    def keep(self, found: Plan, read: Read) -> None:
        """Make foreign lines entries behind all others; the file is about to get another layout."""
        for batch in _batches(found.foreign):
            writes = _writes(batch, read)
            with self._store.transaction() as cursor:
                chain = self.chain(cursor)
                self._write_lines(cursor, chain, writes, {}, is_open=chain.open_tail)
        if found.lost:
            self.edit("lost", seqs=_told(found.lost), count=len(found.lost))

    def take(
        self, compared: Compared, found: Plan, read: Read, *, is_lazy: bool = False
    ) -> int | None:
        """Make foreign lines entries, and the file's order the session's layout; return how many.

        A large edit is committed in pieces, but never a line; only with the last the
        layout changes, so a crash between them leaves lines that the next comparison
        finds in the file, and so matches. Where ``is_lazy``, nothing is durable yet; nothing
        is done, and None returned, where a layout would have to be written.
        """
        known: dict[Found, list[int]] = {}
        batches = _batches(found.foreign) or [[]]
        for batch in batches:
            writes = _writes(batch, read)
            with self._store.transaction(is_durable=not is_lazy) as cursor:
                chain = self.chain(cursor)
                if chain.layout.no != compared.newest_no:
                    return len(known)  # rewritten meanwhile: compare again
                if is_lazy and self._later(cursor, chain, compared.head):
                    return None  # lines came meanwhile, and belong behind these
                if batch is batches[-1]:
                    self._finish(cursor, chain, compared, found, writes, known)
                else:
                    self._write_lines(cursor, chain, writes, known)
        return len(known)

    def _write_lines(
        self,
        cursor: Cursor,
        chain: Chain,
        writes: Iterable[_Write],
        known: dict[Found, list[int]],
        *,
        is_open: bool = False,
    ) -> bool | None:
        """Write lines of the file; return whether the last one has no end, None if there was none.

        The file decides where a line ends, and that is in the lines.
        """
        author, now = self.external(cursor), self._store.clock()
        chain.open_tail, ends_open = is_open, None
        for lines in filter(None, writes):
            made = [line for _, line in lines]
            entries = write(cursor, chain, author, now, lines=made, origin="mirror")
            ends_open, chain.open_tail = chain.open_tail, False
            for (item, _), entry in zip(lines, entries[-len(lines) :], strict=True):
                known.setdefault(item, []).append(entry.seq)
        return ends_open

    def _finish(  # noqa: PLR0913
        self,
        cursor: Cursor,
        chain: Chain,
        compared: Compared,
        found: Plan,
        writes: Iterable[_Write],
        known: dict[Found, list[int]],
    ) -> None:
        mine = {seq for seqs in known.values() for seq in seqs}
        later = [seq for seq in self._later(cursor, chain, compared.head) if seq not in mine]
        ends_open = self._write_lines(cursor, chain, writes, known)
        if found.is_relaid or later:
            order: list[int] = []
            for item in found.order:
                order += known[item] if isinstance(item, Found) else [item]
            order += [*_ended(found, later), *later]
            self._relay(cursor, chain, compared, found, order)
            ends_open = None
        # What was only appended stands last.
        chain.open_tail = tail_is_open(cursor, chain) if ends_open is None else ends_open

    def _relay(
        self, cursor: Cursor, chain: Chain, compared: Compared, found: Plan, order: list[int]
    ) -> None:
        """Make an order the layout: by the external writer if it undid ours, else by the keeper."""
        author = self.external(cursor) if found.is_edit else self._store.keeper(cursor)
        now = self._store.clock()
        if LINE_END in order:
            ends = [END_LINE] * order.count(LINE_END)
            made = write(cursor, chain, self.external(cursor), now, lines=ends, origin="mirror")
            given = iter([entry.seq for entry in made[-len(ends) :]])
            order = [seq or next(given) for seq in order]
        lines = [seq for (seq,) in cursor.execute(
            sql.line_seqs(), (chain.session_id, chain.head.seq)
        ).fetchall()]  # fmt: skip
        extents = [*before(compared), *extents_of(order, lines)]
        layout, lost = chain.layout, found.lost

        def closing(_: Sequence[int], own: int) -> Line:
            return layout.then(
                [*extents, Extent(own + 1, None)],
                from_file=True,
                size=in_file(compared, found),
                lost=_told(lost),
                reason="the mirror's file has this order",
            )

        write(cursor, chain, author, now, closing=closing)
        store_layout(cursor, chain)

    def _later(self, cursor: Cursor, chain: Chain, seq: int) -> list[int]:
        """Return the lines that came since the comparison began."""
        del cursor  # the store's own, in the same transaction
        spans = [(seq + 1, chain.head.seq)]
        return [row.seq for row in rows_of(self._store, chain, spans)]


def before(compared: Compared) -> list[Extent]:
    """Return the extents of what stands in the file as it should."""
    kept: list[Extent] = []
    for extent in compared.layout.extents:
        last = compared.head if extent.last is None else min(extent.last, compared.head)
        if compared.differs is not None and extent.first <= compared.differs <= last:
            if extent.first < compared.differs:
                kept.append(Extent(extent.first, compared.differs - 1))
            return kept
        if extent.first <= last:
            kept.append(Extent(extent.first, last))
    return kept


def in_file(compared: Compared, found: Plan) -> int:
    """Return how much of the layout that a plan makes is in the file already."""
    tail = found.tail.size if found.tail else 0
    return compared.size - tail - found.mend


def layout_of(chain: Chain, number: int) -> Layout:
    """Return a session's layout by its number."""
    return (*chain.earlier, chain.layout)[number]


def _ended(found: Plan, later: Sequence[int]) -> list[int]:
    """Return what is to be written behind the file's lines, as far as the plan knows it."""
    last = found.order[-1] if found.order else None
    is_open = isinstance(last, Found) and not last.terminator
    if not found.pending and later and is_open:
        return [LINE_END]
    return list(found.pending)


def _writes(batch: Sequence[Found], read: Read) -> Iterable[_Write]:
    """Return what is written at once: all of a batch, read now; of a long line part after part."""
    lines = ((item, line) for item in batch for line in split(read(item)))
    if any(item.size > CHUNK for item in batch):
        return ([each] for each in lines)
    return [list(lines)]  # before a transaction is begun, for reading takes its time


def _batches(found: Sequence[Found]) -> list[list[Found]]:
    batches: list[list[Found]] = []
    size = CHUNK
    for item in found:
        if size + item.size > CHUNK:
            batches.append([])
            size = 0
        batches[-1].append(item)
        size += item.size
    return batches


def _bounded(pieces: Sequence[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    part: list[tuple[int, bytes]] = []
    size = 0
    for offset, data in pieces:
        for at in range(0, len(data), _KEPT):
            piece = data[at : at + _KEPT]
            if part and size + len(piece) > _KEPT:
                yield part
                part, size = [], 0
            part.append((offset + at, piece))
            size += len(piece)
    if part:
        yield part


def _told(seqs: Sequence[int]) -> list[list[int]]:
    """Return seqs as ranges, the first hundred of them."""
    ranges = Ranges()
    for seq in seqs:
        ranges.add(seq)
    return [list(span) for span in ranges][:_TOLD]

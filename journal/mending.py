"""Gives a mirror's file another layout after a rewrite, and puts right what a power cut left in it.

These, and a redaction and what undoes it (:mod:`journal.undoing`), are the only moments at which bytes of a
mirror's file are ever written over.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from journal.comparison import Compared, Readable, compare, rows_of
from journal.explanation import counted
from journal.foreign import layout_of
from journal.process import this_process
from journal.sidefile import Known
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.mirror import Mirror
    from journal.mirrorfile import MirrorFile
    from journal.reconcile import Found, Plan


KEEP: Final = "keep"
REFUSE: Final = "refuse"


class ChangedError(Exception):
    """The file changed between two looks at it: look again; so many of its lines are entries by now."""

    def __init__(self, taken: int = 0) -> None:
        super().__init__(taken)
        self.taken = taken


def this_boot() -> str:
    """Return the number of this boot, read once in each process."""
    return this_process().boot_id


def read(file: MirrorFile, item: Found) -> Iterator[bytes]:
    """Yield the bytes of a line that was found in a file.

    Raises:
        ChangedError: they were not what was found; after the last of them.

    """
    hashed = sha256()
    for chunk in file.chunks(item.offset, item.offset + item.size):
        hashed.update(chunk)
        yield chunk
    if hashed.digest() != item.digest:
        raise ChangedError


def is_rewritten(mirror: Mirror) -> bool:
    """Whether the session was rewritten since the file was written."""
    known = mirror.known()
    # An empty file counts too: it may have been cut to nothing for an earlier layout, and
    # begun to be written again, by somebody who died before he could say how far.
    return known is not None and mirror.now().rewritten_no > known.layout_no


def refuse(mirror: Mirror, found: Plan) -> None:
    """Record that the file is left alone from now on, where its mirror is to refuse such an edit."""
    is_benign = not found.is_edit and all(x.size == len(x.terminator) for x in found.foreign)
    if mirror.fact.on_edit == REFUSE and not is_benign and mirror.now().mirror_state is None:
        mirror.recorder.edit("refused", path=mirror.fact.path)


def beside_old(mirror: Mirror, file: Readable, *, is_final: bool) -> tuple[Compared, Plan]:
    """Compare a file with the layout that it has, where the session was rewritten since; return what became of it."""
    known, chain = mirror.known() or Known(), mirror.now()
    # Where somebody died at a cut it may be done or not: what stood behind it is not missed.
    exported = known.size if known.cut_to < 0 else min(known.size, known.cut_to)
    # All that came since stands at the old layout's end too: what an earlier
    # try has kept already is found there, and not kept again.
    layout = layout_of(chain, known.layout_no)
    old = compare(mirror.store, chain, file, layout=layout, exported=exported)
    return old, mirror.plan(old, is_final=is_final, exported=exported)


def rewrite(mirror: Mirror, file: MirrorFile, *, is_final: bool) -> Plan:
    """Keep what is foreign in a file of the old layout, then give it the new one, unless that is refused.

    The same inode is cut back to what both have in common and written on
    from there; that we are about to is noted first, so that a crash in
    between is not taken for somebody's cut. What a program appends between
    the comparison and the cut is lost: there is no lock that it would heed.
    """
    known = mirror.known() or Known()
    # What is cut is looked at for the last time.
    is_final = is_final or mirror.now().mirror_state != "refused"
    old, found = beside_old(mirror, file, is_final=is_final)
    if found.foreign or found.lost:
        mirror.recorder.keep(found, lambda item: read(file, item))
    refuse(mirror, found)
    if mirror.now().mirror_state == "refused":
        # What is lost is told once: so much of the old layout is in the file by now.
        mirror.know(known._replace(size=old.offset, exported_seq=0, mtime_ns=0, ctime_ns=0))
        return found._replace(taken=len(found.foreign))
    new = compare(mirror.store, mirror.now(), file)
    mirror.store.make_durable()  # nothing is cut away for a layout that a power cut could take back
    mirror.know(known._replace(cut_to=new.offset, mtime_ns=0, ctime_ns=0))
    mirror.side.sync()
    if file.size != old.size:
        raise ChangedError(
            len(found.foreign)
        )  # the last look before the cut: what comes now is lost
    if new.offset < old.size:
        file.cut(new.offset)
        # Before the slot says so: were the slot alone on disk after a power cut, what was cut
        # away would stand there still, and be called foreign.
        file.sync()
    mirror.know(
        Known(inode=known.inode, size=new.offset, layout_no=new.newest_no,
              synced_to=min(known.synced_to, new.offset), boot_id=this_boot())
    )  # fmt: skip
    # And before new lines are written: what a power cut leaves of them must be known as theirs.
    mirror.side.sync()
    return found._replace(taken=len(found.foreign))


def mend_damage(mirror: Mirror, file: MirrorFile) -> None:
    """Put right what a power cut left in the place of lines that were not yet on disk.

    Only what was written in another boot, behind the position synced then and
    inside what rows claim: anything else that differs is somebody's edit.
    """
    known = mirror.known()
    if known is None or not known.boot_id or known.boot_id == this_boot():
        return
    chain = mirror.now()
    layout = layout_of(chain, known.layout_no)
    start = compare(mirror.store, chain, file, layout=layout)
    # A cut blanks the rest of its block, which may be on disk while the new size is not.
    sure = known.synced_to if known.cut_to < 0 else min(known.synced_to, known.cut_to)
    if start.offset >= sure:
        found = mirror.plan(start, is_final=True, exported=file.size)
        if found.lost or _ends_in_nothing(mirror, file, start, found):
            _repair(mirror, file, start)
    size = max(known.synced_to, min(known.size, file.size))
    mirror.know(known._replace(size=size, boot_id=this_boot(), exported_seq=0, mtime_ns=0))


def _ends_in_nothing(mirror: Mirror, file: MirrorFile, start: Compared, found: Plan) -> bool:
    """Whether the file ends within a line of ours, of which NULs stand for what was never written.

    A file grows by its blocks: its size may be on disk before its bytes are.
    """
    if len(found.foreign) != 1 or found.foreign[0].terminator:
        return False
    (tail,) = found.foreign
    ours, at = b"", 0
    for row in rows_of(mirror.store, start.chain, start.layout.spans(start.head)):
        data = (row.body or b"") + row.terminator
        if tail.offset - len(data) < at < tail.offset + tail.size:
            ours += data[max(0, tail.offset - at) :]
        at += len(data)
    pairs = zip(ours, file.read(tail.offset, tail.size), strict=False)
    return len(ours) >= tail.size and all(stands in (0, mine) for mine, stands in pairs)


def _repair(mirror: Mirror, file: MirrorFile, start: Compared) -> None:
    spans = start.layout.spans(start.head)
    offset, pieces, right = 0, [], []
    for row in rows_of(mirror.store, start.chain, spans):
        data = (row.body or b"") + row.terminator
        at, offset = offset, offset + len(data)
        if offset <= start.offset or at >= start.size:
            continue
        data = data[: start.size - at]
        found = file.read(at, len(data))
        if found != data:
            pieces.append((at, found))
            right.append((at, data))
    mirror.recorder.damage(pieces)
    file.overwrite(right)
    log.warning(
        "mirror %s: a power cut had damaged %s; put right",
        mirror.fact.path,
        counted(len(right), "line"),
    )

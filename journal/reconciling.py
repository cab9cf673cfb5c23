"""One pass after the other until a mirror's file and its session are the same.

Each pass looks at the file once, has what is foreign in it made entries, and writes what it
lacks. Whoever calls holds the mirror's lock.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from journal import mending
from journal import reconcile as plans
from journal.comparison import BEGINNING, Compared, Start, compare, rows_of
from journal.errors import MirrorError
from journal.explanation import counted
from journal.foreign import CHUNK, in_file
from journal.mending import (
    ChangedError,
    beside_old,
    is_rewritten,
    mend_damage,
    read,
    refuse,
    rewrite,
)
from journal.reconcile import LINE_END, Plan
from journal.sidefile import Known
from journal.undoing import Restored, undo_redaction

if TYPE_CHECKING:
    import os

    from journal.mirror import Mirror
    from journal.mirrorfile import MirrorFile

# Within one tick of a coarse clock a later change can leave the very same times.
TICK_NS: Final = 20_000_000
# From this size on reading it again takes longer than to wait a tick out.
_WORTH_A_TICK: Final = 16 * 1024 * 1024
# To compare so much takes some dozen milliseconds.
_BRIEF: Final = 4 * 1024 * 1024
_TRIES: Final = 8
_LAZY_TRIES: Final = 2  # one to take lines in, one to see that this was all
# What a later look may find more than.
_NO_EDIT: Final = (plans.GONE, plans.BEHIND, plans.IN_STEP)


class Look(NamedTuple):
    """How to look at a file; :meth:`Mirror.reconcile` says what each means."""

    is_final: bool = False
    is_cheap: bool = False
    is_lazy: bool = False
    floor: tuple[int, int] | None = None


def reconcile(mirror: Mirror, look: Look) -> Plan:
    """Look again until all is settled; return what the first look found, and what all took in.

    Raises:
        MirrorError: the file changes faster than it can be compared.

    """
    if not look.is_cheap and _is_unchanged(mirror, look.floor):
        return Plan(plans.IN_STEP)
    first, taken = Plan(plans.GONE), 0
    for tried in range(_TRIES):
        look = look._replace(is_lazy=look.is_lazy and tried < _LAZY_TRIES)
        file = _present(mirror)
        if file is None:
            return first._replace(taken=taken)
        mend_damage(mirror, file)
        try:
            found, is_settled = _pass(mirror, file, look)
        except ChangedError as error:
            taken += error.taken
            continue
        taken += found.taken
        first = found if first.what in _NO_EDIT else first
        if is_settled:
            if not look.is_cheap:
                mirror.sync()
            return first._replace(taken=taken)
    told = f"; {counted(taken, 'line')} became entries" if taken else ""
    raise MirrorError(
        f"the mirror {mirror.fact.path} changes faster than it can be compared{told}",
        hint="try again",
    )


def preview(mirror: Mirror) -> Plan:
    """Return what reconciling would do, and do nothing."""
    file = mirror.file()
    if file is None:
        return Plan(plans.GONE)
    restored = Restored(mirror, file)  # what an interrupted redaction left is nobody's edit
    if was_rewritten := is_rewritten(mirror):
        _, found = beside_old(mirror, restored, is_final=True)
    else:
        found = mirror.plan(compare(mirror.store, mirror.now(), restored), is_final=True)
    is_behind = found.what == plans.IN_STEP and (was_rewritten or restored.lines)
    what = plans.BEHIND if is_behind else found.what
    return found._replace(what=what, overwritten=len(restored.lines))


def _present(mirror: Mirror) -> MirrorFile | None:
    """Return the file, or record, once, that it is there no more; or that it is back."""
    file, chain, known = mirror.file(), mirror.now(), mirror.known()
    if known is not None and known.is_ahead(chain.head.seq, chain.layout.no):
        mirror.side.forget(mirror.fact.number)
    if file is None:
        if chain.mirror_state != "gone":
            mirror.recorder.edit("gone", path=mirror.fact.path)
        return None
    file.check()
    if chain.mirror_state == "gone":
        mirror.recorder.note("edit", what="back", mirror=mirror.fact.number)
    if chain.redacting is not None:
        undo_redaction(mirror, file)
    return file


def _is_unchanged(mirror: Mirror, floor: tuple[int, int] | None) -> bool:
    known, file = mirror.known(), mirror.file()
    if known is None or file is None or not known.mtime_ns or known.cut_to >= 0:
        return False
    seen = _times(file.status())
    if seen != (known.device, known.inode, known.size, known.mtime_ns, known.ctime_ns):
        return False
    if floor is not None and known.size < floor[0]:
        return False
    chain = mirror.now()
    return chain.layout.no == known.layout_no and chain.head.seq == known.exported_seq


def _pass(mirror: Mirror, file: MirrorFile, look: Look) -> tuple[Plan, bool]:
    """Compare once, take what is foreign, write what lacks; return whether all is settled."""
    # One state of the database for a look that nobody else in this process waits for; or not
    # for long, where to begin and end each question takes a server's answer.
    is_brief = not mirror.store.keeps_files and file.size <= _BRIEF
    with mirror.store.snapshot() if look.is_lazy or is_brief else nullcontext():
        compared, before = None, None
        if not is_rewritten(mirror):
            before = _settled_times(file)
            compared = _compare(mirror, file)
    if compared is None:
        found = rewrite(mirror, file, is_final=look.is_final)
        return found, mirror.now().mirror_state == "refused"
    if is_rewritten(mirror):
        raise ChangedError  # between the two looks: the file has the old order still
    found = mirror.plan(compared, is_final=look.is_final, floor=look.floor)
    if found.foreign or found.is_relaid:
        taken = _take(mirror, file, compared, found, is_lazy=look.is_lazy)
        return found._replace(taken=taken), False
    if found.tail is not None or mirror.now().mirror_state == "refused":
        return found, True  # somebody is still writing that line, or we may not write
    written = _write(mirror, file, compared, found)
    size = compared.size + written
    if file.size != size:
        return found, False
    _remember(mirror, file, compared, size, None if written or look.is_cheap else before)
    return found, True


def _settled_times(file: MirrorFile) -> tuple[int, ...] | None:
    """Return the file's times if any later change must change them; None if it need not."""
    status = file.status()
    age_ns = time.time_ns() - status.st_ctime_ns
    if abs(age_ns) < TICK_NS and status.st_size >= _WORTH_A_TICK:
        time.sleep(TICK_NS / 1e9)
        status = file.status()
        age_ns = time.time_ns() - status.st_ctime_ns
    return _times(status) if age_ns >= TICK_NS else None


def _compare(mirror: Mirror, file: MirrorFile) -> Compared:
    """Compare all of the file: by its digest as far as it was compared before, then by rows.

    There is no looking at its end alone: a line put in before it moves all
    others, and their pieces would be called foreign.
    """
    known, chain = mirror.known(), mirror.now()
    start, begun, exported = BEGINNING, None, None
    if known is not None and known.layout_no == chain.layout.no:
        exported = known.size
        if known.checked_size:
            start, begun = Start(known.checked_size, known.checked_seq), known.digest
    if start.offset > file.size:
        start, begun = BEGINNING, None
    return compare(mirror.store, chain, file, start=start, begun=begun, exported=exported)


def _take(
    mirror: Mirror, file: MirrorFile, compared: Compared, found: Plan, *, is_lazy: bool
) -> int:
    """Have what is foreign made entries, and note that the layout now begins as the file does.

    Return how many lines it was.
    """
    is_lazy = is_lazy and not found.is_relaid and sum(x.size for x in found.foreign) < CHUNK
    if not is_lazy:
        file.sync()  # a layout says what the file has: a power cut must not take that back
    taken = mirror.recorder.take(compared, found, lambda x: read(file, x), is_lazy=is_lazy)
    if taken is None:
        return 0
    refuse(mirror, found)
    known, chain = mirror.known() or Known(), mirror.now()
    if chain.rewritten_no > compared.newest_no:
        return taken
    keeps_digest = compared.offset >= known.checked_size and known.layout_no == compared.newest_no
    known = known._replace(
        size=in_file(compared, found),
        exported_seq=0,
        mtime_ns=0,
        ctime_ns=0,
        boot_id=mending.this_boot(),
        inode=file.inode,
        synced_to=_synced_to(known, file.inode),
        layout_no=chain.layout.no,
    )
    if not keeps_digest:
        known = known._replace(checked_size=0, checked_seq=0, digest=b"")
    mirror.know(known)
    return taken


def _write(mirror: Mirror, file: MirrorFile, compared: Compared, found: Plan) -> int:
    """Append the lines that the file lacks; return how many bytes that were."""
    if not found.pending:
        return 0
    mirror.store.make_durable()  # what the file is given must not outlive the log
    skip, written = found.mend, 0
    batch: list[bytes] = []
    size = 0
    for row in rows_of(mirror.store, compared.chain, _spans(found.pending)):
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
    mirror: Mirror,
    file: MirrorFile,
    compared: Compared,
    size: int,
    before: tuple[int, ...] | None,
) -> None:
    """Note that the file is in step; with its times if they can be relied on."""
    status = file.status()
    known = mirror.known() or Known()
    is_still = before is not None and before == _times(status)
    if compared.differs is None:
        known = known._replace(
            checked_size=compared.offset, checked_seq=compared.head, digest=compared.digest
        )
    mirror.know(
        known._replace(
            device=status.st_dev,
            inode=status.st_ino,
            size=size,
            mtime_ns=status.st_mtime_ns if is_still else 0,
            ctime_ns=status.st_ctime_ns if is_still else 0,
            exported_seq=compared.head,
            layout_no=compared.newest_no,
            synced_to=min(_synced_to(known, status.st_ino), size),
            boot_id=mending.this_boot(),
            cut_to=-1,
        )
    )


def _synced_to(known: Known, inode: int) -> int:
    """Return up to where a file is known to be on disk; nowhere of one that came in the place of another."""
    return known.synced_to if known.inode == inode else 0


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

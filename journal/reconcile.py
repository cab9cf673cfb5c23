"""What became of a mirror's file, as a plan: a pure function of its bytes and ours.

Lines are matched as a multiset of bytes. A diff would call own lines foreign
where a foreign hand moved them; the multiset never does: no whole own line is
ever foreign, whatever its place.
"""

from __future__ import annotations

from collections import defaultdict, deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.lines import Line, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

IN_STEP: Final = "in step"
BEHIND: Final = "behind"
APPENDED: Final = "foreign lines at the end"
EDITED: Final = "edited"
SHORTER: Final = "shorter than it was"


class Own(NamedTuple):
    """A line of the layout as it stands in a file: its entries, and what it is matched by.

    Mostly one entry; more where a line end came later, as an entry of its own.
    """

    seqs: tuple[int, ...]
    digest: bytes


class Found(NamedTuple):
    """A line of the file: where it begins, and its bytes."""

    offset: int
    body: bytes
    terminator: bytes

    @property
    def digest(self) -> bytes:
        """What it is matched by."""
        return digest_of_line(self.body + self.terminator)

    @property
    def line(self) -> Line:
        """The line as it becomes an entry."""
        return parse(self.body, self.terminator)


class Plan(NamedTuple):
    """What to do about a file.

    Attributes:
        what: one of the constants above.
        order: the file's lines from the first difference on, as they shall stand:
            own ones by seq, foreign ones as found. The last are those still to
            be written.
        foreign: the foreign lines among them.
        to_write: seqs that the file lacks and that go to its end.
        lost: seqs that the file had and has no more; they leave the layout.
        tail: an unterminated foreign tail, not yet a line, or None.
        mend: how many bytes of the first line to write are in the file already.

    """

    what: str
    order: tuple[int | Found, ...] = ()
    foreign: tuple[Found, ...] = ()
    to_write: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    tail: Found | None = None
    mend: int = 0

    @property
    def is_relaid(self) -> bool:
        """Whether the file's order is no more the journal's with new lines at the end."""
        seen_foreign = False
        for item in self.order:
            if isinstance(item, Found):
                seen_foreign = True
            elif seen_foreign:
                return True
        return bool(self.lost)


def digest_of_line(data: bytes) -> bytes:
    """Return what a line, its line end included, is matched by."""
    return sha256(data).digest()


def plan(
    own: Sequence[Own],
    found: Iterable[Found],
    *,
    exported_seq: int | None,
    is_final: bool,
    torn: bytes | None = None,
) -> Plan:
    """Return what became of a file from its first difference on.

    Args:
        own: the layout's lines from there on, in file order.
        found: the file's lines from there on.
        exported_seq: own lines up to here are known to have been in the file;
            None if nothing is known: then what lacks at the end was never there.
        is_final: whether an unterminated foreign tail is taken for a line now.
        torn: the exact bytes of the first own line that the file lacks, to tell
            a torn write of ours from a foreign tail.

    """
    free: defaultdict[bytes, deque[Own]] = defaultdict(deque)
    for ours in own:
        free[ours.digest].append(ours)
    order: list[int | Found] = []
    tail: Found | None = None
    for line in found:
        same = free.get(line.digest)
        if same:
            order += same.popleft().seqs
        elif not line.terminator and not is_final:
            tail = line
        else:
            order.append(line)
    there = {item for item in order if isinstance(item, int)}
    lost, to_write = _absent(own, there, exported_seq)
    mend, order, tail = _torn(order, tail, to_write, torn)
    foreign = tuple(item for item in order if isinstance(item, Found))
    what = _what(order, foreign, to_write, lost)
    return Plan(what, (*order, *to_write), foreign, tuple(to_write), tuple(lost), tail, mend)


def _absent(
    own: Sequence[Own], there: set[int], exported_seq: int | None
) -> tuple[list[int], list[int]]:
    """Sort the own lines that are not in the file: lost there, or not written yet."""
    seqs = [seq for line in own for seq in line.seqs]
    absent = [seq for seq in seqs if seq not in there]
    if exported_seq is not None:
        return [s for s in absent if s <= exported_seq], [s for s in absent if s > exported_seq]
    place = {seq: at for at, seq in enumerate(seqs)}
    last_there = max((place[seq] for seq in there), default=-1)
    lost = [seq for seq in absent if place[seq] < last_there]
    return lost, [seq for seq in absent if place[seq] > last_there]


def _torn(
    order: list[int | Found], tail: Found | None, to_write: list[int], torn: bytes | None
) -> tuple[int, list[int | Found], Found | None]:
    """Tell a write of ours that broke off from a foreign tail: its bytes begin the line we lack."""
    last = tail or (order[-1] if order and isinstance(order[-1], Found) else None)
    if last is None or last.terminator or not to_write or torn is None:
        return 0, order, tail
    if not torn.startswith(last.body):
        return 0, order, tail
    return len(last.body), order if tail is not None else order[:-1], None


def _what(
    order: list[int | Found], foreign: tuple[Found, ...], to_write: list[int], lost: list[int]
) -> str:
    own = [item for item in order if isinstance(item, int)]
    if lost:
        return EDITED if foreign or own != sorted(own) else SHORTER
    if foreign:
        is_appended = not any(isinstance(item, int) for item in order)
        return APPENDED if is_appended or own == sorted(own) else EDITED
    if own != sorted(own):
        return EDITED
    return BEHIND if to_write else IN_STEP

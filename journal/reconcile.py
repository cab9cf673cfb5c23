"""What became of a mirror's file, as a plan: a pure function of its lines and ours.

Lines are matched as a multiset of bytes. A diff would call own lines foreign
where a foreign hand moved them; the multiset never does: no whole own line is
ever foreign, whatever its place.

Lines are known here by their digests, never by their bytes, so that a plan for a
file of any size is small; whoever carries it out reads the bytes again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

IN_STEP: Final = "in step"
BEHIND: Final = "behind"
APPENDED: Final = "foreign lines at the end"
EDITED: Final = "edited"
SHORTER: Final = "shorter than it was"
GONE: Final = "gone"

# Stands in a plan for a line end that is in neither file nor journal yet.
LINE_END: Final = 0


class Own(NamedTuple):
    """A line of the layout as it stands in a file: the entries that make it.

    Mostly one entry; more where a line end came later, as an entry of its own.
    ``ends`` are the line's bytes up to the end of each entry, ``digests`` what
    the line is matched by if no more than that of it stands in the file.
    """

    seqs: tuple[int, ...]
    ends: tuple[int, ...]
    digests: tuple[bytes, ...]


class Found(NamedTuple):
    """A line of the file: where it begins, its size with its line end, what it is matched by."""

    offset: int
    size: int
    terminator: bytes
    digest: bytes


class Plan(NamedTuple):
    """What to do about a file.

    Attributes:
        what: one of the constants above.
        order: the file's lines from the first difference on, as they stand: own
            ones by seq, foreign ones as found.
        pending: what is to be written behind them, by seq; ``LINE_END`` for one
            that ends a line which something must not be fused to.
        lost: seqs that the file had and has no more; they leave the layout.
        tail: an unterminated foreign tail, not yet a line, or None.
        mend: how many bytes of the first pending line are in the file already.
        is_relaid: whether the file's order is no more the layout's with new
            lines at its end.
        is_moved: whether own lines that were in the file changed their places.
        overwritten: how many lines an interrupted redaction overwrote; they are put back first.
        taken: how many foreign lines were made entries, by this look and those that it led to;
            none by a plan that nobody carried out.

    """

    what: str
    order: tuple[int | Found, ...] = ()
    pending: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    tail: Found | None = None
    mend: int = 0
    is_relaid: bool = False
    is_moved: bool = False
    overwritten: int = 0
    taken: int = 0

    @property
    def foreign(self) -> tuple[Found, ...]:
        """The foreign lines, in file order."""
        return tuple(item for item in self.order if isinstance(item, Found))

    @property
    def is_edit(self) -> bool:
        """Whether what was in the file is gone or moved, so that no foreign line tells of it."""
        return bool(self.lost) or self.is_moved


class _Piece(NamedTuple):
    """One own entry: which line and which part of it, and where it ends in the layout."""

    line: int
    part: int
    seq: int
    end: int


def digest_of_line(data: bytes) -> bytes:
    """Return what a line, its line end included, is matched by."""
    return sha256(data).digest()


def plan(  # noqa: PLR0913 - two files and what is known of them
    own: Sequence[Own],
    found: Iterable[Found],
    bytes_of: Callable[[int], bytes],
    *,
    position: int = 0,
    exported: int | None,
    is_final: bool,
) -> Plan:
    """Return what became of a file from its first difference on.

    Args:
        own: the layout's lines from there on, in file order.
        found: the file's lines from there on.
        bytes_of: gives an own entry's bytes, to tell a write of ours that broke
            off from a foreign tail. Asked for one line's entries at most.
        position: where the first difference is.
        exported: the layout's bytes up to here are known to have been in the
            file; None if nothing is known: then what lacks at the end was never
            there.
        is_final: whether an unterminated foreign tail is taken for a line now.
            It is in any case where we are about to write behind it.

    """
    order, there, last = _matched(own, found)
    pieces = list(_pieces(own, position))
    known, lost, pending = _absent(pieces, there, exported)
    mend, tail = 0, None
    if last is not None:
        mend = _mended(last, pending, bytes_of)
        begun = None if mend else _begun(own, there, last)
        if begun is not None:
            order += [piece.seq for piece in pieces if _key(piece) in begun]
            known, lost, pending = _absent(pieces, there | begun, exported)
        elif not mend and (is_final or pending):
            order.append(last)
        elif not mend:
            tail = last
    to_write = [piece.seq for piece in pending]
    if to_write and not mend and _is_open(order, own, pieces, pending):
        to_write.insert(0, LINE_END)
    at = {piece.seq: piece.end for piece in pieces}
    foreign = any(isinstance(item, Found) for item in order)
    seqs = [item for item in order if isinstance(item, int)]
    is_moved = _is_moved([at[seq] for seq in seqs if at[seq] <= known])
    is_relaid = bool(lost) or _is_relaid(order, to_write, at)
    what = _what(order, lost=bool(lost), moved=is_moved, foreign=foreign, pending=bool(to_write))
    return Plan(
        what,
        tuple(order),
        tuple(to_write),
        tuple(piece.seq for piece in lost),
        tail,
        mend,
        is_relaid,
        is_moved,
    )


def _key(piece: _Piece) -> tuple[int, int]:
    return piece.line, piece.part


def _pieces(own: Sequence[Own], position: int) -> Iterator[_Piece]:
    for number, line in enumerate(own):
        for part, (seq, end) in enumerate(zip(line.seqs, line.ends, strict=True)):
            yield _Piece(number, part, seq, position + end)
        position += line.ends[-1]


def _matched(
    own: Sequence[Own], found: Iterable[Found]
) -> tuple[list[int | Found], set[tuple[int, int]], Found | None]:
    """Return the file's lines, which own parts are among them, and a last line that is open and not ours."""
    free: defaultdict[bytes, deque[int]] = defaultdict(deque)
    for number, ours in enumerate(own):
        free[ours.digests[-1]].append(number)
    order: list[int | Found] = []
    there: set[tuple[int, int]] = set()
    last: Found | None = None
    for line in found:
        same = free.get(line.digest)
        if same:
            number = same.popleft()
            order += own[number].seqs
            there.update((number, part) for part in range(len(own[number].seqs)))
        elif line.terminator:
            order.append(line)
        else:
            last = line
    return order, there, last


def _absent(
    pieces: Sequence[_Piece], there: set[tuple[int, int]], exported: int | None
) -> tuple[int, list[_Piece], list[_Piece]]:
    """Sort the own entries that are not in the file: lost there, or not written yet."""
    known = exported
    if known is None:
        known = max((piece.end for piece in pieces if _key(piece) in there), default=-1)
    absent = [piece for piece in pieces if _key(piece) not in there]
    lost = [piece for piece in absent if piece.end <= known]
    return known, lost, [piece for piece in absent if piece.end > known]


def _begun(
    own: Sequence[Own], there: set[tuple[int, int]], last: Found
) -> set[tuple[int, int]] | None:
    """Return the own entries that this open line is: their line end came later, and lacks."""
    for number, line in enumerate(own):
        if len(line.seqs) > 1 and (number, 0) not in there and last.digest in line.digests:
            return {(number, part) for part in range(line.digests.index(last.digest) + 1)}
    return None


def _mended(last: Found, pending: Sequence[_Piece], bytes_of: Callable[[int], bytes]) -> int:
    """Return how much of the first pending line the file's open end is: a write of ours broke off."""
    hashed, left = sha256(), last.size
    for piece in pending:
        if piece.line != pending[0].line or not left:
            break
        data = bytes_of(piece.seq)[:left]
        hashed.update(data)
        left -= len(data)
    return last.size if not left and hashed.digest() == last.digest else 0


def _is_open(
    order: Sequence[int | Found],
    own: Sequence[Own],
    pieces: Sequence[_Piece],
    pending: Sequence[_Piece],
) -> bool:
    """Whether what is to be written would be fused to a line that is not its own beginning."""
    if not order:
        return False
    last = order[-1]
    if isinstance(last, Found):
        return not last.terminator
    at = next(piece for piece in pieces if piece.seq == last)
    is_whole = at.part == len(own[at.line].seqs) - 1
    return not is_whole and (pending[0].line, pending[0].part) != (at.line, at.part + 1)


def _is_moved(ends: Sequence[int]) -> bool:
    return any(one > other for one, other in pairwise(ends))


def _is_relaid(order: Sequence[int | Found], to_write: Sequence[int], at: dict[int, int]) -> bool:
    """Whether appending the foreign lines to the layout would not give the file's order."""
    own = [at[item] for item in (*order, *to_write) if isinstance(item, int) and item]
    if _is_moved(own) or LINE_END in to_write:
        return True
    first = next((n for n, item in enumerate(order) if isinstance(item, Found)), len(order))
    return first < len(order) and (
        bool(to_write) or any(not isinstance(item, Found) for item in order[first:])
    )


def _what(
    order: Sequence[int | Found], *, lost: bool, moved: bool, foreign: bool, pending: bool
) -> str:
    if moved or (lost and foreign):
        return EDITED
    if lost:
        return SHORTER
    if foreign:
        first = next(n for n, item in enumerate(order) if isinstance(item, Found))
        is_end = all(isinstance(item, Found) for item in order[first:])
        return APPENDED if is_end else EDITED
    return BEHIND if pending else IN_STEP

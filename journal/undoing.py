"""A redaction that was interrupted: what it overwrote in a mirror's file, and how that is put back.

It holds the mirror's lock while it works, so whoever finds its intent died, or met an
error. Only its own placeholder, where its sealed intent says, is taken for its work;
whatever else stands there is left to the comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journal.comparison import rows_of
from journal.redacted import is_overwritten
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.mirror import Mirror
    from journal.mirrorfile import MirrorFile


class _Line(NamedTuple):
    """A line that was overwritten: its entry's seq, where it stood, and its bytes."""

    seq: int
    offset: int
    body: bytes


class Restored:
    """A mirror's file as it reads once an interrupted redaction is undone; nothing is written.

    Attributes:
        size: the file's size.
        lines: what is overwritten in it now.

    """

    def __init__(self, mirror: Mirror, file: MirrorFile) -> None:
        self._file, self.lines = file, list(_overwritten(mirror, file))
        self.size = file.size

    def chunks(self, offset: int, up_to: int) -> Iterator[bytes]:
        """Yield the bytes between two offsets."""
        for chunk in self._file.chunks(offset, up_to):
            yield self._with_lines(chunk, offset)
            offset += len(chunk)

    def _with_lines(self, chunk: bytes, offset: int) -> bytes:
        found = bytearray(chunk)
        for line in self.lines:
            begin = max(offset, line.offset)
            end = min(offset + len(chunk), line.offset + len(line.body))
            if begin < end:
                found[begin - offset : end - offset] = line.body[
                    begin - line.offset : end - line.offset
                ]
        return bytes(found)


def undo_redaction(mirror: Mirror, file: MirrorFile) -> None:
    """Put back what a redaction overwrote that did not come to erase the rows.

    The intent ends here, so that it excuses nothing later.
    """
    intent = mirror.now().redacting
    if intent is None or intent.mirror != mirror.fact.number:
        return
    lines = list(_overwritten(mirror, file))
    file.overwrite([(line.offset, line.body) for line in lines])
    file.sync()
    mirror.recorder.note("unredacted", mirror=mirror.fact.number, seqs=[line.seq for line in lines])
    log.warning("mirror %s: a redaction was interrupted and is undone", mirror.fact.path)


def _overwritten(mirror: Mirror, file: MirrorFile) -> Iterator[_Line]:
    chain = mirror.now()
    intent = chain.redacting
    if intent is None or intent.mirror != mirror.fact.number:
        return
    for piece in intent.pieces:
        row = next(rows_of(mirror.store, chain, [(piece.seq, piece.seq)]), None)
        body = b"" if row is None else row.body or b""
        found = file.read(piece.offset, piece.size)
        if found != body and is_overwritten(found, body, piece.offset):
            yield _Line(piece.seq, piece.offset, body)

"""Erasing lines from a session's file: overwritten where they stand, or put back where their rows could not be erased."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from journal.commands import command_on
from journal.controls import fact
from journal.erasing import DONE, OUT_OF_REACH, Receipt, chain_of, opened
from journal.errors import JournalError, MirrorError
from journal.explanation import counted
from journal.foreign import layout_of
from journal.places import positions
from journal.redacted import Piece, placeholder
from journal.undoing import undo_redaction
from journal.writing import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.chain import Chain
    from journal.mirror import Mirror
    from journal.mirrorfile import MirrorFile
    from journal.model import Row
    from journal.session import Session


@contextmanager
def told(mirror: Mirror) -> Iterator[None]:
    """Have what the system could not do to a file be an error of ours."""
    try:
        yield
    except OSError as error:
        raise MirrorError(
            f"the mirror {mirror.fact.path}: {error}", hint="journal mirror status"
        ) from error


@contextmanager
def overwritten(
    session: Session, mirror: Mirror, rows: list[Row], reason: str
) -> Iterator[Receipt]:
    """Overwrite lines in a file, and put them back if the block could not erase their rows.

    First that it is about to, which is sealed and durable: whoever finds the placeholder
    in the file and the lines in the database then knows whose it is, and puts them back.
    The file before the database: nothing is called erased that the file still has.
    """
    path, file = mirror.fact.path, mirror.file()
    if file is None:
        yield Receipt("mirror", OUT_OF_REACH, f"{path} is not there")
        return
    pieces = _pieces(session, mirror, file, rows)
    _intend(session, mirror, pieces, reason)
    try:
        with told(mirror):
            file.overwrite([(piece.offset, placeholder(piece.size)) for piece in pieces])
            file.sync()
        yield Receipt(
            "mirror", DONE, f"{path}: {counted(len(pieces), 'line')} overwritten in place"
        )
    except BaseException:
        # Refused, interrupted, or no disk: what this cannot put back the next comparison does.
        with suppress(JournalError, OSError):
            undo_redaction(mirror, file)
        raise


def _intend(session: Session, mirror: Mirror, pieces: list[Piece], reason: str) -> None:
    """Seal which lines are about to be overwritten, and where; return once that is on disk."""
    store = session.store
    with store.transaction() as cursor:
        chain, author = opened(session, cursor)
        about = fact("redacting", mirror=mirror.fact.number, pieces=pieces, reason=reason)
        write(cursor, chain, author, store.clock(), facts=[about])
        chain.load_facts(cursor)
    store.make_durable()


def _pieces(session: Session, mirror: Mirror, file: MirrorFile, rows: list[Row]) -> list[Piece]:
    """Return where in a file the rows' lines stand, and make sure that they do.

    By the order that the file has: another process may have given the session a new one since
    it was looked at, and a line that was left out of that stands in the file still.
    """
    path, known = mirror.fact.path, mirror.known()
    with session.store.snapshot() as cursor:
        chain = chain_of(session, cursor)
        layout = None if known is None else layout_of(chain, known.layout_no)
        at = positions(cursor, chain, [row.seq for row in rows], layout)
    pieces = []
    for row in (row for row in rows if row.seq in at):
        body = row.body or b""
        pieces.append(Piece(row.seq, at[row.seq].offset, len(body)))
        if file.read(pieces[-1].offset, len(body)) != body:
            raise MirrorError(
                f"{path} does not hold entry {row.seq} where it should",
                hint=_hint(chain),
                code="mirror-differs",
            )
    return pieces


def _hint(chain: Chain) -> str:
    if chain.mirror_state == "refused":
        return f"{command_on(chain.key, 'mirror resume', options='--reason R')}  # then again"
    return f"{command_on(chain.key, 'mirror reconcile', options='--apply')}  # then again"

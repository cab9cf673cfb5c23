"""Where a fence is to stand: the head with what is odd there, and the file as it was then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal import statements as sql
from journal.inspection import found_at
from journal.naming import digest_of
from journal.verdict import Mark

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.session import Session
    from journal.store import Store


def chain_of(cursor: Cursor, session: Session) -> Chain | None:
    """Return a session's chain, fresh; None if nobody ever wrote to it."""
    chain = session.store.find_chain(cursor, session.key)
    return None if chain is None else session.store.fresh(chain)


def mark_at_head(cursor: Cursor, chain: Chain | None, store: Store) -> Mark:
    """Return a mark at the head, with what is odd there and beyond: known, so not new later."""
    if chain is None:
        return Mark(0, 0, b"")
    head = chain.head
    mark = Mark(head.seq, head.epoch, head.seal)
    odd = chain.occupied.copy()
    if found_at(cursor, chain, mark, store.registry.writers):
        odd.add(head.seq)
    if not odd:
        return mark
    _, digest = digest_of(cursor, chain.session_id, tuple(odd))
    return mark._replace(beyond=tuple(odd), beyond_digest=digest)


def take_in(session: Session, floor: int | None = None, seq: int = 0) -> tuple[int, int] | None:
    """Have what reached the session's file judged with the rest: it becomes entries first.

    ``floor`` is the size the file had at the seq: it must not be shorter now.
    Returns how much of which layout is in the file, None if there is none.
    """
    store = session.store
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, session.key)
        if not is_mirrored(store, chain):
            return None
    return taken_in(store, chain, floor, seq)


def is_mirrored(store: Store, chain: Chain | None) -> bool:
    """Whether a session has a mirror, as far as is known here; to be asked within a snapshot."""
    return (
        chain is not None
        and chain.session_id in store.registry.mirrors
        and store.mirrors is not None
    )


def taken_in(
    store: Store, chain: Chain | None, floor: int | None, seq: int
) -> tuple[int, int] | None:
    """Do for a session that is mirrored what :func:`take_in` does; outside of any transaction."""
    assert chain is not None  # noqa: S101 - it is mirrored
    assert store.mirrors is not None  # noqa: S101 - as above
    known = None if floor is None else (floor, seq)
    store.mirrors.reconcile(chain.session_id, is_final=True, floor=known)
    return store.mirrors.position(chain.session_id)


def floor_at(cursor: Cursor, chain: Chain | None, position: tuple[int, int] | None) -> int | None:
    """Return the size that the file must have at the head; None if that cannot be told.

    Who rewrote the session after the file was looked at has it cut, and that is no edit. One that
    is gone has no size: made again, it may be found before it has all of its lines.
    """
    if chain is None or position is None:
        return None
    chain.know_facts(cursor)
    size, layout_no = position
    return size if layout_no == chain.layout.no and chain.mirror_state != "gone" else None


def persist_examined(cursor: Cursor, chain: Chain) -> None:
    """Store how far the session was examined, with the proof of it."""
    proof = chain.sealer.examined_mac(chain.examined)
    cursor.execute(sql.examine(), (chain.examined, proof, chain.session_id))

"""How a mirror is doing, in a word and in words for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from journal import statements as sql
from journal.commands import command_on

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.mirror import Mirror
    from journal.registry import MirrorFact


class MirrorStatus(NamedTuple):
    """How a mirror is doing.

    ``state`` is "on"; "behind": the file lacks lines; "failing": it could not be
    served the last time; "gone": it was removed, and is not made again unasked;
    "refused": somebody edited it, and it is served again once resumed;
    "elsewhere": it is served on another host, by another user, or by another journal.
    ``detail`` says why, in words.
    """

    key: str
    path: str
    host: str
    state: str
    detail: str | None = None
    size: int | None = None
    synced_to: int | None = None
    failures: int = 0


def status_of(mirror: Mirror, fact: MirrorFact, key: str, *, is_here: bool) -> MirrorStatus:
    """Return how a mirror that is served here is doing; ``is_here`` is whether its file is there."""
    with mirror.store.snapshot() as cursor:
        chain, known = mirror.chain(cursor), mirror.known()
        is_behind = known is None or lacks(cursor, chain, known.exported_seq, known.layout_no)
    state: str | None
    detail: str | None
    state, detail = chain.mirror_state, _detail(chain.mirror_state, key)
    if not is_here and os.path.lexists(fact.path):
        state = state or "gone"
        detail = "a link, directory or device stands at its path: move it away"
    elif not is_here and state is None:
        state, detail = "gone", _detail("gone", key)
    elif mirror.error is not None:
        state, detail = "failing", mirror.error
    elif state is None and is_behind:
        state, detail = "behind", "the next write or check brings it up to the journal"
    size, synced = (None, None) if known is None else (known.size, known.synced_to)
    return MirrorStatus(
        key, fact.path, fact.host, state or "on", detail, size, synced, mirror.failures
    )


def lacks(cursor: Cursor, chain: Chain, exported_seq: int, layout_no: int) -> bool:
    """Whether a file that was given every line up to a seq, in the order of a layout, lacks anything.

    The chain must know its facts.
    """
    if not exported_seq or layout_no != chain.layout.no:
        return True
    bounds = (chain.session_id, exported_seq + 1, chain.head.seq)
    return cursor.execute(sql.first_line(), bounds).fetchone() is not None


def _detail(state: str | None, key: str) -> str | None:
    if state == "gone":
        again = command_on(key, "mirror sync", options="--recreate")
        return f"the file was removed; {again} makes it again"
    if state == "refused":
        return f"the file was edited; {command_on(key, 'mirror resume', options='--reason REASON')} serves it again"
    return None

"""Records that the programs at mirrors' files are known: for all that ever came, or from now on.

A permission speaks of a writer, and so of all that it ever wrote. From now on means
another writer of the same mirror, and the permission is that one's alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal.controls import fact
from journal.model import check_label

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal.engine import Cursor
    from journal.registry import MirrorFact
    from journal.store import Store


def permit(store: Store, known: MirrorFact, *, permitted: bool, reason: str) -> None:
    """Say of all that came and comes by a mirror's file that it is permitted, or is not any more."""
    check_label(reason, "reason")
    with store.transaction() as cursor:
        named = (store.registry.by_name.get(name) for name in writers_of(known))
        numbers = {known.writer_id} | {writer.id for writer in named if writer is not None}
        facts = [
            fact("permit", id=number, permitted=permitted, reason=reason)
            for number in sorted(numbers)
        ]
        store.record(cursor, *facts)


def writers_of(known: MirrorFact) -> tuple[str, str]:
    """Return what a mirror's first and second writer are called; there need not be a second."""
    return f"external:mirror-{known.number}", f"external:mirror-{known.number}.2"


def permit_from_now(store: Store, keys: Iterable[str], reason: str) -> None:
    """Have what comes by the files of some sessions be permitted, whatever came before.

    A mirror is left as it is where its entries are permitted already, where somebody has
    taken the permission back, and where it is not served here.
    """
    check_label(reason, "reason")
    asked = tuple(keys)
    with store.snapshot():
        is_known = not _foreign(store, asked)
    if is_known:
        return
    with store.transaction() as cursor:
        for known in _foreign(store, asked):  # as it is by now
            _permit(store, cursor, known, reason)


def _foreign(store: Store, keys: tuple[str, ...]) -> list[MirrorFact]:
    """Return the mirrors that are served here and of whose program nobody has said anything."""
    registry = store.registry
    numbers = [registry.session_ids[key] for key in keys if key in registry.session_ids]
    found = [registry.mirrors[number] for number in numbers if number in registry.mirrors]
    return [
        each
        for each in found
        if store.serves(each)
        and not registry.writers[each.writer_id].permitted
        and each.writer_id not in registry.taken_back
    ]


def _permit(store: Store, cursor: Cursor, known: MirrorFact, reason: str) -> None:
    """Give a mirror its second writer, who is permitted."""
    writer = store.declare(cursor, writers_of(known)[1], "external")
    told = known._replace(writer_id=writer.id)
    store.record(
        cursor, fact("mirror", **told.told()), fact("permit", id=writer.id, permitted=True, reason=reason)
    )  # fmt: skip
    cursor.execute("UPDATE mirrors SET writer_id = ? WHERE id = ?", (writer.id, known.number))

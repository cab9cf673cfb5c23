"""Find the session that a file belongs to: by its bytes, with the receipts as a guide.

A file that was read before has its session, as long as its header still says so.
Any other file takes the first of its candidate keys that holds its very bytes,
or that nobody has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from journal.migration import naming, receipts
from journal.migration.holding import NOTHING, Holding, compare
from journal.migration.receipts import DONE, PARTIAL, Kept, Receipt, path_text
from journal.migration.source import UnfitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from journal.engine import Cursor
    from journal.migration.planned import PlannedFile
    from journal.migration.source import Source
    from journal.store import Store


class Choice(NamedTuple):
    """The session for a file: how much of it is there, and the receipts of both."""

    key: str
    holding: Holding
    of_file: tuple[Kept, ...] = ()
    of_others: tuple[Kept, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether no line of the file is in the session yet."""
        return self.holding.bytes == 0

    def was_cut(self, size: int) -> bool:
        """Whether the file, which has so many bytes, had more of the session when it was read before."""
        known = [kept.receipt.bytes for kept in self.of_file if kept.receipt.state == DONE]
        return self.holding.as_file == "more" and max(known, default=0) > size

    def check_erased(self) -> None:
        """Refuse a file that has a line still which was erased, where the session's: it would come back with it.

        Raises:
            UnfitError: it has.

        """
        if self.holding.has_erased and self.holding.as_file != "other":
            raise erased(self.key)

    @property
    def twin(self) -> Receipt | None:
        """What another path was read as, where a session in an order of its own is the very file all the same."""
        if self.holding.as_file != "equal" or self.holding.relation == "equal":
            return None
        found = (kept.receipt for kept in self.of_others)
        return next((receipt for receipt in found if receipt.state == DONE), None)

    @property
    def partial(self) -> Kept | None:
        """The receipt of an unfinished run, to be brought up to date."""
        every = (*self.of_file, *self.of_others)
        return next((each for each in every if each.receipt.state == PARTIAL), None)


def erased(key: str) -> UnfitError:
    """Return the reason to set a file aside that seems to have lines which were erased."""
    why = f"lines of session {key} were erased, and it seems to have them still: take them out, or remove it"
    return UnfitError("erased", why)


def choose(store: Store, each: PlannedFile, source: Source) -> Choice:
    """Return the session for a file; where it holds a part, the source stands behind that.

    Of a file that none of its keys' sessions is compared with, nothing is read.

    Raises:
        UnfitError: every key it could have holds something else.

    """
    keys = naming.candidates(each.base, each.name, path_text(each.path))
    bound = _bound_key(store, each.path, keys)
    if bound is not None:
        return _choice(store, each, bound, compare(store, bound, source))
    for key in keys:
        found = _offer(store, each, key, source)
        if found is not None:
            return found
    raise UnfitError("key-taken", f"each of its keys is another session's: {', '.join(keys)}")


def mirrored(store: Store, paths: Iterable[str]) -> dict[str, str]:
    """Return the session of each of these files that is a mirror which is served here."""
    wanted = {*paths}
    with store.snapshot():
        registry = store.registry
        facts = [each for each in registry.mirrors.values() if each.path in wanted]
        return {
            each.path: registry.session_keys[each.session_id]
            for each in facts
            if store.serves(each)
        }


def choose_only(store: Store, each: PlannedFile, key: str, source: Source) -> Choice:
    """Return the choice of this one session: a file is its mirror, or is about to be."""
    return _choice(store, each, key, compare(store, key, source))


def _bound_key(store: Store, path: str, keys: tuple[str, ...]) -> str | None:
    """Return the session that this path was read into; None if its header tells of another."""
    with store.snapshot() as cursor:
        known = store.registry.session_keys
        found = [known.get(kept.receipt.session_id) for kept in receipts.of_path(cursor, path)]
    return next((key for key in found if key in keys), None)


def _offer(store: Store, each: PlannedFile, key: str, source: Source) -> Choice | None:
    with store.snapshot() as cursor:
        exists = store.find_chain(cursor, key) is not None
    if not exists:
        return Choice(key, NOTHING)
    held = compare(store, key, source)
    choice = _choice(store, each, key, held)
    if held.relation == "equal" or (held.relation == "beginning" and _may_go_on(each, choice)):
        return choice
    return choice if choice.twin is not None else None


def _may_go_on(each: PlannedFile, choice: Choice) -> bool:
    """Whether the rest of a file may be appended to what another path began.

    Only where that was the same file, moved in the middle of a run, or where
    nothing but claims was ever written: a checkpoint is the beginning of its
    session's file too, and still a file of its own.
    """
    if choice.partial is not None:
        return choice.partial.receipt.name == path_text(each.name)
    return choice.is_new and not choice.of_others


def _choice(store: Store, each: PlannedFile, key: str, holding: Holding) -> Choice:
    with store.snapshot() as cursor:
        found = _receipts(store, cursor, key)
    own = path_text(each.path)
    mine = tuple(kept for kept in found if kept.receipt.path == own)
    others = tuple(kept for kept in found if kept.receipt.path != own)
    return Choice(key, holding, mine, others)


def _receipts(store: Store, cursor: Cursor, key: str) -> list[Kept]:
    chain = store.find_chain(cursor, key)
    return [] if chain is None else receipts.of_session(cursor, chain.session_id)

"""A session for the OpenAI Agents SDK: pass it to ``Runner.run`` in the place of ``SQLiteSession``.

>>> from journal.adapters.openai_agents import JournalSession
>>> session = JournalSession("user-7", "agents.db")  # doctest: +SKIP
>>> await Runner.run(agent, "Mend the gate.", session=session)  # doctest: +SKIP

The protocol is that of ``agents.memory.Session``, as of openai-agents 0.24. Every
item is an entry: one line of JSON, sealed, by this writer. What is popped, cleared or
replaced leaves the conversation; ``journal log`` and ``journal who`` still know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal.adapters.folding import forget
from journal.adapters.frameworks import need
from journal.adapters.items import line_of, newest, parsed, whole
from journal.adapters.sharing import Use
from journal.controls import decode
from journal.errors import EntryError, RefusedError
from journal.parts import encode_lines
from journal.who import who

need("openai")  # before it is imported

from agents.memory.session import _CompactionSnapshot
from agents.memory.session_settings import (
    SessionSettings,
    coerce_session_settings,
    resolve_session_limit,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from journal.fence import Fence
    from journal.journal import Journal
    from journal.model import Entry
    from journal.session import Session

Item = Any  # agents.TResponseInputItem: a dict of one of many shapes

WRITER: Final = "openai-agents"


class JournalSession:
    """One conversation, kept in a journal.

    Sessions of one database share one open journal within a process; they may be used
    from several threads and event loops.

    Args:
        session_id: the conversation; it becomes the session's key.
        url: the journal: a path, ``sqlite:///agents.db``, a server's URL (docs/postgres.md), a
            :class:`journal.Journal`, or ``:memory:`` for one that goes with the session.
        session_settings: as for the SDK's own sessions; ``limit`` is the default of ``get_items``.
        writer: who writes, as ``journal who`` will tell it.
        role: the writer's role, fixed by its first use.
        run_id: noted in each entry.
        on_behalf_of: noted in each entry.
        strict: refuse to add or pop once another process has written, popped or
            cleared since ``get_items``; what was to be added is parked. Without it such
            writes are accepted, in the order of their commits, and on record.

    Raises:
        EntryError: a session id that no key can be, or a setting that is none.
        StorageError: the database cannot be opened, or is another program's.

    """

    session_settings: SessionSettings | None = None

    def __init__(  # noqa: PLR0913 - what the SDK gives, and who writes
        self,
        session_id: str,
        url: str | os.PathLike[str] | Journal,
        *,
        session_settings: SessionSettings | dict[str, Any] | None = None,
        writer: str = WRITER,
        role: str = "run",
        run_id: str | None = None,
        on_behalf_of: str | None = None,
        strict: bool = False,
    ) -> None:
        self.session_id = session_id
        self.session_settings = coerce_session_settings(session_settings or SessionSettings())
        self._strict, self._writer = strict, writer
        self._fence: Fence | None = None
        self._mine: set[int] = set()
        self._use = Use(url)
        try:
            self._session = self._use.journal.session(
                session_id, writer=writer, role=role, run_id=run_id, on_behalf_of=on_behalf_of
            )
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_url(
        cls,
        session_id: str,
        *,
        url: str,
        create_tables: bool = True,
        **options: Any,  # noqa: ANN401 - those of the constructor
    ) -> Self:
        """Open by a URL, as ``SQLAlchemySession.from_url`` does; tables are always made as needed."""
        del create_tables
        return cls(session_id, url, **options)

    # -- the protocol -------------------------------------------------------------------

    async def get_items(self, limit: int | None = None, *, wrapper: object = None) -> list[Item]:
        """Return the newest items in order: so many, or as the settings say, or all."""
        del wrapper
        return await self._use.run(self._get, resolve_session_limit(limit, self.session_settings))

    async def add_items(self, items: list[Item], *, wrapper: object = None) -> None:
        """Add items: all or none; durable when this returns.

        Raises:
            EntryError: an item that is no JSON.
            SessionTakeover: in strict mode, another has written since; the items are parked.
            RefusedError: in strict mode, another has popped or replaced items since;
                these are parked. Or a turn that somebody claimed stands.

        """
        del wrapper
        lines = [line_of(item, "item") for item in items]
        if self._strict:
            await self._use.run(self._add, lines)
        elif lines:
            await self._use.write(self._session, encode_lines(lines))

    async def pop_item(self, *, wrapper: object = None) -> Item | None:
        """Take the newest item out and return it; None if there is none. No two get the same."""
        del wrapper
        return await self._use.run(self._pop)

    async def clear_session(self, *, wrapper: object = None) -> None:
        """Erase every item for good; that they were there stays on record."""
        del wrapper
        await self._use.run(self._clear)

    # -- compaction, all at once ----------------------------------------------------------

    async def _get_compaction_snapshot(
        self, limit: int, *, prune_prefix: Callable[[Item], bool] | None = None
    ) -> _CompactionSnapshot | None:
        entries, base, complete = await self._use.run(self._newest, limit)
        try:
            items = [entry.json() for entry in entries]
        except EntryError:
            return None

        async def replace_suffix(start: int, output: list[Item]) -> bool:
            lines = [line_of(item, "item") for item in output]
            return await self._use.run(
                self._replace_suffix, entries[start:], base, lines, prune_prefix
            )

        return _CompactionSnapshot(items, complete, replace_suffix)

    async def _atomic_replace_items(self, items: list[Item]) -> bool:
        lines = [line_of(item, "item") for item in items]
        await self._use.run(self._replace_all, lines)
        return True

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """Let go; the last session of a database in this process closes it.

        In a running event loop that is only begun, and the loop goes on; :meth:`aclose` waits for it.
        """
        self._use.close()

    async def aclose(self) -> None:
        """Let go, and return when that is done: where this was the last session, the database is closed."""
        await self._use.aclose()

    # -- what runs in a thread ------------------------------------------------------------

    def _get(self, limit: int | None) -> list[Item]:
        if self._strict:
            self._fence = self._session.fence(policy=self._is_own)
        if limit == 0:
            return []
        if limit is None or limit < 0:
            return _items(self._session.read())
        window = limit
        while True:
            lines = newest(self._session, window)
            items = _items(lines)
            if len(items) >= limit or len(lines) < window:
                return items[-limit:]
            window *= 2  # some are no items, and the limit is of items

    def _add(self, lines: list[bytes]) -> None:
        if not lines:
            return
        since = self._rearranged_since()
        if since is not None:
            with self._use.journal.batch() as batch:  # which refuses and parks them
                batch.extend(self._session, lines, base=since)
        to: Session | Fence = self._session if self._fence is None else self._fence
        # What this one wrote is no takeover of it.
        self._mine.update(entry.instance_id for entry in to.extend(lines))

    def _pop(self) -> Item | None:
        since = self._rearranged_since()
        if since is not None:
            self._session.cut(1, base=since, reason="popped")  # is refused, with its evidence
        if self._fence is not None:
            self._fence.check()
        while True:
            base = self._session.head.seq
            found = newest(self._session, 1)
            if not found:
                return None
            if found[0].seq <= base and self._cut(1, base):
                for item in _items(found):
                    return item

    def _cut(self, count: int, base: int) -> bool:
        """Cut the last lines off; False if somebody has rearranged the session since the base."""
        try:
            self._session.cut(count, base=base, reason="popped")
        except RefusedError as error:
            if error.code != "rewritten-since":
                raise
            return False
        return True

    def _clear(self) -> None:
        forget(self._session, "the session was cleared")

    def _newest(self, limit: int) -> tuple[list[Entry], int, bool]:
        base = self._session.head.seq
        entries = self._session.read(limit=limit + 1, newest=True)
        return list(entries[-limit:]), base, len(entries) <= limit

    def _replace_suffix(
        self,
        expected: Sequence[Entry],
        base: int,
        lines: list[bytes],
        prune_prefix: Callable[[Item], bool] | None,
    ) -> bool:
        if not expected:
            return False
        found = self._session.read()
        last = found[-len(expected) :]
        if self._session.head.seq != base or [e.seq for e in last] != [e.seq for e in expected]:
            return False
        kept: Sequence[Entry] = found[: -len(expected)]
        if prune_prefix is not None:
            kept = _without_prefix(kept, prune_prefix)
        return self._rewrite([*kept, *lines], base)

    def _replace_all(self, lines: list[bytes]) -> None:
        while not self._rewrite(lines, self._session.head.seq):
            continue  # somebody has rearranged it between the two

    def _rewrite(self, items: Iterable[object], base: int) -> bool:
        try:
            new = self._session.rewrite(items, base=base, reason="compacted")
        except RefusedError as error:
            if error.code != "rewritten-since":
                raise
            return False
        self._mine.update(entry.instance_id for entry in new)
        return True

    def _rearranged_since(self) -> int | None:
        """Return the fence's position, if another process has popped or replaced items since.

        No line tells a fence of that.
        """
        if self._fence is None or not self._session.exists:
            return None
        since, store = self._fence.mark.seq, self._fence.store
        with store.snapshot():  # behind a rollback nobody is known until somebody looks again
            own = store.instance_of(self._writer)
        later = (each.entry for each in who(self._use.journal, self._session.key, after=since))
        facts = (
            decode(entry.body)
            for entry in later
            if entry.kind == "control" and entry.instance_id != own
        )
        # What was read off a mirror's file is the fence's affair.
        is_so = any(each.get("control") == "layout" and "from_file" not in each for each in facts)
        return since if is_so else None

    def _is_own(self, entry: Entry) -> bool:
        return entry.kind == "control" or entry.instance_id in self._mine


def _items(entries: Iterable[Entry]) -> list[Item]:
    """Return what lines hold; what was redacted is no item that a model could be told."""
    return list(parsed(line for line in whole(entries) if not line.redacted))


def _without_prefix(entries: Sequence[Entry], drop: Callable[[Item], bool]) -> Sequence[Entry]:
    for at, entry in enumerate(entries):
        try:
            if not drop(entry.json()):
                return entries[at:]
        except EntryError:
            return entries[at:]
    return []

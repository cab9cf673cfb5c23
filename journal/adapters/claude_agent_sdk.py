"""A session store for the Claude Agent SDK: ``ClaudeAgentOptions(session_store=store)``.

>>> from journal.adapters.claude_agent_sdk import JournalSessionStore
>>> store = JournalSessionStore.from_url("sqlite:///claude.db")  # doctest: +SKIP
>>> options = ClaudeAgentOptions(session_store=store, resume=session_id)  # doctest: +SKIP

The protocol is that of ``claude_agent_sdk.SessionStore``, all of it, as of
claude-agent-sdk 0.2.187. Each transcript is a session, ``claude:PROJECT:SESSION`` or
``claude:PROJECT:SESSION:SUBPATH``, and each of its entries one line.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from journal.adapters.folding import folded, forget
from journal.adapters.frameworks import need
from journal.adapters.items import key_of, label_of, line_of, parsed, parts_of
from journal.adapters.sharing import Use
from journal.errors import EntryError

need("claude")  # before it is imported

from claude_agent_sdk import fold_session_summary

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    from journal.journal import Journal
    from journal.model import Entry
    from journal.session import Session

Key = Any  # claude_agent_sdk.SessionKey: project_key, session_id, and perhaps subpath
Item = Any  # claude_agent_sdk.SessionStoreEntry: an object with a type, usually a uuid

WRITER: Final = "claude-agent-sdk"
_TRANSCRIPT: Final = "claude"
_SUMMARY: Final = "claude-summary"
_MAIN: Final = 3  # the parts of a main transcript's key
_MS: Final = 1000
_TURNS: Final = 64


class JournalSessionStore:
    """Transcripts kept in a journal, for any number of projects, tasks, threads and processes.

    Args:
        url: the journal: a path, ``sqlite:///claude.db``, a server's URL (docs/postgres.md), a
            :class:`journal.Journal`, or ``:memory:`` for one that goes with the store.
        writer: who writes, as ``journal who`` will tell it; subagents' transcripts are
            written by the same name with ``/subagent`` added.
        role: the writer's role, fixed by its first use; of subagents it is ``subagent``.
        run_id: noted in each entry; the session's id if None.
        on_behalf_of: noted in each entry.
        strict: refuse to append to a transcript that another has written to since it
            was loaded here; what was to be appended is parked. Without it all is kept,
            in the order of the commits, as the SDK asks.

    Raises:
        EntryError: a URL that names no place, or a setting that is none.
        StorageError: the database cannot be opened, or is another program's.

    """

    def __init__(  # noqa: PLR0913 - where, and who writes
        self,
        url: str | os.PathLike[str] | Journal,
        *,
        writer: str = WRITER,
        role: str = "run",
        run_id: str | None = None,
        on_behalf_of: str | None = None,
        strict: bool = False,
    ) -> None:
        self._writer, self._role, self._strict = writer, role, strict
        self._run_id, self._on_behalf_of = run_id, on_behalf_of
        self._seen: dict[str, int] = {}
        # Within the process, for strict stores: what another of ours wrote meanwhile is not stale.
        self._turns = [threading.Lock() for _ in range(_TURNS)]
        self._use = Use(url)
        try:
            self._session(_main_key("", "none"))  # the writer is checked, nothing is written
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:  # noqa: ANN401 - those of the constructor
        """Open by a URL."""
        return cls(url, **options)

    # -- the protocol -------------------------------------------------------------------

    async def append(self, key: Key, entries: list[Item]) -> None:
        """Keep entries in order, all or none; durable when this returns.

        An entry whose uuid stands in the transcript already is not kept twice.

        Raises:
            EntryError: an entry that is no JSON, or a key that cannot be kept.
            RefusedError: in strict mode, another has written since; or a turn that
                somebody claimed stands. The entries are parked.

        """
        items = [(_uuid(item), line_of(item, "entry")) for item in entries]
        await self._use.run(self._append, key, items)

    async def load(self, key: Key) -> list[Item] | None:
        """Return the transcript, or None where there is none."""
        return await self._use.run(self._load, key)

    async def list_sessions(self, project_key: str) -> list[Any]:
        """Return each main transcript of a project: its ``session_id`` and ``mtime``."""
        return await self._use.run(self._list, project_key)

    async def list_session_summaries(self, project_key: str) -> list[Any]:
        """Return the SDK's own summary of each main transcript of a project."""
        return await self._use.run(self._summaries, project_key)

    async def delete(self, key: Key) -> None:
        """Erase a transcript for good, a main one with all its subagents'; that it was there stays on record."""
        await self._use.run(self._delete, key)

    async def list_subkeys(self, key: Key) -> list[str]:
        """Return the subpaths that have a transcript."""
        return await self._use.run(self._subkeys, key)

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """Let go; the last user of a database in this process closes it.

        In a running event loop that is only begun, and the loop goes on; :meth:`aclose` waits for it.
        """
        self._use.close()

    async def aclose(self) -> None:
        """Let go, and return when that is done: where this was the last user, the database is closed."""
        await self._use.aclose()

    # -- what runs in a thread ------------------------------------------------------------

    def _append(self, key: Key, items: Sequence[tuple[str | None, bytes]]) -> None:
        if not items:
            return
        session = self._session(key)
        with self._turn(session):
            base = self._seen.get(session.key)
            with self._use.journal.batch() as batch:
                written = [
                    batch.extend(session, lines, request_id=uuid, base=base, first_wins=True)
                    for uuid, lines in _writes(items)
                ]
            # What was there already tells nothing of what stands between.
            new = [each.entries[-1].seq for each in written if each.written]
            if self._strict and new:
                self._seen[session.key] = new[-1]

    def _load(self, key: Key) -> list[Item] | None:
        session = self._session(key)
        with self._turn(session):
            head = session.head.seq
            entries = session.read()
            if self._strict:
                self._seen[session.key] = max([head, *(entry.seq for entry in entries)])
        return list(parsed(entries)) or None

    def _list(self, project: str) -> list[Any]:
        return [
            {"session_id": name, "mtime": newest.created_us // _MS}
            for name, _, newest in self._main(project)
        ]

    def _summaries(self, project: str) -> list[Any]:
        return [
            {
                "session_id": name,
                "mtime": newest.created_us // _MS,
                "data": self._summary(project, name, session),
            }
            for name, session, newest in self._main(project)
        ]

    def _summary(self, project: str, name: str, session: Session) -> dict[str, Any]:
        key = _main_key(project, name)

        def step(data: dict[str, Any], items: Sequence[Item]) -> dict[str, Any]:
            summary: Any = {"session_id": name, "mtime": 0, "data": data}
            entries: Any = [
                item for item in items if isinstance(item, dict)
            ]  # others' lines may be any JSON
            return fold_session_summary(summary, key, entries)["data"]

        saved: dict[str, Any] = folded(session, self._savepoints(key), {}, step)
        return saved

    def _delete(self, key: Key) -> None:
        session = self._session(key)
        if key.get("subpath") is None:
            for name in self._subkeys(key):
                self._delete({**key, "subpath": name})
        self._seen.pop(session.key, None)
        forget(session, "the transcript was deleted")
        if key.get("subpath") is None:
            forget(self._savepoints(key), "the transcript was deleted")

    def _subkeys(self, key: Key) -> list[str]:
        found = self._found(_key(key) + ":")
        return [parts[-1] for parts, _ in found if len(parts) == _MAIN + 1]

    def _turn(self, session: Session) -> AbstractContextManager[object]:
        """Return what lets one of ours at a time at a transcript, where it matters what each has seen."""
        return self._turns[hash(session.key) % _TURNS] if self._strict else nullcontext()

    # -- keys and handles -----------------------------------------------------------------

    def _main(self, project: str) -> Iterator[tuple[str, Session, Entry]]:
        """Yield each main transcript that holds something: its id, a handle, and its newest entry."""
        for parts, newest in self._found(key_of(_TRANSCRIPT, project) + ":"):
            if len(parts) == _MAIN:
                yield parts[-1], self._session(_main_key(project, parts[-1])), newest

    def _found(self, prefix: str) -> Iterator[tuple[list[str], Entry]]:
        """Yield the parts of each key that begins so, where something is kept, with the newest of it."""
        journal = self._use.journal
        for info in journal.sessions(prefix):
            for newest in journal.session(info.key).read(limit=1, newest=True):
                yield parts_of(info.key), newest

    def _session(self, key: Key) -> Session:
        name = _key(key)  # it is a key, or this says so
        is_main = key.get("subpath") is None
        return self._use.journal.session(
            name,
            writer=self._writer if is_main else f"{self._writer}/subagent",
            role=self._role if is_main else "subagent",
            run_id=self._run_id or label_of(key["session_id"]),
            on_behalf_of=self._on_behalf_of,
        )

    def _savepoints(self, key: Key) -> Session:
        name = key_of(_SUMMARY, key["project_key"], key["session_id"])
        return self._use.journal.session(name, writer=self._writer, role=self._role)


def _main_key(project: str, name: str) -> Key:
    return {"project_key": project, "session_id": name}


def _key(key: Key) -> str:
    """Return the session's key.

    Raises:
        EntryError: it is no key of the SDK's.

    """
    try:
        subpath = key.get("subpath")
        names = [key["project_key"], key["session_id"], *([] if subpath is None else [subpath])]
    except (AttributeError, KeyError, TypeError) as error:
        raise EntryError(
            f"{key!r} is no key of a session",
            hint='{"project_key": …, "session_id": …}',
            code="session-key",
        ) from error
    return key_of(_TRANSCRIPT, *names)


def _uuid(item: Item) -> str | None:
    """Return what tells an entry from all others, where it has something that can."""
    return label_of(item.get("uuid")) if isinstance(item, dict) else None


def _writes(items: Sequence[tuple[str | None, bytes]]) -> Iterator[tuple[str | None, list[bytes]]]:
    """Yield what is written at once: each entry with a uuid by itself, others together."""
    for uuid, group in groupby(items, key=lambda item: item[0]):
        lines = [line for _, line in group]
        # Of several with one uuid, one after the other, the first is kept.
        yield uuid, lines if uuid is None else lines[:1]

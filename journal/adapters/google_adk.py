"""A session service for Google's Agent Development Kit: ``Runner(session_service=service)``.

>>> from journal.adapters.google_adk import JournalSessionService
>>> service = JournalSessionService("sqlite:///adk.db")  # doctest: +SKIP
>>> runner = Runner(app_name="gate", agent=agent, session_service=service)  # doctest: +SKIP

The interface is that of ``BaseSessionService``, as of google-adk 2.13. Each session of
ADK's is a session here, ``adk:APP:USER:ID``: its first line says what it began with, each
line after that is an event. Its state is what its events make of it. State that all
sessions of a user or of an app share is a session of its own, ``adk-user:APP:USER`` and
``adk-app:APP``: a line for each change.
"""

from __future__ import annotations

import threading
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from journal.adapters.folding import folded, forget
from journal.adapters.frameworks import need
from journal.adapters.items import key_of, label_of, line_of, newest, parts_of, whole
from journal.adapters.sharing import Use
from journal.adapters.states import begun, changed, event_of, merged, of_app_or_user, of_session
from journal.errors import EntryError, RefusedError
from journal.verdict import CHANGED_SINCE

need("adk")  # before it is imported

from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.platform import time as adk_time
from google.adk.platform import uuid as adk_uuid
from google.adk.sessions import BaseSessionService, Session
from google.adk.sessions._session_util import extract_json_safe_state_delta
from google.adk.sessions.base_session_service import (
    GetSessionConfig,
    ListSessionsResponse,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from typing import Self

    from google.adk.events.event import Event

    from journal.batch import Batch, Receipt
    from journal.journal import Journal
    from journal.session import Session as Lines


WRITER: Final = "google-adk"
_EVENTS: Final = "adk"
_NAMES: Final = 3  # an app's, a user's, and a session's own
_SHARED: Final = {"app": "adk-app", "user": "adk-user"}
_TURNS: Final = 64
_HANDLES: Final = 256


class JournalSessionService(BaseSessionService):
    """Sessions, their events and their state, for any number of tasks, threads and processes.

    Args:
        url: the journal: a path, ``sqlite:///adk.db``, a server's URL (docs/postgres.md), a
            :class:`journal.Journal`, or ``:memory:`` for one that goes with the service.
        uri: the same, by the name that ADK's own services use.
        writer: who writes, as ``journal who`` will tell it.
        role: the writer's role, fixed by its first use.
        run_id: noted in each entry; the event's invocation id if None.
        on_behalf_of: noted in each entry; the user's id if None.
        strict: as it is without: ADK's own contract is to refuse what is stale.

    Raises:
        EntryError: no URL, one that names no place, or a setting that is none.
        StorageError: the database cannot be opened, or is another program's.

    """

    def __init__(  # noqa: PLR0913 - where, and who writes
        self,
        url: str | os.PathLike[str] | Journal | None = None,
        *,
        uri: str | os.PathLike[str] | None = None,
        writer: str = WRITER,
        role: str = "run",
        run_id: str | None = None,
        on_behalf_of: str | None = None,
        strict: bool = True,
    ) -> None:
        del strict
        place = url if url is not None else uri
        if place is None:
            raise EntryError(
                "a session service needs a journal", hint="sqlite:///adk.db", code="url"
            )
        self._writer, self._role = writer, role
        self._run_id, self._on_behalf_of = run_id, on_behalf_of
        # Appends of one session take turns within the process: parallel agents share the object.
        self._turns = [threading.Lock() for _ in range(_TURNS)]
        self._handles: dict[tuple[str | None, ...], Lines] = {}
        self._use = Use(place)
        try:
            self._handle(_EVENTS)  # the writer is checked, nothing is written
        except BaseException:
            self._use.close()
            raise

    # -- the interface --------------------------------------------------------------------

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Make a session; durable when this returns.

        Raises:
            AlreadyExistsError: there is one of this id.

        """
        name = (session_id or "").strip() or adk_uuid.new_uuid()
        deltas = extract_json_safe_state_delta(state or {})
        return await self._use.run(self._create, (app_name, user_id, name), deltas)

    async def get_session(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        config: GetSessionConfig | None = None,
    ) -> Session | None:
        """Return a session with its state and events, or None where there is none."""
        names = (app_name, user_id, session_id.strip())
        return await self._use.run(self._get, names, config or GetSessionConfig())

    async def list_sessions(
        self, *, app_name: str, user_id: str | None = None
    ) -> ListSessionsResponse:
        """Return the sessions of an app, or of one of its users, without events; the oldest update first."""
        return await self._use.run(self._list, app_name, user_id)

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Erase a session for good; that it was there stays on record."""
        await self._use.run(self._delete, (app_name, user_id, session_id.strip()))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state that all sessions of a user share."""
        return await self._use.run(self._shared_state, "user", app_name, user_id)

    async def append_event(self, session: Session, event: Event) -> Event:
        """Keep an event with all that it changes, in one transaction; durable when this returns.

        The same event again is kept once.

        Raises:
            StaleSessionError: the session holds more than this object knows of. The
                event is parked.
            SessionNotFoundError: there is no such session.
            AlreadyExistsError: another event has the id.
            EntryError: the event is no JSON.

        """
        if event.partial:
            return event
        self._apply_temp_state(session, event)
        event = self._trim_temp_delta_state(event)
        await self._use.run(self._append, session, event)
        return self._commit_event_to_session(session, event)

    async def close(self) -> None:
        """Let go; the last user of a database in this process closes it, while the loop goes on."""
        await self._use.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- what runs in a thread ------------------------------------------------------------

    def _create(self, names: tuple[str, str, str], deltas: dict[str, Any]) -> Session:
        lines, now = self._events(names), adk_time.get_time()
        base = lines.head.seq
        _refuse_if_there(lines, names[2])
        try:
            with self._use.journal.batch() as batch:
                first = batch.append(
                    lines, line_of(begun(names, deltas["session"], now), "state"), base=base
                )
                self._change_shared(batch, names, deltas, first)
        except RefusedError as error:
            if error.code != CHANGED_SINCE:
                raise
            _refuse_if_there(lines, names[2])
            raise
        return self._made(names, deltas["session"], now, first.entries[-1].seq)

    def _get(self, names: tuple[str, str, str], config: GetSessionConfig) -> Session | None:
        lines = self._events(names)
        head = lines.head.seq
        since, count = config.after_timestamp, config.num_recent_events
        if count is None or since is not None:
            entries = list(whole(lines.read()))
        else:
            entries = newest(lines, count + 1)
        if not entries:
            return None
        events = [event for entry in entries if (event := event_of(entry)) is not None]
        if since is not None:
            events = [event for event in events if event.timestamp >= since]
        if count is not None:
            events = events[max(0, len(events) - count) :]
        known = self._state_of(names, lines)
        at = max(head, *(entry.seq for entry in entries))
        made = self._made(names, known["state"], known["at"], at)
        made.events = events
        return made

    def _list(self, app: str, user: str | None) -> ListSessionsResponse:
        rest = [] if user is None else [user]
        found: list[Session] = []
        shared = cache(self._shared_state)  # one user has many sessions, one app has all
        for info in self._use.journal.sessions(key_of(_EVENTS, app, *rest) + ":"):
            names = tuple(parts_of(info.key)[1:])
            if len(names) != _NAMES:
                continue  # a session of somebody else's, that only begins so
            lines = self._events(names)
            if lines.read(limit=1):
                known = self._state_of(names, lines)
                at = lines.head.seq
                found.append(self._made(names, known["state"], known["at"], at, shared))
        found.sort(key=lambda each: (each.last_update_time, each.user_id, each.id))
        return ListSessionsResponse(sessions=found)

    def _delete(self, names: tuple[str, str, str]) -> None:
        forget(self._events(names), "the session was deleted")
        forget(self._savepoints(_EVENTS, names), "the session was deleted")

    def _append(self, session: Session, event: Event) -> None:
        names = (session.app_name, session.user_id, session.id)
        with self._turns[hash(names) % _TURNS]:
            seq = self._keep(session, event, names)
            session._storage_update_marker = str(seq)  # noqa: SLF001 - there for services
            session.last_update_time = event.timestamp

    def _keep(self, session: Session, event: Event, names: tuple[str, str, str]) -> int:
        """Write an event; return the session's position after it."""
        lines, line = self._events(names, event.invocation_id), changed(event)
        base = _base(session, lines)
        deltas = extract_json_safe_state_delta(event.actions.state_delta or {})
        try:
            with self._use.journal.batch() as batch:
                kept = batch.append(lines, line, request_id=event.id, base=base, first_wins=True)
                self._change_shared(batch, names, deltas, kept)
        except RefusedError as error:
            if error.code != CHANGED_SINCE:
                raise
            raise _stale(lines, names[2], error) from error
        if not kept.written and b"".join(each.data for each in kept.entries) != line + b"\n":
            raise AlreadyExistsError(f"Another event with id {event.id} already exists.")
        # Found done, it may stand behind events that this object does not know.
        is_next = kept.written or kept.entries[0].seq == base + 1
        return kept.entries[-1].seq if is_next else base

    # -- state --------------------------------------------------------------------------------

    def _change_shared(
        self, batch: Batch, names: tuple[str, str, str], deltas: dict[str, Any], only_with: Receipt
    ) -> None:
        for scope, owner in (("app", names[:1]), ("user", names[:2])):
            if deltas[scope]:
                line = line_of({"set": deltas[scope]}, "state")
                batch.append(self._handle(_SHARED[scope], *owner), line, only_with=only_with)

    def _shared_state(self, scope: str, *owner: str) -> dict[str, Any]:
        kind = _SHARED[scope]
        lines = self._handle(kind, *owner)
        state: dict[str, Any] = folded(lines, self._savepoints(kind, owner), {}, of_app_or_user)
        return state

    def _state_of(self, names: tuple[str, ...], lines: Lines) -> dict[str, Any]:
        start: dict[str, Any] = {"state": {}, "at": 0.0}
        return folded(lines, self._savepoints(_EVENTS, names), start, of_session)

    def _made(
        self,
        names: tuple[str, ...],
        state: dict[str, Any],
        at: float,
        seq: int,
        shared: Callable[..., dict[str, Any]] | None = None,
    ) -> Session:
        app, user, name = names
        shared = shared or self._shared_state
        # Copied: what one session's holder changes is not another's.
        state = deepcopy(merged(shared("app", app), shared("user", app, user), state))
        made = Session(app_name=app, user_id=user, id=name, state=state, last_update_time=at)
        made._storage_update_marker = str(seq)  # noqa: SLF001 - there for services
        return made

    # -- keys and handles ---------------------------------------------------------------------

    def _events(self, names: tuple[str, ...], run_id: str | None = None) -> Lines:
        return self._handle(_EVENTS, *names, run_id=run_id, on_behalf_of=names[1])

    def _savepoints(self, kind: str, names: tuple[str, ...]) -> Lines:
        return self._handle(f"{kind}-state", *names)

    def _handle(
        self, *key: str, run_id: str | None = None, on_behalf_of: str | None = None
    ) -> Lines:
        known = self._handles.get((*key, run_id, on_behalf_of))
        if known is None:
            known = self._use.journal.session(
                key_of(*key),
                writer=self._writer,
                role=self._role,
                run_id=self._run_id or label_of(run_id),
                on_behalf_of=self._on_behalf_of or label_of(on_behalf_of),
            )
            if len(self._handles) >= _HANDLES:
                self._handles.clear()
            self._handles[*key, run_id, on_behalf_of] = known
        return known


def _base(session: Session, lines: Lines) -> int:
    """Return the position that a session object knows of.

    Raises:
        SessionNotFoundError: there is no such session.

    """
    marker = session._storage_update_marker  # noqa: SLF001 - there for services
    if marker is not None and marker.isdecimal():
        if not lines.exists:  # of another database; what was deleted is refused where it is written
            raise SessionNotFoundError(f"Session {session.id} not found.")
        return int(marker)
    # One that no service handed out, or another's: it is known by its last event.
    head = lines.head.seq
    found = newest(lines, 1)
    if not found:
        raise SessionNotFoundError(f"Session {session.id} not found.")
    last = event_of(found[0])
    known = session.events[-1].id if session.events else None
    return head if known == (None if last is None else last.id) else 0


def _refuse_if_there(lines: Lines, name: str) -> None:
    if lines.read(limit=1):
        raise AlreadyExistsError(f"Session with id {name} already exists.")


def _stale(lines: Lines, name: str, error: RefusedError) -> Exception:
    """Return ADK's error for an event that went out from what is not so any more."""
    if not lines.read(limit=1):
        return SessionNotFoundError(f"Session {name} not found.")
    kept = (
        "" if error.parked is None else f"; the event is kept: journal parked show {error.parked}"
    )
    return StaleSessionError(
        f"The session was changed in storage since it was read: {error}. "
        f"Please load it again{kept}."
    )

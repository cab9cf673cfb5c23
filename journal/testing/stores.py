"""Stores to be scored by ``two_writers``: frameworks' own, and ours in their place.

Each is a factory of a dozen lines; a framework is imported by those that need it.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


class FlatFile:
    """A file of lines, opened to be appended to: what sessions used to be."""

    def __init__(self, place: Path) -> None:
        self._path = place / "session.txt"

    def read(self) -> list[str]:
        """Return its lines."""
        return self._path.read_text("utf-8").splitlines() if self._path.exists() else []

    def add(self, text: str) -> None:
        """Append a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def close(self) -> None:
        """Nothing is open."""


class Journaled:
    """A session of a journal, through a fence raised at each reading."""

    def __init__(self, place: Path) -> None:
        from journal.journal import Journal  # noqa: PLC0415 - in each process

        self._journal = Journal(place / "journal.db", key_file=place / "key")
        self._session = self._journal.session("s", writer="writer", role="run", policy=self._is_own)
        self._own: set[int] = set()
        self._fence = self._session.fence()

    def _is_own(self, entry: Any) -> bool:  # noqa: ANN401 - an entry
        return entry.kind == "control" or entry.instance_id in self._own

    def read(self) -> list[str]:
        """Raise a fence and read."""
        self._fence = self._session.fence()
        return [(entry.body or b"").decode() for entry in self._session.read()]

    def add(self, text: str) -> None:
        """Write if only we have written since."""
        self._own.add(self._fence.append(text.encode()).instance_id)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


class Awaited:
    """What the frameworks' stores have in common: they are awaited."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._pid = os.getpid()

    def _run(self, call: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it returns
        if self._pid != os.getpid():  # a forked child has a loop of its own, as it would have
            # The parent's is kept: were it collected, it would take its bell out of what both wait at.
            self._inherited = self._runner
            self._runner, self._pid = asyncio.Runner(), os.getpid()
        return self._runner.run(call)


class OpenAI(Awaited):
    """A session of the OpenAI Agents SDK."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401 - of several programs
        super().__init__()
        self._session = session

    def read(self) -> list[str]:
        """Return the texts of its items."""
        return [item["content"] for item in self._run(self._session.get_items())]

    def add(self, text: str) -> None:
        """Add a message."""
        self._run(self._session.add_items([{"role": "user", "content": text}]))

    def pop(self) -> str | None:
        """Take the newest message out."""
        item = self._run(self._session.pop_item())
        return None if item is None else item["content"]

    def close(self) -> None:
        """Close the session, where that can be done."""
        getattr(self._session, "close", lambda: None)()
        self._runner.close()


def openai_sqlite(place: Path) -> OpenAI:
    """Return the SDK's own ``SQLiteSession``."""
    from agents.memory import SQLiteSession  # noqa: PLC0415 - an extra

    return OpenAI(SQLiteSession("s", place / "agents.db"))


def openai_sqlalchemy(place: Path) -> OpenAI:
    """Return the SDK's own ``SQLAlchemySession``."""
    from agents.extensions.memory import SQLAlchemySession  # noqa: PLC0415 - an extra

    url = f"sqlite+aiosqlite:///{place}/agents.db"
    return OpenAI(SQLAlchemySession.from_url("s", url=url, create_tables=True))


def openai_ours(place: Path) -> OpenAI:
    """Return ``JournalSession`` in its strict mode."""
    from journal.adapters.openai_agents import JournalSession  # noqa: PLC0415 - an extra

    return OpenAI(JournalSession("s", place / "agents.db", strict=True))


class ADK(Awaited):
    """A session of Google's ADK: the object that was read last is written with."""

    _one: Any = {"app_name": "app", "user_id": "user", "session_id": "s"}  # noqa: RUF012 - never changed

    def __init__(self, service: Any) -> None:  # noqa: ANN401 - of several programs
        from google.adk.errors.already_exists_error import AlreadyExistsError  # noqa: PLC0415 - an extra

        super().__init__()
        self._service = service
        try:
            self._session = self._run(service.create_session(**self._one))
        except AlreadyExistsError:
            self.read()

    def read(self) -> list[str]:
        """Load the session."""
        self._session = self._run(self._service.get_session(**self._one))
        return [event.content.parts[0].text for event in self._session.events]

    def add(self, text: str) -> None:
        """Append an event to what was loaded."""
        from google.adk.events.event import Event  # noqa: PLC0415 - an extra
        from google.genai import types  # noqa: PLC0415 - an extra

        content = types.Content(role="user", parts=[types.Part(text=text)])
        self._run(self._service.append_event(self._session, Event(author="user", content=content)))

    def close(self) -> None:
        """Close the service."""
        self._run(self._service.close())
        self._runner.close()


def adk_sqlite(place: Path) -> ADK:
    """Return ADK's own ``SqliteSessionService``."""
    from google.adk.sessions.sqlite_session_service import SqliteSessionService  # noqa: PLC0415 - an extra

    return ADK(SqliteSessionService(str(place / "adk.db")))


def adk_database(place: Path) -> ADK:
    """Return ADK's own ``DatabaseSessionService``."""
    from google.adk.sessions.database_session_service import DatabaseSessionService  # noqa: PLC0415 - an extra

    return ADK(DatabaseSessionService(f"sqlite+aiosqlite:///{place}/adk.db"))


def adk_ours(place: Path) -> ADK:
    """Return ``JournalSessionService``."""
    from journal.adapters.google_adk import JournalSessionService  # noqa: PLC0415 - an extra

    return ADK(JournalSessionService(place / "adk.db"))


class Claude(Awaited):
    """A transcript of the Claude Agent SDK."""

    _key: Any = {"project_key": "p", "session_id": "s"}  # noqa: RUF012 - never changed

    def __init__(self, store: Any) -> None:  # noqa: ANN401 - of several programs
        super().__init__()
        self._store = store
        self.read()

    def read(self) -> list[str]:
        """Load the transcript."""
        return [entry["text"] for entry in self._run(self._store.load(self._key)) or ()]

    def add(self, text: str) -> None:
        """Append an entry."""
        self._run(self._store.append(self._key, [{"type": "x", "text": text}]))

    def close(self) -> None:
        """Close the store."""
        self._store.close()
        self._runner.close()


def claude_ours(place: Path) -> Claude:
    """Return ``JournalSessionStore`` in its strict mode."""
    from journal.adapters.claude_agent_sdk import JournalSessionStore  # noqa: PLC0415 - an extra

    return Claude(JournalSessionStore(place / "claude.db", strict=True))

"""What other programs use to keep a session, where it is installed; each with its own defaults."""

from __future__ import annotations

import asyncio
import importlib
import logging
import uuid
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import TYPE_CHECKING, Any

from contenders import bodies, each, value, values
from rounds import AbsentError, Contender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def _needed(package: str, *modules: str) -> list[Any]:
    try:
        version(package)
        return [importlib.import_module(module) for module in modules]
    except (ImportError, PackageNotFoundError) as error:
        raise AbsentError(f"not installed: pip install {package}") from error


def _awaited(
    runner: asyncio.Runner,
    keep: Callable[[Any], Awaitable[object]],
    items: Any,  # noqa: ANN401
) -> Callable[[int], None]:
    async def run(times: int) -> None:
        for _ in range(times):
            await keep(next(items))

    return lambda times: runner.run(run(times))


def openai_agents(home: Path) -> Contender:
    """``SQLiteSession`` of openai-agents: one item a call."""
    (memory,) = _needed("openai-agents", "agents.memory")
    session = memory.SQLiteSession("main", home / "openai.db")
    runner = asyncio.Runner()

    async def keep(line: dict[str, Any]) -> None:
        await session.add_items([line])

    def close() -> None:
        session.close()
        runner.close()

    title = f"openai-agents {version('openai-agents')} SQLiteSession"
    return Contender("openai-agents", title, "plain-full", _awaited(runner, keep, values()), close)


def google_adk(home: Path) -> Contender:
    """``SqliteSessionService`` of google-adk: one event a call."""
    services, events, types = _needed(
        "google-adk",
        "google.adk.sessions.sqlite_session_service",
        "google.adk.events",
        "google.genai.types",
    )
    logging.getLogger("google_adk").setLevel(logging.ERROR)
    service = services.SqliteSessionService(str(home / "adk.db"))
    runner = asyncio.Runner()
    session = runner.run(service.create_session(app_name="bench", user_id="user"))
    text = value(1)["message"]["content"][0]["text"]

    async def keep(_: object) -> None:
        # A service keeps the session's events in memory too; a run of fresh ones would not.
        session.events.clear()
        part = types.Part(text=text)
        content = types.Content(role="model", parts=[part])
        await service.append_event(session, events.Event(author="agent", content=content))

    title = f"google-adk {version('google-adk')} SqliteSessionService"
    return Contender(
        "google-adk", title, "plain-full", _awaited(runner, keep, count()), runner.close
    )


def eventsourcing(home: Path) -> Contender:
    """Use the aggregate recorder of eventsourcing: one stored event a call."""
    sqlite, persistence = _needed(
        "eventsourcing", "eventsourcing.sqlite", "eventsourcing.persistence"
    )
    store = sqlite.SQLiteDatastore(str(home / "eventsourcing.db"))
    recorder = sqlite.SQLiteAggregateRecorder(store)
    recorder.create_table()
    aggregate, numbers = uuid.uuid4(), count(1)

    def keep(body: bytes) -> None:
        event = persistence.StoredEvent(aggregate, next(numbers), "message", body)
        recorder.insert_events([event])

    title = f"eventsourcing {version('eventsourcing')} SQLiteAggregateRecorder"
    return Contender("eventsourcing", title, "plain-full", each(keep, bodies()), store.close)

"""Measure our sessions for agent frameworks beside the frameworks' own, in turns.

    python bench/adapters.py            five rounds

One item or event a call, awaited one after the other, each durable as its store has it by
default: ours is synced before the call returns, theirs as SQLite's own default (FULL) has it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.memory import SQLiteSession
from google.adk.events.event import Event
from google.adk.sessions.database_session_service import DatabaseSessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types
from rounds import Contender, Plan, measure, ratios, spread

from journal.adapters.google_adk import JournalSessionService
from journal.adapters.openai_agents import JournalSession

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

TEXT = "x" * 900
ITEM: dict[str, Any] = {"role": "user", "content": TEXT}
ONE: Any = {"app_name": "bench", "user_id": "u", "session_id": "s"}


def contender(
    name: str,
    title: str,
    add: Callable[[], Coroutine[Any, Any, object]],
    close: Callable[[], object],
    runner: asyncio.Runner,
) -> Contender:
    """Return a store as one who takes turns."""

    async def some(times: int) -> None:
        for _ in range(times):
            await add()

    def end() -> None:
        close()
        runner.close()

    return Contender(name, title, "theirs", lambda times: runner.run(some(times)), end)


def of_openai(name: str, title: str, session: Any) -> Contender:  # noqa: ANN401 - of two programs
    return contender(
        name, title, lambda: session.add_items([ITEM]), session.close, asyncio.Runner()
    )


def of_adk(name: str, title: str, service: Any) -> Contender:  # noqa: ANN401 - of three programs
    runner = asyncio.Runner()
    session = runner.run(service.create_session(**ONE))

    def add() -> Coroutine[Any, Any, object]:
        content = types.Content(role="user", parts=[types.Part(text=TEXT)])
        return service.append_event(session, Event(author="user", content=content))  # type: ignore[no-any-return]

    return contender(name, title, add, lambda: runner.run(service.close()), runner)


def compare(contenders: list[Contender], rounds: int, times: int) -> None:
    """Measure some in turns and tell, each beside the first."""
    try:
        measure(contenders, Plan(rounds, 4, times), lambda _: None)
    finally:
        for each in contenders:
            each.close()
    for each in contenders:
        rate, ratio = spread(each.rates), ratios(each.rates, contenders[0].rates)
        print(
            f"{each.title}: {rate.median:.0f} a second, "
            f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
        )


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    agents, adk = version("openai-agents"), version("google-adk")
    with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=Path.cwd()) as place:
        compare(
            [
                of_openai(
                    "theirs",
                    f"openai-agents {agents} SQLiteSession",
                    SQLiteSession("s", f"{place}/a.db"),
                ),
                of_openai("ours", "JournalSession", JournalSession("s", f"{place}/b.db")),
            ],
            rounds,
            100,
        )
        compare(
            [
                of_adk(
                    "theirs",
                    f"google-adk {adk} SqliteSessionService",
                    SqliteSessionService(f"{place}/c.db"),
                ),
                of_adk(
                    "database",
                    f"google-adk {adk} DatabaseSessionService",
                    DatabaseSessionService(f"sqlite+aiosqlite:///{place}/d.db"),
                ),
                of_adk("ours", "JournalSessionService", JournalSessionService(f"{place}/e.db")),
            ],
            rounds,
            25,
        )


if __name__ == "__main__":
    main()

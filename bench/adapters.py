"""Measure our sessions for agent frameworks beside the frameworks' own, in turns.

    python bench/adapters.py            five rounds

One item a call, awaited one after the other, each durable as its store has it by default:
ours is synced before the call returns, SQLiteSession's as SQLite's own default (FULL) has it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.memory import SQLiteSession
from rounds import Contender, Plan, measure, ratios, spread

from journal.adapters.openai_agents import JournalSession

if TYPE_CHECKING:
    from collections.abc import Callable

ITEM: dict[str, Any] = {"role": "user", "content": "x" * 900}


def contender(name: str, title: str, session: Any) -> Contender:  # noqa: ANN401 - of two programs
    """Return a session as one who takes turns."""
    runner = asyncio.Runner()

    async def add(times: int) -> None:
        for _ in range(times):
            await session.add_items([ITEM])

    def close() -> None:
        runner.close()
        session.close()

    keep: Callable[[int], object] = lambda times: runner.run(add(times))  # noqa: E731 - of this runner
    return Contender(name, title, "theirs", keep, close)


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        theirs = contender(
            "theirs",
            f"openai-agents {version('openai-agents')} SQLiteSession",
            SQLiteSession("s", f"{place}/theirs.db"),
        )
        ours = contender("ours", "JournalSession", JournalSession("s", f"{place}/ours.db"))
        try:
            measure([theirs, ours], Plan(arguments.rounds, 4, 100), lambda _: None)
        finally:
            theirs.close()
            ours.close()
    for each in (theirs, ours):
        rate, ratio = spread(each.rates), ratios(each.rates, theirs.rates)
        print(
            f"{each.title}: {rate.median:.0f} items/s, {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"
        )


if __name__ == "__main__":
    main()

"""A framework's own store and ours in its place, put through what two writers do to each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.adapters.frameworks import need
from journal.errors import JournalError
from journal.testing.two_writers import TRIALS, score

if TYPE_CHECKING:
    from journal.testing.two_writers import Score

_STORES: Final = "journal.testing.stores"


class Play(NamedTuple):
    """What is played for one framework: whose store, which of its classes, in which trials."""

    title: str
    theirs: tuple[str, str]
    ours: tuple[str, str]
    trials: tuple[str, ...]


FRAMEWORKS: Final = {
    "openai": Play(
        "the OpenAI Agents SDK",
        ("SQLiteSession", f"{_STORES}:openai_sqlite"),
        ("JournalSession", f"{_STORES}:openai_ours"),
        ("stale writer", "another's item"),
    ),
    "adk": Play(
        "Google's ADK",
        ("SqliteSessionService", f"{_STORES}:adk_sqlite"),
        ("JournalSessionService", f"{_STORES}:adk_ours"),
        ("stale writer", "clock"),
    ),
}


def compare(name: str) -> tuple[Score, Score]:
    """Return how a framework's own store did, and ours.

    Raises:
        JournalError: the framework is not installed.

    """
    try:
        need(name)
    except ImportError as error:
        words, _, hint = str(error).partition(". Try: ")
        raise JournalError(words, hint=hint, code="extra") from error
    chosen = FRAMEWORKS[name]
    trials = [trial for trial in TRIALS if trial.name in chosen.trials]
    with ThreadPoolExecutor() as pool:
        theirs, ours = pool.map(
            lambda store: score(store, trials), (chosen.theirs[1], chosen.ours[1])
        )
    return theirs._replace(store=chosen.theirs[0]), ours._replace(store=chosen.ours[0])

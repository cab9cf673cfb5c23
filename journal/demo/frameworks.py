"""A framework's own store and ours in its place, put through what two writers do to each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from journal.errors import EntryError, JournalError
from journal.testing.two_writers import TRIALS, score

if TYPE_CHECKING:
    from journal.testing.two_writers import Score

_STORES: Final = "journal.testing.stores"


class Framework(NamedTuple):
    """What is played for one framework: whose store, which of its classes, in which trials."""

    title: str
    module: str
    theirs: tuple[str, str]
    ours: tuple[str, str]
    trials: tuple[str, ...]


FRAMEWORKS: Final = {
    "openai": Framework(
        "the OpenAI Agents SDK",
        "agents",
        ("SQLiteSession", f"{_STORES}:openai_sqlite"),
        ("JournalSession", f"{_STORES}:openai_ours"),
        ("stale writer", "another's item"),
    ),
    "adk": Framework(
        "Google's ADK",
        "google.adk",
        ("SqliteSessionService", f"{_STORES}:adk_sqlite"),
        ("JournalSessionService", f"{_STORES}:adk_ours"),
        ("stale writer", "clock"),
    ),
}


def compare(name: str) -> tuple[Score, Score]:
    """Return how a framework's own store did, and ours.

    Raises:
        JournalError: the framework is not installed.
        EntryError: there is no such framework here.

    """
    if name not in FRAMEWORKS:
        raise EntryError(f"there is no demo of {name!r}", hint="openai or adk", code="demo")
    chosen = FRAMEWORKS[name]
    _check_installed(chosen.module, name)
    trials = [trial for trial in TRIALS if trial.name in chosen.trials]
    with ThreadPoolExecutor() as pool:
        theirs, ours = pool.map(
            lambda store: score(store, trials), (chosen.theirs[1], chosen.ours[1])
        )
    return theirs._replace(store=chosen.theirs[0]), ours._replace(store=chosen.ours[0])


def _check_installed(module: str, extra: str) -> None:
    from importlib.util import find_spec  # noqa: PLC0415 - for whoever asks for this alone

    try:
        is_there = find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        is_there = False
    if not is_there:
        raise JournalError(
            f"the demo of {extra} needs the framework itself",
            hint=f"pip install 'session-journal[{extra}]'",
            code="extra",
        )

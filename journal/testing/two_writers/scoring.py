"""A store put through all trials, and the table of what came of it."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from journal.errors import JournalError
from journal.escape import escape
from journal.testing.two_writers.hands import Hands
from journal.testing.two_writers.trials import TRIALS, Result, Trial
from journal.testing.two_writers.writer import factory_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Score(NamedTuple):
    """What came of each trial, by its name."""

    store: str
    results: dict[str, Result]

    @property
    def title(self) -> str:
        """The store's name without its module."""
        return self.store.rpartition(":")[2]

    @property
    def points(self) -> int:
        """How many trials it passed."""
        return sum(1 for result in self.results.values() if result.passed)

    @property
    def of(self) -> int:
        """How many there were that it offers what is tried."""
        return sum(1 for result in self.results.values() if result.passed is not None)

    @property
    def is_full(self) -> bool:
        """Whether it passed all of them; where nothing was tried, nothing was passed."""
        return 0 < self.points == self.of

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in a document."""
        results = {
            name: {**result._asdict(), "passed": result.passed}
            for name, result in self.results.items()
        }
        return {"store": self.store, "points": self.points, "of": self.of, "trials": results}


def score(store: str, trials: Sequence[Trial] = TRIALS, place: Path | None = None) -> Score:
    """Put a store through trials, in two real processes.

    Args:
        store: its factory, as ``module:attribute``.
        trials: which ones.
        place: a directory to work in; a temporary one if None.

    Raises:
        EntryError: there is no such factory.

    """
    factory_of(store)
    with (
        tempfile.TemporaryDirectory(prefix="two-writers-", dir=place) as name,
        closing(Hands(store, Path(name))) as hands,
    ):
        return Score(store, {trial.name: _run(trial, hands) for trial in trials})


def _run(trial: Trial, hands: Hands) -> Result:
    try:
        return trial.run(hands)
    except JournalError as error:
        return Result(0, 1, str(error))


def table(scores: Sequence[Score]) -> Iterator[str]:
    """Yield the lines of a table: a column for each store, then what went wrong first in each trial."""
    names = list(scores[0].results)
    first = max(map(len, names))
    widths = [max(len(each.title), len("200 of 200")) for each in scores]

    def line(name: str, cells: Sequence[str]) -> str:
        told = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return "  ".join([name.ljust(first), *told]).rstrip()

    yield line("", [each.title for each in scores])
    for name in names:
        yield line(name, [_cell(each.results[name]) for each in scores])
    yield line("score", [f"{each.points} of {each.of}" for each in scores])
    for each in scores:
        for name, result in each.results.items():
            if result.told:
                yield escape(f"{each.title}, {name}: {result.told}")


def _cell(result: Result) -> str:
    return "-" if result.held is None else f"{result.held} of {result.rounds}"

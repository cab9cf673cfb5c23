"""By what else sessions are called: an index's keys for a file, its path, its name.

A migration seals these in the registry, and what leads a write to a session is
taken from there alone: a row put into a table by plain SQL leads nowhere.
"""

from __future__ import annotations

from typing import Any, Final

from journal.errors import NotFoundError
from journal.escape import escape

_LISTED: Final = 5
SUFFIX: Final = ".jsonl"


class Aliases:
    """The names of sessions beside their keys, as the registry's facts tell them."""

    def __init__(self) -> None:
        # The closest first: an index's key, the path, the name, the name without its ending.
        # Tuples, for there may be a hundred thousand of them, of one session each.
        self._levels: tuple[dict[str, tuple[int, ...]], ...] = ({}, {}, {}, {})
        self._of: dict[int, tuple[str, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def learn(self, facts: dict[str, Any]) -> None:
        """Take in what one fact says of a session's names."""
        number, path, name = int(facts["session_id"]), str(facts["path"]), str(facts["name"])
        indexed = [str(each) for each in facts["aliases"]]
        texts = (indexed, [path], [name], [name.partition(SUFFIX)[0]])
        for level, known in zip(self._levels, texts, strict=True):
            for text in known:
                level[text] = tuple(dict.fromkeys((*level.get(text, ()), number)))
        self._of[number] = tuple(dict.fromkeys((*self._of.get(number, ()), *indexed, name)))

    def knows(self, number: int, path: str, name: str, indexed: list[str]) -> bool:
        """Whether a session is known to be called by all of these."""
        by_index, by_path, by_name, _ = self._levels
        pairs = ((by_path, path), (by_name, name), *((by_index, text) for text in indexed))
        return all(number in level.get(text, ()) for level, text in pairs)

    def called(self, *texts: str) -> list[int]:
        """Return the sessions that are called so, by the closest level that knows any."""
        for level in self._levels:
            found = dict.fromkeys(number for text in texts for number in level.get(text, ()))
            if found:
                return list(found)
        return []

    def of(self, number: int) -> list[str]:
        """Return by what else a session is called: keys of an index, and names of files."""
        return [text for text in self._of.get(number, ()) if self.called(text) == [number]]


def ambiguous(text: str, keys: list[str]) -> NotFoundError:
    """Return the refusal of a name that more than one session has."""
    return NotFoundError(
        f"{text!r} may mean {len(keys)} sessions",
        hint=f"name one by its key: {listed(keys)}",
        code="ambiguous",
    )


def listed(keys: list[str]) -> str:
    """Return the first of some keys in a row, and how many more there are."""
    more = "" if len(keys) <= _LISTED else f" and {len(keys) - _LISTED} more"
    return ", ".join(map(escape, keys[:_LISTED])) + more

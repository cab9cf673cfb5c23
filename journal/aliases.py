"""By what else sessions are called: an index's keys for a file, its path, its name.

A migration seals these in the registry, and what leads a write to a session is
taken from there alone, and what leads a reader: a row put into a table by plain SQL
leads nowhere.
"""

from __future__ import annotations

from typing import Any, Final

from journal.errors import NotFoundError
from journal.escape import escape

_LISTED: Final = 5
SUFFIX: Final = ".jsonl"

# The directory in which something is called so, with its index, and the session's number.
_Called = tuple[str, int]


class Aliases:
    """The names of sessions beside their keys, as the registry's facts tell them."""

    def __init__(self) -> None:
        # The closest first: an index's key, the path, the name, the name without its ending.
        # Tuples, for there may be a hundred thousand of them, of one session each.
        self._levels: tuple[dict[str, tuple[_Called, ...]], ...] = ({}, {}, {}, {})
        self._of: dict[int, tuple[str, ...]] = {}
        self._directories: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def learn(self, facts: dict[str, Any]) -> None:
        """Take in what one fact says of a session's names.

        An index has one file for a key: what the index of a directory says now is no longer
        said of the session it said it of before, as after OpenClaw's reset. That is so for
        each directory in which the session's file was found since: a store may be moved.
        """
        number, path, name = int(facts["session_id"]), str(facts["path"]), str(facts["name"])
        indexed = [str(each) for each in facts["aliases"]]
        texts = (indexed, [path], [name], [name.partition(SUFFIX)[0]])
        directory = path.rpartition("/")[0]
        called = (self._directories.setdefault(directory, directory), number)
        self._take_along(called, indexed)
        for level, known in zip(self._levels, texts, strict=True):
            place = directory if level is self._levels[0] else None
            for text in known:
                level[text] = (*_others(level.get(text, ()), place, number), called)
        self._of[number] = tuple(dict.fromkeys((*self._of.get(number, ()), *indexed, name)))

    def _take_along(self, called: _Called, said: list[str]) -> None:
        """Have a session's keys of an index come along to a directory whose index does not say them of it.

        It may say them of another session: then they are that one's.
        """
        directory, number = called
        by_index = self._levels[0]
        for text in self._of.get(number, ()):
            known = by_index.get(text, ())
            if text in said or called in known or number not in _numbers(known):
                continue
            if any(place == directory for place, _ in known):
                by_index[text] = _others(known, None, number)
            else:
                by_index[text] = (*known, called)

    def knows(self, number: int, path: str, name: str, indexed: list[str]) -> bool:
        """Whether a session is known to be called by all of these."""
        by_index, by_path, by_name, _ = self._levels
        pairs = ((by_path, path), (by_name, name), *((by_index, text) for text in indexed))
        return all(number in _numbers(level.get(text, ())) for level, text in pairs)

    def called(self, *texts: str) -> list[int]:
        """Return the sessions that are called so, by the closest level that knows any."""
        for level in self._levels:
            found = dict.fromkeys(each for text in texts for each in _numbers(level.get(text, ())))
            if found:
                return list(found)
        return []

    def words(self) -> list[str]:
        """Return what indexes and files call sessions, paths apart."""
        by_index, _, by_name, _ = self._levels
        return [*by_index, *by_name]

    def of(self, number: int) -> list[str]:
        """Return by what else a session is called: keys of an index, and names of files."""
        return [text for text in self._of.get(number, ()) if self.called(text) == [number]]


def _others(known: tuple[_Called, ...], place: str | None, number: int) -> tuple[_Called, ...]:
    """Return what is still said of a text, where it is said of a session anew in a place."""
    gone = {number, *(of for where, of in known if where == place)}
    return tuple(each for each in known if each[1] not in gone)


def _numbers(known: tuple[_Called, ...]) -> list[int]:
    return [number for _, number in known]


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

"""Finds the journal's key, and proves that it is this journal's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from journal import keys
from journal.controls import decode
from journal.eras import KEY_BODY, newer_key, prove
from journal.errors import CorruptError, KeyMissing
from journal.model import REGISTRY_ID
from journal.seal import derive_key

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from journal.audit.source import Source
    from journal.eras import Bound, Keys
    from journal.model import Row
    from journal.seal import Mac, Sealer

_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The journal's keys, or why they are not at hand.

    Attributes:
        journal_id: the id that the keys were derived with; the one in ``meta`` without a key.
        keys: the journal's keys, or None.
        why_not: what is wrong with the key, in words.
        unproved: where none is proved, what the key file's secrets make for this journal's id:
            they prove no row, yet whoever signed an anchor with one of them had the file.

    """

    journal_id: str | None
    keys: Keys | None = None
    why_not: str | None = None
    unproved: tuple[bytes, ...] = ()

    @property
    def key(self) -> bytes | None:
        """The key that seals now, or None."""
        return None if self.keys is None else self.keys.key

    @property
    def mac(self) -> Mac | None:
        """What proves rows outside the chain."""
        return None if self.keys is None else self.keys.mac

    def all(self) -> list[bytes]:
        """Return every key that is at hand, the newest first."""
        return [] if self.keys is None else self.keys.all()

    @property
    def lost(self) -> list[int]:
        """The earlier eras whose keys are not at hand."""
        return [] if self.keys is None else self.keys.lost

    def bounds(self, session_id: int) -> list[tuple[int, Bound]]:
        """Return where each earlier era ended in a session, by its number."""
        found = {} if self.keys is None else self.keys.bounds
        return [
            (key_id, bound[session_id]) for key_id, bound in found.items() if session_id in bound
        ]

    def sealer(self, session_id: int, key: str) -> Sealer | None:
        """Return what verifies the rows of one session."""
        return None if self.keys is None else self.keys.sealer(session_id, key)


def find(source: Source, key_file: str | os.PathLike[str] | None) -> Keyring:
    """Return the keys that sealed the registry of this journal, or a reason for having none.

    A thief may have changed the id in ``meta``, and with it the key that is derived;
    so the ids that the registry's entries name are tried as well. A key counts as
    this journal's only if an entry of the registry holds under it.
    """
    known = list(dict.fromkeys(_possible_ids(source)))
    first, why_not = (known[0] if known else None), "the journal has lost its id"
    unproved: tuple[bytes, ...] = ()
    for journal_id in known:
        try:
            secrets = keys.read_secrets(keys.key_path(journal_id, key_file))
            if journal_id == first:
                unproved = tuple(derive_key(each.value, journal_id) for each in secrets)
            proved = prove(secrets, journal_id, partial(_rows, source))
        except (KeyMissing, CorruptError) as error:
            why_not = str(error)
            continue
        if proved is None:
            why_not = "no entry of the registry was sealed with the key at hand"
        elif newer_key(_rows(source, KEY_BODY), proved) is not None:
            why_not = "the journal got a new key since, which is not at hand"
        else:
            return Keyring(journal_id, proved)
    return Keyring(first, None, why_not, unproved)


def _rows(source: Source, begin: bytes | None) -> Iterator[Row]:
    if begin is None:
        return source.rows(REGISTRY_ID)
    return source.controls_beginning(REGISTRY_ID, begin)


def _possible_ids(source: Source) -> Iterator[str]:
    for (value,) in source.query("SELECT value FROM meta WHERE name = 'journal_id'"):
        yield from _ids(value)
    bodies = source.query(
        "SELECT body FROM entries WHERE session_id = ? AND kind = 'control'", REGISTRY_ID
    )
    for (body,) in bodies:
        facts = decode(body) if isinstance(body, bytes) else {}
        if facts.get("control") == "journal":
            # Whoever put the row there may have given it an id that is no text.
            yield from _ids(str(facts.get("id")).encode("ascii", "replace"))


def _ids(value: object) -> Iterator[str]:
    shown = value.decode("ascii", "replace") if isinstance(value, bytes) else ""
    if _ID.fullmatch(shown):
        yield shown

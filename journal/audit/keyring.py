"""Finds the journal's key, and proves that it is this journal's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from journal import keys
from journal.audit.judging import holds
from journal.controls import decode
from journal.errors import KeyMissing
from journal.model import REGISTRY_ID, REGISTRY_KEY
from journal.seal import Mac, Sealer, derive_key

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from journal.audit.source import Source

KEY_ID: Final = 1
_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The journal's key, or why it is not at hand.

    Attributes:
        journal_id: the id that the key was derived with; the one in ``meta`` without a key.
        key: the journal's key, or None.
        why_not: what is wrong with the key, in words.

    """

    journal_id: str | None
    key: bytes | None = None
    why_not: str | None = None

    @property
    def mac(self) -> Mac | None:
        """What proves rows outside the chain."""
        return None if self.key is None else Mac(self.key)

    def sealer(self, session_id: int, key: str) -> Sealer | None:
        """Return what verifies the rows of one session."""
        return None if self.key is None else Sealer(self.key, KEY_ID, session_id, key)


def find(source: Source, key_file: str | os.PathLike[str] | None) -> Keyring:
    """Return the key that sealed the registry of this journal, or a reason for having none.

    A thief may have changed the id in ``meta``, and with it the key that is derived;
    so the ids that the registry's entries name are tried as well. A key counts as
    this journal's only if an entry of the registry holds under it.
    """
    known = list(dict.fromkeys(_possible_ids(source)))
    first, why_not = (known[0] if known else None), "the journal has lost its id"
    for journal_id in known:
        try:
            secret = keys.read_secret(keys.key_path(journal_id, key_file))
        except KeyMissing as error:
            why_not = str(error)
            continue
        key = derive_key(secret, journal_id)
        if _has_sealed(source, Sealer(key, KEY_ID, REGISTRY_ID, REGISTRY_KEY)):
            return Keyring(journal_id, key)
        why_not = "no entry of the registry was sealed with the key at hand"
    return Keyring(first, None, why_not)


def _possible_ids(source: Source) -> Iterator[str]:
    for (value,) in source.query("SELECT value FROM meta WHERE name = 'journal_id'"):
        yield from _ids(value)
    bodies = source.query(
        "SELECT body FROM entries WHERE session_id = ? AND kind = 'control'", REGISTRY_ID
    )
    for (body,) in bodies:
        facts = decode(body) if isinstance(body, bytes) else {}
        if facts.get("control") == "journal":
            yield from _ids(str(facts.get("id")).encode())


def _ids(value: object) -> Iterator[str]:
    shown = value.decode("ascii", "replace") if isinstance(value, bytes) else ""
    if _ID.fullmatch(shown):
        yield shown


def _has_sealed(source: Source, sealer: Sealer) -> bool:
    return any(holds(sealer, row) for row in source.rows(REGISTRY_ID))

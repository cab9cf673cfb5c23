"""Finds sessions whose registration is gone: their rows prove under which number and key they were sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal.audit.source import text
from journal.controls import decode
from journal.fields import UNFIT
from journal.model import REGISTRY_ID
from journal.seal import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal.audit.declarations import Declarations
    from journal.audit.keyring import Keyring
    from journal.audit.source import Source


def lost(
    source: Source, keyring: Keyring, known: Declarations, asked_for: Iterable[str]
) -> Iterator[tuple[int, str | None]]:
    """Yield the number of each session that no entry registers, and its key, if a row proves one."""
    for number in source.session_ids():
        if number not in known.sessions:
            keys = _possible_keys(source, number, asked_for)
            yield (
                number,
                next((key for key in keys if _is_proved(source, keyring, number, key)), None),
            )


def _possible_keys(source: Source, number: int, asked_for: Iterable[str]) -> Iterator[str]:
    """Yield keys that a session may have: as its row has it, as asked for, as any fact claims."""
    for (key,) in source.query('SELECT "key" FROM sessions WHERE id = ?', number):
        yield text(key)
    yield from asked_for
    for row in source.rows(REGISTRY_ID):
        facts = decode(row.body) if isinstance(row.body, bytes) else {}
        if facts.get("control") == "session" and facts.get("id") == number:
            yield str(facts.get("key"))


def _is_proved(source: Source, keyring: Keyring, number: int, key: str) -> bool:
    try:
        sealer = keyring.sealer(number, key)
    except UNFIT:
        return False
    return sealer is None or any(holds(sealer, row) for row in source.rows(number))

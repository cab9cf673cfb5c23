"""Finds a journal's id and key, proved by what was sealed with it."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from journal import keys
from journal import statements as sql
from journal.controls import decode
from journal.eras import KEY_BODY, newer_key, prove
from journal.errors import CorruptError, KeyMissing
from journal.model import REGISTRY_ID, Row
from journal.pages import rows_of
from journal.seal import fingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from journal.engine import Cursor
    from journal.eras import Keys

_ID: Final = re.compile("[0-9a-f]{32}")


def find_keys(
    cursor: Cursor, where: str, key_file: str | os.PathLike[str] | None
) -> tuple[str, Keys]:
    """Return a journal's id and its keys.

    Raises:
        KeyMissing: the key is not at hand, is another journal's, or is not the newest.
        CorruptError: the journal has lost its id.

    """
    missing: KeyMissing | None = None
    for journal_id in possible_ids(cursor, where):
        path = keys.key_path(journal_id, key_file)
        try:
            secrets = keys.read_secrets(path)
        except KeyMissing as error:  # the id may be forged, and a file named by it nowhere
            missing = missing or error
            continue
        proved = prove(secrets, journal_id, partial(_rows, cursor))
        if proved is not None:
            if not _is_named(cursor, proved):
                check_newest(newer_key(rows_beginning(cursor, KEY_BODY), proved), where)
            _settle(path, proved)
            return journal_id, proved
    raise missing or KeyMissing(
        f"the key at hand is not the key of {where}",
        hint="name this journal's own key file with JOURNAL_KEY_FILE",
        code="key-of-another-journal",
    )


def _is_named(cursor: Cursor, proved: Keys) -> bool:
    """Whether the table of facts names this key as the present one, so that the registry need not be read.

    It may be forged: whoever then uses the journal reads the registry, and is told there.
    """
    found = cursor.execute(
        "SELECT CAST(value AS BLOB) FROM meta WHERE name = 'key_fingerprint'"
    ).fetchall()
    return [bytes(value or b"") for (value,) in found] == [fingerprint(proved.key).encode()]


def _settle(path: Path, proved: Keys) -> None:
    """Have the key file say that its newest era began, if whoever began it did not come to that."""
    if proved.pending is not None:
        with suppress(KeyMissing, OSError):  # it may be read only; the database tells it as well
            keys.add_secret(path, proved.pending._replace(is_pending=False))


def check_newest(newer: Mapping[str, Any] | None, where: str) -> None:
    """Refuse to go on with a key after which the journal got another.

    Raises:
        KeyMissing: it did; nothing that this key seals would count.

    """
    if newer is not None:
        raise KeyMissing(
            f"{where} got a new key (era {newer['key_id']}, {newer.get('fingerprint')}), which is not at hand here",
            hint="open the journal again; on another machine, journal key import FILE first",
            code="key-changed",
        )


def _rows(cursor: Cursor, begin: bytes | None) -> Iterator[Row]:
    return rows_of(cursor, REGISTRY_ID, 1) if begin is None else rows_beginning(cursor, begin)


def rows_beginning(cursor: Cursor, begin: bytes) -> Iterator[Row]:
    """Return the rows that claim to be facts of the registry and whose bodies begin so."""
    found = cursor.execute(sql.registry_bodies(), (REGISTRY_ID, begin)).fetchall()
    return map(Row._make, found)


def possible_ids(cursor: Cursor, where: str) -> list[str]:
    """Return what the journal's id may be: as ``meta`` has it, and as its first entry."""
    found = cursor.execute(
        "SELECT CAST(value AS BLOB) FROM meta WHERE name = 'journal_id' UNION ALL "
        "SELECT body FROM entries WHERE session_id = ? AND seq = 1",
        (REGISTRY_ID,),
    ).fetchall()
    texts = [bytes(row[0] or b"") for row in found]
    ids = [str(decode(text).get("id", text.decode("ascii", "replace"))) for text in texts]
    known = [name for name in dict.fromkeys(ids) if _ID.fullmatch(name)]
    if not known:
        message = f"{where} has lost its journal id"
        raise CorruptError(message, hint="restore a backup", code="no-journal-id")
    return known

"""Moves a journal's key: out to a file, and in on another machine, proved before it is put there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from journal import keys
from journal.engine import connect, translated
from journal.errors import KeyMissing
from journal.files import write_new
from journal.keyfinding import find_key
from journal.seal import fingerprint

if TYPE_CHECKING:
    from pathlib import Path


class Custody(NamedTuple):
    """Where a journal's key is, and what names it without giving it away.

    Attributes:
        journal_id: the journal it belongs to.
        path: the key file.
        fingerprint: 16 hexadecimal digits of the journal's own key.
        is_shared: whether the file may serve other journals too.

    """

    journal_id: str
    path: Path
    fingerprint: str
    is_shared: bool


def custody(path: Path, key_file: str | None = None) -> Custody:
    """Say which key is a journal's; the key is proved by what was sealed with it.

    Raises:
        KeyMissing: it is not at hand, or is another journal's.
        StorageError: the database cannot be read.

    """
    try:
        with closing(connect(str(path), mode="ro")) as connection:
            journal_id, key = find_key(connection.cursor(), str(path), key_file)
    except Exception as error:
        raise translated(error, str(path)) from error
    where = keys.key_path(journal_id, key_file)
    return Custody(journal_id, where, fingerprint(key), where != keys.own_key_path(journal_id))


def export_key(path: Path, target: Path, *, force: bool = False) -> Custody:
    """Write a journal's secret to a new key file, mode 0600.

    Raises:
        KeyMissing: it is not at hand.
        StorageError: the target is there already.

    """
    known = custody(path)
    secret = keys.read_secret(known.path)
    write_new(target, [secret.hex().encode() + b"\n"], force=force)
    return known


def import_key(path: Path, source: Path) -> Custody:
    """Put a key file where this machine looks for the journal's key.

    Raises:
        KeyMissing: it is no key, not this journal's, or another key is there already.

    """
    proved = custody(path, key_file=str(source))
    secret, target = keys.read_secret(source), keys.key_path(proved.journal_id)
    if target.exists():
        if keys.read_secret(target) != secret:
            raise KeyMissing(
                f"another key is at {target} already; it was left as it is",
                hint=f"name this one with {keys.KEY_FILE_VARIABLE}={source}",
                code="key-exists",
            )
    else:
        keys.put_secret(target, secret)
    return custody(path)

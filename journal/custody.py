"""Moves a journal's key: out to a file, and in on another machine, proved before it is put there."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from journal import keys
from journal.dialects import postgres
from journal.dialects.address import is_url, parsed
from journal.engine import connect, translated
from journal.errors import KeyMissing, StorageError
from journal.files import write_new
from journal.keyfinding import find_keys
from journal.seal import fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from journal.engine import Cursor


class Custody(NamedTuple):
    """Where a journal's key is, and what names it without giving it away.

    Attributes:
        journal_id: the journal it belongs to.
        path: the key file.
        fingerprint: 16 hexadecimal digits of the journal's own key.
        is_shared: whether the file may serve other journals too.
        era: the number of the key era; 1 until a key was adopted.
        lost: the earlier eras whose keys are not at hand.
        added: of an import, how many secrets the key file did not have before.

    """

    journal_id: str
    path: Path
    fingerprint: str
    is_shared: bool
    era: int = 1
    lost: tuple[int, ...] = ()
    added: int = 0


def custody(place: str | Path, key_file: str | None = None) -> Custody:
    """Say which key is a journal's; the key is proved by what was sealed with it.

    Raises:
        KeyMissing: it is not at hand, or is another journal's.
        StorageError: the database cannot be read.

    """
    shown = parsed(str(place)).shown if is_url(place) else str(place)
    try:
        if is_url(place):
            with closing(postgres.connect(parsed(str(place)))) as connection:
                return custody_by(postgres.Cursor(connection), shown, key_file)
        with closing(connect(shown, mode="ro")) as connection:
            return custody_by(connection.cursor(), shown, key_file)
    except Exception as error:
        raise translated(error, shown) from error


def custody_by(cursor: Cursor, shown: str, key_file: str | None = None) -> Custody:
    """Say which key is a journal's, wherever it is kept; as :func:`custody`."""
    journal_id, known = find_keys(cursor, shown, key_file)
    where = keys.key_path(journal_id, key_file)
    is_shared = where != keys.own_key_path(journal_id)
    print_of = fingerprint(known.key)
    return Custody(journal_id, where, print_of, is_shared, known.key_id, tuple(known.lost))


def export_key(place: str | Path, target: Path, *, force: bool = False) -> Custody:
    """Write a journal's secrets to a new key file, mode 0600.

    Raises:
        KeyMissing: they are not at hand.
        StorageError: the target is there already, or is the key file itself: that may
            have other journals' secrets, and the copy has this one's alone.

    """
    known = custody(place)
    if target.exists() and target.samefile(known.path):
        raise StorageError(
            f"{target} is the key file itself", hint="name another FILE", code="own-file"
        )
    mine = [
        each
        for each in keys.read_secrets(known.path)
        if each.journal_id in (None, known.journal_id) and not each.is_pending
    ]
    write_new(target, map(keys.line_of, mine), force=force)
    return known


def import_key(place: str | Path, source: Path) -> Custody:
    """Put a key file where this machine looks for the journal's key.

    A key file that is there already, and is safe, keeps what is in it: it may be an
    older one of this journal, or serve others.

    Raises:
        KeyMissing: it is no key, not this journal's, or another's key is there already.

    """
    if not os.path.exists(source):  # noqa: PTH110 - Path's raises below a directory that is closed
        raise KeyMissing(
            f"{source} is not there",
            hint="make it where the key is, and copy it here: journal key export FILE",
        )
    proved = custody(place, key_file=str(source))
    target = keys.key_path(proved.journal_id)
    held: set[bytes] = set()
    if target.exists():
        _check_ours(place, source, target)
        held = {each.value for each in keys.read_secrets(target)}
    secrets = keys.read_secrets(source)
    for secret in secrets:
        keys.add_secret(target, secret)
    return custody(place)._replace(added=len({each.value for each in secrets} - held))


def _check_ours(place: str | Path, source: Path, target: Path) -> None:
    """Refuse a file that is there and holds neither of the secrets nor any of this journal's."""
    held = {each.value for each in keys.read_secrets(target)}
    ours = {each.value for each in keys.read_secrets(source)}
    if held.isdisjoint(ours) and not _is_ours(place, target):
        raise KeyMissing(
            f"another key is at {target} already; it was left as it is",
            hint=f"name this one with {keys.KEY_FILE_VARIABLE}={source}",
            code="key-exists",
        )


def _is_ours(place: str | Path, key_file: Path) -> bool:
    """Whether a key file holds a key of the journal's, be it of another era."""
    try:
        custody(place, str(key_file))
    except KeyMissing as error:
        return error.code == "key-changed"
    return True

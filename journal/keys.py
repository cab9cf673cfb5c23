"""Where a journal's secret lives: outside the database, in a file of its own.

The file is 64 hexadecimal digits and a line end, mode 0600 in a directory of
mode 0700. ``$JOURNAL_KEY_FILE`` names one that may serve many journals; each
journal's key is derived from it with the journal's id. Each later key era of a
journal adds a line, ``SECRET JOURNAL-ID ERA``: the old secret stays, for it proves
what was sealed with it, and the line says that it is not the newest any more. A
line that ends with ``pending`` was written before its era began.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import Final

import platformdirs

from journal.descriptors import CLOSE_ON_EXEC, NO_LINK, NO_WAIT, sync
from journal.eras import Secret
from journal.errors import KeyMissing
from journal.files import forget_drafts, sync_directory
from journal.seal import SECRET_SIZE

KEY_FILE_VARIABLE: Final = "JOURNAL_KEY_FILE"
_DIGITS: Final = 2 * SECRET_SIZE
_MOST: Final = 256  # secrets in one file
_LINE: Final = re.compile(rb"([0-9a-fA-F]{64})(?: ([0-9a-f]{32}) ([1-9]\d{0,8})( pending)?)?")
_TORN: Final = re.compile(rb"[0-9a-f]{0,63}|[0-9a-f]{64} [0-9a-f]{0,32}(?: \d+ p[a-z]*)?|.*\0.*")
_LINE_LIMIT: Final = 128
_TRIES: Final = 50
_PAUSE_S: Final = 0.01


def key_path(journal_id: str, key_file: str | os.PathLike[str] | None = None) -> Path:
    """Return the key file of a journal: the one given, the variable's, or its own."""
    given = key_file or os.environ.get(KEY_FILE_VARIABLE)
    if given:
        return Path(given)
    return own_key_path(journal_id)


def own_key_path(journal_id: str) -> Path:
    """Return the key file that is a journal's alone, in the user's data directory."""
    return user_path() / "keys" / f"{journal_id}.key"


def user_path() -> Path:
    """Return the user's own directory for what belongs to journals and is in none of them."""
    return platformdirs.user_data_path("session-journal")


def read_secret(path: Path) -> bytes:
    """Return the 32 bytes of a key file; the first of it if there are several.

    Raises:
        KeyMissing: no such file, or one that others may read or have replaced.

    """
    return read_secrets(path)[0].value


def read_secrets(path: Path) -> list[Secret]:
    """Return every secret of a key file, in their order.

    Raises:
        KeyMissing: no such file, or one that others may read or have replaced.

    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NO_LINK | CLOSE_ON_EXEC | NO_WAIT)
    except FileNotFoundError:
        raise KeyMissing(
            f"the journal's key is not there: {path}",
            hint=f"copy the key file there, or name it with {KEY_FILE_VARIABLE}",
        ) from None
    except OSError as error:
        raise _unsafe(path, f"cannot be opened ({error.strerror})") from error
    try:
        _await_single_name(path, descriptor)
        status = os.fstat(descriptor)
        _check_whole(path, status)
        secrets = _decoded(path, os.read(descriptor, _MOST * _LINE_LIMIT))
        _check_private(path, status)  # only now: nobody is told to change another file's mode
    finally:
        os.close(descriptor)
    return secrets


def _await_single_name(path: Path, descriptor: int) -> None:
    """Wait a moment for whoever is just making the key: it has two names then, the draft's and its own."""
    for _ in range(_TRIES):
        if os.fstat(descriptor).st_nlink <= 1:
            return
        time.sleep(_PAUSE_S)
    forget_drafts(path)


def _check_whole(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unsafe(path, "is not a regular file")
    if status.st_nlink != 1:
        raise _unsafe(path, "has more than one link")


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        raise _unsafe(path, "may be read by others", f"chmod 600 {quote(str(path))}")
    if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
        raise _unsafe(path, "belongs to another user")


def _decoded(path: Path, text: bytes) -> list[Secret]:
    if len(text) == SECRET_SIZE:
        return [Secret(text)]
    lines = [line.strip() for line in text.split(b"\n") if line.strip()]
    matches = [_LINE.fullmatch(line) for line in lines]
    found = [_secret(match) for match in matches if match]
    # A shorter one, or one with NULs, was torn while it was added: by a power cut, or for want
    # of space.
    torn = [line for line, match in zip(lines, matches, strict=True) if not match]
    if not found or not all(_TORN.fullmatch(line) for line in torn):
        raise _unsafe(path, f"does not hold {_DIGITS} hexadecimal digits on each line")
    return found


def _secret(match: re.Match[bytes]) -> Secret:
    value, journal_id, era, pending = match.groups()
    if journal_id is None:
        return Secret(bytes.fromhex(value.decode()))
    return Secret(
        bytes.fromhex(value.decode()), journal_id.decode(), int(era), is_pending=bool(pending)
    )


def line_of(secret: Secret) -> bytes:
    """Return a secret's line of a key file."""
    line = secret.value.hex()
    if secret.journal_id is not None:
        line += f" {secret.journal_id} {secret.era}{' pending' if secret.is_pending else ''}"
    return line.encode() + b"\n"


def _unsafe(path: Path, why: str, hint: str | None = None) -> KeyMissing:
    return KeyMissing(
        f"the key file {path} {why}",
        hint=hint or f"use a key file of your own, or name another with {KEY_FILE_VARIABLE}",
        code="key-unsafe",
    )


def find_or_make_secret(path: Path) -> bytes:
    """Return the secret of a new journal: the newest of the file if it is there, else a fresh one.

    The older ones may be known to those who should not have them any more.
    """
    if not path.exists():
        put_secret(path, secrets.token_bytes(SECRET_SIZE))
    held = read_secrets(path)
    return next((each.value for each in reversed(held) if not each.is_pending), held[0].value)


def put_secret(path: Path, secret: bytes) -> None:
    """Write a key file, unless one is there."""
    _put(path, line_of(Secret(secret)))


def _put(path: Path, line: bytes) -> None:
    # Written under another name first, synced, then linked into place, so that two
    # processes never see half a key and never use two.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOSE_ON_EXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(line)
            file.flush()
            sync(file.fileno())
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def add_secret(path: Path, secret: Secret) -> None:
    """Add a secret to a key file, or make one with it; what is in the file stays.

    Raises:
        KeyMissing: the file is not safe, is full, or holds bytes and not digits; it
            is left as it is.

    """
    if not os.path.lexists(path):
        _put(path, line_of(secret))
    held = read_secrets(path)
    if secret in held:
        return
    if path.stat().st_size == SECRET_SIZE:
        digits = f"write it as {_DIGITS} hexadecimal digits and a line end first (xxd -p -c {SECRET_SIZE})"
        raise _unsafe(path, f"is {SECRET_SIZE} bytes, and cannot take another secret", digits)
    if len(held) >= _MOST:
        raise _unsafe(path, f"holds {_MOST} secrets already")
    _append(path, line_of(secret))
    if secret not in read_secrets(path):
        raise _unsafe(path, "cannot take another secret")


def _append(path: Path, line: bytes) -> None:
    # One write at the end: two journals may add to a file they share at the same moment.
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | NO_LINK | CLOSE_ON_EXEC)
    try:
        end = os.pread(descriptor, 1, max(os.fstat(descriptor).st_size - 1, 0))
        os.write(descriptor, line if end == b"\n" else b"\n" + line)
        sync(descriptor)
    finally:
        os.close(descriptor)


def _publish(draft: Path, path: Path) -> None:
    with suppress(FileExistsError):
        os.link(draft, path)  # unlike rename, it never replaces another's key
    draft.unlink(missing_ok=True)  # a reader may have grown tired of waiting for that
    sync_directory(path.parent)

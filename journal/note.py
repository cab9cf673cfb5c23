"""Signed notes: the text of an anchor, and the lines that sign it.

The form is that of https://c2sp.org/signed-note: a text, an empty line, and
signature lines ``— <name> <base64>``, whose bytes are four of a hash that names
the key and the 64 of an Ed25519 signature over the text. The text of an anchor is
ours (``docs/format.md``): one line for each session's head.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final, NamedTuple

from journal.errors import EntryError

TITLE: Final = "session-journal/anchor/1"
_PREAMBLE: Final = 4  # title, journal, time, number of heads
_ED25519: Final = b"\x01"
_HASH_SIZE: Final = 4
_DASH: Final = "\N{EM DASH}"
_NUMBER: Final = r"[0-9]{1,19}"  # \d takes the digits of every script, and int() not all lengths
_LINE: Final = re.compile(rf"({_NUMBER}) ({_NUMBER}) ({_NUMBER}) ([0-9a-f]{{64}}) (\".*\")")
_SIGNED: Final = re.compile(rf"{_DASH} (\S+) ([A-Za-z0-9+/=]+)")
# Lone surrogates are how an argument that is no text comes; a name is hashed as text.
_VERIFIER: Final = re.compile(r"([^\s+\ud800-\udfff]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)")


class Anchored(NamedTuple):
    """Where a session's chain ended when the anchor was taken."""

    session: str
    seq: int
    epoch: int
    bytes: int
    seal: str


class Statement(NamedTuple):
    """What an anchor says: the heads of a journal at a time (microseconds since 1970 UTC)."""

    journal_id: str
    at_us: int
    heads: tuple[Anchored, ...]


class Signature(NamedTuple):
    """One signature of a note; the hash names the signer's key."""

    name: str
    key_hash: bytes
    signature: bytes


class Verifier(NamedTuple):
    """A signer's name and public key: 32 bytes."""

    name: str
    public: bytes

    @property
    def key_hash(self) -> bytes:
        """What names the key in a signature line."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_HASH_SIZE]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{b64encode(_ED25519 + self.public).decode()}"


class Note(NamedTuple):
    """A text and who signed it."""

    text: str
    signatures: tuple[Signature, ...]


def statement_text(statement: Statement) -> str:
    """Return the text that is signed."""
    heads = [
        f"{head.seq} {head.epoch} {head.bytes} {head.seal} {json.dumps(head.session)}"
        for head in statement.heads
    ]
    lines = [TITLE, statement.journal_id, str(statement.at_us), str(len(heads)), *heads]
    return "".join(f"{line}\n" for line in lines)


def parsed_statement(text: str) -> Statement:
    """Return what an anchor's text says.

    Raises:
        EntryError: it is no anchor of this format.

    """
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < _PREAMBLE or lines[0] != TITLE:
        raise _no_anchor()
    _, journal_id, at, count = lines[:_PREAMBLE]
    heads = tuple(map(_head, lines[_PREAMBLE:]))
    if not re.fullmatch(_NUMBER, at) or str(len(heads)) != count:
        raise _no_anchor()
    return Statement(journal_id, int(at), heads)


def _head(line: str) -> Anchored:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _no_anchor()
    try:
        session = json.loads(found[5])
    except ValueError:
        raise _no_anchor() from None
    return Anchored(session, int(found[1]), int(found[2]), int(found[3]), found[4])


def _no_anchor() -> EntryError:
    return EntryError(
        "this is no anchor that journal anchor has written",
        hint="name the file as it was written",
        code="no-anchor",
    )


def signature_line(verifier: Verifier, signature: bytes) -> str:
    """Return the line that signs a note's text."""
    return f"{_DASH} {verifier.name} {b64encode(verifier.key_hash + signature).decode()}\n"


def parsed_note(data: bytes) -> Note:
    """Return a note's text and signatures; nothing is verified.

    Raises:
        EntryError: it is no signed note.

    """
    try:
        text, blank, rest = data.decode().rpartition("\n\n")
    except UnicodeDecodeError:
        raise _no_anchor() from None
    signatures = tuple(map(_signature, rest.removesuffix("\n").split("\n")))
    if not blank:
        raise _no_anchor()
    return Note(f"{text}\n", signatures)


def _signature(line: str) -> Signature:
    found = _SIGNED.fullmatch(line)
    if found is None:
        raise _no_anchor()
    blob = _decoded(found[2])
    if not blob:
        raise _no_anchor()
    return Signature(found[1], blob[:_HASH_SIZE], blob[_HASH_SIZE:])


def parsed_verifier(text: str) -> Verifier:
    """Return a public key as ``journal anchor`` shows it.

    Raises:
        EntryError: it is none, or was changed on the way.

    """
    found = _VERIFIER.fullmatch(text.strip())
    blob = b"" if found is None else _decoded(found[3])
    if found is not None and blob[:1] == _ED25519 and len(blob) == 33:  # noqa: PLR2004 - kind and key
        made = Verifier(found[1], blob[1:])
        if made.key_hash.hex() == found[2]:
            return made
    raise EntryError(
        "this is no public key of the form NAME+HASH+KEY",
        hint="copy it as journal anchor shows it",
        code="no-verifier",
    )


def _decoded(text: str) -> bytes:
    """Return what a text is base64 of; nothing where it is of nothing."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return b""

"""Fields: the bytes that seals, commitments and proofs are made over.

They are a promise (``docs/format.md``): an auditor who has only the standard
library must be able to make them again. Every field is a 4-byte big-endian
length and its bytes; an integer is 8 bytes, two's complement; NULL is the
length 0xFFFFFFFF and no bytes; text is UTF-8.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as StructError  # noqa: N812 - its name says nothing by itself
from typing import Final

PREV_SIZE: Final = 16
SALT_SIZE: Final = 16
DIGEST_SIZE: Final = 32
MAC_SIZE: Final = 16

# What a value of a wrong type in a column raises; a row with one was never sealed.
UNFIT: Final = (StructError, TypeError, ValueError, AttributeError, OverflowError)

NULL: Final = b"\xff\xff\xff\xff"
LENGTH: Final = Struct(">I")
INTEGER: Final = Struct(">Iq")
# What is never NULL, in one call: prev; the ten numbers session_id, seq, epoch,
# writer_id, instance_id, recorder_id, trusted, created_us, cum_bytes and key_id as
# one field; the commitment.
FIXED: Final = Struct(">I16sI10qI32s")
NUMBERS_SIZE: Final = 80
TERMINATORS: Final = {end: LENGTH.pack(len(end)) + end for end in (b"", b"\n", b"\r\n")}

_NUMBER: Final = Struct(">q")


def field(value: bytes | None) -> bytes:
    """Return one length-prefixed field."""
    return NULL if value is None else LENGTH.pack(len(value)) + value


def number(value: int | None) -> bytes:
    """Return one integer field."""
    return NULL if value is None else INTEGER.pack(8, value)


def text(value: str | None) -> bytes:
    """Return one text field."""
    return NULL if value is None else field(value.encode())


def any_field(value: bytes | str | int | None) -> bytes:
    """Return one field of whatever a column holds."""
    if isinstance(value, int):
        return number(value)
    return field(value.encode() if isinstance(value, str) else value)


@lru_cache(maxsize=1024)
def before_request(
    claim: int | None,
    kind: bytes | str,
    origin: bytes | str,
    run_id: bytes | str | None = None,
    on_behalf_of: bytes | str | None = None,
) -> bytes:
    """Return the fields that follow ``FIXED``, but for the last one: the request id."""
    return b"".join(map(any_field, (claim, kind, origin, run_id, on_behalf_of)))


@lru_cache(maxsize=1024)
def variable(
    claim: int | None,
    kind: bytes | str,
    origin: bytes | str,
    run_id: bytes | str | None = None,
    on_behalf_of: bytes | str | None = None,
) -> bytes:
    """Return the fields that follow ``FIXED``, of a row without a request id."""
    return before_request(claim, kind, origin, run_id, on_behalf_of) + NULL


# -- FIXED, for many rows ---------------------------------------------------------------
#
# Rows that are alike in most columns are packed with these as bytes, made once: a call with
# seven values takes half of what one with fifteen does.


def begun(session_id: int) -> tuple[bytes, bytes]:
    """Return what stands before ``prev``, and what between it and the seq."""
    return LENGTH.pack(PREV_SIZE), LENGTH.pack(NUMBERS_SIZE) + _NUMBER.pack(session_id)


def ended(key_id: int) -> bytes:
    """Return what stands between ``cum_bytes`` and the commitment."""
    return _NUMBER.pack(key_id) + LENGTH.pack(DIGEST_SIZE)


def numbers(*values: int) -> bytes:
    """Return numbers as they stand in ``FIXED``, one behind the other."""
    return b"".join(map(_NUMBER.pack, values))


def of_one_write(shown: bytes) -> Struct:
    """Return ``FIXED`` and what follows it, of rows that differ in seq, size and line.

    Begun, prev, the same, seq; epoch to created_us; cum_bytes; ended, commitment, ``shown``.
    """
    return Struct(f">4s{PREV_SIZE}s12sq48sq12s{DIGEST_SIZE}s{len(shown)}s")


def of_one_writer(shown: bytes) -> Struct:
    """Return ``FIXED`` and what follows it, of rows of several writes.

    Begun, prev, the same, seq, epoch; writer_id to trusted; created_us, cum_bytes; ended,
    commitment, ``shown``.
    """
    return Struct(f">4s{PREV_SIZE}s12sqq32sqq12s{DIGEST_SIZE}s{len(shown)}s")

"""Ed25519, by ``cryptography``, an extra: only whoever signs or checks an anchor needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from journal.errors import StorageError
from journal.fields import field
from journal.note import Verifier
from journal.seal import KeyedHash

if TYPE_CHECKING:
    from journal.note import Note


def derived_seed(key: bytes) -> bytes:
    """Return the seed of the signing key that belongs to a journal's key."""
    return KeyedHash(key)(field(b"session-journal/anchor/1"))


def signer_name(journal_id: str) -> str:
    """Return the name under which a journal's anchors are signed."""
    return f"session-journal/{journal_id}"


class Signer:
    """Signs texts under a name.

    Args:
        name: who signs, without spaces or ``+``.
        seed: the 32 secret bytes of an Ed25519 key.

    Raises:
        StorageError: the library is not installed.

    """

    def __init__(self, name: str, seed: bytes) -> None:
        private = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        self._private = private
        self.verifier = Verifier(name, private.public_key().public_bytes_raw())

    def sign(self, text: str) -> bytes:
        """Return the 64 bytes that sign a text."""
        return bytes(self._private.sign(text.encode()))


def is_signed(note: Note, verifier: Verifier) -> bool:
    """Whether a note bears a true signature of this key."""
    public = _ed25519().Ed25519PublicKey.from_public_bytes(verifier.public)
    return any(
        _holds(public, signature.signature, note.text)
        for signature in note.signatures
        if (signature.name, signature.key_hash) == (verifier.name, verifier.key_hash)
    )


def _holds(public: Any, signature: bytes, text: str) -> bool:  # noqa: ANN401 - a library's key
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        public.verify(signature, text.encode())
    except InvalidSignature:
        return False
    return True


def _ed25519() -> Any:  # noqa: ANN401 - a library's module
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        raise StorageError(
            "anchors need the library cryptography",
            hint="pip install 'session-journal[anchors]'",
            code="no-cryptography",
        ) from None
    return ed25519

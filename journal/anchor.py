"""Takes an anchor: a signed statement of where every session's chain ends now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from journal.keys import find_or_make_secret
from journal.model import REGISTRY_KEY
from journal.note import Anchored, Statement, signature_line, statement_text
from journal.signing import Signer, derived_seed, signer_name

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from journal.journal import Journal
    from journal.note import Verifier


class Anchor:
    """A signed note to be kept where nobody who writes the journal can write.

    Attributes:
        statement: what it says.
        verifier: the public key that checks it.
        text: the note itself.

    """

    def __init__(self, statement: Statement, signer: Signer) -> None:
        self.statement = statement
        self.verifier: Verifier = signer.verifier
        text = statement_text(statement)
        self.text = f"{text}\n{signature_line(signer.verifier, signer.sign(text))}"


def take(journal: Journal, signing_key: Path | None = None) -> Anchor:
    """Return an anchor of all heads, the registry's too.

    Each head is the newest row that verifies, and was made durable before: an
    anchor outlives the log, and may not name what a power cut could take back.

    Args:
        journal: an open journal.
        signing_key: a file with the 32 secret bytes of an Ed25519 key, made where it
            is not there; without one the key is derived from the journal's own.

    Raises:
        StorageError: the library cryptography is not installed.
        KeyMissing: the file is no such key, or others may read it.

    """
    signer = Signer(signer_name(journal.id), _seed(journal, signing_key))
    store = journal.store
    with store.snapshot() as cursor:
        heads = [_anchored(journal, REGISTRY_KEY)]
        for key in sorted(store.registry.session_ids):
            store.find_chain(cursor, key)
            heads.append(_anchored(journal, key))
        at_us = store.clock()
    store.make_durable()
    return Anchor(Statement(journal.id, at_us, tuple(heads)), signer)


def _seed(journal: Journal, signing_key: str | os.PathLike[str] | None) -> bytes:
    if signing_key is None:
        return derived_seed(journal.store.keys.key)
    from pathlib import Path  # noqa: PLC0415 - only here

    return find_or_make_secret(Path(signing_key))


def _anchored(journal: Journal, key: str) -> Anchored:
    store = journal.store
    chain = store.registry.chain if key == REGISTRY_KEY else store.registry.chain_of(key)
    assert chain is not None  # noqa: S101 - it was found in this snapshot
    head = store.fresh(chain).head
    return Anchored(key, head.seq, head.epoch, head.cum_bytes, head.seal.hex())

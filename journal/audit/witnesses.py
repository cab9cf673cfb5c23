"""Holds what proofs outside the chain say of it against the chain.

A chain does not show that its newest links were taken away. But a fence, a verdict,
a parked write and the examined position were each stored with a proof, and each
tells how far the session had got by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from journal.audit import named
from journal.audit.judging import Change, true_seal
from journal.audit.spans import minus, without
from journal.audit.walk import UNKNOWN
from journal.strays import Ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from journal.audit.named import Named
    from journal.audit.proofs import Witness
    from journal.audit.source import Source
    from journal.audit.walk import Walk
    from journal.model import Row
    from journal.seal import Sealer


class Statement(NamedTuple):
    """What a witness shows: by which check, why, about which seqs."""

    check: str
    cause: str
    seqs: Ranges
    evidence: Mapping[str, Any]


class Hearing:
    """Hears the witnesses of one session, one after the other.

    Attributes:
        proven: the latest seq that any of them names.

    """

    def __init__(
        self,
        source: Source,
        session_id: int,
        walk: Walk,
        sealer: Sealer | None,
        names: Sequence[Named],
    ) -> None:
        self.proven = 0
        self._source = source
        self._session_id = session_id
        self._walk = walk
        self._sealer = sealer
        self._named = named.seqs(names)
        self._found_missing = named.seqs(names, "missing")
        self._lost = Ranges()
        last = walk.last
        self._seq, self._epoch = (0, 0) if last is None else (last.seq, last.epoch)

    def hear(self, witness: Witness) -> Iterator[Statement]:
        """Yield what a witness shows that nothing else has shown yet."""
        if witness.seq is not None:
            yield from self._hear_seq(witness, witness.seq)
        elif witness.epoch is not None and witness.epoch > self._epoch and not self._tail_is_told():
            cause = "a later epoch is on record: the newest entries are gone or were changed"
            evidence = {"witness": witness.what, "epoch": witness.epoch}
            yield Statement("J306", cause, Ranges(), evidence)

    def _tail_is_told(self) -> bool:
        """Whether newest entries are known already to be edited or gone."""
        known = [*self._walk.changed, *(last for _, last in self._lost)]
        return any(seq > self._seq for seq in known)

    def _hear_seq(self, witness: Witness, seq: int) -> Iterator[Statement]:
        self.proven = max(self.proven, seq)
        rows = list(self._source.rows_between(self._session_id, seq, seq))
        if any(self._stood(row, witness.seal) for row in rows) or self._is_told(seq):
            return
        evidence = {"witness": witness.what, "seq": seq}
        if seq > self._seq:
            cause = "proved by the examined position or by a stored fence"
            yield Statement("J306", cause, self._news(seq), evidence)
        elif witness.seal is not None:
            cause = "a stored fence names another seal there"
            yield Statement("J208", cause, Ranges([(seq, seq)]), evidence)

    def _is_told(self, seq: int) -> bool:
        """Whether the walk, or an honest writer, has told already that the entry there is not."""
        walk = self._walk
        known = (walk.changed, walk.moved, walk.missing, walk.replaced, self._found_missing)
        return any(seq in told for told in (*known, self._lost))

    def _stood(self, row: Row, seal: bytes | None) -> bool:
        """Whether this row, edited or not, is the entry that the witness names."""
        if seal is None or self._sealer is None:
            return False
        if row.seal != seal and true_seal(self._sealer, row) != seal:
            return False
        if row.seq in self._walk.strays:
            self._walk.changed[row.seq] = UNKNOWN if row.seal == seal else Change("seal")
            self._walk.strays = without(self._walk.strays, row.seq)
        return True

    def _news(self, seq: int) -> Ranges:
        """Return which seqs up to this one are lost by this witness first."""
        news = minus(minus(Ranges([(self._seq + 1, seq)]), self._lost), self._named)
        self._lost.update(news)
        return news

"""A session's head on a server, learned while one stands first in its queue.

What is asked there is asked while all others wait. So it is the newest row alone, and only
what is plain is learned from it; the conditions of the write look after the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal.chain import Head
from journal.controls import CONTROL
from journal.dialects import queueing
from journal.dialects.flush import UnforeseenError
from journal.model import Row
from journal.pages import MAX_SEQ

if TYPE_CHECKING:
    from journal.chain import Chain
    from journal.dialects.flush import Flush
    from journal.serverlink import Link

_ROW: Final = len(Row._fields)


class Queue:
    """The queues at the heads of one journal, as one of its connections stands in them.

    Attributes:
        is_wanted: whether the present write is to stand in the queue of its session.
        met_others: whether somebody else had written meanwhile, the last time.

    """

    def __init__(self, schema: str, link: Link, time_out_s: float) -> None:
        self._schema, self._link, self._time_out_s = schema, link, time_out_s
        self.is_wanted = self.met_others = False

    def want(self, is_wanted: bool) -> None:  # noqa: FBT001 - it is what is said
        """Say whether the next write is to stand in the queue of its session."""
        self.is_wanted, self.met_others = is_wanted, False

    def stand(self, chain: Chain, flush: Flush) -> None:
        """Wait for one's turn at a session, if that is wanted, and learn its head.

        The transaction that this begins holds the place until it ends. Of several sessions in
        one flush it is stood in the first one's queue alone: nobody waits for two.

        Raises:
            UnforeseenError: what is there is not plain.

        """
        if not self.is_wanted or flush.is_begun:
            return
        flush.is_begun, before, number = True, chain.head, chain.session_id
        lock = queueing.lock_of(self._schema, number)
        between = (before.seq, MAX_SEQ)
        found = queueing.stand(self._link.wire, lock, number, between, self._time_out_s)
        if found is None or not caught_up(chain, found):
            raise UnforeseenError
        self.met_others = chain.head.seal != before.seal


def caught_up(chain: Chain, found: tuple[Any, ...]) -> bool:
    """Have a plain chain stand at its newest row if others' plain lines led there; return whether it does.

    Else it is left as it was, for :meth:`journal.chain.Chain.refresh`.
    """
    row, (seal_before, examined, mac) = Row._make(found[:_ROW]), found[_ROW:]
    head, sealer = chain.head, chain.sealer
    if row.seal == head.seal:
        return True  # nobody came; the conditions of the write see to the rest
    if seal_before != head.seal or row.kind == CONTROL or not sealer.seal_holds(row):
        return False
    chain.head = Head(row.seq, row.epoch, row.seal, row.cum_bytes, row.claim)
    chain.found_seq = row.seq  # as far as is known; the write has it for a condition
    chain.open_tail = row.terminator == b""
    if mac == sealer.examined_mac(examined):
        chain.examined = min(max(chain.examined, examined), row.seq)
    return True

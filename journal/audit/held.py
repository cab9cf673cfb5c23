"""Holds mirror files against the sessions they belong to, while the journal goes on writing to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from journal.audit import mirrored
from journal.audit.findings import Findings
from journal.audit.sessions import SessionAudit
from journal.process import this_process
from journal.seal import Mac
from journal.serverplace import A_COPYS, ANOTHER_USERS, UNTOLD, whose

if TYPE_CHECKING:
    from journal.audit.declarations import Declarations, MirrorDeclared
    from journal.audit.keyring import Keyring
    from journal.audit.mirrored import Fault
    from journal.audit.source import Source
    from journal.redacted import Piece

# A mirror is written after the commit: what differs is looked at again before it is told.
_TRIES: Final = 5
_PAUSE_S: Final = 0.1
_WAIT_S: Final = 2.0
_INTERRUPTED: Final = (
    "the mirror of {!r} where a redaction was interrupted: the next write to it puts its lines back"
)
_WRITTEN: Final = "the mirror of {!r}: it was written to all the time"
_UNORDERED: Final = "the bytes of the mirror of {!r}: its session was given another order since"
_OF_BYTES: Final = ("J702", "J703")


class MirrorAudit:
    """The audit of the mirrors of sessions that were audited; what cannot be told goes to ``unsaid``."""

    def __init__(
        self,
        source: Source,
        keyring: Keyring,
        known: Declarations,
        found: Findings,
        unsaid: list[str],
    ) -> None:
        self.source = source
        self.keyring = keyring
        self.known = known
        self.found = found
        self.open = unsaid

    def check(self, session: SessionAudit, *, are_here: bool) -> None:
        """J70…: hold the files of a session's mirrors against its entries."""
        for number in self.known.mirrored.get(session.session_id, ()):
            mirror = self.known.mirrors[number]
            if mirror.session_id != session.session_id or number in self.known.removed:
                continue
            if not are_here:
                self.open.append(
                    f"the mirror of {session.key!r}: it belongs to the journal, not to a copy"
                )
                continue
            elsewhere = self._elsewhere(mirror, self.known.places.get(number, ""))
            if elsewhere is not None:
                self.open.append(f"the mirror of {session.key!r}{elsewhere}")
                continue
            path = self.source.side_path(self.keyring.journal_id or "", mirror.path)
            older = map(Mac, self.keyring.all()[1:])
            slot = mirrored.Slot(path, number, self.keyring.mac, older)
            faults = self._mirror_faults(session, mirror, number, slot)
            for fault in (*faults, slot.fault()):
                if fault is not None:
                    self.found.add(
                        fault.check, fault.cause, session=session.key, evidence=fault.evidence
                    )

    def _elsewhere(self, mirror: MirrorDeclared, place: str) -> str | None:
        """Say where a mirror is that cannot be looked at from here; None if it is here."""
        found, is_here = whose(place, self.source.place()), mirror.host == this_process().host
        if found == ANOTHER_USERS:
            return f": it is served by the user {place.rpartition('/')[2]}"
        if found == A_COPYS:
            return f": it belongs to the journal on {mirror.host} that this was copied from"
        if found == UNTOLD and is_here:
            return ": the server does not tell this user which it is (pg_control_system)"
        return None if is_here else f" on the host {mirror.host}"

    def _mirror_faults(
        self, session: SessionAudit, mirror: MirrorDeclared, number: int, slot: mirrored.Slot
    ) -> list[Fault]:
        """Compare; what differs is looked at again while nobody writes, and where that cannot be had it is said."""
        if not self._compared(self.source, session, mirror):
            return []
        found: list[Fault] | None = None
        others: list[Fault] = []
        first = slot.served()
        for _ in range(_TRIES):
            time.sleep(_PAUSE_S)
            with slot.held(_WAIT_S) as is_held, self.source.later() as newer:
                again = SessionAudit(
                    newer, self.keyring, self.known, Findings(newer.path), session.session_id, session.key
                )  # fmt: skip
                again.run()
                served = slot.served() if is_held else None
                if served and (served.is_being_cut or served.layout_no != again.layouts.no):
                    # It is about to be given another layout, if somebody serves it still.
                    others = _not_of_bytes(self._compared(newer, again, mirror))
                    continue
                pieces = again.overwritten(number) if is_held else ()
                found = self._compared(newer, again, mirror, pieces)
                if pieces and not found:
                    self.open.append(_INTERRUPTED.format(session.key))
            # Behind, as the journal itself left it a moment ago: the next lines are on their way.
            if (
                served != first
                and served
                and all(
                    (fault.check, fault.evidence.get("bytes")) == ("J702", served.size)
                    for fault in found
                )
            ):
                return []
            if not found:
                break
        if found is None:
            unsaid = _UNORDERED if others else _WRITTEN
            self.open.append(unsaid.format(session.key))
        return others if found is None else found

    def _compared(
        self,
        source: Source,
        session: SessionAudit,
        mirror: MirrorDeclared,
        pieces: tuple[Piece, ...] = (),
    ) -> list[Fault]:
        if session.layouts.extents is None:
            return []
        sealer = self.keyring.sealer(session.session_id, session.key)
        number, extents = session.session_id, session.layouts.extents
        lines = mirrored.lines(source, number, extents, sealer, session.redacted)
        return mirrored.faults(mirror, session.mirror_state, lines, pieces)


def _not_of_bytes(faults: list[Fault]) -> list[Fault]:
    """Return what is wrong with a file whatever order its lines should have."""
    return [fault for fault in faults if fault.check not in _OF_BYTES]

"""What an audit saw, for whoever draws it: the report, and the snapshot it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from journal.audit.declarations import Declarations
    from journal.audit.keyring import Keyring
    from journal.audit.report import Report
    from journal.audit.source import Source


class Sighting(NamedTuple):
    """One audit, while its snapshot is open."""

    source: Source
    keyring: Keyring
    known: Declarations
    report: Report

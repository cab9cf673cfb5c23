"""What adapters keep beside a session, and how all of it is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from journal import RefusedError
from journal.adapters.folding import forget

if TYPE_CHECKING:
    from journal import Journal


def test_what_another_process_settles_meanwhile_keeps_nothing_from_being_erased(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen the refused write, and the other was quicker."""
    session = journal.session("s", writer="agent", role="run")
    session.append({"n": 1})
    with journal.session("s", writer="other", role="run").claim(), pytest.raises(RefusedError):
        session.append({"n": 2})
    (refused,) = session.parked()
    monkeypatch.setattr(session, "parked", lambda: [refused])
    refused.discard(reason="cleared")
    forget(session, "cleared")
    assert session.read() == []

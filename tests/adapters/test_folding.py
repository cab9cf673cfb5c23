"""What adapters keep beside a session, and how all of it is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal import RefusedError
from journal.adapters.folding import EVERY, folded, forget

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@pytest.mark.parametrize("by_then", ["erased", "about to be"])
def test_what_is_erased_while_a_savepoint_is_made_of_it_stays_in_no_savepoint(
    journal: Journal, by_then: str
) -> None:
    """The one who erases finds no savepoint yet, or the one who saves finds nothing erased yet."""
    lines = journal.session("s", writer="agent", role="run")
    savepoints = journal.session("s-state", writer="agent", role="run")
    lines.extend({"secret": n} for n in range(EVERY))

    def erase() -> None:
        forget(lines, "deleted")
        forget(savepoints, "deleted")

    def step(value: list[int], news: Sequence[Any]) -> list[int]:
        if by_then == "erased":
            erase()
        return [*value, *(each["secret"] for each in news)]

    assert len(folded(lines, savepoints, list[int](), step)) == EVERY
    if by_then == "about to be":
        assert len(savepoints.read()) == 1
        erase()
    assert savepoints.read() == []

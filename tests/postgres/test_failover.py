"""A standby, and what becomes of a journal when it takes over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from journal import Journal, ReadOnlyError
from journal.audit import audit
from tests.postgres.server import NoServerError, Server
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    """Give a primary that waits for its one standby with each commit, and the standby."""
    try:
        primary = Server()
    except NoServerError as error:
        pytest.skip(str(error))
    standby = Server(standby_of=primary)
    primary.configure("synchronous_standby_names = 'standby'")
    primary.stop()
    primary.start()
    yield primary, standby
    standby.remove()
    primary.remove()


def test_a_failover_loses_nothing_that_was_acknowledged(pair: tuple[Server, Server]) -> None:
    """The primary is killed under load; the standby is promoted; the journal goes on there."""
    primary, standby = pair
    with Journal(primary.url()) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": -1})
    with pytest.raises(ReadOnlyError) as caught:
        Journal(standby.url())
    assert "standby" in str(caught.value)
    assert audit(standby.url()).findings == ()

    either = primary.url().replace("/postgres?", f",127.0.0.1:{standby.port}/postgres?")
    with Journal(f"{either}&target_session_attrs=read-write") as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        made: list[int] = []

        def append() -> None:
            for n in range(60):
                made.append(session.append({"n": n}, request_id=f"r{n}").seq)
                time.sleep(0.01)

        thread = threading.Thread(target=append)
        thread.start()
        while len(made) < 15:
            time.sleep(0.01)
        fence = session.fence()
        primary.kill()
        time.sleep(0.5)
        standby.promote()
        thread.join(60)
        assert made == list(range(2, 62))
        assert [entry.json()["n"] for entry in session.read()] == [-1, *range(60)]
        assert fence.check().accepted
    assert audit(standby.url()).findings == ()

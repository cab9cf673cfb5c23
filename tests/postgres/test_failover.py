"""A standby, and what becomes of a journal when it takes over."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, ReadOnlyError
from journal.audit import audit
from tests.crash.parties import apart
from tests.postgres.failovers import KEYS, Heard
from tests.postgres.server import NoServerError, Server
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


@pytest.mark.crash
def test_a_failover_under_the_load_of_processes_loses_and_doubles_nothing(
    server: Server, tmp_path: Path
) -> None:
    """`python -m tests.postgres.failovers 20` does it twenty times; here it is done once."""
    told = apart("tests.postgres.failovers:run", home=str(tmp_path), times=1, seed=3)
    assert told["wrong"] == []
    assert all(told[name] for name in ("acked", "claimed", "wrote", "refused", "verdicts"))


SOUND: list[list[Any]] = [
    *(["entries", name, [
        [1, 1, "line", {"by": "a", "n": 1}],
        [2, 2, "control", {"control": "claim", "token": 2}],
        [3, 3, "line", {"by": "t", "n": 1, "token": 2}],
    ]] for name in KEYS),
    *(["audit"] for _ in range(3)),
    *(["trying", by, 1] for by in "at"),
    ["acked", KEYS[0], 1, 1, "a", 1, 0.0, 0.1],
    ["claimed", KEYS[0], 2, 0.2, None],
    ["wrote", KEYS[0], 2, 3, 0.3, 0.4],
    ["checked", "accepted"],
]  # fmt: skip


@pytest.mark.parametrize(
    "more, said",
    [
        ([], None),
        (["error", "it fell over"], "it fell over"),
        (["accused", "takeover"], "accused"),
        (["checked", "takeover"], "takeover"),
        (["audit", "J101"], "J101"),
        (["stepped over", 1], "1 stepped over"),
        (["acked", KEYS[0], 4, 4, "a", 2, 0.0, 0.1], "acknowledged"),
        (["claimed", KEYS[0], 9, 0.5, None], "not there"),
        (["wrote", KEYS[0], 2, 4, 0.5, 0.6], "acknowledged"),
        (["submitted", KEYS[0], "a", 3], "0 times"),
        (["pending", KEYS[0], [{"by": "a", "n": 1}]], "2 times"),
        (["pending", KEYS[0], [{"by": "a", "n": 7}]], "nobody wrote"),
        (["entries", KEYS[0], [[2, 1, "line", {"by": "a", "n": 1}]]], "seqs"),
        (["entries", KEYS[0], [[1, 2, "line", {"by": "a", "n": 1}]]], "epochs"),
    ],
)
def test_what_a_failover_must_not_do_is_found(more: list[Any], said: str | None) -> None:
    """The judge sees what it is there to see: each of its rules broken once."""
    wrong = Heard([*SOUND, more] if more else SOUND).told()["wrong"]
    assert wrong == [] if said is None else any(said in each for each in wrong)

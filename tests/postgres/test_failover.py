"""A standby, and what becomes of a journal when it takes over."""

from __future__ import annotations

import random
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from journal import EntryError, Journal, ReadOnlyError, StorageError, exclusive
from journal.adopting import adopt_key
from journal.audit import audit
from journal.dialects import catalog
from journal.dialects.address import parsed
from journal.dialects.postgres import is_lost
from journal.dialects.standbys import Commits, waited_for
from journal.servergroup import patiently
from tests.crash.parties import apart
from tests.postgres.cluster import Node, awaited
from tests.postgres.failovers import KEYS, Heard
from tests.postgres.server import NoServerError
from tests.postgres.writing import append_until_killed, started
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from tests.postgres.server import Server


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[Node, Node]]:
    """Give a primary that waits for its one standby with each commit, and the standby."""
    yield from two_servers()


@pytest.fixture
def pair(kept: tuple[Node, Node]) -> tuple[Node, Node]:
    """Give the same two, with no journal on them."""
    primary, standby = kept
    awaited(lambda: primary.standbys() == 1)
    with primary.connect() as connection:
        connection.execute("ALTER SYSTEM RESET ALL")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("DROP SCHEMA IF EXISTS journal CASCADE")
    return primary, standby


def two_servers() -> Generator[tuple[Node, Node]]:
    try:
        primary = Node()
    except NoServerError as error:
        pytest.skip(str(error))
    standby = Node(standby_of=primary)
    primary.configure("synchronous_standby_names = 'standby'")
    primary.stop()
    primary.start()
    try:
        yield primary, standby
    finally:
        standby.remove()
        primary.remove()


def test_a_failover_loses_nothing_that_was_acknowledged() -> None:
    """The primary is killed under load; the standby is promoted; the journal goes on there."""
    servers = two_servers()
    try:
        lose_one(*next(servers))
    finally:
        servers.close()


def lose_one(primary: Node, standby: Node) -> None:
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


# -- a commit that no standby has confirmed -----------------------------------------------


def waiting(primary: Node) -> list[int]:
    """Return the server's processes that wait for the standby, with a commit of the journal's."""
    asked = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with primary.connect() as connection:
        return [pid for (pid,) in connection.execute(asked)]


class Appending:
    """An append in a thread; ``made`` is empty until it has returned."""

    def __init__(self, session: Any, line: Any, request_id: str) -> None:
        self.made: list[int] = []
        self.errors: list[str] = []
        self._work = lambda: session.append(line, request_id=request_id).seq
        self._thread = threading.Thread(target=self._append)
        self._thread.start()

    def _append(self) -> None:
        try:
            self.made.append(self._work())
        except StorageError as error:
            self.errors.append(error.code)

    def awaited(self, primary: Node, *, but: Any = ()) -> list[int]:
        """Wait until the server waits for its standby, elsewhere than before; return where."""
        found: list[int] = []

        def is_so() -> bool:
            found[:] = set(waiting(primary)) - set(but)
            return bool(found or self.made)

        awaited(is_so)
        assert self.made == [], "acknowledged, and no standby has it"
        return found

    def joined(self) -> None:
        self._thread.join(60)


@pytest.mark.parametrize(
    "harm",
    ["crash", *(pytest.param(harm, marks=pytest.mark.slow) for harm in ("cancel", "terminate"))],
)
def test_what_no_standby_has_is_not_acknowledged(pair: tuple[Node, Node], harm: str) -> None:
    """The wait for it ends, and the primary shows the entry: a failover would lose it."""
    primary, standby = pair
    with Journal(primary.url()) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        standby.stop()
        appending = Appending(session, {"n": 2}, "r")
        first = appending.awaited(primary)
        if harm == "crash":
            primary.crash()
            primary.start()
        else:
            with primary.connect() as connection:
                connection.execute(f"SELECT pg_{harm}_backend({first[0]})")
        appending.awaited(primary, but=first)
        standby.start()
        appending.joined()
        assert appending.made == [2]
        assert [entry.json()["n"] for entry in session.read()] == [1, 2]


def test_what_another_wrote_is_not_acknowledged_before_a_standby_has_it(
    pair: tuple[Node, Node],
) -> None:
    """A request that is there already is answered from what the primary shows: it may show too much."""
    primary, standby = pair
    with Journal(primary.url()) as journal:
        same = journal.session(KEY, writer="w", role="channel")
        same.append({"n": -1})  # what tells this process from others is written by now
        process, pipe = started(append_until_killed, primary.url(), "w")
        n, seq = pipe.recv()
        standby.stop()
        awaited(lambda: waiting(primary))
        process.kill()
        process.join(60)
        while pipe.poll():
            try:
                n, seq = pipe.recv()
            except EOFError:
                break
        primary.crash()
        primary.start()
        appending = Appending(same, {"by": "w", "n": n + 1}, f"w:{n + 1}")
        appending.awaited(primary)
        standby.start()
        appending.joined()
        assert appending.made == [seq + 1]


def test_a_standby_that_stays_away_is_told_within_the_time_out(pair: tuple[Node, Node]) -> None:
    """A server waits for ever; the journal does not, and does not say that it is kept."""
    primary, standby = pair
    with Journal(primary.url(), busy_timeout=1) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        standby.stop()
        appending = Appending(session, {"n": 2}, "r")
        appending.joined()
        assert (appending.made, appending.errors) == ([], ["outcome-unknown"])
        standby.start()
        assert session.append({"n": 2}, request_id="r").seq == 2
        assert [entry.json()["n"] for entry in session.read()] == [1, 2]


def test_a_journal_is_not_said_to_be_made_before_a_standby_has_it(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the standby waited for without end."""
    primary, standby = pair
    monkeypatch.setattr(catalog, "_WAIT_S", 5.0)
    standby.stop()
    with pytest.raises(StorageError) as caught:
        Journal(primary.url())
    assert caught.value.code == "outcome-unknown"
    standby.start()
    with Journal(primary.url()) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    assert audit(primary.url()).findings == ()


def test_a_new_key_is_not_told_before_a_standby_has_its_era(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover would have the journal go on in the old era, and the old key seal."""
    primary, standby = pair
    monkeypatch.setattr(exclusive, "_WAIT_S", 1.0)
    with Journal(primary.url()) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    with pytest.raises(StorageError) as caught:
        adopt_key(f"{primary.url()}&standbys=2")
    assert caught.value.code == "no-standby"
    standby.stop()
    with pytest.raises(StorageError) as caught:
        adopt_key(primary.url())
    assert caught.value.code == "outcome-unknown"
    assert "journal key" in str(caught.value.hint)
    standby.start()
    with Journal(primary.url()) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    assert audit(primary.url()).findings == ()
    assert adopt_key(primary.url()).era > 1


def test_a_commit_whose_wait_nobody_could_end_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system gives no thread now: that is told, by an error of the journal's."""

    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    commits = Commits(SimpleNamespace(add_notice_handler=lambda _: None), 1)
    sent: list[str] = []
    with pytest.raises(StorageError) as caught, commits.confirmed(1):
        sent.append("COMMIT")
    assert (caught.value.code, sent) == ("no-thread", [])


def test_a_server_is_waited_for_as_long_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes, too: that is more than a thousand tries."""
    tried, longest = [0], list[float]()

    def try_it() -> str:
        tried[0] += 1
        if tried[0] < 2000:
            raise StorageError("away", code="server-gone")
        return "back"

    def at_once(_: float, most: float) -> float:
        longest.append(most)
        return 0

    monkeypatch.setattr(random, "uniform", at_once)
    assert patiently(try_it, 60, is_lost) == "back"
    assert longest[:2] == [0.004, 0.008]
    assert max(longest) == longest[-1] == 0.5


# -- standbys that the URL claims -----------------------------------------------------------


def test_a_server_that_waits_for_no_standby_is_refused_where_the_url_claims_one(
    pair: tuple[Node, Node],
) -> None:
    """At open, before anything is made; and when the journal connects again."""
    primary, _ = pair
    claimed = primary.url() + "&standbys=1"
    set_to(primary, "")
    with pytest.raises(StorageError) as caught:
        Journal(claimed)
    assert caught.value.code == "no-standby"
    with primary.connect() as connection:
        assert connection.execute("SELECT to_regnamespace('journal')").fetchone() == (None,)
    follow(primary, caught.value.hint)
    with Journal(claimed) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        set_to(primary, "")
        primary.stop()
        primary.start()
        with pytest.raises(StorageError) as caught:
            session.append({"n": 2})
        assert caught.value.code == "no-standby"
        follow(primary, caught.value.hint)
        assert session.append({"n": 2}).seq == 2
    with pytest.raises(StorageError) as caught:
        Journal(claimed.replace("standbys=1", "standbys=2"))
    assert "waits for 1" in str(caught.value)
    with pytest.raises(StorageError) as caught:
        Journal(claimed, durability="normal")
    assert caught.value.code == "no-standby"
    with primary.connect() as connection:
        connection.execute("ALTER SYSTEM SET synchronous_commit = 'local'")
        connection.execute("SELECT pg_reload_conf()")
    with pytest.raises(StorageError) as caught:
        Journal(claimed)
    assert "local" in str(caught.value)
    follow(primary, caught.value.hint)
    Journal(claimed).close()


def set_to(server: Node, names: str) -> None:
    with server.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        connection.execute("SELECT pg_reload_conf()")


def follow(server: Node, hint: str | None) -> None:
    """Do as a hint says, word for word."""
    with server.connect() as connection:
        for statement in str(hint).split(";"):
            connection.execute(statement)


@pytest.mark.parametrize(
    "names, count",
    [
        ("", 0), (" ", 0), ("a", 1), ("a, b", 1), ("*", 1), ("2 (a, b, c)", 2), ("FIRST 2 (a,b)", 2),
        ("any 3 (*)", 3), ("ANY 1 (a)", 1), ('"ANY 2"', 1), ("any, b", 1),
    ],
)  # fmt: skip
def test_for_how_many_standbys_a_server_waits(names: str, count: int) -> None:
    assert waited_for(names) == count


@pytest.mark.parametrize("count", ["", "x", "-1", "1.5", "100"])
def test_a_number_of_standbys_is_a_number(count: str) -> None:
    with pytest.raises(EntryError):
        parsed(f"postgresql://h/d?standbys={count}")


# -- again and again ------------------------------------------------------------------------


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

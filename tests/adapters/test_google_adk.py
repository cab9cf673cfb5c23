"""``JournalSessionService`` under Google's ADK: a real Runner, a fake model, and other processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from google.adk.agents import LlmAgent, ParallelAgent
from google.adk.errors import StaleSessionError
from google.adk.errors.already_exists_error import AlreadyExistsError
from google.adk.errors.session_not_found_error import SessionNotFoundError
from google.adk.events.event import Event
from google.adk.events.event_actions import EventActions
from google.adk.models import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import Session
from google.adk.sessions.base_session_service import GetSessionConfig
from google.genai import types

from journal import EntryError, Journal, JournalError, RefusedError, StorageError
from journal.adapters.google_adk import JournalSessionService
from journal.audit import audit
from tests.adapters.places import is_kept, url_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
    from pathlib import Path

APP, USER, ID = "gate", "ada", "s1"
WHERE: Any = {"app_name": APP, "user_id": USER}
ONE: Any = {**WHERE, "session_id": ID}
KEY = "adk:gate:ada:s1"


class Echo(BaseLlm):
    """A model that says how many contents it was given."""

    async def generate_content_async(
        self,
        llm_request: Any,
        stream: bool = False,  # noqa: FBT001, FBT002 - the base has it
    ) -> AsyncGenerator[LlmResponse, None]:
        del stream
        part = types.Part(text=f"{len(llm_request.contents)} contents")
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


def said(text: str, at: float | None = None, /, **delta: Any) -> Event:
    content = types.Content(role="user", parts=[types.Part(text=text)])
    event = Event(author="user", invocation_id="i1", content=content)
    event.actions = EventActions(state_delta=delta)
    if at is not None:
        event.timestamp = at
    return event


def texts(session: Session | None) -> list[str | None]:
    assert session is not None
    return [event.content.parts[0].text for event in session.events]  # type: ignore[union-attr, index]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "adk.db"


@pytest.fixture
def service(db: Path) -> Iterator[JournalSessionService]:
    service = JournalSessionService(url_of(db))
    yield service
    run(service.close)
    assert audit(db).findings == ()


def run(call: Callable[..., Coroutine[Any, Any, Any]], **arguments: Any) -> Any:
    async def work() -> Any:
        return await call(**arguments)

    return anyio.run(work)


def append(service: JournalSessionService, session: Session, event: Event) -> Event:
    async def work() -> Event:
        return await service.append_event(session, event)

    return anyio.run(work)


# -- a real Runner --------------------------------------------------------------------------


async def ask(runner: Runner, text: str) -> list[str]:
    content = types.Content(role="user", parts=[types.Part(text=text)])
    answers = runner.run_async(user_id=USER, session_id=ID, new_message=content)
    return [event.content.parts[0].text async for event in answers]  # type: ignore[union-attr, index, misc]


def test_a_runner_remembers_from_turn_to_turn(service: JournalSessionService, db: Path) -> None:
    agent = LlmAgent(name="echo", model=Echo(model="echo"), output_key="last")
    runner = Runner(app_name=APP, agent=agent, session_service=service)

    async def talk() -> list[str]:
        await service.create_session(**ONE)
        return [*await ask(runner, "one"), *await ask(runner, "two")]

    assert asyncio.run(talk()) == ["1 contents", "3 contents"]
    found = run(service.get_session, **ONE)
    assert texts(found) == ["one", "1 contents", "two", "3 contents"]
    assert found.state == {"last": "3 contents"}
    with Journal(db) as journal:
        entries = journal.session(KEY).read()
    assert {(entry.writer, entry.role, entry.on_behalf_of) for entry in entries} == {
        ("google-adk", "run", USER)
    }
    assert entries[1].run_id == found.events[0].invocation_id


@pytest.mark.filterwarnings("ignore:ParallelAgent is deprecated:DeprecationWarning")
def test_agents_side_by_side_share_one_session_object(service: JournalSessionService) -> None:
    """Their events go out from one object at once: none of them is stale."""
    agents: Any = [LlmAgent(name=f"a{n}", model=Echo(model="echo")) for n in range(6)]
    agent = ParallelAgent(name="all", sub_agents=agents)
    runner = Runner(app_name=APP, agent=agent, session_service=service)

    async def talk() -> list[str]:
        await service.create_session(**ONE)
        return await ask(runner, "one")

    assert len(asyncio.run(talk())) == 6
    assert len(run(service.get_session, **ONE).events) == 7


# -- sessions and state -----------------------------------------------------------------------


def test_state_has_four_scopes(service: JournalSessionService) -> None:
    first = {"a": 1, "app:b": 2, "user:c": 3, "temp:d": 4}
    made = run(service.create_session, **ONE, state=first)
    assert made.state == {"a": 1, "app:b": 2, "user:c": 3}
    event = said("x", None, **{"a": None, "app:b": [5], "user:e": {"f": None}, "temp:g": 6})
    append(service, made, event)
    assert made.state == {"a": None, "app:b": [5], "user:c": 3, "user:e": {"f": None}, "temp:g": 6}
    stored = {"a": None, "app:b": [5], "user:c": 3, "user:e": {"f": None}}
    assert run(service.get_session, **ONE).state == stored
    assert run(service.get_user_state, **WHERE) == {"c": 3, "e": {"f": None}}
    other = run(service.create_session, app_name=APP, user_id="eve")
    assert other.state == {"app:b": [5]}
    assert run(service.create_session, app_name="b", user_id=USER).state == {}


def test_state_is_what_all_deltas_make_whatever_was_saved_between(
    service: JournalSessionService, db: Path
) -> None:
    session = run(service.create_session, **ONE, state={"n": -1})
    for n in range(200):
        append(service, session, said(str(n), None, **{"n": n, f"k{n % 7}": n, "user:n": n}))
        if n % 50 == 0:
            assert run(service.get_session, **ONE).state == session.state
    assert run(service.get_session, **ONE).state == session.state
    with Journal(db) as journal:
        assert 1 <= len(journal.session("adk-state:gate:ada:s1").read()) < 5


def test_an_id_is_given_once(service: JournalSessionService) -> None:
    run(service.create_session, **WHERE, session_id=" s1 ")
    with pytest.raises(AlreadyExistsError):
        run(service.create_session, **ONE, state={"user:x": 1})
    assert run(service.get_user_state, **WHERE) == {}
    made = run(service.create_session, **WHERE, session_id="  ")
    assert len(made.id) > 30
    assert run(service.get_session, **{**ONE, "session_id": "s1 "}).id == ID


def test_what_is_not_there_is_none(service: JournalSessionService) -> None:
    assert run(service.get_session, **ONE) is None
    assert run(service.list_sessions, **WHERE).sessions == []
    assert run(service.get_user_state, **WHERE) == {}
    run(service.delete_session, **ONE)


def test_a_deleted_session_takes_its_refused_events_along(
    service: JournalSessionService, db: Path
) -> None:
    """No byte of them is left, and nobody can bring the session back by applying one."""
    session = run(service.create_session, **ONE)
    stale = run(service.get_session, **ONE)
    append(service, session, said("first"))
    with pytest.raises(StaleSessionError):
        append(service, stale, said("a secret"))
    with Journal(db) as journal:
        (parked,) = [
            each for info in journal.sessions() for each in journal.session(info.key).parked()
        ]
    run(service.delete_session, **ONE)
    with Journal(db) as journal:
        assert journal.parked(parked.id).lines == ()
        with pytest.raises(RefusedError):
            journal.parked(parked.id).apply(writer="operator", role="operator")
    assert run(service.get_session, **ONE) is None
    run(service.create_session, **ONE)


def test_recent_events_and_events_since(service: JournalSessionService) -> None:
    session = run(service.create_session, **ONE)
    for n in range(5):
        append(service, session, said(str(n), 100.0 + n, n=n))

    def got(**config: Any) -> list[str | None]:
        found = run(service.get_session, **ONE, config=GetSessionConfig(**config))
        assert found.state == {"n": 4}
        return texts(found)

    assert got() == ["0", "1", "2", "3", "4"]
    assert got(num_recent_events=2) == ["3", "4"]
    assert got(num_recent_events=0) == []
    assert got(num_recent_events=9) == ["0", "1", "2", "3", "4"]
    assert got(after_timestamp=103.0) == ["3", "4"]
    assert got(after_timestamp=101.0, num_recent_events=1) == ["4"]


def test_sessions_are_listed_by_their_last_update(service: JournalSessionService) -> None:
    for n, user in enumerate(("ada", "eve", "ada")):
        session = run(service.create_session, app_name=APP, user_id=user, session_id=f"s{n}")
        append(service, session, said("x", 1000.0 - n, n=n))
    run(service.create_session, app_name="gate2", user_id=USER, session_id="other")
    found = run(service.list_sessions, app_name=APP).sessions
    assert [(each.user_id, each.id) for each in found] == [
        ("ada", "s2"),
        ("eve", "s1"),
        ("ada", "s0"),
    ]
    assert [each.events for each in found] == [[], [], []]
    assert [each.state["n"] for each in run(service.list_sessions, **WHERE).sessions] == [2, 0]


def test_sessions_of_others_whose_keys_begin_so_are_none_of_its_own(
    service: JournalSessionService, db: Path
) -> None:
    """A name that was misspelt on the command line, say, made one."""
    run(service.create_session, **ONE)
    with Journal(url_of(db)) as journal:
        for key in ("adk:gate:ada", f"{KEY}:x", "adk:gate:%41;da:s", "adk:gate:%FFFFFFFFFF;:s"):
            journal.session(key, writer="alice", role="operator").append({"n": 1})

    (listed,) = run(service.list_sessions, app_name=APP).sessions
    assert listed.id == ID
    assert len(run(service.list_sessions, **WHERE).sessions) == 1


def test_a_deleted_session_is_gone_and_its_id_may_be_given_again(
    service: JournalSessionService, db: Path
) -> None:
    session = run(service.create_session, **ONE, state={"user:name": "Ada"})
    event = said("something private", None, note="something private")
    append(service, session, event)
    run(service.delete_session, **ONE)
    assert run(service.get_session, **ONE) is None
    with pytest.raises(SessionNotFoundError):
        append(service, session, said("more"))
    again = run(service.create_session, **ONE)
    assert again.state == {"user:name": "Ada"}
    append(service, again, event)
    assert texts(run(service.get_session, **ONE)) == ["something private"]
    run(service.delete_session, **ONE)
    run(service.close)
    assert not is_kept(b"something private", db)


# -- what is stale --------------------------------------------------------------------------------


def test_a_stale_copy_is_refused_and_its_event_parked(
    service: JournalSessionService, db: Path
) -> None:
    run(service.create_session, **ONE)
    one, two = (run(service.get_session, **ONE) for _ in range(2))
    append(service, one, said("1"))
    with pytest.raises(StaleSessionError, match="load it again"):
        append(service, two, said("2", None, **{"user:x": 1}))
    append(service, one, said("3"))
    append(service, run(service.get_session, **ONE), said("4"))
    assert texts(run(service.get_session, **ONE)) == ["1", "3", "4"]
    assert run(service.get_user_state, **WHERE) == {}
    with Journal(db) as journal:
        (parked,) = journal.session(KEY).parked()
        assert b'"2"' in parked.lines[0]


@pytest.mark.parametrize("step", [0.0, -5.0, 5.0])
def test_clocks_are_not_asked(service: JournalSessionService, step: float) -> None:
    """Equal ones, or those that run backwards, make nothing stale and hide nothing."""
    session, now = run(service.create_session, **ONE), 2_000_000_000.0
    for n in range(4):
        append(service, session, said(str(n), now + n * step))
    stale = run(service.get_session, **ONE)
    append(service, session, said("4", now + 4 * step))
    stale.last_update_time = now * 2
    with pytest.raises(StaleSessionError):
        append(service, stale, said("5", now + 9 * step))
    assert texts(run(service.get_session, **ONE)) == ["0", "1", "2", "3", "4"]


def test_the_same_event_again_is_kept_once(service: JournalSessionService) -> None:
    """Its first call may have failed after the commit; the object knows nothing of it then."""
    session = run(service.create_session, **ONE)
    before, event = session.model_copy(deep=True), said("1", None, **{"n": 1, "user:n": 1})
    append(service, session, event)
    append(service, session, said("2", None, **{"user:n": 2}))
    append(service, before, event)
    assert texts(run(service.get_session, **ONE)) == ["1", "2"]
    assert run(service.get_user_state, **WHERE) == {"n": 2}
    other = said("another", None)
    other.id = event.id
    with pytest.raises(AlreadyExistsError):
        append(service, session, other)


def test_an_event_found_done_hides_nothing_that_stands_before_it(
    service: JournalSessionService,
) -> None:
    run(service.create_session, **ONE)
    one, two = (run(service.get_session, **ONE) for _ in range(2))
    event = said("2")
    append(service, one, said("1"))
    append(service, one, event)
    append(service, two, event)
    with pytest.raises(StaleSessionError):
        append(service, two, said("3"))
    append(service, one, event)
    append(service, one, said("4"))
    assert texts(run(service.get_session, **ONE)) == ["1", "2", "4"]


def test_lines_of_others_change_no_state(service: JournalSessionService, db: Path) -> None:
    run(service.create_session, **ONE, state={"n": 1, "user:n": 1})
    odd: list[Any] = [
        {"actions": {"state_delta": {"n": 2}}, "timestamp": 1.0},
        {"id": "x", "author": "y", "timestamp": "soon", "actions": []},
        {"type": "session", "state": 3},
        b"[1]",
        {"set": [1]},
    ]
    with Journal(db) as journal:
        for key in (KEY, "adk-user:gate:ada"):
            journal.session(key, writer="hand", role="operator").extend(odd)
    found = run(service.get_session, **ONE)
    assert (found.state, found.events) == ({"n": 1, "user:n": 1}, [])
    assert run(service.list_sessions, **WHERE).sessions[0].state == found.state


def test_what_one_holder_changes_is_not_anothers(service: JournalSessionService) -> None:
    for name in ("a", "b"):
        run(service.create_session, **WHERE, session_id=name, state={"user:n": {"m": 1}})
    one, two = run(service.list_sessions, **WHERE).sessions
    one.state["user:n"]["m"] = 2
    assert two.state == {"user:n": {"m": 1}}


def test_a_reading_does_not_fail_for_a_savepoint(
    service: JournalSessionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = run(service.create_session, **ONE)
    for n in range(70):
        append(service, session, said(str(n), None, n=n))

    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("journal.session.Session.append", full)
    assert run(service.get_session, **ONE).state == {"n": 69}


def test_an_object_that_no_service_handed_out_is_known_by_its_last_event(
    service: JournalSessionService,
) -> None:
    session = run(service.create_session, **ONE)
    append(service, session, said("1"))
    bare = Session(app_name=APP, user_id=USER, id=ID, events=[*session.events])
    behind = Session(app_name=APP, user_id=USER, id=ID)
    append(service, bare, said("2"))
    with pytest.raises(StaleSessionError):
        append(service, behind, said("3"))
    with pytest.raises(SessionNotFoundError):
        append(service, Session(app_name=APP, user_id=USER, id="none"), said("4"))
    assert texts(run(service.get_session, **ONE)) == ["1", "2"]


def test_partial_events_are_not_kept(service: JournalSessionService) -> None:
    session = run(service.create_session, **ONE)
    event = said("half")
    event.partial = True
    append(service, session, event)
    assert texts(run(service.get_session, **ONE)) == []


# -- many ------------------------------------------------------------------------------------------


def _race(db: str, barrier: Any, name: str, outcomes: Any) -> None:
    service = JournalSessionService(db)

    async def work() -> None:
        for number in range(40):
            where = {**WHERE, "session_id": f"r{number}"}
            found = await service.get_session(**where)
            assert found is not None
            barrier.wait()
            try:
                await service.append_event(found, said(name))
                outcomes.put((number, name))
            except StaleSessionError:
                outcomes.put((number, None))
        await service.close()

    asyncio.run(work())


def test_of_two_processes_one_is_stale_in_each_of_40_rounds(
    service: JournalSessionService, db: Path
) -> None:
    for number in range(40):
        run(service.create_session, **WHERE, session_id=f"r{number}")
    fresh = multiprocessing.get_context("spawn")
    barrier, outcomes = fresh.Barrier(2), fresh.Queue()
    running = [
        fresh.Process(target=_race, args=(str(db), barrier, name, outcomes)) for name in "ab"
    ]
    for each in running:
        each.start()
    found = [outcomes.get(timeout=60) for _ in range(80)]
    for each in running:
        each.join()
    assert sum(1 for _, name in found if name is None) == 40
    for number in range(40):
        (winner,) = {name for at, name in found if at == number and name is not None}
        assert texts(run(service.get_session, **WHERE, session_id=f"r{number}")) == [winner]


def test_threads_with_loops_of_their_own_share_a_service(service: JournalSessionService) -> None:
    session = run(service.create_session, **ONE)
    threads = [
        threading.Thread(target=append, args=(service, session, said(str(n)))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts(run(service.get_session, **ONE))) == [str(n) for n in range(8)]  # type: ignore[type-var]


def test_a_cancelled_append_is_there_whole_or_not_at_all(service: JournalSessionService) -> None:
    session = run(service.create_session, **ONE)

    async def work() -> None:
        task = asyncio.create_task(
            service.append_event(session, said("1", None, **{"n": 1, "user:n": 1, "app:n": 1}))
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        found = await service.get_session(**ONE)
        assert found is not None
        assert found.state in ({}, {"n": 1, "user:n": 1, "app:n": 1})
        assert len(found.events) == (1 if found.state else 0)

    asyncio.run(work())


# -- what names and events may hold, and bad input --------------------------------------------------


@pytest.mark.parametrize("name", ["a:b", "a%", "a_", "..", "ä", "a/../b", "\n x"])
def test_any_name_is_its_own(service: JournalSessionService, name: str) -> None:
    for app, user, session in ((name, "u", "s"), ("a", name, "s"), ("a", "u", name)):
        run(service.create_session, app_name=app, user_id=user, session_id=session)
        (found,) = run(service.list_sessions, app_name=app, user_id=user).sessions
        assert (found.app_name, found.user_id, found.id) == (app, user, session.strip())
        run(service.delete_session, app_name=app, user_id=user, session_id=session)


def test_bytes_and_big_events_come_back(service: JournalSessionService) -> None:
    session = run(service.create_session, **ONE)
    blob = types.Blob(data=bytes(range(256)) * 40_000, mime_type="image/png")
    part = types.Part(inline_data=blob)
    event = Event(author="user", content=types.Content(parts=[part], role="user"))
    append(service, session, event)
    append(service, session, event)
    (found,) = run(service.get_session, **ONE).events
    assert found == event


def test_text_that_is_no_unicode_is_refused_whole(service: JournalSessionService) -> None:
    session = run(service.create_session, **ONE)
    with pytest.raises(EntryError):
        append(service, session, said("\ud800", None, n=1))
    assert run(service.get_session, **ONE).state == {}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [10**5000, nested(250)], ids=["digits", "levels"])
def test_an_event_that_could_not_be_handed_back_is_refused_whole(
    service: JournalSessionService, value: Any
) -> None:
    """What is acknowledged is there when the session is read; the session goes on without it."""
    session = run(service.create_session, **ONE)
    with pytest.raises(EntryError) as caught:
        append(service, session, said("one", k=value, other=1))
    assert caught.value.code == "not-json"
    append(service, session, said("two", k=10**4299, other=nested(150)))
    found = run(service.get_session, **ONE)
    assert texts(found) == ["two"]
    assert found.state == {"k": 10**4299, "other": nested(150)}


def test_a_line_that_is_no_event_is_left_out_and_said(
    service: JournalSessionService, db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(service.create_session, **ONE)
    with Journal(db) as journal:
        journal.session(KEY, writer="hand", role="operator").extend([b"no json", {"n": 1}])
    assert texts(run(service.get_session, **ONE)) == []
    assert "is no event" in caplog.text


def test_a_redacted_event_is_left_out_and_nothing_is_said(
    service: JournalSessionService, db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody wanted it gone: that is no news at each reading."""
    session = run(service.create_session, **ONE)
    for text in "ab":
        run(service.append_event, session=session, event=said(text))
    with Journal(url_of(db)) as journal:
        journal.session(KEY, writer="eve", role="operator").redact([2], reason="pasted")
    assert texts(run(service.get_session, **ONE)) == ["b"]
    assert caplog.records == []


def test_a_service_used_after_close_says_so(db: Path) -> None:
    service = JournalSessionService(db)
    run(service.close)
    with pytest.raises(StorageError):
        run(service.get_session, **ONE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "mysql://x/y"},
        {"uri": "/no/such/place/a.db"},
        {"url": ":memory:", "role": "king"},
    ],
)
def test_a_service_that_cannot_be_is_an_error_of_ours(options: dict[str, Any]) -> None:
    with pytest.raises(JournalError):
        JournalSessionService(**options)

"""``JournalSession`` under the OpenAI Agents SDK: a real Runner, a fake model, and a second process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from agents import Agent, Runner, set_tracing_disabled
from agents.items import ModelResponse
from agents.memory import Session, SessionSettings
from agents.models.interface import Model
from agents.usage import Usage
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from journal import (
    EntryError,
    Journal,
    JournalError,
    RefusedError,
    SessionTakeover,
    StorageError,
)
from journal.adapters.openai_agents import JournalSession
from journal.audit import audit
from journal.session import Session as Lines
from tests.adapters.places import is_kept, url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

KEY = "user-7"
set_tracing_disabled(True)


class Echo(Model):
    """A model that says how many items it was given."""

    async def get_response(self, *_: Any, **given: Any) -> ModelResponse:
        items = given["input"]
        count = 1 if isinstance(items, str) else len(items)
        text = ResponseOutputText(annotations=[], text=f"{count} items", type="output_text")
        message = ResponseOutputMessage(
            id=f"m{count}", content=[text], role="assistant", status="completed", type="message"
        )
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


def said(text: str) -> Any:
    return {"role": "user", "content": text}


def run(
    work: Callable[[JournalSession], Coroutine[Any, Any, Any]], *at: Any, **options: Any
) -> Any:
    session = JournalSession(KEY, *at, **options)
    try:
        return asyncio.run(work(session))
    finally:
        session.close()


def test_a_runner_remembers_from_turn_to_turn(db: Path) -> None:
    async def talk(session: JournalSession) -> list[str]:
        agent = Agent(name="echo", model=Echo())
        return [
            (await Runner.run(agent, text, session=session)).final_output for text in ("one", "two")
        ]

    assert run(talk, db) == ["1 items", "3 items"]
    assert isinstance(JournalSession(KEY, db), Session)
    with Journal(db) as journal:
        entries = journal.session(KEY).read()
        assert [entry.json()["role"] for entry in entries] == ["user", "assistant"] * 2
        assert {(entry.writer, entry.role) for entry in entries} == {("openai-agents", "run")}
    assert audit(db).findings == ()


def test_limits_and_settings(db: Path) -> None:
    async def work(session: JournalSession) -> None:
        await session.add_items([said(str(n)) for n in range(5)])
        assert [item["content"] for item in await session.get_items()] == ["3", "4"]
        assert [item["content"] for item in await session.get_items(3)] == ["2", "3", "4"]
        assert await session.get_items(0) == []
        assert len(await session.get_items(-1)) == 5

    run(work, db, session_settings={"limit": 2})
    assert JournalSession("other", db).session_settings == SessionSettings()


def test_the_limit_is_of_items_not_of_lines_somebody_put_between(db: Path) -> None:
    with Journal(db) as journal:
        other = journal.session(KEY, writer="hand", role="operator")

        async def work(session: JournalSession) -> None:
            await session.add_items([said("1"), said("2")])
            other.extend([b"no json", b"none"])
            assert [item["content"] for item in await session.get_items(2)] == ["1", "2"]
            assert (await session.pop_item())["content"] == "2"  # type: ignore[index]

        run(work, journal)


def test_a_pop_takes_the_newest_and_the_journal_still_knows(db: Path) -> None:
    async def work(session: JournalSession) -> None:
        assert await session.pop_item() is None
        await session.add_items([said("1"), said("2")])
        assert await session.pop_item() == said("2")
        await session.add_items([said("3")])
        assert await session.get_items() == [said("1"), said("3")]

    run(work, db)
    with Journal(db) as journal:
        assert journal.session(KEY).head.seq > 3


def test_two_poppers_never_get_the_same(db: Path) -> None:
    async def work(session: JournalSession) -> list[Any]:
        await session.add_items([said(str(n)) for n in range(40)])
        second = JournalSession(KEY, db)
        try:
            popped = await asyncio.gather(*[each.pop_item() for each in (session, second) * 20])
            assert await session.get_items() == []
        finally:
            second.close()
        return popped

    popped = run(work, db)
    assert sorted(int(item["content"]) for item in popped) == list(range(40))


def test_what_is_cleared_is_gone_and_the_session_goes_on(db: Path) -> None:
    async def work(session: JournalSession) -> None:
        await session.clear_session()
        await session.add_items([said("a secret")])
        await session.clear_session()
        assert await session.get_items() == []
        await session.add_items([said("on")])
        assert await session.get_items() == [said("on")]

    run(work, db)
    assert not is_kept(b"a secret", db)


@pytest.mark.parametrize("text", ["\ud800 alone", "\u2028\x00", "ünïcödé", "x" * 9_000_000])
def test_any_text_comes_back(db: Path, text: str) -> None:
    async def work(session: JournalSession) -> None:
        await session.add_items([said(text), {"n": 2**63 + 1, "f": 9e-06}])
        assert await session.get_items() == [said(text), {"n": 2**63 + 1, "f": 9e-06}]
        await session.pop_item()
        assert await session.get_items(1) == [said(text)]
        assert await session.pop_item() == said(text)
        assert await session.get_items() == []

    run(work, db)


def test_all_or_nothing(db: Path) -> None:
    async def work(session: JournalSession) -> None:
        with pytest.raises(EntryError):
            await session.add_items([said("1"), {"n": object()}])
        assert await session.get_items() == []
        task = asyncio.create_task(session.add_items([said(str(n)) for n in range(500)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await session.get_items()) in (0, 500)

    run(work, db)


def test_threads_with_loops_of_their_own_share_a_session(db: Path) -> None:
    session = JournalSession(KEY, url_of(db))

    def add(name: str) -> None:
        asyncio.run(session.add_items([said(name)]))

    threads = [threading.Thread(target=add, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = asyncio.run(session.get_items())
    session.close()
    assert sorted(item["content"] for item in found) == [str(n) for n in range(8)]


def test_a_compaction_replaces_all_at_once(db: Path) -> None:
    async def work(session: JournalSession) -> None:
        await session.add_items([said(str(n)) for n in range(6)])
        snapshot = await session._get_compaction_snapshot(4)
        assert snapshot is not None
        assert (snapshot.items, snapshot.complete) == ([said(str(n)) for n in range(2, 6)], False)
        assert await snapshot.replace_suffix(1, [said("summary")])
        assert await session.get_items() == [*map(said, "012"), said("summary")]
        assert not await snapshot.replace_suffix(1, [said("stale")])
        assert await session._atomic_replace_items([said("all")])
        assert await session.get_items() == [said("all")]

    run(work, db)


_OTHER = """
import asyncio, sys
from journal.adapters.openai_agents import JournalSession
session = JournalSession(sys.argv[1], sys.argv[2])
asyncio.run(session.add_items([{"role": "user", "content": sys.argv[3]}]))
session.close()
"""


def other_process(db: Path, text: str) -> None:
    subprocess.run([sys.executable, "-c", _OTHER, KEY, str(db), text], check=True)


def test_a_strict_session_refuses_to_go_on_from_what_is_stale(db: Path) -> None:
    """And what it was to add is parked, whole; read again, it goes on."""

    async def work(session: JournalSession) -> None:
        await session.add_items([said("1")])
        await session.get_items()
        await session.add_items([said("2")])
        other_process(db, "between")
        with pytest.raises(SessionTakeover) as caught:
            await session.add_items([said("3")])
        assert caught.value.parked is not None
        with pytest.raises(SessionTakeover):
            await session.pop_item()
        assert len(await session.get_items()) == 3
        await session.add_items([said("4")])

    run(work, db, strict=True)


@pytest.mark.parametrize("left", [["1"], []], ids=["popped", "cleared"])
def test_a_strict_session_refuses_to_go_on_over_what_another_took_out(
    db: Path, left: list[str]
) -> None:
    """No line of anybody's tells of that; what was to be added is parked, and its own pops count for nothing."""
    with Journal(url_of(db)) as journal:
        other = journal.session(KEY, writer="other", role="run")

        async def work(session: JournalSession) -> None:
            await session.add_items([said("1"), said("2"), said("3")])
            await session.get_items()
            assert await session.pop_item() == said("3")
            await session.add_items([said("4")])
            assert await session.pop_item() == said("4")
            if left:
                other.cut(1, base=other.head.seq, reason="popped")
            else:
                other.forget(reason="cleared")
            with pytest.raises(RefusedError) as caught:
                await session.add_items([said("to 2")])
            assert caught.value.parked is not None
            with pytest.raises(RefusedError):
                await session.pop_item()
            assert [item["content"] for item in await session.get_items()] == left
            await session.add_items([said("5")])
            assert await session.pop_item() == said("5")

        run(work, journal, strict=True)


def test_a_rollback_at_that_moment_makes_its_own_pop_nobody_elses(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(url_of(db)) as journal:
        exists: Any = Lines.exists

        def roll_back() -> None:
            with journal.store.transaction() as cursor:
                journal.store.declare(cursor, "newcomer", "tool")
                raise ZeroDivisionError

        def and_rolled_back(self: Lines) -> bool:
            found = bool(exists.fget(self))
            with pytest.raises(ZeroDivisionError):
                roll_back()
            return found

        async def work(session: JournalSession) -> None:
            await session.add_items([said("1"), said("2")])
            await session.get_items()
            assert await session.pop_item() == said("2")
            monkeypatch.setattr(Lines, "exists", property(and_rolled_back))
            await session.add_items([said("3")])
            assert await session.get_items() == [said("1"), said("3")]

        run(work, journal, strict=True)


def test_what_was_redacted_is_no_item(db: Path) -> None:
    """A model would refuse it, and the conversation with it; a limit and a pop go past it."""
    with Journal(url_of(db)) as journal:
        operator = journal.session(KEY, writer="eve", role="operator")

        async def work(session: JournalSession) -> None:
            await session.add_items([said("1"), said("2"), said("3")])
            operator.redact([2], reason="pasted")
            assert await session.get_items() == [said("1"), said("3")]
            assert await session.get_items(2) == [said("1"), said("3")]
            operator.redact([3], reason="pasted")
            assert await session.pop_item() == said("1")
            assert await session.pop_item() is None

        run(work, journal)


def test_another_process_is_accepted_by_default_and_on_record(db: Path) -> None:
    async def work(session: JournalSession) -> None:
        await session.add_items([said("1")])
        await session.get_items()
        other_process(db, "between")
        await session.add_items([said("2")])
        assert [item["content"] for item in await session.get_items()] == ["1", "between", "2"]

    run(work, db)


def test_first_opens_by_several_processes_at_once(db: Path) -> None:
    command = [sys.executable, "-c", _OTHER, KEY, str(db)]
    running = [subprocess.Popen([*command, str(n)]) for n in range(4)]
    assert [process.wait() for process in running] == [0] * 4

    async def work(session: JournalSession) -> None:
        assert len(await session.get_items()) == 4

    run(work, db)


def test_one_journal_is_open_for_all_sessions_of_a_database(db: Path) -> None:
    one, two = JournalSession("a", db), JournalSession("b", str(db))
    assert one._use.journal is two._use.journal
    one.close()
    asyncio.run(two.add_items([said("1")]))
    two.close()
    two.close()
    with pytest.raises(StorageError):
        asyncio.run(two.get_items())


def test_a_session_in_memory_leaves_nothing(tmp_path: Path) -> None:
    async def work(session: JournalSession) -> None:
        await session.add_items([said("1")])
        assert await session.get_items() == [said("1")]

    run(work, ":memory:")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "at, options",
    [
        (("mysql://x/y",), {}),
        (("sqlite:///",), {}),
        (("sqlite+aiosqlite:///a.db?timeout=9",), {}),
        (("/no/such/place/a.db",), {}),
    ],
)
def test_bad_input_is_ours_or_the_sdks(at: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(JournalError):
        JournalSession(KEY, *at, **options)


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE mine(x)")
    theirs.commit()
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(JournalError):
        JournalSession(KEY, path)
    assert path.read_bytes() == before

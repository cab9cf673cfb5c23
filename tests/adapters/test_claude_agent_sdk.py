"""``JournalSessionStore``: the SDK's own suite under both loops, what it does not ask, and other processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from claude_agent_sdk import fold_session_summary
from claude_agent_sdk.testing import run_session_store_conformance

from journal import EntryError, Journal, JournalError, RefusedError, StorageError
from journal.adapters.claude_agent_sdk import JournalSessionStore
from journal.audit import audit
from journal.who import who
from tests.adapters.places import is_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

MAIN: Any = {"project_key": "-home-ada-gate", "session_id": "s1"}
SUB: Any = {**MAIN, "subpath": "subagents/agent-1"}
NAME = "claude:-home-ada-gate:s1"


def said(text: str, **more: Any) -> Any:
    return {"type": "user", "message": {"role": "user", "content": text}, **more}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "claude.db"


@pytest.fixture
def store(db: Path) -> Iterator[JournalSessionStore]:
    store = JournalSessionStore(db)
    yield store
    store.close()
    assert audit(db).findings == ()


def run(call: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
    return anyio.run(call, *arguments)


# -- the SDK's own suite -------------------------------------------------------------------


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_sdks_own_suite_passes_with_every_optional_method(tmp_path: Path, loop: str) -> None:
    stores: list[JournalSessionStore] = []

    def fresh() -> JournalSessionStore:
        stores.append(JournalSessionStore.from_url(f"sqlite:///{tmp_path}/{len(stores)}.db"))
        return stores[-1]

    anyio.run(run_session_store_conformance, fresh, backend=loop)
    for number, store in enumerate(stores):
        store.close()
        assert audit(tmp_path / f"{number}.db").findings == ()
    assert len(stores) == 15  # fourteen contracts, and the look at what is there


# -- idempotency ---------------------------------------------------------------------------


def test_an_entry_is_kept_once_by_its_uuid(store: JournalSessionStore) -> None:
    """A batch is tried again after a failure whose outcome nobody knows."""
    batch = [said("1", uuid="a"), {"type": "tag"}, said("2", uuid="b")]
    run(store.append, MAIN, batch)
    run(store.append, MAIN, [*batch, said("3", uuid="c"), said("again", uuid="a")])
    assert run(store.load, MAIN) == [*batch, {"type": "tag"}, said("3", uuid="c")]


def test_a_uuid_twice_in_one_call_is_kept_once(store: JournalSessionStore) -> None:
    run(store.append, MAIN, [said("1", uuid="a"), said("2", uuid="a"), said("3", uuid="b")])
    run(store.append, SUB, [said("1", uuid="a")])  # another transcript is another matter
    assert run(store.load, MAIN) == [said("1", uuid="a"), said("3", uuid="b")]
    assert run(store.load, SUB) == [said("1", uuid="a")]


def test_a_transcript_that_was_deleted_may_be_written_again(store: JournalSessionStore) -> None:
    run(store.append, MAIN, [said("1", uuid="a")])
    run(store.delete, MAIN)
    run(store.append, MAIN, [said("1", uuid="a"), said("2", uuid="b")])
    assert run(store.load, MAIN) == [said("1", uuid="a"), said("2", uuid="b")]


def test_what_was_redacted_does_not_come_back_when_a_batch_is_tried_again(
    store: JournalSessionStore, db: Path
) -> None:
    run(store.append, MAIN, [said("a secret", uuid="a")])
    with Journal(db) as journal:
        journal.session(NAME, writer="eve", role="operator").redact([1], reason="pasted")
    run(store.append, MAIN, [said("a secret", uuid="a")])
    assert run(store.load, MAIN) == [{"redacted": True}]
    store.close()
    assert not is_kept(b"a secret", db)


@pytest.mark.parametrize("uuid", [7, None, "", "x" * 9000, "a\nb", "\ud800", ["a"]])
def test_a_uuid_that_is_none_is_no_reason_to_lose_an_entry(
    store: JournalSessionStore, uuid: Any
) -> None:
    run(store.append, MAIN, [said("1", uuid=uuid), said("2", uuid=uuid)])
    assert run(store.load, MAIN) == [said("1", uuid=uuid), said("2", uuid=uuid)]


# -- what entries and keys may hold ------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["\ud800 alone", "\u2028\x00\x1b[2J", 2**63 + 1, -(2**80), 1e300, 0.1 + 0.2, {}, [[]], None],
)
def test_any_json_comes_back(store: JournalSessionStore, value: Any) -> None:
    run(store.append, MAIN, [{"type": "x", "value": value}])
    assert run(store.load, MAIN) == [{"type": "x", "value": value}]


@pytest.mark.parametrize("size", [1_200_000, 9_000_000])
def test_an_entry_of_any_size_comes_back(store: JournalSessionStore, size: int) -> None:
    entry = said("x" * size, uuid="a")
    run(store.append, MAIN, [entry, entry, said("2", uuid="b")])
    assert run(store.load, MAIN) == [entry, said("2", uuid="b")]


@pytest.mark.parametrize("part", ["project_key", "session_id", "subpath"])
def test_no_key_is_taken_for_another(store: JournalSessionStore, part: str) -> None:
    """Neither what SQL's LIKE knows, nor what we write ourselves between the parts."""
    odd = [
        "a",
        "A",
        "a_",
        "ab",
        "a%",
        "%",
        "a:b",
        "a%3A;b",
        "..",
        "a/../b",
        "a/b",
        "ä",
        "\ud800",
        "\n",
    ]
    for name in odd:
        run(store.append, {**SUB, part: name}, [said(name)])
    for name in odd:
        assert run(store.load, {**SUB, part: name}) == [said(name)]
    if part == "subpath":
        assert sorted(run(store.list_subkeys, MAIN)) == sorted(odd)
    run(store.delete, {**SUB, part: "a_"})
    assert run(store.load, {**SUB, part: "ab"}) == [said("ab")]


def test_a_project_is_listed_by_its_own_name_alone(store: JournalSessionStore) -> None:
    for project in ("p", "p:q", "p%", "pp"):
        run(store.append, {"project_key": project, "session_id": project}, [said("1")])
    for project in ("p", "p:q", "p%", "pp"):
        assert [each["session_id"] for each in run(store.list_sessions, project)] == [project]


# -- summaries -----------------------------------------------------------------------------


def test_a_summary_is_the_fold_of_all_entries_whatever_was_saved_between(
    store: JournalSessionStore, db: Path
) -> None:
    entries = [
        said(str(n), timestamp=f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z", gitBranch=f"b{n}")
        for n in range(300)
    ]
    for at in range(0, 300, 30):
        run(store.append, MAIN, entries[at : at + 30])
        (found,) = run(store.list_session_summaries, MAIN["project_key"])
        assert found["data"] == fold_session_summary(None, MAIN, entries[: at + 30])["data"]
    with Journal(db) as journal:
        assert 1 < len(journal.session("claude-summary:-home-ada-gate:s1").read()) < 6


def test_a_summary_forgets_what_was_redacted(store: JournalSessionStore, db: Path) -> None:
    run(store.append, MAIN, [said("a secret"), *(said(str(n)) for n in range(80))])
    (found,) = run(store.list_session_summaries, MAIN["project_key"])
    assert found["data"]["first_prompt"] == "a secret"
    with Journal(db) as journal:
        journal.session(NAME, writer="eve", role="operator").redact([1], reason="pasted")
    (found,) = run(store.list_session_summaries, MAIN["project_key"])
    assert found["data"]["first_prompt"] == "0"
    store.close()
    assert not is_kept(b"a secret", db)


# -- who wrote -----------------------------------------------------------------------------


def test_the_journal_knows_who_wrote(store: JournalSessionStore, db: Path) -> None:
    run(store.append, MAIN, [said("1")])
    run(store.append, SUB, [said("2")])
    with Journal(db) as journal:
        (main,) = journal.session(NAME).read()
        (sub,) = journal.session(f"{NAME}:subagents/agent-1").read()
        assert (main.writer, main.role, main.run_id) == ("claude-agent-sdk", "run", "s1")
        assert (sub.writer, sub.role) == ("claude-agent-sdk/subagent", "subagent")
        assert [each.entry.writer for each in who(journal, NAME)] == ["claude-agent-sdk"]


# -- strict --------------------------------------------------------------------------------


def test_a_strict_store_refuses_what_goes_out_from_a_stale_transcript(db: Path) -> None:
    """And all of it is parked, with why; loaded again, it goes on."""
    strict, other = JournalSessionStore(db, strict=True), JournalSessionStore(db)
    run(strict.append, MAIN, [said("1", uuid="a")])
    run(strict.append, MAIN, [said("2", uuid="b")])
    run(other.append, MAIN, [said("between", uuid="c")])
    with pytest.raises(RefusedError) as caught:
        run(strict.append, MAIN, [said("3", uuid="d"), said("4", uuid="e"), said("1", uuid="a")])
    with Journal(db) as journal:
        (parked,) = journal.session(NAME).parked()
    assert parked.id == caught.value.parked
    assert len(parked.lines) == 2
    assert len(run(strict.load, MAIN)) == 3
    run(strict.append, MAIN, [said("3", uuid="d")])
    strict.close()
    other.close()


def test_a_strict_store_that_tries_a_batch_again_is_not_stale(db: Path) -> None:
    strict, other = JournalSessionStore(db, strict=True), JournalSessionStore(db)
    run(strict.append, MAIN, [said("1", uuid="a")])
    run(strict.append, MAIN, [said("2", uuid="b")])
    run(strict.append, MAIN, [said("1", uuid="a")])
    run(strict.append, MAIN, [said("3", uuid="c")])
    run(other.append, MAIN, [said("between"), said("4", uuid="d")])
    run(
        strict.append, MAIN, [said("4", uuid="d")]
    )  # it is there; what stands before it is not known
    with pytest.raises(RefusedError):
        run(strict.append, MAIN, [said("5", uuid="e")])
    strict.close()
    other.close()


def test_a_strict_store_takes_two_tasks_for_itself(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a session is renamed while its transcript is mirrored."""
    store = JournalSessionStore(db, strict=True)
    run(store.append, MAIN, [said("1", uuid="a")])
    both, session_of = threading.Barrier(2), store._session

    def at_once(key: Any) -> Any:
        session = session_of(key)
        both.wait(20)
        return session

    async def append_twice() -> None:
        async with anyio.create_task_group() as tasks:
            for name in "bc":
                tasks.start_soon(store.append, MAIN, [said(name, uuid=name)])

    with monkeypatch.context() as patch:
        patch.setattr(store, "_session", at_once)
        anyio.run(append_twice)
    assert {each["uuid"] for each in run(store.load, MAIN)} == {*"abc"}
    store.close()


def test_a_line_of_others_spoils_no_summary(store: JournalSessionStore, db: Path) -> None:
    run(store.append, MAIN, [said("first")])
    with Journal(db) as journal:
        journal.session(NAME, writer="hand", role="operator").extend([b"[1]", b"42", b"no json"])
    (found,) = run(store.list_session_summaries, MAIN["project_key"])
    assert found["data"]["first_prompt"] == "first"


def test_another_writer_is_accepted_by_default(store: JournalSessionStore, db: Path) -> None:
    run(store.load, MAIN)
    other = JournalSessionStore(db, writer="other")
    run(other.append, MAIN, [said("1")])
    other.close()
    run(store.append, MAIN, [said("2")])
    assert run(store.load, MAIN) == [said("1"), said("2")]


# -- many ------------------------------------------------------------------------------------


def _mirror(db: str, name: str, go: Any) -> None:
    store = JournalSessionStore(db)
    go.wait()
    for n in range(20):
        entries = [said(f"{name}-{n}", uuid=f"{name}-{n}"), said("shared", uuid=f"shared-{n}")]
        anyio.run(store.append, MAIN, entries)
    store.close()


def test_two_processes_keep_each_entry_once_in_their_own_order(db: Path) -> None:
    fresh = multiprocessing.get_context("spawn")
    go = fresh.Barrier(2)
    running = [fresh.Process(target=_mirror, args=(str(db), name, go)) for name in "ab"]
    for each in running:
        each.start()
    for each in running:
        each.join()
    assert [each.exitcode for each in running] == [0, 0]
    store = JournalSessionStore(db)
    uuids = [entry["uuid"] for entry in run(store.load, MAIN)]
    store.close()
    assert len(uuids) == len(set(uuids)) == 60
    for name in ("a", "b", "shared"):
        mine = [uuid for uuid in uuids if uuid.startswith(f"{name}-")]
        assert mine == [f"{name}-{n}" for n in range(20)]
    assert audit(db).findings == ()


def test_tasks_share_a_store(store: JournalSessionStore) -> None:
    async def all_at_once() -> None:
        async with anyio.create_task_group() as tasks:
            for n in range(40):
                tasks.start_soon(store.append, {**MAIN, "session_id": f"s{n % 4}"}, [said(str(n))])

    anyio.run(all_at_once, backend="trio")
    found = [run(store.load, {**MAIN, "session_id": f"s{n}"}) for n in range(4)]
    assert [len(each) for each in found] == [10] * 4


def test_a_cancelled_append_is_there_whole_or_not_at_all(store: JournalSessionStore) -> None:
    async def work() -> None:
        task = asyncio.create_task(store.append(MAIN, [said(str(n)) for n in range(300)]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await store.load(MAIN) or []) in (0, 300)

    asyncio.run(work())


# -- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", [None, "s1", {}, {"project_key": "p"}, {"project_key": 1, "session_id": "s"}]
)
def test_a_key_that_is_none_is_an_error_of_ours(store: JournalSessionStore, key: Any) -> None:
    for call in (store.load, store.delete, store.list_subkeys):
        with pytest.raises(EntryError):
            run(call, key)
    with pytest.raises(EntryError):
        run(store.append, key, [said("1")])


def test_nothing_is_kept_of_a_batch_with_an_entry_that_is_no_json(
    store: JournalSessionStore,
) -> None:
    with pytest.raises(EntryError):
        run(store.append, MAIN, [said("1"), {"type": "x", "value": object()}])
    assert run(store.load, MAIN) is None


def test_a_store_used_after_close_says_so(db: Path) -> None:
    store = JournalSessionStore(db)
    store.close()
    with pytest.raises(StorageError):
        run(store.load, MAIN)


@pytest.mark.parametrize(
    "url, options",
    [
        ("mysql://x/y", {}),
        ("/no/such/place/a.db", {}),
        ("a.db", {"role": "king"}),
        ("a.db", {"writer": ""}),
        ("a.db", {"writer": "external:x"}),
    ],
)
def test_a_store_that_cannot_be_is_an_error_of_ours(
    tmp_path: Path, url: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JournalError):
        JournalSessionStore(url, **options)


def test_an_sdk_that_is_not_there_is_named_with_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['claude_agent_sdk'] = None\n"
        "import journal.adapters.claude_agent_sdk"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert "session-journal[claude]" in found.stderr

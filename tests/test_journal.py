"""The journal: opened by many at once, listed, and told who may write."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from journal import ClaimedError, EntryError, Journal, KeyMissing, NotFoundError, NotTrusted
from tests.thieves import KEY, Thief, findings

LINE = {"n": 1}

OPEN = """
    import sys
    from journal import Journal
    print("ready", flush=True)
    sys.stdin.readline()
    with Journal(sys.argv[1]) as journal:
        session = journal.session("s", writer="w" + sys.argv[2], role="tool")
        print(journal.id, session.append({"by": sys.argv[2]}).seq, flush=True)
"""


@pytest.mark.parametrize("has_key", [False, True], ids=["without a key", "with a key"])
def test_eight_processes_open_a_new_journal_at_once(tmp_path, key_file, has_key):
    """One creates it: one id, one genesis, one key, every first line written."""
    if has_key:
        Journal(tmp_path / "other.db").close()
    path = tmp_path / "new.db"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(OPEN), str(path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for number in range(8)
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"  # type: ignore[union-attr]
    for process in running:
        process.stdin.write("\n")  # type: ignore[union-attr]
    answers = [process.communicate() for process in running]

    assert [
        (process.returncode, errors) for process, (_, errors) in zip(running, answers, strict=True)
    ] == [(0, "")] * 8
    told = [out.split() for out, _ in answers]
    assert len({journal_id for journal_id, _ in told}) == 1
    assert sorted(int(seq) for _, seq in told) == list(range(1, 9))
    thief = Thief(path)
    genesis = "SELECT count(*) FROM entries WHERE session_id = 1 AND line_type = 'journal'"
    assert thief.ask(genesis) == 1
    assert thief.count("writers") == 9
    thief.close()
    assert [name.name for name in key_file.parent.iterdir()] == [key_file.name]
    assert findings(path) == []


def test_a_journal_has_an_id_of_its_own_for_ever(tmp_path):
    with Journal(tmp_path / "a.db") as first, Journal(tmp_path / "b.db") as second:
        assert first.id != second.id
        assert len(first.id) == 32
        assert int(first.id, 16) >= 0
    with Journal(tmp_path / "a.db") as again:
        assert again.id == first.id


def test_a_context_manager_closes(journal_path):
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="w", role="tool").append(LINE)

    assert [path.name for path in journal_path.parent.glob("agent.db*")] == ["agent.db"]


@pytest.mark.parametrize("name", ["agent.db", "a b.db", "a#c%d.db", "日誌.db", "no-suffix"])
def test_a_path_or_a_url_names_the_file(tmp_path, name):
    path = tmp_path / name
    with Journal(str(path)) as journal:
        journal.session(KEY, writer="w", role="tool").append(LINE)
        assert journal.path == path
    with Journal(f"sqlite:///{path}", create=False) as journal:
        assert len(journal.session(KEY).read()) == 1


@pytest.mark.parametrize("name", [None, 5, b"agent.db", ["agent.db"]])
def test_what_is_no_path_makes_no_journal(tmp_path, monkeypatch, name):
    """``Journal(os.environ.get("NOT_SET"))`` would make one called None, and a key for it."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EntryError, match="named by a path or a URL") as caught:
        Journal(name)

    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [":memory:", "sqlite:///:memory:"])
def test_sqlites_name_for_memory_makes_no_file_called_so(tmp_path, monkeypatch, name):
    """Whoever writes it believes that nothing stays, and a file with a key of its own would."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EntryError, match="never in memory"):
        Journal(name)

    assert list(tmp_path.iterdir()) == []


def test_what_has_a_path_names_its_journal(journal_path, tmp_path):
    """And not what Python shows of it, which a file can be called as well."""
    Journal(journal_path).close()
    (found,) = [each for each in os.scandir(tmp_path) if each.name == journal_path.name]
    with Journal(found, create=False) as journal:
        assert journal.path == journal_path


def test_a_files_url_takes_no_options(tmp_path, monkeypatch):
    """They would be part of the name of another file than the one that is meant."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EntryError, match="takes no options: mode=rw") as caught:
        Journal("sqlite:///agent.db?mode=rw")

    assert caught.value.hint == "sqlite:///agent.db"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri", ["file:agent.db", "file:agent.db?mode=rw", "sqlite:///file:agent.db"]
)
def test_sqlites_own_uris_make_no_file_called_so(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(EntryError) as caught:
        Journal(uri)

    assert (caught.value.code, caught.value.hint) == ("url", "agent.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("busy_timeout", [-1, float("nan"), float("inf"), "30", None])
def test_a_time_out_is_a_number_of_seconds(journal_path, busy_timeout):
    """Else the first write that had to wait would end with somebody else's error."""
    with pytest.raises(EntryError) as caught:
        Journal(journal_path, busy_timeout=busy_timeout)
    assert caught.value.code == "busy-timeout"
    assert not journal_path.exists()


def test_a_relative_path_is_where_one_stood_when_opening(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Journal("agent.db") as journal:
        monkeypatch.chdir("/")
        journal.session(KEY, writer="w", role="tool").append(LINE)
        assert journal.path == tmp_path / "agent.db"
    assert (tmp_path / "agent.db").exists()


def test_without_create_none_is_made(journal_path, key_file):
    with pytest.raises(NotFoundError) as caught:
        Journal(journal_path, create=False)

    assert caught.value.code == "no-journal"
    assert caught.value.hint == "journal init"
    assert not journal_path.exists()
    assert not key_file.exists()


# --- keys


def test_one_key_file_serves_many_journals(tmp_path, key_file):
    """And each has a key of its own: a row of one is a stray in the other."""
    paths = [tmp_path / "a.db", tmp_path / "b.db"]
    keys = []
    for path in paths:
        with Journal(path) as journal:
            journal.session(KEY, writer="w", role="tool").append(LINE)
            keys.append(journal.store.keys.key)

    assert keys[0] != keys[1]
    assert len(key_file.read_text()) == 65


def test_a_key_of_its_own_in_the_users_data_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("JOURNAL_KEY_FILE")
    with Journal(tmp_path / "a.db") as journal:
        journal.session(KEY, writer="w", role="tool").append(LINE)

    (own,) = (tmp_path / "data").rglob("*.key")
    assert own.stem == journal.id
    with Journal(tmp_path / "a.db") as again:
        assert len(again.session(KEY).read()) == 1


def test_a_key_file_that_is_named_comes_first(tmp_path, key_file):
    named = tmp_path / "named" / "key"
    with Journal(tmp_path / "a.db", key_file=named):
        pass

    assert named.exists()
    assert not key_file.exists()
    with pytest.raises(KeyMissing):
        Journal(tmp_path / "a.db")


# --- lists


def test_sessions_are_listed_by_key_with_what_they_hold(journal, clock):
    for key in ("b", "a"):
        session = journal.session(key, writer="w", role="tool")
        session.append(LINE)
        session.extend([LINE, LINE])

    a, b = journal.sessions()

    assert (a.key, b.key) == ("a", "b")
    assert (a.entries, a.epochs, a.bytes, a.created_us) == (3, 2, 24, clock.now_us)


def test_writers_are_listed_without_the_journals_own(journal):
    journal.declare("alice", "operator")
    journal.declare("bot", "run")
    journal.revoke("bot", "left")

    alice, bot = journal.writers()

    assert (alice.name, alice.role, alice.revoked_us) == ("alice", "operator", None)
    assert (bot.name, bot.reason) == ("bot", "left")
    assert bot.revoked_us is not None


def test_declaring_twice_changes_nothing(journal, thief):
    first = journal.declare("alice", "operator")
    rows = thief.count("entries")

    assert journal.declare("alice", "operator") == first
    assert thief.count("entries") == rows
    with pytest.raises(NotTrusted):
        journal.declare("alice", "run")


def test_revoking_is_for_good_and_takes_nothing_back(journal, open_journal):
    """What it wrote stays its own and trusted; the name cannot be declared again."""
    session = journal.session(KEY, writer="bot", role="run")
    session.append(LINE)
    journal.revoke("bot", "left")

    assert [(entry.writer, entry.trust) for entry in open_journal().session(KEY).read()] == [
        ("bot", "asserted")
    ]
    for attempt in (
        lambda: journal.declare("bot", "run"),
        lambda: journal.session(KEY, writer="bot", role="run"),
        lambda: journal.revoke("bot", "again"),
        lambda: session.append(LINE),
    ):
        with pytest.raises(NotTrusted) as caught:
            attempt()
        assert caught.value.code == "revoked"
    with pytest.raises(NotTrusted):
        journal.revoke("nobody", "x")


# --- batches


def test_a_batch_is_one_transaction_of_many_writes(journal, thief):
    """Each its own epoch in its own session; receipts are filled once it is durable."""
    a = journal.session("a", writer="w", role="tool")
    b = journal.session("b", writer="v", role="tool")
    with journal.batch() as batch:
        first = batch.append(a, {"n": 1})
        second = batch.extend(b, [{"n": 2}, {"n": 3}], request_id="r")
        third = batch.append(a, {"n": 4})
        assert first.entries == []
        assert journal.sessions() == []

    assert [(entry.seq, entry.epoch) for entry in first.entries + third.entries] == [(1, 1), (2, 2)]
    assert [(entry.seq, entry.epoch) for entry in second.entries] == [(1, 1), (2, 1)]
    assert [entry.json() for entry in b.read()] == [{"n": 2}, {"n": 3}]


def test_a_batch_that_fails_writes_nothing(journal):
    a = journal.session("a", writer="w", role="tool")

    with pytest.raises(ZeroDivisionError):
        failing_batch(journal, a)

    assert journal.sessions() == []


def failing_batch(journal, session) -> None:
    with journal.batch() as batch:
        batch.append(session, LINE)
        raise ZeroDivisionError


def test_a_batch_with_one_refused_write_writes_none_and_parks_that_one(journal):
    a = journal.session("a", writer="w", role="tool")
    b = journal.session("b", writer="run", role="run")
    journal.session("b", writer="other", role="run").claim()

    with pytest.raises(ClaimedError, match="held") as caught:
        refused_batch(journal, a, b)

    assert caught.value.parked == b.parked()[0].id
    assert a.read() == b.read() == []
    assert a.parked() == []


def refused_batch(journal, a, b) -> None:
    with journal.batch() as batch:
        batch.append(a, {"n": 1})
        batch.append(b, {"n": 2})


def test_a_batch_with_a_request_done_before(journal):
    a = journal.session("a", writer="w", role="tool")
    first = a.append(LINE, request_id="r")
    with journal.batch() as batch:
        again = batch.append(a, LINE, request_id="r")
        new = batch.append(a, {"n": 2})

    assert [entry.seq for entry in again.entries] == [first.seq]
    assert [entry.seq for entry in new.entries] == [2]


def test_a_batch_with_a_request_done_before_the_turn_was_superseded(journal):
    """What was written is written: it is answered with its entries, and nothing is parked."""
    session = journal.session("s", writer="w", role="run")
    turn = session.claim()
    first = turn.append({"n": 1}, request_id="r")
    session.claim(supersede="a new message")

    with journal.batch() as batch:
        receipt = batch.append(turn, {"n": 1}, request_id="r")

    assert [entry.seq for entry in receipt.entries] == [first.seq]
    assert session.parked() == []


def test_an_empty_batch_does_nothing(journal, thief):
    before = thief.dump()
    with journal.batch() as batch:
        batch.extend(journal.session("a", writer="w", role="tool"), [])

    assert thief.dump() == before


def test_a_bad_line_is_refused_as_it_is_added(journal):
    with pytest.raises(EntryError):
        bad_batch(journal)

    assert journal.sessions() == []


def bad_batch(journal) -> None:
    with journal.batch() as batch:
        batch.append(journal.session("a", writer="w", role="tool"), b"")


def test_importing_the_library_reads_and_writes_nothing(tmp_path):
    """No file, no environment, nothing heavy: a program may import it and never open a journal."""
    script = """
        import sys
        import journal
        assert "sqlalchemy" not in sys.modules
        assert "alembic" not in sys.modules
        import os
        print(os.listdir())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if not key.startswith("JOURNAL_")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"

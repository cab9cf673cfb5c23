"""One bad file never stops the rest: it is set aside, with a reason."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from journal import Journal
from journal.errors import EntryError
from journal.lines import LINE_LIMIT
from journal.migration import apply, plan
from journal.migration.source import Source
from tests.migration.conftest import session_file, states
from tests.systems import LINUX

posix = pytest.mark.skipif(sys.platform == "win32", reason="no such files on Windows")


@pytest.fixture(autouse=True)
def good(store):
    return session_file(store / "good.jsonl", {"n": 1}, session_id="good")


@posix
@pytest.mark.parametrize("named", [False, True], ids=["found", "named"])
@pytest.mark.parametrize(
    "make, code",
    [
        (lambda path, good: path.symlink_to(good), "symlink"),
        (lambda path, _: path.symlink_to(path), "symlink"),
        (lambda path, _: path.symlink_to(path.parent), "symlink"),
        (lambda path, _: path.symlink_to("nowhere"), "symlink"),
        (lambda path, _: os.mkfifo(path), "not-a-file"),
    ],
    ids=["symlink", "symlink to itself", "loop of directories", "dangling symlink", "fifo"],
)
def test_what_is_no_regular_file_is_never_opened(make, code, named, store, good, migrate):
    """Nothing hangs, nothing is followed, and the good file is migrated."""
    odd = store / "odd.jsonl"
    make(odd, good)

    result = migrate(odd, good) if named else migrate(store)

    assert states(result) == {"good.jsonl": "migrated", "odd.jsonl": code}


@posix
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/tty"])
def test_a_device_is_set_aside(path, good, migrate):
    assert states(migrate(good, path)) == {
        "good.jsonl": "migrated",
        Path(path).name: "not-a-file",
    }


@posix
def test_a_symlink_to_a_directory_is_not_followed(store, good, migrate):
    elsewhere = store.parent / "elsewhere"
    session_file(elsewhere / "other.jsonl", session_id="other")
    (store / "link").symlink_to(elsewhere)

    assert states(migrate(store)) == {"good.jsonl": "migrated", "link": "symlink"}


@posix
def test_a_fifo_put_in_a_files_place_does_not_hang(store, good, journal):
    """Between the plan and its doing anything may happen."""
    swapped = session_file(store / "swapped.jsonl", session_id="swapped")
    made = plan([store])
    swapped.unlink()
    os.mkfifo(swapped)

    assert states(apply(journal, made)) == {"good.jsonl": "migrated", "swapped.jsonl": "not-a-file"}


def test_a_file_that_went_away_is_set_aside(store, good, journal):
    gone = session_file(store / "gone.jsonl", session_id="gone")
    made = plan([store])
    gone.unlink()

    assert states(apply(journal, made)) == {"good.jsonl": "migrated", "gone.jsonl": "gone"}


def test_no_such_path(good, migrate, tmp_path):
    assert states(migrate(good, tmp_path / "nowhere")) == {
        "good.jsonl": "migrated",
        "nowhere": "gone",
    }


@pytest.fixture
def refuse(monkeypatch):
    """Make the system refuse to open or list what has this name; root may open anything else."""

    def refuse_it(module, function, name):
        true = getattr(module, function)

        def refusing(path, *rest):
            if Path(path).name == name:
                raise PermissionError(13, "Permission denied", path)
            return true(path, *rest)

        monkeypatch.setattr(module, function, refusing)

    return refuse_it


def test_a_file_that_may_not_be_read(store, good, migrate, refuse):
    session_file(store / "secret.jsonl")
    refuse(os, "open", "secret.jsonl")

    result = migrate(store)

    assert states(result) == {"good.jsonl": "migrated", "secret.jsonl": "unreadable"}
    assert "Permission denied" in result.set_aside[0].reason


def test_a_directory_that_may_not_be_listed(store, good, migrate, refuse):
    session_file(store / "closed" / "a.jsonl")
    refuse(os, "scandir", "closed")

    assert states(migrate(store)) == {"good.jsonl": "migrated", "closed": "unreadable"}


def test_the_longest_line_is_kept(store, migrate, exported):
    path = session_file(store / "long.jsonl", b"x" * LINE_LIMIT + b"\n", session_id="long")

    migrate(store)

    assert exported("long") == path.read_bytes()


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("agents/main/agent/openclaw-agent.sqlite", b"SQLite format 3\0", "SQLite"),
        ("chats/session-2026-11-22.json", b"{\n}", "Gemini"),
        ("opencode/storage/session/a.json", b"{}", "OpenCode"),
        ("rollout-x.jsonl.gz", b"\x1f\x8b", "compressed"),
    ],
)
def test_what_is_recognised_and_not_supported_is_named_so(
    name, content, words, store, good, migrate
):
    path = store / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    result = migrate(store)

    assert states(result) == {"good.jsonl": "migrated", path.name: "unsupported"}
    assert words in result.set_aside[0].reason


@pytest.mark.parametrize(
    "content, words",
    [(b"SQLite format 3\0", "SQLite"), (b"hello", "--format plain"), (b"", "--format plain")],
)
def test_a_named_file_of_no_format(content, words, store, migrate):
    path = store / "notes.txt"
    path.write_bytes(content)

    result = migrate(path)

    assert states(result) == {"notes.txt": "unsupported"}
    assert words in result.set_aside[0].reason


def test_what_is_of_no_interest_is_counted(store, good):
    (store / "README.md").write_text("hello")
    (store / "x.jsonl.lock").write_text("{}")
    (store / "x.trajectory.jsonl").write_text("{}\n")

    made = plan([store])

    assert made.classes == {"primary": 1, "ignored": 1, "lock": 1, "diagnostic": 1}
    assert made.set_aside == ()
    assert made.as_json()["classes"] == made.classes


def test_what_is_named_is_wanted(store, migrate, exported):
    """A diagnosis is no session; who names the file means it."""
    path = store / "x.trajectory.jsonl"
    path.write_bytes(b"{}\n")

    (found,) = migrate(path).files

    assert exported(found.key) == b"{}\n"


def test_any_file_of_lines_by_force(store, migrate, exported):
    path = store / "notes.txt"
    path.write_bytes(b"one\ntwo")

    (found,) = migrate(path, format="plain").files

    assert exported(found.key) == b"one\ntwo"


def test_no_such_format(store):
    with pytest.raises(EntryError, match="'word' is no format") as caught:
        plan([store], format="word")

    assert caught.value.hint == "one of: openclaw, codex, claude, pi, plain"


@posix
def test_a_live_database_is_never_opened(store, journal_path, monkeypatch):
    """To open and close one, under whatever name, drops SQLite's locks in this process."""
    database = store / "agent.jsonl"
    with Journal(database) as journal:
        opened: list[str] = []
        true = os.open

        def noted(path, *rest):
            opened.append(str(path))
            return true(path, *rest)

        monkeypatch.setattr(os, "open", noted)
        made = plan([store, database, f"{database}-wal"], avoid=[database])
        result = apply(journal, made)

    assert states(result)["agent.jsonl"] == "live-database"
    assert not [path for path in opened if "agent.jsonl" in path]


def test_a_file_that_changes_while_it_is_read_is_read_again(store, journal, exported, monkeypatch):
    """Its program finishes a torn line, then tears another, each time that we come to the end."""
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 2)
    path, true = session_file(store / "a.jsonl", b'{"torn'), Source.chunks
    made = plan([path])
    more = iter([b'": 1}\n{"torn', b'": 2}\n', b'{"torn'])

    def chunks(self):
        yield from true(self)
        with path.open("ab") as file:
            file.write(next(more, b""))

    monkeypatch.setattr(Source, "chunks", chunks)

    (found,) = apply(journal, made).files

    assert path.read_bytes().endswith(b'{"torn": 1}\n{"torn": 2}\n{"torn')
    assert exported("s-1") == path.read_bytes()
    assert (found.what, found.lines, found.new_entries) == ("migrated", 4, 4)
    assert found.new_bytes == found.bytes == len(path.read_bytes())


def test_a_file_that_never_rests_is_set_aside(store, good, journal, monkeypatch):
    path, true = session_file(store / "a.jsonl", {"n": 1}), Source.read
    made = plan([store])

    def read(self, size=1 << 20):
        data = true(self, size)
        if not data and self.path == str(path):
            os.utime(path, ns=(1, path.stat().st_mtime_ns + 1))
        return data

    monkeypatch.setattr(Source, "read", read)

    assert states(apply(journal, made)) == {"good.jsonl": "migrated", "a.jsonl": "changing"}
    assert [each.key for each in journal.sessions()] == ["good"]


@LINUX
def test_a_device_that_fails_in_the_middle(store, good, journal, monkeypatch):
    path, true = session_file(store / "a.jsonl", {"n": 1}), os.read
    made = plan([store])

    def read(fd, size):
        if os.path.realpath(f"/proc/self/fd/{fd}") == str(path):
            raise OSError(5, "Input/output error")
        return true(fd, size)

    monkeypatch.setattr(os, "read", read)

    assert states(apply(journal, made)) == {"good.jsonl": "migrated", "a.jsonl": "unreadable"}


def test_the_answers_are_json_able(store, good, migrate):
    """Names that are no text, too."""
    if sys.platform == "linux":
        (store / os.fsdecode(b"\xff.jsonl")).write_bytes(b"{}\n")
    session_file(store / "dup.jsonl", {"n": 1}, session_id="good")
    (store / "odd.jsonl.zst").write_bytes(b"")

    documents = plan([store]).as_json(), migrate(store).as_json()

    assert json.loads(json.dumps(documents, allow_nan=False).encode()) == [*documents]

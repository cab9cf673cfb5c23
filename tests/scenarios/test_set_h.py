"""Set H: migration and mirror, by number.

| played here | played elsewhere | left out, and why |
|---|---|---|
| 2 3 4 6 7 11 14 15 16 18 20 21 23 24 26 28 29 | 1 8 9 in test_names, 10 in test_names, 12 in test_rerun, 17 in test_kill | |
| | 19: no lease is held; each chunk is a transaction of its own (test_kill) | |
| | 25: nothing prunes; the audit alone says what a journal needs (tests/audit) | |
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from journal import Journal, StorageError
from journal.audit import audit
from journal.cli import cli
from journal.export import export
from journal.migration import apply, plan, room
from tests.migration.conftest import session_file, states

if TYPE_CHECKING:
    from journal.migration import Result

KEY = "s-1"
LINES: list[Any] = [{"type": "message", "id": f"m{n}", "n": n} for n in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


def migrated(journal: Journal, *paths: Path) -> Result:
    return apply(journal, plan(paths))


def bytes_of(journal: Journal, key: str = KEY) -> bytes:
    return b"".join(export(journal, key))


def kinds_of(journal: Journal, key: str = KEY) -> list[str]:
    return [entry.kind for entry in journal.session(key).read()]


@pytest.mark.scenario("H2")
def test_a_torn_last_line_is_kept_as_it_is(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", *LINES, b'{"torn')
    (found,) = migrated(journal, path).files
    assert (found.lines, found.raw_lines) == (8, 1)
    assert bytes_of(journal) == path.read_bytes()
    last = journal.session(KEY).read()[-1]
    assert (last.kind, last.data, last.seq) == ("raw", b'{"torn', last.seq)


@pytest.mark.scenario("H3")
def test_a_torn_line_in_the_middle_costs_no_other(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", *LINES[:3], b'{"torn\n', *LINES[3:])
    migrated(journal, path)
    assert kinds_of(journal) == ["line"] * 4 + ["raw"] + ["line"] * 3
    assert bytes_of(journal) == path.read_bytes()


@pytest.mark.scenario("H4")
def test_a_repeated_line_stays_repeated(journal: Journal, store: Path) -> None:
    """Bytes are the truth here: each line is an entry, equal ones too, and the way back is exact."""
    path = session_file(store / "a.jsonl", LINES[0], LINES[0], LINES[1])
    (found,) = migrated(journal, path).files
    assert found.new_entries == found.lines == 4
    assert bytes_of(journal) == path.read_bytes()
    assert migrated(journal, path).new_entries == 0


@pytest.mark.scenario("H6")
@pytest.mark.scenario("H7")
def test_lines_of_no_known_kind_are_kept_as_they_are(journal: Journal, store: Path) -> None:
    odd = [
        {"type": "message", "id": "x1"},
        {"type": "message", "id": "x2", "parentId": "nobody"},
        {"type": "message", "id": "x3", "message": {"provider": "codex", "role": "assistant"}},
        {"type": "of-tomorrow", "id": "x4"},
        b"42\n",
        b"null\n",
    ]
    path = session_file(store / "a.jsonl", *odd)
    migrated(journal, path)
    assert kinds_of(journal) == ["line"] * 7
    assert bytes_of(journal) == path.read_bytes()


@pytest.mark.scenario("H11")
def test_the_table_of_names_is_closed(journal: Journal, store: Path) -> None:
    home = store / "agents" / "main" / "sessions"
    number = "496214a3-21ed-4c48-8a4a-a2b4a6de3ef2"
    other = number.replace("4", "5")
    wanted = {
        f"{number}.jsonl": "migrated",
        f"{number}.jsonl.deleted.2026-11-22T11-32-54.822Z": "migrated",
        f"{number}.jsonl.reset.2026-11-22T11-32-54.823Z": "migrated",
        f"{number}.checkpoint.8ec0149b-f56a-449f-9d1d-2485f6988261.jsonl": "migrated",
        f"{other}-topic-7.jsonl": "migrated",
        f"2026-11-22T11-30-22-038Z_{other}.jsonl": "migrated",
        f"archive-tier.{number}.jsonl.imported-1790000000": "migrated",
        f"{number}.jsonl.bak-77-1790000000": "migrated",
    }
    passed_over = [
        f"{number}.trajectory.jsonl",
        f"{number}.trajectory-path.json",
        "probe-x.jsonl",
        f"{number}.jsonl.lock",
        "notes.txt",
    ]
    for n, name in enumerate([*wanted, *passed_over]):
        session_file(home / name, {"n": n}, session_id=other if other in name else number)
    result = migrated(journal, store)
    assert states(result) == wanted
    assert len({each.key for each in result.files}) == len(wanted)
    live = next(each for each in result.files if each.path.endswith(f"/{number}.jsonl"))
    assert live.key == number


@pytest.mark.scenario("H15")
def test_book_keeping_grows_with_the_files_and_no_faster(journal: Journal, store: Path) -> None:
    def steps(count: int) -> int:
        place = store / str(count)
        for n in range(count):
            session_file(place / f"{n}.jsonl", session_id=f"{count}-{n}")
        found = plan([place])
        trace: list[str] = []
        connection: Any = journal.store.cursor.connection  # type: ignore[attr-defined]
        connection.set_trace_callback(trace.append)
        assert len(apply(journal, found).files) == count
        connection.set_trace_callback(None)
        return len(trace)

    few, many = steps(20), steps(80)
    assert many < 4.5 * few


@pytest.mark.scenario("H16")
def test_too_little_disk_is_refused_before_anything_is_written(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = session_file(store / "a.jsonl", *LINES)
    usage = shutil.disk_usage(store)._replace(free=100)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(
            StorageError, match=r"about \d+ bytes are needed and 100 are free"
        ) as caught:
            migrated(journal, path)
        assert caught.value.code == "too-little-disk"
        assert list(journal.sessions()) == []
        assert not room(plan([path]), journal.path).is_enough
    migrated(journal, path)
    with monkeypatch.context() as full:  # what is there already needs no more
        full.setattr(shutil, "disk_usage", lambda _: usage)
        assert migrated(journal, path).counts == {"already": 1}


@pytest.mark.scenario("H18")
def test_whoever_holds_the_journal_is_named(tmp_path: Path, store: Path) -> None:
    session_file(store / "a.jsonl", *LINES)
    holding = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "agent.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    assert holding.stdout is not None
    assert holding.stdout.readline()
    try:
        with (
            Journal(tmp_path / "agent.db", busy_timeout=0.2) as journal,
            pytest.raises(StorageError, match=rf"process {holding.pid}\b"),
        ):
            migrated(journal, store)
    finally:
        holding.communicate(b"\n")


_HOLD = """
import sys
from journal import Journal
with Journal(sys.argv[1]) as journal:
    with journal.store.transaction():
        print("held", flush=True)
        sys.stdin.readline()
"""


@pytest.mark.scenario("H14")
@pytest.mark.scenario("H21")
def test_a_file_larger_than_the_memory_it_may_have_comes_in(tmp_path: Path, store: Path) -> None:
    """320 MB in 500 MB of address space, of which a third is the interpreter's libraries."""
    path = store / "great.jsonl"
    block = b'{"type":"message","text":"%s"}\n' % (b"x" * 100_000)
    with path.open("wb") as out:
        out.write(b'{"type":"session","version":3,"id":"great"}\n')
        for _ in range(1200):
            out.write(block)
        out.write(b'{"text":"' + b"y" * 100_000_000 + b'"}\n')
        for _ in range(1000):
            out.write(block)
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (256 << 20,) * 2);"
        "from journal import Journal; from journal.migration import apply, plan;"
        "print(apply(Journal(sys.argv[1]), plan([sys.argv[2]])).counts)"
    )
    db = tmp_path / "agent.db"
    done = subprocess.run(
        [sys.executable, "-c", script, str(db), str(path)], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert "{'migrated': 1}" in done.stdout, done.stderr
    with Journal(db) as journal, path.open("rb") as file:
        for chunk in export(journal, "great"):
            assert file.read(len(chunk)) == chunk
        assert file.read(1) == b""


@pytest.mark.scenario("H20")
def test_an_absent_part_is_a_note_and_the_rest_is_done(store: Path, tmp_path: Path) -> None:
    session_file(store / "a.jsonl", *LINES)
    (store / "b.jsonl.zst").write_bytes(b"")
    script = (
        "import sys; sys.modules['zstandard'] = None; sys.path_importer_cache.clear();"
        "import importlib.util as u; real = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'zstandard' else real(name, *a);"
        "from journal.cli import main; sys.argv[0] = 'journal'; main()"
    )
    command = [
        sys.executable,
        "-c",
        script,
        "--db",
        str(tmp_path / "x.db"),
        "migrate",
        str(store),
        "--apply",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "1 migrated" in done.stderr
    assert "pip install 'session-journal[zstd]'" in done.stderr


@pytest.mark.scenario("H23")
def test_everything_can_be_taken_out_again_with_what_was_written_since(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = store / "agents" / "main" / "sessions"
    path = session_file(home / "s-1.jsonl", *LINES)
    index = {"agent:main:main": {"sessionId": "s-1", "sessionFile": str(path)}}
    (home / "sessions.json").write_text(json.dumps(index))
    run = CliRunner()
    monkeypatch.chdir(tmp_path)
    db = ["--db", "agent.db"]
    assert run.invoke(cli, [*db, "migrate", str(store / "agents"), "--apply"]).exit_code == 0
    added = run.invoke(cli, [*db, "append", "s-1", '{"since":1}', "-w", "gateway", "--role", "run"])
    assert added.exit_code == 0, added.stderr
    assert run.invoke(cli, [*db, "export", "--all", "out"]).exit_code == 0
    back = tmp_path / "out" / "main" / "sessions"
    assert (back / "s-1.jsonl").read_bytes() == path.read_bytes() + b'{"since":1}\n'
    assert json.loads((back / "sessions.json").read_text())["agent:main:main"]["sessionId"] == "s-1"


@pytest.mark.scenario("H24")
def test_a_reader_of_the_files_end_sees_each_line_once(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", *LINES)
    apply(journal, plan([path]), mirror=True)
    inode = path.stat().st_ino
    with path.open("rb") as reader:
        assert json.loads(reader.readline())["type"] == "session"
        reader.seek(0, os.SEEK_END)
        session = journal.session(KEY, writer="gateway", role="run")
        for n in range(5):
            session.append({"new": n})
            assert reader.read() == b'{"new":%d}\n' % n
    assert path.stat().st_ino == inode


@pytest.mark.scenario("H26")
def test_a_healthy_journal_is_called_so(journal: Journal, store: Path, tmp_path: Path) -> None:
    migrated(journal, session_file(store / "a.jsonl", *LINES))
    report = audit(str(tmp_path / "agent.db"))
    assert (report.exit_code, report.findings) == (0, ())


@pytest.mark.scenario("H28")
def test_what_a_plan_says_to_do_does_it(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_file(store / "a file.jsonl", *LINES)
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    said = run.invoke(cli, ["--db", "my.db", "migrate", str(store)], prog_name="journal").stderr
    told = re.search(r"Try: (journal .*)", said)
    assert told
    done = run.invoke(cli, shlex.split(told[1])[1:], prog_name="journal")
    assert done.exit_code == 0
    assert "1 migrated" in done.stderr


@pytest.mark.scenario("H29")
def test_the_counts_are_those_of_the_physical_lines(journal: Journal, store: Path) -> None:
    paths = [
        session_file(store / f"{n}.jsonl", *LINES[:n], b"{bad\n" * n, b"tail", session_id=f"s{n}")
        for n in range(4)
    ]
    for each in migrated(journal, store).files:
        data = Path(each.path).read_bytes()
        assert each.lines == data.count(b"\n") + (not data.endswith(b"\n"))
        kinds = kinds_of(journal, each.key)
        assert each.raw_lines == kinds.count("raw")
        assert len(kinds) == each.lines == each.new_entries
    assert len(paths) == 4

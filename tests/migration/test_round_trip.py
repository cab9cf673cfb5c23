"""Rule 10: every byte of a migrated file is in the journal, and export gives it back."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import Journal
from journal.export import export
from journal.migration import apply, plan, resolve_key
from journal.parts import split
from tests.migration.conftest import FIXTURES, session_file, sha256, states

FILES = [
    path
    for path in sorted(FIXTURES.rglob("*"))
    if path.is_file() and ".jsonl" in path.name and not path.name.endswith(".lock")
]


def name_of(path: Path) -> str:
    return str(path.relative_to(FIXTURES))


def test_the_fixtures_are_there():
    assert len(FILES) == 30


def test_a_directory_of_real_files_comes_back_byte_for_byte(journal, exported):
    """All at once: one session for each file, though sixteen share one header."""
    made = plan([FIXTURES])
    result = apply(journal, made)

    assert result.set_aside == ()
    assert {Path(each.path) for each in result.files} == set(FILES)
    for each in result.files:
        assert exported(each.key) == Path(each.path).read_bytes()
    assert len({each.key for each in result.files}) == len(FILES)
    assert [each.key for each in result.files] == [each.key for each in made.files]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_real_file_comes_back_byte_for_byte(path, migrate, exported, journal):
    """File by file: every line an entry, counted against the file and its digest."""
    data = path.read_bytes()
    (found,) = migrate(path).files

    assert exported(found.key) == data
    assert (found.bytes, found.sha256) == (len(data), sha256(data))
    assert found.lines == found.new_entries == len(list(split([data])))
    kinds = [entry.kind for entry in journal.session(found.key).read()]
    assert (kinds.count("line"), kinds.count("raw")) == (
        found.lines - found.raw_lines,
        found.raw_lines,
    )
    assert resolve_key(journal, path.name) == found.key


def test_file_by_file_into_one_journal(migrate, exported, journal):
    """The order of runs changes keys, never bytes, and a whole run after it adds nothing."""
    files = FILES[:]
    random.Random(7).shuffle(files)  # noqa: S311 - an order, no secret
    for path in files:
        migrate(path)

    again = migrate(FIXTURES)

    assert again.counts == {"already": len(FILES)}
    assert again.new_entries == 0
    for each in again.files:
        assert exported(each.key) == Path(each.path).read_bytes()


def test_originals_are_only_read(migrate, tmp_path):
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in FILES
    }

    migrate(FIXTURES)

    assert {
        path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in FILES
    } == before


def test_a_plan_changes_nothing(store, tmp_path):
    """It counts what is there, and needs no journal."""
    session_file(store / "a.jsonl", {"type": "message"}, b"\xff\n", b"{torn")
    before = sorted(tmp_path.iterdir())

    made = plan([store])

    (found,) = made.files
    assert (found.lines, found.raw_lines, made.lines, made.raw_lines) == (4, 2, 4, 2)
    assert (found.key, found.format, found.file_class) == ("s-1", "pi", "primary")
    assert found.sha256 == sha256((store / "a.jsonl").read_bytes())
    assert (made.sessions, made.classes) == (1, {"primary": 1})
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_file_is_a_session_without_entries(store, migrate, exported, journal):
    (store / "empty.jsonl").write_bytes(b"")

    (found,) = migrate(store).files

    assert (found.what, found.key, found.new_entries) == ("migrated", "empty", 0)
    assert exported("empty") == b""
    assert [each.key for each in journal.sessions()] == ["empty"]
    assert states(migrate(store)) == {"empty.jsonl": "already"}


def test_entries_name_their_writer_and_origin(store, migrate, journal):
    session_file(store / "a.jsonl", {"type": "message", "id": "m1", "parentId": "s-1"})
    migrate(store)

    entries = journal.session("s-1").read()

    assert {(each.writer, each.role, each.origin, each.trust) for each in entries} == {
        ("migrate", "migration", "file", "asserted")
    }


def test_many_chunks_are_many_writes(store, migrate, exported, journal, monkeypatch):
    """A chunk is committed by itself, as its own write, and the next one links to it."""
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 10)
    path = session_file(store / "a.jsonl", *({"n": n} for n in range(99)))

    migrate(path)

    entries = journal.session("s-1").read()
    assert [each.epoch for each in entries] == [n // 10 + 1 for n in range(100)]
    assert exported("s-1") == path.read_bytes()


def test_a_session_goes_on_behind_its_file(store, migrate, exported, journal):
    """What is written since comes after the file's bytes; a torn tail is ended first."""
    path = session_file(store / "a.jsonl", b'{"torn')
    migrate(path)

    journal.session("s-1", writer="gateway", role="run").append({"type": "message"})

    assert exported("s-1") == path.read_bytes() + b'\n{"type":"message"}\n'


def test_progress_adds_up_to_the_bytes(store, journal, monkeypatch):
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 3)
    session_file(store / "a.jsonl", *({"n": n} for n in range(10)))
    session_file(store / "b.jsonl", {"n": 1}, session_id="s-2")
    made = plan([store])
    told: list[tuple[str, int]] = []

    apply(journal, made, progress=lambda path, size: told.append((path, size)))
    first = sum(size for _, size in told)
    apply(journal, made, progress=lambda path, size: told.append((path, size)))

    assert first == made.bytes
    assert sum(size for _, size in told) == 2 * made.bytes


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Give one journal and directory for all examples: to make a journal takes longer than a run."""
    directory = tmp_path_factory.mktemp("shared")
    with Journal(directory / "agent.db", key_file=directory / "journal.key") as journal:
        yield journal, directory, itertools.count()


pieces = st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b"\r",
        b"{",
        b'{"type":"message"}',
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"42",
        b" ",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.one_of(st.binary(max_size=30), pieces), max_size=40), chunk=st.integers(1, 7)
)
def test_any_bytes_come_back(shared, parts, chunk):
    """Whatever is in a file, whatever the size of a transaction; and again there is nothing to do."""
    journal, directory, numbers = shared
    data, path = b"".join(parts), directory / f"any-{next(numbers)}.jsonl"
    path.write_bytes(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("journal.migration.chunks.CHUNK_LINES", chunk)
        (found,) = apply(journal, plan([path])).files

    assert b"".join(export(journal, found.key)) == data
    assert found.lines == found.new_entries == len(list(split([data])))
    assert apply(journal, plan([path])).counts == {"already": 1}


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(st.one_of(st.binary(max_size=30), pieces), max_size=30), at=st.integers(0, 900)
)
def test_a_file_that_grows_comes_back_or_is_set_aside(shared, parts, at):
    """Cut anywhere, then whole: the rest is appended, unless a torn line went on; nothing is lost."""
    journal, directory, numbers = shared
    data, path = b"".join(parts), directory / f"grows-{next(numbers)}.jsonl"
    path.write_bytes(data[:at])
    (first,) = apply(journal, plan([path])).files
    path.write_bytes(data)

    result = apply(journal, plan([path]))

    held = b"".join(export(journal, first.key))
    if result.set_aside:
        assert [each.code for each in result.set_aside] == ["changed"]
        assert held == data[:at]
        assert not data[:at].endswith(b"\n")
        assert data[at : at + 1] != b"\n"
    else:
        assert [each.key for each in result.files] == [first.key]
        assert held == data
        (again,) = apply(journal, plan([path])).files
        assert (again.what, again.lines) == ("already", len(list(split([data]))))

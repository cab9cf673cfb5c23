"""The way back: the tree of files that was migrated comes back, every byte of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from journal import StorageError
from journal.migration import apply, plan
from journal.rebuilding import rebuild

if TYPE_CHECKING:
    from journal import Journal

FIXTURES = Path(__file__).parent / "fixtures"


def migrate(journal: Journal, *paths: Path) -> None:
    apply(journal, plan([str(path) for path in paths]))


def tree(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in ("journal-export.json", "sessions.json")
    }


def test_every_fixture_comes_back_under_its_name(journal: Journal, tmp_path: Path) -> None:
    migrate(journal, FIXTURES)
    rebuild(journal, tmp_path / "rebuilt")
    found, wanted = tree(tmp_path / "rebuilt"), tree(FIXTURES)
    assert found
    assert found == {name: wanted[name] for name in found}
    missing = {Path(name).suffix for name in wanted.keys() - found.keys()}
    assert ".jsonl" not in missing


def test_what_was_written_since_is_in_it_and_modes_are_kept(
    journal: Journal, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    file = source / "a.jsonl"
    file.write_bytes(b'{"n":1}\n')
    file.chmod(0o640)
    migrate(journal, source)
    (session,) = journal.sessions()
    journal.session(session.key, writer="gateway", role="run").append({"n": 2})
    (written,) = rebuild(journal, tmp_path / "rebuilt")
    assert written.file == "a.jsonl"
    assert (tmp_path / "rebuilt" / "a.jsonl").read_bytes() == b'{"n":1}\n{"n":2}\n'
    assert (tmp_path / "rebuilt" / "a.jsonl").stat().st_mode & 0o777 == 0o640


def test_a_session_that_was_never_a_file_has_a_safe_name(journal: Journal, tmp_path: Path) -> None:
    for key in ("agent:main:main", "a/b", "x" * 500, "agent:main:MAIN", "con.jsonl/é"):
        journal.session(key, writer="gateway", role="run").append({"key": key})
    written = rebuild(journal, tmp_path / "rebuilt")
    assert len({each.file.lower() for each in written}) == 5
    assert {Path(each.file).parent for each in written} == {Path("sessions")}
    for each in written:
        line = json.loads((tmp_path / "rebuilt" / each.file).read_bytes())
        assert line == {"key": each.session}


def test_openclaws_index_is_made_anew(journal: Journal, tmp_path: Path) -> None:
    (store,) = FIXTURES.glob("openclaw-*")
    migrate(journal, store)
    rebuild(journal, tmp_path / "rebuilt")
    (index,) = (tmp_path / "rebuilt").rglob("sessions.json")
    (original,) = store.rglob("sessions.json")
    made, known = json.loads(index.read_text()), json.loads(original.read_text())
    assert made
    assert {key: each["sessionId"] for key, each in made.items()} == {
        key: known[key]["sessionId"] for key in made
    }


def test_files_of_one_name_do_not_meet(journal: Journal, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text(f'{{"in":"{name}"}}\n')
        migrate(journal, tmp_path / name / "a.jsonl")
    rebuild(journal, tmp_path / "rebuilt")
    found = {file.read_text() for file in (tmp_path / "rebuilt").glob("*.jsonl")}
    assert found == {'{"in":"one"}\n', '{"in":"two"}\n'}


def test_a_directory_with_anything_in_it_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(StorageError) as caught:
        rebuild(journal, tmp_path / "full")
    assert caught.value.code == "directory-not-empty"
    assert [found.name for found in (tmp_path / "full").iterdir()] == ["mine"]

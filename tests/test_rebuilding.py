"""The way back: the tree of files that was migrated comes back, every byte of it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import EntryError, StorageError
from journal.audit import audit
from journal.migration import apply, plan
from journal.rebuilding import rebuild
from tests.systems import LINUX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal import Journal
    from tests.thieves import Thief

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


@pytest.mark.parametrize("verified", [True, False])
def test_the_list_of_files_says_whether_they_were_verified(
    journal: Journal, tmp_path: Path, *, verified: bool
) -> None:
    journal.session("s", writer="w", role="run").append({"n": 1})
    rebuild(journal, tmp_path / "all", verified=verified)
    assert (
        json.loads((tmp_path / "all" / "journal-export.json").read_bytes())["verified"] is verified
    )


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
    files = [each.name for each in original.parent.iterdir()]
    there = [key for key, each in known.items() if Path(each["sessionFile"]).name in files]
    assert sorted(made) == sorted(there)
    for key, each in made.items():
        assert {**each, "sessionFile": None} == {**known[key], "sessionFile": None}
        assert list(each) == list(known[key])
    for each in made.values():
        assert Path(each["sessionFile"]).parent == index.parent
        assert Path(each["sessionFile"]).exists()


def test_every_key_of_an_index_is_in_the_new_one(journal: Journal, tmp_path: Path) -> None:
    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    file = sessions / "11111111-1111-1111-1111-111111111111.jsonl"
    file.write_text(f'{{"type":"session","version":3,"id":"{file.stem}"}}\n')
    index = {key: {"sessionId": file.stem} for key in ("agent:main:main", "agent:main:too")}
    (sessions / "sessions.json").write_text(json.dumps(index))
    migrate(journal, tmp_path / "agents")
    rebuild(journal, tmp_path / "rebuilt")
    made = json.loads((tmp_path / "rebuilt" / "main" / "sessions" / "sessions.json").read_text())
    assert list(made) == list(index)


def test_an_index_is_whole_though_another_write_is_rolled_back_meanwhile(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a writer's first write all that is known of names goes, until somebody looks again."""
    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    file = sessions / "11111111-1111-1111-1111-111111111111.jsonl"
    file.write_text(f'{{"type":"session","version":3,"id":"{file.stem}"}}\n')
    (sessions / "sessions.json").write_text(json.dumps({"main": {"sessionId": file.stem}}))
    migrate(journal, tmp_path / "agents")
    own = journal.session("s", writer="w", role="run")
    own.append({"n": 1}, request_id="r")
    snapshot, under_way = journal.store.snapshot, list[bool]()

    @contextmanager
    def then_rolled_back() -> Iterator[Any]:
        with snapshot() as cursor:
            yield cursor
        if not under_way:
            under_way.append(True)
            batch = journal.batch()
            batch.append(journal.session("new", writer="newcomer", role="tool"), {})
            batch.append(own, {"n": 2}, request_id="r")
            with pytest.raises(EntryError), batch:
                pass
            under_way.clear()

    monkeypatch.setattr(journal.store, "snapshot", then_rolled_back)
    rebuild(journal, tmp_path / "rebuilt")
    made = json.loads((tmp_path / "rebuilt" / "main" / "sessions" / "sessions.json").read_text())
    assert list(made) == ["main"]


def test_an_index_that_says_something_else_is_kept_anew(
    journal: Journal, thief: Thief, tmp_path: Path
) -> None:
    """And what it says still is written once; a fact that nobody sealed says nothing."""
    sessions = tmp_path / "agents" / "main" / "sessions"
    sessions.mkdir(parents=True)
    file = sessions / "11111111-1111-1111-1111-111111111111.jsonl"
    file.write_text(f'{{"type":"session","version":3,"id":"{file.stem}"}}\n')
    entry: dict[str, object] = {"sessionId": file.stem, "label": "half \ud800 a character, é"}
    heads = []
    for tokens in (1, 2, 2):
        entry["totalTokens"] = tokens
        (sessions / "sessions.json").write_text(json.dumps({"agent:main:main": entry}))
        migrate(journal, tmp_path / "agents")
        heads.append(journal.session(file.stem, writer="migrate", role="migration").head.seq)
    assert heads == [2, 3, 3]
    assert not any("does not know" in each for each in audit(journal.path).not_checked)
    forged = b'{"control":"index","path":"%s","entries":{"agent:main:main":{"totalTokens":9}}}'
    thief.execute("UPDATE sessions SET head_seq = 4, head_epoch = 4 WHERE key = ?", file.stem)
    thief.execute(
        "INSERT INTO entries SELECT NULL, session_id, 4, 4, writer_id, instance_id, recorder_id, claim, kind, trusted,"
        " origin, NULL, NULL, NULL, created_us, cum_bytes, terminator, salt, commitment, key_id, prev, seal, line_type,"
        " NULL, NULL, ? FROM entries WHERE seq = 3 AND kind = 'control' AND session_id > 1",
        forged % str(file).encode(),
    )
    rebuild(journal, tmp_path / "rebuilt")
    made = json.loads((tmp_path / "rebuilt" / "main" / "sessions" / "sessions.json").read_text())
    new = str(tmp_path / "rebuilt" / "main" / "sessions" / file.name)
    assert made == {"agent:main:main": {**entry, "sessionFile": new}}


def test_files_of_one_name_do_not_meet(journal: Journal, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text(f'{{"in":"{name}"}}\n')
        migrate(journal, tmp_path / name / "a.jsonl")
    rebuild(journal, tmp_path / "rebuilt")
    assert tree(tmp_path / "rebuilt") == {
        "one/a.jsonl": b'{"in":"one"}\n',
        "two/a.jsonl": b'{"in":"two"}\n',
    }


def test_a_directory_named_from_where_one_stands_is_a_directory(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path, a trailing slash and ".": the layout comes back, whoever rebuilds where."""
    for place in ("fx/pi/a.jsonl", "fx/codex/2026/b.jsonl", "fx/c.jsonl"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(f'{{"at":"{place}"}}\n')
    monkeypatch.chdir(tmp_path)
    apply(journal, plan(["fx"]))
    apply(journal, plan(["fx/pi/", "./fx/codex"]))
    monkeypatch.chdir("/")
    rebuild(journal, tmp_path / "rebuilt")
    assert tree(tmp_path / "rebuilt") == tree(tmp_path / "fx")


def test_two_stores_stand_below_what_they_have_in_common(journal: Journal, tmp_path: Path) -> None:
    for name in ("one/sessions", "two/sessions"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.jsonl").write_text(f'{{"in":"{name}"}}\n')
        migrate(journal, tmp_path / name)
    written = rebuild(journal, tmp_path / "rebuilt")
    assert [each.file for each in written] == ["one/sessions/a.jsonl", "two/sessions/a.jsonl"]
    assert [each.instead_of for each in written] == [None, None]


@pytest.mark.parametrize("names", [("A", "a"), ("e\u0301", "\u00e9"), ("STRASSE", "stra\u00dfe")])
def test_a_place_that_is_taken_is_told(
    journal: Journal, tmp_path: Path, names: tuple[str, str]
) -> None:
    """Where files go to a system that takes the two for one, too."""
    one, other = (f"{name}.jsonl" for name in names)
    for name in (one, other):
        (tmp_path / "fx").mkdir(exist_ok=True)
        (tmp_path / "fx" / name).write_text(f'{{"in":"{name}"}}\n')
    migrate(journal, tmp_path / "fx")
    written = rebuild(journal, tmp_path / "rebuilt")
    assert {(each.file, each.instead_of) for each in written} == {
        (one, None),
        (f"2-{other}", other),
    }


def test_a_directory_with_anything_in_it_is_left_alone(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")
    with pytest.raises(StorageError) as caught:
        rebuild(journal, tmp_path / "full")
    assert caught.value.code == "directory-not-empty"
    assert [found.name for found in (tmp_path / "full").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "path", ["{}/src/../../pwned.jsonl", "{}/elsewhere/pwned.jsonl", "pwned.jsonl", "/a\0b"]
)
def test_a_place_that_nobody_sealed_is_not_written_to(
    journal: Journal, thief: Thief, tmp_path: Path, path: str
) -> None:
    """Whoever can write to the database, and has no key, leads no file anywhere."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.jsonl").write_text('{"n":1}\n')
    migrate(journal, tmp_path / "src")
    thief.execute("UPDATE migrated_files SET path = ?, mode = 511", path.format(tmp_path))
    written = rebuild(journal, tmp_path / "deep" / "er" / "rebuilt")
    assert [each.file for each in written] == ["sessions/a.jsonl"]
    assert not [*tmp_path.rglob("pwned*")]


def test_a_mode_by_which_all_may_write_or_run_it_is_not_kept(
    journal: Journal, thief: Thief, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.jsonl").write_text('{"n":1}\n')
    migrate(journal, tmp_path / "src")
    thief.execute("UPDATE migrated_files SET mode = 4095")
    rebuild(journal, tmp_path / "rebuilt")
    assert (tmp_path / "rebuilt" / "a.jsonl").stat().st_mode & 0o7777 == 0o644


def test_a_file_that_became_a_directory_has_a_place_beside_it(
    journal: Journal, tmp_path: Path
) -> None:
    for name in ("src/a.jsonl", "src/b.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'{{"in":"{name}"}}\n')
    migrate(journal, tmp_path / "src")
    (tmp_path / "src/a.jsonl").unlink()
    (tmp_path / "src/a.jsonl").mkdir()
    (tmp_path / "src/a.jsonl/c.jsonl").write_text('{"in":"c"}\n')
    migrate(journal, tmp_path / "src")
    written = rebuild(journal, tmp_path / "rebuilt")
    assert [each.file for each in written] == ["a.jsonl", "b.jsonl", "2-a.jsonl/c.jsonl"]
    assert (tmp_path / "rebuilt/2-a.jsonl/c.jsonl").read_text() == '{"in":"c"}\n'


def test_a_name_as_long_as_can_be_comes_back(journal: Journal, tmp_path: Path) -> None:
    name = f"{'n' * 249}.jsonl"
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / name).write_text('{"n":1}\n')
    migrate(journal, tmp_path / "src")
    rebuild(journal, tmp_path / "rebuilt")
    assert (tmp_path / "rebuilt" / name).read_text() == '{"n":1}\n'


@LINUX
@pytest.mark.parametrize("where", ["directory", "file"])
def test_a_name_that_is_too_long_once_it_is_text_is_shortened_and_told(
    journal: Journal, tmp_path: Path, where: str
) -> None:
    """Written out as text each byte that is none takes four."""
    odd = "\udce9" * 80  # as Python names such bytes
    path = tmp_path / "source" / (f"{odd}/a.jsonl" if where == "directory" else f"a/{odd}.jsonl")
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"n":1}\n')
    migrate(journal, tmp_path / "source")
    (done,) = rebuild(journal, tmp_path / "rebuilt")
    assert (tmp_path / "rebuilt" / done.file).read_bytes() == b'{"n":1}\n'
    assert done.file.endswith(".jsonl")
    assert done.instead_of is not None
    assert "\\xe9" * 80 in done.instead_of


@pytest.mark.parametrize(
    "source", ["'[1'", "CAST(x'ff' AS TEXT)", "replace(hex(zeroblob(30000)), '0', '[')"]
)
def test_a_record_of_what_was_migrated_that_makes_no_sense_stops_nothing(
    journal: Journal, thief: Thief, tmp_path: Path, source: str
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.jsonl").write_text('{"n":1}\n')
    migrate(journal, tmp_path / "src")
    thief.execute(f"UPDATE migrations SET source = {source}")
    assert [each.file for each in rebuild(journal, tmp_path / "rebuilt")] == ["a.jsonl"]

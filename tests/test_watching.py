"""Watching a program's directory: every line an entry as it happens, and nothing of the program touched."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, NotFoundError, StorageError, reconciling
from journal.audit import audit
from journal.foreign import Recorder
from journal.migration import apply, plan, runs
from journal.openend import tail_is_open
from journal.place import SIDE_FILES
from journal.places import places_of
from journal.sidefile import SideFile
from journal.watching import Seen, Watch
from tests.migration.conftest import session_file
from tests.systems import LINUX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from journal.mirror import Mirror
    from journal.mirrorfile import MirrorFile
    from journal.watching import Seen

PATIENCE_S = 60


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = tmp_path / "store"
    made.mkdir()
    return made


def caught_up(journal: Journal, store: Path, **options: str) -> list[tuple[str, str, int]]:
    watch = Watch(journal, [store], **options)
    return [(seen.what, seen.key, seen.entries) for seen in watch.catch_up()]


def append(path: Path, *lines: object) -> None:
    with path.open("ab") as file:
        file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return what writing to a file would change; that it was read may show."""
    found = path.stat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_files_are_adopted_in_place_and_what_came_since_is_foreign(
    journal: Journal, store: Path, journal_path: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    stamp = stamp_of(path)
    assert caught_up(journal, store) == [("adopted", "s-1", 2)]
    assert stamp_of(path) == stamp
    assert caught_up(journal, store) == []
    append(path, {"n": 2}, {"n": 3})
    assert caught_up(journal, store) == [("taken in", "s-1", 2)]
    entries = journal.session("s-1").read()
    assert [entry.trust for entry in entries] == ["asserted", "asserted", "external", "external"]
    assert {finding.id for finding in audit(journal_path).findings} == {"J110"}


def test_one_line_takes_few_statements(journal: Journal, store: Path) -> None:
    """Whoever follows thousands of files asks again and again for what it knows: that is no question each time."""
    path = session_file(store / "a.jsonl", {"n": 1})
    watch = Watch(journal, [store])
    list(watch.catch_up())
    asked: list[str] = []
    for n in range(3):
        append(path, {"n": n})
        asked.clear()
        journal.store.cursor.connection.set_trace_callback(asked.append)  # type: ignore[attr-defined]
        (seen,) = watch.take([str(path)])
        journal.store.cursor.connection.set_trace_callback(None)  # type: ignore[attr-defined]
        assert seen.entries == 1
    assert len(asked) <= 24
    assert sum(statement.startswith("SELECT") for statement in asked) == 1


@pytest.mark.parametrize("is_open", [True, False])
def test_a_line_that_was_only_appended_tells_how_the_file_ends(
    journal: Journal, store: Path, *, is_open: bool
) -> None:
    """What the journal itself appends then ends that line first, as if the file had been looked through."""
    path = session_file(store / "a.jsonl", {"n": 1})
    assert caught_up(journal, store) == [("adopted", "s-1", 2)]
    with path.open("ab") as file:
        file.write(b'{"n":2}\n{"n":3}' + (b"" if is_open else b"\n"))
    session = journal.session("s-1", writer="gateway", role="run")
    with session.fence(), journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, "s-1")
        assert chain is not None
        assert chain.open_tail is tail_is_open(cursor, chain) is is_open
    session.append({"n": 4})
    assert path.read_bytes().endswith(b'{"n":2}\n{"n":3}\n{"n":4}\n')


@LINUX
def test_lines_of_many_files_are_synced_at_once_and_before_anybody_is_told(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [session_file(store / f"{n}.jsonl", session_id=f"s-{n}") for n in range(3)]
    watch = Watch(journal, [store])
    list(watch.catch_up())
    for path in paths:
        append(path, {"n": 1})
    synced: list[int] = []
    monkeypatch.setattr("journal.durability.os.fdatasync", synced.append)
    monkeypatch.setattr("journal.durability.os.fsync", synced.append)
    told = watch.take(map(str, paths))
    assert next(told).what == "taken in"
    assert len(synced) == 1
    assert [seen.what for seen in told] == ["taken in"] * 2
    assert len(synced) == 1
    assert {each.id for each in audit(str(journal.path)).findings} == {
        "J110"
    }  # foreign, and nothing else


@LINUX
def test_what_a_writer_adds_while_the_file_is_looked_at_stands_behind_it(
    journal: Journal,
    store: Path,
    open_journal: Callable[[], Journal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A layout must say so then, and a layout says what the file has: it is synced first."""
    path = session_file(store / "a.jsonl")
    watch = Watch(journal, [store])
    list(watch.catch_up())
    other = open_journal()
    other.store.mirrors = None
    append(path, {"n": "theirs"})
    real, asked, synced = Recorder.take, list[bool](), list[int]()

    def meanwhile(self: Recorder, *rest: Any, is_lazy: bool = False) -> int | None:
        asked.append(is_lazy)
        if len(asked) == 1:
            other.session("s-1", writer="gateway", role="run").append({"n": "ours"})
            monkeypatch.setattr("journal.mirrorfile.os.fdatasync", synced.append)
            monkeypatch.setattr("journal.mirrorfile.os.fsync", synced.append)
        return real(self, *rest, is_lazy=is_lazy)

    monkeypatch.setattr(Recorder, "take", meanwhile)
    assert [seen.entries for seen in watch.take([str(path)])] == [1]
    entries = journal.session("s-1").read()
    assert [entry.json().get("n") for entry in entries] == [None, "theirs", "ours"]
    assert path.read_bytes().split(b"\n")[1:] == [b'{"n": "theirs"}', b'{"n":"ours"}', b""]
    assert (asked, bool(synced)) == ([True, False], True)


@pytest.mark.parametrize("is_rewritten", [False, True])
def test_what_comes_between_two_looks_is_told_with_what_the_first_one_found(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch, *, is_rewritten: bool
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    watch = Watch(journal, [store])
    list(watch.catch_up())
    append(path, {"n": 2})
    if is_rewritten:
        first, second, _ = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(first + b'{"n": 9}\n' + second)
    real, comes = Recorder.take, [{"n": 3}, {"n": 4}]

    def meanwhile(self: Recorder, *rest: Any, **how: Any) -> int | None:
        taken = real(self, *rest, **how)
        if comes:
            append(path, comes.pop())
        return taken

    monkeypatch.setattr(Recorder, "take", meanwhile)
    (seen,) = watch.take([str(path)])
    entries = journal.session("s-1").read()
    assert (seen.what, seen.entries) == ("taken in", 3)
    assert sum(entry.trust == "external" for entry in entries) == 3
    monkeypatch.undo()
    assert list(watch.take([str(path)])) == []


def test_a_file_that_never_rests_tells_what_was_taken_in(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    watch = Watch(journal, [store])
    list(watch.catch_up())
    append(path, {"n": 2})
    real = Recorder.take

    def meanwhile(self: Recorder, *rest: Any, **how: Any) -> int | None:
        append(path, {"n": 3})
        return real(self, *rest, **how)

    monkeypatch.setattr(Recorder, "take", meanwhile)
    (seen,) = watch.take([str(path)])
    assert seen.what == "set aside"
    assert seen.detail.endswith("faster than it can be compared; 8 lines became entries")


def test_a_directory_whose_name_begins_with_the_journals_is_watched(
    tmp_path: Path, key_file: Path
) -> None:
    with Journal(tmp_path / "agent", key_file=key_file) as journal:
        path = session_file(tmp_path / "agents" / "a.jsonl", {"n": 1})
        beside = session_file(tmp_path / "agent.jsonl", session_id="s-2")
        watch = Watch(journal, [tmp_path])
        assert [seen.key for seen in watch.catch_up()] == ["s-2", "s-1"]
        for each in (path, beside):
            append(each, {"n": 2})
        assert [(each.what, each.key) for each in watch.take([str(beside), str(path)])] == [
            ("taken in", "s-2"), ("taken in", "s-1"),
        ]  # fmt: skip


def test_no_file_of_the_journals_own_is_looked_at(
    tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each changes with each line that is taken in; whatever else a journal comes to have must be known."""
    (tmp_path / "link").symlink_to(tmp_path)
    with Journal(tmp_path / "link" / "own.jsonl", key_file=key_file) as journal:
        session_file(tmp_path / "deep" / "a.jsonl", {"n": 1})
        watch = Watch(journal, [tmp_path])
        list(watch.catch_up())
        session = journal.session("s-1", writer="gateway", role="run")
        session.append({"n": 2})
        own = [path for path in tmp_path.iterdir() if path.name.startswith("own.jsonl")]
        monkeypatch.setattr("journal.watching.plan", lambda *_, **__: 1 / 0)
        assert {path.name for path in own} >= {f"own.jsonl{end}" for end in SIDE_FILES}
        assert list(watch.take(map(str, own))) == []
        assert list(watch.take([f"{tmp_path}/own.jsonl-journal"])) == []


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_name_that_is_no_text_is_set_aside_and_the_others_go_on(
    journal: Journal, store: Path
) -> None:
    """A mirror is known by its path as text; nothing is taken from a file that cannot be followed."""
    odd = os.fsdecode(b"b\xff.jsonl")
    for name, key in (("a.jsonl", "s-1"), (odd, "s-2"), ("c.jsonl", "s-3")):
        session_file(store / name, {"n": 1}, session_id=key)
    watch = Watch(journal, [store])
    for _ in range(2):  # at each start
        told = {seen.path: seen for seen in watch.catch_up()}
        assert told[str(store / odd)].what == "set aside"
        assert told[str(store / odd)].detail == "its name is not UTF-8"
    assert [each.key for each in journal.sessions()] == ["s-1", "s-3"]
    append(store / "c.jsonl", {"n": 2})
    assert [seen.what for seen in watch.take([str(store / "c.jsonl")])] == ["taken in"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_file_that_moves_to_a_name_that_is_no_text_leaves_its_session_a_mirror(
    journal: Journal, store: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    moved = path.rename(store / os.fsdecode(b"\xff.jsonl"))
    assert sorted(what for what, _, _ in caught_up(journal, store)) == ["gone", "set aside"]
    moved.rename(path)
    append(path, {"n": 2})
    assert caught_up(journal, store) == [("taken in", "s-1", 1)]


def test_a_program_that_is_known_is_permitted(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store, permit="pi, ours")
    with journal.session("s-1", writer="gateway", role="run").fence() as fence:
        append(path, {"n": 2})
    assert [entry.trust for entry in fence.arrived] == ["permitted"]


def test_a_program_that_is_said_to_be_known_later_is_permitted_from_then_on(
    journal: Journal, store: Path, journal_path: Path
) -> None:
    """What became entries before stays foreign; what nobody has looked at yet is permitted."""
    paths = [
        session_file(store / f"{name}.jsonl", {"n": name}, session_id=f"s-{name}") for name in "ab"
    ]
    caught_up(journal, store)
    append(paths[0], {"n": 2})
    caught_up(journal, store)
    append(paths[0], {"n": 3})
    assert caught_up(journal, store, permit="pi, ours") == [("taken in", "s-a", 1)]
    sessions = [journal.session(key, writer="gateway", role="run") for key in ("s-a", "s-b")]
    with sessions[0].fence() as fence, sessions[1].fence() as other:
        for path in paths:
            append(path, {"n": 4})
    assert [entry.trust for entry in (*fence.arrived, *other.arrived)] == ["permitted"] * 2
    assert [entry.trust for entry in sessions[0].read()][2:] == ["external", *["permitted"] * 2]
    facts = journal.mirrors.facts()
    assert [journal.store.registry.writers[each.writer_id].name for each in facts] == [
        "external:mirror-1.2", "external:mirror-2.2",
    ]  # fmt: skip
    found = audit(journal_path)
    assert [(each.id, each.ranges) for each in found.findings] == [("J110", ((3, 3),))]


def test_lines_from_before_a_permission_are_named_with_their_place_as_well(
    journal: Journal, store: Path
) -> None:
    """They are by the mirror's first writer, and in its file like those of the second."""
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    append(path, {"n": 2})
    caught_up(journal, store)
    append(path, {"n": 3})
    caught_up(journal, store, permit="pi, ours")
    session = journal.session("s-1")
    entries = session.read()
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, "s-1")
        assert chain is not None
        found = places_of(cursor, journal.store, journal.store.fresh(chain), entries)
    assert [(place.file, place.line) for place in found.values()] == [
        (str(path), 3), (str(path), 4),
    ]  # fmt: skip


def test_who_permits_or_revokes_at_a_mirror_speaks_of_all_that_came_by_it(
    journal: Journal, store: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    for n, permit in ((2, {}), (3, {"permit": "pi, ours"})):
        append(path, {"n": n})
        caught_up(journal, store, **permit)
    for permitted, trust in ((True, "permitted"), (False, "external")):
        journal.mirrors.permit("s-1", permitted=permitted, reason="I looked")
        assert [entry.trust for entry in journal.session("s-1").read()][2:] == [trust] * 2


def test_that_a_program_is_known_is_recorded_once(
    journal: Journal, journal_path: Path, store: Path
) -> None:
    """Also beside another process, which writes down what comes as this one said."""
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    with Journal(journal_path) as other:
        watch = Watch(other, [store])
        assert list(watch.catch_up()) == []
        caught_up(journal, store, permit="pi, ours")
        head = journal.store.registry.chain.head.seq
        append(path, {"n": 2})
        assert [seen.entries for seen in watch.catch_up()] == [1]
    assert caught_up(journal, store, permit="pi, ours") == []
    assert journal.session("s-1").read()[-1].trust == "permitted"
    assert journal.store.registry.chain.head.seq == head


def test_a_permission_that_was_taken_back_is_not_given_by_a_watch_that_starts_again(
    journal: Journal, store: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store, permit="pi, ours")
    journal.mirrors.permit("s-1", permitted=False, reason="not any more")
    append(path, {"n": 2})
    assert caught_up(journal, store, permit="pi, ours") == [("taken in", "s-1", 1)]
    path.rename(store / "b.jsonl")
    assert [what for what, *_ in caught_up(journal, store, permit="pi, ours")][-1] == "moved"
    append(store / "b.jsonl", {"n": 4})
    caught_up(journal, store, permit="pi, ours")
    assert journal.session("s-1").read()[-1].trust == "external"


@pytest.mark.parametrize("options", [{}, {"permit": "pi, ours"}])
def test_a_program_that_is_known_is_so_where_its_file_moves_to(
    journal: Journal, store: Path, options: dict[str, str]
) -> None:
    """Whoever permitted it, for all that came or from then on: a watch without a reason of its own takes nothing back."""
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    if options:
        caught_up(journal, store, **options)
    else:
        journal.mirrors.permit("s-1", permitted=True, reason="pi, ours")
    moved = path.rename(store / "b.jsonl")
    append(moved, {"n": 2})
    assert caught_up(journal, store)[-1] == ("moved", "s-1", 1)
    append(moved, {"n": 3})
    caught_up(journal, store)
    trusts = [entry.trust for entry in journal.session("s-1").read()]
    assert trusts == ["asserted"] * 2 + ["permitted"] * 2


def test_a_mirror_that_is_to_refuse_edits_does_so_where_its_file_moves_to(
    journal: Journal, store: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    apply(journal, plan([path]))
    journal.mirrors.add("s-1", path, on_edit="refuse")
    path.rename(store / "b.jsonl")
    assert caught_up(journal, store)[-1] == ("moved", "s-1", 0)
    assert journal.mirrors.of("s-1").on_edit == "refuse"


def test_what_is_no_session_file_is_passed_over(journal: Journal, store: Path) -> None:
    (store / "notes.txt").write_text("hello")
    (store / "a.jsonl.lock").write_text("{}")
    assert caught_up(journal, store) == []
    assert journal.sessions() == []


def test_a_renamed_file_takes_its_session_along(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    (store / "deep").mkdir()
    moved = path.rename(store / "deep" / "b.jsonl")
    assert sorted(caught_up(journal, store)) == [("gone", "s-1", 0), ("moved", "s-1", 0)]
    append(moved, {"n": 2})
    assert caught_up(journal, store) == [("taken in", "s-1", 1)]
    journal.session("s-1", writer="gateway", role="run").append({"n": 3})
    assert moved.read_bytes().endswith(b'{"n":3}\n')


def test_a_file_that_grew_and_was_renamed_before_anybody_looked_takes_its_session_along(
    journal: Journal, store: Path
) -> None:
    """And what came to it is nobody's whom one trusts, as if it stood where it did."""
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    append(path, {"n": 2})
    moved = path.rename(store / "b.jsonl")
    append(moved, {"n": 3})
    before = moved.read_bytes()
    assert caught_up(journal, store) == [("gone", "s-1", 0), ("moved", "s-1", 2)]
    assert moved.read_bytes() == before
    assert [info.key for info in journal.sessions()] == ["s-1"]
    assert len(journal.session("s-1").read(trusted=False)) == 2
    assert caught_up(journal, store) == []


def test_a_file_that_moved_to_where_it_can_be_no_mirror_is_set_aside_and_nothing_is_taken(
    journal: Journal, store: Path, tmp_path: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    moved = path.rename(store / "b.jsonl")
    append(moved, {"n": 2})
    (tmp_path / "second-name").hardlink_to(moved)
    assert [what for what, *_ in caught_up(journal, store)] == ["gone", "set aside"]
    assert journal.mirrors.of("s-1").path == str(path)
    assert [info.key for info in journal.sessions()] == ["s-1"]
    assert len(journal.session("s-1").read()) == 2


@pytest.mark.parametrize("more", [[], [{"n": 3}]])
def test_a_renamed_file_takes_its_session_along_though_that_was_rewritten(
    journal: Journal, store: Path, more: list[object]
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    gateway = journal.session("s-1", writer="gateway", role="run")
    header, _ = gateway.read()
    gateway.rewrite([header, {"n": 2}], base=gateway.head.seq, reason="tidied")
    moved = path.rename(store / "b.jsonl")
    append(moved, *more)
    before = moved.read_bytes()
    assert caught_up(journal, store) == [("gone", "s-1", 0), ("moved", "s-1", len(more))]
    assert moved.read_bytes() == before
    assert len(journal.session("s-1").read(trusted=False)) == len(more)


def test_nothing_is_written_to_a_file_that_lost_a_line_and_was_renamed(
    journal: Journal, store: Path
) -> None:
    """It is a new file; the session keeps its lines."""
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    caught_up(journal, store)
    moved = path.rename(store / "b.jsonl")
    moved.write_bytes(moved.read_bytes().replace(b'{"n": 1}\n', b""))
    before = moved.read_bytes()
    assert [what for what, *_ in caught_up(journal, store)] == ["gone", "adopted"]
    assert moved.read_bytes() == before
    assert len(journal.session("s-1").read()) == 3


def test_a_removed_file_is_noted_and_nothing_is_lost(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    path.unlink()
    assert caught_up(journal, store) == [("gone", "s-1", 0)]
    assert caught_up(journal, store) == []
    assert len(journal.session("s-1").read()) == 2


def test_a_rewritten_file_adds_what_is_new_in_it(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    caught_up(journal, store)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"n": 9}\n' + lines[2])
    assert caught_up(journal, store) == [("taken in", "s-1", 1)]


def test_a_mirror_that_another_process_adds_meanwhile_is_followed(
    journal: Journal, open_journal: Callable[..., Journal], store: Path
) -> None:
    """Its file is that session's, and becomes no other; once it is let go it is nobody's."""
    watch, other, path = Watch(journal, [store]), open_journal(), store / "a.jsonl"
    assert list(watch.catch_up()) == []
    other.session("theirs", writer="gateway", role="run", mirror=path).append({"n": 1})
    append(path, {"n": 2})
    assert [(seen.what, seen.key) for seen in watch.take([str(path)])] == [("taken in", "theirs")]
    assert [info.key for info in journal.sessions()] == ["theirs"]
    other.mirrors.remove("theirs")
    assert watch._mirrors() == {}


def test_a_copy_beside_it_is_no_second_mirror(journal: Journal, store: Path) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    (store / "copy.jsonl").write_bytes(path.read_bytes())
    assert [what for what, _, _ in caught_up(journal, store)] == ["set aside"]


def test_a_file_that_lost_lines_is_told_although_no_entry_came(
    journal: Journal, store: Path
) -> None:
    """A fence would call it a takeover: the log says when it was done."""
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    caught_up(journal, store)
    os.truncate(path, path.stat().st_size - len(b'{"n": 2}\n'))
    (seen,) = Watch(journal, [store]).catch_up()
    assert (seen.what, seen.key, seen.entries, seen.detail) == (
        "taken in", "s-1", 0, "shorter than it was",
    )  # fmt: skip
    assert caught_up(journal, store) == []


def test_a_file_that_lost_lines_while_it_was_looked_at_is_told(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    caught_up(journal, store)
    compare, cuts = reconciling._compare, [path.stat().st_size - len(b'{"n": 2}\n')]

    def compared(mirror: Mirror, file: MirrorFile) -> object:
        found = compare(mirror, file)
        if cuts:
            os.truncate(path, cuts.pop())
        return found

    monkeypatch.setattr(reconciling, "_compare", compared)
    (seen,) = Watch(journal, [store]).catch_up()
    assert (seen.what, seen.entries, seen.detail) == ("taken in", 0, "shorter than it was")


def test_a_file_whose_lock_is_not_given_back_holds_no_other_up(
    journal: Journal, store: Path, journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process stands still while it serves one of the files."""
    monkeypatch.setattr("journal.sidefile.LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(SideFile.lock, "__defaults__", (0.1,))
    files = [session_file(store / f"{name}.jsonl", session_id=name) for name in "ab"]
    caught_up(journal, store)
    other = SideFile(f"{journal_path}-mirrors", journal.store.mac)
    assert other.lock(1)
    for path in files:
        append(path, {"n": 1})
    assert sorted(caught_up(journal, store)) == [("set aside", "a", 0), ("taken in", "b", 1)]
    other.close()
    assert caught_up(journal, store) == [("taken in", "a", 1)]


def test_a_mirror_that_is_removed_while_files_are_looked_at_ends_no_watch(
    journal: Journal, store: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    watch = Watch(journal, [store])
    followed = dict(watch._mirrors())
    journal.mirrors.remove("s-1")
    append(path, {"n": 2})
    assert followed == {str(path): "s-1"}
    assert list(watch._followed(followed.items())) == []


def test_a_file_that_cannot_be_looked_for_has_not_moved_to_its_copy(
    journal: Journal, store: Path, tmp_path: Path
) -> None:
    path = session_file(store / "deep" / "a.jsonl", {"n": 1})
    caught_up(journal, store)
    (store / "copy.jsonl").write_bytes(path.read_bytes())
    path.parent.rename(tmp_path / "aside")
    path.parent.symlink_to(path.parent)  # nobody can tell what is behind it
    told = caught_up(journal, store)
    assert {what for what, *_ in told} == {"set aside"}
    assert journal.mirrors.of("s-1").path == str(path)


def test_to_look_again_at_what_is_there_leaves_no_run_on_record(
    journal: Journal, store: Path
) -> None:
    """All is looked at each second where the library fails: an archive and a copy, too."""
    path = session_file(store / "a.jsonl", {"n": 1})
    (store / "copy.jsonl").write_bytes(path.read_bytes())
    archive = "11111111-1111-1111-1111-111111111111.jsonl.reset.2026-01-02T03-04-05.678Z"
    session_file(store / archive, {"n": 2}, session_id="s-2")
    assert ("taken in", "s-2", 2) in caught_up(journal, store)
    before = len(runs(journal))
    assert [what for what, *_ in caught_up(journal, store)] == ["set aside"]
    assert len(runs(journal)) == before == 3
    append(store / archive, {"n": 3})
    assert ("taken in", "s-2", 1) in caught_up(journal, store)
    assert len(journal.session("s-2").read()) == 3


@pytest.mark.parametrize("way", ["watch", "migrate"])
def test_a_file_that_was_cut_since_it_was_migrated_becomes_a_mirror_as_it_is(
    journal: Journal, store: Path, way: str
) -> None:
    """Its program has rewound the session: what it took out is not put back. What others wrote comes to it."""
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    apply(journal, plan([path]))
    os.truncate(path, path.stat().st_size - len(b'{"n": 2}\n'))
    gateway = journal.session("s-1", writer="gateway", role="run")
    gateway.append({"n": 3})
    before = path.read_bytes()
    if way == "watch":
        assert caught_up(journal, store) == [("adopted", "s-1", 0)]
    else:
        apply(journal, plan([path]), mirror=True)
    assert path.read_bytes() == before + b'{"n":3}\n'
    assert b"".join(entry.data for entry in gateway.read()) == path.read_bytes()
    assert caught_up(journal, store) == []


def test_a_draft_that_has_its_name_by_now_is_no_file_that_was_set_aside(
    journal: Journal, store: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    watch = Watch(journal, [store])
    draft = str(store / "a.jsonl.tmp-77")
    assert [seen.what for seen in watch.take({str(path), draft})] == ["adopted"]


def test_there_must_be_such_a_directory(journal: Journal, store: Path) -> None:
    with pytest.raises(NotFoundError):
        Watch(journal, [store / "none"])


# -- as it happens ----------------------------------------------------------------------


@pytest.fixture
def follow(journal_path: Path, store: Path) -> Iterator[Callable[[], Seen]]:
    """Watch in a thread, as a process of its own would; gives what is seen next."""
    pytest.importorskip("watchfiles")
    seen: queue.Queue[Seen] = queue.Queue()
    stop = threading.Event()

    def run() -> None:
        with Journal(journal_path) as journal:
            Watch(journal, [store]).run(stop, seen.put)

    thread = threading.Thread(target=run)
    thread.start()
    yield lambda: seen.get(timeout=PATIENCE_S)
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_directory_that_nobody_may_look_into_ends_no_watch(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may look into any, so the library is one that fails as the real one does; all is looked at instead."""

    def watch(*_: str, **__: object) -> Iterator[set[tuple[int, str]]]:
        raise PermissionError(13, "Permission denied about ['closed']")
        yield set()

    monkeypatch.setattr("journal.watching._library", lambda: (watch, ZeroDivisionError))
    monkeypatch.setattr("journal.watching._PAUSE_S", 0)
    path, stop = session_file(store / "a.jsonl", {"n": 1}), threading.Event()
    told: list[str] = []

    def tell(seen: Seen) -> None:
        told.append(seen.what)
        append(path, {"n": 2})
        if len(told) == 3:
            stop.set()

    Watch(journal, [store]).run(stop, tell)
    assert told == ["adopted", "taken in", "taken in"]


def test_what_keeps_the_library_from_watching_is_an_error_of_the_journals(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(*_: str, **__: object) -> Iterator[set[tuple[int, str]]]:
        raise OSError("OS file watch limit reached.")
        yield set()

    monkeypatch.setattr("journal.watching._library", lambda: (watch, ZeroDivisionError))
    with pytest.raises(StorageError, match="limit reached"):
        Watch(journal, [store]).run(threading.Event(), print)


def test_a_watch_that_is_to_end_ends_before_all_is_looked_at(journal: Journal, store: Path) -> None:
    pytest.importorskip("watchfiles")
    for name in "abc":
        session_file(store / f"{name}.jsonl", session_id=name)
    stop, told = threading.Event(), list[str | None]()

    def tell(seen: Seen) -> None:
        told.append(seen.key)
        stop.set()

    watch = Watch(journal, [store])
    watch.run(stop, tell)
    assert told == ["a"]
    assert [seen.key for seen in watch.catch_up()] == ["b", "c"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_change_of_a_name_that_is_no_text_ends_no_watch(
    store: Path, follow: Callable[[], Seen]
) -> None:
    """The library gives up at the first such name, and at such a directory: it is begun anew, and all looked at."""
    (store / os.fsdecode(b"in\xff")).mkdir()
    (store / os.fsdecode(b"in\xff") / "b.jsonl").write_text("{}\n")
    odd = session_file(store / os.fsdecode(b"\xff.jsonl"), session_id="s-2")
    path = session_file(store / "a.jsonl", {"n": 0})
    told = [follow() for _ in range(3)]
    assert sorted((seen.what, os.path.basename(seen.path)) for seen in told) == [  # noqa: PTH119
        ("adopted", "a.jsonl"), ("set aside", "in\udcff"), ("set aside", "\udcff.jsonl"),
    ]  # fmt: skip
    for number in range(3):
        append(odd, {"n": number})
        append(path, {"n": number})
        seen = follow()
        assert (seen.what, seen.key, seen.entries) == ("taken in", "s-1", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_no_look_of_our_own_has_the_library_give_up(journal: Journal, store: Path) -> None:
    """It sees who opens a file, too: one whose name is not UTF-8 is left alone, or we would begin for ever."""
    pytest.importorskip("watchfiles")
    session_file(store / os.fsdecode(b"\xff.jsonl"), session_id="s-2")
    path = session_file(store / "a.jsonl", {"n": 0})
    watch = Watch(journal, [store])
    changes = watch._changes(threading.Event())
    assert next(changes) is None  # all is to be looked at
    list(watch.catch_up())
    append(path, {"n": 1})
    for paths in changes:
        assert paths is not None
        if str(path) in paths:
            break
    else:
        pytest.fail("it ended")


def test_another_directory_in_the_place_of_the_one_that_was_there_is_watched(
    store: Path, follow: Callable[[], Seen], tmp_path: Path
) -> None:
    """As after mv and mkdir, or while a disk is mounted: the library sees nothing of it by itself."""
    session_file(store / "a.jsonl", {"n": 0})
    told = [follow()]
    store.rename(tmp_path / "aside")
    while told[-1].what != "gone":
        told.append(follow())
    path = session_file(store / "b.jsonl", session_id="s-2")
    while (told[-1].what, told[-1].key) != ("adopted", "s-2"):
        told.append(follow())
    append(path, {"n": 1})
    while told[-1].what != "taken in":
        told.append(follow())
    assert (told[-1].path, told[-1].entries) == (str(path), 1)


def test_changes_are_taken_in_as_they_happen(store: Path, follow: Callable[[], Seen]) -> None:
    path = session_file(store / "first.jsonl", {"n": 0})
    while follow().what != "adopted":  # it may see the file before it is whole
        pass
    total = 0
    for number in range(20):
        append(path, {"n": number})
    while total < 20:
        seen = follow()
        assert (seen.what, seen.key) == ("taken in", "s-1")
        total += seen.entries
    assert total == 20
    session_file(store / "second.jsonl", {"n": 0}, session_id="s-2")
    while (seen := follow()).key != "s-2":
        pass
    path.unlink()
    while (seen := follow()).what != "gone":
        pass
    assert seen.key == "s-1"


def test_the_files_of_a_directory_come_and_go_with_it(
    store: Path, follow: Callable[[], Seen], tmp_path: Path
) -> None:
    """The kernel tells of the directory alone, when it is moved; and files may be in a new one before it is watched."""
    session_file(store / "a.jsonl", {"n": 0})
    assert follow().what == "adopted"
    session_file(tmp_path / "aside" / "deep" / "b.jsonl", {"n": 1}, session_id="s-2")
    (tmp_path / "aside").rename(store / "new")
    told = follow()
    assert (told.what, told.key) == ("adopted", "s-2")
    (store / "new").rename(store / "newer")
    assert [(told.what, told.key) for told in (follow(), follow())] == [
        ("gone", "s-2"), ("moved", "s-2"),
    ]  # fmt: skip
    (store / "newer").rename(tmp_path / "aside")
    told = follow()
    assert (told.what, told.key) == ("gone", "s-2")

"""Verify, list, show and --mirror: what was brought in can be held against the files, and told."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from journal import NotFoundError
from journal.migration import apply, plan, run, runs, verify
from tests.migration.conftest import session_file
from tests.thieves import thief_at

if TYPE_CHECKING:
    from pathlib import Path

    from journal import Journal


def test_equal_files_are_equal_and_a_session_that_went_on_has_more(
    store: Path, journal: Journal
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    session_file(store / "b.jsonl", {"n": 2}, session_id="s-2")
    apply(journal, plan([str(store)]))
    journal.session("s-2", writer="gateway", role="run").append({"n": 3})
    result = verify(journal, plan([str(store)]))
    assert result.holds
    assert [(each.key, each.found) for each in result.files] == [("s-1", "equal"), ("s-2", "more")]
    assert result.files[0].bytes == path.stat().st_size


@pytest.mark.parametrize(
    "change, at",
    [
        (lambda data: data.replace(b'"n": 1', b'"n": 9'), 'n": '),
        (lambda data: data + b"x", None),
    ],
)
def test_a_file_that_differs_is_named_with_the_first_byte(
    store: Path, journal: Journal, change, at
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    apply(journal, plan([str(store)]))
    before = path.read_bytes()
    path.write_bytes(change(before))
    (found,) = verify(journal, plan([str(store)])).files
    assert found.found == "differs"
    assert found.differs_at == (len(before) if at is None else before.rindex(at.encode()) + len(at))


def test_a_file_that_nobody_migrated_is_said(store: Path, journal: Journal) -> None:
    session_file(store / "a.jsonl", {"n": 1})
    result = verify(journal, plan([str(store)]))
    assert not result.holds
    assert [each.found for each in result.files] == ["not migrated"]


def test_runs_are_listed_and_shown(store: Path, journal: Journal) -> None:
    session_file(store / "a.jsonl", {"n": 1})
    apply(journal, plan([str(store)]))
    apply(journal, plan([str(store)]))
    first, second = runs(journal)
    assert (first.number, first.state, first.files, first.sources) == (1, "done", 1, (str(store),))
    assert (second.number, second.files) == (2, 0)
    _, (brought,) = run(journal, 1)
    assert (brought.session, brought.receipt.name) == ("s-1", "a.jsonl")
    with pytest.raises(NotFoundError):
        run(journal, 3)


@pytest.mark.parametrize("source", [b"\xff", b"[" * 100_000, b"5"])
def test_a_record_that_somebody_changed_hides_no_run(
    store: Path, journal: Journal, source: bytes
) -> None:
    session_file(store / "a.jsonl", {"n": 1})
    apply(journal, plan([str(store)]))
    thief = thief_at(journal.path)
    thief.execute("UPDATE migrations SET source = CAST(? AS TEXT)", source)
    thief.close()
    ((found,), _) = runs(journal), run(journal, 1)
    assert (found.number, found.sources) == (1, (source.decode("utf-8", "backslashreplace"),))


def test_a_mirror_in_place_touches_nothing_and_lives(store: Path, journal: Journal) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    os.utime(path, ns=(1_700_000_000_000_000_000, 1_700_000_000_000_000_000))
    before, stamp = path.read_bytes(), path.stat()
    result = apply(journal, plan([str(store)]), mirror=True)
    assert result.set_aside == ()
    assert path.read_bytes() == before
    assert path.stat() == stamp
    journal.session("s-1", writer="gateway", role="run").append({"n": 2})
    assert path.read_bytes() == before + b'{"n":2}\n'
    assert path.stat().st_ino == stamp.st_ino


def test_a_file_that_cannot_be_a_mirror_is_migrated_all_the_same(
    store: Path, journal: Journal, tmp_path: Path
) -> None:
    path = session_file(store / "a.jsonl", {"n": 1})
    os.link(path, tmp_path / "second-name")
    result = apply(journal, plan([str(path)]), mirror=True)
    assert [each.what for each in result.files] == ["migrated"]
    assert [each.code for each in result.set_aside] == ["no-mirror"]

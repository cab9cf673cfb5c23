"""Files compressed with zstd: their lines are migrated, and a bad archive is set aside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import zstandard

from journal.migration import packed as module
from journal.migration import plan
from journal.migration.packed import packed
from journal.migration.verifying import verify
from journal.rebuilding import rebuild
from tests.migration.conftest import states

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal
    from journal.migration import Result

UUID = "0199c0de-0000-7000-8000-000000000001"
NAME = f"rollout-2026-11-25T10-00-00-{UUID}.jsonl"
CONTENT = b"".join(
    json.dumps({"timestamp": "t", "type": kind, "payload": {"id": UUID, "n": n}}).encode() + b"\n"
    for n, kind in enumerate(["session_meta", *["response_item"] * 50])
)


@pytest.fixture
def archive(store: Path) -> Path:
    path = store / "sessions" / f"{NAME}.zst"
    path.parent.mkdir()
    path.write_bytes(zstandard.compress(CONTENT))
    return path


def test_a_compressed_rollout_is_the_lines_in_it(
    archive: Path,
    journal: Journal,
    migrate: Callable[..., Result],
    exported: Callable[[str], bytes],
    tmp_path: Path,
) -> None:
    (found,) = migrate(archive.parent).files
    assert (found.what, found.key, found.bytes, found.lines) == ("migrated", UUID, len(CONTENT), 51)
    assert exported(UUID) == CONTENT
    assert states(migrate(archive.parent)) == {archive.name: "already"}
    (verified,) = verify(journal, plan([archive.parent])).files
    assert verified.found == "equal"
    rebuild(journal, tmp_path / "out")
    back = (tmp_path / "out" / archive.name).read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(back) == CONTENT


def test_a_session_that_was_compressed_since_is_the_same(
    archive: Path, store: Path, migrate: Callable[..., Result], journal: Journal
) -> None:
    plain = store / "sessions" / NAME
    plain.write_bytes(CONTENT)
    archive.unlink()
    migrate(store)
    plain.unlink()
    archive.write_bytes(b"".join(packed([CONTENT[:100], CONTENT[100:]])))
    assert states(migrate(store)) == {archive.name: "already"}
    assert [each.key for each in journal.sessions()] == [UUID]


def test_several_frames_are_one_archive(
    archive: Path, migrate: Callable[..., Result], exported: Callable[[str], bytes]
) -> None:
    halves = CONTENT[:777], CONTENT[777:]
    archive.write_bytes(b"".join(zstandard.compress(half) for half in halves))
    migrate(archive.parent)
    assert exported(UUID) == CONTENT


@pytest.mark.parametrize(
    "data, code",
    [
        (zstandard.compress(CONTENT)[:-1], "damaged"),
        (zstandard.compress(CONTENT)[:-100], "damaged"),
        (b"\x28\xb5\x2f\xfd", "damaged"),
        (zstandard.compress(CONTENT) + b"more", "damaged"),
        (CONTENT, "damaged"),
    ],
)
def test_a_bad_archive_is_set_aside(
    archive: Path, migrate: Callable[..., Result], journal: Journal, data: bytes, code: str
) -> None:
    archive.write_bytes(data)
    assert states(migrate(archive.parent)) == {archive.name: code}
    assert list(journal.sessions()) == []


def test_an_archive_that_was_made_to_fill_a_disk_is_set_aside(
    archive: Path, migrate: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALWAYS_ALLOWED", 1024 * 1024)
    archive.write_bytes(zstandard.compress(bytes(300 * 1024 * 1024)))
    assert states(migrate(archive.parent)) == {archive.name: "grows"}


def test_without_the_library_it_is_a_note(
    archive: Path,
    store: Path,
    migrate: Callable[..., Result],
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (store / "sessions" / "other.jsonl").write_bytes(b'{"n":1}\n')
    with monkeypatch.context() as without:
        without.setattr(module, "find_spec", lambda _: None)
        result = migrate(store, format="plain")
        assert states(result) == {"other.jsonl": "migrated", archive.name: "needs-zstd"}
        assert "session-journal[zstd]" in result.set_aside[0].reason
    migrate(store)
    with monkeypatch.context() as without:
        without.setattr("journal.rebuilding.is_here", lambda: False)
        rebuild(journal, tmp_path / "out")
    assert (tmp_path / "out" / "sessions" / NAME).read_bytes() == CONTENT

"""A fence knows how long the file was: a file that was cut is an edit, whatever else is lost with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mirror.test_power_cuts import without_mirrors
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Session


def cut_off(path: Path, journal_path: Path, size: int) -> None:
    """Cut the file, and take away what tells how much of it the journal had written."""
    side = journal_path.with_name(f"{journal_path.name}-mirrors")
    side.write_bytes(bytes(side.stat().st_size))
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize("lines", [0, 1, 2])
def test_a_stored_fence_knows_how_long_the_file_was(
    mirrored: Session,
    path: Path,
    journal_path: Path,
    open_journal: Callable[..., Journal],
    lines: int,
) -> None:
    fence_id = mirrored.fence().stored()
    assert open_journal().fence(fence_id).check().accepted
    cut_off(path, journal_path, 8 * lines)

    verdict = open_journal().fence(fence_id).check(raise_=False)

    assert not verdict.accepted


def test_an_accepted_check_knows_the_file_as_it_is_then(
    mirrored: Session, path: Path, journal_path: Path
) -> None:
    size = path.stat().st_size
    fence = mirrored.fence()
    mirrored.append({"n": 3})
    assert fence.check().accepted
    cut_off(path, journal_path, size)

    assert not fence.check(raise_=False).accepted


def test_a_rewrite_before_a_write_under_the_fence_is_no_cut(
    mirrored: Session, heartbeat: Session, open_journal: Callable[..., Journal], path: Path
) -> None:
    """By the journal's own hand the file is shorter than it was, and who wrote last was killed before it."""
    fence = mirrored.fence()
    heartbeat.rewrite(list(heartbeat.read())[:1], base=heartbeat.head.seq, reason="compacted")
    fence.append({"n": 3})
    other = open_journal()
    with without_mirrors(other):
        other.session(KEY, writer="other", role="channel").append({"n": 4})
    assert path.read_bytes().count(b"\n") == 2

    assert fence.check().accepted
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("lines", [0, 1])
def test_where_nothing_tells_how_long_the_file_was_what_it_lacks_is_written(
    mirrored: Session,
    path: Path,
    journal_path: Path,
    open_journal: Callable[..., Journal],
    lines: int,
) -> None:
    """As after a power cut: no fence stood, and the journal's own note is lost too."""
    whole = path.read_bytes()
    cut_off(path, journal_path, 8 * lines)

    fence = open_journal().session(KEY, writer="gateway", role="run").fence()

    assert path.read_bytes() == whole
    assert fence.unresolved == []

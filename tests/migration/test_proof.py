"""A small part of what ``python -m tests.migration.proof`` proves at length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.migration import proof

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", [1, 2])
def test_every_byte_of_generated_files_comes_back(tmp_path: Path, seed: int) -> None:
    assert proof.files(tmp_path, 150, seed)["files"] == 150


@pytest.mark.slow
@pytest.mark.crash
def test_a_great_file_takes_little_memory(tmp_path: Path) -> None:
    told = proof.great(tmp_path, 100_000_000, 40_000_000)
    assert told["migrate_peak_mb"] <= 80
    assert told["export_peak_mb"] <= 80


@pytest.mark.crash
def test_killed_at_random_moments_a_migration_ends_equal(tmp_path: Path) -> None:
    assert proof.kills(tmp_path, 10)["kills"] == 10

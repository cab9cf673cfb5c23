"""Journals with a row of every kind, made once, and a file of one for each test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.copying.filled import fill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JOURNAL_KEY_FILE", str(home / "key"))
        fill(home / "lean.db")
        fill(home / "large.db", lines=3000, large=9 << 20)
    return home


@pytest.fixture
def source(kept: Path, tmp_path: Path, key_file: Path) -> Path:
    return _taken(kept / "lean.db", tmp_path, key_file)


@pytest.fixture
def large_source(kept: Path, tmp_path: Path, key_file: Path) -> Path:
    return _taken(kept / "large.db", tmp_path, key_file)


def _taken(kept: Path, home: Path, key_file: Path) -> Path:
    key_file.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copy2(kept.with_name("key"), key_file)
    shutil.copy2(kept, home / "source.db")
    return home / "source.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copy.db"

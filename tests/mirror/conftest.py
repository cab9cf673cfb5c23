"""What tests of mirrors need: a session with its file, and hands that write to files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from journal.export import export
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "files" / "session.jsonl"


@pytest.fixture
def mirrored(journal: Journal, path: Path) -> Session:
    """Give a run's handle on a session of three lines that has its mirror."""
    path.parent.mkdir()
    session = journal.session(KEY, writer="gateway", role="run", mirror=path)
    session.extend([b'{"n":0}', b'{"n":1}', b'{"n":2}'])
    return session


@pytest.fixture
def exported(journal: Journal) -> Callable[[], bytes]:
    return lambda: b"".join(export(journal, KEY))


@pytest.fixture
def in_step(path: Path, exported: Callable[[], bytes]) -> Callable[[], bool]:
    return lambda: path.read_bytes() == exported()

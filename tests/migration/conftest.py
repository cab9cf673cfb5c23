"""What the tests of migration need: files to bring in, and a look at what became of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from journal.export import export
from journal.migration import apply, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Journal
    from journal.migration import Result

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give an empty directory for session files."""
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def migrate(journal: Journal) -> Callable[..., Result]:
    """Plan and apply at once."""

    def migrate_it(*paths: Path, format: str | None = None) -> Result:  # noqa: A002 - the library's word
        return apply(journal, plan(paths, format=format))

    return migrate_it


@pytest.fixture
def exported(journal: Journal) -> Callable[[str], bytes]:
    """Give a session's bytes, all of them verified."""

    def export_it(key: str) -> bytes:
        content = export(journal, key)
        data = b"".join(content)
        assert content.stepped_over == []
        assert content.bytes == len(data)
        return data

    return export_it


def session_file(path: Path, *lines: object, session_id: str | None = "s-1") -> Path:
    """Write a pi session: a header, and each line as JSON or as the bytes it is."""
    header = [{"type": "session", "version": 3, "id": session_id}] if session_id else []
    every = [*header, *lines]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in every
        )
    )
    return path


def states(result: Result) -> dict[str, str]:
    """Give what became of each file, by its name; a file set aside by its code."""
    found = {Path(each.path).name: each.what for each in result.files}
    return found | {Path(each.path).name: each.code for each in result.set_aside}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

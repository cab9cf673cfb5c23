"""What somebody was making when he was killed: whoever comes next finishes it, or makes it anew."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from journal import Journal, KeyMissing, NotFoundError, UnsafeSQLite, keys, schema
from journal.files import forget_drafts
from journal.keys import put_secret, read_secret
from tests.thieves import KEY, raw

if TYPE_CHECKING:
    from pathlib import Path

DRAFT = "0123456789abcdef"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_TRIES", 1)


def draft_of(path: Path, digits: str = DRAFT) -> Path:
    """Give a file the second name that it has for a moment while it is put in place."""
    draft = path.with_name(f".{path.name}.{digits}")
    os.link(path, draft)
    return draft


@pytest.mark.usefixtures("impatient")
class TestAKey:
    def test_that_has_its_drafts_name_too_is_read_and_loses_it(self, tmp_path: Path) -> None:
        """Its maker was killed between the two; else nobody could open the journal again."""
        put_secret(tmp_path / "key", b"k" * 32)
        draft = draft_of(tmp_path / "key")

        assert read_secret(tmp_path / "key") == b"k" * 32
        assert not draft.exists()

    @pytest.mark.parametrize("name", [".key.0123", ".key.0123456789abcdeg", "key.0123456789abcdef"])
    def test_that_has_another_name_is_refused_as_ever(self, tmp_path: Path, name: str) -> None:
        """No draft of ours is called so: somebody keeps a way to it."""
        put_secret(tmp_path / "key", b"k" * 32)
        os.link(tmp_path / "key", tmp_path / name)

        with pytest.raises(KeyMissing, match="more than one link"):
            read_secret(tmp_path / "key")
        assert (tmp_path / name).exists()

    def test_another_file_under_a_drafts_name_stays(self, tmp_path: Path) -> None:
        """It may be a draft that somebody is writing."""
        put_secret(tmp_path / "key", b"k" * 32)
        os.link(tmp_path / "key", tmp_path / "other")
        other = tmp_path / f".key.{DRAFT}"
        other.write_bytes(b"another's")

        forget_drafts(tmp_path / "key")

        assert other.read_bytes() == b"another's"


class TestACopy:
    def test_that_has_its_drafts_name_too_is_opened(self, journal_path: Path) -> None:
        """As a backup that was killed leaves it."""
        with Journal(journal_path) as journal:
            journal.session(KEY, writer="gateway", role="run").append({})
        draft = draft_of(journal_path)

        with Journal(journal_path) as journal:
            assert len(journal.session(KEY).read()) == 1
        assert not draft.exists()

    def test_that_has_another_name_is_refused_as_ever(self, journal_path: Path) -> None:
        """Two names would mean two write-ahead logs."""
        Journal(journal_path).close()
        os.link(journal_path, journal_path.with_name("other.db"))

        with pytest.raises(UnsafeSQLite, match="2 hard links"):
            Journal(journal_path)


class TestADatabase:
    @pytest.fixture
    def begun(self, journal_path: Path) -> Path:
        """A first page that is written and not committed: what is left is to be rolled back."""
        rollback = journal_path.with_name(f"{journal_path.name}-journal")
        connection = raw(journal_path, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")  # the journal's header is whole at once
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA user_version = 7")
        kept = rollback.read_bytes()
        connection.execute("COMMIT")
        connection.close()
        rollback.write_bytes(kept)
        assert journal_path.stat().st_size == 4096
        return journal_path

    def test_that_was_only_begun_is_made_anew(self, begun: Path) -> None:
        """A connection that only reads could not roll it back, and said that it cannot be written."""
        with Journal(begun) as journal:
            journal.session(KEY, writer="gateway", role="run").append({})
        assert schema.version_of(str(begun)) == schema.SCHEMA_VERSION
        assert not begun.with_name(f"{begun.name}-journal").exists()

    def test_that_was_only_begun_is_no_journal_yet(self, begun: Path) -> None:
        """Whoever does not mean to make one is told so, and nothing is changed."""
        before = begun.read_bytes()

        with pytest.raises(NotFoundError):
            Journal(begun, create=False)
        assert begun.read_bytes() == before

"""Flat files into a journal on a server: what the tests of migration ask, asked there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal
from journal.audit import audit
from journal.errors import CorruptError, NotFoundError
from journal.export import export
from journal.migration import apply, plan, resolve_key, verify
from journal.rebuilding import rebuild
from tests.migration.conftest import FIXTURES, exported, migrate, store  # noqa: F401 - fixtures
from tests.migration.test_kill import kill_after, lines_of
from tests.migration.test_rerun import (  # noqa: F401 - run here as well
    once,
    test_a_file_and_a_session_that_both_went_on_have_both,
    test_a_run_that_broke_off_is_finished_by_the_next,
    test_receipts_tell_of_each_file,
)
from tests.migration.test_round_trip import FILES
from tests.thieves import Thief, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def thief(journal: Journal, journal_path: str) -> Iterator[Thief]:
    del journal  # made first
    thief = thief_at(journal_path)
    yield thief
    thief.close()


def test_every_byte_there_and_back(journal: Journal, journal_path: str, tmp_path: Path) -> None:
    """All fixtures: planned, brought in, verified, brought in again, and given back as the tree they were."""
    made = plan([FIXTURES])
    result = apply(journal, made)
    assert result.set_aside == ()
    assert len(result.files) == len(FILES)
    for each in result.files:
        content = (FIXTURES / each.path).read_bytes()
        assert b"".join(export(journal, each.key)) == content
        assert b"".join(export(journal, each.key, verified=False)) == content
    assert verify(journal, made).holds
    assert apply(journal, made).counts == {"already": len(FILES)}
    with pytest.raises(NotFoundError):
        resolve_key(journal, "\0")  # which no server takes for a text
    rebuilt = rebuild(journal, tmp_path / "all")
    files = [(tmp_path / "all" / each.file).read_bytes() for each in rebuilt]
    assert sorted(files) == sorted(path.read_bytes() for path in FILES)
    found: Any = audit(journal_path)
    assert (found.verdict, found.findings) == ("ok, not anchored", ())


@pytest.mark.crash
def test_kill_9_and_run_again(journal_path: str, store: Path) -> None:  # noqa: F811
    path = store / "a.jsonl"
    text = b"".join(
        line if isinstance(line, bytes) else b'{"n":%d}\n' % number
        for number, line in enumerate(lines_of(0))
    )
    path.write_bytes(text)
    with Journal(journal_path):
        pass
    assert kill_after(2, journal_path, store)
    with Journal(journal_path) as journal:
        (found,) = apply(journal, plan([store])).files
        assert (found.what, found.lines) == ("appended", 60)
        assert b"".join(export(journal, found.key)) == text
        assert apply(journal, plan([store])).counts == {"already": 1}


def test_rows_that_a_trigger_swallows_are_missed(
    migrate: Any,  # noqa: F811
    store: Path,  # noqa: F811
    thief: Thief,
    journal: Journal,
) -> None:
    """COPY says how many rows it stored, and less than all is refused."""
    (store / "a.jsonl").write_bytes(b'{"n":1}\n{"n":2}\n')
    thief.execute(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.body = '{\"n\":2}' THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    thief.execute(
        "CREATE TRIGGER zz BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION swallow()"
    )
    with pytest.raises(CorruptError) as caught:
        migrate(store)
    assert caught.value.code == "rows-swallowed"
    assert [info.entries for info in journal.sessions()] == []

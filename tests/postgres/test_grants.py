"""The grants of docs/postgres.md are enough, and no more than that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, ReadOnlyError
from journal.audit import audit
from journal.dialects.address import parsed
from tests.thieves import KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import Server

PAGE = Path(__file__).parent.parent.parent / "docs" / "postgres.md"
GRANTS, REDACTION = re.findall(r"```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def as_who(server: Server, journal_path: str) -> Iterator[Any]:
    """Give the journal's URL for a role with the grants of the page; more can be granted."""
    schema = parsed(journal_path).schema
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    owner = server.connect()
    for role in ("journal_writer", "journal_auditor"):
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")

    def grant(text: str) -> None:
        owner.execute(
            text.replace("journal.", f"{schema}.").replace("SCHEMA journal", f"SCHEMA {schema}")
        )

    grant(GRANTS)

    def url_for(role: str, more: str = "") -> str:
        if more:
            grant(more)
        return server.url(schema, user=role, password="pw")  # noqa: S106

    yield url_for
    for role in ("journal_writer", "journal_auditor"):
        owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    owner.close()


def test_a_writer_can_do_what_writers_do(as_who: Any, journal_path: str) -> None:
    with Journal(as_who("journal_writer")) as journal:
        session = journal.session(KEY, writer="cron", role="cron")
        session.append({"n": 2}, request_id="r")
        session.submit({"n": 3})
        run = journal.session(KEY, writer="gateway", role="run")
        with run.claim() as turn, turn.fence() as fence:
            turn.take_inputs()
            fence.append({"n": 4})
        run.cut(1, base=run.head.seq, reason="one too many")
        run.fence().stored()
        assert [entry.json()["n"] for entry in run.read()] == [1, 2, 3]
        entry = run.append({"n": 5})
        operator = journal.session(KEY, writer="alice", role="operator")
        with pytest.raises(ReadOnlyError) as caught:
            operator.redact([entry.seq], reason="a mistake")
        assert caught.value.code == "not-granted"
        as_who("journal_writer", REDACTION)
        assert operator.redact([entry.seq], reason="a mistake")[0].state == "done"
    assert audit(journal_path).findings == ()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = NULL, salt = NULL",
        "DELETE FROM entries",
        "ALTER TABLE entries DISABLE TRIGGER USER",
        "CREATE TABLE more (n int)",
        "UPDATE meta SET value = 'x'",
        "INSERT INTO meta VALUES ('more', 'x')",
        "DELETE FROM parked",
    ],
)
def test_a_writer_can_do_no_more(as_who: Any, statement: str) -> None:
    thief = thief_at(as_who("journal_writer"))
    try:
        with pytest.raises(Exception, match=r"permission denied|must be owner"):
            thief.execute(statement)
    finally:
        thief.close()


def test_an_auditor_can_only_read(as_who: Any) -> None:
    url = as_who("journal_auditor")
    assert audit(url).findings == ()
    with Journal(url) as journal:
        assert len(journal.session(KEY).read()) == 1
        with pytest.raises(ReadOnlyError):
            journal.session(KEY, writer="cron", role="cron").append({"n": 2})

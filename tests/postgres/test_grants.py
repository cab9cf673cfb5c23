"""The grants of docs/postgres.md are enough, and no more than that."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, ReadOnlyError
from journal.audit import audit
from journal.copying import copy
from journal.dialects.address import parsed
from journal.migration import apply, plan
from tests.thieves import KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.proxy import Proxy
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


def test_a_writer_can_do_what_writers_do(as_who: Any, journal_path: str, tmp_path: Path) -> None:
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
        assert str(caught.value.hint).startswith("GRANT UPDATE")
        file = tmp_path / "old.jsonl"
        file.write_bytes(b'{"n":6}\n')
        (brought,) = apply(journal, plan([file]), mirror=True).files
        journal.session(brought.key, writer="cron", role="cron").append({"n": 7})
        assert file.read_bytes() == b'{"n":6}\n{"n":7}\n'
        journal.mirrors.remove(brought.key)
        as_who("journal_writer", REDACTION)
        assert operator.redact([entry.seq], reason="a mistake")[0].state == "done"
    assert audit(journal_path).findings == ()


def test_who_may_make_no_schema_makes_a_journal_in_one_that_is_his(server: Server) -> None:
    with server.connect() as owner:
        owner.execute("CREATE ROLE journal_maker LOGIN PASSWORD 'pw'")
        owner.execute("CREATE SCHEMA made_for_him AUTHORIZATION journal_maker")
        url = server.url("made_for_him", user="journal_maker", password="pw")  # noqa: S106
        try:
            with Journal(url) as journal:
                assert journal.session(KEY, writer="cron", role="cron").append({"n": 1}).seq == 1
            assert audit(url).findings == ()
        finally:
            owner.execute("DROP OWNED BY journal_maker CASCADE; DROP ROLE journal_maker")


def test_an_answer_that_was_lost_is_found_out_by_who_may_end_nobody(
    as_who: Any, server: Server, proxy: Proxy
) -> None:
    """What is left of the lost connection ends in its own time, and is waited for."""
    url = proxy.url(as_who("journal_writer"))
    with server.connect() as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION pg_terminate_backend FROM PUBLIC")
        try:
            with Journal(url, busy_timeout=10) as journal:
                session = journal.session(KEY, writer="cron", role="cron")
                session.append({"n": 2})
                proxy.cut = "answer"
                assert session.append({"n": 3}).seq == 3
        finally:
            owner.execute("GRANT EXECUTE ON FUNCTION pg_terminate_backend TO PUBLIC")
    assert audit(url).findings == ()


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


def test_who_may_not_use_the_schema_is_told_so(as_who: Any, server: Server, tmp_path: Path) -> None:
    """And not that a table is missing, which he cannot see."""
    url = as_who("journal_auditor")
    owner = server.connect()
    owner.execute(f"REVOKE USAGE ON SCHEMA {parsed(url).schema} FROM journal_auditor")
    owner.close()
    for look in (Journal, audit, lambda where: copy(where, tmp_path / "copy.db")):
        with pytest.raises(ReadOnlyError) as caught:
            look(url)
        assert caught.value.code == "not-granted"
        grant = f"GRANT USAGE ON SCHEMA {parsed(url).schema} TO journal_auditor"
        assert str(caught.value.hint).startswith(grant)


def test_an_auditor_can_only_read(as_who: Any) -> None:
    url = as_who("journal_auditor")
    assert audit(url).findings == ()
    with Journal(url) as journal:
        assert len(journal.session(KEY).read()) == 1
        with pytest.raises(ReadOnlyError) as caught:
            journal.session(KEY, writer="cron", role="cron").append({"n": 2})
    schema = parsed(url).schema
    grant = f"GRANT INSERT ON {schema}.instances TO journal_auditor; docs/postgres.md has"
    assert str(caught.value.hint).startswith(grant)


@pytest.mark.parametrize(
    "revoked, lacks",
    [
        ("INSERT ON journal.entries", "INSERT ON {}.entries"),
        ("UPDATE ON journal.sessions", "UPDATE ON {}.sessions"),
        ("INSERT ON journal.instances", "INSERT ON {}.instances"),
    ],
)
def test_the_grant_that_lacks_is_named(
    as_who: Any, server: Server, revoked: str, lacks: str
) -> None:
    """And granted it is enough."""
    url = as_who("journal_writer")
    schema = parsed(url).schema
    with server.connect() as owner:
        owner.execute(f"REVOKE {revoked} FROM journal_writer".replace("journal.", f"{schema}."))
        with Journal(url) as journal:
            session = journal.session(KEY, writer="gateway", role="run")
            with pytest.raises(ReadOnlyError) as caught:
                session.append({"n": 2})
            grant, _, more = str(caught.value.hint).partition("; ")
            assert grant == f"GRANT {lacks.format(schema)} TO journal_writer"
            assert "docs/postgres.md" in more
            owner.execute(grant)
            assert session.append({"n": 2}).seq > 1

"""``journal doctor -d URL``: what a server says of itself and of a journal on it, read only."""

from __future__ import annotations

import itertools
import json
import shlex
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from journal import Journal, serverdoctor
from journal.copymark import CopyMark
from journal.dialects import bulk, health
from journal.dialects.address import parsed
from journal.dialects.postgres import connect
from journal.doctor import OK, PROBLEM, WARNING, Fact, worst
from journal.schema import run_migrations
from journal.serverdoctor import examine_server
from tests.copying.filled import rows
from tests.postgres.test_server import run
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres.server import Server

_roles = itertools.count(1)


@pytest.fixture
def url(journal_path: str) -> str:
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").extend([{"n": 1}, {"n": 2}])
    return journal_path


def facts(url: str) -> dict[str, Fact]:
    found = examine_server(url)
    assert "s3cret" not in str(found)
    assert all((fact.next_step is None) == (fact.state == OK) for fact in found)
    return {fact.name: fact for fact in found}


def test_a_healthy_one_is_ok_and_left_as_it_is(url: str) -> None:
    before = rows(url)
    found = facts(url)
    assert worst(list(found.values())) == OK
    assert list(found) == [
        *("server", "settings", "standbys", "clock", "connections", "connected"),
        *("schema", "size", "grants", "key", "mirrors"),
    ]
    assert rows(url) == before
    done = run(url, "doctor", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert (document["schema"], document["state"]) == ("journal.doctor/1", "ok")
    assert document["path"] == parsed(url).shown


def test_it_can_change_nothing(url: str) -> None:
    with health.asked(parsed(url)) as asked, pytest.raises(Exception, match="read-only"):
        asked.cursor.execute("DELETE FROM layouts")


def test_no_server_is_one_fact(server: Server) -> None:
    (fact,) = examine_server(server.url().replace(f":{server.port}/", ":1/"))
    assert (fact.name, fact.state) == ("server", PROBLEM)
    assert fact.next_step


def test_no_journal_yet(server: Server) -> None:
    found = facts(server.url("nothing_there"))
    assert (found["schema"].state, found["schema"].next_step) == (PROBLEM, "journal init")
    assert "key" not in found


def test_a_copy_that_is_not_finished(server: Server) -> None:
    made = bulk.ServerTarget(parsed(server.url("half_made")))
    made.begin(CopyMark("agent.db", None), run_migrations)
    made.close()
    fact = facts(server.url("half_made"))["schema"]
    assert fact.state == PROBLEM
    assert (fact.next_step or "").startswith("journal copy agent.db ")


@contextmanager
def setting(server: Server, name: str, value: str) -> Iterator[None]:
    with server.connect() as plain:
        plain.execute(f"ALTER DATABASE postgres SET {name} = '{value}'")
        try:
            yield
        finally:
            plain.execute(f"ALTER DATABASE postgres RESET {name}")


def test_a_server_that_forgets_commits(url: str, server: Server) -> None:
    with setting(server, "synchronous_commit", "off"):
        fact = facts(url)["settings"]
    assert fact.state == PROBLEM
    assert "synchronous_commit off" in fact.words


def test_a_standby_that_is_waited_for_and_is_not_there(url: str, server: Server) -> None:
    with server.connect() as plain:
        try:
            plain.execute("ALTER SYSTEM SET synchronous_standby_names = 'elsewhere'")
            _reload(plain, "elsewhere")
            fact = facts(url)["standbys"]
        finally:
            plain.execute("ALTER SYSTEM RESET synchronous_standby_names")
            _reload(plain, "")
    assert fact.state == WARNING
    assert "every write waits" in fact.words


def test_standbys_that_the_url_claims(url: str) -> None:
    fact = facts(f"{url}&standbys=1")["standbys"]
    assert fact.state == PROBLEM
    assert "standbys=1, and the server waits for 0" in fact.words
    assert str(fact.next_step).count(" -c ") == 2
    done = run(f"{url}&standbys=1", "status")
    assert "Unsafe: " in done.stderr
    assert "the server waits for 0" in done.stderr


def _reload(plain: Any, expected: str) -> None:
    plain.execute("SELECT pg_reload_conf()")
    until = time.monotonic() + 20
    while plain.execute("SHOW synchronous_standby_names").fetchone()[0] != expected:
        assert time.monotonic() < until


def test_clocks_that_differ(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr("journal.dialects.health.time.time", lambda: now() - 3600)
    fact = facts(url)["clock"]
    assert fact.state == WARNING
    assert 3_590_000_000 < fact.details["ahead_us"] < 3_660_000_000


def test_who_holds_a_transaction_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverdoctor, "_LONG_S", -1)
    other = connect(parsed(url))
    try:
        other.execute("BEGIN")
        fact = facts(url)["connected"]
        pid = other.info.backend_pid
    finally:
        other.close()
    assert fact.state == WARNING
    assert f"pg_terminate_backend({pid})" in (fact.next_step or "")


def test_a_crowded_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverdoctor, "_CROWDED", 0.0)
    assert facts(url)["connections"].state == WARNING


def test_a_redacted_line_that_is_left_on_the_servers_disk(url: str, server: Server) -> None:
    with Journal(url) as journal:
        journal.session(KEY, writer="gateway", role="run").redact([1], reason="pasted")
    schema = parsed(url).schema
    with server.connect() as plain:
        plain.execute("SELECT pg_stat_force_next_flush()")
        plain.execute(f"ANALYZE {schema}.entries")
        fact = facts(url)["size"]
        assert fact.state == WARNING
        assert fact.next_step == f"psql -c 'VACUUM {schema}.entries'"
        plain.execute(f"VACUUM {schema}.entries")
    assert facts(url)["size"].state == OK


@pytest.fixture
def role(server: Server, url: str) -> Iterator[tuple[str, str, Any]]:
    """Make a role that may look into the schema; give its name, its URL, and what grants it more."""
    name, schema = f"somebody_{next(_roles)}", parsed(url).schema
    with server.connect() as plain:
        plain.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
        plain.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        yield (
            name,
            server.url(schema, user=name, password="plain"),  # noqa: S106
            lambda what: (
                plain.execute(f"GRANT {what} IN SCHEMA {schema} TO {name}")
                if "ALL TABLES" in what
                else plain.execute(f"GRANT {what} ON {schema}.entries TO {name}")
            ),
        )
        plain.execute(f"DROP OWNED BY {name}")
        plain.execute(f"DROP ROLE {name}")


def test_what_a_user_may_do(url: str, role: tuple[str, str, Any]) -> None:
    name, own_url, grant = role
    fact = facts(own_url)["grants"]
    assert fact.state == PROBLEM
    assert f"TO {name}" in (fact.next_step or "")

    grant("SELECT ON ALL TABLES")
    found = facts(own_url)
    assert worst(list(found.values())) == OK  # an auditor
    assert f"{name} is no writer: it may read and audit" in found["grants"].words

    grant("DELETE")
    fact = facts(url)["grants"]
    assert fact.state == WARNING
    assert f"{name} may DELETE entries" in fact.words
    assert fact.next_step == f"psql -c 'REVOKE DELETE ON {parsed(url).schema}.entries FROM {name}'"


@pytest.fixture
def odd(server: Server) -> Iterator[str]:
    """A user whose name is a statement's end, and a shell's."""
    name = 'it\'s; "DROP"'
    with server.connect() as owner:
        quoted = '"{}"'.format(name.replace('"', '""'))
        owner.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD 'odd'")
        yield name
        owner.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


def test_a_name_in_a_command_is_a_name(server: Server, odd: str) -> None:
    """Whatever a schema or a user is called: the shell and the server take it for that."""
    Journal(server.url("order")).close()
    own = server.url("order", user=quote(odd, safe=""), password="odd")  # noqa: S106 - a test's
    with server.connect() as owner:
        owner.execute('GRANT USAGE ON SCHEMA "order" TO "{}"'.format(odd.replace('"', '""')))
        psql, option, statement = shlex.split(facts(own)["grants"].next_step or "")
        assert (psql, option) == ("psql", "-c")
        owner.execute(statement)
    assert "it may read and audit" in facts(own)["grants"].words


def test_no_key(url: str, key_file: Path, tmp_path: Path) -> None:
    key_file.rename(tmp_path / "elsewhere")
    assert facts(url)["key"].state == PROBLEM
    assert run(url, "doctor").exit_code == 3

"""What a server must be like, what it is told when it is not, and what a thief can do to it."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from journal import (
    BusyError,
    ClaimedError,
    EntryError,
    Journal,
    JournalError,
    NotFoundError,
    ReadOnlyError,
    SchemaError,
    SessionTakeover,
    StorageError,
)
from journal.adapters.sharing import Shared
from journal.audit import audit
from journal.cli import cli
from journal.copying import copy
from journal.dialects import catalog, postgres
from journal.dialects.address import parsed
from journal.dialects.postgres import driver, translated
from journal.doctor import PROBLEM
from journal.serverdoctor import examine_server
from tests.postgres.server import PASSWORD, QUOTED
from tests.thieves import KEY, Thief, thief_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import Server


@pytest.fixture
def journal(journal_path: str) -> Iterator[Journal]:
    with Journal(journal_path) as journal:
        yield journal


@pytest.fixture
def gateway(journal: Journal) -> Any:
    gateway = journal.session(KEY, writer="gateway", role="run")
    gateway.append({"n": 1})
    return gateway


@pytest.fixture
def thief(gateway: Any, journal_path: str) -> Iterator[Thief]:
    thief = thief_at(journal_path)
    yield thief
    thief.close()


def found(url: str) -> set[str]:
    return {finding.id for finding in audit(url).findings}


# -- the address --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, shown",
    [
        ("postgresql+psycopg://u:pw@h:1/d", "postgresql+psycopg://u@h:1/d"),
        ("postgresql://u:pw@h/d?schema=a&sslmode=require", "postgresql+psycopg://u@h/d?schema=a"),
        ("postgres://h/d?user=u&password=pw", "postgresql+psycopg://h/d?user=u"),
        ("postgresql://u:p%40w%2F@h/d", "postgresql+psycopg://u@h/d"),
    ],
)
def test_a_password_is_never_part_of_what_is_shown(url: str, shown: str) -> None:
    assert parsed(url).shown == shown


@pytest.mark.parametrize("name", ["a%40b", "a%3Fb", "a%23b", "100%25", "a%0Ab"])
def test_what_is_shown_is_an_address_whatever_the_database_is_called(name: str) -> None:
    """Else no error of such a server's could be told, nor a write that lost a race be run again."""
    address = parsed(f"postgresql://u:pw@h/{name}?schema=a")
    again = parsed(address.shown)
    assert (again.shown, again.schema) == (address.shown, "a")
    assert again.conninfo == f"postgresql://u@h/{name}"
    lost_race = translated(driver().errors.SerializationFailure("lost"), address.shown)
    assert (type(lost_race), lost_race.code) == (BusyError, "contended")


def test_what_the_query_says_is_what_libpq_reads_in_it() -> None:
    url = "postgresql://h/d?password=a+b%20c%2Bd&sslrootcert=/opt/c++/ca.pem&user=me+you"
    address = parsed(url)
    for made in (address.conninfo, parsed(address.shown).conninfo):
        given = driver().conninfo.conninfo_to_dict(made)
        assert given["user"] == "me+you"
    assert driver().conninfo.conninfo_to_dict(address.conninfo) == (
        driver().conninfo.conninfo_to_dict(url)
    )


@pytest.mark.parametrize("password", ["1/2", "1?2", "p#w", "1#2", "p@w/2@x"])
def test_a_password_that_is_not_quoted_is_refused_and_not_shown(password: str) -> None:
    with pytest.raises(EntryError) as caught:
        parsed(f"postgresql://u:{password}@h/d")
    assert password not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("schema", ["public", "pg_catalog", 'a"b', "A", ""])
def test_a_journal_has_a_schema_of_its_own(schema: str) -> None:
    with pytest.raises(EntryError):
        parsed(f"postgresql://h/d?schema={schema}")


# -- getting in ---------------------------------------------------------------------------


def refused(url: str, **options: Any) -> JournalError:
    with pytest.raises(JournalError) as caught:
        Journal(url, **options)
    told = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert "s3cret" not in told
    assert "wrong" not in told
    return caught.value


def test_wrong_credentials_are_told_without_the_password(server: Server) -> None:
    assert refused(server.url(password="wrong")).code == "credentials"  # noqa: S106
    assert refused(server.url(user="nobody_here")).code == "credentials"
    assert refused(server.url().replace(f":{QUOTED}", "")).code == "credentials"


def test_no_database_of_that_name(server: Server) -> None:
    error = refused(server.url().replace("/postgres?", "/nothing_here?"))
    assert isinstance(error, NotFoundError)
    assert error.code == "no-database"


def test_no_server_at_all(server: Server) -> None:
    assert refused(server.url().replace(f":{server.port}", ":1")).code == "server-gone"


def test_a_port_that_takes_connections_and_says_nothing_is_no_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A doctor is answered soon: it may be that server that he was called for."""
    monkeypatch.setattr(postgres, "_SOON_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:s3cret@127.0.0.1:{silent.getsockname()[1]}/d"
        (fact,) = examine_server(url)
    assert (fact.name, fact.state, fact.details["code"]) == ("server", PROBLEM, "server-gone")
    assert "s3cret" not in fact.words


def test_no_address_at_all(server: Server) -> None:
    error = refused("postgresql+psycopg://u:s3cret@127.0.0.1:port/d")
    assert isinstance(error, EntryError)
    assert isinstance(refused("mysql://u:s3cret@h/d"), EntryError)


def test_a_word_that_the_driver_does_not_know_is_named() -> None:
    error = refused("postgresql+psycopg://u:s3cret@127.0.0.1/d?sslmod=require")
    assert isinstance(error, EntryError)
    assert "?sslmod=" in str(error)


def test_no_journal_and_none_is_to_be_made(journal_path: str, server: Server) -> None:
    assert isinstance(refused(journal_path, create=False), NotFoundError)
    assert catalog.version_of(parsed(journal_path)) is None
    with pytest.raises(NotFoundError):
        audit(journal_path)


def test_another_programs_tables_are_left_as_they_are(journal_path: str, server: Server) -> None:
    schema = parsed(journal_path).schema
    with server.connect() as owner:
        owner.execute(f"CREATE SCHEMA {schema}")
        owner.execute(f"CREATE TABLE {schema}.theirs (n int)")
        error = refused(journal_path)
        assert isinstance(error, SchemaError)
        assert error.code == "not-a-journal"
        names = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", [schema]
        ).fetchall()
    assert names == [("theirs",)]


def test_a_schema_made_empty_beforehand_is_used(journal_path: str, server: Server) -> None:
    with server.connect() as owner:
        owner.execute(f"CREATE SCHEMA {parsed(journal_path).schema}")
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})


def test_many_may_open_a_new_journal_at_once(journal_path: str) -> None:
    made: list[str] = []

    def open_it() -> None:
        with Journal(journal_path) as journal:
            made.append(journal.id)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 6
    assert len(set(made)) == 1


def test_each_end_soon_sees_that_the_others_host_is_gone(journal_path: str) -> None:
    def idle_s(url: str) -> tuple[int, str]:
        with Journal(url) as journal:
            raw = journal.store._raw
            with socket.socket(fileno=os.dup(raw.fileno())) as own:
                found = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            return found, raw.execute("SHOW tcp_keepalives_idle").fetchone()[0]

    assert idle_s(journal_path) == (30, "30")
    assert idle_s(f"{journal_path}&keepalives_idle=7") == (7, "30")


def test_a_newer_schema_is_refused(journal: Journal, journal_path: str, server: Server) -> None:
    with server.connect() as owner:
        owner.execute(
            f"COMMENT ON SCHEMA {parsed(journal_path).schema} IS 'session-journal schema 99'"
        )
    assert refused(journal_path).code == "schema-newer"


@pytest.mark.parametrize(
    "version", ["", "1 (of the gateways)", "-1", pytest.param("1" * 5000, id="long")]
)
def test_a_comment_that_somebody_changed_is_told(
    journal: Journal, journal_path: str, server: Server, version: str
) -> None:
    """It is what people write into, and what the hint says makes it a journal's again."""
    with server.connect() as owner:
        schema = parsed(journal_path).schema
        owner.execute(f"COMMENT ON SCHEMA {schema} IS 'session-journal schema {version}'")
        error = refused(journal_path)
        assert error.code == "schema-changed"
        owner.execute(str(error.hint).partition("  #")[0])
    Journal(journal_path).close()


def test_a_schema_that_was_changed_meanwhile_is_refused_until_it_is_mended(
    journal: Journal, gateway: Any, journal_path: str, server: Server
) -> None:
    """When the journal connects again, and not at the first write alone."""
    schema = parsed(journal_path).schema
    with server.connect() as owner:
        owner.execute(f"CREATE INDEX foreign_one ON {schema}.entries (seq)")
        journal.store._raw.close()
        for _ in range(2):
            for ask in (lambda: gateway.append({"n": 2}), gateway.read, gateway.claim):
                with pytest.raises(SchemaError) as caught:
                    ask()
                assert caught.value.code == "schema-changed"
        owner.execute(f"DROP INDEX {schema}.foreign_one")
    gateway.append({"n": 2})
    assert [entry.json() for entry in gateway.read()] == [{"n": 1}, {"n": 2}]


# -- a server that forgets ----------------------------------------------------------------


@pytest.fixture
def as_role(server: Server, journal: Journal, journal_path: str) -> Iterator[Any]:
    """Set something for whoever connects, and take it back."""
    owner = server.connect()

    def set_it(words: str) -> None:
        owner.execute(f"ALTER ROLE journal {words}")

    yield set_it
    owner.execute("ALTER ROLE journal RESET ALL")
    owner.close()


def test_many_open_a_new_journal_where_a_transaction_sees_one_state(
    as_role: Any, server: Server
) -> None:
    as_role("SET default_transaction_isolation = 'serializable'")
    test_many_may_open_a_new_journal_at_once(server.url("serializable"))


def test_a_statement_that_the_server_ends_is_told_as_that(
    as_role: Any, journal_path: str, server: Server
) -> None:
    as_role("SET statement_timeout = '1s'")
    with Journal(journal_path) as journal, server.connect() as holding:
        holding.execute(f"BEGIN; LOCK TABLE {parsed(journal_path).schema}.sessions")
        session = journal.session(KEY, writer="gateway", role="run")
        with pytest.raises(StorageError) as caught:
            session.append({"n": 1})
        holding.execute("ROLLBACK")
    assert caught.value.code == "canceled"
    assert "statement_timeout" in str(caught.value.hint)


def test_what_a_commit_is_warned_of_is_heard_by_a_role_that_is_spared_warnings(
    as_role: Any, journal_path: str
) -> None:
    as_role("SET client_min_messages = 'error'")
    with Journal(journal_path) as journal:
        link: Any = journal.store._link  # type: ignore[attr-defined]
        with pytest.raises(StorageError) as caught, link.commits.confirmed(10):
            link.raw.execute("DO $$ BEGIN RAISE WARNING 'the wait was ended'; END $$")
    assert caught.value.code == "server-gone"


def test_a_server_that_forgets_commits_is_refused(as_role: Any, journal_path: str) -> None:
    as_role("SET synchronous_commit = off")
    error = refused(journal_path)
    assert (type(error), error.code) == (StorageError, "not-durable")
    assert "synchronous_commit" in str(error)
    with Journal(journal_path, durability="normal") as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    assert "J503" not in found(journal_path)  # an audit only reads


def test_a_server_without_fsync_is_refused(
    journal: Journal, journal_path: str, server: Server
) -> None:
    server.configure("fsync = off")
    server.stop()
    server.start()
    try:
        assert refused(journal_path).code == "not-durable"
        assert refused(journal_path, durability="normal").code == "not-durable"
    finally:
        server.configure("fsync = on")
        server.stop()
        server.start()


def test_a_server_that_lets_nobody_write_is_refused_and_can_be_audited(
    as_role: Any, journal_path: str
) -> None:
    as_role("SET default_transaction_read_only = on")
    assert isinstance(refused(journal_path), ReadOnlyError)
    assert audit(journal_path).findings == ()


# -- the seat belts -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = 'x' WHERE seq = 1",
        "UPDATE entries SET seq = 9 WHERE session_id = 2",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "UPDATE meta SET value = 'x' WHERE name = 'journal_id'",
        "DELETE FROM meta",
        "TRUNCATE meta",
        "INSERT INTO entries SELECT * FROM entries",
    ],
)
def test_plain_sql_changes_nothing_by_mistake(
    thief: Thief, journal_path: str, statement: str
) -> None:
    with pytest.raises(Exception, match=r"entr|journal keeps|duplicate key") as caught:
        thief.execute(statement)
    assert getattr(caught.value, "sqlstate", "")[:2] == "23"
    assert found(journal_path) == set()


@pytest.mark.parametrize(
    "statement, said",
    [
        ("ALTER TABLE entries DISABLE TRIGGER entries_delete", "disabled trigger entries_delete"),
        ("DROP TRIGGER entries_update ON entries", "missing trigger entries_update"),
        ("CREATE TRIGGER more BEFORE INSERT ON entries EXECUTE FUNCTION entries_delete()", "more"),
        ("CREATE RULE swallow AS ON INSERT TO entries DO INSTEAD NOTHING", "a rule"),
        ("ALTER TABLE sessions ADD COLUMN more int", "a table"),
        (
            (
                "CREATE OR REPLACE FUNCTION entries_delete() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN RETURN OLD; END'"
            ),
            "was changed",
        ),
    ],
)
def test_a_changed_catalogue_is_refused_and_found(
    thief: Thief, journal_path: str, statement: str, said: str
) -> None:
    thief.execute(statement)
    error = refused(journal_path)
    assert error.code == "schema-changed"
    assert said in str(error)
    assert "J503" in found(journal_path)


# -- the thief ----------------------------------------------------------------------------


def test_a_row_by_plain_sql_is_seen_by_fence_and_audit(
    gateway: Any, thief: Thief, journal_path: str
) -> None:
    fence = gateway.fence()
    seq = thief.insert_copy(body=b'{"stolen":1}')
    with pytest.raises(SessionTakeover) as caught:
        fence.check()
    assert [(entry.seq, entry.trust) for entry in caught.value.entries] == [(seq, "stray")]
    assert found(journal_path) & {"J301", "J302"}


def test_a_changed_and_a_deleted_row_are_seen(
    gateway: Any, thief: Thief, journal_path: str
) -> None:
    gateway.extend([{"n": 2}, {"n": 3}])
    fence = gateway.fence()
    thief.edit("body", 2, b'{"n":9}')
    thief.delete(3)
    with pytest.raises(SessionTakeover):
        fence.check()
    assert {finding.severity for finding in audit(journal_path).findings} >= {"broken"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sessions SET head_seq = 99 WHERE id > 1",
        "DELETE FROM sessions WHERE id > 1",
        "UPDATE sessions SET key = 'other' WHERE id > 1",
        "INSERT INTO writers VALUES (77, 'heartbeat', 'cron', 0, NULL, NULL)",
        "DELETE FROM writers",
    ],
)
def test_a_forged_projection_stops_no_honest_write(
    journal: Journal, gateway: Any, thief: Thief, statement: str
) -> None:
    """What is not sealed is not believed, and is put right by the next write."""
    thief.execute(statement)
    heartbeat = journal.session(KEY, writer="heartbeat", role="heartbeat")
    heartbeat.append({"n": 2})
    gateway.append({"n": 3})
    assert [entry.json() for entry in gateway.read()] == [{"n": 1}, {"n": 2}, {"n": 3}]


# -- the rest -----------------------------------------------------------------------------


def test_tail_follows_another_process(gateway: Any, journal_path: str) -> None:
    seen: list[int] = []
    done = threading.Event()

    def follow() -> None:
        for entry in gateway.tail(after=0):
            seen.append(entry.seq)
            if len(seen) == 3:
                done.set()
                return

    thread = threading.Thread(target=follow)
    thread.start()
    with Journal(journal_path) as other:
        cron = other.session(KEY, writer="cron", role="cron")
        cron.append({"n": 2})
        cron.append({"n": 3})
    assert done.wait(30)
    thread.join(10)
    assert seen == [1, 2, 3]


def run(url: str, *words: str) -> Any:
    done = CliRunner().invoke(cli, ["-d", url, *words], prog_name="journal")
    assert QUOTED not in done.output
    assert PASSWORD not in done.output
    return done


def test_the_command_line_takes_a_url(journal_path: str) -> None:
    """A journal is made, written, read and audited, and the password is never printed."""
    assert run(journal_path, "init").exit_code == 0
    done = run(journal_path, "append", KEY, "--writer", "alice", "--role", "operator", '{"n": 1}')
    assert done.exit_code == 0, done.output
    assert '{"n": 1}' in run(journal_path, "log", KEY, "--json").output.replace('\\"', '"')
    for command in (["sessions"], ["status"], ["writers"], ["show", KEY, "1"], ["who", KEY]):
        done = run(journal_path, *command)
        assert done.exit_code == 0, (command, done.output)
    done = run(journal_path, "audit")
    assert done.exit_code == 0, done.output
    assert "not anchored" in done.output


def test_what_became_of_a_refused_write_is_told(
    journal: Journal, gateway: Any, journal_path: str
) -> None:
    other = journal.session(KEY, writer="other", role="run")
    with other.claim(), pytest.raises(ClaimedError) as caught:
        gateway.append({"n": 2})
    number = str(caught.value.parked)
    done = run(journal_path, "why", number)
    assert (done.exit_code, number in done.output) == (0, True), done.output
    journal.parked(number).discard(writer="alice", role="operator", reason="too late")
    settled = journal.parked(number).settlement()
    assert settled is not None
    assert (settled.by, settled.reason) == ("alice", "too late")
    assert "too late" in run(journal_path, "parked", "show", number).output


def test_a_password_is_not_said_where_two_journals_are_named(journal_path: str) -> None:
    for other in ("other.db", journal_path + "_too"):
        done = run(journal_path, "init", other)
        assert done.exit_code == 2
        assert f"-d names {parsed(journal_path).shown}, and PATH " in done.output


@pytest.mark.parametrize("opening", [Journal, audit, Shared.of, lambda url: copy(url, "copy.db")])
def test_another_drivers_url_is_refused_without_its_password(opening: Any) -> None:
    """As SQLAlchemy knows it; somebody's own may stand there by mistake."""
    url = f"postgresql+asyncpg://u:{QUOTED}@h/d"
    with pytest.raises(EntryError) as caught:
        opening(url)
    assert QUOTED not in f"{caught.value} {caught.value.hint}"
    assert "postgresql+asyncpg is not a database" in str(caught.value)
    assert run(url, "status").exit_code == run(url, "init").exit_code
    assert run(url, "init", "other.db").exit_code == 2


def test_the_command_line_tells_a_wrong_password(server: Server) -> None:
    done = run(server.url(password="wrong"), "status")  # noqa: S106
    assert done.exit_code == 1
    assert "does not let this user in" in done.output


def test_an_error_of_the_servers_is_said_on_one_line() -> None:
    """The server points at the statement on lines of their own; a command says one line."""
    found = driver().errors.SyntaxError("no such thing\nLINE 1: SELECT x\n               ^")
    assert str(translated(found, "here")) == "here: no such thing LINE 1: SELECT x ^"

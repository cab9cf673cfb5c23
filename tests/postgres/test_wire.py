"""Statements sent at libpq's level: what they answer, and what becomes of a connection that is lost meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal
from journal.dialects import postgres
from journal.dialects.address import parsed
from journal.dialects.wire import Wire, count_of, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import Server

VALUES = "SELECT $1::bigint, $2::text, $3::bytea, $4::text, $5::bigint"
SENT = (-(2**62), "ß\n", b"\0\xff", None, None)
GOT = (-(2**62), "ß\n".encode(), b"\0\xff", None, None)


@pytest.fixture
def wire(journal_path: str) -> Iterator[Wire]:
    connection = postgres.connect(parsed(journal_path))
    yield Wire(connection)
    connection.close()


def test_values_come_back_as_they_were_sent(wire: Wire) -> None:
    """Alone and together, at each use."""
    for _ in range(2):
        (found,) = wire.run((VALUES, SENT))
        assert (row_of(found), count_of(found)) == (GOT, 1)
        begin, first, empty, commit = wire.run(
            ("BEGIN", ()),
            (VALUES, SENT),
            ("SELECT 1::bigint WHERE $1::bigint > 1", (1,)),
            ("COMMIT", ()),
        )
        assert (row_of(first), row_of(empty)) == (GOT, None)
        assert [count_of(each) for each in (begin, empty, commit)] == [0, 0, 0]


def test_nothing_is_done_behind_an_error(wire: Wire) -> None:
    divide = ("SELECT 1 / $1::bigint", (0,))
    later = ("SELECT pg_advisory_lock($1)", (4711,))
    for each in ([divide], [("BEGIN", ()), divide, later, ("COMMIT", ())]):
        with pytest.raises(postgres.driver().errors.DivisionByZero):
            wire.run(*each)
        wire.connection.execute("ROLLBACK")
        held = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert wire.connection.execute(held).fetchone() == (0,)
        assert row_of(wire.run((VALUES, SENT))[0]) == GOT


def test_a_statement_that_the_server_does_not_take_is_not_known_from_then_on(wire: Wire) -> None:
    for _ in range(2):
        with pytest.raises(postgres.driver().errors.UndefinedTable):
            wire.run(("SELECT * FROM nothing_there", ()))
    assert row_of(wire.run((VALUES, SENT))[0]) == GOT


@pytest.mark.parametrize("count", [1, 3])
def test_a_connection_that_the_server_ended_is_lost(wire: Wire, server: Server, count: int) -> None:
    wire.run((VALUES, SENT))
    with server.connect() as owner:
        owner.execute("SELECT pg_terminate_backend(%s, 5000)", (wire.connection.info.backend_pid,))
    with pytest.raises(postgres.driver().Error) as caught:
        wire.run(*[(VALUES, SENT)] * count)
    assert postgres.is_lost(caught.value)
    assert wire.connection.closed


def test_a_result_without_a_word_of_the_servers_is_a_lost_connection(wire: Wire) -> None:
    result = wire.connection.pgconn.make_empty_result(postgres.driver().pq.ExecStatus.FATAL_ERROR)
    with pytest.raises(postgres.driver().Error) as caught:
        wire._check(result, "SELECT 1")
    assert postgres.is_lost(caught.value)


def interrupt(connection: Any) -> None:
    """Have the connection's next wait end with Ctrl-C."""
    wait = connection.wait

    def interrupted(generator: Any) -> Any:
        connection.wait = wait
        next(generator)
        raise KeyboardInterrupt

    connection.wait = interrupted


def test_what_is_interrupted_together_ends_the_connection(wire: Wire) -> None:
    """Its answers are still to come, and would be taken for the next ones'."""
    wire.run((VALUES, SENT))
    interrupt(wire.connection)
    with pytest.raises(KeyboardInterrupt):
        wire.run((VALUES, SENT), (VALUES, SENT))
    assert wire.connection.closed


def test_a_write_that_was_interrupted_is_there_or_is_not(journal_path: str) -> None:
    with Journal(journal_path) as journal:
        session = journal.session("a", writer="gateway", role="run")
        session.extend([{"n": 1}, {"n": 2}])
        interrupt(journal.store._raw)
        with pytest.raises(KeyboardInterrupt):
            session.extend([{"n": 3}, {"n": 4}])
        session.append({"n": 5})
        assert [entry.json()["n"] for entry in session.read()] in ([1, 2, 5], [1, 2, 3, 4, 5])

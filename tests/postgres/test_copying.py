"""Whole journals copied to a server and back: the same rows, under the same seals."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, JournalError, SchemaError, tables
from journal.audit import audit
from journal.audit.source import opened
from journal.copying import copy, running
from journal.copymark import CopyMark
from journal.dialects.address import parsed
from journal.dialects.bulk import ServerTarget
from journal.errors import BusyError, StorageError
from journal.schema import run_migrations
from tests.copying.filled import exports, rows
from tests.copying.kills import steps_of, survive
from tests.postgres.test_server import run
from tests.thieves import KEY, Thief, thief_at

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.server import Server

_numbers = itertools.count(1)


@pytest.fixture
def url(server: Server) -> str:
    return server.url(f"copied_{next(_numbers)}")


def refused(source: object, target: object) -> JournalError:
    with pytest.raises(JournalError) as caught:
        copy(str(source), str(target))
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    return caught.value


def test_there_and_back_every_row_is_as_it_was(
    large_source: Path, target: Path, url: str, server: Server
) -> None:
    source = large_source
    before = rows(source)
    there = copy(source, url)
    assert there.is_clean
    assert there.after.verdict == "ok, not anchored"
    assert there.differences == []
    assert rows(url) == before
    assert exports(url) == exports(source)

    other = server.url(f"copied_{next(_numbers)}")
    assert copy(url, other).is_clean
    assert rows(other) == before

    back = copy(other, target)
    assert back.is_clean
    assert rows(target) == before
    assert exports(target) == exports(source)
    assert "s3cret" not in f"{there} {back}"


def test_what_was_written_there_comes_back(source: Path, target: Path, url: str) -> None:
    copy(source, url)
    with Journal(url) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        made = session.append({"on": "the server"})
        with session.claim() as turn:
            turn.append({"in": "a turn"})
        session.redact([made.seq], reason="pasted")
    assert audit(url).verdict == "ok, not anchored"

    copied = copy(url, target)
    assert copied.is_clean
    assert rows(target) == rows(url)
    with Journal(target) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"in": "a file again"})
    found = audit(target)
    assert (found.verdict, found.findings) == ("ok, not anchored", ())


def test_what_is_broken_is_as_broken_there(source: Path, target: Path, url: str) -> None:
    thief = Thief(source)
    thief.edit("body", 5, b"changed")
    thief.insert_copy(body=b"stolen")
    thief.close()
    there = copy(source, url)
    assert there.before.verdict == there.after.verdict == "broken"
    assert there.differences == []
    assert not there.is_clean
    copy(url, target)
    assert rows(target) == rows(source)


def test_text_that_a_server_cannot_hold_is_escaped_and_told(source: Path, url: str) -> None:
    thief = Thief(source)
    seq = thief.insert_copy(body=b"stolen")
    with thief.without_triggers():
        thief.execute(
            "UPDATE entries SET run_id = CAST(x'61ff00' AS TEXT) WHERE session_id = ? AND seq = ?",
            thief.session_id(), seq,
        )  # fmt: skip
    thief.close()
    copied = copy(source, url)
    (told,) = copied.escaped
    assert "run_id" in told
    assert not copied.is_clean
    (found,) = [row for row in rows(url)["entries"] if row[2] == seq and row[-1] == b"stolen"]
    assert rb"a\xff\x00" in found
    assert copy(source, url).was_there  # and it compares as it was put


def test_an_id_that_is_escaped_stands_where_it_belongs_then(source: Path, url: str) -> None:
    """Last among the ids as it was, and before them as it is put."""
    thief = Thief(source)
    for name in ("fences", "verdicts", "parked"):
        columns = [column.name for column in tables.metadata.tables[name].c]
        others = ", ".join(columns[1:])
        thief.execute(
            f"INSERT INTO {name} (id, {others}) SELECT CAST(x'ff' || id AS TEXT), {others} FROM {name}"
        )
    thief.close()
    copied = copy(source, url)
    assert copied.escaped_count == sum(
        len(rows(source)[name]) // 2 for name in ("fences", "verdicts", "parked")
    )
    assert copied.escaped_count > 2
    assert copy(source, url).was_there


def test_numbers_that_a_file_has_once_are_given_anew_and_told(
    source: Path, target: Path, url: str
) -> None:
    copy(source, url)
    thief = thief_at(url)
    first = thief.column("id", 1)
    thief.insert_copy(id=first, body=b"stolen")
    thief.execute("INSERT INTO writers VALUES (77, 'gateway', 'run', 1, NULL, NULL)")
    thief.close()
    copied = copy(url, target)
    assert copied.escaped_count == 2
    assert {each.id for each in copied.after.findings} >= {"J301", "J405"}
    assert len(rows(target)["entries"]) == len(rows(url)["entries"])
    assert copy(url, target).was_there


def test_ids_and_keys_that_a_file_has_once_are_given_anew_and_told(
    source: Path, target: Path, url: str
) -> None:
    """Whoever may write to the journal may put such a row there, and must keep nobody from a copy."""
    copy(source, url)
    thief = thief_at(url)
    for table in ("fences", "verdicts", "parked", "pending_inputs", "mirrors", "migrated_files"):
        columns = [column.name for column in tables.metadata.tables[table].c]
        names = ", ".join(columns)
        others = names.replace("session_id", "77")
        thief.execute(f"INSERT INTO {table} ({names}) SELECT {others} FROM {table}")
    thief.execute(
        "INSERT INTO sessions SELECT 77, key, 0, 0, 0, 0, '', 0, 0 FROM sessions WHERE id = 2"
    )
    thief.close()
    there = rows(url)
    copied = copy(url, target)
    again = sum(
        len(there[name]) // 2 for name in ("fences", "verdicts", "parked", "pending_inputs")
    )
    again += sum(len(there[name]) // 2 for name in ("mirrors", "migrated_files"))
    assert again > 4
    assert copied.escaped_count == again + 1
    here = rows(target)
    assert {name: len(held) for name, held in here.items()} == {
        name: len(held) for name, held in there.items()
    }
    assert copy(url, target).was_there


def test_a_copy_that_is_not_finished_is_no_journal(
    source: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "settle", stop)
        with pytest.raises(KeyboardInterrupt):
            copy(source, url)
    shown = parsed(url).shown
    for open_it in (Journal, audit):
        with pytest.raises(SchemaError) as caught:
            open_it(url)
        assert caught.value.code == "unfinished-copy"
        assert caught.value.hint == f"journal copy {source} '{shown}'"
    done = run(url, "status")
    assert done.exit_code == 12
    assert "is not finished" in done.stderr

    copied = copy(source, url)
    assert copied.was_begun
    assert copied.mended == 0
    assert rows(url) == rows(source)


def test_what_else_is_there_is_left_as_it_is(
    source: Path, url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(url) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    before = rows(url)
    assert refused(source, url).code == "another-journal"
    assert refused(url, url).code == "own-file"
    assert rows(url) == before

    with server.connect() as plain:
        plain.execute("CREATE SCHEMA others")
        plain.execute("CREATE TABLE others.mine (n int)")
    assert refused(source, server.url("others")).code == "not-a-journal"


def test_a_finished_copy_is_never_written_over(source: Path, url: str) -> None:
    copy(source, url)
    assert copy(source, url).was_there
    with Journal(url) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    before = rows(url)
    error = refused(source, url)
    assert error.code == "copy-is-there"
    assert f"1 entry in 1 session only in {parsed(url).shown}" in str(error)
    assert rows(url) == before


@pytest.mark.parametrize("catch_up", [False, True])
def test_a_journal_is_no_copy_of_itself_however_it_is_called(
    source: Path, url: str, *, catch_up: bool
) -> None:
    """It would be said to be equal, and who believes that there are two may take one away."""
    copy(source, url)
    for other in (url.replace("127.0.0.1", "localhost"), f"{url}&connect_timeout=5"):
        with pytest.raises(StorageError) as caught:
            copy(url, other, catch_up=catch_up)
        assert (caught.value.code, caught.value.hint) == ("own-file", "name another DST")


def test_two_do_not_copy_into_one_place(
    source: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("journal.dialects.bulk._WAIT_S", 0.2)
    mark = CopyMark(str(source), "x" * 32)
    first, second = ServerTarget(parsed(url)), ServerTarget(parsed(url))
    first.begin(mark, run_migrations)
    with pytest.raises(BusyError):
        second.begin(mark, run_migrations)
    second.close()
    first.close()


def test_a_copy_of_another_journal_that_was_begun_meanwhile_is_not_gone_on_with(
    source: Path, url: str
) -> None:
    """Both had found nothing there."""
    first, second = ServerTarget(parsed(url)), ServerTarget(parsed(url))
    first.begin(CopyMark(str(source), "x" * 32), run_migrations)
    first.close()
    with pytest.raises(StorageError) as caught:
        second.begin(CopyMark("other.db", "y" * 32), run_migrations)
    second.close()
    assert (caught.value.code, str(source) in str(caught.value)) == ("another-journal", True)


def test_a_connection_that_is_lost_where_a_copy_goes_on_is_told(
    source: Path, url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an error of the journal's, with what to do."""
    highest = ServerTarget.highest

    def cut(target: ServerTarget) -> int | None:
        with server.connect() as owner:
            pid = target._raw.info.backend_pid
            owner.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        return highest(target)

    with monkeypatch.context() as patch:
        patch.setattr(ServerTarget, "highest", cut)
        error = refused(source, url)
    assert error.code == "server-gone"
    assert "goes on where it was" in str(error.hint)
    assert copy(source, url).is_clean


def test_a_server_serves_none_of_the_files(tmp_path: Path, url: str, target: Path) -> None:
    path, file = tmp_path / "own.db", tmp_path / "session.jsonl"
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run", mirror=file).append({"n": 1})
    copied = copy(path, url)
    assert [each.path for each in copied.mirrors] == [str(file)]
    with Journal(url) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        with session.fence() as fence:
            fence.append({"n": 2})
        (status,) = journal.mirrors.status()
        assert (status.state, status.path) == ("elsewhere", str(file))
        assert "the journal that this was copied from" in str(status.detail)
    assert file.read_bytes() == b'{"n":1}\n'
    found: Any = audit(url)
    assert (found.verdict, found.findings) == ("ok, not anchored", ())

    assert copy(url, target).is_clean  # and back on the very host that has the file
    with Journal(target) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 3})
    assert file.read_bytes() == b'{"n":1}\n'


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 30))]
)
def test_a_copy_survives_kills(
    source: Path, url: str, target: Path, server: Server, seed: int
) -> None:
    there = steps_of(str(source), server.url(f"copied_{next(_numbers)}"))
    assert survive(str(source), url, seed, there)
    assert rows(url) == rows(source)
    here = steps_of(url, str(target.with_name("measured.db")))
    assert survive(url, str(target), seed, here)
    assert rows(target) == rows(source)


def test_a_finished_copy_is_brought_up_to_the_journal(source: Path, target: Path, url: str) -> None:
    """The way to move: copy while others write, end them, catch up."""
    copy(source, url)
    with Journal(source) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.extend({"new": n} for n in range(20))
        session.redact([2], reason="pasted")
    assert refused(source, url).code == "copy-is-there"
    copied = copy(source, url, catch_up=True)
    assert copied.is_clean
    assert rows(url) == rows(source)
    copy(url, target)
    with Journal(url) as journal:
        made = journal.session(KEY, writer="gateway", role="run").append({"on": "the server"})
    assert copy(url, target, catch_up=True).is_clean
    with pytest.raises(StorageError) as told:
        copy(source, f"{url}&standbys=1", catch_up=True)
    assert told.value.code == "no-standby"
    assert rows(target) == rows(url)

    with pytest.raises(JournalError) as caught:  # the server has gone on
        copy(source, url, catch_up=True)
    assert caught.value.code == "copy-was-written"
    with Journal(url) as journal:
        assert journal.session(KEY).head.seq == made.seq


def test_a_copy_whose_schema_was_changed_meanwhile_is_not_brought_up(
    source: Path, url: str, server: Server
) -> None:
    copy(source, url)
    schema = parsed(url).schema
    with Journal(source) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    with server.connect() as plain:
        plain.execute(f"ALTER TABLE {schema}.entries DISABLE TRIGGER entries_delete")
        with pytest.raises(JournalError) as caught:
            copy(source, url, catch_up=True)
        assert caught.value.code == "schema-changed"
        found = plain.execute(
            "SELECT tgenabled FROM pg_trigger WHERE tgname = 'entries_delete' "
            f"AND tgrelid = '{schema}.entries'::regclass"
        ).fetchone()
        assert found == ("D",)  # nor put right unasked


def test_others_tables_beside_a_copy_keep_their_numbers(
    source: Path, url: str, server: Server
) -> None:
    """Whatever they are called: their names are no part of what the copy has the server do."""
    copy(source, url)
    schema = parsed(url).schema
    named = '"theirs\'; DROP TABLE fences; --"'
    with server.connect() as plain:
        plain.execute(f"CREATE TABLE {schema}.{named} (id bigint GENERATED BY DEFAULT AS IDENTITY)")
        plain.execute(f"INSERT INTO {schema}.{named} VALUES (7)")
    with Journal(source) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    assert copy(source, url, catch_up=True).is_clean
    assert rows(url) == rows(source)
    with server.connect() as plain:
        made = plain.execute(f"INSERT INTO {schema}.{named} DEFAULT VALUES RETURNING id")
        assert made.fetchone() == (1,)


def test_rows_come_some_at_a_time_while_others_are_asked(source: Path, url: str) -> None:
    """Or an audit would need room for the largest session."""
    copy(source, url)
    with opened(url) as there, opened(str(source)) as here:
        found = there.rows(2)
        first = [next(found) for _ in range(20)]
        more = there.rows(1)
        assert next(more).seq == 1
        assert there.query("SELECT count(*) FROM entries").fetchone()[0] > len(first)
        assert [*first, *found] == list(here.rows(2))
        assert there.query("SELECT 1").fetchone() == (1,)

"""The dangers that make SQLite lose its locks or its files: each refused, or noticed before anything is acknowledged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import CorruptError, Journal, LockLost, UnsafeSQLite, guards, schema
from journal.audit import audit
from journal.engine import connect
from journal.pins import CAN_PIN, LOOK_AFTER, NoPins
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal import Session

pytestmark = pytest.mark.skipif(not CAN_PIN, reason="only Linux has locks of an open file")

APPEND = """
    import sys
    from journal import Journal
    with Journal(sys.argv[1]) as journal:
        cron = journal.session("agent:main:main", writer="cron", role="cron")
        for number in range(int(sys.argv[2])):
            cron.append({"cron": number})
"""


def in_another_process(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def open_and_close(path: Path | str) -> None:
    """Do what a C library in this process could do, unseen by any audit hook: every lock is gone."""
    with guards.own_hand():
        os.close(os.open(path, os.O_RDONLY))


@contextmanager
def refused(code: str) -> Iterator[None]:
    with pytest.raises(UnsafeSQLite) as caught:
        yield
    assert caught.value.code == code


# -- what Python code does ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "-shm"])
@pytest.mark.parametrize(
    "touch",
    [
        lambda path: Path(path).read_bytes(),
        lambda path: shutil.copy(path, f"{path}.copy"),
        lambda path: os.open(path, os.O_RDWR),
    ],
    ids=["read", "copy", "open"],
)
def test_python_code_may_not_open_a_live_file(
    gateway: Session, journal_path: Path, touch: Any, suffix: str
) -> None:
    gateway.append({"n": 1})
    with refused("live-file"):
        touch(f"{journal_path}{suffix}")


def test_by_another_name_neither(gateway: Session, journal_path: Path, tmp_path: Path) -> None:
    gateway.append({"n": 1})
    (tmp_path / "alias").symlink_to(journal_path)
    with refused("live-file"):
        (tmp_path / "alias").read_bytes()


def test_once_it_is_closed_it_may_be_opened(journal_path: Path, gateway: Session) -> None:
    gateway.append({"n": 1})
    gateway.store.close()
    assert journal_path.read_bytes().startswith(b"SQLite format 3\0")


def test_a_second_library_is_refused_and_seen_if_it_was_first(journal_path: Path) -> None:
    Journal(journal_path).close()
    said = in_another_process(
        """
        import sqlite3, sys
        from journal import Journal, UnsafeSQLite
        from journal.engine import driver
        if driver() is sqlite3:
            print("one library only")
            raise SystemExit
        with Journal(sys.argv[1]) as journal:
            try:
                sqlite3.connect(sys.argv[1])
            except UnsafeSQLite as error:
                print(error.code)
        other = sqlite3.connect(sys.argv[1])
        other.execute("SELECT count(*) FROM entries").fetchone()
        try:
            Journal(sys.argv[1])
        except UnsafeSQLite as error:
            print(error.code)
        """,
        journal_path,
    )
    assert said in ("live-file\nopen-elsewhere", "one library only")


# -- what no hook sees ----------------------------------------------------------------


def commit_without(journal: Journal, *touched: str) -> None:
    """Commit a transaction in which this process loses its locks on some of the files."""
    with journal.store.transaction() as cursor:
        cursor.execute("UPDATE sessions SET layout_no = layout_no")
        for suffix in touched:
            open_and_close(f"{journal.path}{suffix}")


def test_a_write_lock_lost_within_a_transaction_is_noticed_before_the_commit(
    journal: Journal, gateway: Session, journal_path: Path
) -> None:
    gateway.append({"n": 1})
    with pytest.raises(LockLost) as caught:
        commit_without(journal, "-shm")  # the write lock is a byte of the shared memory
    assert caught.value.code == "lock-lost"
    for use in (lambda: gateway.append({"n": 2}), gateway.read, gateway.fence):
        with pytest.raises(LockLost, match="lost SQLite's write lock"):
            use()
    in_another_process(APPEND, journal_path, 3)
    journal.close()
    assert in_another_process(COUNT, journal_path) == "4"
    assert audit(journal_path).verdict != "broken"


def test_what_has_lost_its_locks_is_not_even_rolled_back(
    journal: Journal, gateway: Session
) -> None:
    """That writes too, where another process may be writing."""
    gateway.append({"n": 1})
    made: list[str] = []
    journal.store._connection.set_trace_callback(made.append)
    with pytest.raises(LockLost):
        commit_without(journal, "-shm")
    assert "BEGIN IMMEDIATE" in made
    assert "ROLLBACK" not in made
    assert journal.store._connection.in_transaction


def test_the_database_file_has_no_lock_that_a_writer_needs(
    journal: Journal, gateway: Session, journal_path: Path
) -> None:
    """What is lost there is only who has it open, and the pin says that too."""
    commit_without(journal, "")
    gateway.append({"n": 1})
    journal.close()
    assert in_another_process(COUNT, journal_path) == "1"


COUNT = f"""
    import sys
    from journal import Journal
    with Journal(sys.argv[1]) as journal:
        print(len(journal.session("{KEY}").read()))
"""


def test_another_process_that_got_the_write_lock_meanwhile_loses_nothing(
    journal: Journal, gateway: Session, journal_path: Path
) -> None:
    """The very race: we think we have the lock, they have it; theirs is kept, ours is not."""
    gateway.append({"n": 1})

    def commit_beside_another() -> None:
        with journal.store.transaction() as cursor:
            cursor.execute("UPDATE sessions SET layout_no = layout_no")
            journal.store.ticket.give_back()
            open_and_close(f"{journal_path}-shm")
            in_another_process(APPEND, journal_path, 5)

    with pytest.raises(LockLost):
        commit_beside_another()
    journal.close()
    assert in_another_process(COUNT, journal_path) == "6"
    assert audit(journal_path).verdict != "broken"


def test_the_pins_keep_the_log_for_a_process_that_has_lost_its_locks(
    journal: Journal, gateway: Session, journal_path: Path
) -> None:
    """Without them the other process would take itself for the last one, and delete the log under us."""
    gateway.append({"n": 1})
    for suffix in ("", "-shm"):
        open_and_close(f"{journal_path}{suffix}")
    in_another_process(APPEND, journal_path, 2)
    assert Path(f"{journal_path}-wal").exists()
    assert Path(f"{journal_path}-shm").exists()
    gateway.append({"n": 2})
    assert in_another_process(COUNT, journal_path) == "4"


def replace(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(b"")
    other.rename(path)


def append_some(session: Session, count: int) -> None:
    for number in range(count):
        session.append({"n": number})


@pytest.mark.parametrize("suffix", ["", "-shm", "-wal"])
@pytest.mark.parametrize("take_away", [Path.unlink, replace], ids=["removed", "replaced"])
def test_a_file_that_is_gone_is_noticed_before_the_next_commit(
    gateway: Session, journal_path: Path, suffix: str, take_away: Callable[[Path], None]
) -> None:
    gateway.append({"n": 1})
    path = Path(f"{journal_path}{suffix}")
    take_away(path)
    patience = LOOK_AFTER if suffix == "-wal" else 1  # only its path tells of the log
    with pytest.raises(LockLost) as caught:
        append_some(gateway, patience)
    for _ in range(2):
        assert caught.value.code == "file-replaced"
        assert str(path) in str(caught.value)
        with pytest.raises(LockLost) as caught:
            gateway.append({"n": 2})


def test_a_database_that_was_moved_is_noticed_soon(gateway: Session, journal_path: Path) -> None:
    gateway.append({"n": 1})
    journal_path.rename(journal_path.with_name("elsewhere.db"))
    for number in range(LOOK_AFTER):
        try:
            gateway.append({"n": number})
        except LockLost:
            return
    pytest.fail("nobody noticed")


def test_a_file_that_was_moved_and_put_back_is_no_matter(
    gateway: Session, journal_path: Path, tmp_path: Path
) -> None:
    gateway.append({"n": 1})
    journal_path.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").rename(journal_path)
    gateway.append({"n": 2})


# -- what it costs --------------------------------------------------------------------


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nothing_stays_open_when_journals_come_and_go(journal_path: Path) -> None:
    before = open_files()
    for number in range(20):
        with Journal(journal_path) as first, Journal(journal_path) as second:
            first.session(KEY, writer="gateway", role="run").append({"n": number})
            second.session(KEY, writer="cron", role="cron").append({"n": number})
            connect(str(journal_path), mode="ro").close()
    assert open_files() == before
    assert [found.name for found in journal_path.parent.glob("agent.db*")] == ["agent.db"]


def test_a_pin_stays_while_sqlite_has_the_file_open_elsewhere_in_the_process(
    journal_path: Path,
) -> None:
    """Closing it would take the other connection's locks away."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    reader = connect(str(journal_path), mode="ro")
    with Journal(journal_path):
        pass
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    assert in_another_process(IS_LOCKED, journal_path) == "True"
    reader.close()


SPOIL = """
    import os, sys
    with open(sys.argv[1], "r+b") as file:
        file.write(b"no database any more")
    os.unlink(f"{sys.argv[1]}-wal")
"""


def test_what_is_no_database_any_more_is_not_opened_to_be_looked_at(journal_path: Path) -> None:
    """That would end the locks of whoever in this process has it open since it was one."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
    reader = connect(str(journal_path), mode="ro")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    in_another_process(SPOIL, journal_path)
    with pytest.raises(CorruptError) as caught:
        schema.version_of(str(journal_path))
    assert in_another_process(IS_LOCKED, journal_path) == "True"
    reader.close()
    assert "holds something else" not in str(caught.value.hint)


IS_LOCKED = """
    import fcntl, os, struct, sys
    descriptor = os.open(sys.argv[1], os.O_RDWR)
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0x40000002, 510, 0)
    print(struct.unpack("hhqqi", fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
"""


def test_a_forked_child_holds_no_pin(
    journal: Journal, gateway: Session, journal_path: Path
) -> None:
    gateway.append({"n": 1})
    reader, writer = os.pipe()
    pins = journal.store.guard
    child = os.fork()
    if child == 0:
        is_closed = not any(
            _is_open(number)
            for number in pins._descriptors()  # type: ignore[attr-defined]
        )
        os.write(writer, b"closed" if is_closed else b"open")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"closed"
    gateway.append({"n": 2})


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_where_there_are_no_such_locks_nothing_is_checked() -> None:
    NoPins().check()


# -- a library with the WAL-reset bug ---------------------------------------------------

COMPATIBLE = """
    import sys, warnings
    sys.modules["pysqlite3"] = None
    import sqlite3
    from journal import Journal, UnsafeSQLite
    from journal import folding
    from journal.engine import is_compatible_mode
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if not is_compatible_mode():
            print("fixed")
            raise SystemExit
        folding.FOLD_IN_AFTER = 20
        with Journal(sys.argv[1]) as journal:
            gateway = journal.session("agent:main:main", writer="gateway", role="run")
            assert journal.store.cursor.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
            before = 0
            for number in range(100):
                gateway.append({"text": "x" * 2000})
            import os
            assert os.stat(sys.argv[1] + "-wal").st_size < 2_000_000
            assert os.stat(sys.argv[1]).st_size > 150_000
        with Journal(sys.argv[1]) as journal:
            assert len(journal.session("agent:main:main").read()) == 100
    print(len([one for one in said if "compatible mode" in str(one.message)]))
    try:
        Journal(sys.argv[1], strict=True)
    except UnsafeSQLite as error:
        print(error.code)
"""


def test_an_affected_library_works_in_compatible_mode_says_so_once_and_strict_refuses(
    journal_path: Path,
) -> None:
    assert in_another_process(COMPATIBLE, journal_path) in ("1\nwal-reset-bug", "fixed")
    assert audit(journal_path).verdict != "broken" if journal_path.exists() else True

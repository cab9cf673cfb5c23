"""Mirrors of a journal on a server: what the tests of mirrors ask, asked there; and whose a mirror is."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, MirrorError, NotFoundError, SessionTakeover, serverplace
from journal.adapters.jsonl import SessionFile
from journal.audit import audit
from journal.copying import copy
from journal.export import export
from journal.process import this_process
from journal.serverdoctor import examine_server
from journal.watching import Watch
from tests.migration.test_verifying import (  # noqa: F401 - run here as well
    test_a_mirror_in_place_touches_nothing_and_lives,
)
from tests.mirror.conftest import exported, in_step, mirrored, path  # noqa: F401 - fixtures
from tests.mirror.test_audit import (  # noqa: F401 - run here as well
    found,
    test_a_mirror_in_step_has_no_findings,
    test_bytes_that_are_others,
)
from tests.mirror.test_edits import (  # noqa: F401 - run here as well
    test_a_removed_file_is_an_edit_once,
    test_an_appended_line_is_an_external_entry,
)
from tests.mirror.test_hardening import (  # noqa: F401 - run here as well
    test_a_crash_between_commit_and_mirror_heals_at_the_next_open,
    test_a_forked_child_leaves_its_parents_files_and_locks_alone,
    test_a_mirror_on_another_host_is_not_served_here,
    test_who_writes_while_a_mirror_is_added_takes_no_file_for_gone,
)
from tests.postgres.test_server import run
from tests.test_watching import (  # noqa: F401 - run here as well
    follow,
    store,
    test_a_program_that_is_said_to_be_known_later_is_permitted_from_then_on,
    test_changes_are_taken_in_as_they_happen,
    test_files_are_adopted_in_place_and_what_came_since_is_foreign,
)
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Session
    from tests.postgres.server import Server

ROOT = Path(__file__).parents[2]
KILLED = """
import os, signal, sys
from journal import Journal
with Journal(sys.argv[1]) as journal:
    session = journal.session(sys.argv[2], writer="cron", role="cron")
    mirror = journal.mirrors.mirror(2)
    mirror.file().append(b'{"by":"hand"}\\n')
    mirror.serve = lambda fresh=None: os.kill(os.getpid(), signal.SIGKILL)
    session.append({"n": 3})
"""


@pytest.mark.crash
def test_a_writer_that_is_killed_behind_its_commit(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal_path: str,
    in_step: Callable[[], bool],  # noqa: F811
) -> None:
    """Its line is written by whoever comes next, after what somebody else put there meanwhile."""
    fence = mirrored.fence()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, journal_path, KEY], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == -9
    assert path.read_bytes().endswith(b'{"by":"hand"}\n')
    with pytest.raises(SessionTakeover, match="from outside"):
        fence.check()
    assert path.read_bytes().endswith(b'{"by":"hand"}\n{"n":3}\n')
    assert in_step()
    assert [entry.trust for entry in mirrored.read()][-2:] == ["external", "asserted"]


# -- whose a mirror is ------------------------------------------------------------------


def on_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    far = dataclasses.replace(this_process(), host="elsewhere")
    for module in ("ledger", "mirrors", "audit.held", "serving"):
        monkeypatch.setattr(f"journal.{module}.this_process", lambda: far)


def test_another_hosts_mirror_is_listed_and_left_alone(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal_path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = path.read_bytes()
    path.write_bytes(before + b'{"foreign":1}\n')
    with monkeypatch.context() as patch:
        on_another_host(patch)
        with Journal(journal_path) as far:
            session = far.session(KEY, writer="cron", role="cron")
            assert session.fence().check().accepted  # what is in that file it cannot see
            session.append({"n": 3})
            (status,) = far.mirrors.status()
            assert status.state == "elsewhere"
            assert this_process().host in str(status.detail)
            for work in (far.mirrors.recreate, lambda key: far.mirrors.resume(key, "r")):
                with pytest.raises(NotFoundError, match=this_process().host):
                    work(KEY)
            with pytest.raises(MirrorError, match=this_process().host):
                far.mirrors.add(KEY, path)
        report = audit(journal_path)
        assert any(this_process().host in each for each in report.not_checked)
        assert report.findings == ()
        (told,) = [each for each in examine_server(journal_path) if each.name == "mirrors"]
        assert told.words.endswith(f"{KEY} elsewhere")
    assert path.read_bytes() == before + b'{"foreign":1}\n'
    mirrored.append({"n": 4})
    (told,) = [each for each in examine_server(journal_path) if each.name == "mirrors"]
    assert told.words == "1 of 1 on"
    # By hand, then by the other host, then here: the file has its own order, and all of it.
    lines = path.read_bytes().splitlines()[-3:]
    assert sorted(lines) == [b'{"foreign":1}', b'{"n":3}', b'{"n":4}']


def test_another_users_mirror_is_left_alone(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal_path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mirror's lock is a file that only its owner may open, so only that user's processes serve it."""
    before = path.read_bytes()
    monkeypatch.setattr(serverplace, "_user", lambda: 4711)
    with Journal(journal_path) as other:
        other.session(KEY, writer="cron", role="cron").append({"n": 3})
        (status,) = other.mirrors.status()
        assert status.detail == f"served by the user {other_user(mirrored)} of this host"
        with pytest.raises(MirrorError, match="served by the user"):
            other.mirrors.add(KEY, path)
    assert path.read_bytes() == before


def test_one_user_has_one_lock_whatever_his_environment_says(
    mirrored: Session,  # noqa: F811
    journal: Journal,
    journal_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job of cron's, or of another service, may have another HOME, and another data directory."""
    mine: Any = journal.mirrors.mirror(2)
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "another"))
    with Journal(journal_path) as other:
        theirs: Any = other.mirrors.here(KEY)
        with mine.lock:
            assert not theirs.side.lock(mine.fact.number, wait_s=0)
        assert theirs.side.lock(mine.fact.number, wait_s=0)
        assert theirs.known() == mine.known()
    assert mirrored.fence().check().accepted


def test_another_users_file_is_no_second_sessions(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal_path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither by hand, nor opened as a file, nor by a watch: two orders would fight over it."""
    before = path.read_bytes()
    path.write_bytes(before + b'{"by":"hand"}\n')
    monkeypatch.setattr(serverplace, "_user", lambda: 4711)
    with Journal(journal_path) as other:
        session = other.session("another", writer="cron", role="cron")
        session.append({"n": 3})
        with pytest.raises(MirrorError, match=f"mirror of {KEY!r}") as caught:
            other.mirrors.add("another", path)
        assert caught.value.code == "mirror-taken"
        for key in (None, "a-third"):
            with pytest.raises(MirrorError):
                SessionFile(path, journal=other, key=key, writer="cron", role="cron")
        assert list(Watch(other, [path.parent]).catch_up()) == []
        assert len(other.mirrors.facts()) == 1
        assert set(other.store.registry.session_ids) == {KEY, "another"}  # no line was brought in
    assert [entry.trust for entry in mirrored.read()] == ["asserted"] * 3
    assert path.read_bytes() == before + b'{"by":"hand"}\n'


def other_user(session: Session) -> str:
    place = session.store.place
    assert place is not None
    return place.rpartition("/")[2]


def test_a_copy_serves_none_until_it_is_told_to(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal: Journal,
    journal_path: str,
    server: Server,
    tmp_path: Path,
) -> None:
    """Neither in a file nor in another schema; nothing needs to be sealed away for that."""
    there = server.url("journal_copied")
    for place in (str(tmp_path / "copy.db"), there):
        assert copy(journal_path, place).is_clean
        assert copy(journal_path, place).was_there
        with Journal(place) as copied:
            copied.session(KEY, writer="cron", role="cron").append({"n": 3})
            (status,) = copied.mirrors.status()
            assert status.state == "elsewhere"
            assert "copied from" in str(status.detail)
        assert audit(place).findings == ()
    assert path.read_bytes() == b'{"n":0}\n{"n":1}\n{"n":2}\n'

    journal.mirrors.remove(KEY)
    with Journal(there) as copied:
        copied.mirrors.add(KEY, path)
        assert path.read_bytes() == b"".join(export(copied, KEY))
        assert [each.state for each in copied.mirrors.status()] == ["on"]
    assert audit(there).findings == ()


def test_where_the_locks_cannot_be_kept_appends_go_on(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal_path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a container, say, with a directory of its own there: the file is not gone for that."""
    before = path.read_bytes()
    kept = path.parent.rename(tmp_path / "kept")
    path.parent.mkdir()
    with Journal(journal_path) as other:
        session = other.session(KEY, writer="cron", role="cron")
        assert session.append({"n": 3}).seq == session.head.seq
        for work in (session.fence, lambda: other.mirrors.here(KEY)):
            with pytest.raises(MirrorError) as caught:
                work()
            assert caught.value.code == "mirror-unusable"
            assert "directory" in str(caught.value.hint)
        (status,) = other.mirrors.status()
        assert (status.state, "the locks" in str(status.detail)) == ("failing", True)
        assert len(other.mirrors.facts()) == 1
    assert list(path.parent.iterdir()) == []
    path.parent.rmdir()
    kept.rename(path.parent)
    assert path.read_bytes() == before
    mirrored.append({"n": 4})
    assert path.read_bytes() == before + b'{"n":3}\n{"n":4}\n'


def test_without_a_name_for_the_server_there_are_no_mirrors(
    journal: Journal, journal_path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serverplace, "_MAY_ASK", "SELECT false")
    with Journal(journal_path) as other, pytest.raises(MirrorError) as caught:
        other.mirrors.add(KEY, tmp_path / "s.jsonl")
    assert caught.value.code == "no-mirrors-here"
    assert "pg_control_system" in str(caught.value.hint)
    assert not (tmp_path / "s.jsonl").exists()
    path = tmp_path / "s.jsonl"  # noqa: F811
    journal.session(KEY, writer="gateway", role="run", mirror=path).append({"n": 1})
    assert any("pg_control_system" in each for each in audited(journal_path, monkeypatch))


def test_who_may_not_ask_which_server_it_is_vouches_for_no_file(
    mirrored: Session,  # noqa: F811
    path: Path,  # noqa: F811
    journal_path: str,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that a thief put there is behind no accepted fence; appends go on, and status says why."""
    there = server.url("journal_copied_untold")
    assert copy(journal_path, there).is_clean
    fence = mirrored.fence().stored()
    monkeypatch.setattr(serverplace, "_MAY_ASK", "SELECT false")
    before = path.read_bytes()
    path.write_bytes(before + b'{"thief":1}\n')
    with Journal(journal_path) as other:
        session = other.session(KEY, writer="cron", role="cron")
        session.append({"n": 3})
        for work in (session.fence, lambda: other.fence(fence).check()):
            with pytest.raises(MirrorError, match="which it is") as caught:
                work()
            assert caught.value.code == "no-mirrors-here"
        operator = other.session(KEY, writer="alice", role="operator")
        with pytest.raises(MirrorError, match="which it is"):
            operator.redact([1], reason="a mistake")
        (status,) = other.mirrors.status()
        assert (status.state, "which it is" in str(status.detail)) == ("failing", True)
    (told,) = [each for each in examine_server(journal_path) if each.name == "mirrors"]
    assert (told.words, told.state) == (f"0 of 1 on, {KEY} failing", "warning")
    done = run(journal_path, "mirror", "status")
    assert "which it is" in done.stdout
    assert path.read_bytes() == before + b'{"thief":1}\n'
    with Journal(there) as copied:  # in another schema: that it is a copy is known all the same
        assert copied.session(KEY, writer="cron", role="cron").fence().check().accepted
        assert [each.state for each in copied.mirrors.status()] == ["elsewhere"]
    with Journal(journal_path) as other:
        assert other.mirrors.remove(KEY).path == str(path)


def audited(place: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    del monkeypatch  # still in force
    return tuple(audit(place).not_checked)

"""SessionFile: the file that code opened itself, through a journal; and it stays the file it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal import EntryError, Journal, MirrorError, NotTrusted, RefusedError, SessionTakeover
from journal.adapters.jsonl import SessionFile, default_writer
from journal.export import export
from journal.formats import FORMATS
from journal.migration import apply, plan

FIXTURES = Path(__file__).parent.parent / "fixtures"
HEADER = b'{"type":"session","version":3,"id":"abc","cwd":"/home/dev"}\n'
OLD = HEADER + b'{"a": 1}\r\n{"a": 0.000009}\n'


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "sessions"
    place.mkdir()
    return place / "main.jsonl"


@pytest.fixture
def old(path):
    """Give a file that another program has written so far."""
    path.write_bytes(OLD)
    return path


def trusts(session):
    return {(entry.writer, entry.trust) for entry in session.session}


# -- the file --------------------------------------------------------------------------


def test_a_new_file_is_made_for_its_owner_alone(path):
    """Beside it the directory's journal; in it what was appended."""
    with SessionFile(path, writer="gateway") as session:
        session.append({"n": 1})
        session.append(b'{"n":  2}\r\n')

        assert path.read_bytes() == b'{"n":1}\n{"n":  2}\r\n'
        assert (list(session), len(session)) == ([{"n": 1}, {"n": 2}], 2)
        assert session.session.key == "main"

    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.parent / "journal.db").exists()


def test_not_a_byte_of_an_old_file_is_touched(old):
    """Size, times and inode as they were; its lines are migrated, and nobody's are foreign."""
    before = old.stat()

    with SessionFile(old, writer="gateway") as session:
        assert old.read_bytes() == OLD
        after = old.stat()
        assert [
            getattr(after, name) for name in ("st_ino", "st_size", "st_mtime_ns", "st_mode")
        ] == [getattr(before, name) for name in ("st_ino", "st_size", "st_mtime_ns", "st_mode")]
        assert trusts(session) == {("migrate", "asserted")}
        assert session.session.key == "abc"
        assert session.fence().unresolved == []

        session.append({"n": 1})
        assert old.read_bytes() == OLD + b'{"n":1}\n'
        assert old.stat().st_ino == before.st_ino


def test_it_is_found_again(old):
    """The next process finds session and lines; nothing is brought in twice."""
    for number in range(3):
        with SessionFile(old, writer="gateway") as session:
            session.append({"n": number})

    with SessionFile(old, writer="gateway") as session:
        assert len(session) == 6
        assert {entry.writer for entry in session.session} == {"migrate", "gateway"}
        assert old.read_bytes() == b"".join(export(session.journal, session.session.key))


def test_a_line_without_an_end_is_ended_before_ours(path):
    """As every program should; it is not fused."""
    path.write_bytes(b'{"open":1}')

    with SessionFile(path, writer="gateway") as session:
        assert path.read_bytes() == b'{"open":1}'
        session.append({"n": 1})

        assert path.read_bytes() == b'{"open":1}\n{"n":1}\n'
        assert list(session) == [{"open": 1}, {"n": 1}]


@pytest.mark.parametrize(
    "original", sorted(FIXTURES.glob("**/*.jsonl")), ids=lambda path: path.name[:40]
)
def test_any_real_file_becomes_one_as_it_is(path, original):
    """Files of four programs, damaged ones too: byte for byte, no line foreign."""
    path.write_bytes(original.read_bytes())

    with SessionFile(path, writer="gateway") as session:
        assert path.read_bytes() == original.read_bytes()
        assert trusts(session) <= {("migrate", "asserted")}
        assert b"".join(session.lines()) == original.read_bytes()
        assert session.fence().check().accepted
        assert path.read_bytes() == original.read_bytes()


def test_files_of_one_directory_share_a_journal(path, old):
    """Each its own session; a copy with the same header and bytes too."""
    copy, other = path.with_name("copy.jsonl"), path.with_name("other.jsonl")
    copy.write_bytes(OLD)

    with (
        SessionFile(old, writer="a") as one,
        SessionFile(copy, writer="b") as two,
        SessionFile(other, writer="c") as three,
    ):
        for session in (one, two, three):
            session.append({"by": session.session.key})
        assert {each.session.key for each in (one, two, three)} == {
            "abc",
            "abc:copy.jsonl",
            "other",
        }

    assert copy.read_bytes() == OLD + b'{"by":"abc:copy.jsonl"}\n'
    assert other.read_bytes() == b'{"by":"other"}\n'


def test_a_journal_can_be_given(old, journal):
    """Open, it stays open; the directory of the file stays as it was."""
    with SessionFile(old, writer="gateway", journal=journal, key="agent:main:main") as session:
        session.append({})

    assert journal.session("agent:main:main").head.seq >= 4
    assert [each.name for each in old.parent.iterdir()] == ["main.jsonl"]


def test_or_its_path(old, tmp_path):
    with SessionFile(old, writer="gateway", journal=tmp_path / "my.db") as session:
        assert len(session) == 3

    with Journal(tmp_path / "my.db") as journal:
        assert journal.session("abc").head.seq >= 3


def test_a_killed_start_is_finished_by_the_next(old):
    """Between the lines and the mirror: nothing is brought in twice, nothing is foreign."""
    from journal.migration.adoption import adopt

    with Journal(old.parent / "journal.db") as journal:
        assert adopt(journal, str(old)) == adopt(journal, str(old)) == "abc"

    with SessionFile(old, writer="gateway") as session:
        assert (session.session.key, len(session)) == ("abc", 3)
        assert trusts(session) == {("migrate", "asserted")}


def test_a_line_that_was_open_when_the_file_was_migrated_is_the_one_its_program_made_of_it(
    old, journal
):
    """The torn one stays in the journal; the file is as it was."""
    old.write_bytes(OLD + b'{"a":')
    apply(journal, plan([old]))
    old.write_bytes(OLD + b'{"a":5}\n{"a":6}\n')
    before = old.read_bytes()

    with SessionFile(old, journal=journal, writer="gateway") as session:
        assert b"".join(session.lines()) == before
        assert trusts(session) == {("migrate", "asserted")}
        assert session.session.key == "abc"

    assert old.read_bytes() == before


def test_what_was_cut_off_a_file_since_it_was_migrated_is_not_put_back(old, journal):
    apply(journal, plan([old]))
    old.write_bytes(HEADER)

    with SessionFile(old, journal=journal, writer="gateway") as session:
        assert old.read_bytes() == b"".join(session.lines()) == HEADER
        assert session.session.key == "abc"
    with SessionFile(old, journal=journal, writer="gateway") as session:
        session.append({"n": 1})

    assert old.read_bytes() == HEADER + b'{"n":1}\n'


def test_a_session_with_other_lines_is_not_mixed_in(old, journal):
    """A key that another history has is refused, and a path that another session has."""
    journal.session("taken", writer="gateway", role="run").append({"mine": 1})

    with pytest.raises(MirrorError, match="other lines"):
        SessionFile(old, journal=journal, key="taken")
    with (
        SessionFile(old, journal=journal, writer="gateway"),
        pytest.raises(MirrorError, match="abc"),
    ):
        SessionFile(old, journal=journal, key="fresh")

    assert old.read_bytes() == OLD
    assert not journal.session("fresh").exists
    assert journal.session("taken").head.seq == 1


@pytest.mark.parametrize("place", ["directory", "link.jsonl", "no/such/file.jsonl", "pipe.jsonl"])
def test_what_is_no_file_of_lines_is_refused(path, place):
    """A directory, a link, no directory, a pipe: and no journal hangs on it."""
    (path.parent / "directory").mkdir()
    (path.parent / "link.jsonl").symlink_to(path)
    os.mkfifo(path.parent / "pipe.jsonl")

    with pytest.raises(MirrorError):
        SessionFile(path.parent / place, writer="gateway")

    assert not (path.parent / "journal.db").exists()


# -- reading ---------------------------------------------------------------------------


def test_what_others_write_is_read_with_the_rest(old):
    """As by code that reads the file."""
    with SessionFile(old, writer="gateway") as session:
        with old.open("ab") as file:
            file.write(b'{"theirs":1}\n')

        assert list(session)[-1] == {"theirs": 1}
        assert [json.loads(line) for line in old.read_bytes().splitlines()] == list(session)


def test_a_line_that_is_no_json_is_said_with_its_number(path):
    """A ValueError, as from json.loads; blank lines hold nothing; lines() has the bytes."""
    path.write_bytes(b'{"a":1}\n\n  \nno json\n')

    with SessionFile(path, writer="gateway") as session:
        assert list(session.lines()) == [b'{"a":1}\n', b"\n", b"  \n", b"no json\n"]
        assert len(session) == 2
        with pytest.raises(ValueError, match="line 4") as caught:
            list(session)
        assert isinstance(caught.value, EntryError)


def test_a_file_that_cannot_be_written_fails_nothing(old):
    """The journal has the line, and so does who reads through it; the file follows."""
    with SessionFile(old, writer="gateway") as session:
        old.rename(old.with_suffix(".away"))
        old.mkdir()

        session.append({"n": 1})

        assert list(session)[-1] == {"n": 1}


def test_what_was_written_is_read_though_the_mirror_was_taken_away(old):
    with SessionFile(old, writer="gateway") as session:
        session.journal.mirrors.remove("abc")
        session.append({"n": 1})

        assert list(session)[-1] == {"n": 1}


# -- who writes ------------------------------------------------------------------------


def test_each_entry_says_who_wrote_it(path):
    """Writer, role, run and principal, from the first run on."""
    with SessionFile(
        path, writer="pulse", role="heartbeat", run_id="r1", on_behalf_of="alice"
    ) as session:
        entry = session.append({})
        (kept,) = session.session

    assert (entry.writer, entry.role) == ("pulse", "heartbeat")
    assert (kept.run_id, kept.on_behalf_of) == ("r1", "alice")


@pytest.mark.parametrize(
    "argument, role, name",
    [
        ("/usr/bin/gateway.py", "run", "gateway"),
        ("/usr/bin/gateway", "cron", "gateway-cron"),
        ("/lib/agent/__main__.py", "run", "agent"),
        ("-c", "run", "python"),
        ("", "tool", "python-tool"),
        ("journal", "cron", "journal-cron"),
        ("bad\nname", "run", "badname"),
    ],
)
def test_without_a_writer_it_is_the_program(monkeypatch, argument, role, name):
    """Its name; with a role of another sort behind it, for a writer has one role."""
    monkeypatch.setattr(sys, "argv", [argument])

    assert default_writer(role) == name


def test_a_writer_has_one_role(path):
    with SessionFile(path, writer="gateway") as session:
        session.append({})
    with pytest.raises(NotTrusted):
        SessionFile(path, writer="gateway", role="cron")


# -- fences ----------------------------------------------------------------------------


def test_a_fence_tells_a_thief_from_a_co_tenant(old):
    """One writes through the journal, one to the file: only the other's line is named."""
    with (
        SessionFile(old, writer="gateway") as session,
        SessionFile(old, writer="pulse", role="heartbeat") as pulse,
    ):
        with session.fence() as fence:
            pulse.append({"beat": 1})
            fence.append({"reply": 1})
        assert [entry.writer for entry in fence.arrived] == ["pulse"]

        fence = session.fence()
        pulse.append({"beat": 2})
        size = old.stat().st_size
        with old.open("ab") as file:
            file.write(b'{"evil":1}\n')
        pulse.append({"beat": 3})
        with pytest.raises(SessionTakeover) as caught:
            fence.append({"reply": 2})

        assert [entry.json() for entry in caught.value.entries] == [{"evil": 1}]
        assert caught.value.origins[0].startswith(f"{old}, line 7, byte {size}, ")
        assert caught.value.parked is not None
        assert {"reply": 2} not in list(session)


def test_release_and_reacquire_are_a_fence(old):
    """For a lock controller's place: accepted, with what arrived; then there is nothing to check."""
    with (
        SessionFile(old, writer="gateway") as session,
        SessionFile(old, writer="pulse", role="heartbeat") as pulse,
    ):
        session.release_for_prompt()
        pulse.append({"beat": 1})

        verdict = session.reacquire()

        assert (verdict.outcome, [entry.writer for entry in verdict.arrived]) == (
            "accepted",
            ["pulse"],
        )
        with pytest.raises(RefusedError, match="not let go of") as caught:
            session.reacquire()
        assert caught.value.hint == "release_for_prompt() comes first"


def test_a_second_release_launders_nothing(old):
    """The first mark counts, and a takeover is the same when asked again."""
    with SessionFile(old, writer="gateway") as session:
        mark = session.release_for_prompt()
        with old.open("ab") as file:
            file.write(b'{"evil":1}\n')

        assert session.release_for_prompt() is mark
        for _ in range(2):
            with pytest.raises(SessionTakeover):
                session.reacquire()


def test_a_verdict_is_told_as_it_comes(old, told):
    with SessionFile(old, writer="gateway", on_takeover=told.append) as session:
        session.release_for_prompt()
        with old.open("ab") as file:
            file.write(b'{"evil":1}\n')
        with pytest.raises(SessionTakeover):
            session.reacquire()

    assert [verdict.outcome for verdict in told] == ["takeover"]


# -- many processes --------------------------------------------------------------------

CHILD = """
import sys
from journal.adapters.jsonl import SessionFile

path, name = sys.argv[1:]
with SessionFile(path, writer=name, role="channel") as session:
    for number in range(20):
        session.append({"by": name, "n": number})
"""


@pytest.mark.parametrize("start", [OLD, b"", None], ids=["old", "empty", "new"])
def test_processes_that_start_at_once_are_one_another_s_co_tenants(path, tmp_path, start):
    """Each opens the file first: one session, every line once, nobody foreign."""
    if start is not None:
        path.write_bytes(start)
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    names = ["a", "b", "c", "d"]

    children = [
        subprocess.Popen(
            [sys.executable, script, path, name], env=environment, stderr=subprocess.PIPE
        )
        for name in names
    ]
    ended = [(child.communicate(timeout=120)[1].decode(), child.returncode) for child in children]
    assert ended == [("", 0)] * 4

    with SessionFile(path, writer="gateway") as session:
        found = [value for value in session if "by" in value]
        assert path.read_bytes().startswith(start or b"")
        assert path.read_bytes() == b"".join(session.lines())
        assert {entry.trust for entry in session.session} == {"asserted"}
    for name in names:
        assert [value["n"] for value in found if value["by"] == name] == list(range(20))


def test_the_formats_are_what_the_fixtures_show():
    """The parametrised files are there at all."""
    assert len(list(FIXTURES.glob("**/*.jsonl"))) > len(FORMATS)

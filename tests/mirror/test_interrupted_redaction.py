"""A redaction that dies between a session's file and its database: undone, nobody's fault, and no cover for a thief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import MirrorError, overwriting, redaction
from journal.audit import audit
from journal.controls import CONTROL, decode
from journal.reconcile import BEHIND, Plan
from journal.redacted import SECTOR, is_overwritten, placeholder
from journal.store import Store
from tests.chains import walk
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Session
    from tests.thieves import Thief

pytestmark = pytest.mark.filterwarnings("ignore")

SECRET = b'{"secret":"' + b"s" * 1500 + b'"}'
Interrupted = Any


class Died(BaseException):
    """Stands for a kill: nothing is done after it."""


@pytest.fixture
def seqs(mirrored: Session) -> list[int]:
    """Give the seqs of three lines, two of them to be redacted, in a file that was looked at."""
    made = mirrored.extend([SECRET, b'{"n":3}', SECRET])
    mirrored.fence().check()
    return [entry.seq for entry in made]


@pytest.fixture
def interrupted(
    mirrored: Session, seqs: list[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    """Interrupt a redaction where the file is overwritten and the rows stand; give the file's bytes before."""
    before = path.read_bytes()

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as broken:
        broken.setattr(redaction, "erase", die)
        broken.setattr(overwriting, "undo_redaction", lambda *_: None)
        with pytest.raises(Died):
            mirrored.redact([seqs[0], seqs[2]], reason="a password was pasted")
    assert b"secret" not in path.read_bytes()
    return before


def facts(journal_path: Path, key_file: Path) -> list[dict[str, Any]]:
    """Return what the session's facts about redactions say."""
    rows = [row for row in walk(journal_path, key_file).rows[KEY] if row.kind == CONTROL]
    found = [decode(row.body) for row in rows]
    return [each for each in found if each["control"] in ("redacting", "redaction", "unredacted")]


def another(open_journal: Callable[..., Journal]) -> Session:
    return open_journal().session(KEY, writer="heartbeat", role="heartbeat")


def test_the_next_check_puts_the_lines_back_and_accuses_nobody(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal], told: list[Any]
) -> None:
    """All of it or nothing: it was never acknowledged."""
    session = another(open_journal)
    inode = path.stat().st_ino
    assert session.fence().check().accepted
    assert (path.read_bytes(), path.stat().st_ino) == (interrupted, inode)
    assert told == []


def test_and_so_does_the_next_append(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal], told: list[Any]
) -> None:
    another(open_journal).append(b'{"n":4}')
    assert path.read_bytes() == interrupted + b'{"n":4}\n'
    assert told == []


def test_then_it_can_be_done_and_all_is_well(
    interrupted: bytes,
    seqs: list[int],
    journal: Journal,
    journal_path: Path,
    path: Path,
    open_journal: Callable[..., Journal],
) -> None:
    session = another(open_journal)
    receipts = session.redact([seqs[0], seqs[2]], reason="a password was pasted")
    assert [each.state for each in receipts if each.copy == "mirror"] == ["done"]
    assert session.fence().check().accepted
    assert b"secret" not in path.read_bytes()
    assert audit(journal_path).findings == ()


def test_a_rewrite_that_comes_first_changes_nothing(
    interrupted: bytes,
    seqs: list[int],
    open_journal: Callable[..., Journal],
    in_step: Callable[[], bool],
    journal_path: Path,
) -> None:
    """The file has the old order still; the intent says where the lines stand in it."""
    journal = open_journal()
    mirrors, journal.store.mirrors = journal.store.mirrors, None
    session = journal.session(KEY, writer="heartbeat", role="heartbeat")
    lines = list(session.read())
    session.rewrite([*lines[-2:], b'{"n":9}'], base=session.head.seq, reason="compacted")
    journal.store.mirrors = mirrors
    assert session.fence().check().accepted
    assert in_step()
    assert audit(journal_path).findings == ()


def test_a_redaction_of_other_lines_elsewhere_does_not_end_it(
    interrupted: bytes, seqs: list[int], path: Path, open_journal: Callable[..., Journal]
) -> None:
    """Who does not serve the file cannot put its lines back; who does still has to."""
    journal = open_journal()
    mirrors, journal.store.mirrors = journal.store.mirrors, None
    session = journal.session(KEY, writer="heartbeat", role="heartbeat")
    session.redact([seqs[1]], reason="elsewhere")
    journal.store.mirrors = mirrors

    fence = session.fence()

    assert path.read_bytes().count(SECRET) == 2
    assert {entry.seq for entry in fence.unresolved}.isdisjoint([seqs[0], seqs[2]])


def test_a_look_at_the_file_meanwhile_calls_it_no_edit(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal]
) -> None:
    """Nor does it write; and what is an edit is told as one."""
    mirrors, before = open_journal().mirrors, path.read_bytes()
    assert mirrors is not None
    mirror = mirrors.mirror(mirrors.of(KEY).session_id)
    assert mirror is not None

    assert mirror.preview() == Plan(BEHIND, overwritten=2)
    assert path.read_bytes() == before
    put(path, interrupted.index(SECRET) + 40, b"x")
    assert mirror.preview().is_edit


def test_a_mirror_that_is_removed_meanwhile_is_left_whole(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal], told: list[Any]
) -> None:
    """Nobody would know later whose the placeholder is."""
    mirrors = open_journal().mirrors
    mirrors.remove(KEY)
    assert path.read_bytes() == interrupted

    mirrors.add(KEY, path)

    assert another(open_journal).fence().check().accepted
    assert told == []


def test_what_is_served_elsewhere_is_redacted_there(
    mirrored: Session, seqs: list[int], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or who serves the file would find the line in it, and keep it again as somebody's."""
    before = path.read_bytes()
    with monkeypatch.context() as far:
        far.setattr(Store, "serves", lambda *_: False)
        with pytest.raises(MirrorError) as caught:
            mirrored.redact([seqs[0]], reason="a password was pasted")

    assert caught.value.code == "mirror-elsewhere"
    assert str(path) in str(caught.value)
    assert SECRET in [entry.body for entry in mirrored.read()]
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 1, 16, 17, 700, len(SECRET) - 1])
def test_one_that_broke_off_is_put_back_too(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal], kept: int
) -> None:
    """The first line whole, of the second so much."""
    at = interrupted.rindex(SECRET)
    with path.open("r+b") as file:
        file.seek(at + kept)
        file.write(SECRET[kept:])
    assert another(open_journal).fence().check().accepted
    assert path.read_bytes() == interrupted


# -- what an intent does not excuse -----------------------------------------------------


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_other_bytes_in_its_place_are_an_edit(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal], told: list[Any]
) -> None:
    """Only the placeholder is ours, and only whole or broken off."""
    put(path, interrupted.index(SECRET) + 40, b"x")
    fence = another(open_journal).fence()
    assert fence.check().accepted
    assert [len(verdict.foreign) for verdict in told] == [2]  # the line, and that ours is gone
    assert path.read_bytes() != interrupted


def test_a_placeholder_in_another_place_is_an_edit(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal], told: list[Any]
) -> None:
    put(path, 0, placeholder(7))
    another(open_journal).fence()
    assert [len(verdict.foreign) for verdict in told] == [2]
    assert path.read_bytes() == placeholder(7) + interrupted[7:]


def test_once_it_is_settled_the_same_bytes_are_an_edit(
    interrupted: bytes, path: Path, open_journal: Callable[..., Journal]
) -> None:
    """An intent excuses once."""
    fence = another(open_journal).fence()
    assert fence.check().accepted
    put(path, interrupted.index(SECRET), placeholder(len(SECRET)))
    assert not fence.check(raise_=False).accepted


def test_one_that_nobody_sealed_excuses_nothing(
    seqs: list[int], path: Path, thief: Thief, open_journal: Callable[..., Journal]
) -> None:
    """A row by plain SQL is a stray, whatever it says."""
    fence = another(open_journal).fence()
    at = path.read_bytes().index(SECRET)
    body = b'{"control":"redacting","mirror":1,"pieces":[[%d,%d,%d]]}'
    with thief.without_triggers():
        thief.execute(
            "INSERT INTO entries SELECT NULL, session_id, seq + 1, epoch, writer_id, instance_id, "
            "recorder_id, claim, 'control', trusted, origin, request_id, run_id, on_behalf_of, "
            "created_us, cum_bytes, terminator, salt, commitment, key_id, prev, seal, line_type, "
            "line_id, parent_id, ? FROM entries WHERE session_id = ? AND seq = ?",
            body % (seqs[0], at, len(SECRET)), thief.session_id(), thief.seqs()[-1],
        )  # fmt: skip
    put(path, at, placeholder(len(SECRET)))
    assert not fence.check(raise_=False).accepted
    assert path.read_bytes()[at:].startswith(placeholder(len(SECRET)))


def test_what_was_done_is_on_record(
    interrupted: bytes, seqs: list[int], journal: Journal, journal_path: Path, key_file: Path
) -> None:
    """What was asked for, by whom, and that it was given up."""
    session = journal.session(KEY, writer="heartbeat", role="heartbeat")
    session.fence().check()
    about, undone = facts(journal_path, key_file)
    offsets = [interrupted.index(SECRET), interrupted.rindex(SECRET)]
    assert about == {
        "control": "redacting",
        "mirror": 1,
        "pieces": [
            [seq, at, len(SECRET)] for seq, at in zip((seqs[0], seqs[2]), offsets, strict=True)
        ],
        "reason": "a password was pasted",
    }
    assert undone == {"control": "unredacted", "mirror": 1, "seqs": [seqs[0], seqs[2]]}


def test_an_audit_meanwhile_says_so_and_accuses_nobody(
    interrupted: bytes, path: Path, journal_path: Path
) -> None:
    """It changes nothing either."""
    before = path.read_bytes()
    report = audit(journal_path)
    assert report.findings == ()
    assert any("a redaction was interrupted" in each for each in report.not_checked)
    assert path.read_bytes() == before


def test_an_audit_meanwhile_finds_what_is_not_ours(
    interrupted: bytes, path: Path, journal_path: Path
) -> None:
    with path.open("r+b") as file:
        file.seek(interrupted.index(SECRET) + 40)
        file.write(b"x")
    assert [each.id for each in audit(journal_path).findings] == ["J703"]


@given(st.binary(max_size=2000), st.integers(0, 2000), st.lists(st.integers(0, SECTOR), max_size=8))
def test_each_sector_may_have_come_so_far(line: bytes, offset: int, marks: list[int]) -> None:
    """Whatever sectors of a file were written, and however far."""
    stands, found = placeholder(len(line)), bytearray(line)
    begin = -(offset % SECTOR)
    for mark in marks:
        first, last = max(0, begin), max(0, min(len(line), begin + mark))
        found[first:last] = stands[first:last]
        begin += SECTOR
    assert is_overwritten(bytes(found), line, offset)


@given(st.integers(0, 99), st.integers(0, 255))
def test_no_other_byte_is_excused(at: int, byte: int) -> None:
    line = b"a" * 100
    found = bytearray(placeholder(100))
    if byte not in (found[at], line[at]):
        found[at] = byte
        assert not is_overwritten(bytes(found), line, 0)
    assert not is_overwritten(bytes(found[:-1]), line, 0)
    assert not is_overwritten(b"a" + placeholder(100)[1:], line, 0)

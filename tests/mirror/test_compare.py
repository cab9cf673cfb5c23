"""A mirror's file held against the lines of its session: where they differ first."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from journal.audit.declarations import MirrorDeclared
from journal.audit.mirrored import Fault, Slot, compare, faults
from journal.filelocks import lock_bytes
from journal.redacted import Piece, placeholder
from journal.seal import Mac
from tests.systems import LINUX

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = [b'{"n":0}\n', b'{"secret":1}\n', b'{"n":2}\n']
WHOLE = b"".join(LINES)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def held(file: int, data: bytes, *pieces: Piece, size: int | None = None) -> Fault | None:
    os.ftruncate(file, 0)
    os.pwrite(file, data, 0)
    return compare(file, len(data) if size is None else size, iter(LINES), pieces)


def test_equal_files_differ_nowhere(file):
    assert held(file, WHOLE) is None
    assert held(file, WHOLE + b"more", size=len(WHOLE)) is None  # it grew since its size was asked


def test_what_a_file_grew_by_since_its_size_was_asked_is_not_looked_at(file):
    fault = held(file, WHOLE, size=24)
    assert fault is not None
    assert (fault.check, fault.evidence) == ("J702", {"offset": 24, "line": 3, "bytes": 24})


@pytest.mark.parametrize(
    "data, check, told",
    [
        (WHOLE[:-1], "J702", {"offset": 28, "line": 3, "bytes": 28}),
        (WHOLE[:21], "J702", {"offset": 21, "line": 3, "bytes": 21}),
        (b"", "J702", {"offset": 0, "line": 1, "bytes": 0}),
        (WHOLE + b"x\x1b", "J703", {"offset": 29, "line": 4, "bytes": 2, "found": r"x\x1b"}),
        (
            WHOLE[:12] + b"X" + WHOLE[13:], "J703",
            {"offset": 12, "line": 2, "expected": r'cret":1}\n', "found": r'Xret":1}\n'},
        ),
    ],
)  # fmt: skip
def test_where_they_differ_is_told(file, data, check, told: dict[str, Any]):
    fault = held(file, data)
    assert fault is not None
    assert (fault.check, fault.evidence) == (check, told)


def test_what_is_shown_is_short(file):
    fault = held(file, WHOLE + b"y" * 100)
    assert fault is not None
    assert fault.evidence["found"] == "y" * 60


def test_a_placeholder_may_stand_where_a_redaction_was_interrupted(file):
    """There alone, and only as much of it as an interruption leaves."""
    piece = Piece(2, 8, 12)
    redacted = WHOLE[:8] + placeholder(12) + WHOLE[20:]
    assert held(file, redacted, piece) is None
    assert held(file, WHOLE, piece) is None
    assert held(file, redacted) is not None
    assert held(file, redacted, piece._replace(offset=0)) is not None
    assert held(file, redacted[:20] + b"X" + redacted[21:], piece) is not None
    assert held(file, redacted[:12] + b"X" + redacted[13:], piece) is not None


def test_a_mirror_that_is_written_to_is_waited_for(tmp_path, monkeypatch):
    """An auditor keeps the journal from writing as soon as it lets go, and does not wait for ever."""
    side = tmp_path / "x.db-mirrors"
    side.write_bytes(bytes(512))
    slot = Slot(str(side), 2, None)
    with slot.held(0.0) as is_held:
        assert is_held
    writer = os.open(side, os.O_RDWR)
    assert lock_bytes(
        writer, fcntl.F_WRLCK, 256, 256
    )  # of this opening of the file, not of this process
    with slot.held(0.0) as is_held:
        assert not is_held
    with monkeypatch.context() as waiting:
        waiting.setattr("time.sleep", lambda _: os.close(writer))
        with slot.held(30.0) as is_held:
            assert is_held
    side.unlink()
    with slot.held(0.0) as is_held:
        assert not is_held


@LINUX
def test_a_file_is_closed_once_it_was_compared(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(WHOLE)
    mirror = MirrorDeclared(2, "h", str(path), "keep", 3)
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        assert faults(mirror, None, iter(LINES)) == []
    assert len(list(Path("/dev/fd").iterdir())) == before
    path.unlink()
    assert [each.check for each in faults(mirror, "refused", iter(LINES))] == ["J704", "J701"]
    path.mkdir()
    assert [each.check for each in faults(mirror, None, iter(LINES))] == ["J705"]


def test_a_slot_that_no_key_holder_wrote_tells_nothing(tmp_path):
    side = tmp_path / "x.db-mirrors"
    side.write_bytes(bytes(256) + b"\1" * 256)
    mac = Mac(b"k" * 32)
    forged, empty = Slot(str(side), 2, mac), Slot(str(side), 1, mac)
    assert forged.served() is None
    assert (forged.fault() or Fault("", "", {})).check == "J706"
    assert empty.served() is None
    assert empty.fault() is None
    missing = Slot(str(tmp_path / "none"), 1, mac)
    assert missing.served() is None
    assert missing.fault() is None

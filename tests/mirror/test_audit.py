"""The audit reads mirror files too: what it finds in them, and that it touches none."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from journal.audit import audit, held
from journal.audit import mirrored as audited
from journal.process import this_process
from tests.thieves import Thief

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal, Session


@pytest.fixture
def found(journal_path: Path) -> Callable[[], dict[str, Any]]:
    """Audit, and give the findings about mirrors by id."""

    def look() -> dict[str, Any]:
        report = audit(journal_path)
        return {finding.id: finding for finding in report.findings if finding.id.startswith("J7")}

    return look


def evidence(finding: Any) -> dict[str, Any]:
    (first,) = finding.evidence
    return dict(first)


def test_a_mirror_in_step_has_no_findings(mirrored: Session, journal_path: Path) -> None:
    report = audit(journal_path)

    assert report.findings == ()
    assert not any("mirror" in text for text in report.not_checked)


def test_nothing_is_touched(mirrored: Session, path: Path, found: Callable[[], object]) -> None:
    path.write_bytes(path.read_bytes() + b'{"foreign":1}\n')
    os.utime(path, ns=(1, 1))
    before = (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir()))

    found()

    assert (path.read_bytes(), path.stat().st_mtime_ns, sorted(path.parent.iterdir())) == before


def test_bytes_behind_the_end(mirrored: Session, path: Path, found: Callable[[], Any]) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b'{"\x1b[31m":1}\n')

    told = evidence(found()["J703"])

    assert (told["offset"], told["line"], told["bytes"]) == (size, 4, 12)
    assert "\x1b" not in told["found"]


def test_bytes_that_are_others(mirrored: Session, path: Path, found: Callable[[], Any]) -> None:
    path.write_bytes(path.read_bytes().replace(b'"n":1', b'"n":7'))

    told = evidence(found()["J703"])

    assert (told["line"], told["expected"], told["found"]) == (2, "1}\\n", "7}\\n")


@pytest.mark.parametrize("size", [0, 3, 16])
def test_a_file_that_is_too_short(
    mirrored: Session, path: Path, found: Callable[[], Any], size: int
) -> None:
    os.truncate(path, size)

    told = found()

    assert list(told) == ["J702"]
    assert evidence(told["J702"])["offset"] == size


@pytest.mark.parametrize("is_known", [True, False])
def test_a_file_that_is_gone(
    mirrored: Session, path: Path, found: Callable[[], Any], *, is_known: bool
) -> None:
    path.unlink()
    if is_known:
        mirrored.fence().check(raise_=False)

    (cause,) = {finding.cause for finding in found().values()}

    assert ("was recorded" in cause) is is_known


def test_a_mirror_that_is_refused(
    journal: Journal, tmp_path: Path, found: Callable[[], Any]
) -> None:
    path = tmp_path / "s.jsonl"
    session = journal.session("s", writer="w", role="run")
    session.append({"n": 1})
    journal.mirrors.add("s", path, on_edit="refuse")
    path.write_bytes(b"{}\n")
    session.fence().check(raise_=False)

    assert "J704" in found()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_mirror_that_is_not_served_is_told_whatever_order_the_session_has_since(
    journal: Journal, tmp_path: Path, found: Callable[[], Any], hasty: None, *, is_there: bool
) -> None:
    """Its file keeps the order that it had: nobody is about to give it another."""
    path = tmp_path / "s.jsonl"
    session = journal.session("s", writer="w", role="run")
    session.extend([{"n": 1}, {"n": 2}])
    journal.mirrors.add("s", path, on_edit="refuse")
    path.write_bytes(b"{}\n")
    session.fence().check(raise_=False)
    session.rewrite([{"n": 3}], base=session.head.seq, reason="compacted")
    if not is_there:
        path.unlink()

    assert "J704" in found()
    assert ("J701" in found()) is not is_there


@pytest.mark.parametrize("what", ["link", "directory", "second name", "fifo"])
def test_a_place_that_is_not_what_it_was(
    mirrored: Session, path: Path, tmp_path: Path, found: Callable[[], Any], what: str
) -> None:
    kept = tmp_path / "kept"
    path.rename(kept)
    {
        "link": lambda: path.symlink_to(kept),
        "directory": path.mkdir,
        "second name": lambda: os.link(kept, path),
        "fifo": lambda: os.mkfifo(path),
    }[what]()

    assert list(found()) == ["J705"]


def test_a_forged_slot(mirrored: Session, journal_path: Path, found: Callable[[], Any]) -> None:
    side = journal_path.with_name(f"{journal_path.name}-mirrors")
    data = bytearray(side.read_bytes())
    data[20] ^= 1
    side.write_bytes(data)
    assert list(found()) == ["J706"]

    side.write_bytes(bytes(len(data)))  # as after a power cut: nothing to wonder at
    assert found() == {}


def test_a_redacted_line_is_looked_for_without_the_key_too(
    mirrored: Session, journal_path: Path, tmp_path: Path
) -> None:
    mirrored.redact([2], reason="pasted")

    report = audit(journal_path, key_file=tmp_path / "none")

    assert {finding.id for finding in report.findings} == {"J101"}


def test_a_rewritten_session(mirrored: Session, found: Callable[[], Any]) -> None:
    kept = list(mirrored.read())
    mirrored.rewrite([kept[2], {"new": 1}, kept[0]], base=mirrored.head.seq, reason="compacted")

    assert found() == {}


def test_a_journal_at_work_raises_no_alarm(mirrored: Session, found: Callable[[], Any]) -> None:
    """What differs is looked at again: the file is written after the commit."""
    done = threading.Event()

    def work() -> None:
        number = 0
        while not done.is_set():
            number += 1
            mirrored.append({"n": number})
            if number % 20 == 0:
                kept = list(mirrored.read())[-10:]
                mirrored.rewrite(kept, base=mirrored.head.seq, reason="compacted")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert [found() for _ in range(8)] == [{}] * 8
    finally:
        done.set()
        thread.join()


def told_of_mirrors(path: Path, **options: Any) -> list[str]:
    return [text for text in audit(path, **options).not_checked if text.startswith("the mirror of")]


def test_a_mirror_of_another_host_is_not_looked_at(
    mirrored: Session, path: Path, journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.unlink()
    far, here = replace(this_process(), host="far"), this_process().host
    monkeypatch.setattr(held, "this_process", lambda: far)
    assert told_of_mirrors(journal_path) == [f"the mirror of {mirrored.key!r} on the host {here}"]
    assert audit(journal_path).findings == ()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what differs looked at again at once, and not for long."""
    monkeypatch.setattr(held, "_PAUSE_S", 0.0)
    monkeypatch.setattr(held, "_WAIT_S", 0.0)


def test_a_mirror_that_is_written_to_all_the_time_is_told_as_that(
    mirrored: Session, path: Path, journal: Journal, journal_path: Path, hasty: None, found: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What it is said to be cut to, or its layout, is not what the entries say: for a moment only."""
    path.write_bytes(b"")
    served = audited.Slot.served
    monkeypatch.setattr(
        audited.Slot, "served", lambda slot: (at := served(slot)) and at._replace(is_being_cut=True)
    )
    assert told_of_mirrors(journal_path) == [
        f"the mirror of {mirrored.key!r}: it was written to all the time"
    ]
    assert found() == {}
    monkeypatch.setattr(audited.Slot, "served", served)
    assert list(found()) == ["J702"]


def test_a_mirror_is_held_against_its_lines_without_the_key_too(
    mirrored: Session, path: Path, journal_path: Path, hasty: None, key_file: Path
) -> None:
    key_file.unlink()
    path.write_bytes(path.read_bytes() + b"foreign\n")
    assert "J703" in {finding.id for finding in audit(journal_path).findings}


def test_a_mirror_whose_layout_may_be_lost_is_not_compared(
    mirrored: Session, path: Path, journal_path: Path, hasty: None, found: Any
) -> None:
    """The entry that is gone may have been what said where the lines stand."""
    mirrored.append({"n": 9})
    thief = Thief(journal_path)
    thief.delete(2)
    thief.close()
    path.write_bytes(b"")
    assert found() == {}

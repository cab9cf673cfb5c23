"""What power cuts of a real file system showed, each once more without one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from journal import fence as fences
from journal import mending, redaction
from journal.audit import audit
from journal.marks import take_in
from journal.mirrorfile import MirrorFile
from journal.sidefile import SideFile
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from journal import Journal, Session

pytestmark = pytest.mark.filterwarnings("ignore")


@contextlib.contextmanager
def without_mirrors(journal: Journal) -> Iterator[None]:
    """Let a journal do what it does before it comes to a file."""
    mirrors, journal.store.mirrors = journal.store.mirrors, None
    yield
    journal.store.mirrors = mirrors


@pytest.fixture
def grown(journal: Journal, mirrored: Session, path: Path) -> bytes:
    """Give the bytes of a session whose last two lines were never synced in its file."""
    mirrored.fence().check()
    mirrored.extend([b'{"n":3,"text":"' + b"x" * 90 + b'"}', b'{"n":4}'])
    return path.read_bytes()


def left(path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a power cut leave these bytes of the file."""
    path.write_bytes(data)
    monkeypatch.setattr(mending, "this_boot", lambda: "another-boot")


@pytest.mark.parametrize("ours", [0, 1, 40])
def test_a_file_that_ends_in_nothing_within_a_line_is_put_right(
    grown: bytes,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_step: Callable[[], bool],
    open_journal: Callable[..., Journal],
    told: list[Any],
    ours: int,
) -> None:
    """It had grown to its block's end on disk, and its bytes had not come."""
    at = grown.index(b'{"n":3') + ours
    left(path, grown[:at] + b"\0" * 50, monkeypatch)
    open_journal().session(KEY, writer="heartbeat", role="heartbeat").fence().check()
    assert in_step()
    assert told == []


@pytest.mark.parametrize("tail", [b"\0" * 30 + b"y" * 20, b"foreign", b"\0" * 50 + b"\n"])
def test_any_other_end_came_from_outside(
    grown: bytes,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    open_journal: Callable[..., Journal],
    told: list[Any],
    tail: bytes,
) -> None:
    """Nothing but ours or nothing at all, and no line."""
    left(path, grown[: grown.index(b'{"n":3')] + tail, monkeypatch)
    open_journal().session(KEY, writer="heartbeat", role="heartbeat").fence()
    assert [len(verdict.foreign) for verdict in told] == [1]


def test_under_the_same_boot_it_is_nobodys_power_cut(
    grown: bytes, path: Path, open_journal: Callable[..., Journal], told: list[Any]
) -> None:
    path.write_bytes(grown[: grown.index(b'{"n":3')] + b"\0" * 50)
    open_journal().session(KEY, writer="heartbeat", role="heartbeat").fence()
    assert told


def test_a_cut_is_on_disk_before_its_slot_and_that_before_new_lines(
    mirrored: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the slot there alone, what was cut away would be foreign; without it, half a new line."""
    done: list[str] = []

    def noting(owner: Any, name: str, word: str) -> None:
        real = getattr(owner, name)

        def noted(self: Any, *given: Any) -> Any:
            done.append(word)
            return real(self, *given)

        monkeypatch.setattr(owner, name, noted)

    noting(MirrorFile, "cut", "cut")
    noting(MirrorFile, "sync", "file synced")
    noting(MirrorFile, "append", "appended")
    noting(SideFile, "write", "slot")
    noting(SideFile, "sync", "slot synced")
    mirrored.rewrite([*list(mirrored.read())[:1], {"n": 9}], base=3, reason="compacted")
    at = done.index("cut")
    assert done[at - 1 : at + 5] == [
        "slot synced", "cut", "file synced", "slot", "slot synced", "appended",
    ]  # fmt: skip


@pytest.mark.parametrize("more", [0, 1])
def test_a_rewrite_between_a_fences_look_at_the_file_and_its_mark_is_no_edit(
    mirrored: Session,
    open_journal: Callable[..., Journal],
    monkeypatch: pytest.MonkeyPatch,
    more: int,
) -> None:
    """Found by two writers, not by the cut: the size it saw was that of an order given up since."""
    other = open_journal()
    rewriter = other.session(KEY, writer="other", role="channel")
    mirrored.extend([{"n": number} for number in range(3, 8)])
    real = take_in

    def looked(*given: Any) -> Any:
        found = real(*given)
        with without_mirrors(other):
            lines = list(rewriter.read())
            rewriter.rewrite([lines[0], *lines[2:]], base=rewriter.head.seq, reason="compacted")
            rewriter.extend([{"n": 9}] * more)
        return found

    with monkeypatch.context() as between:
        between.setattr(fences, "take_in", looked)
        fence = mirrored.fence()
    assert fence.check().accepted
    with monkeypatch.context() as between:
        between.setattr(fences, "take_in", looked)
        assert fence.check().accepted
    assert fence.check().accepted


def test_a_line_that_a_rewrite_left_out_a_moment_ago_is_redacted_in_the_file_too(
    mirrored: Session,
    path: Path,
    open_journal: Callable[..., Journal],
    monkeypatch: pytest.MonkeyPatch,
    journal_path: Path,
) -> None:
    """The file has the old order still; were the line left in it, it would come back as foreign."""
    other = open_journal()
    rewriter = other.session(KEY, writer="other", role="channel")
    seq = mirrored.append({"secret": "the word"}).seq
    fence = mirrored.fence()
    real = redaction._rows

    def rows(*given: Any) -> Any:
        with without_mirrors(other):
            kept = [entry for entry in rewriter.read() if entry.seq != seq]
            rewriter.rewrite(kept, base=rewriter.head.seq, reason="compacted")
        return real(*given)

    monkeypatch.setattr(redaction, "_rows", rows)
    mirrored.redact([seq], reason="asked for")
    assert b"the word" not in path.read_bytes()
    assert fence.check().accepted
    assert audit(journal_path).findings == ()


class Died(BaseException):
    """Stands for the power cut: nothing is done after it."""


def test_a_block_that_was_blanked_by_a_cut_whose_size_is_not_on_disk_is_put_right(
    mirrored: Session,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    open_journal: Callable[..., Journal],
    in_step: Callable[[], bool],
    told: list[Any],
) -> None:
    """Where we said that we were about to cut, and under another boot."""
    mirrored.append({"n": 3, "text": "x" * 50})
    fence = open_journal().session(KEY, writer="heartbeat", role="heartbeat").fence()

    def half_cut(_: object, size: int) -> None:
        with path.open("r+b") as file:
            file.seek(size)
            file.write(b"\0" * 12)
        raise Died

    with monkeypatch.context() as broken, contextlib.suppress(Died):
        broken.setattr(MirrorFile, "cut", half_cut)
        mirrored.rewrite(list(mirrored.read())[:1], base=mirrored.head.seq, reason="compacted")
    assert b"\0" in path.read_bytes()
    monkeypatch.setattr(mending, "this_boot", lambda: "another-boot")
    assert fence.check().accepted
    assert in_step()
    assert told == []

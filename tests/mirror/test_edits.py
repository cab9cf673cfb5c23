"""What a foreign hand can do to a mirror's file, and what the journal makes of it."""

from __future__ import annotations

import errno
import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from journal import Journal, MirrorError, SessionTakeover
from journal.mirrorfile import MirrorFile
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Session
    from journal.verdict import Verdict

pytestmark = pytest.mark.filterwarnings("ignore")


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def put(path: Path, data: bytes) -> None:
    """Write over the same inode."""
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def foreign(verdict: Verdict) -> list[bytes | str]:
    """Return the foreign lines of a verdict, and what the facts among them say."""
    return [
        json.loads(entry.body or b"{}").get("what", "layout")
        if entry.kind == "control"
        else entry.data
        for entry in verdict.foreign
    ]


# -- lines that arrive ----------------------------------------------------------------


def test_an_appended_line_is_an_external_entry(mirrored: Session, path: Path) -> None:
    fence = mirrored.fence()
    append(path, b'{"evil":1}\n')
    with pytest.raises(SessionTakeover) as caught:
        fence.check()
    (entry,) = caught.value.entries
    assert (entry.data, entry.trust, entry.role) == (b'{"evil":1}\n', "external", "external")
    assert entry.origin == "mirror"


def test_an_honest_co_tenant_does_not_hide_it(
    journal: Journal, mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    """The trap of the file era: a foreign line right before an honest append."""
    heartbeat = journal.session(KEY, writer="heartbeat", role="heartbeat")
    fence = mirrored.fence()
    append(path, b'{"evil":1}\n')
    heartbeat.append({"hb": 1})
    verdict = fence.check(raise_=False)
    assert foreign(verdict) == [b'{"evil":1}\n']
    assert path.read_bytes().endswith(b'{"evil":1}\n{"hb":1}\n')
    assert in_step()


def test_a_tail_is_provisional_until_a_fence(
    journal: Journal, mirrored: Session, path: Path
) -> None:
    append(path, b'{"torn')
    journal.mirrors.serve(2)  # nothing to write: somebody may be at that line
    assert not mirrored.read(trusted=False)
    fence = mirrored.fence()
    assert [entry.data for entry in mirrored.read(trusted=False)] == [b'{"torn']
    append(path, b"\n")
    assert fence.check().accepted  # only its end came
    assert [entry.data for entry in mirrored.read(trusted=False)] == [b'{"torn', b"\n"]


def test_a_tail_is_ended_before_our_line_follows(mirrored: Session, path: Path) -> None:
    append(path, b'{"torn')
    mirrored.append({"n": 3})
    assert path.read_bytes().endswith(b'{"torn\n{"n":3}\n')


def test_a_tail_that_goes_on_is_kept_in_pieces(mirrored: Session, path: Path) -> None:
    append(path, b'{"torn')
    fence = mirrored.fence()
    append(path, b'":1}\n')
    assert foreign(fence.check(raise_=False)) == [b'":1}\n']
    assert path.read_bytes().endswith(b'{"torn":1}\n')


# -- what is no edit ------------------------------------------------------------------


@pytest.mark.parametrize("touch", ["line end", "utime", "chmod", "equal replacement", "crlf"])
def test_benign_changes_make_no_verdict(
    mirrored: Session, path: Path, touch: str, in_step: Callable[[], bool]
) -> None:
    fence = mirrored.fence()
    if touch == "line end":
        append(path, b"\n")
    elif touch == "crlf":
        append(path, b"\r\n")
    elif touch == "utime":
        os.utime(path)
    elif touch == "chmod":
        path.chmod(0o644)
    else:
        beside = path.with_suffix(".new")
        beside.write_bytes(path.read_bytes())
        beside.replace(path)
    assert fence.check().accepted
    mirrored.append({"n": 3})
    assert fence.check().accepted
    assert in_step()


def test_our_own_rewrites_and_cuts_make_no_verdict(
    mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    """G5: compaction that shrinks the history is ours, and the inode stays."""
    inode = path.stat().st_ino
    fence = mirrored.fence()
    mirrored.rewrite([*mirrored.read()[:1], {"sum": 1}], base=mirrored.head.seq, reason="compacted")
    assert path.read_bytes() == b'{"n":0}\n{"sum":1}\n'
    assert fence.check().accepted
    mirrored.cut(1, base=mirrored.head.seq, reason="taken back")
    assert path.read_bytes() == b'{"n":0}\n'
    assert fence.check().accepted
    assert path.stat().st_ino == inode
    assert in_step()


# -- edits ----------------------------------------------------------------------------


def test_an_edit_inside_of_the_same_size_and_time(mirrored: Session, path: Path) -> None:
    """One digit, size and mtime as they were."""
    fence = mirrored.fence()
    times = path.stat()
    put(path, path.read_bytes().replace(b'{"n":1}', b'{"n":7}'))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert foreign(fence.check(raise_=False)) == [b'{"n":7}\n', "layout"]


def test_a_splice_leaves_our_lines_ours(
    mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    fence = mirrored.fence()
    put(path, path.read_bytes().replace(b'{"n":1}\n', b'{"x":1}\n{"n":1}\n'))
    assert foreign(fence.check(raise_=False)) == [b'{"x":1}\n']
    assert in_step()


def test_a_changed_order_is_an_edit(mirrored: Session, path: Path) -> None:
    """No line is new and none is gone: the fact that they moved is the foreign entry."""
    fence = mirrored.fence()
    put(path, b'{"n":1}\n{"n":0}\n{"n":2}\n')
    assert foreign(fence.check(raise_=False)) == ["layout"]
    assert [entry.body for entry in mirrored.read()] == [b'{"n":1}', b'{"n":0}', b'{"n":2}']


@pytest.mark.parametrize("size", [0, 8, 11])
def test_a_shorter_file_is_an_edit(
    mirrored: Session, path: Path, size: int, in_step: Callable[[], bool]
) -> None:
    fence = mirrored.fence()
    os.truncate(path, size)
    assert not fence.check(raise_=False).accepted
    assert in_step()
    assert path.stat().st_size == size  # it stands as it is; the journal has what was in it


def test_a_shorter_file_is_an_edit_whatever_the_side_file_says(
    mirrored: Session, path: Path, journal_path: Path
) -> None:
    """The fence knows the size: whoever takes the side file away gains nothing."""
    fence_id = mirrored.fence().stored()
    os.truncate(path, 8)
    put(journal_path.with_name("agent.db-mirrors"), b"")
    with Journal(journal_path) as other:
        assert not other.fence(fence_id).check(raise_=False).accepted


def test_an_older_copy_restored_is_an_edit(
    mirrored: Session, path: Path, journal_path: Path
) -> None:
    """File and side file both put back: the fence still knows better."""
    side = journal_path.with_name("agent.db-mirrors")
    old = path.read_bytes(), side.read_bytes()
    mirrored.append({"n": 3})
    fence = mirrored.fence()
    put(path, old[0])
    put(side, old[1])
    assert not fence.check(raise_=False).accepted


def test_the_file_of_another_session_in_its_place(
    mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    fence = mirrored.fence()
    beside = path.with_suffix(".new")
    beside.write_bytes(b'{"other":1}\n{"other":2}\n')
    beside.replace(path)
    verdict = fence.check(raise_=False)
    assert foreign(verdict) == [b'{"other":1}\n', b'{"other":2}\n', "layout"]
    assert in_step()


def test_a_large_edit_is_committed_in_pieces(
    mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    """Nine MiB between ours: more than one transaction, one layout at the end."""
    fence = mirrored.fence()
    lines = b"".join(b'{"x":%d,"y":"%s"}\n' % (n, b"y" * 100_000) for n in range(90))
    put(path, path.read_bytes().replace(b'{"n":1}\n', lines + b'{"n":1}\n'))
    verdict = fence.check(raise_=False)
    assert len(verdict.foreign) == 90
    assert len({entry.epoch for entry in verdict.foreign}) == 3
    assert in_step()


def test_programs_that_are_known_are_permitted(
    journal: Journal, mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    journal.mirrors.permit(KEY, permitted=True, reason="pi writes here")
    fence = mirrored.fence()
    append(path, b'{"pi":1}\n')
    mirrored.append({"n": 3})
    assert fence.check().accepted
    assert [entry.trust for entry in mirrored.read(trusted=False)] == ["permitted"]
    assert in_step()


# -- the file is gone -----------------------------------------------------------------


@pytest.mark.parametrize("instead", ["nothing", "link", "directory"])
def test_a_removed_file_is_an_edit_once(
    journal: Journal, mirrored: Session, path: Path, tmp_path: Path, instead: str
) -> None:
    """Appends go on, it is not made again unasked, and a link in its place is never followed."""
    other = tmp_path / "precious"
    other.write_bytes(b"precious\n")
    fence = mirrored.fence()
    path.unlink()
    if instead == "link":
        path.symlink_to(other)
    elif instead == "directory":
        path.mkdir()
    mirrored.append({"n": 3})
    assert foreign(fence.check(raise_=False)) == ["gone"]
    mirrored.append({"n": 4})
    assert foreign(fence.check(raise_=False)) == ["gone"]
    assert mirrored.fence().check().accepted  # judged already: not the next run's
    (status,) = journal.mirrors.status()
    assert status.state == "gone"
    assert other.read_bytes() == b"precious\n"
    assert not path.is_file() or path.is_symlink()


def test_a_removed_file_is_made_again_when_asked(
    journal: Journal, mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    path.unlink()
    mirrored.append({"n": 3})
    journal.mirrors.recreate(KEY)
    assert in_step()
    assert journal.mirrors.status()[0].state == "on"
    mirrored.append({"n": 4})
    assert in_step()


def test_a_file_that_is_back_is_served_again(
    mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    aside = path.with_suffix(".aside")
    path.rename(aside)
    mirrored.append({"n": 3})
    aside.rename(path)
    fence = mirrored.fence()
    mirrored.append({"n": 4})
    assert fence.check().accepted
    assert in_step()


def test_a_file_that_was_edited_is_made_again_whole_before_anybody_saw_that_it_is_gone(
    journal: Journal, mirrored: Session, path: Path, in_step: Callable[[], bool]
) -> None:
    put(path, b'{"foreign":1}\n' + path.read_bytes())
    mirrored.fence()
    fence, whole = mirrored.fence(), path.read_bytes()
    path.unlink()
    journal.mirrors.recreate(KEY)
    assert path.read_bytes() == whole
    assert in_step()
    assert fence.check().accepted


def test_a_file_that_is_made_again_and_not_to_its_end_lost_nothing(
    journal: Journal,
    mirrored: Session,
    path: Path,
    in_step: Callable[[], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a full disk: a fence that was raised while it was gone asks for none of its size."""
    path.unlink()
    assert not mirrored.fence().check(raise_=False).foreign
    fence = mirrored.fence()
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        written = write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, f"no room after {written} bytes")

    with monkeypatch.context() as full:
        full.setattr("journal.mirrorfile.os.write", half)
        with pytest.raises(MirrorError):
            journal.mirrors.recreate(KEY)
    assert fence.check().accepted
    assert in_step()


# -- refuse ---------------------------------------------------------------------------


def test_refuse_stops_mirroring_until_resumed(
    journal: Journal, path: Path, exported: Callable[[], bytes]
) -> None:
    path.parent.mkdir()
    journal.mirrors.add(KEY, path, on_edit="refuse")
    session = journal.session(KEY, writer="gateway", role="run")
    session.append({"n": 0})
    fence = session.fence()
    append(path, b"\n")
    assert fence.check().accepted
    append(path, b'{"evil":1}\n')
    verdict = fence.check(raise_=False)
    assert foreign(verdict) == [b'{"evil":1}\n', "refused"]
    stopped = path.read_bytes()
    session.append({"n": 1})
    assert path.read_bytes() == stopped
    assert journal.mirrors.status()[0].state == "refused"
    journal.mirrors.resume(KEY, "looked at it")
    assert path.read_bytes() == stopped + b'{"n":1}\n' == exported()
    assert journal.mirrors.status()[0].state == "on"
    with pytest.raises(MirrorError, match=re.escape("was not stopped")):
        journal.mirrors.resume(KEY, "again")


@pytest.mark.parametrize("on_edit", ["keep", "refuse"])
@pytest.mark.parametrize("before", ["edited", "edited and gone"])
def test_a_mirror_that_comes_after_another_is_made_whole(
    journal: Journal, path: Path, exported: Callable[[], bytes], on_edit: str, before: str
) -> None:
    """What was done to that one's file, and how much that had, says nothing of this one's."""
    path.parent.mkdir()
    journal.mirrors.add(KEY, path, on_edit=on_edit)
    session = journal.session(KEY, writer="gateway", role="run")
    session.extend([b'{"n":0}', b'{"n":1}'])
    put(path, b'{"n":0}\n{"foreign":1}\n{"n":1}\n')
    session.fence()
    if before == "edited and gone":
        path.unlink()
        session.fence()
    journal.mirrors.remove(KEY)
    other = path.with_name("other.jsonl")
    fence = session.fence()
    journal.mirrors.add(KEY, other)
    session.append({"n": 2})
    whole = b'{"n":0}\n{"foreign":1}\n{"n":1}\n{"n":2}\n'
    assert other.read_bytes() == exported() == whole
    assert fence.check().accepted
    assert journal.mirrors.status()[0].state == "on"


@pytest.mark.parametrize("rewritten", ["before anybody looked", "since"])
@pytest.mark.parametrize("hand", ["adds", "removes"])
def test_a_rewrite_writes_to_no_file_that_is_refused(
    journal: Journal, path: Path, exported: Callable[[], bytes], rewritten: str, hand: str
) -> None:
    path.parent.mkdir()
    journal.mirrors.add(KEY, path, on_edit="refuse")
    session = journal.session(KEY, writer="gateway", role="run")
    session.extend([b'{"n":0}', b'{"n":1}', b'{"n":2}'])
    fence = session.fence()
    lines = path.read_bytes().splitlines(keepends=True)
    put(path, b"".join([*lines, b'{"evil":1}\n'] if hand == "adds" else [lines[0], lines[2]]))
    edited = path.read_bytes()
    if rewritten == "since":
        assert not fence.check(raise_=False).accepted
        assert path.read_bytes() == edited
    kept = [entry for entry in session.read() if entry.data == lines[2]]
    session.rewrite(kept, base=session.head.seq, reason="compacted")
    for _ in range(2):
        verdict = fence.check(raise_=False)
        what = b'{"evil":1}\n' if hand == "adds" else "layout" if rewritten == "since" else "lost"
        assert foreign(verdict) == [what, "refused"]
        assert path.read_bytes() == edited
    assert journal.mirrors.status()[0].state == "refused"
    for piece in (b'{"ha', b'lf":1}\n'):
        append(path, piece)
        journal.mirrors.reconcile(2, is_cheap=True)
    assert fence.check(raise_=False).foreign[-1].data == b'{"half":1}\n'
    journal.mirrors.resume(KEY, "looked at it")
    session.append({"n": 3})
    assert path.read_bytes() == exported()
    assert exported().startswith(lines[2])
    with session.fence() as after:
        pass
    assert after.verdict is not None
    assert after.verdict.accepted


@pytest.mark.parametrize("own", [1, 3])
def test_a_line_put_in_front_makes_no_piece_of_ours_foreign(
    mirrored: Session, path: Path, in_step: Callable[[], bool], own: int
) -> None:
    """All of ours moved by a few bytes, and we append before anybody has looked."""
    put(path, b'{"x":1}\n' + path.read_bytes())
    for n in range(own):
        mirrored.append({"m": n})
    fence = mirrored.fence()
    assert [entry.data for entry in mirrored.read(trusted=False)] == [b'{"x":1}\n']
    assert fence.check().accepted
    assert in_step()


def test_what_an_interrupted_rewrite_kept_is_not_kept_again(
    mirrored: Session, path: Path, monkeypatch: pytest.MonkeyPatch, in_step: Callable[[], bool]
) -> None:
    """Foreign lines met by a rewrite that fails after they were committed are entries once."""
    append(path, b'{"x":1}\n')
    with monkeypatch.context() as patch:

        def crash(*_: object) -> None:
            raise OSError(5, "Input/output error")

        patch.setattr(MirrorFile, "cut", crash)
        mirrored.rewrite([{"sum": 1}], base=mirrored.head.seq, reason="compacted")
        mirrored.append({"n": 3})
    mirrored.append({"n": 4})
    assert [entry.data for entry in mirrored.read(trusted=False)] == [b'{"x":1}\n']
    assert in_step()

"""A rewrite that somebody died in, and another rewrite before the file was looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from journal import Journal, reconciling
from journal.audit import audit
from journal.export import export
from journal.mirror import Mirror
from journal.mirrorfile import MirrorFile
from tests.thieves import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from journal import Session


class DiedError(BaseException):
    """Stands for a kill -9: nothing that comes after it is done."""


def newest(session: Session, count: int) -> None:
    """Rewrite a session to its newest lines, so that its file is cut to nothing."""
    session.rewrite(session.read()[-count:], base=session.head.seq, reason="compacted")


@pytest.mark.parametrize(
    "owner, call",
    [(reconciling, "_remember"), (MirrorFile, "append"), (MirrorFile, "cut")],
    ids=["after it was written", "after a write", "after the cut"],
)
def test_own_lines_of_an_earlier_rewrite_are_never_called_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, call: str
) -> None:
    path, db = tmp_path / "s.jsonl", tmp_path / "agent.db"
    with Journal(db) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=path)
        session.extend({"n": number} for number in range(30))
    real = getattr(owner, call)

    def die(self: object, *arguments: object) -> None:
        if call != "_remember":
            real(self, *arguments)
        raise DiedError

    with Journal(db) as journal, monkeypatch.context() as broken:
        session = journal.session(KEY, writer="gateway", role="run")
        broken.setattr(owner, call, die)
        with pytest.raises(DiedError):
            newest(session, 20)
    with Journal(db) as journal:
        # Not by way of the journal's own handle: that would bring the file up first.
        with monkeypatch.context() as blind:
            blind.setattr(Mirror, "serve", lambda *_: None)
            newest(journal.session(KEY, writer="gateway", role="run"), 10)
        with journal.session(KEY, writer="gateway", role="run").fence() as fence:
            assert fence.check().accepted
        assert path.read_bytes() == b"".join(export(journal, KEY))
        trusts = {entry.trust for entry in journal.session(KEY).read()}
    assert trusts == {"asserted"}
    assert audit(db).findings == ()


def test_a_foreign_line_that_begins_like_an_open_one_of_ours_is_taken_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, line = tmp_path / "s.jsonl", b'{"foreign":1}\n'
    with Journal(tmp_path / "agent.db") as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=path)
        session.extend([{"n": 1}, {"n": 2}])
        with path.open("ab") as hand:
            hand.write(line[:5])  # torn, and never gone on with
        session.fence().check()
        first, _, torn = session.read()
        assert torn.data == line[:5]
        cut = MirrorFile.cut

        def cut_and_meddle(self: MirrorFile, size: int) -> None:
            cut(self, size)
            with path.open("ab") as hand:
                hand.write(line)

        with monkeypatch.context() as meddled:
            meddled.setattr(MirrorFile, "cut", cut_and_meddle)
            session.rewrite([first, torn], base=session.head.seq, reason="compacted")
        session.fence().check()
        assert [entry.data for entry in session.read()] == [first.data, line, torn.data]
        assert path.read_bytes() == b"".join(export(journal, KEY))


def test_a_rewrite_that_comes_while_the_file_is_compared_makes_no_line_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.jsonl"
    with Journal(tmp_path / "agent.db") as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=path)
        session.extend({"n": number} for number in range(30))
        compare = reconciling._compare
        waiting = [10]

        def late(mirror: Mirror, file: MirrorFile) -> object:
            if waiting:
                newest(session, waiting.pop())
            return compare(mirror, file)

        with path.open("ab") as hand:
            hand.write(b'{"hand":1}\n')
        with monkeypatch.context() as meddled:
            meddled.setattr(Mirror, "serve", lambda *_: None)
            meddled.setattr(reconciling, "_compare", late)
            session.fence().check()
        assert not waiting
        foreign = [entry.data for entry in session.read() if not entry.trusted]
        assert foreign == [b'{"hand":1}\n']
        assert path.read_bytes() == b"".join(export(journal, KEY))

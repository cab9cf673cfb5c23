"""Lines over 8 MiB: kept in parts, and the same bytes as ever wherever they come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import EntryError, Journal, SessionTakeover
from journal import parts as module
from journal.audit import audit
from journal.export import export
from journal.lines import LINE_LIMIT
from journal.parts import PART_SIZE, encode_lines, parts_of, split
from tests.thieves import KEY

if TYPE_CHECKING:
    from pathlib import Path

    from journal import Session

LONG = b'{"said":"' + b"x" * (LINE_LIMIT + 3 * PART_SIZE // 2) + b'"}'
OTHER = b"y" * (LINE_LIMIT + 1)


@pytest.fixture
def session(journal: Journal) -> Session:
    found = journal.session(KEY, writer="gateway", role="run")
    found.append({"n": 1})
    return found


def out(journal: Journal) -> bytes:
    return b"".join(export(journal, KEY))


@settings(max_examples=300)
@given(data=st.text("ab\r\n", max_size=60), size=st.integers(1, 9))
def test_any_stream_is_cut_alike_whatever_its_chunks(data: str, size: int) -> None:
    """With limits of a few bytes, each boundary is met in each way."""
    stream = data.encode()
    with pytest.MonkeyPatch.context() as small:
        small.setattr(module, "LINE_LIMIT", 8)
        small.setattr(module, "PART_SIZE", 4)
        small.setattr(module, "_SURELY_LONG", 10)
        once = list(split([stream]))
        chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert list(split(chunks)) == once
        assert b"".join(line.body + line.terminator for line in once) == stream
        whole = [line for line in stream.split(b"\n") if line]
        assert any(line.kind == "part" for line in once) == any(
            len(line.removesuffix(b"\r")) > 8 or (len(line) > 8 and stream.endswith(line))
            for line in whole
        )
        is_open = False
        for line in once:
            if line.kind != "part":
                assert len(line.body) <= 8
                assert not is_open
                continue
            assert 0 < len(line.body) <= 4
            assert line.terminator or line is once[-1] or len(line.body) == 4
            is_open = not line.terminator


def test_a_long_line_is_one_write_and_comes_out_as_it_went_in(
    journal: Journal, session: Session, tmp_path: Path
) -> None:
    last = session.append(LONG, request_id="r1")
    assert (last.kind, last.terminator) == ("part", b"\n")
    assert session.append(LONG, request_id="r1").seq == last.seq
    entries = session.read()[1:]
    assert {entry.epoch for entry in entries} == {last.epoch}
    assert {entry.kind for entry in entries} == {"part"}
    assert b"".join(entry.data for entry in entries) == LONG + b"\n"
    assert out(journal) == b'{"n":1}\n' + LONG + b"\n"
    assert audit(tmp_path / "agent.db").findings == ()


def test_an_object_is_cut_as_its_bytes_are() -> None:
    text = "x" * LINE_LIMIT
    assert encode_lines([{"n": text}]) == parts_of(b'{"n":"%s"}' % text.encode(), b"\n")


def test_every_way_to_write_takes_one(journal: Journal, session: Session) -> None:
    session.extend([LONG, {"n": 2}])
    with session.fence() as fence:
        fence.append(OTHER)
    with journal.batch() as batch:
        batch.append(session, LONG)
    assert out(journal) == b'{"n":1}\n' + LONG + b'\n{"n":2}\n' + OTHER + b"\n" + LONG + b"\n"


@pytest.mark.parametrize("count, base", [("x", 1), (1, "x"), (1, None)])
def test_what_is_no_number_is_refused(session: Session, count: Any, base: Any) -> None:
    session.append({"n": 1})
    with pytest.raises(EntryError):
        session.cut(count, base=base, reason="r")


def test_a_cut_counts_lines(journal: Journal, session: Session) -> None:
    session.extend([LONG, {"n": 2}, OTHER])
    session.cut(1, base=session.head.seq, reason="undone")
    assert out(journal) == b'{"n":1}\n' + LONG + b'\n{"n":2}\n'
    session.cut(2, base=session.head.seq, reason="undone")
    assert out(journal) == b'{"n":1}\n'
    session.append({"n": 3})
    assert out(journal) == b'{"n":1}\n{"n":3}\n'


def test_a_rewrite_keeps_parts_together(journal: Journal, session: Session) -> None:
    session.extend([LONG, {"n": 2}, OTHER])
    one, *rest = session.read()
    parts, other = rest[: len(parts_of(LONG, b"\n"))], rest[len(parts_of(LONG, b"\n")) :]
    session.rewrite([*other[1:], *parts, {"n": 9}, one], base=session.head.seq, reason="moved")
    assert out(journal) == OTHER + b"\n" + LONG + b'\n{"n":9}\n{"n":1}\n'


def test_a_refused_one_is_parked_whole_and_applied_whole(
    journal: Journal, session: Session
) -> None:
    stranger = journal.session(KEY, writer="second", role="run")
    fence = session.fence(policy="strict")
    stranger.append({"n": 2})
    with pytest.raises(SessionTakeover) as caught:
        fence.append(LONG)
    (parked,) = session.parked()
    assert parked.lines == (LONG + b"\n",)
    assert caught.value.parked == parked
    parked.apply()
    assert {entry.kind for entry in session.read()[2:]} == {"part"}
    assert out(journal).endswith(b"\n" + LONG + b"\n")


def test_to_redact_a_part_is_to_redact_the_line(
    journal: Journal, session: Session, tmp_path: Path
) -> None:
    session.extend([LONG, OTHER])
    one = session.read()[3]
    assert one.kind == "part"
    session.redact([one.seq], reason="a secret lies across two parts")
    entries = session.read()
    assert [entry.redacted for entry in entries].count(True) == len(parts_of(LONG, b"\n"))
    assert len(out(journal)) == len(b'{"n":1}\n' + LONG + b"\n" + OTHER + b"\n")
    assert out(journal).endswith(OTHER + b"\n")
    assert audit(tmp_path / "agent.db").exit_code == 0


def test_a_mirror_takes_and_gives_them(journal: Journal, session: Session, tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    journal.mirrors.add(KEY, path)
    session.append(LONG)
    with path.open("ab") as hand:
        hand.write(OTHER + b"\n" + b'{"hand":1}\n')
    session.append({"n": 2})
    assert path.read_bytes() == out(journal)
    trusts = [(entry.kind, entry.trust) for entry in session.read()]
    assert trusts.count(("part", "external")) == len(parts_of(OTHER, b"\n"))
    assert trusts[-2:] == [("line", "external"), ("line", "asserted")]


@pytest.mark.parametrize("there", [PART_SIZE, PART_SIZE + 17, LINE_LIMIT + PART_SIZE // 2])
def test_a_write_of_one_that_broke_off_is_gone_on_with(
    journal: Journal, session: Session, tmp_path: Path, there: int
) -> None:
    path = tmp_path / "s.jsonl"
    journal.mirrors.add(KEY, path)
    size = path.stat().st_size
    session.append(LONG)
    mirrored = journal.mirrors.mirror(journal.mirrors.of(KEY).session_id)
    # As after a kill within the write: the file has a piece, and nobody has noted more.
    with path.open("ab") as file:
        file.truncate(size + there)
    assert mirrored is not None
    known = mirrored.known()
    assert known is not None
    mirrored.know(known._replace(size=size, exported_seq=1, synced_to=0))
    with session.fence() as fence:
        assert fence.check().accepted
    assert path.read_bytes() == out(journal)
    assert {entry.trust for entry in session.read()} == {"asserted"}

"""A file beside the layout it should equal: where the first difference is, and what follows on both sides."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import comparison
from journal.admission import put
from journal.comparison import Start, compare, lines_of, physical
from journal.lines import Line
from journal.mirrorfile import MirrorFile
from journal.pages import PAGE_BYTES, page_of
from journal.reconcile import digest_of_line
from tests.thieves import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from journal import Journal, Session
    from journal.comparison import Compared

OPEN, PART_END = Line(b"op", b"", "raw"), Line(b"en", b"", "part")
LINE_END = Line(b"", b"\n", "raw")


def write(session: Session, *lines: Line) -> None:
    with session.store.transaction() as cursor:
        put(cursor, session, list(lines), None)


@pytest.fixture
def beside(base: Session, journal: Journal, tmp_path: Path) -> Iterator[Callable[..., Compared]]:
    """Compare the session with a file of these bytes."""
    path = tmp_path / "file.jsonl"
    opened: list[MirrorFile] = []

    def look(data: bytes, **options: Any) -> Compared:
        path.write_bytes(data)
        opened.append(MirrorFile(str(path)))
        with journal.store.snapshot() as cursor:
            chain = journal.store.find_chain(cursor, KEY)
        assert chain is not None
        return compare(journal.store, chain, opened[-1], **options)

    yield look
    for file in opened:
        file.close()


def said(found: Compared) -> tuple[Any, ...]:
    """Return where they differ: the own entry, the offset, our lines and the file's from there on."""
    own = [line.seqs for line in found.own]
    return found.differs, found.offset, own, [(line.offset, line.size) for line in found.found]


HEADER = b'{"type":"session"}\n'
SIZE = len(HEADER)


def test_equal_bytes_differ_nowhere(base: Session, beside: Callable[..., Compared]) -> None:
    base.append(b"x")
    found = beside(HEADER + b"x\n")
    assert said(found) == (None, SIZE + 2, [], [])
    assert (found.head, found.size, found.newest_no) == (2, SIZE + 2, 0)
    assert found.digest == sha256(HEADER + b"x\n").digest()
    assert found.layout.is_plain


@pytest.mark.parametrize(
    "file, expected",
    [
        (b"", (1, 0, [(1,), (2,), (3,)], [])),
        (HEADER[:-1], (1, 0, [(1,), (2,), (3,)], [(0, SIZE - 1)])),
        (HEADER, (2, SIZE, [(2,), (3,)], [])),
        (HEADER + b"x\nz\n", (3, SIZE + 2, [(3,)], [(SIZE + 2, 2)])),
        (HEADER + b"x\ny\nz", (None, SIZE + 4, [], [(SIZE + 4, 1)])),
        (HEADER + b"y\nx\n", (2, SIZE, [(2,), (3,)], [(SIZE, 2), (SIZE + 2, 2)])),
    ],
)
def test_the_first_difference_is_at_the_beginning_of_an_entry(
    base: Session, beside: Callable[..., Compared], file: bytes, expected: tuple[Any, ...]
) -> None:
    base.extend([b"x", b"y"])
    found = beside(file)
    assert said(found) == expected
    assert found.digest == sha256(file[: expected[1]]).digest()
    assert found.size == len(file)


# -- a line of ours without an end, which may be how a foreign line begins --------------


@pytest.mark.parametrize(
    "exported, file, expected",
    [
        # Never written here: what begins like it is a foreign line, whole.
        (SIZE, b"opx\n", (2, SIZE, [(2,)], [(SIZE, 4)])),
        (0, b"opx\n", (2, SIZE, [(2,)], [(SIZE, 4)])),
        # It ends the file: then it is ours.
        (SIZE, b"op", (None, SIZE + 2, [], [])),
        # It was written here: what follows is what somebody went on with.
        (SIZE + 1, b"opx\n", (None, SIZE + 2, [], [(SIZE + 2, 2)])),
        (SIZE + 2, b"opx\n", (None, SIZE + 2, [], [(SIZE + 2, 2)])),
        (None, b"opx\n", (None, SIZE + 2, [], [(SIZE + 2, 2)])),
        (SIZE, b"ox\n", (2, SIZE, [(2,)], [(SIZE, 3)])),
    ],
)
def test_an_open_line_is_ours_where_it_was_written_or_ends_the_file(
    base: Session, beside: Callable[..., Compared], exported: int | None, file: bytes,
    expected: tuple[Any, ...],
) -> None:  # fmt: skip
    write(base, OPEN)
    found = beside(HEADER + file, exported=exported)
    assert said(found) == expected
    assert found.digest == sha256((HEADER + file)[: expected[1]]).digest()


@pytest.mark.parametrize(
    "file, expected",
    [
        (b"op\n", (None, SIZE + 3, [], [])),
        (b"op\nx\n", (None, SIZE + 3, [], [(SIZE + 3, 2)])),  # its end makes it ours
        (b"opx\n", (2, SIZE, [(2, 3)], [(SIZE, 4)])),
        (b"op", (2, SIZE, [(2, 3)], [(SIZE, 2)])),
    ],
)
def test_an_open_line_whose_end_came_later_is_ours_with_that_end(
    base: Session, beside: Callable[..., Compared], file: bytes, expected: tuple[Any, ...]
) -> None:
    write(base, OPEN)
    write(base, LINE_END)
    assert said(beside(HEADER + file, exported=SIZE)) == expected


def test_an_open_line_goes_back_to_where_it_began_with_all_that_followed(
    base: Session, beside: Callable[..., Compared]
) -> None:
    write(base, OPEN, PART_END)
    found = beside(HEADER + b"openx\n", exported=SIZE)
    assert said(found) == (2, SIZE, [(2, 3)], [(SIZE, 6)])
    assert found.digest == sha256(HEADER).digest()
    assert said(beside(HEADER + b"open", exported=SIZE)) == (None, SIZE + 4, [], [])


def test_a_part_of_a_long_line_is_no_line_that_anybody_else_began(
    base: Session, beside: Callable[..., Compared]
) -> None:
    write(base, PART_END)
    found = beside(HEADER + b"enx\n", exported=SIZE)
    assert said(found) == (None, SIZE + 2, [], [(SIZE + 2, 2)])


# -- where to begin -------------------------------------------------------------------


def test_what_was_compared_before_is_not_looked_at_where_its_digest_is_the_same(
    base: Session, beside: Callable[..., Compared]
) -> None:
    base.extend([b"x", b"y", b"z"])
    begun = sha256(b"A" * (SIZE + 2)).digest()
    found = beside(b"A" * (SIZE + 2) + b"y\nX\n", start=Start(SIZE + 2, 2), begun=begun)
    assert said(found) == (4, SIZE + 4, [(4,)], [(SIZE + 4, 2)])
    assert found.digest == sha256(b"A" * (SIZE + 2) + b"y\n").digest()


def test_where_the_digest_is_another_all_is_compared(
    base: Session, beside: Callable[..., Compared]
) -> None:
    base.extend([b"x", b"y"])
    file = HEADER + b"x\nY\n"
    found = beside(file, start=Start(SIZE + 2, 2), begun=b"?" * 32)
    assert said(found) == (3, SIZE + 2, [(3,)], [(SIZE + 2, 2)])
    assert found.digest == sha256(file[: SIZE + 2]).digest()
    without = beside(file, start=Start(SIZE + 2, 2))
    assert said(without) == said(found)
    assert without.digest == sha256(b"").digest()


def test_what_others_wrote_since_is_compared_too(
    base: Session, journal: Journal, open_journal: Callable[..., Journal], tmp_path: Path
) -> None:
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, KEY)
    assert chain is not None
    open_journal().session(KEY, writer="heartbeat", role="heartbeat").append(b"x")
    (tmp_path / "f").write_bytes(HEADER)
    file = MirrorFile(str(tmp_path / "f"))
    found = compare(journal.store, chain, file)
    file.close()
    assert (found.head, found.differs) == (2, 2)


def test_any_layout_may_be_compared_with(base: Session, beside: Callable[..., Compared]) -> None:
    base.extend([b"x", b"y"])
    old = beside(b"").layout
    base.rewrite(list(base.read())[2:], base=base.head.seq, reason="shorter")
    found = beside(b"y\n")
    assert (said(found)[0], found.newest_no, found.layout.no) == (None, 1, 1)
    earlier = beside(HEADER + b"x\ny\n", layout=old)
    assert (said(earlier)[:2], earlier.newest_no, earlier.layout.no) == ((None, SIZE + 4), 1, 0)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_size_of_a_page_decides_nothing(
    base: Session, beside: Callable[..., Compared], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    base.extend([b"x", b"y", b"z"])
    base.claim().release()
    base.append(b"last")
    monkeypatch.setattr(comparison, "PAGE_ROWS", rows)
    assert said(beside(HEADER + b"x\ny\nz\nlast\n"))[0] is None
    assert said(beside(HEADER + b"x\ny\nz\n"))[0] == base.head.seq


def test_only_sealed_lines_are_compared_and_a_redacted_one_by_what_stands_for_it(
    base: Session, beside: Callable[..., Compared], thief: Any
) -> None:
    base.extend([b"secret", b"y"])
    thief.insert_copy(body=b"forged")
    base.redact([2], reason="asked to")
    assert said(beside(HEADER + b"{    }\ny\n"))[0] is None
    assert said(beside(HEADER + b"secret\ny\n"))[0] == 2


# -- lines of a file, lines of the journal ----------------------------------------------


PIECES = st.sampled_from([b"\n", b"\r\n", b"\r", b"x", b"long"])


@given(
    st.lists(PIECES, max_size=12).map(b"".join),
    st.lists(st.integers(0, 40), max_size=4),
    st.integers(0, 9),
)
def test_a_files_lines_are_the_same_however_it_is_read(data: bytes, cuts: list[int], offset: int):
    ends = [*sorted(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    found = list(lines_of(chunks, offset))
    expected, at = [], offset
    pieces = [piece + b"\n" for piece in data.split(b"\n")]
    for piece in [*pieces[:-1], *filter(None, [pieces[-1][:-1]])]:
        end = next((end for end in (b"\r\n", b"\n") if piece.endswith(end)), b"")
        expected.append((at, len(piece), end, digest_of_line(piece)))
        at += len(piece)
    assert [tuple(line) for line in found] == expected


def test_entries_make_lines_by_their_ends(base: Session, journal: Journal) -> None:
    write(base, OPEN, PART_END)
    write(base, LINE_END)
    base.append(b"x\r\n")
    write(base, OPEN)
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, KEY)
    assert chain is not None
    made = list(physical(comparison.rows_of(journal.store, chain, [(2, 9)])))
    assert [(line.seqs, line.ends) for line in made] == [
        ((2, 3, 4), (2, 4, 5)), ((5,), (3,)), ((6,), (2,)),
    ]  # fmt: skip
    assert made[0].digests == tuple(map(digest_of_line, [b"op", b"open", b"open\n"]))
    assert made[1].digests == (digest_of_line(b"x\r\n"),)


# -- many stretches -------------------------------------------------------------------

SPANS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), max_size=12).map(
    lambda found: [(first, first + more) for first, more in found]
)


@given(SPANS)
def test_stretches_are_asked_for_together_in_their_order(spans: list[tuple[int, int]]) -> None:
    groups = list(comparison.together(spans))
    assert [span for group in groups for span in group] == spans
    for group in groups:
        asked = max(last for _, last in group) - min(first for first, _ in group) + 1
        assert len(group) == 1 or asked <= 2 * sum(last - first + 1 for first, last in group)


@pytest.mark.parametrize("limit", [PAGE_BYTES, 40])
def test_lines_in_turns_take_one_look(
    base: Session, journal: Journal, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """And as many as it takes where they are too large for one."""
    base.extend({"n": n} for n in range(2, 10))
    with journal.store.snapshot() as cursor:
        chain = journal.store.find_chain(cursor, KEY)
    assert chain is not None
    looks: list[int] = []

    def look(*values: Any) -> Any:
        looks.append(1)
        return page_of(*values)

    monkeypatch.setattr(comparison, "page_of", look)
    monkeypatch.setattr(comparison, "PAGE_BYTES", limit)
    spans = [(1, 3), (6, 6), (4, 5), (9, 9), (7, 8)]
    seqs = [row.seq for row in comparison.rows_of(journal.store, chain, spans)]
    assert seqs == [1, 2, 3, 6, 4, 5, 9, 7, 8]
    assert len(looks) == (1 if limit > 40 else 6)

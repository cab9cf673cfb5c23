"""The plan for a mirror's file, whatever was done to the file: no own line foreign, none forgotten."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from journal.comparison import lines_of
from journal.reconcile import LINE_END, Found, Own, Plan, digest_of_line, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

# Few different bytes, so that lines are often equal, fused, and each other's beginnings.
BODIES = st.text("ab", min_size=0, max_size=3).map(str.encode)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"])
LINES = st.tuples(BODIES, ENDS).map(b"".join)


class Ours:
    """A layout's entries as the planner sees them."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self.data = dict(enumerate(entries, 1))
        self.lines: list[Own] = []
        seqs, ends, digests, begun = [], [], [], b""
        for seq, data in self.data.items():
            begun += data
            seqs.append(seq)
            ends.append(len(begun))
            digests.append(digest_of_line(begun))
            if data.endswith(b"\n"):
                self.lines.append(Own(tuple(seqs), tuple(ends), tuple(digests)))
                seqs, ends, digests, begun = [], [], [], b""
        if seqs:
            self.lines.append(Own(tuple(seqs), tuple(ends), tuple(digests)))

    def in_file(self, count: int) -> bytes:
        return b"".join(list(self.data.values())[:count])


@st.composite
def histories(draw: st.DrawFn) -> tuple[Ours, int, bytes]:
    """Draw own entries, how many of them were in the file, and the file after foreign edits."""
    entries: list[bytes] = []
    for line in draw(st.lists(LINES, max_size=8)):
        stem = line.rstrip(b"\r\n")
        if stem and draw(st.integers(0, 5)) == 0:
            entries += [stem, line[len(stem) :]]  # its line end came later
        else:
            entries.append(line)
    ours = Ours(entries)
    exported = draw(st.integers(0, len(entries)))
    file = ours.in_file(exported)
    for _ in range(draw(st.integers(0, 4))):
        file = edited(draw, file)
    if draw(st.booleans()) and exported < len(entries):
        file += entries[exported][: draw(st.integers(0, len(entries[exported])))]  # torn, of ours
    return ours, exported, file


def edited(draw: st.DrawFn, file: bytes) -> bytes:
    """Return the file after one edit by a foreign hand, of bytes or of whole lines."""
    at = draw(st.integers(0, len(file)))
    lines = [data + b"\n" for data in file.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    line = draw(st.sampled_from(lines))
    others = draw(st.lists(LINES, max_size=4))
    made = {
        "append": lambda: file + draw(LINES),
        "tail": lambda: file + draw(BODIES),
        "insert": lambda: file[:at] + draw(LINES) + file[at:],
        "truncate": lambda: file[:at],
        "delete": lambda: file.replace(line, b"", 1),
        "double": lambda: file + line,
        "reorder": lambda: b"".join(draw(st.permutations(lines))),
        "line ends": lambda: file.replace(b"\r\n", b"\n"),
        "fuse": lambda: file[:at] + file[at:].replace(b"\n", b"", 1),
        "another file": lambda: b"".join(others),
    }
    return made[draw(st.sampled_from(sorted(made)))]()


def planned(ours: Ours, exported: int | None, file: bytes, *, is_final: bool) -> Plan:
    known = None if exported is None else len(ours.in_file(exported))
    found = lines_of([file], 0)
    return plan(ours.lines, found, ours.data.__getitem__, exported=known, is_final=is_final)


def applied(ours: Ours, found: Plan, file: bytes) -> tuple[bytes, bytes]:
    """Carry a plan out: return the file, and the layout."""

    def data(item: Any) -> bytes:
        if isinstance(item, Found):
            return file[item.offset :][: item.size]
        return b"\n" if item == LINE_END else ours.data[item]

    pending = b"".join(map(data, found.pending))
    layout = b"".join(map(data, (*found.order, *found.pending)))
    return file + pending[found.mend :], layout


@given(history=histories(), is_final=st.booleans())
@settings(max_examples=800)
def test_carrying_out_a_plan_makes_file_and_layout_one(
    *, history: tuple[Ours, int, bytes], is_final: bool
) -> None:
    """Applying a plan gives file == layout, but for a tail that is not a line yet."""
    ours, exported, before = history
    for known in (exported, None):
        found = planned(ours, known, before, is_final=is_final)
        file, layout = applied(ours, found, before)
        tail = b"" if found.tail is None else file[found.tail.offset :]
        assert file == layout + tail
        assert not (tail and (found.pending or is_final or tail.endswith(b"\n")))


@given(histories())
@settings(max_examples=800)
def test_no_whole_own_line_is_foreign(history: tuple[Ours, int, bytes]) -> None:
    """Only what the file has more often than the layout is foreign."""
    ours, exported, file = history
    found = planned(ours, exported, file, is_final=True)
    have = Counter(line.digest for line in lines_of([file], 0))
    owned = Counter(line.digests[-1] for line in ours.lines)
    foreign = Counter(item.digest for item in found.foreign)
    for digest, count in foreign.items():
        assert count <= have[digest] - min(have[digest], owned[digest])


@given(history=histories(), is_final=st.booleans())
@settings(max_examples=800)
def test_every_line_of_the_file_is_in_the_plan_and_every_own_line_accounted_for(
    *, history: tuple[Ours, int, bytes], is_final: bool
) -> None:
    ours, exported, file = history
    found = planned(ours, exported, file, is_final=is_final)
    own = [
        item
        for item in (*found.order, *found.pending, *found.lost)
        if item and isinstance(item, int)
    ]
    assert sorted(own) == sorted(ours.data)
    in_file = [
        ours.data[x] if isinstance(x, int) else file[x.offset :][: x.size] for x in found.order
    ]
    size = sum(map(len, in_file)) + found.mend + (found.tail.size if found.tail else 0)
    assert size == len(file)


@given(histories())
@settings(max_examples=500)
def test_an_untouched_file_has_nothing_foreign(history: tuple[Ours, int, bytes]) -> None:
    """What we wrote, and a write of ours that broke off, are ours."""
    ours, exported, _ = history
    entries = list(ours.data.values())
    torn = entries[exported][:-1] if exported < len(entries) else b""
    # The planner begins where file and layout differ first, as the comparison finds it.
    rest = Ours(entries[exported:])
    found = planned(rest, 0, torn, is_final=True)
    assert not found.foreign
    assert not found.lost
    assert not found.is_relaid
    assert not found.is_edit


@given(histories())
@settings(max_examples=500)
def test_what_was_in_the_file_and_is_not_is_said(history: tuple[Ours, int, bytes]) -> None:
    """A line that was in the file is in the plan's order, or lost; never silently written again."""
    ours, exported, file = history
    found = planned(ours, exported, file, is_final=True)
    was_there = set(range(1, exported + 1))
    assert not was_there & set(found.pending)


def test_a_lone_line_end_is_no_edit() -> None:
    ours = Ours([b"a\n", b"b\n"])
    found = planned(ours, 2, b"a\nb\n\n", is_final=True)
    assert [item.size for item in found.foreign] == [1]
    assert not found.is_edit


def test_lines_that_only_changed_places_are_an_edit() -> None:
    """No line is new and none is lost; still the file is not what it was."""
    found = planned(Ours([b"a\n", b"b\n"]), 2, b"b\na\n", is_final=True)
    assert found.order == (2, 1)
    assert found.is_moved
    assert found.is_relaid
    assert not found.foreign


def test_a_foreign_line_between_ours_is_laid_out_and_is_no_edit() -> None:
    """The own line behind it had not been written yet: nothing that was there moved."""
    found = planned(Ours([b"a\n", b"b\n"]), 1, b"a\nx\nb\n", is_final=True)
    assert [x if isinstance(x, int) else "x" for x in found.order] == [1, "x", 2]
    assert found.is_relaid
    assert not found.is_edit


def test_a_fragment_belongs_to_the_foreign_line_it_was_fused_to() -> None:
    """Ours broke off, somebody went on behind it: ours is written again."""
    found = planned(Ours([b"abab\n"]), 0, b"abx\n", is_final=False)
    assert [item.size for item in found.foreign] == [4]
    assert found.pending == (1,)
    assert found.mend == 0

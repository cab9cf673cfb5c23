"""Where a line stands in its file: told by the layout, and as it is found there by counting."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import Journal
from journal.layout import Extent, Layout
from journal.places import first_change, places_of, positions
from tests.thieves import KEY

LINES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.sampled_from([b"\n", b"\r\n"])),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "session.jsonl"


def counted(data, offset):
    """Give the number of the line that begins at a byte."""
    return data[:offset].count(b"\n") + 1


def held_against(journal, file):
    """Give every line's position by the layout, once it is sure that it stands there."""
    entries = list(journal.session(KEY).read())
    with journal.store.snapshot() as cursor:
        chain = journal.store.fresh(journal.store.find_chain(cursor, KEY))
        chain.load_facts(cursor)
        found = positions(cursor, chain, [entry.seq for entry in entries])
    data = file.read_bytes()
    for entry in entries:
        offset, line = found[entry.seq]
        assert data[offset:].startswith(entry.data)
        assert line == counted(data, offset)
    return found


def test_a_line_is_where_the_layout_puts_it(journal, gateway, heartbeat, file):
    """After appends, a rewrite, a cut, a claim's control entries, and foreign lines in between."""
    journal.mirrors.add(KEY, file)
    gateway.extend([{"n": n} for n in range(5)])
    heartbeat.append(b'{"crlf":1}\r\n')
    with gateway.claim() as turn:
        turn.append({"turn": 1})
    assert len(held_against(journal, file)) == 7

    kept = gateway.read()
    gateway.rewrite([kept[0], {"summary": 1}, *kept[3:]], base=gateway.head.seq, reason="compacted")
    gateway.append({"late": 1})
    gateway.fence().check()
    assert len(held_against(journal, file)) == 7

    data = file.read_bytes()
    with file.open("r+b") as opened:
        opened.write(data.replace(b'{"turn":1}\n', b'{"turn":2}\n{"more":1}\n'))
    gateway.fence()
    gateway.append({"last": 1})
    gateway.cut(2, base=gateway.head.seq, reason="popped")
    gateway.fence().check()
    assert len(held_against(journal, file)) == 7


@settings(max_examples=25)
@given(rounds=st.lists(st.tuples(st.booleans(), LINES), min_size=1, max_size=5))
def test_any_history_of_two_hands(tmp_path_factory, rounds):
    """Whoever wrote it, by the journal or by the file: offset and number are those of the file."""
    place = tmp_path_factory.mktemp("places")
    file = place / "s.jsonl"
    with Journal(place / "j.db") as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=file)
        for is_ours, lines in rounds:
            raw = [b'{"%s":%d}' % (name.encode(), size) + end for name, size, end in lines]
            if is_ours:
                session.extend(raw)
            else:
                with file.open("ab") as opened:
                    opened.write(b"".join(raw))
                session.fence()
        held_against(journal, file)


def test_strays_and_altered_rows_are_no_lines_of_the_file(journal, gateway, file, thief):
    """What a thief put into the table moves no number."""
    journal.mirrors.add(KEY, file)
    gateway.extend([{"n": n} for n in range(3)])
    thief.insert_copy(body=b'{"stray":1}')
    gateway.append({"after": 1})
    fence = gateway.fence()
    with file.open("ab") as opened:
        opened.write(b'{"evil":1}\n')

    verdict = fence.check(raise_=False)

    (entry,) = verdict.foreign
    place = verdict.places[entry.seq]
    data = file.read_bytes()
    assert place == (str(file), data.index(b'{"evil"'), 5)
    held_against(journal, file)


def test_a_verdict_says_where_lines_are_gone(journal, gateway, file):
    """A fact about the file stands where the first missing line stood; of a file that is gone, its name."""
    journal.mirrors.add(KEY, file)
    gateway.extend([{"n": n} for n in range(4)])
    fence = gateway.fence()
    with file.open("r+b") as opened:
        opened.truncate(16)

    cut = fence.check(raise_=False)
    fence = gateway.fence()
    file.unlink()
    gone = fence.check(raise_=False)

    assert [str(place) for place in cut.places.values()] == [f"{file}, line 3, byte 16"]
    assert [str(place) for place in gone.places.values()] == [str(file)]
    assert gone.origins[0].startswith(f"{file}, as database row ")
    assert cut.origins[0].startswith(f"{file}, line 3, byte 16, as database row ")
    assert cut.origins[0] in cut.explain()


def test_without_a_mirror_nothing_is_looked_up(journal, gateway):
    """A session with no file has no places."""
    gateway.append({})
    with journal.store.snapshot() as cursor:
        chain = journal.store.fresh(journal.store.find_chain(cursor, KEY))
        assert places_of(cursor, journal.store, chain, gateway.read()) == {}


@pytest.mark.parametrize(
    "before, after, seq",
    [
        ([(1, None)], [(1, 3), (9, None)], 4),
        ([(1, None)], [(1, 2), (9, 9), (4, 5), (10, None)], 3),
        ([(1, None)], [(2, 5), (9, None)], 1),
        ([(1, 3), (7, None)], [(1, 3), (9, None)], 7),
        ([(1, 3), (7, 8), (12, None)], [(1, 3), (7, 8)], 12),
        ([(1, 3), (7, None)], [(1, 3), (7, None)], None),
    ],
)
def test_the_first_seq_that_moved(before, after, seq):
    """Two layouts side by side."""
    one, other = (
        Layout(n, tuple(Extent(*x) for x in side)) for n, side in enumerate((before, after))
    )

    assert first_change(one, other) == seq

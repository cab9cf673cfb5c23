"""Export gives a session's bytes, verified, and says what it left out."""

from __future__ import annotations

import pytest

from journal.errors import EntryError, NotFoundError
from journal.export import SteppedOver, export
from journal.layout import Extent
from journal.lines import LINE_LIMIT
from journal.redaction import redact
from journal.writing import write
from tests.thieves import KEY


def rearrange(journal, extents):
    """Give the session another layout, as a rewrite does."""
    store = journal.store
    with store.transaction() as cursor:
        chain = store.open_chain(cursor, KEY)
        author = store.author(cursor, "gateway", "run", declare=True)
        write(cursor, chain, author, store.clock(), facts=[chain.layout.then(extents)])


@pytest.fixture
def five(gateway):
    for n in range(1, 6):
        gateway.append(b"%d\n" % n)
    return gateway


def test_lines_come_in_order_and_whole(journal, five):
    content = export(journal, KEY)

    assert b"".join(content) == b"1\n2\n3\n4\n5\n"
    assert (content.lines, content.bytes, content.is_complete) == (5, 10, True)


def test_control_entries_are_never_in_a_file(journal, gateway):
    with gateway.claim() as turn:
        turn.append({"n": 1})

    assert b"".join(export(journal, KEY)) == b'{"n":1}\n'


def test_lines_come_in_the_order_of_the_file(journal, five):
    """A layout may leave lines out and put them elsewhere; what comes later is at the end."""
    rearrange(journal, [Extent(4, 4), Extent(1, 2), Extent(6, None)])
    five.append(b"6\n")

    content = export(journal, KEY)

    assert b"".join(content) == b"4\n1\n2\n6\n"
    assert content.is_complete


def test_no_such_session(journal):
    with pytest.raises(NotFoundError) as caught:
        export(journal, "nobody")

    assert caught.value.exit_code == 10


def test_no_such_key(journal):
    with pytest.raises(EntryError):
        export(journal, "a/../b")


def test_it_ends_where_the_session_ended_when_it_began(journal, five):
    content = export(journal, KEY)
    first = next(content)
    five.append(b"6\n")

    assert first + b"".join(content) == b"1\n2\n3\n4\n5\n"


@pytest.mark.parametrize("page", [1, 2, 3, 5, 6])
def test_pages_join(journal, five, page, monkeypatch):
    monkeypatch.setattr("journal.export.PAGE_ROWS", page)

    content = export(journal, KEY)

    assert b"".join(content) == b"1\n2\n3\n4\n5\n"
    assert content.is_complete


def test_a_page_holds_no_more_bytes_than_it_must(journal, gateway):
    """Two of the longest lines are never in memory together."""
    line = b"x" * (LINE_LIMIT - 1) + b"\n"
    gateway.append(line)
    gateway.append(line)

    assert [len(chunk) for chunk in export(journal, KEY)] == [LINE_LIMIT, LINE_LIMIT]


def altered(thief):
    thief.execute(
        "UPDATE entries SET body = x'41' WHERE session_id = ? AND seq = 3", thief.session_id()
    )


def hidden(thief):
    thief.execute(
        "UPDATE entries SET kind = 'control' WHERE session_id = ? AND seq = 3", thief.session_id()
    )


def deleted(thief):
    thief.execute("DELETE FROM entries WHERE session_id = ? AND seq IN (2, 3)", thief.session_id())


def erased(thief):
    thief.execute(
        "UPDATE entries SET body = NULL, salt = NULL WHERE session_id = ? AND seq = 3",
        thief.session_id(),
    )


@pytest.mark.parametrize("page", [1, 2, 2000])
@pytest.mark.parametrize(
    "deed, data, stepped_over",
    [
        (altered, b"1\n2\n4\n5\n", [SteppedOver(3, 3, "altered")]),
        (hidden, b"1\n2\n4\n5\n", [SteppedOver(3, 3, "stray")]),
        (deleted, b"1\n4\n5\n", [SteppedOver(2, 3, "missing")]),
        (erased, b"1\n2\n4\n5\n", [SteppedOver(3, 3, "erased")]),
    ],
)
def test_what_does_not_verify_is_left_out_and_told(
    journal, five, thief, deed, data, stepped_over, page, monkeypatch
):
    monkeypatch.setattr("journal.export.PAGE_ROWS", page)
    with thief.without_triggers():
        deed(thief)

    content = export(journal, KEY)

    assert b"".join(content) == data
    assert content.stepped_over == stepped_over
    assert not content.is_complete


def test_a_stray_at_the_end_is_told(journal, five, thief):
    seq = thief.insert_copy(body=b"6")

    content = export(journal, KEY)

    assert b"".join(content) == b"1\n2\n3\n4\n5\n"
    assert content.stepped_over == [SteppedOver(seq, seq, "stray")]


def test_a_stray_in_the_middle_is_told(journal, five, thief):
    seq = thief.insert_copy(body=b"6")
    five.append(b"7\n")

    content = export(journal, KEY)

    assert b"".join(content) == b"1\n2\n3\n4\n5\n7\n"
    assert content.stepped_over == [SteppedOver(seq, seq, "stray")]


def test_a_row_below_the_first_is_told(journal, five, thief):
    with thief.without_triggers():
        thief.insert_copy(body=b"0", seq=-5, move_head=False)

    assert export_all(journal) == (b"1\n2\n3\n4\n5\n", [SteppedOver(-5, -5, "stray")])


def export_all(journal):
    content = export(journal, KEY)
    return b"".join(content), content.stepped_over


@pytest.mark.parametrize("first", [1, 2, 3])
def test_lines_of_several_writers_come_in_order(journal, five, first, monkeypatch):
    """What is like the first lines comes by itself, up to where it is not."""
    monkeypatch.setattr("journal.export.FIRST_ROWS", first)
    other = journal.session(KEY, writer="other", role="tool")
    other.append(b"6\n")
    with five.claim() as turn:
        turn.append(b"7\n")
    other.extend([b"8\n", b"9\n"], request_id="r")
    five.append(b"x\n")

    assert export_all(journal) == (b"1\n2\n3\n4\n5\n6\n7\n8\n9\nx\n", [])


@pytest.mark.parametrize("page", [1, 2, 3, 2000])
def test_unverified_is_the_same_where_nothing_is_odd(journal, five, page, monkeypatch):
    """In the order of the file, without control entries, with what stands for a redacted line."""
    with five.claim() as turn:
        turn.append(b"6\n")
    rearrange(journal, [Extent(4, 4), Extent(1, 2), Extent(6, None)])
    redact(five, [1], "a secret")
    monkeypatch.setattr("journal.export.PAGE_ROWS", page)

    content = export(journal, KEY, verified=False)

    assert (b"".join(content), content.stepped_over) == export_all(journal)
    assert content.lines == 4
    assert not content.is_complete  # nobody looked


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("page", [1, 2])
def test_a_line_that_is_redacted_meanwhile_is_not_left_out(
    journal, five, open_journal, page, monkeypatch, *, verified
):
    """By another process: each page is of its own state of the database, and so is what stands for its lines."""
    monkeypatch.setattr("journal.export.PAGE_ROWS", page)
    monkeypatch.setattr("journal.reading.PAGE", page)
    content, entries = export(journal, KEY, verified=verified), iter(five)
    begun, first = next(content), next(entries)

    redact(open_journal().session(KEY, writer="you", role="operator"), [4], "a secret")

    assert [entry.body for entry in (first, *entries)] == [b"1", b"2", b"3", b"0", b"5"]
    assert begun + b"".join(content) == b"1\n2\n3\n0\n5\n"
    assert content.stepped_over == []
    assert content.lines == 5


@pytest.mark.parametrize("size", [1, 3, 4])
def test_unverified_pages_hold_no_more_bytes_than_they_must(journal, five, size, monkeypatch):
    """Where a page is cut short the next goes on behind it, whatever stands between that is no line."""
    with five.claim() as turn:
        turn.append(b"6\n")
    monkeypatch.setattr("journal.export.PAGE_BYTES", size)

    chunks = list(export(journal, KEY, verified=False))

    assert b"".join(chunks) == b"1\n2\n3\n4\n5\n6\n"
    assert [len(chunk) for chunk in chunks if chunk] == {1: [2] * 6, 3: [6, 6], 4: [8, 4]}[size]


def test_unverified_lines_are_as_they_stand(journal, five, thief):
    with thief.without_triggers():
        altered(thief)

    assert b"".join(export(journal, KEY, verified=False)) == b"1\n2\nA\n4\n5\n"


def test_unverified_leaves_out_what_is_known_as_no_part_of_the_session(journal, five, thief):
    seq = thief.insert_copy(body=b"6")
    five.append(b"7\n")

    content = export(journal, KEY, verified=False)

    assert b"".join(content) == b"1\n2\n3\n4\n5\n7\n"
    assert content.stepped_over == [SteppedOver(seq, seq, "stray")]

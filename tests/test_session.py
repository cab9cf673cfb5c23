"""Sessions: one writer's handle; append, extend, request ids, and reading in file order."""

from __future__ import annotations

import pytest

from journal import ClaimedError, EntryError, NotTrusted
from journal.admission import put
from journal.lines import Line
from tests.thieves import KEY

LINE = {"n": 1}


@pytest.fixture
def session(journal):
    return journal.session(KEY, writer="gateway", role="run")


# --- writing


def test_append_returns_the_entry_as_it_is_read_later(session, clock):
    """Everything but the row's address is known at once."""
    entry = session.append({"type": "message", "id": "m1"}, request_id="r1")

    assert (entry.session, entry.seq, entry.epoch) == (KEY, 1, 1)
    assert (entry.writer, entry.role, entry.trust, entry.origin) == (
        "gateway",
        "run",
        "asserted",
        "api",
    )
    assert entry.created_us == clock.now_us
    assert entry.request_id == "r1"
    assert entry.data == b'{"type":"message","id":"m1"}\n'
    (read,) = session.read()
    assert read._replace(row_id=None) == entry
    assert read.row_id is not None


def test_extend_is_one_write(session):
    """One epoch, adjacent seqs, in order."""
    session.append(LINE)
    entries = session.extend([{"n": 1}, b"raw", 42])

    assert [(entry.seq, entry.epoch) for entry in entries] == [(2, 2), (3, 2), (4, 2)]
    assert [entry.data for entry in entries] == [b'{"n":1}\n', b"raw\n", b"42\n"]


def test_extending_by_nothing_writes_nothing(session, journal):
    """Not even the session, nor the writer."""
    assert session.extend([]) == []
    assert session.extend(iter(())) == []

    assert journal.sessions() == []
    assert journal.writers() == []
    assert not session.exists


def test_one_bad_line_refuses_the_whole_write(session):
    with pytest.raises(EntryError):
        session.extend([LINE, b"", LINE])

    assert not session.exists


def test_a_handle_declares_its_writer_at_its_first_write_only(journal):
    session = journal.session(KEY, writer="gateway", role="run")
    assert journal.writers() == []

    session.append(LINE)

    assert [(writer.name, writer.role) for writer in journal.writers()] == [("gateway", "run")]


def test_what_a_handle_was_told_is_noted_in_each_entry(journal, open_journal):
    """For whom it writes, and in which run."""
    journal.session(KEY, writer="w", role="tool", on_behalf_of="operator", run_id="run-1").append(
        LINE
    )

    (entry,) = open_journal().session(KEY).read()

    assert (entry.on_behalf_of, entry.run_id) == ("operator", "run-1")


@pytest.mark.parametrize(
    "line, body, terminator",
    [
        (b"a", b"a", b"\n"),
        (b"a\n", b"a", b"\n"),
        (b"a\r\n", b"a", b"\r\n"),
        (bytearray(b"a\n"), b"a", b"\n"),
        (memoryview(b"a"), b"a", b"\n"),
        ({"é": "門"}, '{"é":"門"}'.encode(), b"\n"),
        ([], b"[]", b"\n"),
        (None, b"null", b"\n"),
    ],
)
def test_bytes_are_kept_and_an_object_is_encoded_once(session, line, body, terminator):
    entry = session.append(line)

    assert (entry.body, entry.terminator) == (body, terminator)
    assert session.read()[0].data == body + terminator


def test_an_open_tail_is_ended_before_the_next_line(session, journal, open_journal):
    """A file's last line without an end: who writes next ends it, in the same write."""
    with journal.store.transaction() as cursor:
        put(cursor, session, [Line(b"last line of a file", b"", "raw")], None, origin="file")

    for number, handle in enumerate(
        (session, open_journal().session(KEY, writer="w", role="tool"))
    ):
        handle.append({"n": number})

    read = session.read()
    assert b"".join(entry.data for entry in read) == b'last line of a file\n{"n":0}\n{"n":1}\n'
    assert [(entry.seq, entry.epoch, entry.is_line_end) for entry in read] == [
        *((1, 1, False), (2, 2, True), (3, 2, False), (4, 3, False)),
    ]


def test_an_open_tail_is_known_to_a_process_that_did_not_write_it(session, journal, open_journal):
    """Behind a control entry, too."""
    with journal.store.transaction() as cursor:
        put(cursor, session, [Line(b"x", b"", "raw")], None, origin="file")
    session.claim().release()

    open_journal().session(KEY, writer="w", role="tool").append(LINE)

    assert b"".join(entry.data for entry in session.read()) == b'x\n{"n":1}\n'


def test_an_open_tail_is_known_behind_pages_of_facts(session, journal, open_journal, monkeypatch):
    """However many turns there were since: a fact that may have given the file another order stands before them."""
    monkeypatch.setattr("journal.chain.PAGE", 4)
    outside = journal.session(KEY, writer="outside", role="external")
    with journal.store.transaction() as cursor:
        put(cursor, outside, [Line(b"x", b"", "raw")], None, origin="file")
    session.resolve([1], accept=True, reason="known")
    for _ in range(3):
        session.claim().release()

    open_journal().session(KEY, writer="w", role="tool").append(LINE)

    assert b"".join(entry.data for entry in session.read()) == b'x\n{"n":1}\n'


# --- request ids


def test_a_request_is_written_once(session, journal):
    """The same id with the same line gives the first entry and writes nothing."""
    first = session.append(LINE, request_id="r")
    head = session.head

    again = session.append(LINE, request_id="r")

    assert (again.seq, again.data, again.trust) == (first.seq, first.data, "asserted")
    assert session.head == head


def test_a_request_of_several_lines(session):
    first = session.extend([{"n": 1}, {"n": 2}], request_id="r")

    again = session.extend([{"n": 1}, {"n": 2}], request_id="r")

    assert [entry.seq for entry in again] == [entry.seq for entry in first] == [1, 2]


@pytest.mark.parametrize(
    "lines", [[{"n": 2}], [{"n": 1}, {"n": 2}], [b'{"n":1}\r\n'], [b'{"n": 1}']]
)
def test_a_request_with_other_lines_is_refused(session, lines):
    session.append({"n": 1}, request_id="r")

    with pytest.raises(EntryError) as caught:
        session.extend(lines, request_id="r")

    assert caught.value.code == "request-reused"
    assert caught.value.hint
    assert session.head.seq == 1


def test_a_request_is_a_sessions_own(journal, session):
    other = journal.session("other", writer="gateway", role="run")

    assert session.append(LINE, request_id="r").seq == other.append(LINE, request_id="r").seq == 1
    assert len(other.read()) == 1


def test_a_request_done_before_is_found_though_the_turn_is_over(session):
    """A retry learns what became of it: it was written while the turn stood."""
    turn = session.claim()
    first = turn.append(LINE, request_id="r")
    turn.release()

    assert turn.append(LINE, request_id="r").seq == first.seq


def test_a_request_survives_the_process(session, open_journal):
    first = session.append(LINE, request_id="r")

    again = open_journal().session(KEY, writer="gateway", role="run").append(LINE, request_id="r")

    assert again.seq == first.seq


# --- reading


@pytest.fixture
def long_session(session, heartbeat):
    """Fill more than two pages, with control entries among the lines."""
    session.extend({"n": number} for number in range(300))
    session.claim().release()
    heartbeat.extend({"n": number} for number in range(300, 600))
    return session


def numbers(reading) -> list[int]:
    return [entry.json()["n"] for entry in reading]


def test_all_is_read_in_order_without_control_entries(long_session):
    assert numbers(long_session.read()) == list(range(600))
    assert numbers(long_session) == list(range(600))
    assert long_session.read().stepped_over == ()


@pytest.mark.parametrize("limit", [0, 1, 64, 65, 256, 257, 599, 600, 601, None])
def test_a_limit_counts_from_either_end(long_session, limit):
    wanted = list(range(600))
    size = 600 if limit is None else limit

    assert numbers(long_session.read(limit=limit)) == wanted[:size]
    assert numbers(long_session.read(limit=limit, newest=True)) == wanted[max(0, 600 - size) :]


@pytest.mark.parametrize("after", [0, 1, 255, 256, 299, 300, 301, 302, 303, 601, 602, 10_000])
def test_after_a_seq(long_session, after):
    expected = [entry.json()["n"] for entry in long_session if entry.seq > after]

    assert numbers(long_session.read(after)) == expected
    assert numbers(long_session.read(after, newest=True)) == expected
    assert numbers(long_session.read(after, 2)) == expected[:2]


def test_reading_page_by_page_gives_each_line_once(long_session):
    read: list[int] = []
    after = 0
    while page := long_session.read(after, 7):
        read += numbers(page)
        after = page[-1].seq

    assert read == list(range(600))


def test_only_the_trusted_or_only_the_others(session, journal):
    session.append({"n": 1})
    journal.session(KEY, writer="editor", role="external").append({"n": 2})
    session.append({"n": 3})

    assert numbers(session.read(trusted=True)) == [1, 3]
    assert numbers(session.read(trusted=False)) == [2]
    assert numbers(session.read(limit=1, trusted=True, newest=True)) == [3]


def test_a_session_nobody_wrote_to_is_empty(session):
    assert session.read() == []
    assert session.read().stepped_over == ()
    assert session.head == (0, 0)
    assert not session.exists


def test_the_head_is_the_newest_sealed_entry(session, thief):
    session.extend([LINE, LINE])
    assert session.head == (2, 1)

    thief.insert_copy()

    assert session.head == (2, 1)
    assert session.exists


def test_strays_are_stepped_over_page_by_page(long_session, thief):
    """A whole page of rows that nobody sealed hides no honest line behind it."""
    head = long_session.head.seq
    thief.insert_many(range(head + 1, head + 701))
    long_session.append({"n": 600})

    reading = long_session.read()

    assert numbers(reading) == list(range(601))
    assert len(reading.stepped_over) == 700
    assert numbers(long_session.read(limit=2, newest=True)) == [599, 600]


# --- handles


def test_a_handle_without_a_writer_only_reads(journal, session):
    session.append(LINE)
    reader = journal.session(KEY)

    assert len(reader.read()) == 1
    assert "nobody" in repr(reader)
    assert "gateway" in repr(session)
    for write in (lambda: reader.append(LINE), reader.claim, lambda: reader.fence().append(LINE)):
        with pytest.raises(NotTrusted) as caught:
            write()
        assert caught.value.code == "no-writer"
        assert caught.value.hint


def test_a_declared_writer_needs_no_role_again(journal, session):
    session.append(LINE)

    assert journal.session("other", writer="gateway").append(LINE).role == "run"
    with pytest.raises(EntryError) as caught:
        journal.session("other", writer="unheard")
    assert caught.value.code == "role-needed"


def test_an_unknown_writer_may_be_refused_instead_of_declared(journal):
    with pytest.raises(NotTrusted) as caught:
        journal.session(KEY, writer="unheard", role="tool", declare=False)

    assert caught.value.code == "unknown-writer"
    assert caught.value.hint == "journal writers add unheard --role tool"
    assert journal.writers() == []


def test_a_writer_known_when_the_handle_was_made_and_gone_since(journal, open_journal):
    """Undeclared handles are checked at the write as well, not only when they are made."""
    journal.declare("w", "tool")
    session = journal.session(KEY, writer="w", role="tool", declare=False)
    open_journal().revoke("w", "left")

    with pytest.raises(NotTrusted):
        session.append(LINE)


def test_a_role_is_fixed_from_the_first_use(journal, session):
    session.append(LINE)

    with pytest.raises(NotTrusted) as caught:
        journal.session(KEY, writer="gateway", role="tool")

    assert caught.value.code == "role-differs"
    assert "'run'" in (caught.value.hint or "")


def test_a_run_beside_a_turn_is_parked_with_its_request(session):
    """When it is applied later the retry of that request finds it done."""
    turn = session.claim()
    with pytest.raises(ClaimedError):
        session.append(LINE, request_id="r")
    turn.release()
    (parked,) = session.parked()

    (entry,) = parked.apply()

    assert session.append(LINE, request_id="r").seq == entry.seq

"""Pending inputs: said while a run has the turn, proved when kept, taken once and in order."""

from __future__ import annotations

import logging

import pytest

from journal import EntryError, NotTrusted, Superseded
from journal.inputs import NOT_BELIEVED, PENDING, REVOKED, TAKEN
from tests.thieves import KEY, findings

HELLO = {"text": "hello"}


@pytest.fixture
def telegram(journal):
    return journal.session(KEY, writer="telegram", role="channel", on_behalf_of="alice")


@pytest.fixture
def turn(base):
    return base.claim()


def bodies(entries):
    return [entry.json() for entry in entries]


# --- submitting


def test_a_claim_never_blocks_what_is_said(turn, telegram):
    """It is kept beside the session: not read, not an entry, and the head stands."""
    head = telegram.head

    kept = telegram.submit(HELLO, request_id="tg:1")

    assert (kept.state, kept.writer, kept.request_id) == (PENDING, "telegram", "tg:1")
    assert (kept.data, kept.on_behalf_of) == (b'{"text":"hello"}\n', "alice")
    assert telegram.head == head
    assert telegram.inputs() == [kept]


def test_the_same_request_is_kept_once(turn, telegram, open_journal, thief):
    """By whatever process; the answer is the first one's."""
    first = telegram.submit(HELLO, request_id="tg:1")
    other = open_journal().session(KEY, writer="recorder", role="channel")

    assert other.submit(HELLO, request_id="tg:1").id == first.id
    assert thief.count("pending_inputs") == 1


def test_a_request_id_is_one_line(turn, telegram, thief):
    telegram.submit(HELLO, request_id="tg:1")

    with pytest.raises(EntryError) as caught:
        telegram.submit({"text": "other"}, request_id="tg:1")

    assert (caught.value.code, caught.value.exit_code) == ("request-reused", 2)
    assert thief.count("pending_inputs") == 1


def test_what_was_appended_already_is_not_said_again(turn, telegram, thief):
    """One key space for both ways in: G23."""
    entry = telegram.append(HELLO, request_id="tg:1")

    kept = telegram.submit(HELLO, request_id="tg:1")

    assert (kept.state, kept.taken_seq) == (TAKEN, entry.seq)
    assert thief.count("pending_inputs") == 0
    with pytest.raises(EntryError):
        telegram.submit({"text": "other"}, request_id="tg:1")


def test_without_a_request_id_nothing_is_the_same(turn, telegram):
    """But each is given a name of its own: what has none is never taken."""
    kept = [telegram.submit(HELLO) for _ in range(2)]

    assert len({each.request_id for each in kept}) == 2
    assert all(each.request_id.startswith("input:") for each in kept)
    assert len(turn.take_inputs()) == 2


def test_who_may_not_write_says_nothing(turn, journal, telegram):
    with pytest.raises(NotTrusted):
        journal.session(KEY).submit(HELLO)
    with pytest.raises(NotTrusted):
        journal.session(KEY, writer="nobody", role="channel", declare=False)
    telegram.submit(HELLO)
    journal.revoke("telegram", "left")
    with pytest.raises(NotTrusted):
        telegram.submit(HELLO)


@pytest.mark.parametrize("line", [b"two\nlines", b"", object()])
def test_what_is_no_line_is_not_kept(turn, telegram, line):
    with pytest.raises(EntryError):
        telegram.submit(line)
    assert telegram.inputs() == []


# --- taking


def test_taken_they_are_their_submitters_entries(turn, telegram):
    """In order, recorded by the turn, under its claim."""
    telegram.submit({"n": 1}, request_id="tg:1")
    telegram.submit(b'{"n": 2}\r\n')

    taken = turn.take_inputs()

    assert [entry.data for entry in taken] == [b'{"n":1}\n', b'{"n": 2}\r\n']
    read = telegram.read(after=2)
    assert [entry.seq for entry in read] == [entry.seq for entry in taken]
    assert {(e.writer, e.recorder, e.origin, e.on_behalf_of) for e in read} == {
        ("telegram", "gateway", "input", "alice")
    }
    assert {entry.claim for entry in read} == {turn.token}
    assert {entry.trust for entry in read} == {"asserted"}
    assert read[0].request_id == "tg:1"
    assert [entry.epoch for entry in read] == [3, 4]


def test_taken_once(turn, telegram, open_journal, base):
    """Not by this turn again, not by a later one, not by another process."""
    telegram.submit(HELLO)
    assert len(turn.take_inputs()) == 1

    assert turn.take_inputs() == []
    turn.release()
    later = open_journal().session(KEY, writer="other", role="run").claim()
    assert later.take_inputs() == []
    assert telegram.inputs() == []
    assert [each.state for each in telegram.inputs(taken=True)] == [TAKEN]


def test_some_at_a_time(turn, telegram):
    for number in range(5):
        telegram.submit({"n": number})

    got = [bodies(turn.take_inputs(limit=2)) for _ in range(4)]

    assert got == [[{"n": 0}, {"n": 1}], [{"n": 2}, {"n": 3}], [{"n": 4}], []]


def test_a_superseded_turn_takes_nothing(turn, telegram, base, journal):
    """What it would have taken is the successor's."""
    telegram.submit(HELLO)
    successor = journal.session(KEY, writer="other", role="run").claim(supersede="a new message")

    with pytest.raises(Superseded):
        turn.take_inputs()

    assert [each.state for each in telegram.inputs()] == [PENDING]
    assert bodies(successor.take_inputs()) == [HELLO]


def test_a_crash_between_take_and_commit_takes_nothing(turn, telegram, journal, thief):
    """Entries and marks are one transaction."""
    telegram.submit({"n": 1})
    telegram.submit({"n": 2})
    before = thief.dump()
    whole, journal.store.cursor = journal.store.cursor, _NoCommit(journal.store.cursor)

    with pytest.raises(OSError, match="no space"):
        turn.take_inputs()

    journal.store.cursor = whole
    assert thief.dump() == before
    assert bodies(turn.take_inputs()) == [{"n": 1}, {"n": 2}]


class _NoCommit:
    def __init__(self, cursor) -> None:
        self._cursor = cursor

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    def execute(self, statement, *values):
        if statement == "COMMIT":
            raise OSError("no space")
        return self._cursor.execute(statement, *values)


def test_an_input_of_a_writer_revoked_since_stays(turn, telegram, journal, caplog):
    """Nobody writes in the name of one who may not; it is said, and holds up nobody."""
    other = journal.session(KEY, writer="slack", role="channel")
    telegram.submit({"n": 1})
    other.submit({"n": 2})
    journal.revoke("telegram", "left")

    with caplog.at_level(logging.WARNING):
        taken = turn.take_inputs()

    assert bodies(taken) == [{"n": 2}]
    assert [each.state for each in taken.left] == [REVOKED]
    assert "was not taken" in caplog.text


def test_other_lines_under_its_request_id_do_not_lose_it(turn, telegram):
    """An append took the name meanwhile, for another line: the input is an entry all the same, once."""
    telegram.submit(HELLO, request_id="tg:1")
    telegram.append({"text": "other"}, request_id="tg:1")

    assert bodies(turn.take_inputs()) == [HELLO]
    assert turn.take_inputs() == []


# --- the thief


ROW = (
    "INSERT INTO pending_inputs SELECT {id}, session_id, writer_id, instance_id, {request}, on_behalf_of, "
    "submitted_us, NULL, NULL, terminator, mac, {body} FROM pending_inputs LIMIT 1"
)


@pytest.mark.parametrize("request_id", ["'forged'", "NULL", "request_id", "CAST(x'ff' AS TEXT)"])
def test_a_row_of_plain_sql_is_never_taken(turn, telegram, thief, caplog, journal_path, request_id):
    """It is listed as not believed, said, named by the audit, and stops nobody."""
    telegram.submit(HELLO, request_id="tg:1")
    thief.execute(ROW.format(id=99, request=request_id, body="x'7b7d'"))

    with caplog.at_level(logging.WARNING):
        taken = turn.take_inputs()

    assert bodies(taken) == [HELLO]
    (left,) = taken.left
    assert (left.id, left.state) == (99, NOT_BELIEVED)
    assert "input 99 was not taken: not believed" in caplog.text
    assert [each.state for each in telegram.inputs()] == [NOT_BELIEVED]
    assert {each.id for each in findings(journal_path)} == {"J416"}


@pytest.mark.parametrize(
    "change",
    [
        "body = x'7b7d'",
        "writer_id = writer_id - 1",
        "on_behalf_of = 'mallory'",
        "request_id = 'other'",
        "request_id = NULL",
        "submitted_us = submitted_us + 1",
        "terminator = x''",
        "session_id = 1",
        "id = 7",
        "mac = x''",
        "instance_id = 1",
    ],
)
def test_an_edited_row_is_never_taken(turn, telegram, thief, change):
    telegram.submit(HELLO, request_id="tg:1")
    head = turn.head
    thief.execute(f"UPDATE pending_inputs SET {change}")

    assert turn.take_inputs() == []
    assert turn.head == head
    assert {each.state for each in telegram.inputs()} <= {NOT_BELIEVED}


@pytest.mark.parametrize("request_id", ["tg:1", None])
def test_a_row_put_back_as_it_was_is_not_taken_twice(turn, telegram, thief, request_id):
    """Its proof still holds; the chain knows better."""
    telegram.submit(HELLO, request_id=request_id)
    row = thief.execute("SELECT * FROM pending_inputs").fetchone()
    turn.take_inputs()
    thief.execute("DELETE FROM pending_inputs")
    thief.execute(f"INSERT INTO pending_inputs VALUES ({', '.join('?' * len(row))})", *row)

    assert turn.take_inputs() == []
    assert [each.state for each in telegram.inputs(taken=True)] == [TAKEN]


def test_a_number_high_up_does_not_disturb_the_order(turn, telegram, thief):
    telegram.submit({"n": 1})
    thief.execute(ROW.format(id=2**63 - 1, request="'forged'", body="x'7b7d'"))
    thief.execute(ROW.format(id=2, request="'forged'", body="x'7b7d'"))
    telegram.submit({"n": 2})
    telegram.submit({"n": 3})

    assert bodies(turn.take_inputs()) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_healthy_journal_with_inputs_has_no_finding(turn, telegram, journal_path):
    """Pending and taken ones, also of the run itself, while a turn stands."""
    turn.submit({"n": 0})
    telegram.submit({"n": 1})
    turn.take_inputs()
    telegram.submit({"n": 2})

    assert findings(journal_path) == []


def test_a_session_nobody_wrote_to_has_none(journal, telegram):
    assert journal.session("nowhere").inputs() == []
    other = journal.session("new", writer="telegram", role="channel")
    other.submit(HELLO)
    with journal.session("new", writer="gateway", role="run").claim() as turn:
        assert bodies(turn.take_inputs()) == [HELLO]

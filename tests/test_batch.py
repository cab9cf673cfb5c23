"""Batches that depend on what was read, or on what was written before."""

from __future__ import annotations

import pytest

from journal import EntryError, Journal, RefusedError
from journal.audit import audit
from journal.why import why

ONE, TWO, THREE = {"n": 1}, {"n": 2}, {"n": 3}


@pytest.fixture(autouse=True)
def clean(journal_path, key_file):
    """Whatever a batch does or refuses, the audit finds nothing."""
    yield
    assert audit(journal_path, key_file=key_file).findings == ()


def bodies(session):
    return [entry.json() for entry in session.read()]


def test_a_write_from_where_the_session_stands_is_written(journal, gateway):
    gateway.append(ONE)
    with journal.batch() as batch:
        receipt = batch.append(gateway, TWO, base=gateway.head.seq)
    assert (receipt.written, receipt.entries[0].seq) == (True, 2)
    with journal.batch() as batch:
        batch.append(journal.session("new", writer="gateway", role="run"), ONE, base=0)


def test_a_session_of_another_journal_is_refused(journal, gateway, open_journal):
    """Of the same file, too: what one knows of writers and heads says nothing of the other's transaction."""
    other = open_journal().session("new", writer="newcomer", role="run")
    with pytest.raises(EntryError, match="another journal"), journal.batch() as batch:
        batch.append(other, ONE)
    assert not other.exists


def test_a_receipt_of_what_was_not_kept_is_empty(journal, gateway, heartbeat):
    """Another write's error rolled it back."""
    gateway.append(ONE, request_id="r")
    batch = journal.batch()
    receipts = [batch.append(heartbeat, TWO), batch.append(gateway, TWO, request_id="r")]
    with pytest.raises(EntryError, match="already written with other lines"), batch:
        pass
    assert [(each.written, each.entries) for each in receipts] == [(False, [])] * 2
    assert bodies(gateway) == [ONE]


@pytest.mark.parametrize("what", ["append", "rewrite", "redact"])
def test_a_write_from_a_stale_state_is_refused_and_parked_whole(journal, gateway, heartbeat, what):
    gateway.extend([ONE, TWO])
    base = gateway.head.seq
    other = journal.session("other", writer="gateway", role="run")
    if what == "append":
        heartbeat.append(THREE)
    elif what == "rewrite":
        heartbeat.cut(1, base=base, reason="popped")
    else:
        heartbeat.redact([1], reason="pasted")
    before = bodies(gateway)
    batch = journal.batch()
    batch.append(other, {"n": 9})
    batch.append(gateway, {"n": 4}, base=base)
    batch.append(gateway, {"n": 5})
    with pytest.raises(RefusedError) as caught, batch:
        pass
    assert (caught.value.code, caught.value.exit_code, caught.value.base) == (
        "changed-since",
        11,
        base,
    )
    assert bodies(gateway) == before
    assert not other.exists
    (parked,) = gateway.parked()
    assert parked.lines == (b'{"n":4}\n', b'{"n":5}\n')
    assert parked.id == caught.value.parked


def test_why_tells_what_came_since_it_was_read(journal, gateway, heartbeat):
    gateway.append(ONE)
    base = gateway.head.seq
    heartbeat.append(TWO)
    with pytest.raises(RefusedError) as caught, journal.batch() as batch:
        batch.append(gateway, THREE, base=base)
    found = why(journal, caught.value.why)
    text = found.as_text()
    assert found.verdict_class == "written from a stale state"
    assert "as it stood at seq 1, but 1 entry had come since, up to seq 2" in text
    assert [(row.seq, row.writer) for row in found.between] == [(2, "heartbeat")]
    assert "superseded" not in text


def test_why_tells_that_a_rewrite_went_out_from_an_older_order(journal, gateway, heartbeat):
    gateway.extend([ONE, TWO])
    base = gateway.head.seq
    heartbeat.cut(1, base=base, reason="popped")
    with pytest.raises(RefusedError) as caught:
        gateway.rewrite([THREE], base=base, reason="compacted")
    text = why(journal, caught.value.why).as_text()
    assert "its lines had been given another order since" in text
    assert "superseded" not in text


def test_a_request_that_was_written_is_done_whatever_came_since(journal, gateway, heartbeat):
    base = gateway.head.seq
    with journal.batch() as batch:
        first = batch.append(gateway, ONE, request_id="r", base=base)
    heartbeat.append(TWO)
    with journal.batch() as batch:
        again = batch.append(gateway, ONE, request_id="r", base=base)
    assert (again.written, again.entries[0].seq) == (False, first.entries[0].seq)
    assert bodies(gateway) == [ONE, TWO]


def test_the_first_wins_whatever_the_lines_are(journal, gateway):
    for line in (ONE, TWO, ONE):
        with journal.batch() as batch:
            receipt = batch.append(gateway, line, request_id="r", first_wins=True)
    assert bodies(gateway) == [ONE]
    assert receipt.entries[0].json() == ONE


def test_what_was_forgotten_does_not_count_and_what_was_redacted_does(journal, gateway):
    def write():
        with journal.batch() as batch:
            return batch.append(gateway, ONE, request_id="r", first_wins=True)

    write()
    gateway.redact([1], reason="pasted")
    assert not write().written
    gateway.forget(reason="over")
    assert write().written
    assert bodies(gateway) == [ONE]


def test_what_was_forgotten_does_not_count_for_another_process_either(gateway, open_journal):
    gateway.append(ONE, request_id="r")
    gateway.forget(reason="over")
    other = open_journal()
    session = other.session(gateway.key, writer="gateway", role="run")
    with other.batch() as batch:
        receipt = batch.append(session, ONE, request_id="r", first_wins=True)
    assert receipt.written
    assert bodies(gateway) == [ONE]


def test_a_write_bound_to_another_is_written_only_with_it(journal, gateway):
    beside = journal.session("beside", writer="gateway", role="run")
    for _ in range(3):
        with journal.batch() as batch:
            first = batch.append(gateway, ONE, request_id="r", first_wins=True)
            second = batch.append(beside, TWO, only_with=first)
    assert (bodies(gateway), bodies(beside)) == ([ONE], [TWO])
    assert (second.written, second.entries) == (False, [])


def test_appends_leave_the_revision_and_all_else_moves_it(gateway):
    assert gateway.revision == 0
    gateway.extend([ONE, TWO, THREE])
    seen = [gateway.revision]
    gateway.cut(1, base=gateway.head.seq, reason="popped")
    seen.append(gateway.revision)
    gateway.redact([1], reason="pasted")
    seen.append(gateway.revision)
    gateway.append(ONE)
    assert seen == sorted(set(seen))
    assert gateway.revision == seen[-1]


def test_sessions_are_listed_by_how_their_key_begins(journal_path, key_file):
    with Journal(journal_path, key_file=key_file) as journal:
        for key in ("a", "a:b", "ab", "a%", "b"):
            journal.session(key, writer="gateway", role="run").extend([ONE, TWO])
        assert [info.key for info in journal.sessions("a")] == ["a", "a%", "a:b", "ab"]
        (found,) = journal.sessions("a:")
        assert (found.key, found.entries, found.epochs) == ("a:b", 2, 1)
        assert len(journal.sessions()) == 5
        assert journal.sessions("c") == []

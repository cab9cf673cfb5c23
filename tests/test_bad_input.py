"""Bad input: each has its error with a code, an exit code and a hint, and leaves nothing half done."""

from __future__ import annotations

import hashlib
import os

import pytest

from journal import (
    CorruptError,
    EntryError,
    FullError,
    Journal,
    JournalError,
    KeyMissing,
    NotFoundError,
    NotTrusted,
    ReadOnlyError,
    StorageError,
    UnsafeSQLite,
)
from journal.audit import audit
from journal.eras import Secret
from journal.keys import add_secret, find_or_make_secret, put_secret
from journal.lines import LINE_LIMIT
from tests.limits import as_nobody, nothing_may_be_written, small_disk
from tests.test_model import BAD_KEYS
from tests.thieves import KEY, findings

LINE = {"n": 1}


def refused(
    kind: type[JournalError], code: str, exit_code: int, act, *arguments, **named
) -> JournalError:
    """Expect just this error, in words that can be shown at a terminal."""
    with pytest.raises(JournalError) as caught:
        act(*arguments, **named)
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.exit_code) == (code, exit_code)
    assert error.hint
    for text in (str(error), error.hint):
        assert text
        assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)
        assert len(text) < 1_000
    return error


# --- files that are no journal


@pytest.mark.parametrize(
    "content",
    [b"x" * 99, b"x" * 5_000, b"SQLite format 3\0" + b"\xff" * 5_000, b"\0" * 4_096],
    ids=["less than a header", "a text", "a header alone", "zeros"],
)
def test_not_a_database(journal_path, key_file, content):
    """Left as it is, byte for byte; and no key is made for it."""
    journal_path.write_bytes(content)

    with pytest.raises(CorruptError) as caught:
        Journal(journal_path)

    assert caught.value.exit_code == 1
    assert caught.value.hint
    assert journal_path.read_bytes() == content
    assert not key_file.exists()


def test_a_damaged_journal(journal_path, base, journal):
    """What SQLite cannot read is said to be damaged, with the way to see more."""
    base.extend({"n": number} for number in range(200))
    journal.close()
    data = bytearray(journal_path.read_bytes())
    data[4096 : 4096 * 12] = b"\xff" * (4096 * 11)
    journal_path.write_bytes(data)

    with pytest.raises(StorageError) as caught:
        read_all(journal_path)

    assert isinstance(caught.value, CorruptError)
    assert "journal audit" in (caught.value.hint or "")


def read_all(path) -> None:
    with Journal(path) as journal:
        journal.session(KEY).read()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/x?schema=public",
        "oracle://localhost/x",
        "mysql://x",
        "http://x/y.db",
        "sqlite://x",
    ],
)
def test_a_url_of_another_database(url):
    refused(EntryError, "url", 2, Journal, url)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_is_none(path):
    refused(EntryError, "path", 2, Journal, path)


def test_a_durability_that_is_none(journal_path):
    refused(EntryError, "durability", 2, Journal, journal_path, durability="maybe")
    assert not journal_path.exists()


def test_a_directory_that_is_not_there(tmp_path, key_file):
    refused(NotFoundError, "not-found", 10, Journal, tmp_path / "no" / "agent.db")
    assert not key_file.exists()


def test_a_directory_in_its_place(tmp_path):
    refused(StorageError, "storage", 1, Journal, tmp_path)


def test_a_hard_link_and_a_symbolic_link(tmp_path, base, journal, journal_path):
    """Two names would mean two write-ahead logs; the journal is not opened, and stays whole."""
    journal.close()
    link = tmp_path / "link.db"
    link.symlink_to(journal_path)
    refused(UnsafeSQLite, "unsafe-sqlite", 1, Journal, link)
    link.unlink()
    os.link(journal_path, link)

    for path in (link, journal_path):
        refused(UnsafeSQLite, "unsafe-sqlite", 1, Journal, path)
    link.unlink()
    with Journal(journal_path) as again:
        assert len(again.session(KEY).read()) == 1


# --- keys


@pytest.fixture
def closed(base, journal, journal_path):
    """Give the path of a journal that holds one line, and is closed."""
    journal.close()
    return journal_path


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_missing_key(closed, key_file):
    """Nothing is opened for writing, and no other key is made in its place."""
    before = digest(closed)
    kept = key_file.read_bytes()
    key_file.unlink()

    error = refused(KeyMissing, "key-missing", 1, Journal, closed)

    assert str(key_file) in str(error)
    assert not key_file.exists()
    assert digest(closed) == before
    key_file.write_bytes(kept)
    key_file.chmod(0o600)
    with Journal(closed) as journal:
        assert len(journal.session(KEY).read()) == 1


def test_the_key_of_another_journal(closed, tmp_path):
    before = digest(closed)
    other = tmp_path / "other" / "key"
    Journal(tmp_path / "other.db", key_file=other).close()

    refused(KeyMissing, "key-of-another-journal", 1, Journal, closed, key_file=other)

    assert digest(closed) == before


@pytest.mark.parametrize("content", [b"", b"short", b"zz" * 32])
def test_a_key_file_that_holds_no_key(closed, key_file, content):
    key_file.write_bytes(content)

    refused(KeyMissing, "key-unsafe", 1, Journal, closed)


def test_a_key_that_others_may_read(closed, key_file):
    key_file.chmod(0o644)

    error = refused(KeyMissing, "key-unsafe", 1, Journal, closed)

    assert error.hint == f"chmod 600 {key_file}"


def test_a_key_directory_that_cannot_be_made(journal_path, tmp_path):
    """A new journal without a place for its key is not made at all, and the error is about that."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "key"

    error = refused(KeyMissing, "key-unsafe", 1, Journal, journal_path, key_file=place)

    assert str(place) in str(error)
    assert "JOURNAL_KEY_FILE" in (error.hint or "")
    with Journal(journal_path) as journal:
        assert journal.sessions() == []


def test_a_key_that_may_not_be_made_there_nor_another_added(closed, journal_path, tmp_path):
    """Whoever it is that may not write; what is there stays as it is."""
    place = tmp_path / "keys2"
    place.mkdir()
    secret = tmp_path / "read-only"
    put_secret(secret, b"1" * 32)
    before = secret.read_bytes()
    with nothing_may_be_written(place):
        refused(KeyMissing, "key-unsafe", 1, find_or_make_secret, place / "key")
        refused(KeyMissing, "key-unsafe", 1, find_or_make_secret, place / "sub" / "key")
    with nothing_may_be_written(secret):
        refused(KeyMissing, "key-unsafe", 1, add_secret, secret, Secret(b"2" * 32))
    assert list(place.iterdir()) == []
    assert secret.read_bytes() == before


# --- writers


def test_an_unknown_writer(journal):
    refused(
        NotTrusted,
        "unknown-writer",
        11,
        journal.session,
        KEY,
        writer="w",
        role="tool",
        declare=False,
    )
    assert journal.writers() == []


def test_a_revoked_writer(journal, base):
    journal.revoke("gateway", "left")

    error = refused(NotTrusted, "revoked", 11, base.append, LINE)

    assert "left" in str(error)
    refused(NotTrusted, "revoked", 11, journal.session, KEY, writer="gateway", role="run")
    assert len(base.read()) == 1


def test_a_role_that_differs(journal, base):
    error = refused(
        NotTrusted, "role-differs", 11, journal.session, KEY, writer="gateway", role="cron"
    )

    assert "'run'" in str(error)


@pytest.mark.parametrize("role", ["admin", "", "RUN"])
def test_a_role_that_is_none(journal, role):
    with pytest.raises(JournalError) as caught:
        journal.session(KEY, writer="w", role=role)

    assert caught.value.hint
    assert journal.writers() == []


@pytest.mark.parametrize(
    "name", ["", "n" * 201, "a\0b", "\x1b[2J", "journal:", "external:m", "a\ud800"]
)
def test_a_writers_name(journal, name):
    refused(EntryError, "writer-name", 2, journal.session, KEY, writer=name, role="run")
    refused(EntryError, "writer-name", 2, journal.declare, name, "run")
    assert journal.writers() == []


@pytest.mark.parametrize("reason", ["", "a\0b", "\ud800", "x" * 10_000])
def test_a_reason_for_a_revocation(journal, base, reason):
    """It is refused as a whole: the writer may still write."""
    with pytest.raises(EntryError) as caught:
        journal.revoke("gateway", reason)

    assert caught.value.hint
    assert base.append(LINE).seq == 2


# --- keys of sessions


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_session_key(journal, key):
    refused(EntryError, "session-key", 2, journal.session, key, writer="w", role="run")
    assert journal.sessions() == []


@pytest.mark.parametrize("label", ["", "a\nb", "x" * 513, "\ud800"])
def test_labels(journal, base, label):
    """Request ids, run ids and on-behalf-of names: nothing is written."""
    refused(EntryError, "request-id", 2, base.append, LINE, request_id=label)
    refused(EntryError, "request-id", 2, base.fence().append, LINE, request_id=label)
    refused(EntryError, "request-id", 2, journal.batch().append, base, LINE, request_id=label)
    refused(EntryError, "run-id", 2, journal.session, KEY, writer="w", role="run", run_id=label)
    refused(
        EntryError,
        "on-behalf-of-name",
        2,
        journal.session,
        KEY,
        writer="w",
        role="run",
        on_behalf_of=label,
    )
    assert base.head.seq == 1


# --- lines


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)
BAD_LINES = {
    "text": ("{}", "not-a-line"),
    "NaN": (float("nan"), "not-json"),
    "infinity": ({"n": float("inf")}, "not-json"),
    "a set": ({1, 2}, "not-json"),
    "an object": (object(), "not-json"),
    "bytes inside": ({"n": b"x"}, "not-json"),
    "a circle": (CIRCLE, "not-json"),
    "keys that are no text": ({(1, 2): 3}, "not-json"),
    "nothing": (b"", "empty-line"),
    "a line end alone": (b"\n", "empty-line"),
    "a Windows line end alone": (b"\r\n", "empty-line"),
    "two lines": (b"a\nb\n", "line-end-inside"),
    "two line ends": (b"a\n\n", "line-end-inside"),
}


@pytest.mark.parametrize("line, code", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_cannot_be_kept(base, journal, line, code):
    """By every way to write; and nothing is written, nor parked, nor declared."""
    for write in (base.append, lambda bad: base.extend([LINE, bad]), base.fence().append):
        error = refused(EntryError, code, 2, write, line)
        assert isinstance(error, ValueError)
    refused(EntryError, code, 2, journal.batch().append, base, line)

    assert base.head.seq == 1
    assert base.parked() == []


def test_a_line_of_eight_mib_is_kept(base):
    line = b"x" * LINE_LIMIT

    assert base.append(line).body == line
    assert base.read()[-1].data == line + b"\n"


# --- places


def test_a_read_only_directory_with_a_journal(tmp_path, key_file):
    """It cannot be opened for writing; and is as it was once one may write again."""
    place = tmp_path / "place"
    place.mkdir()
    with Journal(place / "agent.db") as journal:
        journal.session(KEY, writer="w", role="tool").append(LINE)
    before = digest(place / "agent.db")

    with nothing_may_be_written(place):
        refused(ReadOnlyError, "read-only", 1, Journal, place / "agent.db")

    assert digest(place / "agent.db") == before
    with Journal(place / "agent.db") as journal:
        assert journal.session(KEY, writer="w", role="tool").append(LINE).seq == 2


def test_a_read_only_directory_with_a_journal_that_others_have_open(tmp_path, key_file):
    """Its log can be read there, and only the ticket for a turn cannot be had."""
    place = tmp_path / "place"
    place.mkdir()
    with Journal(place / "agent.db") as journal:
        session = journal.session(KEY, writer="w", role="tool")
        session.append(LINE)
        with nothing_may_be_written(place):
            refused(ReadOnlyError, "read-only", 1, Journal, place / "agent.db")
        assert session.append(LINE).seq == 2


@pytest.mark.parametrize("name", ["shut/agent.db", "shut/sub/agent.db", "x" * 300])
def test_a_place_at_which_nobody_may_look(tmp_path, key_file, monkeypatch, name):
    """An error of ours, and no key is made for what cannot be there."""
    (tmp_path / "shut" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shut").chmod(0)
    with as_nobody():
        for act in (Journal, audit):
            refused(StorageError, "storage", 1, act, name)
    (tmp_path / "shut").chmod(0o700)
    assert not key_file.exists()


def test_a_ticket_that_is_no_file(tmp_path, key_file):
    path = tmp_path / "agent.db"
    Journal(path).close()
    (tmp_path / "agent.db-ticket").mkdir()

    error = refused(StorageError, "storage", 1, Journal, path)

    assert "agent.db-ticket" in str(error)


def test_a_read_only_directory_without_one(tmp_path, key_file):
    place = tmp_path / "place"
    place.mkdir()

    with nothing_may_be_written(place):
        refused(ReadOnlyError, "read-only", 1, Journal, place / "agent.db")

    assert list(place.iterdir()) == []


def test_a_full_disk(tmp_path, key_file):
    """Lines that were acknowledged stay; the one that found no room is not there; room mends it."""
    with small_disk(tmp_path / "disk", "1m") as disk:
        path = disk / "agent.db"
        with Journal(path) as journal:
            session = journal.session(KEY, writer="w", role="tool")
            written = fill(session)
            before = [entry.data for entry in session.read()]
            assert len(before) == written
            refused(FullError, "full", 1, session.append, b"x" * 200_000)
            assert [entry.data for entry in session.read()] == before
            assert session.head.seq == written
        with Journal(path) as journal:
            assert [entry.data for entry in journal.session(KEY).read()] == before
        assert findings(path) == []


def fill(session) -> int:
    """Append until there is no room; return how many lines were acknowledged."""
    for written in range(1_000):
        try:
            session.append(b"x" * 10_000)
        except FullError:
            return written
    raise AssertionError("there was always room")


def test_a_disk_too_small_for_a_journal(tmp_path, key_file):
    """None is made, and what was begun is no journal: with room it is made whole."""
    with small_disk(tmp_path / "disk", "40k") as disk:
        refused(FullError, "full", 1, Journal, disk / "agent.db")
        assert list(disk.iterdir()) == [] or (disk / "agent.db").exists()


# --- a new order for a file


@pytest.mark.parametrize("items", [[1, 2], [True]])
def test_seqs_are_no_lines_of_a_new_order(base, items):
    """Who gives seqs meant entries; a number that is meant as a line is given as its bytes."""
    base.append(LINE)
    seq = base.head.seq
    refused(EntryError, "not-kept", 2, base.rewrite, items, base=seq, reason="r")
    assert base.head.seq == seq
    assert [entry.body for entry in base.rewrite([b"7"], base=seq, reason="r")] == [b"7"]


def test_no_more_lines_are_cut_than_there_are(base):
    seqs = [base.append(LINE).seq for _ in range(2)]
    there = len(base.read())
    error = refused(EntryError, "count", 2, base.cut, there + 1, base=base.head.seq, reason="r")
    assert error.hint == f"cut {there} or fewer"
    assert base.head.seq == seqs[-1]
    base.cut(there, base=base.head.seq, reason="r")
    assert base.read() == []

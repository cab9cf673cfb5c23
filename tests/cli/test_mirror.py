"""``journal mirror``: the file beside the session, what was done to it, and what is to be done."""

from __future__ import annotations

import json
import os

import pytest

from journal import Journal
from tests.thieves import KEY as SESSION

EVIL = b'{"type":"message","evil":1}\n'


@pytest.fixture
def file(run, session, home):
    """Give the session a mirror."""
    assert run("mirror", "add", session, "main.jsonl").exit_code == 0
    return home / "main.jsonl"


def told(done):
    return json.loads(done.stdout)


def state(run):
    """Give the state of the only mirror, and the exit code."""
    done = run("mirror", "status", "--json")
    (mirror,) = told(done)["mirrors"]
    return mirror["state"], done.exit_code


def edit(file, old, new):
    """Edit a file in place, as an editor that keeps the inode."""
    data = file.read_bytes().replace(old, new, 1)
    with file.open("r+b") as opened:
        opened.write(data)
        opened.truncate()


def test_a_mirror_is_the_session_byte_for_byte(run, file):
    """Made by add, and brought up by each append."""
    assert file.read_bytes() == run("export", SESSION).stdout_bytes
    assert state(run) == ("in step", 0)

    run("append", SESSION, "-w", "gateway", '{"n":1}')

    assert file.read_bytes().endswith(b'{"n":1}\n')
    assert file.read_bytes() == run("export", SESSION).stdout_bytes


def test_append_makes_one_too(run, session, home):
    """--mirror on the way."""
    assert run("append", session, "-w", "gateway", "{}", "--mirror", "s.jsonl").exit_code == 0

    assert (home / "s.jsonl").read_bytes() == run("export", session).stdout_bytes


def test_a_mirror_of_a_new_session_keeps_nobody_from_being_told_so(run, session):
    """It is registered first, and the session with it."""
    done = run("append", "new", "-w", "gateway", "{}", "--mirror", "s.jsonl")

    assert (done.exit_code, done.stderr) == (0, "'new' is a new session.\n")


def test_list_names_every_mirror(run, file, session):
    """Session, file, host, treatment, writer, and whether it is permitted."""
    (mirror,) = told(run("mirror", "list", "--json"))["mirrors"]

    assert (mirror["session"], mirror["path"]) == (session, str(file))
    assert (mirror["on_edit"], mirror["writer"], mirror["permitted"]) == (
        "keep",
        "external:mirror-1",
        False,
    )


def test_without_a_mirror_there_is_nothing_to_tell(run, session):
    """No error; a session named is not there."""
    for words in (["list"], ["status"], ["sync"]):
        done = run("mirror", *words)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "No session has a mirror." in done.stderr
    for words in (["status", session], ["reconcile", session], ["remove", session]):
        done = run("mirror", *words)
        assert done.exit_code == 10
        assert "Try: journal mirror add" in done.stderr
    assert run("mirror", "add", "nowhere", "x.jsonl").exit_code == 10


@pytest.mark.parametrize("place", ["directory", "link", "no/such/file", "linked"])
def test_what_cannot_be_a_mirror_is_refused(run, session, home, place):
    """A directory, a link, no directory, more than one link: exit 1, and nothing is written."""
    (home / "directory").mkdir()
    (home / "one").write_bytes(b"mine\n")
    (home / "link").symlink_to("one")
    os.link(home / "one", home / "linked")

    done = run("mirror", "add", session, place)

    assert done.exit_code == 1
    assert (home / "one").read_bytes() == b"mine\n"


def test_status_says_what_became_of_the_file(run, file):
    """Each state by its name; looking changes neither file nor journal."""
    before = run("log", SESSION, "--json").stdout
    whole = file.read_bytes()

    file.write_bytes(whole + EVIL)
    assert state(run) == ("foreign lines at the end", 3)
    file.write_bytes(whole[: whole.rindex(b'{"type"')])
    assert state(run) == ("shorter than it was", 3)
    file.write_bytes(whole.replace(b"Mend", b"Sell"))
    assert state(run) == ("edited", 3)
    file.unlink()
    assert state(run) == ("gone", 3)

    file.write_bytes(whole)
    assert state(run) == ("in step", 0)
    assert run("log", SESSION, "--json").stdout == before


def test_a_file_that_cannot_be_read_is_failing(run, file):
    """Said with why; exit 3."""
    file.unlink()
    file.mkdir()

    done = run("mirror", "status", "--json")

    assert told(done)["mirrors"][0]["state"] in ("failing", "gone")
    assert done.exit_code == 3


def test_reconcile_shows_the_difference_and_changes_nothing(run, file):
    """Line by line: the file, the line, the byte, the seq, the text."""
    at = file.read_bytes().index(b'{"type":"custom"')
    edit(file, b"heartbeat", b"badheart!")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes() + EVIL)

    done = run("mirror", "reconcile", SESSION)

    assert done.exit_code == 3
    assert [line.split("\t")[:4] for line in done.stdout.splitlines()] == [
        ["-", f"{file}:2", str(at), "2"],
        ["+", f"{file}:2", str(at), "-"],
        ["+", f"{file}:4", str(size), "-"],
    ]
    assert done.stdout.splitlines()[-1].endswith(EVIL.decode().strip())
    assert "edited; 2 foreign lines; 1 line gone" in done.stderr
    assert f"Try: journal mirror reconcile {SESSION} --apply" in done.stderr
    assert state(run) == ("edited", 3)


def test_reconcile_applies_what_it_showed(run, file):
    """Foreign lines become entries nobody trusts; the file stands as it is."""
    edit(file, b"heartbeat", b"badheart!")
    stood = file.read_bytes()

    done = run("mirror", "reconcile", SESSION, "--apply", "--json")

    document = told(done)
    assert (done.exit_code, document["applied"], document["new"]) == (3, True, [4])
    assert [(each["what"], each["line"], each["seq"]) for each in document["changes"]] == [
        ("gone", 2, 2),
        ("added", 2, None),
    ]
    assert file.read_bytes() == stood == run("export", SESSION).stdout_bytes
    assert run("mirror", "reconcile", SESSION).exit_code == 0
    shown = told(run("show", SESSION, "4", "--json"))["entry"]
    assert (shown["trust"], shown["writer"]) == ("external", "external:mirror-1")


def test_only_the_mirrors_asked_for_are_looked_at(run, file, home):
    with Journal("journal.db") as journal:
        other = journal.session("other", writer="gateway", role="run", mirror=home / "other.jsonl")
        other.append({"n": 1})
        looked_at = journal.mirrors.status([SESSION])
        assert [each.key for each in looked_at] == [SESSION]
        assert len(journal.mirrors.status()) == 2
        assert journal.mirrors.status([]) == []


def test_what_is_unresolved_is_said_until_it_is(run, file):
    """Status exits 3 though file and session are equal; resolved, it is 0."""
    file.write_bytes(file.read_bytes() + EVIL)
    run("mirror", "reconcile", SESSION, "--apply")
    assert state(run) == ("in step", 3)

    done = run(
        *("resolve", SESSION, "4", "--reject", "--reason", "alien"),
        *("-w", "alice", "--role", "operator"),
    )

    assert done.exit_code == 0
    run("mirror", "sync")
    assert state(run) == ("in step", 0)
    assert EVIL not in file.read_bytes()


def test_foreign_text_is_shown_and_never_obeyed(run, file):
    """Escape sequences, bidirectional controls, bytes that are no text, and a line of a megabyte."""
    lines = [b'"\x1b]52;c;aGk=\x07"', '"\u202ekcab"'.encode(), b'"\xff\xfe"', b"x" * 1_000_000]
    with file.open("ab") as opened:
        opened.write(b"\n".join(lines) + b"\n")

    done = run("mirror", "reconcile", SESSION)

    assert done.exit_code == 3
    assert not set("\x1b\x07\u202e") & set(done.stdout)
    assert [line.rpartition("\t")[2] for line in done.stdout.splitlines()][:3] == [
        '"\\x1b]52;c;aGk=\\x07"', '"\\u202ekcab"', '"\\xff\\xfe"',
    ]  # fmt: skip
    assert "(1000001 bytes)" in done.stdout
    assert len(done.stdout) < 2000
    assert told(run("mirror", "reconcile", SESSION, "--json"))["changes"][3]["bytes"] == 1_000_001


def test_sync_takes_what_is_foreign_and_writes_what_lacks(run, file):
    """In that order, as before any write of ours."""
    whole = file.read_bytes()
    file.write_bytes(whole + EVIL)

    assert run("mirror", "sync").exit_code == 3

    assert file.read_bytes() == whole + EVIL == run("export", SESSION).stdout_bytes


def test_sync_of_a_file_that_cannot_be_written_says_what_to_try(run, file, home):
    """As every command does that fails."""
    (home / "second-name").hardlink_to(file)

    done = run("-d", home / "journal.db", "mirror", "sync")

    assert done.exit_code == 1
    assert done.stderr.splitlines()[-2:] == [
        f"Error: the mirror {file} cannot be used: has 2 links",
        f"Try: journal -d {home / 'journal.db'} mirror status",
    ]


def test_a_file_that_is_gone_is_made_again_when_asked_for(run, file):
    """Not by itself: whoever removed it may have had a reason."""
    whole = file.read_bytes()
    file.unlink()

    assert run("mirror", "sync").exit_code == 3
    assert not file.exists()
    done = run("mirror", "sync", SESSION, "--recreate")

    assert file.read_bytes() == whole
    assert told(run("mirror", "status", "--json"))["mirrors"][0]["state"] == "in step"
    assert "--recreate" not in done.stdout


def test_a_permitted_program_makes_no_takeover(run, file, home):
    """Its entries are permitted, shown as such; taken back they are foreign again."""
    assert run("mirror", "permit", SESSION, "--reason", "pi writes here").exit_code == 0
    fence = run("fence", "raise", SESSION, "-w", "gateway").stdout.strip()
    file.write_bytes(file.read_bytes() + EVIL)

    assert run("fence", "check", fence).exit_code == 0
    assert told(run("show", SESSION, "4", "--json"))["entry"]["trust"] == "permitted"
    assert told(run("mirror", "list", "--json"))["mirrors"][0]["permitted"]
    assert state(run) == ("in step", 0)

    run("mirror", "permit", SESSION, "--reason", "no more", "--revoke")
    assert told(run("show", SESSION, "4", "--json"))["entry"]["trust"] == "external"
    assert state(run) == ("in step", 3)


def test_a_takeover_by_file_names_file_line_and_byte(run, file):
    """From a shell: the check's verdict says where in the file to look."""
    size = file.stat().st_size
    fence = run("fence", "raise", SESSION, "-w", "gateway").stdout.strip()
    file.write_bytes(file.read_bytes() + EVIL)
    run("append", SESSION, "-w", "heartbeat", "{}")

    done = run("fence", "check", fence, "--json")

    (foreign,) = told(done)["foreign"]
    assert done.exit_code == 3
    assert foreign["origin"].startswith(f"{file}, line 4, byte {size}, as database row ")
    assert foreign["place"] == {"file": str(file), "offset": size, "line": 4}


def test_a_refused_edit_stops_the_mirror_until_it_is_resumed(run, session, home):
    """--on-edit refuse: not written to, said, and written to again on demand."""
    assert run("mirror", "add", session, "s.jsonl", "--on-edit", "refuse").exit_code == 0
    file = home / "s.jsonl"
    edit(file, b"Mend", b"Sell")
    run("mirror", "sync")
    assert state(run) == ("refused", 3)
    stood = file.read_bytes()
    run("append", session, "-w", "gateway", '{"late":1}')
    assert file.read_bytes() == stood
    for more in ((), ("--apply",)):
        told_of = run("mirror", "reconcile", session, *more)
        assert told_of.exit_code == 3
        assert f"journal mirror resume {session} --reason" in told_of.stderr
        assert told(run("mirror", "reconcile", session, *more, "--json"))["is_refused"] is True
    assert file.read_bytes() == stood

    done = run("mirror", "resume", session, "--reason", "seen", "--json")

    (report,) = told(done)["mirrors"]
    assert done.exit_code in (0, 3)
    assert report["synced_to"] == report["size"] == file.stat().st_size
    assert b'{"late":1}' in file.read_bytes()
    assert run("mirror", "resume", session, "--reason", "again").exit_code == 1


def test_another_way_to_treat_edits_is_not_taken_for_granted(run, file, session):
    """A mirror that is there stays as it was; to ask for the other way is no success."""
    done = run("mirror", "add", session, file, "--on-edit", "refuse")
    assert done.exit_code == 1
    assert "on edit keep" in done.stderr
    for same in ((), ("--on-edit", "keep")):
        assert run("mirror", "add", session, file, *same).exit_code == 0
    assert run("mirror", "remove", session).exit_code == 0
    assert run("mirror", "add", session, file, "--on-edit", "refuse").exit_code == 0
    assert run("mirror", "add", session, file).exit_code == 0
    assert told(run("mirror", "list", "--json"))["mirrors"][0]["on_edit"] == "refuse"


def test_a_mirror_whose_file_is_gone_is_removed_as_such(run, file, session):
    """Nobody is told of a file that is not there."""
    file.unlink()
    done = run("mirror", "remove", session)
    assert (done.exit_code, done.stderr) == (
        0,
        f"{file} is no mirror any more, and no file: it was gone already.\n",
    )


def test_a_removed_mirror_is_a_file_like_any_other(run, file, session):
    """It stays as it is, and nothing writes to it any more."""
    stood = file.read_bytes()

    assert run("mirror", "remove", session).exit_code == 0

    run("append", session, "-w", "gateway", "{}")
    assert file.read_bytes() == stood
    assert told(run("mirror", "list", "--json"))["mirrors"] == []


@pytest.mark.parametrize(
    "words, schema, keys",
    [
        ("add S t.jsonl", "mirror.add", {"mirrors"}),
        ("list", "mirror.list", {"mirrors"}),
        ("status", "mirror.status", {"mirrors"}),
        ("sync", "mirror.sync", {"mirrors"}),
        (
            "reconcile S",
            "mirror.reconcile",
            {
                "session",
                "path",
                "what",
                "changes",
                "moved",
                "pending",
                "overwritten",
                "is_refused",
                "applied",
                "new",
            },
        ),
        ("permit S --reason x", "mirror.permit", {"session", "permitted", "reason"}),
        ("remove S", "mirror.remove", {"session", "path"}),
    ],
)
def test_each_command_has_one_document(run, session, words, schema, keys):
    """One document, its schema first, its fields as promised."""
    if not words.startswith("add"):
        run("mirror", "add", session, "s.jsonl")

    done = run("mirror", *(session if word == "S" else word for word in words.split()), "--json")

    document = told(done)
    assert done.exit_code == 0, done.stderr
    assert document.pop("schema") == f"journal.{schema}/1"
    assert document.keys() == keys


def test_a_hint_names_the_journal_that_was_named(run, file, home, monkeypatch):
    """Copied, it finds the same journal."""
    file.write_bytes(file.read_bytes() + EVIL)
    database = home / "journal.db"

    done = run("-d", database, "mirror", "reconcile", SESSION)

    assert f"Try: journal -d {database} mirror reconcile {SESSION} --apply" in done.stderr


def test_the_words_of_a_state_can_be_pasted(run, session, home):
    """With the journal's name and the session's, or they would do it to others."""
    assert run("mirror", "add", session, "s.jsonl").exit_code == 0
    (home / "s.jsonl").unlink()
    command = f"journal -d journal.db mirror sync {session} --recreate"
    for words in (("mirror", "status"), ("mirror", "status", "--json"), ("status", "--json")):
        assert command in run("-d", "journal.db", *words).stdout
    (home / "s.jsonl").symlink_to("elsewhere")
    assert "a link, directory or device stands" in run("mirror", "status").stdout

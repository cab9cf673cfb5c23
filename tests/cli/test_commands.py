"""Each command's story, told in one process."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from journal import Journal
from tests.thieves import Thief


def document(done):
    """Give the one JSON document of a command."""
    assert done.stdout.count('"schema"') == 1
    return json.loads(done.stdout)


def rows(done):
    """Give the lines of a listing, cell by cell."""
    return [line.split("\t") for line in done.stdout.splitlines()]


class TestInit:
    def test_it_makes_a_journal_and_says_where_the_key_is(self, run, home, key_file):
        """The key is outside the journal, private, and named."""
        done = run("init")

        assert done.exit_code == 0
        assert (home / "journal.db").exists()
        assert str(key_file) in done.stdout
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600

    def test_a_second_time_it_says_so(self, run):
        """What is there is left as it is, and the exit code is 0."""
        first, again = document(run("init", "--json")), run("init", "--json")

        assert again.exit_code == 0
        assert document(again) == {**first, "created": False}
        assert "already" in run("init").stderr

    def test_a_path_names_the_journal(self, run, home):
        """Before or behind, PATH is where it is made."""
        assert run("init", home / "other.db").exit_code == 0
        assert (home / "other.db").exists()
        assert not (home / "journal.db").exists()

    def test_two_names_for_one_journal_are_refused(self, run, home):
        """Whichever was made, the other would be missed."""
        done = run("-d", "a.db", "init", "b.db")

        assert done.exit_code == 2
        assert "name one" in done.stderr
        assert list(home.glob("*.db")) == []


class TestStatus:
    @pytest.mark.usefixtures("session")
    def test_it_tells_what_the_journal_is(self, run, key_file):
        """Its place, its version, its library, its key and its counts."""
        told = document(run("status", "--json"))

        assert told["schema"] == "journal.status/1"
        assert (told["sessions"], told["entries"], told["parked"], told["takeovers"]) == (
            1,
            3,
            0,
            [],
        )
        assert (told["key"], told["key_ok"], told["unsafe"]) == (str(key_file), True, [])
        assert told["schema_version"] == told["newest_schema_version"]
        assert f"key         {key_file} (ok)" in run("status").stdout

    def test_it_shows_how_the_mirrors_are(self, run, session, tmp_path):
        assert "mirrors     none" in " ".join(run("status").stdout.split("\t"))
        path = tmp_path / "mirror.jsonl"
        run("mirror", "add", session, str(path))
        assert document(run("status", "--json"))["mirrors"][0]["state"] == "on"

        path.unlink()

        (told,) = document(run("status", "--json"))["mirrors"]
        assert (told["session"], told["state"]) == (session, "gone")
        assert f"0 of 1 on, {session} gone" in run("status").stdout

    def test_it_shows_the_last_takeovers(self, run, session, steal):
        """A verdict that was kept is listed with the rows it names."""
        fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
        seq = steal()
        verdict = document(run("fence", "check", fence, "--json"))["verdict"]

        (told,) = document(run("status", "--json"))["takeovers"]

        assert (told["verdict"], told["session"], told["foreign"]) == (verdict, session, [seq])
        assert f"seq {seq}" in run("status").stdout

    @pytest.mark.usefixtures("session")
    def test_without_the_key_it_tells_what_it_can(self, run, key_file):
        """The key's absence is what is unsafe; its exit code is the error's."""
        key_file.rename(key_file.with_name("elsewhere"))

        done = run("status", "--json")

        told = document(done)
        assert done.exit_code == 1
        assert (told["key_ok"], told["sessions"]) == (False, None)
        assert told["id"]
        assert "key is not there" in done.stderr

    @pytest.mark.usefixtures("session")
    def test_what_is_unsafe_is_said(self, run, home, monkeypatch, key_file):
        """A journal that others may write to, and a key that lies beside it."""
        (home / "journal.db").chmod(0o666)
        beside = home / "key"
        beside.write_bytes(key_file.read_bytes())
        beside.chmod(0o600)
        monkeypatch.setenv("JOURNAL_KEY_FILE", str(beside))

        done = run("status")

        assert done.exit_code == 0
        assert "others may write" in done.stderr
        assert "beside the journal" in done.stderr

    @pytest.mark.usefixtures("session")
    def test_rows_that_nobody_left_are_said(self, run):
        """A verdict and a parked write by plain SQL are counted as what they are, not shown."""
        thief = Thief("journal.db")
        thief.execute(
            "INSERT INTO verdicts VALUES (CAST(x'ff' AS TEXT), 2, NULL, 1, 1, 'takeover', 'x', '{}', 1, x'00')"
        )
        thief.execute(
            "INSERT INTO parked VALUES ('p1', 2, 2, 1, 'x', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, 1, "
            "x'00', 1, 1, NULL, NULL, x'00', x'00')"
        )
        thief.close()

        done = run("status", "--json")

        assert document(done)["takeovers"] == []
        assert document(done)["parked"] == 0
        assert "2 parked writes or verdicts" in done.stderr


class TestSessions:
    def test_they_are_listed_by_key(self, run, session):
        """The key, and what there is of it."""
        told = document(run("sessions", "--json"))

        assert told["schema"] == "journal.sessions/1"
        assert [(item["key"], item["entries"]) for item in told["sessions"]] == [(session, 3)]
        assert rows(run("sessions"))[0][:3] == [session, "3", "3"]

    def test_none_is_said(self, run):
        """An empty list is no silence."""
        run("init")

        assert document(run("sessions", "--json"))["sessions"] == []
        assert "no session" in run("sessions").stderr


class TestLog:
    def test_one_line_for_each_entry(self, run, session):
        """Seq, time, writer, role, trust, epoch, type, and what it says."""
        found = rows(run("log", session))

        assert [(row[0], *row[2:]) for row in found] == [
            ("1", "gateway", "run", "asserted", "1", "message", "user: Mend the gate."),
            ("2", "heartbeat", "heartbeat", "asserted", "2", "custom", "heartbeat"),
            ("3", "gateway", "run", "asserted", "3", "message", "assistant: Done."),
        ]

    @pytest.mark.parametrize(
        "options, seqs",
        [
            (("-n", "2"), [2, 3]),
            (("--after", "1"), [2, 3]),
            (("--after", "1", "-n", "1"), [2]),
            (("--after", "3"), []),
            (("-n", "99"), [1, 2, 3]),
            (("--after", "1", "-n", 2**63), [2, 3]),
            (("--after", 2**64, "-n", 2**64), []),
        ],
    )
    def test_a_part_of_it(self, run, session, options, seqs):
        """The newest N, or those after a seq."""
        assert [int(row[0]) for row in rows(run("log", session, *options))] == seqs
        told = document(run("log", session, *options, "--json"))
        assert [entry["seq"] for entry in told["entries"]] == seqs

    def test_the_document_holds_the_bodies(self, run, session):
        """A body as text, or as base64 where it is none."""
        run("append", session, "-w", "gateway", input=b"\xff\xfe\n")

        told = document(run("log", session, "--json"))

        assert (told["schema"], told["session"]) == ("journal.log/1", session)
        assert told["entries"][1]["body"] == '{"type":"custom","customType":"heartbeat"}'
        assert told["entries"][3]["body"] is None
        assert base64.b64decode(told["entries"][3]["body_base64"]) == b"\xff\xfe"
        assert told["entries"][3]["kind"] == "raw"

    def test_many_pages_are_one_listing(self, run, session):
        """A long session comes out whole and once."""
        run("append", session, "-w", "gateway", input="".join(f"{{{n}}}\n" for n in range(1203)))

        assert [int(row[0]) for row in rows(run("log", session))] == list(range(1, 1207))
        assert len(rows(run("log", session, "-n", "1100"))) == 1100
        assert len(rows(run("log", session, "--after", "3", "-n", "700"))) == 700

    def test_a_rewritten_session_is_listed_in_the_order_of_its_file(self, run, session):
        """Each line once, however many there are, and wherever a rewrite put which."""
        with Journal("journal.db") as journal:
            gateway = journal.session(session, writer="gateway", role="run")
            gateway.extend([{"n": n} for n in range(1200)])
            kept = gateway.read()
            base = gateway.head.seq
            gateway.rewrite([*kept[499:], {"new": 1}, *kept[:499]], base=base, reason="moved")
            order = [entry.seq for entry in gateway.read()]

        assert [int(row[0]) for row in rows(run("log", session))] == order
        entries = document(run("log", session, "--json"))["entries"]
        assert [entry["seq"] for entry in entries] == order
        later = [seq for seq in order if seq > 3]
        for options in (("--after", 3), ("--after", 3, "-n", 700)):
            wanted = later[: 700 if "-n" in options else None]
            assert [int(row[0]) for row in rows(run("log", session, *options))] == wanted

    def test_a_stray_is_stepped_over_and_said(self, run, session, steal):
        """It is in no list of entries, but on stderr and in the document."""
        seq = steal()

        plain, told = run("log", session), document(run("log", session, "--json"))

        assert [row[0] for row in rows(plain)] == ["1", "2", "3"]
        assert f"seq {seq}: stray" in plain.stderr
        assert [(item["seq"], item["trust"]) for item in told["stepped_over"]] == [(seq, "stray")]


class TestShow:
    def test_one_entry_whole(self, run, session):
        """What is known of it, and its line."""
        done = run("show", session, "1")

        assert (
            done.stdout.splitlines()[-1]
            == '{"type":"message","message":{"role":"user","content":"Mend the gate."}}'
        )
        assert "writer    gateway\n" in done.stdout
        told = document(run("show", session, "1", "--json"))
        assert (told["schema"], told["entry"]["seq"], told["entry"]["end"]) == (
            "journal.show/1",
            1,
            "lf",
        )

    @pytest.mark.parametrize("line", [b"\x00\x1b\xff\r\n", b'{"a":1}\n', "é\n".encode()])
    def test_raw_gives_the_exact_bytes(self, run, session, line):
        """Whatever they are, and nothing beside them."""
        run("append", session, "-w", "gateway", input=line)

        assert run("show", session, "4", "--raw").stdout_bytes == line

    def test_a_control_entry_is_shown_too(self, run, session, steal):
        """The fact that names a stray is an entry of its own."""
        stray = steal()
        run("append", session, "-w", "gateway", "{}")

        told = document(run("show", session, stray + 1, "--json"))["entry"]

        assert (told["kind"], told["type"]) == ("control", "stray")

    def test_a_stray_is_shown_as_one(self, run, session, steal):
        """Exit 3, and a warning: it proves nothing."""
        seq = steal()

        done = run("show", session, seq)

        assert done.exit_code == 3
        assert "trust     stray\n" in done.stdout
        assert "nothing it says of itself" in done.stderr

    @pytest.mark.parametrize("seq", ["4", "0", "--", 2**63, 2**70])
    def test_what_is_not_there_is_not_found(self, run, session, seq):
        """Exit 10, and the command that lists what is."""
        seq = ("--", "-1") if seq == "--" else (seq,)

        done = run("show", session, *seq)

        assert done.exit_code == 10
        assert done.stderr.splitlines()[-1] == f"Try: journal log {session}"

    def test_raw_and_json_exclude_each_other(self, run, session):
        """Bytes and a document cannot both be what comes out."""
        assert run("show", session, "1", "--raw", "--json").exit_code == 2


class TestAppend:
    def test_arguments_are_lines_and_one_write(self, run, session):
        """Each prints its seq; all have one epoch."""
        done = run("append", session, "-w", "gateway", '{"a":1}', "no json", "--json")

        assert document(done) == {
            "schema": "journal.append/1",
            "session": session,
            "writer": "gateway",
            "entries": [{"seq": 4, "epoch": 4}, {"seq": 5, "epoch": 4}],
        }

    def test_the_input_is_kept_byte_for_byte(self, run, session):
        """Line ends of either kind; only a missing last one is added."""
        done = run("append", session, "-w", "gateway", input=b"{}\r\n \n\x00\xff")

        assert done.stdout == "4\n5\n6\n"
        content = b"".join(
            run("show", session, str(seq), "--raw").stdout_bytes for seq in (4, 5, 6)
        )
        assert content == b"{}\r\n \n\x00\xff\n"

    def test_a_request_is_written_once(self, run, session):
        """The same id again gives the first seq and writes nothing."""
        again = [
            run("append", session, "-w", "gateway", "--request-id", "r1", "{}") for _ in range(2)
        ]

        assert [done.stdout for done in again] == ["4\n", "4\n"]
        assert run("append", session, "-w", "gateway", "--request-id", "r1", "[]").exit_code == 2

    def test_for_whom_and_in_which_run_is_noted(self, run, session):
        """They come back with the entry."""
        run("append", session, "-w", "gateway", "--run-id", "r7", "--on-behalf-of", "ann", "{}")

        told = document(run("show", session, "4", "--json"))["entry"]

        assert (told["run_id"], told["on_behalf_of"]) == ("r7", "ann")


def test_the_status_calls_bytes_bytes(run, session):
    """A size is not the number of lines."""
    told = dict(line.split(None, 1) for line in run("status").stdout.splitlines())

    assert told["bytes"] == f"{document(run('status', '--json'))['bytes']} B"
    assert "lines" not in told


class TestFence:
    def test_only_the_id_comes_out(self, run, session):
        """So that a shell can keep it in a variable."""
        done = run("fence", "raise", session, "-w", "gateway")

        assert len(done.stdout.split()) == 1
        assert done.stderr == ""
        assert run("fence", "check", done.stdout.strip()).exit_code == 0

    def test_a_misspelt_session_is_said(self, run, session):
        """It is made, as by an append, and both say so; a fence also says what may be meant."""
        done = run("fence", "raise", session[:-1], "-w", "gateway")

        assert done.exit_code == 0
        assert done.stderr == (
            f"{session[:-1]!r} is a new session. If it is misspelt: is it one of these: {session}\n"
        )
        made = run("append", "new", "-w", "gateway", "{}")
        assert made.stderr == "'new' is a new session.\n"
        assert run("append", "new", "-w", "gateway", "{}").stderr == ""
        again = ("append", "another", "-w", "gateway", "--request-id", "r1", "{}")
        assert run(*again).stderr == "'another' is a new session.\n"
        assert run(*again).stderr == ""

    def test_a_session_may_be_new(self, run):
        """A run may guard a session that nobody has written to yet."""
        run("init")
        fence = run("fence", "raise", "new", "-w", "gateway", "--role", "run").stdout.strip()
        run("append", "new", "-w", "cron", "--role", "cron", "{}")

        told = document(run("fence", "check", fence, "--json"))

        assert (told["outcome"], [item["writer"] for item in told["arrived"]]) == (
            "accepted",
            ["cron"],
        )

    def test_co_tenants_are_accepted_and_named(self, run, session):
        """Exit 0, the verdict on stdout, who wrote on stderr."""
        fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
        run("append", session, "-w", "heartbeat", "{}")

        done = run("fence", "check", fence)

        assert (done.exit_code, done.stdout) == (0, "accepted\n")
        assert "seq 4: by heartbeat (heartbeat)" in done.stderr

    def test_a_thief_is_a_takeover(self, run, session, steal):
        """Exit 3; the stray is named and the co-tenant beside it is not."""
        fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
        seq = steal()
        run("append", session, "-w", "heartbeat", "{}")

        done, told = run("fence", "check", fence), document(run("fence", "check", fence, "--json"))

        assert (done.exit_code, done.stdout) == (3, "takeover\n")
        assert f"seq {seq}" in done.stderr
        assert "takeover by database" in done.stderr
        (verdict,) = [line for line in done.stderr.splitlines() if "takeover by database" in line]
        assert len(done.stderr.splitlines()) > len(verdict.splitlines()) == 1
        assert "\\n" not in done.stderr
        assert told["schema"] == "journal.fence.check/1"
        assert [(item["seq"], item["trust"]) for item in told["foreign"]] == [(seq, "stray")]
        assert [item["writer"] for item in told["arrived"]] == ["heartbeat"]
        assert told["verdict"]

    def test_the_strict_policy_judges_content(self, run, session):
        """A co-tenant's message changes the model's context; a note does not."""
        fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
        run("append", session, "-w", "heartbeat", '{"type":"message","message":{"role":"user"}}')

        assert run("fence", "check", fence).exit_code == 0
        assert run("fence", "check", fence, "--policy", "strict").exit_code == 3
        assert run("fence", "check", fence, "--policy", "whim").exit_code == 2

    def test_what_was_foreign_before_is_said_when_it_is_raised(self, run, session, steal):
        """Then it is no takeover at the check."""
        seq = steal()

        raised = run("fence", "raise", session, "-w", "gateway", "--json")

        told = document(raised)
        assert [item["seq"] for item in told["unresolved"]] == [seq]
        assert f"seq {seq}" in raised.stderr
        assert run("fence", "check", told["fence"]).exit_code == 0

    @pytest.mark.usefixtures("session")
    def test_an_unknown_fence_is_not_found(self, run):
        """Exit 10, with the way to raise one."""
        done = run("fence", "check", "fnone")

        assert done.exit_code == 10
        assert "Try: journal fence raise" in done.stderr


class TestWriters:
    @pytest.mark.parametrize("words", [("writers",), ("writers", "list")])
    @pytest.mark.usefixtures("session")
    def test_they_are_listed(self, run, words):
        """With or without the word."""
        assert [row[:2] for row in rows(run(*words))] == [
            ["gateway", "run"],
            ["heartbeat", "heartbeat"],
        ]
        told = document(run(*words, "--json"))
        assert told["schema"] == "journal.writers/1"
        assert [item["name"] for item in told["writers"]] == ["gateway", "heartbeat"]

    def test_one_is_added(self, run, session):
        """Twice is once; with another role it is refused."""
        told = document(run("writers", "add", "cron", "--role", "cron", "--json"))

        assert (told["schema"], told["writer"]["role"]) == ("journal.writers.add/1", "cron")
        assert run("writers", "add", "cron", "--role", "cron").exit_code == 0
        assert run("writers", "add", "cron", "--role", "tool").exit_code == 11
        assert run("append", session, "-w", "cron", "{}").exit_code == 0

    def test_one_is_revoked(self, run, session):
        """What it wrote stays; it writes no more; the reason is kept."""
        assert run("writers", "revoke", "heartbeat", "--reason", "gone mad").exit_code == 0

        assert run("append", session, "-w", "heartbeat", "{}").exit_code == 11
        assert rows(run("writers"))[1][3].endswith("gone mad")
        assert f" by pid {os.getpid()} on " in rows(run("writers"))[1][3]
        assert len(rows(run("log", session))) == 3

    @pytest.mark.usefixtures("session")
    def test_who_revoked_one_is_told(self, run):
        """By name where one was given; that one must be a writer."""
        who = ("--reason", "gone mad", "-w", "alice")
        assert run("writers", "revoke", "heartbeat", *who).exit_code == 11

        assert run("writers", "revoke", "heartbeat", *who, "--role", "operator").exit_code == 0

        assert f" by alice, pid {os.getpid()} on " in rows(run("writers"))[1][3]
        writers = document(run("writers", "--json"))["writers"]
        assert writers[1]["revoked_by"] == "alice"
        assert writers[1]["revoked_process"].startswith(f"pid {os.getpid()} on ")
        assert writers[0]["revoked_process"] is None


class TestUpgrade:
    @pytest.mark.usefixtures("session")
    def test_there_is_nothing_to_do(self, run):
        """Exit 0, and said."""
        done = run("upgrade")

        assert done.exit_code == 0
        assert "nothing to do" in done.stderr
        assert document(run("upgrade", "--json"))["differences"] == []

    def test_the_hint_of_a_changed_schema_works(self, run, session):
        """A write refuses it; upgrade shows it; --apply mends it; the write goes through."""
        thief = Thief("journal.db")
        dropped = thief.triggers()[0][0]
        thief.execute(f"DROP TRIGGER {dropped}")
        thief.execute(
            "CREATE TRIGGER swallow BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END"
        )
        thief.close()

        refused = run("append", session, "-w", "gateway", "{}")
        shown = run("upgrade", "--json")
        still = run("append", session, "-w", "gateway", "{}")
        mended = run("upgrade", "--apply")

        assert (refused.exit_code, still.exit_code) == (12, 12)
        assert (
            "Try: journal upgrade  # shows the difference; journal upgrade --apply restores it"
            in refused.stderr
        )
        assert shown.exit_code == 3
        told = {(item["what"], item["name"]) for item in document(shown)["differences"]}
        assert told == {("missing", dropped), ("foreign", "swallow")}
        assert mended.exit_code == 0
        assert run("upgrade").exit_code == 0
        assert run("append", session, "-w", "gateway", "{}").stdout == "4\n"

    @pytest.mark.usefixtures("session")
    def test_a_table_is_never_touched(self, run):
        """It may hold what nobody else has: said, with exit 12, and left."""
        thief = Thief("journal.db")
        thief.execute("ALTER TABLE redactions ADD COLUMN extra TEXT")
        thief.close()

        done = run("upgrade", "--apply")

        assert done.exit_code == 12
        assert "redactions" in done.stderr
        assert "Try: restore a backup" in done.stderr

    @pytest.mark.usefixtures("session")
    def test_what_could_be_mended_is_said_beside_what_could_not(self, run):
        """In one document, which is the error's; nothing says that all is done."""
        thief = Thief("journal.db")
        thief.execute("ALTER TABLE redactions ADD COLUMN extra TEXT")
        dropped = thief.triggers()[0][0]
        thief.execute(f"DROP TRIGGER {dropped}")
        thief.close()

        done = run("upgrade", "--apply", "--json")

        assert done.exit_code == 12
        assert document(done)["schema"] == "journal.error/1"
        assert f"Mended: missing: the trigger {dropped} on " in done.stderr
        assert "Done." not in run("upgrade", "--apply").stderr

    @pytest.mark.usefixtures("session")
    def test_a_table_that_is_gone_keeps_nothing_else_from_being_mended(self, run):
        """Its indexes cannot be put back, and the table is what is said to be missing."""
        thief = Thief("journal.db")
        thief.execute("DROP TABLE parked")
        thief.execute("DROP TRIGGER entries_delete")
        thief.close()

        done = run("upgrade", "--apply")

        assert done.exit_code == 12
        assert "still missing: the table parked" in done.stderr
        assert "Mended: missing: the trigger entries_delete on entries" in done.stderr
        assert "Try: restore a backup" in done.stderr
        assert "entries_delete" not in run("upgrade").stdout

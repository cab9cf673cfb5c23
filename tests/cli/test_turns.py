"""The commands about turns: claim, submit, parked, resolve, why, who."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import click
import pytest

from journal import Journal
from journal.cli import cli, who
from journal.cli.overview import _sessions_to_look_at
from journal.cli.status import _unresolved
from tests.thieves import Thief

REPLY = '{"type":"message","reply":1}'


def fields(text):
    return set(text.split())


@pytest.fixture
def parked(run, session):
    """Refuse a run's write beside a claim; give the id under which it is parked."""
    assert run("claim", "take", session, "-w", "alice", "--role", "operator").exit_code == 0
    refused = run("append", session, "-w", "gateway", REPLY)
    assert refused.exit_code == 11
    return run("parked", "list").stdout.split("\t")[0]


@pytest.fixture
def foreign(session, steal):
    return steal()


def told(done):
    return json.loads(done.stdout)


# --- claim


def test_a_claim_is_taken_shown_and_released(run, session):
    taken = run("claim", "take", session, "-w", "alice", "--role", "operator")
    token = taken.stdout.strip()

    shown = run("claim", "show", session).stdout.split("\t")
    assert (shown[0], shown[2], shown[3]) == (token, "alice", "operator")
    assert f"pid {os.getppid()}" in shown[4]
    assert shown[6] == "standing"
    released = run("claim", "release", session, token, "-w", "alice")
    assert (released.exit_code, released.stderr.strip()) == (0, "Released.")
    again = run("claim", "release", session, token, "-w", "alice")
    assert (again.exit_code, "did not stand" in again.stderr) == (0, True)
    assert "Nobody holds it now." in run("claim", "show", session).stderr


def test_a_claim_on_a_session_that_is_new_says_so(run, session):
    """A misspelt name holds nobody's session."""
    claimed = run("claim", "take", f"{session}x", "-w", "gateway")

    assert (claimed.exit_code, claimed.stderr) == (0, f"{f'{session}x'!r} is a new session.\n")
    assert run("claim", "take", session, "-w", "gateway").stderr == ""


def test_a_standing_claim_is_ended_only_with_a_reason(run, session):
    run("claim", "take", session, "-w", "alice", "--role", "operator")

    refused = run("claim", "take", session, "-w", "bob", "--role", "operator")
    assert refused.exit_code == 11
    assert "is held by 'alice'" in refused.stderr
    assert f"journal claim take {session} -w bob --supersede" in refused.stderr
    empty = run("claim", "take", session, "-w", "bob", "--role", "operator", "--supersede", " ")
    assert empty.exit_code == 2
    done = run("claim", "take", session, "-w", "bob", "--role", "operator", "--supersede", "stuck")
    assert done.exit_code == 0
    verdict = done.stderr.split("journal why ")[1].split()[0]
    assert "giving as reason: stuck" in run("why", verdict).stdout


def test_a_claim_is_not_released_by_another(run, session):
    token = run("claim", "take", session, "-w", "alice", "--role", "operator").stdout.strip()
    run("writers", "add", "bob", "--role", "operator")
    before = Thief("journal.db").dump()

    refused = run("claim", "release", session, token, "-w", "bob")

    assert refused.exit_code == 11
    assert Thief("journal.db").dump() == before
    assert "not 'bob'" in refused.stderr


def test_a_claim_of_a_live_process_is_not_released_beside_it(run, session):
    """Its own writer may not end it from elsewhere; once the process is gone, it may."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as holder:
        taken = run(
            *("claim", "take", session, "-w", "alice", "--role", "operator"),
            *("--pid", str(holder.pid)),
        )
        token = taken.stdout.strip()
        before = Thief("journal.db").dump()

        refused = run("claim", "release", session, token, "-w", "alice")

        assert refused.exit_code == 11
        assert f"pid {holder.pid}" in refused.stderr
        assert Thief("journal.db").dump() == before
        holder.kill()
    assert run("claim", "release", session, token, "-w", "alice").exit_code == 0


@pytest.mark.parametrize(
    "words, code",
    [
        (("release", "S", "99", "-w", "gateway"), 10),
        (("release", "S", "x", "-w", "gateway"), 2),
        (("take", "S", "-w", "alice"), 11),
        (("take", "S", "-w", "gateway", "--role", "cron"), 11),
        (("take", "S", "-w", "gateway", "--pid", "4194303"), 2),
        (("take", "S"), 2),
        (("show", "nowhere"), 10),
        (("inputs", "nowhere", "-w", "gateway"), 10),
    ],
)
def test_bad_claims_change_nothing(run, session, words, code):
    before = Thief("journal.db").dump()

    done = run("claim", *(session if word == "S" else word for word in words))

    assert done.exit_code == code
    assert "Error: " in done.stderr
    assert Thief("journal.db").dump() == before


def test_the_shell_that_claimed_writes_in_its_turn(run, session):
    """By the token, with what it submitted meanwhile; the refusal without one says how."""
    token = run("claim", "take", session, "-w", "gateway").stdout.strip()
    run("submit", session, "-w", "heartbeat", REPLY)

    refused = run("append", session, "-w", "gateway", REPLY)
    hint = f"journal append {session} -w gateway --claim {token}  # writes in that turn"
    assert refused.exit_code == 11
    assert f"Try: {hint}; or journal claim take" in refused.stderr

    done = run("append", session, "-w", "gateway", "--claim", token, REPLY)
    assert (done.exit_code, done.stderr) == (0, "")
    taken = run("claim", "inputs", session, "-w", "gateway", "--claim", token)
    assert (taken.exit_code, len(taken.stdout.split())) == (0, 1)
    last = told(run("log", session, "-n", "2", "--json"))["entries"]
    assert [(each["writer"], each["claim"]) for each in last] == [
        ("gateway", int(token)),
        ("heartbeat", int(token)),
    ]
    assert run("claim", "show", session).stdout.split("\t")[6] == "standing"
    assert run("claim", "release", session, token, "-w", "gateway").exit_code == 0
    over = run("append", session, "-w", "gateway", "--claim", token, REPLY)
    assert (over.exit_code, "it was released" in over.stderr) == (11, True)
    assert "it was parked" in over.stderr
    audited = run("audit")
    assert audited.exit_code == 0, audited.stdout


def test_forged_verdicts_hide_no_true_one_from_the_list(run, session):
    """However many stand before it, by the time that they say."""
    run("claim", "take", session, "-w", "gateway")
    run("append", session, "-w", "gateway", REPLY)
    listed = run("why").stdout
    assert len(listed.splitlines()) == 1
    thief = Thief("journal.db")
    thief.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) "
        "INSERT INTO verdicts SELECT 'v' || i, session_id, fence_id, writer_id, instance_id, "
        "outcome, policy, evidence, judged_us + i, mac FROM verdicts, n"
    )
    thief.close()

    assert run("why").stdout == listed


def test_a_token_alone_opens_no_turn(run, session):
    """The writer and the process must be the claim's; nothing is changed else."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as holder:
        pid = str(holder.pid)
        token = run("claim", "take", session, "-w", "gateway", "--pid", pid).stdout.strip()
        run("writers", "add", "bob", "--role", "run")
        run("submit", session, REPLY, "-w", "bob")
        before = Thief("journal.db").dump()
        args = ("append", session, REPLY, "--claim", token)

        others = run(*args, "-w", "bob", "--pid", pid)
        elsewhere = run(*args, "-w", "gateway")
        without = run("claim", "inputs", session, "-w", "gateway")

        assert (others.exit_code, elsewhere.exit_code, without.exit_code) == (11, 11, 11)
        assert "is not 'bob''s" in others.stderr
        assert f"Try: --pid {pid}" in elsewhere.stderr
        assert f"Try: journal claim take {session} -w gateway --supersede REASON" in without.stderr
        assert f"--claim {token} --pid {pid} uses it" in without.stderr
        assert Thief("journal.db").dump() == before
        assert run(*args, "-w", "gateway", "--pid", pid).exit_code == 0
        assert run(*args[:-1], "99", "-w", "gateway").exit_code == 10
        holder.kill()
    gone = run(*args, "-w", "gateway")
    assert (gone.exit_code, "it is gone" in gone.stderr) == (11, True)
    assert f"Try: journal claim take {session} -w gateway  # takes it anew" in gone.stderr
    assert run("claim", "take", session, "-w", "gateway").exit_code == 0


def test_a_dead_holders_claim_stands_until_another_is_taken(run, session):
    """As the help says: it holds others off, and is ended without a reason."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as holder:
        run("claim", "take", session, "-w", "alice", "--role", "operator", "--pid", holder.pid)
        holder.kill()

    assert run("append", session, "-w", "gateway", REPLY).exit_code == 11
    assert run("claim", "take", session, "-w", "gateway").exit_code == 0
    help_text = " ".join(run("claim", "take", "--help").stdout.split())
    assert "until it is released or another claim ends it" in help_text
    assert "its process is gone" not in help_text


def test_a_shells_own_turn(run, session):
    """The words of docs/turns.md, in a shell: what it calls stands in the turn that it took."""
    journal = f"{shlex.quote(sys.executable)} -m journal"
    script = f"""
        set -e
        token=$({journal} claim take {session} -w gateway)
        {journal} append {session} -w gateway --claim $token '{REPLY}'
        printf '%s\\n' '{REPLY}' | {journal} append {session} -w gateway --claim $token
        {journal} claim release {session} $token -w gateway
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    done = subprocess.run(
        ["sh", "-c", script], env=env, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "Released.\n")
    assert len(done.stdout.split()) == 2


# --- submit


def test_what_is_submitted_is_listed_and_taken_once(run, session):
    said = ("submit", session, '{"text":"hello"}', "-w", "tg", "--role", "channel")
    run("claim", "take", session, "-w", "alice", "--role", "operator")
    assert run(*said, "--request-id", "tg:1", "--on-behalf-of", "bob").stdout == "1\n"
    assert run(*said, "--request-id", "tg:1").stdout == "1\n"
    listed = run("submit", session, "--list").stdout.split("\t")
    assert [*listed[:1], *listed[2:]] == ["1", "tg", "bob", "pending", '{"text":"hello"}\n']

    held = run("claim", "inputs", session, "-w", "gateway")
    assert held.exit_code == 11
    run("claim", "release", session, "4", "-w", "alice")
    taken = run("claim", "inputs", session, "-w", "gateway")

    assert taken.exit_code == 0
    entry = told(run("show", session, taken.stdout.strip(), "--json"))["entry"]
    assert (entry["writer"], entry["origin"], entry["recorder"]) == ("tg", "input", "gateway")
    assert run("claim", "inputs", session, "-w", "gateway").stdout == ""
    assert run(*said, "--request-id", "tg:1").stdout == f"taken as seq {entry['seq']}\n"
    assert "Nothing is pending." in run("submit", session, "--list").stderr


def test_taking_where_nothing_waits_writes_nothing(run, session):
    before = run("who", session).stdout
    assert run("claim", "inputs", session, "-w", "gateway").exit_code == 0
    assert run("who", session).stdout == before


def test_a_claim_is_no_way_to_redact_and_the_hint_says_who_may(run, session):
    """Nobody is told to append, which would do something else."""
    run("claim", "take", session, "-w", "gateway")
    words = (session, "1", "--reason", "x", "-w", "gateway")
    for command in (("redact", *words, "--apply"), ("resolve", *words, "--accept")):
        refused = run(*command)
        assert refused.exit_code == 11
        assert "--role operator" in refused.stderr
    done = run("redact", session, "1", "--reason", "x", "-w", "o", "--role", "operator", "--apply")
    assert done.exit_code == 0


@pytest.mark.parametrize("command", ["append", "submit"])
def test_a_dash_is_the_standard_input(run, session, command):
    said = (command, session, "-w", "tg", "--role", "channel", "-")
    assert run(*said, input=b'{"n":1}\n').exit_code == 0
    assert run(*said, input=b'{"n":1}\n').exit_code == 0
    if command == "append":
        assert '{"n":1}' in run("log", session).stdout
    else:
        assert '{"n":1}' in run("submit", session, "--list").stdout


def test_a_line_may_come_through_a_pipe(run, session):
    done = run("submit", session, "-w", "tg", "--role", "channel", input=b'{"n":1}\r\n')

    assert done.exit_code == 0
    assert told(run("submit", session, "--list", "--json"))["inputs"][0]["data"] == '{"n":1}\r\n'


@pytest.mark.parametrize("data", [b"", b"two\nlines\n", b"\n"])
def test_what_is_no_line_is_not_submitted(run, session, data):
    done = run("submit", session, "-w", "tg", "--role", "channel", input=data)

    assert done.exit_code == 2
    assert run("submit", session, "--list").stdout == ""


def test_an_input_by_plain_sql_is_listed_for_what_it_is(run, session):
    run("submit", session, "{}", "-w", "tg", "--role", "channel")
    Thief("journal.db").execute("UPDATE pending_inputs SET body = x'7b2261223a317d'")

    assert "\tnot believed\t" in run("submit", session, "--list").stdout
    taken = run("claim", "inputs", session, "-w", "gateway", "--json")
    assert told(taken)["entries"] == []
    assert told(taken)["left"] == [{"input": 1, "state": "not believed"}]
    assert "was not taken" in taken.stderr


# --- parked


def test_a_parked_write_is_shown_whole(run, parked):
    shown = run("parked", "show", parked)

    assert shown.exit_code == 0
    assert f"journal why {parked}" in shown.stdout
    assert shown.stdout.endswith(REPLY + "\n")
    assert run("parked", "show", parked, "--raw").stdout_bytes == REPLY.encode() + b"\n"


def test_what_explains_a_parked_write_names_the_journal_that_was_named(run, home, parked):
    """As every other command that is to be pasted."""
    db = home / "journal.db"

    shown = run("-d", db, "parked", "show", parked).stdout

    (why,) = [line.split(maxsplit=1)[1] for line in shown.splitlines() if line.startswith("why ")]
    assert shlex.split(why) == ["journal", "-d", str(db), "why", parked]
    assert run("parked", "show", parked).stdout == shown.replace(f" -d {db}", "")


def test_a_parked_write_is_applied_once(run, session, parked):
    done = run("parked", "apply", parked, "-w", "bob", "--role", "operator")

    entry = told(run("show", session, done.stdout.strip(), "--json"))["entry"]
    assert (entry["writer"], entry["recorder"], entry["origin"]) == ("gateway", "bob", "parked")
    before = Thief("journal.db").dump()
    for words in (("apply", parked, "-w", "bob"), ("discard", parked)):
        again = run("parked", *words)
        assert again.exit_code == 11
        assert "was applied already" in again.stderr
    assert Thief("journal.db").dump() == before
    assert "Nothing is parked." in run("parked", "list").stderr
    assert "\tapplied" in run("parked", "list", "--all").stdout
    shown = told(run("parked", "show", parked, "--json"))["parked"]
    assert (shown["settled_by"], shown["settled_as"]) == ("bob", [entry["seq"]])


def test_a_run_applies_a_parked_write_in_its_own_turn_by_the_claim(run, session, parked):
    """Each command of a shell is a process of its own: the token says whose turn it is."""
    token = run("claim", "take", session, "-w", "heir", "--role", "run", "--supersede", "x").stdout
    apply = ("parked", "apply", parked, "-w", "heir")
    for claim, code in (((), 11), (("--claim", int(token) + 1), 10)):
        refused = run(*apply, *claim)
        assert (refused.exit_code, refused.stdout) == (code, "")
    for other in (("-w", "other"), ("-w", "heir", "--pid", os.getpid())):
        refused = run("parked", "apply", parked, *other, "--role", "run", "--claim", token.strip())
        assert (refused.exit_code, refused.stdout) == (11, "")

    done = run(*apply, "--claim", token.strip())

    assert done.exit_code == 0
    assert run("show", session, done.stdout.strip(), "--raw").stdout == f"{REPLY}\n"


def test_a_parked_write_is_discarded_and_kept(run, session, parked):
    who = ("-w", "alice", "--reason", "asked again")
    assert run("parked", "discard", parked, *who).exit_code == 0

    assert run("parked", "list", session).stdout == ""
    shown = told(run("parked", "show", parked, "--json"))["parked"]
    assert (shown["settled"], shown["settled_by"]) == ("discarded", "alice")
    assert (shown["settled_as"], shown["settled_reason"]) == ([], "asked again")
    assert shown["settled_us"] >= shown["parked_us"]
    assert "asked again" in run("parked", "show", parked).stdout
    assert run("parked", "show", parked, "--raw").stdout == REPLY + "\n"


def test_a_tampered_parked_write_is_refused(run, parked):
    Thief("journal.db").execute("UPDATE parked SET content = x'00000000'")
    before = Thief("journal.db").dump()

    for words in (("show",), ("apply", "-w", "bob", "--role", "operator"), ("discard",)):
        refused = run("parked", words[0], parked, *words[1:])
        assert refused.exit_code == 11
        assert "was changed after it was parked" in refused.stderr
    listed = run("parked", "list")
    assert (listed.stdout, "not believed" in listed.stderr) == ("", True)
    assert Thief("journal.db").dump() == before


@pytest.mark.parametrize("action", [("show",), ("apply", "-w", "gateway"), ("discard",)])
def test_what_is_not_parked(run, session, action):
    done = run("parked", action[0], "p000000000000", *action[1:])

    assert done.exit_code == 10
    assert "Try: journal parked list" in done.stderr


# --- resolve, why, who


def test_the_columns_of_a_pipe_are_named_in_the_help(run, session):
    """In their order; they are as many."""
    columns = run("who", session).stdout.splitlines()[0].split("\t")
    text = " ".join(run("who", "--help").stdout.split())

    named = text[text.index("by tabs: ") + len("by tabs: ") : text.index(". A narrow")]
    assert [each.split(" (")[0] for each in named.split(", ")] == list(who.HEADERS)
    assert len(columns) == len(who.HEADERS) == 10


def test_a_stray_is_rejected_and_the_audit_is_content(run, home, session, foreign):
    found = run("audit")
    assert found.exit_code == 3
    by = f"It is settled by: journal -d {home / 'journal.db'} resolve {session} {foreign} --accept "
    (command,) = [line for line in found.stdout.splitlines() if by in line]
    assert command.endswith(" --accept --reason WHY -w NAME  # or --reject")
    assert "|" not in command

    done = run(
        *("resolve", session, foreign, "--reject", "--reason", "not ours"),
        *("-w", "alice", "--role", "operator"),
    )

    assert (done.exit_code, done.stdout) == (0, "")
    assert run("audit").exit_code == 0


def test_a_rejected_stray_is_settled_everywhere(run, session, foreign):
    """Still left out and said; but no warning any more, and no exit code 3, as in an audit."""
    fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
    assert run("show", session, foreign).exit_code == run("export", session).exit_code == 3
    assert "Warning" in run("log", session).stderr
    options = ("--reason", "not ours", "-w", "alice", "--role", "operator")
    assert run("resolve", session, foreign, "--reject", *options).exit_code == 0
    assert run("fence", "check", fence).exit_code == 0

    for args in (("show", session, foreign), ("export", session), ("log", session)):
        done = run(*args)
        assert done.exit_code == 0, args
        assert "Warning" not in done.stderr
        assert f"seq {foreign}" in done.stderr
    assert told(run("show", session, foreign, "--json"))["settled"] == "rejected"
    thief = Thief("journal.db")
    with thief.without_triggers():
        thief.execute("UPDATE entries SET body = CAST('{}' AS BLOB) WHERE seq = ?", foreign)
    assert run("show", session, foreign).exit_code == run("export", session).exit_code == 3


def test_status_tells_what_waits_for_a_decision(run, session, home):
    """Before a fence has found it; and of a takeover that it is settled."""
    file = home / "s.jsonl"
    assert run("mirror", "add", session, file).exit_code == 0
    fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
    with file.open("ab") as program:
        program.write(b'{"alien":1}\n')
    assert run("mirror", "sync").exit_code == 3
    assert told(run("status", "--json"))["unresolved"] == [
        {"session": session, "entries": 1, "is_all": True}
    ]
    assert f"unresolved  1 in {session}; journal who {session}" in run("status").stdout
    assert run("fence", "check", fence).exit_code == 3
    assert "takeovers   the newest (takeover): " in run("status").stdout

    options = ("--reason", "not ours", "-w", "alice", "--role", "operator")
    assert run("resolve", session, "4", "--reject", *options).exit_code == 0

    shown = told(run("status", "--json"))
    assert (shown["unresolved"], shown["takeovers"][0]["settled"]) == ([], True)
    assert "takeovers   the newest (takeover, settled): " in run("status").stdout


def test_status_tells_nothing_of_what_was_permitted(run, session, home):
    """It waits for nobody: nor is such a session looked at, nor one with a file of no foreign line."""
    file = home / "s.jsonl"
    assert run("mirror", "add", session, file).exit_code == 0
    with Journal("journal.db") as journal, journal.store.snapshot() as cursor:
        assert _sessions_to_look_at(journal, cursor) == []
    with file.open("ab") as program:
        program.write(b'{"alien":1}\n')
    assert run("mirror", "sync").exit_code == 3
    with Journal("journal.db") as journal, journal.store.snapshot() as cursor:
        assert len(_sessions_to_look_at(journal, cursor)) == 1

    assert run("mirror", "permit", session, "--reason", "known").exit_code == 0

    assert told(run("status", "--json"))["unresolved"] == []
    assert run("mirror", "status").exit_code == 0
    with Journal("journal.db") as journal, journal.store.snapshot() as cursor:
        assert _sessions_to_look_at(journal, cursor) == []
    assert run("mirror", "permit", session, "--reason", "known", "--revoke").exit_code == 0
    assert f"unresolved  1 in {session}; " in run("status").stdout
    assert run("mirror", "status").exit_code == 3


def test_status_says_where_it_stopped_counting():
    found = [{"session": "s", "entries": 1000, "is_all": False}]
    assert _unresolved(found) == "1000 or more in s; journal who s"


def test_a_stray_and_a_line_of_the_file_are_decided_on_apart(run, session, steal, home):
    """What rejecting means differs; each command says its own, and works."""
    file = home / "s.jsonl"
    assert run("mirror", "add", session, file).exit_code == 0
    fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
    with file.open("ab") as program:
        program.write(b'{"alien":1}\n')
    assert run("mirror", "sync").exit_code == 3
    stray = steal()
    assert run("fence", "check", fence, "--policy", "strict").exit_code == 3

    acts = [
        line.strip()
        for line in run("why", fence).stdout.splitlines()
        if line.strip().startswith("journal ")
    ]

    rejected = [line for line in acts if "--reject" in line]
    assert [line.split(" --reject")[0] for line in sorted(rejected)] == [
        f"journal resolve {session} 4",
        f"journal resolve {session} {stray}",
    ]
    for line in rejected:
        assert (f" {stray} " in line) == ("never read as a line" in line)
    assert any(line.startswith(f"journal who {session} --policy strict") for line in acts)


def test_a_stray_is_accepted_as_a_new_entry(run, session, foreign):
    options = ("--reason", "ours", "-w", "alice", "--role", "operator")
    made = run("resolve", session, foreign, "--accept", *options).stdout.strip()

    row = run("who", session, "--after", int(made) - 1).stdout.split("\n")[0].split("\t")
    assert row[0] == made
    assert row[2:5] == ["external:strays (recorded by alice)", "external", "accepted"]
    assert row[-1] == "settled (accepted)"
    assert run("audit").exit_code == 0


@pytest.mark.parametrize(
    "words, code",
    [
        (("1", "--accept", "--reason", "x", "-w", "gateway"), 2),
        (("99", "--accept", "--reason", "x", "-w", "gateway"), 10),
        (("1", "--reason", "x", "-w", "gateway"), 2),
        (("1", "--accept", "-w", "gateway"), 2),
        (("1", "--accept", "--reason", "", "-w", "gateway"), 2),
        (("1", "--accept", "--reason", "x"), 2),
        (("--accept", "--reason", "x", "-w", "gateway"), 2),
    ],
)
def test_what_cannot_be_resolved(run, session, words, code):
    before = Thief("journal.db").dump()

    assert run("resolve", session, *words).exit_code == code
    assert Thief("journal.db").dump() == before


def test_who_tells_every_row_and_how_it_is_judged(run, session, foreign):
    rows = [line.split("\t") for line in run("who", session).stdout.splitlines()]

    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[4] for row in rows] == ["asserted"] * 3 + ["stray"]
    assert [row[9].partition(":")[0] for row in rows] == ["accepted"] * 3 + ["takeover"]
    strict = [
        line.split("\t") for line in run("who", session, "--policy", "strict").stdout.splitlines()
    ]
    assert [row[9].partition(":")[0] for row in strict] == [
        *("takeover", "accepted", "takeover", "takeover")
    ]


def test_who_tells_a_program_of_what_kind_a_fact_is_too(run, session):
    """The table says "control claim"; so does the document, by the entry's type."""
    run("claim", "take", session, "-w", "gateway")

    *_, row = told(run("who", session, "--json"))["rows"]

    assert run("who", session).stdout.splitlines()[-1].split("\t")[8] == "control claim"
    assert (row["kind"], row["type"]) == ("control", "claim")


@pytest.mark.parametrize("verdict", ["reject", "accept"])
def test_who_says_of_a_stray_that_it_is_settled(run, session, steal, foreign, verdict):
    """So the example in the help of resolve finds what is open, each time; another row is open again."""
    options = ("--reason", "x", "-w", "alice", "--role", "operator")
    assert run("resolve", session, foreign, f"--{verdict}", *options).exit_code == 0

    rows = {line.split("\t")[0]: line for line in run("who", session).stdout.splitlines()}

    assert rows[str(foreign)].split("\t")[-1] == f"settled ({verdict}ed)"
    assert not any("takeover:" in row for row in rows.values())
    (told_row,) = (r for r in told(run("who", session, "--json"))["rows"] if r["seq"] == foreign)
    assert (told_row["trust"], told_row["accepted"]) == ("stray", True)
    newer = steal()
    rows = {line.split("\t")[0]: line for line in run("who", session).stdout.splitlines()}
    assert [seq for seq, row in rows.items() if "takeover:" in row] == [str(newer)]


def test_who_marks_what_is_no_more_in_the_file(run, session):
    """What was cut and rewritten away: log does not list it, and it is told where it is."""
    with Journal("journal.db") as journal:
        alice = journal.session(session, writer="alice", role="operator")
        alice.cut(1, base=alice.head.seq, reason="popped")
        first, second = alice.read()
        alice.rewrite([second, first], base=alice.head.seq, reason="turned")
        alice.rewrite([first], base=alice.head.seq, reason="shortened")
    listed = {line.split("\t")[0] for line in run("log", session).stdout.splitlines()}
    rows = [line.split("\t") for line in run("who", session).stdout.splitlines()]
    lines = [row for row in rows if not row[8].startswith("control")]
    assert {row[0] for row in lines if not row[8].endswith(" (left out)")} == listed
    assert len(lines) == len(listed) + 2
    told_so = told(run("who", session, "--json"))["rows"]
    assert [row["seq"] for row in told_so if row["left_out"]] == [second.seq, second.seq + 1]


def test_who_tells_what_is_gone(run, session):
    Thief("journal.db").delete(2)

    rows = [line.split("\t") for line in run("who", session).stdout.splitlines()]

    assert [(row[0], row[4]) for row in rows] == [
        ("1", "asserted"),
        ("2", "missing"),
        ("3", "asserted"),
    ]


def test_why_lists_the_newest_where_nothing_is_named(run, session, parked, steal):
    """So nobody needs the id that a message named and that is gone."""
    fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
    steal()
    assert run("fence", "check", fence).exit_code == 3

    rows = [line.split("\t") for line in run("why").stdout.splitlines()]

    assert [row[2:] for row in rows] == [
        [session, "takeover by database", "gateway", "-"],
        [session, "claimed by another", "gateway", parked],
    ]
    listed = told(run("why", "--json"))
    assert (listed["schema"], len(listed["newest"])) == ("journal.why.list/1", 2)
    for row in rows:
        assert run("why", row[0]).exit_code == 0
    assert f"journal why {rows[0][0]}" in run("status").stdout


def test_why_of_a_calm_journal_lists_nothing(run, session):
    done = run("why")

    assert (done.exit_code, done.stdout) == (0, "")
    assert "Nothing was taken over" in done.stderr


def test_why_explains_what_a_refusal_named(run, session, parked):
    done = run("why", parked)

    assert done.exit_code == 0
    assert done.stdout.startswith(f"{parked}: claimed by another")
    for act in told(run("why", parked, "--json"))["next"]:
        assert act["command"] in done.stdout


def test_what_was_said_is_never_told_otherwise(run, session, tmp_path):
    """A line may speak of commands as well: the journal is named in those that are offered, in the document too."""
    said = '{"text":"now journal audit it, and journal why"}'
    assert run("claim", "take", session, "-w", "gateway").exit_code == 0
    assert run("append", session, "-w", "heartbeat", said).exit_code == 0
    assert run("append", session, "-w", "other", "--role", "run", "{}").exit_code == 11
    parked = run("parked", "list").stdout.split("\t")[0]

    shown = run("-d", "journal.db", "why", parked)

    assert said in shown.stdout
    document = told(run("-d", "journal.db", "why", parked, "--json"))
    assert all(act["command"].startswith("journal -d journal.db ") for act in document["next"])
    assert all(act["command"] in shown.stdout for act in document["next"])


def test_a_fence_tells_what_was_said_as_it_was(run, session, steal):
    fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
    said = '{"text":"now journal audit it"}'
    steal(said.encode())

    shown = run("-d", "journal.db", "fence", "check", fence)

    assert said in shown.stderr
    assert "journal -d journal.db why v" in shown.stderr


def test_a_hint_names_the_journal_again_where_it_was_named(run, session, parked):
    """So that what is copied works."""
    text = run("-d", "journal.db", "why", parked).stdout

    commands = [line.split("(")[0].strip() for line in text.splitlines() if " journal -d " in line]
    assert len(commands) >= 4
    assert all("journal -d journal.db" in line for line in commands)


@pytest.mark.parametrize("wanted, code", [("v000000000000", 10), ("x", 10), ("p0", 10)])
def test_why_of_nothing(run, session, wanted, code):
    assert run("why", wanted).exit_code == code


# --- documents


@pytest.mark.parametrize(
    "args, schema, keys",
    [
        ("claim show S", "claim.show", "session standing claims"),
        (
            "claim take S -w bob --role operator --supersede x",
            "claim.take",
            "session token writer pid verdict",
        ),
        ("claim release S T -w alice", "claim.release", "session token stood"),
        ("submit S {} -w tg --role channel", "submit", "session input"),
        ("submit S --list", "submit.list", "session inputs"),
        ("parked list", "parked.list", "parked"),
        ("parked show P", "parked.show", "parked"),
        ("parked apply P -w bob --role operator", "parked.apply", "id session entries"),
        ("parked discard P", "parked.discard", "id session"),
        (
            "resolve S F --reject --reason x -w bob --role operator",
            "resolve",
            "session seqs verdict actor new",
        ),
        ("who S", "who", "rows session policy"),
        (
            "why P",
            "why",
            "id session class classes judged_us what rule expected found holder between left_out removed lately parked next",
        ),
    ],
)
def test_each_command_has_one_document(run, session, parked, steal, args, schema, keys):
    token = told(run("claim", "show", session, "--json"))["standing"]["token"]
    names = {"S": session, "P": parked, "T": token, "F": steal()}

    done = run(*(names.get(word, word) for word in shlex.split(args)), "--json")

    assert done.exit_code == 0, done.stderr
    document = told(done)
    assert document["schema"] == f"journal.{schema}/1"
    assert set(document) == fields(keys) | {"schema"}


def test_every_hint_of_these_commands_exists(run, session, parked):
    """Whatever is said after "Try: journal" is a command."""
    outputs = [
        run("claim", "take", session, "-w", "bob", "--role", "operator"),
        run("claim", "release", session, "99", "-w", "alice"),
        run("append", session, "-w", "gateway", REPLY),
        run("parked", "show", "p0"),
        run("why", "v0"),
        run("why", "x"),
        run("resolve", session, "99", "--accept", "--reason", "x", "-w", "alice"),
        run("resolve", session, "1", "--accept", "--reason", "x", "-w", "alice"),
    ]
    for done in outputs:
        hints = [line for line in done.stderr.splitlines() if line.startswith("Try: ")]
        assert hints, done.stderr
        for hint in hints:
            words = hint.partition("journal ")[2].split()
            assert cli.get_command(click.Context(cli), words[0]) is not None, hint

"""What comes from outside never reaches a terminal as it is."""

from __future__ import annotations

import json
import os

import pytest

from journal.escape import is_unsafe
from tests.terminal import at_a_terminal
from tests.thieves import Thief

# An OSC 52 fills the clipboard, an OSC 8 hides a link, CSI clears the screen, as does its C1 form.
HOSTILE = (
    "\x1b]52;c;cm0gLXJm\x07 \x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\ \x1b[2J \x9b2J \x7f\x08"
    " \u202egnp.exe\u2066 \u200b\ufeff\u2028 \U000e0041"
)
BODIES = [
    HOSTILE.encode(),
    json.dumps({"type": HOSTILE, "message": {"role": HOSTILE, "content": HOSTILE}}).encode(),
    json.dumps(
        {
            "type": "message",
            "message": {"role": "user", "content": [{"type": "text", "text": HOSTILE}]},
        }
    ).encode(),
    json.dumps({"type": "custom", "customType": HOSTILE}, ensure_ascii=False).encode(),
    b"\xff\xfe\x1b[31m\x00\x9b",
]
WRITER = "\u202egateway\u2066"
KEY = "agent:\u202emain"


@pytest.fixture
def hostile(run):
    """Make a journal in which whatever can be hostile is."""
    run("init")
    run("writers", "add", WRITER, "--role", "run")
    for body in BODIES:
        assert run("append", KEY, "-w", WRITER, input=body + b"\n").exit_code == 0
    return KEY


def unsafe(*texts):
    """Give the characters that could do more than be seen."""
    return {char for text in texts for char in text if is_unsafe(char) and char not in "\n\t"}


@pytest.mark.parametrize(
    "args",
    [
        ("status",),
        ("sessions",),
        ("log", KEY),
        *(("show", KEY, str(seq)) for seq in range(1, len(BODIES) + 1)),
        ("writers",),
        ("fence", "raise", KEY, "-w", WRITER),
        ("audit",),
        ("upgrade",),
        ("doctor",),
        ("-d", f"{HOSTILE}/journal.db", "doctor"),
        ("show", KEY, "99"),
        ("append", KEY, "-w", WRITER, "--role", "cron", "{}"),
        ("append", KEY, "-w", "\u202enobody", "{}"),
        ("writers", "revoke", WRITER, "--reason", HOSTILE.replace("\x1b", "").replace("\x9b", "")),
        ("log", "\u202enowhere"),
        ("log", HOSTILE),
        ("nonsense" + HOSTILE,),
        ("log", KEY, HOSTILE),
        ("log", KEY, "--after", HOSTILE),
        ("fence", "check", HOSTILE),
        ("-d", f"{HOSTILE}/journal.db", "sessions"),
        ("migrate", HOSTILE),
        ("export", KEY, "-o", f"no{HOSTILE}/out"),
    ],
    ids=lambda args: ascii(" ".join(args))[:40],
)
def test_no_command_lets_it_through(run, hostile, args):
    """In words, listings, documents and errors it is written out."""
    words, document = run(*args), run(*args, "--json")

    assert unsafe(words.stdout, words.stderr, document.stdout, document.stderr) == set()
    assert "bug" not in words.stderr + document.stderr
    if document.stdout:
        json.loads(document.stdout)


def test_a_takeover_is_told_safely(run, hostile):
    """The thief chose the body, and what his row says of itself."""
    fence = run("fence", "raise", KEY, "-w", WRITER).stdout.strip()
    thief = Thief("journal.db", KEY)
    thief.insert_copy(body=HOSTILE.encode(), request_id=HOSTILE, run_id=HOSTILE, created_us=2**62)
    thief.close()

    for args in (
        ("fence", "check", fence),
        ("log", KEY),
        ("show", KEY, "6"),
        ("audit",),
        ("status",),
    ):
        for form in ((), ("--json",)):
            done = run(*args, *form)
            assert unsafe(done.stdout, done.stderr) == set()
            assert "bug" not in done.stderr


def test_a_document_gives_the_text_back(run, hostile):
    """Escaped is not lost: JSON reads back what was written."""
    told = json.loads(run("log", KEY, "--json").stdout)

    assert told["session"] == KEY
    assert [entry["body"] for entry in told["entries"][:-1]] == [
        body.decode() for body in BODIES[:-1]
    ]


FORGED = "Every file is in the journal, byte for byte."


def test_a_line_end_in_a_name_begins_no_line_of_ours(run, home):
    """Who may name a file could write the command's own verdict, in words and on a line of its own."""
    store = home / "store"
    store.mkdir()
    (store / "a.jsonl").write_text("{}\n")
    odd = store / f"x\n{FORGED}\r\n.jsonl"
    odd.symlink_to("a.jsonl")
    at = f"no\n{FORGED}"
    commands = [
        ("migrate", store), ("migrate", "--apply", store), ("migrate", "--apply", odd),
        ("log", at), ("mirror", "add", "a", odd), ("mirror", "add", "a", store / at / "b"),
        ("audit", "--anchor", at), ("export", "a", "-o", f"{at}/x"), ("migrate", "--nosuch\n" + FORGED),
        ("backup", f"{at}/x"), ("-d", at, "status"), ("watch", at), ("audit", at), ("why", at),
    ]  # fmt: skip
    for args in commands:
        done = run(*args)
        lines = [*done.stderr.splitlines(), *done.stdout.splitlines()]
        assert not [line for line in lines if line.startswith(FORGED)], args
        assert any(FORGED in line for line in lines) or args[-1] == store, (args, lines)


def test_a_migrated_files_name_is_told_safely(run, home):
    """A file's name is anybody's."""
    folder = home / "store\x1b[2J\u202e"
    folder.mkdir()
    (folder / "a\x1b]0;x\x07.jsonl").write_bytes(
        b'{"type":"session","version":3,"id":"\\u001b[2J","cwd":"/"}\n'
    )
    os.mkfifo(folder / "pipe\x9b.jsonl")

    for args in (
        ("migrate", folder),
        ("migrate", folder, "--apply"),
        ("migrate", folder, "--json"),
        ("sessions",),
    ):
        done = run(*args)
        assert unsafe(done.stdout, done.stderr) == set()
        assert "bug" not in done.stderr


def test_a_terminal_shows_a_table(run, hostile):
    """With headings, in bold; of the bodies nothing steers it."""
    shown = at_a_terminal(["log", KEY])

    for style in ("\x1b[1m", "\x1b[0m"):
        shown = shown.replace(style, "")
    assert "seq" in shown.splitlines()[0]
    assert unsafe(shown.replace("\r", "")) == set()


def test_no_color_is_heeded(run, hostile):
    """NO_COLOR leaves not one escape sequence."""
    assert "\x1b" not in at_a_terminal(["log", KEY], NO_COLOR="1")


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
def test_a_narrow_terminal_shows_every_seq_and_verdict(session, steal, width):
    """What a table is about stays at any width; what is left out is said."""
    stray = steal()

    shown = at_a_terminal(["who", session], COLUMNS=str(width), NO_COLOR="1").splitlines()

    words = [line.split() for line in shown]
    assert words[0][0] == "seq"
    assert [line[0] for line in words[1:5]] == ["1", "2", "3", str(stray)]
    assert "judged" in words[0]
    assert any("takeover:" in line for line in words[4])
    assert all(len(line) <= width for line in shown[:5])
    left_out = [line for line in shown if "Left out" in line]
    assert bool(left_out) == (width <= 100)

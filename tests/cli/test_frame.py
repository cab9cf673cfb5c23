"""How commands are found, described, and told which journal."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import click
import pytest

from journal import __version__
from journal.cli import COMMANDS, cli
from journal.cli.frame import Command, Group
from journal.cli.times import Moment
from journal.errors import JournalError


def every_command():
    """Give each command and its words, the commands of commands too."""
    ctx = click.Context(cli, info_name="journal")
    for name in cli.list_commands(ctx):
        found = cli.get_command(ctx, name)
        yield (name,), found
        if isinstance(found, click.Group):
            yield from (((name, sub), found.commands[sub]) for sub in found.commands)


COMMANDS_FOUND = dict(every_command())


def test_the_list_needs_no_database_library():
    """``journal --help`` and ``--version`` import neither SQLAlchemy nor a single command."""
    code = (
        "import sys, journal.cli as c\n"
        "for args in (['--help'], ['--version']):\n"
        "    try: c.cli.main(args)\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "heavy = {'sqlalchemy', 'alembic', 'rich', 'sqlite3', 'journal.journal', 'journal.cli.log'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_help_says(name):
    """The summary that is listed is the first line of the command's own help."""
    assert COMMANDS_FOUND[name,].help.splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("words", COMMANDS_FOUND, ids=" ".join)
def test_every_help_ends_with_an_example(run, words):
    """The last lines of each help can be copied to a shell."""
    command = COMMANDS_FOUND[words]

    done = run(*words, "--help")

    assert done.exit_code == 0
    assert isinstance(command, Command | Group)
    assert done.stdout.splitlines()[-len(command.example) :] == [
        f"  $ {line}" for line in command.example
    ]


@pytest.mark.parametrize("args", [(), ("--help",)])
def test_alone_it_helps(run, args):
    """Without a command the commands are listed."""
    done = run(*args)

    assert done.exit_code == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_the_version(run):
    """The version is the package's."""
    assert run("--version").stdout == f"session-journal {__version__}\n"


@pytest.mark.parametrize(
    "args", [("-d", "x.db", "sessions"), ("sessions", "-d", "x.db"), ("sessions", "--db=x.db")]
)
def test_the_journal_is_named_before_or_after_the_command(run, home, args):
    """Both places mean the same."""
    run("init", "x.db")

    assert run(*args).exit_code == 0
    assert not (home / "journal.db").exists()


def test_the_journal_is_named_behind_a_command_of_a_command(run):
    """``journal writers list -d x.db`` too."""
    run("init", "x.db")

    assert run("writers", "-d", "x.db", "list").exit_code == 0
    assert run("writers", "list", "-d", "x.db").exit_code == 0


def test_the_last_name_wins(run):
    """A name after the command is nearer than one before it."""
    run("init", "x.db")

    assert run("-d", "nowhere.db", "sessions", "-d", "x.db").exit_code == 0


def test_the_variable_names_the_journal_unless_an_option_does(run, monkeypatch):
    """JOURNAL_DB stands below an option and above the default."""
    run("init", "x.db")
    run("init", "y.db")
    monkeypatch.setenv("JOURNAL_DB", "x.db")

    assert json.loads(run("status", "--json").stdout)["path"].endswith("x.db")
    assert json.loads(run("-d", "y.db", "status", "--json").stdout)["path"].endswith("y.db")
    assert json.loads(run("status", "-d", "y.db", "--json").stdout)["path"].endswith("y.db")


def test_a_url_names_a_file(run, home):
    """``sqlite:///PATH`` is that file."""
    assert run("-d", f"sqlite:///{home}/u.db", "init").exit_code == 0
    assert (home / "u.db").exists()


def test_another_database_is_refused(run):
    """What this version does not know is wrong usage, and said."""
    done = run("-d", "mysql://somewhere/x", "sessions")

    assert done.exit_code == 2
    assert "mysql" in done.stderr


@pytest.mark.parametrize(
    "args", [("nonsense",), ("log",), ("log", "s", "-n", "0"), ("fence",), ("writers", "x")]
)
def test_wrong_usage_says_how(run, args):
    """Exit 2, the usage, and the help to look at."""
    done = run(*args)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert "Usage: journal" in done.stderr
    assert "--help" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["fence", "claim", "parked", "mirror"])
def test_a_command_of_several_asks_for_one_of_them(run, name):
    """In a line, not with all of its help for an error; as a document where one is asked for."""
    done, told = run(name), run(name, "--json")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[1:] == [
        "Error: Missing command.",
        f"Try: journal {name} --help",
    ]
    assert (told.exit_code, json.loads(told.stdout)["code"]) == (2, "usage")


def test_a_hint_names_the_journal_again(run):
    """A hint copied to the shell works on the same journal."""
    done = run("-d", "my journal.db", "sessions")

    assert done.stderr.splitlines()[-1] == "Try: journal -d 'my journal.db' init"


@pytest.mark.parametrize("name", ["journal backup", "it's journal log", "journal"])
def test_a_hint_names_the_journal_in_commands_alone(run, home, name):
    """A directory may be called as one is."""
    (home / name).mkdir()
    (home / name / "s.jsonl").write_text("{}\n")

    done = run("-d", "x.db", "migrate", name)

    command = shlex.split(done.stderr.rpartition("Try: ")[2])
    assert command == ["journal", "-d", "x.db", "migrate", "--apply", "--", name]


def test_an_unforeseen_error_is_one_line(run, monkeypatch):
    """A bug is said to be one, without a traceback; --debug gives it."""

    def fails(*_):
        raise ZeroDivisionError("at\x1b[2J all")

    monkeypatch.setattr("journal.cli.sessions.opened", fails)

    done, debugged = run("sessions"), run("--debug", "sessions")

    assert done.exit_code == debugged.exit_code == 1
    assert done.stderr.splitlines()[0] == (
        "Error: this is a bug in session-journal: ZeroDivisionError: at\\x1b[2J all"
    )
    assert "Traceback" not in done.stderr
    first, *between = debugged.stderr.splitlines()[: -len(done.stderr.splitlines())]
    assert first == "Traceback (most recent call last):"
    assert any(line.startswith('  File "') and line.endswith(", in fails") for line in between)
    assert between[-1] == "ZeroDivisionError: at\\x1b[2J all"


def test_an_error_is_a_document_too(run):
    """With --json exactly one document comes out, also when a command fails."""
    done = run("sessions", "--json")

    told = json.loads(done.stdout)
    assert told["schema"] == "journal.error/1"
    assert (told["code"], told["exit_code"], told["hint"]) == ("no-journal", 10, "journal init")


def test_what_was_parked_is_said(run, monkeypatch):
    """A refusal that kept the lines says where."""
    from journal.errors import Superseded

    def refuses(*_):
        raise Superseded("too late", parked="pabc")

    monkeypatch.setattr("journal.cli.sessions.opened", refuses)

    done = run("sessions")

    assert done.exit_code == 11
    assert "pabc" in done.stderr


@pytest.mark.parametrize(
    "error, code", [(KeyboardInterrupt(), 130), (JournalError("no"), 1), (OSError(28, "full"), 1)]
)
def test_each_end_has_its_code(run, monkeypatch, error, code):
    """Interrupted is 130; what the system refuses is 1 and no bug."""

    def fails(*_):
        raise error

    monkeypatch.setattr("journal.cli.sessions.opened", fails)

    done = run("sessions")

    assert done.exit_code == code
    assert "bug" not in done.stderr


def test_completion_is_clicks(start, monkeypatch):
    """The shell asks for the commands and gets them."""
    monkeypatch.setenv("_JOURNAL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "journal se")
    monkeypatch.setenv("COMP_CWORD", "1")

    out, _ = start().communicate(timeout=60)

    assert out.decode().split() == ["plain,sessions"]


def every_help(run):
    """Give each command's words and its help, those of groups and of what is in them."""
    for name in cli.list_commands(click.Context(cli)):
        inner = getattr(cli.get_command(click.Context(cli), name), "commands", {})
        for words in [(name,), *((name, sub) for sub in inner)]:
            yield words, run(*words, "--help").stdout


def test_no_help_is_cut_off_or_marked_up(run):
    """A sentence is told to its end, and nobody is shown how the docs are written."""
    for words, told in every_help(run):
        assert not re.search(r"[a-z]\.\.\.", told), words  # but SEQ... may be several
        assert "``" not in told, words
    group = " ".join(run("mirror", "--help").stdout.split())
    first = " ".join(run("mirror", "permit", "--help").stdout.split("\n\n")[1].split())
    assert first in group


def test_h_is_help(run):
    for command in ((), ("append",), ("fence", "raise")):
        assert run(*command, "-h").stdout == run(*command, "--help").stdout


@pytest.mark.parametrize(
    "args, words",
    [
        (("append", "s", "-w", "g", "--pid", "1", "{}"), "--pid goes with --claim"),
        (("claim", "inputs", "s", "-w", "g", "--pid", "1"), "--pid goes with --claim"),
        (("audit", "--bodies"), "name it with --html"),
        (("audit", "--force"), "name it with --html"),
        (("audit", "--verifier", "x+y+z"), "--verifier goes with --anchor"),
        (("anchor", "--force"), "name it with -o"),
        (("export", "s", "--force"), "name one with -o or --bundle"),
        (("export", "--all", "d", "--force"), "name one with -o or --bundle"),
        (("-d", "a.db", "demo"), "leave --db out"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(run, session, args, words):
    """Whoever gives it believes that it does something."""
    done = run(*args)

    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.usefixtures("session")
def test_strict_holds_for_each_command_that_writes(run, home, monkeypatch):
    """Those too that open no journal as others do."""
    assert run("backup", "kept.db").exit_code == 0
    before = sorted(each.name for each in home.iterdir())
    monkeypatch.setattr("journal.engine.wal_reset_fixed", lambda _: False)
    for args in (
        ("key", "adopt"),
        ("copy", "journal.db", "copy.db"),
        ("backup", "copy.db"),
        ("restore", "kept.db", "--apply"),
    ):
        done = run("--strict", *args)
        assert (done.exit_code, "has the WAL-reset bug" in done.stderr) == (1, True), args
    assert sorted(each.name for each in home.iterdir()) == before


@pytest.mark.parametrize("named", ["journal.db", "sqlite:///journal.db", "link.db"])
def test_no_command_writes_over_the_journal_however_it_is_named(run, home, session, named):
    """A key, a bundle or a page in its place would be the end of it."""
    before = (home / "journal.db").read_bytes()
    (home / "link.db").symlink_to("journal.db")
    for args in (
        ("key", "export", "journal.db", "--force"),
        ("export", "--bundle", "journal.db", "--force"),
        ("export", session, "-o", "journal.db", "--force"),
        ("audit", "--html", "journal.db", "--force"),
        ("anchor", "-o", "journal.db", "--force"),
    ):
        done = run("-d", named, *args)
        assert done.exit_code == 1, args
        # Through a link a journal is opened by nobody; it may be read.
        assert "belongs to the journal" in done.stderr or "is a symbolic link" in done.stderr, args
    assert (home / "journal.db").read_bytes() == before


def test_the_audit_of_a_copy_with_a_blank_in_its_name_can_be_pasted(run, home, session, steal):
    """The hint quotes it."""
    steal()
    done = run("backup", "a copy.db")
    assert f"Try: journal -d '{home / 'a copy.db'}' audit" in done.stderr


def test_no_type_asks_for_a_newer_click_than_is_promised():
    """Before 8.4 its types take no parameter: `journal audit` could not even be imported."""
    assert "__orig_bases__" not in vars(Moment)

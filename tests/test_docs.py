"""The docs hold: what README and the help pages say to type is typed, and works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from journal.cli import cli
from journal.cli.frame import Command, Group

ROOT = Path(__file__).resolve().parent.parent
STORE = ROOT / "journal" / "demo_store"
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def every_example():
    """Give each command's words and the lines its help ends with."""
    ctx = click.Context(cli, info_name="journal")
    for name in cli.list_commands(ctx):
        command = cli.get_command(ctx, name)
        assert isinstance(command, Command | Group)
        yield (name,), command.example
        for sub, inner in getattr(command, "commands", {}).items():
            yield (name, sub), inner.example


def typed():
    """Give each command that README tells the reader to type."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            yield from (piece.strip() for piece in line.split("&&"))


EXAMPLES = dict(every_example())
TYPED = list(typed())


def shell_at(home, key_file):
    """Return what runs a script where ``journal`` is this one, in a directory with a store in its home."""
    place, door = home / "place", home / "bin" / "journal"
    (place / ".openclaw").mkdir(parents=True)
    door.parent.mkdir()
    door.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m journal "$@"\n')
    door.chmod(0o755)
    shutil.copytree(STORE / "agents", place / ".openclaw" / "agents")
    environment = {
        **os.environ,
        "HOME": str(place),
        "PATH": os.pathsep.join([str(door.parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "JOURNAL_KEY_FILE": str(key_file),
    }
    environment.pop("JOURNAL_DB", None)

    def shell(script):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return shell


@pytest.fixture
def shell(tmp_path, key_file):
    return shell_at(tmp_path, key_file)


@pytest.fixture(scope="session")
def begun(tmp_path_factory):
    """A journal as the first two examples leave it, and its key; made once, for it takes two programs."""
    home = tmp_path_factory.mktemp("begun")
    done = shell_at(home, home / "journal.key")(
        "\n".join([*EXAMPLES["init",][:1], *EXAMPLES["append",]])
    )
    assert done.returncode == 0, done.stderr
    return home


@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_the_examples_of_each_help_work(shell, begun, tmp_path, key_file, words):
    """Copied line by line to a shell that has a journal, each ends with exit 0."""
    shutil.copytree(begun / "place", tmp_path / "place", dirs_exist_ok=True)
    key_file.parent.mkdir(exist_ok=True, mode=0o700)
    shutil.copy2(begun / "journal.key", key_file)

    done = shell("\n".join(EXAMPLES[words]))

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", [line for line in TYPED if line.startswith("journal ")])
def test_what_the_readme_runs_works(shell, line):
    """Its commands, in a directory with nothing prepared."""
    done = shell(line)

    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("line", [line for line in TYPED if not line.startswith("journal ")])
def test_what_the_readme_installs_is_there(line):
    """It names this project, extras that exist, and tests that are found without a word more."""
    words = shlex.split(line)

    if words[0] == "pytest":
        assert set(words[1:]) <= {"-q", "-n", "4", "-m", "not slow"}
        return
    assert words[:2] == ["pip", "install"]
    extras = re.fullmatch(r"\.(?:\[(.*)\])?", words[-1])
    assert extras, f"{words[-1]} is not this directory"
    assert {each for each in (extras[1] or "").split(",") if each} <= set(
        PROJECT["optional-dependencies"]
    )


def test_the_readme_has_two_commands():
    """One installs and runs the main job, one installs what the tests need and passes them."""
    assert "journal demo" in TYPED
    assert any(line.startswith("pytest") for line in TYPED)
    assert PROJECT["scripts"] == {"journal": "journal.cli:main"}


def test_the_readme_names_every_command_and_extra():
    """Whoever reads nothing else knows what there is, and what it wants installed."""
    told = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    words = {word for cell in told for word in re.findall(r"[\w-]+", cell)}

    assert set(cli.list_commands(click.Context(cli))) <= words
    assert set(PROJECT["optional-dependencies"]) - {"bench"} <= words
    assert "session-journal[anchors]" in README
    assert "(docs/turns.md)" in README


def test_the_readme_says_what_becomes_of_the_keys():
    """They are not the program's, and outlive it."""
    assert re.search(r"pip uninstall session-journal` takes the program and nothing else", README)
    assert "keys\nstay**" in README

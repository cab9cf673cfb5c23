"""The command line as a shell sees it: exit codes, pipes and signals of real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def shell(home, tmp_path):
    """Run a line in a shell where ``journal`` is this one."""
    door = tmp_path / "bin" / "journal"
    door.parent.mkdir()
    door.write_text(f'#!/bin/sh\nexec {sys.executable} -m journal "$@"\n')
    door.chmod(0o755)

    def shell(line):
        path = os.pathsep.join([str(door.parent), os.environ["PATH"]])
        environment = {
            **os.environ,
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        return subprocess.run(
            ["bash", "-c", line],
            env=environment,
            capture_output=True,
            check=False,
            timeout=120,
        )

    return shell


def test_a_shell_script_guards_a_prompt(shell, session, steal):
    """The fence's exit code decides whether the script goes on."""
    guard = f"fence=$(journal fence raise {session} -w gateway) && %s && journal fence check $fence"

    accepted = shell(
        guard % f"journal append {session} -w heartbeat '{{}}' >/dev/null" + " && echo on"
    )
    kept = shell(f"journal fence raise {session} -w gateway").stdout.decode().strip()
    steal()
    taken = shell(f"journal fence check {kept} || echo stop: $?")

    assert accepted.stdout == b"accepted\non\n"
    assert taken.stdout == b"takeover\nstop: 3\n"


def test_lines_are_piped_in_and_out(shell, session):
    """What comes out of an export can go into an append, byte for byte."""
    done = shell(
        f"journal export {session} | journal append copy -w gateway > seqs && journal export copy > b "
        f"&& journal export {session} | cmp - b && cat seqs"
    )

    assert done.stderr == b"'copy' is a new session.\n"
    assert done.stdout == b"1\n2\n3\n"


@pytest.mark.parametrize("command", ["log {s}", "log {s} --json", "export {s}", "sessions"])
def test_a_reader_may_leave_early(shell, run, session, command):
    """No traceback, no complaint, and the command's own exit code."""
    run("append", session, "-w", "gateway", input=b'{"padding":"' + b"x" * 2000 + b'"}\n')
    run(
        "append", session, "-w", "gateway", input=b"".join(b'{"n":%d}\n' % n for n in range(20_000))
    )

    done = shell(f"set -o pipefail; journal {command.format(s=session)} | head -c 1 >/dev/null")

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_verdict_survives_a_reader_who_left(shell, session, steal):
    """``journal fence check | true`` still ends with 3."""
    kept = shell(f"journal fence raise {session} -w gateway").stdout.decode().strip()
    steal()

    done = shell(
        f"journal fence check {kept} 2>/dev/null | (exec <&-; sleep 1); exit ${{PIPESTATUS[0]}}"
    )

    assert done.returncode == 3


def test_output_that_cannot_be_written_is_an_error(shell, session):
    """A full disk behind stdout is no success."""
    if not os.path.exists("/dev/full"):  # noqa: PTH110 - a device
        pytest.skip("no /dev/full here")

    done = shell(f"journal log {session} > /dev/full")

    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"bug" not in done.stderr


def test_words_that_cannot_be_written_change_nothing(shell, run, session):
    """A full disk behind stderr: neither a line that is written, nor the verdict that a script waits for."""
    if not os.path.exists("/dev/full"):  # noqa: PTH110 - a device
        pytest.skip("no /dev/full here")
    run("mirror", "add", session, "s.jsonl")

    warned = shell(f"ln s.jsonl t.jsonl; journal append {session} -w gateway '{{}}' 2> /dev/full")
    told = shell("journal append new -w gateway '{}' 2> /dev/full")
    refused = shell("journal log nowhere --json 2> /dev/full")

    assert (warned.returncode, warned.stdout) == (0, b"4\n")
    assert (told.returncode, told.stdout) == (0, b"1\n")
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (10, "no-session")


def test_interrupted_is_130(start, session):
    """Ctrl-C while it waits for lines: one word, no traceback, and nothing is written."""
    process = start("append", session, "-w", "gateway")
    process.stdin.write(b'{"half":')
    process.stdin.flush()
    deadline = time.monotonic() + 30
    while not _is_reading(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.stdin.close()
    process.stdin = None
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert (out, err.strip()) == (b"", b"Interrupted.")


def _is_reading(pid):
    """Whether a process has come so far as to wait for its input."""
    try:
        with open(f"/proc/{pid}/wchan") as file:  # noqa: PTH123 - a file of the kernel's
            return "pipe" in file.read()
    except OSError:
        time.sleep(2)
        return True


def test_python_and_the_short_door_are_the_same_command(home, request):
    """``python -m journal`` and ``python cli.py`` do what ``journal`` does."""
    root = request.config.rootpath
    for door in (["-m", "journal"], [str(root / "cli.py")]):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, *door, "status"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 10
        assert done.stderr.endswith("Try: journal init\n")


def test_processes_append_at_once(start, run, session):
    """Each line lands once; nobody sees a locked database."""
    processes = [
        start("append", session, "-w", f"w{n}", "--role", "tool", f'{{"n":{n}}}') for n in range(6)
    ]
    seqs = sorted(int(process.communicate(timeout=120)[0]) for process in processes)

    assert [process.returncode for process in processes] == [0] * 6
    assert seqs == list(range(4, 10))
    assert len(json.loads(run("log", session, "--json").stdout)["entries"]) == 9


def test_a_closed_output_is_refused_before_anything_is_done(shell, session):
    """An answer that nobody can get is no success; and a line that was written is no failure."""
    before = shell(f"journal log {session}").stdout

    for line in (
        "status",
        "sessions --json",
        f"export {session}",
        f"fence raise {session} -w gateway",
        f"append {session} -w gateway '{{}}'",
        "--help",
    ):
        done = shell(f"journal {line} >&-")
        assert done.returncode == 1, line
        words = done.stderr.decode().splitlines()
        assert words == [
            "Error: cannot write to standard output, which is closed; nothing was begun",
            "Try: the same with >/dev/null, if nobody is to read it",
        ]
    assert shell(f"journal log {session}").stdout == before


def test_closed_words_cost_nothing(shell, session):
    """What is on stdout stands, and so does the exit code."""
    done = shell(f"journal log {session} 2>&-")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)
    assert shell("journal log nope 2>&- ").returncode == 10
    assert shell("journal log nope >&- 2>&-").returncode == 1


def test_a_closed_input_is_an_empty_one(shell, session):
    """As from the null device; an argument needs none."""
    for line, code, word in (
        (f"append {session} -w gateway", 2, b"there is no line to append"),
        (f"append {session} -w gateway '{{}}'", 0, b""),
        (f"submit {session} -w gateway", 2, b"there is no line to submit"),
    ):
        done = shell(f"journal {line} <&-")
        assert done.returncode == code, done.stderr
        assert word in done.stderr
        assert b"bug" not in done.stderr


def test_a_signal_after_the_end_changes_nothing(session):
    """All is done: while Python takes itself down it would die of a Ctrl-C without a word."""
    program = (
        "import os, signal, sys; from journal.cli import main\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid(), sig=signal.SIGINT): kill(me, sig)\n"
        "late = Late(); sys.argv = ['journal', 'sessions']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout

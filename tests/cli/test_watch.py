"""``journal watch`` as a service: lines as it happens, an end by SIGTERM, and nothing twice after a restart."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.migration.conftest import session_file


@pytest.fixture
def store(home):
    made = home / "store"
    made.mkdir()
    return made


def test_it_tells_what_it_takes_in_and_ends_by_a_signal(run, start, store):
    pytest.importorskip("watchfiles")
    path = session_file(store / "a.jsonl", {"n": 1})
    with start("watch", "--json", store) as watch:
        seen = json.loads(watch.stdout.readline())
        assert (seen["schema"], seen["what"], seen["key"]) == (
            "journal.watch.seen/1",
            "adopted",
            "s-1",
        )
        with path.open("ab") as file:
            file.write(b'{"n":2}\n')
        seen = json.loads(watch.stdout.readline())
        assert (seen["what"], seen["entries"]) == ("taken in", 1)
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(60) == 0
        made, keep = watch.stderr.read().splitlines()
        assert made.startswith(b"Made a new journal, ")
        assert keep.startswith(b"Keep a copy of its key")
    with path.open("ab") as file:
        file.write(b'{"n":3}\n')
    outcome = run("watch", "--once", store)
    assert outcome.stdout == f"taken in\ts-1\t1\t{path}\t\n"
    assert run("watch", "--once", store).stdout == ""
    trusts = [entry["trust"] for entry in json.loads(run("log", "s-1", "--json").stdout)["entries"]]
    assert trusts == ["asserted", "asserted", "external", "external"]


def test_what_it_tells_goes_to_stdout_though_stderr_is_a_terminal(run, store):
    """As with `journal watch DIR > log`, or `| tee log`, from a shell; whole, and with its tabs."""
    path = session_file(store / f"{'a' * 200}.jsonl", {"n": 1})
    assert run("init").exit_code == 0
    shown, stderr = pty.openpty()
    command = [sys.executable, "-m", "journal", "watch", "--once", str(store)]
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=stderr, env=environment, check=True, timeout=60
    )
    os.close(stderr)
    os.close(shown)
    assert told.stdout.decode() == f"adopted\ts-1\t2\t{path}\t\n"


def test_a_store_that_was_watched_before_is_permitted_from_then_on(run, store):
    path = session_file(store / "a.jsonl", {"n": 1})
    for n, permit in ((2, ()), (3, ("--permit", "pi")), (4, ()), (5, ("--permit", "pi"))):
        assert run("watch", "--once", *permit, store).exit_code == 0
        with path.open("ab") as file:
            file.write(b'{"n":%d}\n' % n)
    assert run("watch", "--once", store).exit_code == 0
    (mirror,) = json.loads(run("mirror", "list", "--json").stdout)["mirrors"]
    assert (mirror["writer"], mirror["permitted"]) == ("external:mirror-1.2", True)
    entries = json.loads(run("log", "s-1", "--json").stdout)["entries"]
    assert [entry["trust"] for entry in entries] == ["asserted"] * 2 + ["permitted"] * 4


def test_it_is_interrupted_like_any_other(start, store):
    pytest.importorskip("watchfiles")
    session_file(store / "a.jsonl", {"n": 1})
    with start("watch", store) as watch:
        assert watch.stdout.readline()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(60) == 130


def test_one_name_that_is_no_text_ends_nothing(run, store):
    """Neither `watch`, whatever is asked of it, nor `migrate --mirror`: the file is set aside, the others are served."""
    names = [b"a.jsonl", b"b\xff.jsonl", b"c.jsonl"]
    for at, name in enumerate(names):
        session_file(store / os.fsdecode(name), {"n": at}, session_id=f"s-{at}")

    told = run("migrate", "--apply", "--mirror", store)
    assert told.exit_code == 3
    assert "its name is not UTF-8" in told.stderr
    assert "this is a bug" not in told.stderr
    mirrors = json.loads(run("mirror", "list", "--json").stdout)["mirrors"]
    assert [each["session"] for each in mirrors] == ["s-0", "s-2"]
    for _ in range(2):
        seen = run("watch", "--once", "--json", store)
        assert (seen.exit_code, json.loads(seen.stdout)["what"]) == (3, "set aside")
    seen = run("watch", "--once", store)
    assert seen.exit_code == 3
    assert [line.split("\t")[0] for line in seen.stdout.splitlines()] == ["set aside"]


def test_there_must_be_a_directory(run):
    assert run("watch", "none").exit_code == 10

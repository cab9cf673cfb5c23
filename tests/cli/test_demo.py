"""The demo: the main job in one command, with nothing to prepare."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
from pathlib import Path

import pytest

import journal.demo.ending
from journal.demo.opening import migrate
from journal.demo.story import Claim, Stage, Step, Story, spans

FIXTURES = Path(__file__).parent.parent / "fixtures"


def digests(folder):
    """Give what stands in a folder, to see whether anything changed."""
    return {
        str(path): (path.lstat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_goes_as_told(start, home, tmp_path, key_file):
    """Exit 0 without a terminal; nothing of the user's is touched, not even a key is made."""
    process = start("demo")
    out, err = process.communicate(timeout=120)

    told = out.decode()
    assert (process.returncode, err) == (0, b"")
    assert [line[0] for line in told.splitlines() if line[:1].isdigit()] == list("123456789")
    assert "takeover" in told
    assert "NOT SO" not in told
    assert told.splitlines()[-1].startswith("All ")
    assert list(home.iterdir()) == []
    assert not key_file.exists()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("after", [b"lets go while the model thinks", b"a thief comes too"])
def test_an_interrupt_is_told_once(start, tmp_path, monkeypatch, after):
    """At a terminal it is for the processes of the cast as well; what was played in is removed."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    process = start("demo", start_new_session=True)
    while after not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)

    assert (process.returncode, err.strip()) == (130, b"Interrupted.")
    assert list(place.iterdir()) == []


def test_it_tells_a_program_too(run):
    """One document: what arrived, what was stolen and named, what was parked, who wrote what."""
    done = run("demo", "--json")

    told = json.loads(done.stdout)
    facts = told["facts"]
    assert (done.exit_code, told["schema"], told["holds"], told["kept"]) == (
        0,
        "journal.demo/1",
        True,
        None,
    )
    assert facts["accepted"]
    assert len(facts["arrived"]) == 2
    assert facts["named"] == [facts["stolen"]]
    assert len(facts["parked"]) == 1
    assert len(facts["file"]["named"]) == 1
    assert facts["file"].keys() == {"path", "offset", "line", "named"}
    assert facts["audit"] == "broken"
    by_trust = {(share["writer"], share["trust"]): share["lines"] for share in told["attribution"]}
    assert by_trust["gateway", "stray"] == 1
    assert by_trust["external:mirror-1", "external"] == 1
    assert {writer for writer, trust in by_trust if trust == "asserted"} == {
        "migrate", "gateway", "heartbeat", "cron",
    }  # fmt: skip
    assert all(claim["holds"] for step in told["steps"] for claim in step["claims"])


@pytest.mark.slow
def test_what_is_kept_can_be_looked_at(run, home, monkeypatch):
    """The commands it names work."""
    done = run("demo", "--keep", "played")

    assert done.exit_code == 0
    assert stat.S_IMODE((home / "played").stat().st_mode) == 0o700
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(home / "played" / "key" / "journal.key"))
    database = home / "played" / "journal.db"
    assert f"journal -d {database} audit" in done.stderr
    assert run("-d", database, "audit").exit_code == 3
    assert run("-d", database, "log", "agent:main:main").exit_code == 0


def test_what_is_there_is_not_overwritten(run, home):
    """A directory that exists is left as it is."""
    (home / "mine").mkdir()

    done = run("demo", "--keep", "mine")

    assert done.exit_code == 1
    assert "Try: name a new directory" in done.stderr
    assert list((home / "mine").iterdir()) == []


@pytest.mark.parametrize(
    "store",
    [
        pytest.param("openclaw-2026.5.18", marks=pytest.mark.slow),
        pytest.param("pi", marks=pytest.mark.slow),
        "edge",
    ],
)
def test_any_store_will_do(run, store):
    """It is copied and played on; of the store itself nothing changes."""
    before = digests(FIXTURES / store)

    done = run("demo", "--store", FIXTURES / store, "--json")

    assert done.exit_code == 0, done.stdout
    assert digests(FIXTURES / store) == before


def test_a_compressed_file_comes_back_as_what_it_holds(journal, tmp_path):
    """As Codex keeps its old rollouts; the archive need not be the same again."""
    zstandard = pytest.importorskip("zstandard")
    line = b'{"type":"session_meta","payload":{"id":"s1"}}\n'
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "rollout-s1.jsonl.zst").write_bytes(zstandard.compress(line))
    story = Story(lambda _: None)

    migrate(journal, Stage(tmp_path / "store", str(journal.path), ""), story)

    assert [step.title for step in story.steps] == ["Every line becomes an entry"]
    assert story.holds


@pytest.mark.slow
def test_one_file_is_a_store(run, home):
    """A single session file is enough."""
    (home / "one.jsonl").write_bytes(b'{"type":"message"}\nno json\n')

    assert run("demo", "--store", "one.jsonl").exit_code == 0


@pytest.mark.slow
def test_odd_things_in_a_store_are_left_behind(run, home):
    """A pipe would wait for ever, a link could lead out: neither is copied."""
    (home / "store").mkdir()
    (home / "store" / "one.jsonl").write_bytes(b'{"type":"message"}\n')
    os.mkfifo(home / "store" / "pipe.jsonl")
    (home / "store" / "link.jsonl").symlink_to("/etc/passwd")

    done = run("demo", "--store", "store", "--keep", "played")

    assert done.exit_code == 0
    assert [path.name for path in (home / "played" / "store").iterdir()] == ["one.jsonl"]


@pytest.mark.parametrize("is_there", [False, True])
def test_no_store(run, home, is_there):
    """Exit 10, with what to name instead."""
    if is_there:
        (home / "store").mkdir()

    done = run("demo", "--store", "store")

    assert done.exit_code == 10
    assert "--store" in done.stderr


def test_a_claim_that_does_not_hold_is_said(run, monkeypatch):
    """Exit 1: the demo checks itself, and cannot pass by telling."""
    monkeypatch.setattr(journal.demo.ending, "_is_about", lambda *_: False)

    done = run("demo")

    assert done.exit_code == 1
    assert "NOT SO: a finding names the thief's row" in done.stdout
    assert "do not hold" in done.stderr


@pytest.mark.slow
def test_a_check_that_accepts_the_thief_fails_the_demo(run, monkeypatch):
    """If every row were taken for honest, the story would not go as told."""
    monkeypatch.setattr("journal.verdict.reason_of", lambda *_: None)

    done = run("demo", "--json")

    told = json.loads(done.stdout)
    broken = {
        claim["text"] for step in told["steps"] for claim in step["claims"] if not claim["holds"]
    }
    assert done.exit_code == 1
    assert "the thief's row is named, and no other" in broken
    assert "the reply is parked whole" in broken


@pytest.mark.slow
def test_a_check_that_names_no_line_fails_the_demo(run, monkeypatch):
    """What it says of the file is held against the file, counted by hand."""
    monkeypatch.setattr("journal.fence.places_of", lambda *_: {})

    done = run("demo")

    assert done.exit_code == 1
    assert "NOT SO: with the file, the line and the byte at which it stands there" in done.stdout


def test_a_story_holds_as_its_claims_do():
    """One that fails is enough."""
    told: list[Step] = []
    story = Story(told.append)
    story.add("a", claims=[Claim("x", holds=True)])
    assert story.holds

    story.add("b", "words", claims=[Claim("y", holds=False)])

    assert not story.holds
    assert [(step.number, step.words) for step in told] == [(1, ()), (2, ("words",))]


@pytest.mark.parametrize(
    "seqs, shown", [([], ""), ([3], "3"), ([1, 2, 3, 5, 7, 8], "1-3, 5, 7-8"), ([2, 1], "1-2")]
)
def test_seqs_in_a_few_words(seqs, shown):
    """Runs are written as runs."""
    assert spans(seqs) == shown


@pytest.mark.parametrize("framework", ["openai", "adk"])
def test_a_frameworks_own_store_fails_where_ours_does_not(run, framework):
    """Both are put through it by real processes; ours has full marks, theirs has not."""
    done = run("demo", framework, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    theirs, ours = document["scores"]
    assert document["holds"]
    assert ours["points"] == ours["of"] > theirs["points"]


def test_a_framework_that_is_not_there_is_named_with_what_installs_it(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = run("demo", "adk")
    assert done.exit_code == 1
    assert "session-journal[adk]" in done.stderr


def test_a_framework_has_no_store_of_yours_to_play_on(run):
    assert run("demo", "adk", "--keep", "here").exit_code == 2

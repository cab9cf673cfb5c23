"""Other processes that judge from the far end: they change how long an audit takes, and nothing of what it finds."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from journal import Journal
from journal.audit import ahead, audit, auditor
from journal.audit.source import opened
from journal.audit.walk import Walk
from tests.audit.crimes import CRIMES, Scene
from tests.thieves import KEY


class Near(ahead.Ahead):
    """Answers for every stretch that is asked for, as a helper would, in this process."""

    path: str

    def __bool__(self):
        return True

    def begin(self):
        pass

    def plan(self, sizes, keys, known, redacted):
        super().plan(sizes, keys, known, redacted)
        self.task = ahead.Task(keys, known, redacted, [])

    def answer(self, at):
        if at < 0:
            return None
        with opened(self.path) as source:
            return ahead.looked_at(source, self.task, self._grid[at])


@pytest.fixture
def near(monkeypatch, journal_path):
    """Have every session judged two entries at a time by somebody else, as far as they are plain."""
    monkeypatch.setattr(ahead, "_STRETCH_ROWS", range(2, 2))
    monkeypatch.setattr(Near, "path", str(journal_path), raising=False)
    return lambda: monkeypatch.setattr(auditor, "Ahead", Near)


@pytest.fixture
def skips(monkeypatch):
    """Count the stretches that were taken over."""
    taken = []
    skip = Walk.skip

    def counted(walk, plain):
        taken.append(plain)
        skip(walk, plain)

    monkeypatch.setattr(Walk, "skip", counted)
    return taken


@pytest.fixture
def scene(busy, thief, holder, journal_path, key_file):
    plain = busy.session(KEY, writer="heartbeat")
    for number in range(12):
        plain.append({"type": "custom", "n": number})
    return Scene(busy, thief, holder, journal_path, key_file)


@pytest.mark.parametrize("crime", CRIMES.values(), ids=CRIMES.keys())
def test_what_is_found_is_the_same(scene, near, skips, crime):
    crime.do(scene)
    alone = audit(scene.path, key_file=scene.key_file)
    near()

    together = audit(scene.path, key_file=scene.key_file)

    assert together == alone
    assert skips or "J101" in {finding.id for finding in alone.findings}


def test_an_edit_just_before_a_stretch_is_found_too(scene, near, skips):
    """What a helper takes for an entry may be none: the audit holds it against what it found itself."""
    newest = scene.journal.session(KEY).head.seq
    for seq in (newest - 3, newest - 6):
        scene.thief.edit("created_us", seq, 1)
    alone = audit(scene.path, key_file=scene.key_file)
    assert {finding.id for finding in alone.findings} == {"J304"}
    near()

    assert audit(scene.path, key_file=scene.key_file) == alone
    assert skips


@pytest.fixture
def large(journal_path, monkeypatch):
    """Make a session that is worth a helper, if little is worth one."""
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
    monkeypatch.setattr(ahead, "_helpers_for", lambda _: 2)
    monkeypatch.setattr(ahead, "_STRETCH_ROWS", range(256, 256))
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        for first in range(0, 6000, 1000):
            session.extend({"type": "message", "n": n} for n in range(first, first + 1000))
    return journal_path


def test_programs_of_their_own_help(large, skips, monkeypatch):
    """They are asked to be done before the audit walks, so that their part is taken over whole."""
    started: list[ahead._Helper] = []
    start, plan = ahead._Helper, ahead.Ahead.plan

    def noted(path):
        started.append(start(path))
        return started[-1]

    monkeypatch.setattr(ahead, "_Helper", noted)

    def patient(self, *arguments):
        plan(self, *arguments)
        every = threading.Event()
        while len(self._answers) < len(self._grid) and not every.wait(0.01):
            assert all(helper.process.poll() is None for helper in started)

    monkeypatch.setattr(ahead.Ahead, "plan", patient)

    report = audit(large)

    assert (report.verdict, report.findings) == ("ok, not anchored", ())
    assert report.completeness["lines"] == 6000
    assert len(skips) == len(range(257, 6001, 256))  # all but the first, which follows nothing
    assert [helper.process.poll() is None for helper in started] == [False, False]


def test_helpers_that_die_are_not_missed(large, monkeypatch):
    alone = audit(large)
    start = ahead._Helper

    def doomed(path):
        helper = start(path)
        helper.process.kill()
        return helper

    monkeypatch.setattr(ahead, "_Helper", doomed)

    assert audit(large) == alone


def test_helpers_that_cannot_see_the_same_state_are_let_go(large, skips, monkeypatch):
    """Somebody commits each time between the audit's snapshot and theirs."""
    begin = ahead.Ahead.begin
    with Journal(large) as journal:
        session = journal.session(KEY, writer="gateway")

        def late(self):
            session.append({"type": "message"})
            begin(self)

        monkeypatch.setattr(ahead.Ahead, "begin", late)
        report = audit(large)

    assert (report.verdict, report.findings, skips) == ("ok, not anchored", (), [])


def test_a_helper_that_does_not_answer_is_let_go(large, skips, monkeypatch):
    monkeypatch.setattr(ahead, "_WAIT_S", 0.3)
    start = ahead._Helper

    def stopped(path):
        helper = start(path)
        os.kill(helper.process.pid, signal.SIGSTOP)
        return helper

    monkeypatch.setattr(ahead, "_Helper", stopped)

    assert audit(large).verdict == "ok, not anchored"
    assert skips == []


def test_a_helper_takes_nothing_from_the_environment_and_prints_nowhere(
    large, skips, monkeypatch, tmp_path
):
    """A sitecustomize on PYTHONPATH would run with the keys at hand."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w').close()")

    assert audit(large).verdict == "ok, not anchored"
    assert not (tmp_path / "was here").exists()


def test_no_descriptor_is_left_open(large):
    audit(large)
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        audit(large)
    assert len(list(Path("/dev/fd").iterdir())) <= before


def test_nobody_helps_where_it_is_not_worth_it(busy, journal_path, monkeypatch):
    """Not with a small database, nor where nobody is wanted."""
    assert not ahead.Ahead(str(journal_path))
    monkeypatch.setattr(ahead, "WORTH_BYTES", 0)
    assert not ahead.Ahead(str(journal_path), is_wanted=False)
    assert not ahead.Ahead(str(journal_path.with_name("nowhere.db")))

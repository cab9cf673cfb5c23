"""``journal log --follow``: what another process writes is listed while it waits."""

from __future__ import annotations

import json
import signal


def test_it_lists_the_newest_then_what_comes_until_it_is_interrupted(run, session, start):
    with start("log", session, "-f", "-n", "1") as follower:
        assert b"assistant: Done." in follower.stdout.readline()
        assert (
            run("append", session, "-w", "gateway", '{"type":"custom","name":"late"}').exit_code
            == 0
        )
        line = follower.stdout.readline().split(b"\t")
        assert (line[0], line[2], line[-1]) == (b"4", b"gateway", b"late\n")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 130
        assert b"Traceback" not in follower.stderr.read()


def test_json_is_one_document_a_line(run, session, start):
    with start("log", session, "--follow", "--json", "--after", "1") as follower:
        found = [json.loads(follower.stdout.readline()) for _ in range(2)]
        assert [entry["seq"] for entry in found] == [2, 3]
        assert {entry["schema"] for entry in found} == {"journal.log.entry/1"}
        follower.kill()


def test_it_ends_when_its_reader_has_left(run, session, start):
    with start("log", session, "-f", "--after", "0") as follower:
        assert follower.stdout.readline()
        follower.stdout.close()
        for number in range(3):  # the first may still fit into the pipe that is being closed
            run("append", session, "-w", "gateway", f'{{"n":{number}}}')
        assert follower.wait(60) == 0


def test_it_ends_when_its_reader_has_left_though_nobody_writes(session, start):
    """As in ``journal log -f SESSION | head -1``."""
    with start("log", session, "-f", "--after", "0") as follower:
        for _ in range(3):  # all there are: a line more would tell it
            assert follower.stdout.readline()
        follower.stdout.close()
        assert follower.wait(60) == 0
        assert follower.stderr.read() == b""


def test_two_ways_to_begin_are_refused(run, session):
    outcome = run("log", session, "-f", "-n", "1", "--after", "2")
    assert outcome.exit_code == 2
    assert "--follow takes -n or --after" in outcome.stderr

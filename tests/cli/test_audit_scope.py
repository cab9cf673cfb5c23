"""``journal audit --since`` and ``--quick``, as they are typed."""

from __future__ import annotations

import json
import shlex

import pytest

from tests.thieves import Thief


def test_no_bar_where_there_is_no_terminal(run, session):
    done = run("audit", "--quick", "--since", "24h", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout)["verdict"] == "not verified"
    assert run("audit", "--strict", "--quick").exit_code == 3


@pytest.mark.parametrize("when", ["90m", "7d", "2026-11-27T08:00Z", "2026-11-27", "1w"])
def test_times_as_people_type_them(run, session, when):
    assert run("audit", "--since", when).exit_code == 0


@pytest.mark.parametrize("when", ["soon", "", "9999999d", "2026-13-01", "-1h"])
def test_what_is_no_time_is_said(run, session, when):
    done = run("audit", f"--since={when}")
    assert done.exit_code == 2
    assert "Try: " in done.stderr


def test_a_page_may_be_of_what_is_new_or_quick(run, session, home):
    done = run("audit", "--quick", "--since", "24h", "--html", "audit.html")
    assert done.exit_code == 0, done.stderr
    assert "not verified" in (home / "audit.html").read_text("utf-8")


@pytest.mark.parametrize("key", ["-rf", "two words"])
def test_what_shows_more_works_whatever_a_session_is_called(run, home, key):
    run("init")
    run("append", "-w", "gateway", "--role", "run", "--", key, "{}")
    thief = Thief(home / "journal.db", key)
    thief.edit("body", 1, b"changed")
    thief.close()

    (finding,) = json.loads(run("audit", "--json").stdout)["findings"]

    assert run(*shlex.split(finding["next"])[1:]).exit_code == 3  # shown, and not as it was sealed


def test_what_settles_a_row_works_wherever_it_stands(run, session, home):
    """A comment behind a command hides nothing of it, though a seq below 1 stands behind ``--``."""
    thief = Thief(home / "journal.db", session)
    thief.insert_many([-5])
    thief.close()

    (finding,) = json.loads(run("audit", "--json").stdout)["findings"]
    words = shlex.split(finding["settle"].replace("NAME", "alice --role operator"), comments=True)

    assert run(*words[1:]).exit_code == 0
    assert json.loads(run("audit", "--json").stdout)["findings"] == []

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


def edited(thief):
    thief.edit("body", 5, b'{"control":"writer","id":9,"name":"x","role":"run"}', key="journal:")


def put_in(thief):
    thief.insert_copy("journal:", body=b"{}")


def taken_out(thief):
    thief.delete(4, key="journal:")


@pytest.mark.parametrize("crime", [edited, put_in, taken_out])
def test_what_shows_more_works_in_the_registry_too(run, session, home, crime):
    """Its rows are nobody's to write, settle or export, and they can be looked at."""
    thief = Thief(home / "journal.db", session)
    crime(thief)
    thief.close()

    found = json.loads(run("audit", "--json").stdout)["findings"]

    assert "journal:" in {finding["session"] for finding in found}
    for finding in found:
        done = run(*shlex.split(finding["next"])[1:])
        assert done.exit_code in (0, 3), done.stderr
        assert done.stdout
        assert finding["session"] != "journal:" or finding["settle"] is None


def test_a_row_of_the_registry_that_is_not_there_leads_to_those_that_are(run, session):
    done = run("show", "journal:", "99")

    assert done.exit_code == 10
    hint = done.stderr.splitlines()[-1].removeprefix("Try: journal ")
    assert "control writer" in run(*shlex.split(hint)).stdout


def test_what_settles_a_row_works_wherever_it_stands(run, session, home):
    """A comment behind a command hides nothing of it, though a seq below 1 stands behind ``--``."""
    thief = Thief(home / "journal.db", session)
    thief.insert_many([-5])
    thief.close()

    (finding,) = json.loads(run("audit", "--json").stdout)["findings"]
    words = shlex.split(finding["settle"].replace("NAME", "alice --role operator"), comments=True)

    assert run(*words[1:]).exit_code == 0
    assert json.loads(run("audit", "--json").stdout)["findings"] == []

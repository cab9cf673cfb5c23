"""The page of an audit: it holds what it says, nothing it should not, and runs nothing that is not ours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from base64 import b64encode
from hashlib import sha256
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, SessionTakeover, Superseded
from journal.report import write_page
from journal.report.page import rendered
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned=1'>\u202e\x1b]0;x\x07"
SAID = "the-word-that-was-said"
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def path(journal_path: Path) -> Path:
    """A journal with some of everything that the picture draws, and a thief who knows HTML."""
    with Journal(journal_path) as journal:
        journal.store.clock = count(1_800_000_000_000_000, 60_000_000).__next__
        gateway = journal.session(KEY, writer="gateway", role="run")
        named = "cron <b onmouseover=alert(1)>"
        cron = journal.session(KEY, writer=named, role="cron", on_behalf_of="<i>x</i>")
        other = journal.session("agent:<svg onload=alert(2)>", writer="heartbeat", role="heartbeat")
        gateway.extend([{"text": HOSTILE}, {"text": SAID}])
        cron.append({"text": HOSTILE})
        other.extend([{"n": number} for number in range(50)])
        turn = gateway.claim()
        gateway2 = journal.session(KEY, writer="gateway2", role="run")
        with gateway2.claim(supersede="stuck </script><b>") as second, pytest.raises(Superseded):
            turn.append({"late": 1})
        assert not second.stands
        fence = gateway.fence()
        fence.stored()
        thief = Thief(journal_path)
        thief.insert_copy(body=json.dumps({"text": HOSTILE}).encode())
        thief.close()
        with pytest.raises(SessionTakeover):
            fence.append({"after": 1})
    return journal_path


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])  # type: ignore[no-any-return]


def test_it_holds_nothing_that_was_said_unless_it_was_asked_for(path: Path) -> None:
    _, page = write_page(path)
    assert SAID not in page
    assert "pwned" not in page
    _, page = write_page(path, bodies=True)
    assert SAID in page
    assert "<script>window.pwned" not in page


def test_only_its_own_script_and_style_may_run_and_nothing_is_fetched(path: Path) -> None:
    _, page = write_page(path, bodies=True)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src &#39;none&#39;; style-src") or policy[1].startswith(
        "default-src 'none'"
    )
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}" in policy[1]
    assert not re.findall(
        r"(?:src|href|url)\s*[=(]", re.sub(r"<script.*</script>", "", page, flags=re.DOTALL)
    )
    assert not re.findall(r"https?://", page)


def test_the_columns_are_the_entries(path: Path) -> None:
    report, page = write_page(path)
    data = data_of(page)
    session = next(each for each in data["sessions"] if each["key"] == KEY)
    seqs = [sum(session["seq"][: n + 1]) for n in range(len(session["seq"]))]
    assert seqs == list(range(1, len(seqs) + 1))
    assert session["trust"].count("s") == 1
    assert [claim["outcome"] for claim in data["claims"]] == ["superseded", "released"]
    assert data["fences"]
    assert {verdict["outcome"] for verdict in data["verdicts"]} >= {"takeover"}
    assert report.verdict == "broken"


def test_every_finding_and_gap_is_on_it(path: Path) -> None:
    report, page = write_page(path)
    for finding in report.findings:
        assert finding.id in page
    assert page.count("<li>") >= len(report.not_checked)
    assert f"<h1>{report.verdict}</h1>" in page


@pytest.mark.parametrize("seqs", [[1], 7, [[1]], None])
def test_a_resolution_that_nobody_sealed_colours_no_entry(
    journal_path: Path, tmp_path: Path, seqs: object
) -> None:
    """Nor does it end the page, whatever plain SQL has put into it."""
    file = tmp_path / "s.jsonl"
    file.write_bytes(b'{"from":"outside"}\n')
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run", mirror=file).append({"n": 1})
    _, page = write_page(journal_path)
    assert "e" in data_of(page)["sessions"][0]["trust"]
    thief = Thief(journal_path)
    told = {
        "control": "resolution",
        "verdict": "accept",
        "seqs": [*range(1, 9)] if seqs == [1] else seqs,
    }
    thief.insert_copy(body=json.dumps(told).encode(), kind="control")
    thief.close()
    _, page = write_page(journal_path)
    trust = data_of(page)["sessions"][0]["trust"]
    assert ("e" in trust, "y" in trust, trust.count("s")) == (True, False, 1)


def test_a_number_that_no_page_can_tell_moves_no_other(journal_path: Path) -> None:
    """The columns are differences, and what plain SQL may claim is larger than a page's numbers are exact."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").extend([{"n": 1}, {"n": 2}, {"n": 3}])
    put_far_out(journal_path)
    report, page = write_page(journal_path)
    (session,) = data_of(page)["sessions"]
    assert told(session["seq"]) == ["-9223372036854775803", 1, 2, 3, 50, 51]
    assert told(session["epoch"]) == [1, 1, 1, 1, "4611686018427387905", 2]
    assert [abs(each) < 2**53 for each in session["time"] if isinstance(each, int)] == [True] * 5
    assert "J301" in {finding.id for finding in report.findings}


def put_far_out(path: Path) -> None:
    """Put rows there whose numbers are as large as the database takes them."""
    thief = Thief(path)
    with thief.without_triggers():
        for forged in (
            {"seq": 5 - 2**63},
            {"seq": 50, "epoch": 2**62 + 1, "created_us": 2**63 - 1},
            {"seq": 51, "epoch": 2, "writer_id": 2**32 + 2},
        ):
            thief.insert(thief._row(thief.session_id(), 2) | forged)
    thief.close()


def told(column: list[int | str]) -> list[int | str]:
    """Return the numbers that a column of differences tells, as a page adds them up: in doubles."""
    found: list[int | str] = []
    at = 0.0
    for each in column:
        if not isinstance(each, str):
            at += each
        found.append(each if isinstance(each, str) else int(at))
    return found


@pytest.mark.parametrize("key", ["", "lost"])
def test_a_verdict_that_nobody_stored_is_not_drawn(
    journal_path: Path, tmp_path: Path, key: str
) -> None:
    """Nor a fence: the audit calls them forged. Without the key nothing is proved, and both are shown."""
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.append({"n": 1})
        session.fence().stored()
    thief = Thief(journal_path)
    thief.execute(
        "INSERT INTO verdicts VALUES ('v1', ?, NULL, 2, NULL, 'takeover', 'x', '[', 1, x'00')",
        thief.session_id(),
    )
    thief.execute("UPDATE fences SET seq = 7")
    thief.close()
    _, page = write_page(journal_path, key_file=key and str(tmp_path / key))
    data = data_of(page)
    assert (len(data["verdicts"]), len(data["fences"])) == ((1, 1) if key else (0, 0))


@pytest.mark.parametrize(
    "column, value, key",
    [("body", 5, ""), ("terminator", 2.5, ""), ("created_us", "x", "lost"), ("writer_id", "x", "lost")],
)  # fmt: skip
def test_a_value_that_no_column_takes_ends_no_page(
    journal_path: Path, tmp_path: Path, column: str, value: object, key: str
) -> None:
    """Whoever can write the file can write its schema; the page comes as the report does."""
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        with session.claim() as turn:
            turn.append({"n": 1})
    thief = Thief(journal_path)
    thief.execute("PRAGMA writable_schema = ON")
    thief.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'entries'"
    )
    thief.execute("PRAGMA writable_schema = RESET")
    thief.close()
    thief = Thief(journal_path)
    thief.edit(column, 1, value)
    thief.close()
    report, page = write_page(journal_path, key_file=key and str(tmp_path / key))
    assert report.verdict == "broken"
    assert data_of(page)["sessions"]


@pytest.mark.parametrize("table", ["fences", "verdicts"])
def test_damage_ends_no_page(path: Path, table: str) -> None:
    """The rest is drawn, and a finding tells of what could not be read."""
    thief = Thief(path)
    thief.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    page_no = thief.ask("SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
    thief.close()
    content = bytearray(path.read_bytes())
    content[4096 * (page_no - 1) : 4096 * page_no] = b"\xff" * 4096
    path.write_bytes(content)
    report, page = write_page(path)
    assert "J502" in {finding.id for finding in report.findings}
    data = data_of(page)
    assert data[table] == []
    assert data["sessions"]


def test_one_session_can_be_shown_alone(path: Path) -> None:
    _, page = write_page(path, sessions=[KEY])
    assert [session["key"] for session in data_of(page)["sessions"]] == [KEY]


# -- in a browser -----------------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, path: Path, tmp_path: Path) -> Any:
    return opened(browser, path, tmp_path)


def opened(browser: Any, path: Path, tmp_path: Path, **options: Any) -> Any:
    file = tmp_path / "audit.html"
    file.write_text(write_page(path, bodies=True)[1], "utf-8", "backslashreplace")
    made = browser.new_page(**options)
    made.said = []
    made.on("pageerror", lambda error: made.said.append(str(error)))
    made.on("console", lambda message: made.said.append(message.text))
    made.on("dialog", lambda dialog: (made.said.append(dialog.message), dialog.dismiss()))
    made.goto(file.as_uri())
    made.wait_for_selector("html[data-ready]", state="attached")
    return made


def test_nothing_hostile_runs_and_nothing_fails(page: Any) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.said == []
    assert page.evaluate("document.querySelectorAll('img, svg, b[onmouseover]').length") == 0


def test_a_mark_is_chosen_by_click_and_by_key_and_shows_its_row_and_the_next_command(
    page: Any,
) -> None:
    page.focus("#canvas")
    page.keyboard.press("Home")
    told = page.inner_text("#details")
    assert "seq 1" in told
    assert " show " in told
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#details") != told
    page.select_option("#session", label=KEY)
    page.select_option("#writer", label="gateway (run)")
    page.keyboard.press("Home")
    box = page.locator("#canvas").bounding_box()
    found = set()
    for x in range(150, int(box["width"]), 4):
        page.mouse.click(box["x"] + x, box["y"] + 20)
        found.add(page.inner_text("#details h3"))
    assert any("seq" in each for each in found)
    assert page.said == []


def test_filters_zoom_and_all(page: Any) -> None:
    picture = "document.getElementById('canvas').toDataURL()"
    whole = page.evaluate(picture)
    page.select_option("#session", label=KEY)
    one = page.evaluate(picture)
    page.click("#in")
    near = page.evaluate(picture)
    assert len({whole, one, near}) == 3
    page.click("#all")
    assert page.evaluate(picture) == whole


def test_it_fits_a_phone_and_follows_the_colours_that_are_wanted(
    browser: Any, path: Path, tmp_path: Path
) -> None:
    phone = opened(browser, path, tmp_path, viewport={"width": 360, "height": 740})
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dark = opened(browser, path, tmp_path, color_scheme="dark")
    light = opened(browser, path, tmp_path, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert dark.evaluate(ground) != light.evaluate(ground)
    assert light.pdf().startswith(b"%PDF")


def test_the_numbers_on_the_page_are_the_rows_own(
    browser: Any, journal_path: Path, tmp_path: Path
) -> None:
    """However far out a stray stands, and every row has a lane."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").extend([{"n": 1}, {"n": 2}, {"n": 3}])
    put_far_out(journal_path)
    page = opened(browser, journal_path, tmp_path)
    page.focus("#canvas")
    page.keyboard.press("Home")
    seen = []
    for _ in range(6):
        seen.append(page.inner_text("#details h3").rpartition("seq ")[2])
        page.keyboard.press("ArrowRight")
    assert sorted(map(int, seen)) == [5 - 2**63, 1, 2, 3, 50, 51]
    lanes = page.eval_on_selector_all("#writer option", "all => all.map((one) => one.textContent)")
    assert sorted(lanes[1:]) == ["gateway (run)", f"writer {2**32 + 2} (unknown)"]
    assert page.said == []


def test_each_command_on_the_page_works(page: Any, tmp_path: Path) -> None:
    """For an entry, a takeover, a claim and a fence: as it stands, from anywhere."""
    page.select_option("#session", label=KEY)
    page.select_option("#writer", label="gateway (run)")
    box = page.locator("#canvas").bounding_box()
    found = set()
    for x in range(150, int(box["width"]), 8):
        for y in (8, 20, 41):  # a flag's, a mark's, a claim's
            page.mouse.click(box["x"] + x, box["y"] + y)
            found |= {each.inner_text() for each in page.locator("#details code").all()}
    words = {re.sub(r"journal -d \S+ ", "", each) for each in found}
    verbs = ("show", "why", "claim show", "fence check")
    assert {verb for verb in verbs for each in words if each.startswith(verb)} == {*verbs}
    for each in found:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(each)],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, 3), (each, done.stderr)


def test_a_page_of_a_great_many_claims_and_fences_opens(
    browser: Any, path: Path, tmp_path: Path
) -> None:
    """More than a call takes arguments, and a fence costs no look at every entry."""
    report, content = write_page(path)
    picture = data_of(content)
    picture["claims"] *= 70_000
    picture["fences"] *= 70_000
    file = tmp_path / "large.html"
    file.write_text(rendered(report, picture, bodies=False), "utf-8")
    large = browser.new_page()
    large.goto(file.as_uri())
    large.wait_for_selector("html[data-ready]", state="attached")

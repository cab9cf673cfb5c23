"""The page of an audit: it holds what it says, nothing it should not, and runs nothing that is not ours."""

from __future__ import annotations

import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from journal import Journal, SessionTakeover, Superseded
from journal.report import write_page
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
    assert "journal show" in told
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

"""Measure the page of a journal of 100,000 entries: written in what time, how large, open how fast.

    python bench/page.py [--rounds 5]

It needs Playwright and a Chromium of the system. "Open" is from the call to the load event and a
frame drawn after it, in a new browser context each time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from playwright.sync_api import sync_playwright

from journal import Journal
from journal.report.page import write_page

SESSIONS = 20
EACH = 5_000
ROLES = ("run", "heartbeat", "cron", "channel", "subagent", "tool")
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def make(path: Path) -> None:
    """Write sessions by several writers, with fences and claims among the lines."""
    with Journal(path, durability="normal") as journal:
        for number in range(SESSIONS):
            writers = [journal.session(f"s{number}", writer=f"the {r}", role=r) for r in ROLES]
            for first in range(0, EACH, 50):
                lines = [
                    {"type": "message", "id": f"{number}:{n}"} for n in range(first, first + 50)
                ]
                writers[first // 50 % len(writers)].extend(lines)
            writers[0].fence()
            writers[0].claim().release()


def main() -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium is installed here")
    with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=Path.cwd()) as made:
        path, page = Path(made) / "journal.db", Path(made) / "page.html"
        os.environ["JOURNAL_KEY_FILE"] = str(Path(made) / "journal.key")
        make(path)
        start = perf_counter()
        report, text = write_page(path)
        page.write_text(text, "utf-8")
        took, size = perf_counter() - start, page.stat().st_size
        print(
            f"{report.completeness['entries']:,} entries: audited and written in {took:.1f} s, {size / 1e6:.2f} MB"
        )
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            times = [_open(browser, page) for _ in range(rounds)]
            browser.close()
        print(f"opened in {median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")


def _open(browser: object, page: Path) -> float:
    context = browser.new_context()  # type: ignore[attr-defined]
    tab = context.new_page()
    start = perf_counter()
    tab.goto(page.as_uri(), wait_until="load")
    tab.evaluate(DRAWN)
    took = perf_counter() - start
    context.close()
    return took


if __name__ == "__main__":
    main()

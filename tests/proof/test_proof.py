"""The proof's own parts: they count what they did, and tell what broke."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proof import hostile, page, rings, tampering
from tests.proof.rings import RINGS, Ring, Told
from tests.proof.sharing import shares, slices


def test_a_ring_that_ends_with_an_error_is_wrong_and_stops_no_other(monkeypatch):
    """What it ended with is told in words."""

    def fall(*_: object) -> None:
        raise RuntimeError("it fell over")

    monkeypatch.setitem(RINGS, "histories", Ring("operations", fall))
    told = rings.begun("histories")

    rings.go_on(told, 1, 0)

    assert told.wrong == ["the ring ended with RuntimeError: it fell over"]


def test_forgeries_are_counted_and_told(tmp_path):
    """Twice with one seed is twice the same; each is undone."""
    found = [tampering.one_journal(tmp_path, 3, time.monotonic() + 0.5) for _ in range(2)]

    assert all(each.wrong == [] for each in found)
    assert all(each.edits for each in found)


def test_an_audit_that_sees_nothing_is_found_out(tmp_path, monkeypatch):
    """The ring itself is proved by breaking what it asks."""

    class Blind:
        findings = ()

    monkeypatch.setattr(tampering, "audit", lambda *_, **__: Blind)

    found = tampering.one_journal(tmp_path, 3, time.monotonic() + 0.5)

    assert len(found.wrong) == found.edits + found.removals > 0


def test_a_property_that_does_not_hold_is_told_with_its_input():
    """And its inputs are counted."""

    @given(st.integers())
    def small(number: int) -> None:
        assert number < 1000

    count, (wrong,) = hostile.broken(small, 1)

    assert count > 1
    assert "1000" in wrong


@pytest.mark.parametrize(
    "name", ["lines_keep_their_bytes", "formats_take_anything", "nothing_unsafe_is_shown"]
)
def test_each_check_of_hostile_input_runs(name, monkeypatch):
    """Those that stand nowhere else; the others are tests of their own."""
    monkeypatch.setattr(hostile, "_EXAMPLES", 20)

    count, wrong = hostile.broken(hostile.CHECKS[name], 1)

    assert wrong == []
    assert count >= 20


def test_without_a_compiler_the_crash_points_say_so(monkeypatch, tmp_path):
    """Skipped with a reason, and nothing is counted."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    told = Told("crash points", "points")

    rings.crash_points(told, 1, time.monotonic(), tmp_path)

    assert (told.count, told.skipped) == (0, "it takes Linux and a C compiler")


def test_the_page_has_the_figures():
    """Each ring its line, its seed, and what was not tried."""
    ring: dict[str, Any] = {"wrong": [], "skipped": None, "aim": None, "reached": None}
    told = {
        "version": "1", "seed": 77, "began_us": 0, "took_s": 60.0,
        "machine": {"python": "3", "sqlite": "3", "system": "Linux", "cores": 2, "load": 1.0},
        "rings": [
            {"name": "kill -9", "unit": "kills", "count": 1500, "per_second": 150, "in_two_hours": 9, **ring},
            {"name": "tampering", "unit": "mutations", "count": 5, "per_second": 2.5, "in_two_hours": 18000,
             **ring, "aim": 10, "reached": False},
            {"name": "crash points", "unit": "points", "count": 0, **ring, "skipped": "no compiler"},
        ],
    }  # fmt: skip

    text = page.written(told)

    assert "| kill -9 | 1,500 kills | 150.0 | 0 |  | 9 |" in text
    assert "| tampering | 5 mutations | 2.5 | 0 | 10: no | 18,000 |" in text
    assert "| crash points | nothing: no compiler | | | | |" in text
    assert "seed 77" in text


def test_the_docs_have_the_page():
    """As this version writes it, with the figures of some run."""
    found = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text("utf-8")

    assert found.startswith(page._HEAD)
    assert found.removesuffix(page.by_hand(found)).endswith(page._TAIL)


class TestShares:
    """Who gets how much of the time."""

    def told(self, aim: int | None, count: int, took_s: float) -> Told:
        return Told("a ring", "tries", aim, count, took_s)

    def test_at_first_all_get_the_same(self):
        assert shares([self.told(10, 0, 0), self.told(None, 0, 0)], 8) == [4, 4]

    def test_who_lacks_more_of_its_aim_gets_more(self):
        """By its own rate: the one lacks 90 s of work, the other 30; what has no aim has its part."""
        rings = [self.told(100, 10, 10), self.told(400, 100, 10), self.told(None, 7, 10)]

        assert shares(rings, 100) == pytest.approx([74.25, 24.75, 1])

    def test_who_has_reached_its_aim_gets_nothing_while_another_has_not(self):
        assert shares([self.told(10, 10, 5), self.told(10, 5, 5)], 60) == pytest.approx([0, 60])

    def test_where_all_have_reached_theirs_they_go_on(self):
        assert shares([self.told(10, 10, 5), self.told(5, 5, 5)], 60) == pytest.approx([30, 30])

    def test_a_ring_that_has_not_come_to_one_yet_gets_the_time_to(self):
        assert shares([self.told(10, 0, 5), self.told(10, 5, 5)], 55) == pytest.approx([50, 5])

    def test_a_ring_that_tries_nothing_gets_nothing(self):
        idle = self.told(10, 0, 1)
        idle.skipped = "no compiler"

        assert shares([idle, self.told(10, 5, 5)], 60) == pytest.approx([0, 60])

    def test_a_short_run_is_not_cut_up(self):
        assert list(slices(300)) == [300]
        assert len(list(slices(3000))) == 3

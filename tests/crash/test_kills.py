"""A thousand writers killed with -9 in the middle of append, fence.append and check."""

from __future__ import annotations

import sys

import pytest

from tests.crash.parties import apart

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        not hasattr(sys, "getandroidapilevel") and sys.platform == "win32", reason="forks"
    ),
]
KILLS = 100


@pytest.mark.parametrize(
    "company",
    [pytest.param(False, id="alone", marks=pytest.mark.slow), pytest.param(True, id="in company")],
)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 4))]
)
def test_kill_9_loses_nothing_acknowledged_and_accuses_nobody(tmp_path, seed, company):
    """No acknowledged entry is lost or doubled, no honest fence is refused, the audit stays clean."""
    told = apart(
        "tests.crash.kills:run", home=str(tmp_path), seed=seed, kills=KILLS, company=company
    )
    assert told["wrong"] == []
    assert told["kills"] == KILLS
    # Most were killed at work, not before they began.
    assert told["opened"] > KILLS // 2
    assert told["acks"] > KILLS
    assert told["checks"] >= 2 * KILLS

"""Every call that changes a file fails, or is its process's last: nothing acknowledged is lost."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests.crash.acts import ACTS
from tests.crash.pairs import MODES
from tests.crash.points import sampled
from tests.crash.sampling import built

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="the shim is for Linux's loader"
    ),
    pytest.mark.skipif(
        not (shutil.which("cc") or shutil.which("gcc")),
        reason="there is no C compiler to build the shim with",
    ),
]
SAMPLE_S = 5


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return built(tmp_path_factory.mktemp("shim"))


def test_a_sample_of_all_points(shim):
    """As many as there is time for; ``python -m tests.proof`` takes others each time."""
    told = sampled(shim, seed=1, seconds=SAMPLE_S)

    assert told["wrong"] == [], told["seed"]
    assert set(told["calls"]) == set(ACTS)
    assert all(count > 10 for count in told["calls"].values()), told["calls"]
    assert told["tried"] >= 30
    # Threads that commit together make no fixed number of calls; all else comes to what it should.
    assert told["missed"] <= told["tried"] / 10


@pytest.mark.slow
@pytest.mark.parametrize("act", ACTS)
def test_every_point_of_an_act(shim, act):
    """At each call, in each way: whole or not there, there if acknowledged, and nobody accused."""
    told = sampled(shim, seed=1, seconds=None, acts=[act])

    assert told["wrong"] == []
    assert told["tried"] == told["points"]
    assert set(told["by_act"][act]) == set(MODES)

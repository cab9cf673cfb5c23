"""Killed at each write, sync and truncation of an append, and of the close that follows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.parties import apart

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="the shim is for Linux's loader"
    ),
    pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to build the shim with"),
]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    built = tmp_path_factory.mktemp("shim") / "points.so"
    source = Path(__file__).with_name("points.c")
    command = [COMPILER, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", built, source, "-ldl"]
    subprocess.run(command, check=True)
    return built


@pytest.mark.parametrize("act", ["first append", "append", "batch", "fence.append"])
def test_killed_at_every_call_a_write_is_whole_or_not_there(tmp_path, shim, act):
    """At every point the line is there whole or not at all, and there if it was acknowledged."""
    told = apart("tests.crash.points:run", preload=shim, home=str(tmp_path), act=act)
    assert told["wrong"] == []
    assert told["points"] > 10
    # Some were killed before the commit and some after it: both sides were seen.
    assert set(told["outcomes"]) == {"0 there", "1 there"}

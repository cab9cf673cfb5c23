"""What clocks say decides nothing on a server either: the same tests, word for word."""

from __future__ import annotations

from tests.history.test_clocks import *  # noqa: F403 - every test

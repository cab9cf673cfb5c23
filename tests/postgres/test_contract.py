"""The suite of promises, word for word, on a server."""

from __future__ import annotations

from tests.contract.test_promises import *  # noqa: F403 - every test, and the fixtures they need

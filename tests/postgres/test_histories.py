"""A short history on a server of its own; `python -m tests.postgres.histories` plays long ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.crash.parties import apart

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.server import Server

OPS: Final = int(os.environ.get("JOURNAL_HISTORY_OPS", "400"))


@pytest.mark.crash
def test_a_history_on_a_server_that_is_killed_is_linear(server: Server, tmp_path: Path) -> None:
    """Turns of eight processes with wrong clocks, stopped and killed; the server killed as well."""
    told = apart(
        "tests.postgres.histories:run",
        home=str(tmp_path),
        seed=2,
        ops=OPS,
        skewed=True,
        timeout_s=240 + OPS,
    )

    print(told)  # noqa: T201 - the figures, for whoever runs it with -s
    assert told["wrong"] == []
    assert told["ops"] >= OPS
    assert told["supersessions"] > OPS / 100
    assert told["refused"] > OPS / 100
    assert told["restarts"]

"""Histories on a server: claims, supersessions, stops and kills, and the server itself killed and started again.

    python -m tests.postgres.histories [OPS] [SEED]      ten thousand, if nothing is said

The parties and the judge are those of tests/history/test_turns.py; their clocks are wrong. It prints its seed and a
result in JSON, and ends with 0 if nothing is wrong.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from typing import Any

from tests.crash.parties import apart
from tests.history import test_turns
from tests.postgres.cluster import Node


def run(
    home: str, seed: int, ops: int, *, seconds: float | None = None, skewed: bool = True
) -> dict[str, Any]:
    """Let the parties at a server of its own until so many operations were answered, or for so long."""
    server, began = Node(), time.monotonic()
    try:
        told = test_turns.run(home, seed, ops, server, seconds=seconds, skewed=skewed)
    finally:
        server.remove()
    return told | {"took_s": round(time.monotonic() - began, 1)}


def main() -> int:
    """Do it, print what came of it, and say by the exit code whether it is right."""
    ops = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(10**6)
    print(f"seed {seed}", flush=True)  # noqa: T201 - it makes this run again
    with tempfile.TemporaryDirectory() as home:
        told = apart(
            "tests.postgres.histories:run", home=home, seed=seed, ops=ops, timeout_s=300 + ops / 5
        )
    print(json.dumps({"seed": seed, **told}, indent=1))  # noqa: T201 - the figures
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

"""Try to break what the journal promises, in every way there is a ring for, and write down what came of it.

    python -m tests.proof --minutes N [--seed S] [--out FILE] [--page FILE]

Each ring gets the same share of the time. The seed makes the same choices again. It ends
with 0 if nothing broke, and with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from journal import __version__
from journal.engine import driver, sqlite_version
from tests.crash.parties import ROOT
from tests.proof import page, rings

SCHEMA: Final = "journal.proof/1"


def prove(minutes: float, seed: int, names: list[str]) -> dict[str, Any]:
    """Run the rings in turns; return the whole result."""
    began, each_s = time.time(), minutes * 60 / len(names)
    found = []
    for name in names:
        told = rings.run(name, seed, each_s)
        found.append(told)
        words = told.skipped or f"{told.count} {told.unit} in {told.took_s:.0f} s"
        print(f"{name}: {words}, {len(told.wrong)} wrong", flush=True)  # noqa: T201 - for who waits
    return {
        "schema": SCHEMA,
        "version": __version__,
        "seed": seed,
        "minutes": minutes,
        "began_us": int(began * 1e6),
        "took_s": round(time.time() - began, 1),
        "machine": machine(),
        "rings": [asdict(told) for told in found],
        "wrong": sum(len(told.wrong) for told in found),
    }


def machine() -> dict[str, Any]:
    """Return what it ran on."""
    return {
        "python": platform.python_version(),
        "sqlite": f"{sqlite_version()} ({driver().__name__.partition('.')[0]})",
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all rings together")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--out", type=Path, default=Path("proof.json"), help="the result, in JSON")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md")
    parser.add_argument("--ring", action="append", choices=list(rings.RINGS), help="only this one")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)  # noqa: T201 - it makes this run again
    told = prove(given.minutes, given.seed, given.ring or list(rings.RINGS))
    given.out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    before = given.page.read_text("utf-8") if given.page.exists() else ""
    given.page.write_text(page.written(told) + page.by_hand(before), "utf-8")
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

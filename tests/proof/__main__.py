"""Try to break what the journal promises, in every way there is a ring for, and write down what came of it.

    python -m tests.proof --minutes N [--seed S] [--out FILE] [--page FILE]

In a short run each ring gets the same share of the time. In one of more than ten minutes that is the
first twentieth of it; the rest is shared so that what a ring still lacks of its aim is reached by all at
once, each by the rate that it had. The seed makes the same choices again. It ends with 0 if nothing
broke, and with 1 otherwise.
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
from typing import TYPE_CHECKING, Any, Final

from journal import __version__
from journal.engine import driver, sqlite_version
from tests.crash.parties import ROOT
from tests.proof import page, rings
from tests.proof.sharing import shares, slices

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = "journal.proof/1"


_NEXT_SEEDS: Final = 1_000_003
_TWO_HOURS_S: Final = 7200


def prove(minutes: float, seed: int, names: list[str]) -> Iterator[dict[str, Any]]:
    """Run the rings in turns; yield the result as far as it has come after each, the whole one last."""
    began = time.time()
    all_told = [rings.begun(name) for name in names]
    for number, slice_s in enumerate(slices(minutes * 60)):
        for told, seconds in zip(all_told, shares(all_told, slice_s), strict=True):
            if seconds:
                rings.go_on(told, seed + number * _NEXT_SEEDS, seconds)
                _say(told)
                yield _so_far(began, minutes, seed, all_told)


def _so_far(began: float, minutes: float, seed: int, all_told: list[rings.Told]) -> dict[str, Any]:
    took_s = time.time() - began
    return {
        "schema": SCHEMA,
        "version": __version__,
        "seed": seed,
        "minutes": minutes,
        "began_us": int(began * 1e6),
        "took_s": round(took_s, 1),
        "machine": machine(),
        "rings": [_result(told, took_s) for told in all_told],
        "wrong": sum(len(told.wrong) for told in all_told),
    }


def _say(told: rings.Told) -> None:
    words = told.skipped or f"{told.count:,} {told.unit} in {told.took_s:.0f} s"
    print(f"{told.name}: {words}, {len(told.wrong)} wrong", *told.wrong, sep="\n  ", flush=True)  # noqa: T201 - for who waits


def _result(told: rings.Told, took_s: float) -> dict[str, Any]:
    """Return what a ring did, with how it did it, and what it would do in a run of two hours like this one."""
    return asdict(told) | {
        "per_second": round(told.count / told.took_s, 1) if told.took_s else 0.0,
        "in_two_hours": int(told.count * _TWO_HOURS_S / took_s) if took_s else 0,
        "reached": None if told.aim is None else told.count >= told.aim,
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
    told: dict[str, Any] = {}
    for told in prove(given.minutes, given.seed, given.ring or list(rings.RINGS)):
        # Each time: a run of hours that is ended leaves what it has found.
        given.out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    before = given.page.read_text("utf-8") if given.page.exists() else ""
    given.page.write_text(page.written(told) + page.by_hand(before), "utf-8")
    return 1 if told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

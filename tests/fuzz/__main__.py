"""Look for bytes that break a promise, led by which branches they reach (libFuzzer, by way of atheris).

    python -m tests.fuzz TARGET|all [--minutes N] [--seed S]

``all`` gives each target its share of the time. What is found is written to the target's
directory in tests/fuzz/corpus, where ``tests/fuzz/test_corpus.py`` meets it from then on. The
inputs that reach something new stay in --kept, out of the checkout. Needs ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

CORPUS: Final = Path(__file__).with_name("corpus")
_MOST_BYTES: Final = 4096
_RUNS: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERED: Final = re.compile(r"cov: (\d+) ft: (\d+)")


def fuzz(name: str, options: list[str]) -> None:
    """Be the process that fuzzes one target; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["journal"]):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def run(name: str, minutes: float, seed: int, kept: Path) -> dict[str, Any]:
    """Fuzz one target in a process of its own; return what came of it."""
    seeds, grown = CORPUS / name, kept / name
    for each in (seeds, grown):
        each.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={max(1, int(minutes * 60))}", f"-seed={seed}", f"-max_len={_MOST_BYTES}",
        f"-artifact_prefix={seeds}/found-", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2048",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--be", name, *options, str(grown), str(seeds)],
        capture_output=True, text=True, check=False, errors="replace",
    )  # fmt: skip
    told = done.stdout + done.stderr
    runs, reached = _RUNS.search(told), _COVERED.findall(told)
    return {
        "target": name,
        "runs": int(runs[1]) if runs else 0,
        "branches": int(reached[-1][0]) if reached else 0,
        "wrong": "" if done.returncode == 0 else told[-3000:],
    }


def main() -> int:
    """Run what the command line says."""
    if sys.argv[1:2] == ["--be"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 0
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="+", choices=[*TARGETS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0, help="for all of them together")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6) + 1)
    parser.add_argument("--kept", type=Path, help="where inputs are kept from run to run")
    given = parser.parse_args()
    names = list(TARGETS) if "all" in given.target else given.target
    with tempfile.TemporaryDirectory() as home:
        found = [
            run(name, given.minutes / len(names), given.seed, given.kept or Path(home))
            for name in names
        ]
    print(json.dumps({"seed": given.seed, "minutes": given.minutes, "targets": found}, indent=1))  # noqa: T201
    return 1 if any(each["wrong"] for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())

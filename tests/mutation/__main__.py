"""Change the code in small ways, one at a time, and see whether a test notices.

    python -m tests.mutation [MODULE ...] [--minutes M] [--seed S] [--jobs N] [--out FILE]

MODULE is a path, ``journal/seal.py``, or a group: fence, seal, store, reconcile, audit; all of
them if none is named. What the tests reach is measured first, which takes longer than the tests
do; it is kept in the file that --reach names, and only tests that changed are measured again.
Mutants are tried in a random order, which the seed gives again, as long as the time lasts.
Survivors are listed, and so is what no test reaches. Needs ``pip install coverage``.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest

from tests.mutation import reach
from tests.mutation.reach import ROOT
from tests.mutation.session import LEFT_OUT, Session, Wish, in_words, score
from tests.mutation.trying import BUDGET_S

GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "seal": ("journal/fields.py", "journal/seal.py"),
    "fence": (
        "journal/fence.py",
        "journal/fencerow.py",
        "journal/telling.py",
        "journal/marks.py",
        "journal/verdict.py",
        "journal/policy.py",
        "journal/inspection.py",
    ),
    "reconcile": ("journal/reconcile.py", "journal/comparison.py", "journal/layout.py"),
    "store": (
        "journal/store.py",
        "journal/folding.py",
        "journal/ledger.py",
        "journal/writing.py",
        "journal/appending.py",
        "journal/admission.py",
        "journal/group.py",
        "journal/rides.py",
        "journal/chain.py",
        "journal/openend.py",
        "journal/pages.py",
        "journal/transaction.py",
        "journal/turn.py",
        "journal/ticket.py",
        "journal/deputy.py",
        "journal/durability.py",
    ),
    "audit": tuple(
        sorted(
            str(path.relative_to(ROOT))
            for path in (ROOT / "journal/audit").glob("*.py")
            if path.name
            != "catalog.py"  # it only names the checks, and a test holds it to the docs
        )
    ),
}
ALL: Final = tuple(module for group in GROUPS.values() for module in group)


def say(words: str) -> None:
    """Tell who waits."""
    print(words, flush=True)  # noqa: T201 - the command's output


def run(wish: Wish, tests: list[str]) -> Session:
    """Run one session of pytest for all mutants."""
    session = Session(wish, say)
    options = ["-q", "-p", "no:cacheprovider", "--capture=sys", "--no-header", "--no-summary"]
    if wish.is_whole:
        options += ["-m", "not slow and not packaging"]
    else:
        options += ["-m", "not crash and not slow and not packaging"]
        options += [f"--ignore={ROOT / 'tests' / name}" for name in LEFT_OUT]
    pytest.main([*options, *tests], [session])
    return session


def result(session: Session) -> dict[str, Any]:
    """Return the whole result, as plain values."""
    by_module: defaultdict[str, list[Any]] = defaultdict(list)
    for case in session.cases:
        by_module[case.module].append(case)
    missing = reach.missing(session.reach)
    return {
        "schema": "journal.mutation/1",
        "seed": session.wish.seed,
        "minutes": session.wish.minutes,
        "all": score(session.cases),
        "modules": {name: score(cases) for name, cases in sorted(by_module.items())},
        "reached": {name: missing[name] for name in session.wish.modules},
        "unnoticed": [
            {
                "module": case.module, "line": case.mutant.line, "scope": case.mutant.scope,
                "before": case.mutant.before, "after": case.mutant.after, "outcome": case.outcome,
                "tests_run": len(case.tests), "tests_reaching": case.reaching,
            }
            for case in sorted(session.cases, key=lambda each: (each.module, each.mutant.line))
            if case.outcome in {"survived", "unreached"}
        ],
    }  # fmt: skip


def tell(told: dict[str, Any], session: Session) -> None:
    """Print the result."""
    for case in sorted(session.cases, key=lambda each: (each.module, each.mutant.line)):
        if case.outcome in {"survived", "unreached"}:
            say(f"{case.outcome}: {in_words(case)} ({len(case.tests)} of {case.reaching} tests)")
    for name, each in told["reached"].items():
        if each["lines_missing"] or each["branches_missing"]:
            say(f"unreached: {name}: {each['lines_missing']} {each['branches_missing']}")
    for name, each in [*told["modules"].items(), ("all", told["all"])]:
        say(f"{name}: {each['noticed']} of {each['tried']} noticed, {each['mutants']} there are")


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("module", nargs="*", help="a path, or fence, seal, store, reconcile, audit")
    parser.add_argument("--minutes", type=float, default=5.0, help="0 measures only")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("mutation.json"))
    parser.add_argument("--reach", type=Path, default=Path("mutation-reach.json"))
    parser.add_argument("--again", type=Path, help="try only what this result says went unnoticed")
    parser.add_argument("--tests", action="append", help="only these tests")
    parser.add_argument(
        "--whole", action="store_true", help="try each in a copy of the tree, with all of --tests"
    )
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds of tests for each")
    given = parser.parse_args()
    modules = [path for name in given.module or GROUPS for path in GROUPS.get(name, (name,))]
    say(f"seed {given.seed}")
    again = None
    if given.again:
        earlier = json.loads(given.again.read_text("utf-8"))["unnoticed"]
        again = {(e["module"], e["scope"], e["before"], e["after"]) for e in earlier}
    kept = given.reach.absolute()
    wish = Wish(
        modules, ALL, given.minutes, given.seed, given.jobs, kept, again, given.budget, given.whole
    )
    session = run(wish, given.tests or ["tests"])
    told = result(session)
    given.out.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    tell(told, session)
    return 0


if __name__ == "__main__":
    sys.exit(main())

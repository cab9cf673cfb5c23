"""One pytest session in which tests are collected once, and then run as often as there are mutants."""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.mutation import equivalents, reach
from tests.mutation.operators import Mutant, mutants
from tests.mutation.reach import ROOT, Meter, Reach
from tests.mutation.trying import BUDGET_S, PATIENCE_S, Case, Trials, by_fork
from tests.mutation.whole import in_a_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# Tests that start processes do not see a mutant; those that take long are for another day.
LEFT_OUT: Final = ("crash", "packaging", "postgres", "interop", "report", "mutation", "two_writers")
_SHARE: Final = 25
_AROUND: Final = 40


class Quick:
    """Has hypothesis draw the same each time, and not look for the smallest example."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Set it once the project's own profile is loaded, before a test is imported."""
        from hypothesis import HealthCheck, Phase, settings  # pytest wants to import it first

        settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            max_examples=50,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutation")


@dataclass
class Wish:
    """What a run is to do.

    Attributes:
        modules: the modules to change, by their paths.
        measured: the modules whose reach is measured: these, and others for later runs.
        minutes: how long mutants are tried.
        seed: which of them are tried, and in which order.
        jobs: how many at a time.
        kept: where what the tests reach is kept.
        again: only these mutants, by module, scope, before and after; None for all.
        budget_s: how long a mutant's tests may take together; the rest are left out.
        is_whole: whether each is tried in a copy of the tree, with all of the tests.

    """

    modules: Sequence[str]
    measured: Sequence[str]
    minutes: float
    seed: int
    jobs: int
    kept: Path
    again: set[tuple[str, str, str, str]] | None = None
    budget_s: float = BUDGET_S
    is_whole: bool = False


@dataclass
class Session(Quick):
    """The plugin that takes the place of pytest's loop over the tests."""

    wish: Wish
    tell: Callable[[str], None]
    cases: list[Case] = field(default_factory=list)
    reach: Reach = field(default_factory=Reach)

    def __post_init__(self) -> None:
        """See what is run while the tests are imported: a module's own lines."""
        self._imports = Meter(self.wish.measured)
        self._imports.start()

    def pytest_collection_finish(self) -> None:
        """Stop watching."""
        self._imports.stop("")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure, then try."""
        items = {item.nodeid: item for item in session.items}
        where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - quick, and nothing is kept
        scratch = Path(tempfile.mkdtemp(prefix="mutation-", dir=where))
        try:
            self._measure(items, scratch)
            self._try(items, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return True

    # -- what the tests reach -----------------------------------------------------------

    def _measure(self, items: dict[str, pytest.Item], scratch: Path) -> None:
        wish = self.wish
        self.reach = reach.load(wish.kept, wish.measured)
        self.reach.add(self._imports.reach)
        new = [item for name, item in items.items() if name not in self.reach.tests]
        self.tell(f"{len(items)} tests, {len(new)} of them to be measured")
        # A child's share is small, so that what one leaves behind does not slow down all.
        shares = [new[at : at + _SHARE] for at in range(0, len(new), _SHARE)]
        for number, found in enumerate(_in_children(shares, wish.jobs, wish.measured, scratch)):
            self.reach.add(found)
            if number % 10 == 9:
                self.tell(f"{number + 1} of {len(shares)} shares measured")
                reach.save(wish.kept, self.reach)
        reach.save(wish.kept, self.reach)
        known = {name for name in self.reach.tests if name in items}
        self.reach.tests = {name: self.reach.tests[name] for name in known}
        for name in sorted(items.keys() - known):
            self.tell(f"left out, for it fails with nothing changed: {name}")

    # -- what they notice ---------------------------------------------------------------

    def _try(self, items: dict[str, pytest.Item], scratch: Path) -> None:
        found = [pair for module in self.wish.modules for pair in self._cases_of(module)]
        random.Random(self.wish.seed).shuffle(found)  # noqa: S311 - a choice that can be made again
        self.cases = [case for case, _ in found]
        killers: Counter[tuple[str, str]] = Counter()

        def told(case: Case) -> None:
            killers[case.module, case.by] += case.outcome == "killed"
            if case.outcome != "killed":
                self.tell(f"{case.outcome}: {in_words(case)}")

        for case in self.cases:
            if not case.tests:
                case.outcome = "unreached"
        tried = [(case, tree) for case, tree in found if case.tests]
        until = time.monotonic() + self.wish.minutes * 60

        def choose(case: Case) -> None:
            """Take first the tests that noticed most in this module so far, as many as there is time for."""
            tests = sorted(case.tests, key=lambda name: -killers[case.module, name])
            case.tests = _within(tests, self.reach, self.wish.budget_s)
            longest = max(self.reach.tests[name].seconds for name in case.tests)
            case.patience_s += 8 * longest

        child = in_a_copy if self.wish.is_whole else by_fork(items)
        Trials(child, self.wish.jobs, scratch, choose).run(tried, until, told)

    def _cases_of(self, module: str) -> Iterator[tuple[Case, ast.Module]]:
        tree = ast.parse((ROOT / module).read_text("utf-8"))
        same = equivalents.of_module(module)
        for mutant in mutants(tree):
            if mutant.name in same:
                continue
            if self.wish.again is None or (module, *mutant.name) in self.wish.again:
                yield self._case(module, mutant), tree

    def _case(self, module: str, mutant: Mutant) -> Case:
        reaching = self._reaching(module, mutant)
        tests = self._closest_first(module, reaching)
        starts_anew = self.wish.is_whole or not mutant.scope
        return Case(module, mutant, tests, len(reaching), PATIENCE_S + 30 * starts_anew)

    def _reaching(self, module: str, mutant: Mutant) -> list[str]:
        if self.wish.is_whole:  # what other processes reach was not measured
            tests = self.reach.tests
            return sorted(tests, key=lambda name: tests[name].seconds)
        if mutant.scope:
            return self.reach.of_lines(module, mutant.line, mutant.last)
        return self.reach.of_module(module)

    def _closest_first(self, module: str, tests: list[str]) -> list[str]:
        """Put first the tests that are about a module, by their names, and those that reach little."""
        word = Path(module).stem
        return sorted(tests, key=lambda name: word not in name)


def _within(tests: Iterable[str], known: Reach, budget_s: float) -> list[str]:
    """Return as many of the tests as the budget allows."""
    spent, found = 0.0, list[str]()
    for name in tests:
        spent += known.tests[name].seconds
        if spent > budget_s and found:
            break
        found.append(name)
    return found


def _in_children(
    shares: Sequence[list[pytest.Item]], jobs: int, modules: Sequence[str], scratch: Path
) -> Iterator[Reach]:
    """Measure each share in a child of its own; yield what each found."""
    waiting = list(enumerate(shares))
    running: dict[int, Path] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            number, share = waiting.pop(0)
            home = scratch / f"measured-{number}"
            home.mkdir()
            pid = os.fork()
            if pid == 0:
                _measure_here(share, modules, home)
            running[pid] = home
        pid, _ = os.wait()
        if pid in running:
            home = running.pop(pid)
            told = home / "told"
            found = json.loads(told.read_text("utf-8")) if told.exists() else "it was killed"
            if isinstance(found, str):
                raise RuntimeError(f"what some tests reach could not be measured: {found}")
            yield reach.from_json(found)
            shutil.rmtree(home, ignore_errors=True)


def _measure_here(share: list[pytest.Item], modules: Sequence[str], home: Path) -> None:
    """Be the child: run the tests, and write what they reach, or why not; it never returns."""
    told: Any = "it ended by itself"
    try:
        config = share[0].config
        vars(config)["_tmp_path_factory"]._basetemp = home / "t"
        (home / "t").mkdir()
        meter, failing = Meter(modules), _Failing()
        config.pluginmanager.register(failing, "mutation-failing")
        for item, following in zip(share, [*share[1:], None], strict=True):
            meter.start()
            try:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            finally:
                meter.stop(item.nodeid)
            if item.nodeid in failing.names:
                del meter.reach.tests[item.nodeid]  # it would notice every change, and none
        told = reach.to_json(meter.reach)
    except BaseException as error:  # noqa: BLE001 - a child of a fork may not go on as its parent
        told = repr(error)
    finally:
        (home / "told").write_text(json.dumps(told), "utf-8")
        os._exit(0)


class _Failing:
    """Notes which tests fail."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at each report."""
        if report.failed:
            self.names.add(report.nodeid)


def in_words(case: Case) -> str:
    """Return a mutant on one line; of long statements what is near the change."""
    mutant = case.mutant
    before, after = _near(mutant.before, mutant.after), _near(mutant.after, mutant.before)
    return f"{case.module}:{mutant.line} {mutant.scope}: {before} -> {after}"


def _near(text: str, other: str) -> str:
    """Return the part of a text that another has not, with what stands around it."""
    begins = _common(text, other)
    ends = len(text) - _common(text[::-1], other[::-1])
    start, end = max(0, begins - _AROUND), min(len(text), max(begins, ends) + _AROUND)
    return f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}".replace("\n", " ")


def score(cases: Iterable[Case]) -> dict[str, Any]:
    """Return how many were tried, and which share of them was noticed."""
    tried = [case for case in cases if case.outcome]
    noticed = [case for case in tried if case.outcome in {"killed", "hung"}]
    return {
        "mutants": len(list(cases)),
        "tried": len(tried),
        "noticed": len(noticed),
        "score": round(len(noticed) / len(tried), 4) if tried else None,
    }


def _common(text: str, other: str) -> int:
    """Return how far two texts begin the same."""
    return next(
        (at for at, (a, b) in enumerate(zip(text, other, strict=False)) if a != b),
        min(len(text), len(other)),
    )

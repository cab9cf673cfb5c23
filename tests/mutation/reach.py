"""Which tests reach which lines, and which branches all of them take: measured once, kept in a file.

A test whose file is as it was is not run again, unless it reaches a module that has changed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coverage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coverage.data import CoverageData

ROOT = Path(__file__).resolve().parents[2]

Arcs = dict[str, set[tuple[int, int]]]


@dataclass
class Reached:
    """What one test reaches: its seconds, and the lines of each module, as the bits of a number."""

    seconds: float
    file: str
    lines: dict[str, int] = field(default_factory=dict)


@dataclass
class Reach:
    """What the tests reach.

    Attributes:
        modules: the digest of each module that was looked at, by its path.
        tests: what each test reached.
        arcs: from which line to which all of them went, by module.

    """

    modules: dict[str, str] = field(default_factory=dict)
    tests: dict[str, Reached] = field(default_factory=dict)
    arcs: Arcs = field(default_factory=dict)

    def of_lines(self, module: str, first: int, last: int) -> list[str]:
        """Return the tests that reach any of these lines of a module, quickest first."""
        bits = (1 << last + 1) - (1 << first)
        found = [name for name, each in self.tests.items() if each.lines.get(module, 0) & bits]
        return sorted(found, key=lambda name: self.tests[name].seconds)

    def of_module(self, module: str) -> list[str]:
        """Return the tests that reach any line of a module, quickest first."""
        found = [name for name, each in self.tests.items() if each.lines.get(module)]
        return sorted(found, key=lambda name: self.tests[name].seconds)

    def add(self, other: Reach) -> None:
        """Take in what another process measured."""
        self.tests |= other.tests
        for module, arcs in other.arcs.items():
            self.arcs.setdefault(module, set()).update(arcs)

    def forget_all_but(self, current: Mapping[str, str]) -> None:
        """Drop what was measured of modules that are others now, and of tests whose file is."""
        others = {name for name, digest in self.modules.items() if current.get(name) != digest}
        self.arcs = {name: arcs for name, arcs in self.arcs.items() if name not in others}
        self.tests = {
            name: each
            for name, each in self.tests.items()
            if others.isdisjoint(each.lines)
            and digest_of(ROOT / name.partition("::")[0]) == each.file
        }


def digest_of(path: Path) -> str:
    """Return what tells one state of a file from another."""
    return sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else ""


def load(path: Path, modules: Iterable[str]) -> Reach:
    """Return what was measured before and still counts."""
    now = {name: digest_of(ROOT / name) for name in modules}
    if not path.exists():
        return Reach(now)
    told = json.loads(path.read_text("utf-8"))
    kept = from_json(told)
    if not set(now) <= set(kept.modules):
        return Reach(now)
    kept.forget_all_but(now)
    kept.modules = now
    return kept


def save(path: Path, reach: Reach) -> None:
    """Keep what was measured."""
    path.write_text(json.dumps(to_json(reach)), "utf-8")


def to_json(reach: Reach) -> dict[str, Any]:
    """Return what was measured, as plain values."""
    tests = {
        name: [each.seconds, each.file, {module: hex(bits) for module, bits in each.lines.items()}]
        for name, each in reach.tests.items()
    }
    arcs = {module: sorted(pairs) for module, pairs in reach.arcs.items()}
    return {"modules": reach.modules, "tests": tests, "arcs": arcs}


def from_json(told: Mapping[str, Any]) -> Reach:
    """Return what ``to_json`` made plain."""
    tests = {
        name: Reached(seconds, file, {module: int(bits, 16) for module, bits in lines.items()})
        for name, (seconds, file, lines) in told["tests"].items()
    }
    arcs = {module: {(a, b) for a, b in pairs} for module, pairs in told["arcs"].items()}
    return Reach(dict(told["modules"]), tests, arcs)


class Meter:
    """Measures one test at a time."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._modules = {str(ROOT / name): name for name in modules}
        self._coverage = coverage.Coverage(
            data_file=None, branch=True, include=list(self._modules), config_file=False
        )
        # A test that reaches none of them is no cause for a warning.
        self._coverage.set_option("run:disable_warnings", ["no-data-collected"])
        self.reach = Reach(dict.fromkeys(modules, ""))
        self._began = 0.0

    def start(self) -> None:
        """Begin."""
        self._coverage.erase()
        self._began = time.monotonic()
        self._coverage.start()

    def stop(self, test: str) -> None:
        """End, and note what was reached under a test's name, or under none."""
        self._coverage.stop()
        took = time.monotonic() - self._began
        data = self._coverage.get_data()
        reached = Reached(round(took, 4), digest_of(ROOT / test.partition("::")[0]) if test else "")
        for path in data.measured_files():
            module = self._modules[path]
            reached.lines[module] = sum(1 << line for line in data.lines(path) or ())
            self.reach.arcs.setdefault(module, set()).update(data.arcs(path) or ())
        if test:
            self.reach.tests[test] = reached


def missing(reach: Reach) -> dict[str, dict[str, Any]]:
    """Return for each module what share of its lines and branches is reached, and which are not."""
    measured = coverage.Coverage(data_file=None, branch=True, config_file=False)
    data: CoverageData = measured.get_data()
    data.add_arcs({str(ROOT / name): pairs for name, pairs in reach.arcs.items()})
    found = {}
    for name in reach.modules:
        analysis = measured._analyze(str(ROOT / name))
        numbers = analysis.numbers
        found[name] = {
            "lines": numbers.n_statements,
            "lines_missing": sorted(analysis.missing),
            "branches": numbers.n_branches,
            "branches_missing": sorted(
                [start, end]
                for start, ends in analysis.missing_branch_arcs().items()
                for end in ends
            ),
        }
    return found

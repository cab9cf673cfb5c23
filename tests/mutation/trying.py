"""Try mutants: each in a child of its own, against the tests that reach it, up to the first that fails.

The tests are collected once. A child is forked for each mutant, gets the changed function's code in
place of the true one, and runs its tests in the usual way. What stands outside of functions is run
when a module is imported, so a mutant of that starts Python anew (``tests/mutation/apart.py``).
Where the processes that tests start are to see the change too, a copy of the whole tree has it
(``tests/mutation/whole.py``).
"""

from __future__ import annotations

import ast
import contextlib
import marshal
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from tests.mutation.reach import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import CodeType

    import pytest

    from tests.mutation.operators import Mutant

    # What a child is to do, and never return from: with a case, its module's tree, where to
    # write the names of its tests, and a directory of its own.
    Child = Callable[["Case", ast.Module, Path, Path], None]

# A mutant's tests may take this long together, by what they took before; the rest are left out.
BUDGET_S: Final = 90.0
# It hangs if no test ends in so long, and in eight times what the longest took before.
PATIENCE_S: Final = 15.0
_PASSED: Final = "passed"
_APART_MOST: Final = 80


@dataclass
class Case:
    """A mutant with the tests to try it with.

    Attributes:
        module: the module's path from the top.
        mutant: the change.
        tests: the names of the tests that reach it; once it is tried, those to run, in order.
        reaching: how many reach it; more than are run, where all would take too long.
        patience_s: how long one test may take.
        outcome: "killed", "survived", "hung" or "unreached"; "" while it is not tried.
        by: the test that failed.

    """

    module: str
    mutant: Mutant
    tests: list[str]
    reaching: int
    patience_s: float = PATIENCE_S
    outcome: str = ""
    by: str = ""
    took_s: float = 0.0


@dataclass
class _Child:
    pid: int
    case: Case
    notes: Path
    home: Path
    began: float = field(default_factory=time.monotonic)


def dotted(module: str) -> str:
    """Return a module's name as it is imported."""
    return module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def changed_code(module: str, tree: ast.Module, mutant: Mutant) -> CodeType:
    """Return the whole module's code with the change in it."""
    take_back = mutant.make()
    try:
        return compile(ast.fix_missing_locations(tree), str(ROOT / module), "exec")
    finally:
        take_back()


def put_in_place(module: str, tree: ast.Module, mutant: Mutant) -> bool:
    """Give the living function its changed code; False where that is not possible."""
    if not mutant.scope:
        return False
    code = changed_code(module, tree, mutant)
    target = _function(import_module(dotted(module)), mutant)
    if target is None:
        return False
    for each in _codes(code):
        if each.co_qualname == mutant.scope and each.co_firstlineno == mutant.first:
            try:
                target.__code__ = each
            except ValueError:  # it closes over other names now
                return False
            return True
    return False


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if hasattr(each, "co_consts"):
            yield each
            yield from _codes(each)


def _function(module: Any, mutant: Mutant) -> Any:
    held: Any = module
    *classes, name = mutant.scope.split(".")
    for each in classes:
        held = getattr(held, each)
    for found in _unwrapped(vars(held).get(name)):
        if getattr(found, "__code__", None) and found.__code__.co_firstlineno == mutant.first:
            return found
    return None


def _unwrapped(found: Any) -> Iterator[Any]:
    """Yield what is inside of a property, a static method, a cache."""
    while found is not None:
        yield found
        inner = [getattr(found, name, None) for name in ("fget", "func", "__func__", "__wrapped__")]
        found = next((each for each in inner if each is not None), None)


class Trials:
    """Runs cases in children, some at a time.

    Args:
        child: what each child does.
        jobs: how many at a time.
        scratch: a directory for what the tests write.
        choose: puts a case's tests in order, and leaves out those there is no time for.

    """

    def __init__(
        self, child: Child, jobs: int, scratch: Path, choose: Callable[[Case], None]
    ) -> None:
        self._child = child
        self._jobs = jobs
        self._scratch = scratch
        self._choose = choose
        self._children: dict[int, _Child] = {}
        self._count = 0

    def run(
        self,
        cases: Sequence[tuple[Case, ast.Module]],
        until: float,
        told: Callable[[Case], None],
    ) -> None:
        """Try the cases in order until that time; each is told of when it ended."""
        waiting = list(reversed(cases))
        while waiting or self._children:
            while waiting and len(self._children) < self._jobs and time.monotonic() < until:
                self._start(*waiting.pop())
            if time.monotonic() >= until:
                waiting.clear()
            for case in self._ended():
                told(case)

    def _start(self, case: Case, tree: ast.Module) -> None:
        self._count += 1
        self._choose(case)
        home = self._scratch / f"{self._count}"
        home.mkdir()
        notes = home / "notes"
        notes.touch()
        pid = os.fork()
        if pid == 0:
            _be_child(self._child, case, tree, notes, home)
        self._children[pid] = _Child(pid, case, notes, home)

    def _ended(self) -> list[Case]:
        found = []
        for child in list(self._children.values()):
            pid, _ = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0 and time.time() - child.notes.stat().st_mtime < child.case.patience_s:
                continue
            found.append(self._settle(child, is_hung=pid == 0))
        if not found:
            time.sleep(0.005)  # nothing depends on it: it only waits for a child
        return found

    def _settle(self, child: _Child, *, is_hung: bool) -> Case:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # with all that it started
        if is_hung:
            os.waitpid(child.pid, 0)
        del self._children[child.pid]
        last = child.notes.read_text("utf-8").splitlines()[-1:] or [""]
        case = child.case
        case.took_s = round(time.monotonic() - child.began, 2)
        case.outcome = "hung" if is_hung else "survived" if last[0] == _PASSED else "killed"
        case.by = "" if case.outcome == "survived" else last[0]
        shutil.rmtree(child.home, ignore_errors=True)
        return case


def _be_child(child: Child, case: Case, tree: ast.Module, notes: Path, home: Path) -> None:
    """Be the child: run the tests with the mutant in place; it never returns."""
    try:
        os.setsid()
        _hush()
        child(case, tree, notes, home)
    except BaseException as error:  # noqa: BLE001 - a child of a fork may not go on as its parent
        note(notes, f"{type(error).__name__}: {error}".replace("\n", " "))
    os._exit(1)


def _hush() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)


def by_fork(items: dict[str, pytest.Item]) -> Child:
    """Return what a child does that has the tests from its parent, collected."""

    def child(case: Case, tree: ast.Module, notes: Path, home: Path) -> None:
        if put_in_place(case.module, tree, case.mutant):
            run_here([items[name] for name in case.tests], notes, home)
        else:
            _apart(case, tree, notes, home)

    return child


def run_here(items: list[pytest.Item], notes: Path, home: Path) -> None:
    """Run tests in this process, up to the first that fails, and end it."""
    config = items[0].config
    vars(config)["_tmp_path_factory"]._basetemp = home / "t"
    (home / "t").mkdir()
    config.pluginmanager.register(_Watch(notes), "mutation-watch")
    for item, following in zip(items, [*items[1:], None], strict=True):
        note(notes, item.nodeid)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    note(notes, _PASSED)
    os._exit(0)


class _Watch:
    """Ends the process with the first failure."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at each report."""
        if report.failed:
            note(self._notes, report.nodeid)
            os._exit(1)


def note(notes: Path, words: str) -> None:
    """Tell the parent; it also sees that this process goes on."""
    with notes.open("a", encoding="utf-8") as file:
        file.write(f"{words}\n")


def _apart(case: Case, tree: ast.Module, notes: Path, home: Path) -> None:
    """Become a new Python that imports the changed module."""
    changed = home / "changed"
    changed.write_bytes(marshal.dumps(changed_code(case.module, tree, case.mutant)))
    tests = case.tests[:_APART_MOST]
    told = [dotted(case.module), str(changed), str(notes), str(home)]
    command = [sys.executable, "-m", "tests.mutation.apart", *told, *tests]
    os.execv(sys.executable, command)  # noqa: S606 - there is no shell in this

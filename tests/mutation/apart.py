"""Run tests in a new Python in which one module is another: for what is run when it is imported."""

from __future__ import annotations

import marshal
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType


class Changed(MetaPathFinder, Loader):
    """Finds one module, and runs other code for it."""

    def __init__(self, name: str, code: CodeType) -> None:
        self._name = name
        self._code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module where it always is."""
        if name != self._name:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        exec(self._code, vars(module))  # noqa: S102 - it is ours, with one thing changed


class _Notes:
    """Writes each test's name when it starts, as the parent expects."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        with self._notes.open("a", encoding="utf-8") as file:
            file.write(f"{nodeid}\n")


def main(name: str, changed: str, notes: str, home: str, *tests: str) -> None:
    """Run the tests, and note whether they passed."""
    code: Any = marshal.loads(Path(changed).read_bytes())  # noqa: S302 - the parent wrote it
    sys.meta_path.insert(0, Changed(name, code))
    run(notes, home, tests)


def run(notes: str, home: str, tests: Sequence[str]) -> None:
    """Run tests up to the first that fails, and note whether they passed."""
    from tests.mutation.session import Quick

    options = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={home}/t"]
    if pytest.main([*options, *tests], [_Notes(Path(notes)), Quick()]) == 0:
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write("passed\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

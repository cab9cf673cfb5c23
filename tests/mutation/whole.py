"""Try a mutant in a copy of the whole tree: each process that a test starts sees the change too.

Slower than a fork by the time that a new Python and all imports take, for every mutant and every
test of it; so it is for what a fork left unnoticed (``--again``), with the tests that start processes.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
from typing import TYPE_CHECKING

from tests.mutation.reach import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mutation.trying import Case

_NOT_COPIED = (".git", ".mypy_cache", ".ruff_cache", ".hypothesis", "dist", "*.db*")


def in_a_copy(case: Case, tree: ast.Module, notes: Path, home: Path) -> None:
    """Be a child: copy the tree, change the module in it, and become a Python that knows no other."""
    copy = home / "tree"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
    write_changed(copy / case.module, case, tree)
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    command = [sys.executable, "-m", "tests.mutation.whole", str(notes), str(home), *case.tests]
    os.execv(sys.executable, command)  # noqa: S606 - there is no shell in this


def write_changed(path: Path, case: Case, tree: ast.Module) -> None:
    """Write a module with the change in it; what Python has compiled of it before goes."""
    take_back = case.mutant.make()
    text = ast.unparse(ast.fix_missing_locations(tree))
    take_back()
    path.write_text(text, "utf-8")
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()


if __name__ == "__main__":
    from tests.mutation.apart import run

    run(sys.argv[1], sys.argv[2], sys.argv[3:])

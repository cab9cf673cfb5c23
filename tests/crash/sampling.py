"""An experiment under the shim: the shim built, and run for so long, in memory where there is a place for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.crash.parties import apart

if TYPE_CHECKING:
    from collections.abc import Callable

# A kill loses no memory, what a disk would keep is played, and this is quick.
_MEMORY: Final = Path("/dev/shm")  # noqa: S108


def built(directory: Path) -> Path:
    """Build the shim with the system's compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "there is no C compiler to build the shim with"
    target = directory / "shim.so"
    flags = ["-O1", "-Wall", "-Wno-implicit-fallthrough", "-Werror", "-shared", "-fPIC"]
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, *flags, "-o", target, source, "-ldl"], check=True)
    return target


def sample(experiment: str, shim: Path, timeout_s: float, **options: Any) -> dict[str, Any]:
    """Run ``module:function`` in a process of its own; return what came of it."""
    where = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="journal-sample-") as home:
        told: dict[str, Any] = apart(
            experiment, preload=shim, timeout_s=timeout_s, home=home, **options
        )
    return told


def shown(sampled: Callable[[Path, int, float], dict[str, Any]]) -> int:
    """Run as long as the command line says, print what came of it, and say by the exit code whether it is right."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    with tempfile.TemporaryDirectory() as directory:
        told = sampled(built(Path(directory)), seed, seconds)
    print(json.dumps(told, indent=1))  # noqa: T201 - the figures
    return 1 if told["wrong"] else 0

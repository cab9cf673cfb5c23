"""The code of macOS, run on Linux: its own tests, and those of what stands on its calls, under an emulation.

What it proves is that the journal asks macOS for what its manuals and its kernel's source offer, and
for nothing else. That a Mac does the same is not proved.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLLOW = "tests/cli/test_follow.py::test_it_ends_when_its_reader_has_left_though_nobody_writes"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there it is no emulation")


@pytest.mark.parametrize(
    "files",
    [
        ("tests/darwin/test_macos.py", "tests/test_process.py"),
        (
            *("tests/test_fence.py", "tests/test_ticket.py", FOLLOW),
            *(f"tests/mirror/test_{name}.py" for name in ("edits", "hardening", "power_cuts")),
        ),
    ],
    ids=["macos", "shared"],
)
def test_under_the_emulation(files, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.darwin.plugin"]
    environment = {name: each for name, each in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'there'}", *files],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_what_linux_alone_has_is_gone(tmp_path):
    """Otherwise the tests above would prove nothing."""
    script = """
import errno, fcntl, os, struct, sys
assert sys.platform == "darwin"
assert not hasattr(os, "fdatasync") and not hasattr(os, "sched_getaffinity")
for refused in (open, os.listdir, os.readlink):
    try:
        refused("/proc/self/fd" if refused is os.listdir else "/proc/self/stat")
    except FileNotFoundError:
        continue
    raise SystemExit(f"{refused} shows /proc")
try:
    fcntl.fcntl(0, 37, struct.pack("hhqqi", 1, 0, 0, 1, 0))
except OSError as error:
    assert error.errno == errno.EINVAL
one, other = (os.open(sys.argv[1], os.O_RDWR | os.O_CREAT) for _ in range(2))
fcntl.fcntl(one, 90, struct.pack("qqihh", 0, 1, 0, 1, 0))
try:
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    raise SystemExit(0)
raise SystemExit("flock and the locks on bytes are two kinds")
"""
    path = os.pathsep.join(map(str, (Path(__file__).parent / "site", ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0

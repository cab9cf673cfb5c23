"""Has pytest's own process, and every one that a test starts, be one of the emulated macOS.

pytest -p tests.darwin.plugin tests/test_fence.py tests/test_claim.py tests/mirror
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Final

from tests.darwin import emulation

SITE: Final = Path(__file__).parent / "site"
ROOT: Final = Path(__file__).parents[2]


def path_for_children() -> str:
    """Return the path on which a Python finds the emulation, and the journal."""
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(SITE), str(ROOT), *filter(None, known)]))


# What asks at import which system it is on, and would miss that one's own calls.
for each in ("trio", "hypothesis", "watchfiles"):
    importlib.import_module(each)
emulation.install()
os.environ["PYTHONPATH"] = path_for_children()
sys.path.insert(0, str(SITE))  # some tests give that to their children

"""What is for macOS is collected there, and under the emulation."""

from __future__ import annotations

import sys

collect_ignore = ["test_macos.py"] if sys.platform != "darwin" else []

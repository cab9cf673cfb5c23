"""Marks for tests that need what one system alone has."""

from __future__ import annotations

import sys
from typing import Final

import pytest

LINUX: Final = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone: /proc, fdatasync")

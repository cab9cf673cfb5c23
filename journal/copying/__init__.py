"""Copies of whole journals, between files and servers: the same rows under the same seals."""

from __future__ import annotations

from journal.copying.outcome import Copied, Unserved
from journal.copying.running import copy

__all__ = ["Copied", "Unserved", "copy"]

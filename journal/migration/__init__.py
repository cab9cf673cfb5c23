"""Bring flat session files into a journal, byte for byte, and leave the files alone.

:func:`plan` says what would happen and changes nothing; :func:`apply` does it.
What is done is told by bytes, never by a receipt: run it again at any time.
"""

from __future__ import annotations

from journal.migration.aliases import check_sealed, resolve_key
from journal.migration.discovery import SetAside
from journal.migration.history import Brought, Run, run, runs
from journal.migration.outcome import FileResult, Result
from journal.migration.planned import Absent, Left, Plan, PlannedFile
from journal.migration.room import Room, room
from journal.migration.running import apply
from journal.migration.survey import plan
from journal.migration.verifying import Verification, Verified, verify

__all__ = [
    "Absent",
    "Brought",
    "FileResult",
    "Left",
    "Plan",
    "PlannedFile",
    "Result",
    "Room",
    "Run",
    "SetAside",
    "Verification",
    "Verified",
    "apply",
    "check_sealed",
    "plan",
    "resolve_key",
    "room",
    "run",
    "runs",
    "verify",
]
